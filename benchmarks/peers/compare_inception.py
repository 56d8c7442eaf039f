"""Our Inception-2015 against torch-fidelity's, with the same random weights in both.

python benchmarks/peers/compare_inception.py --checkout PATH   (of https://github.com/toshas/torch-fidelity)

With --write FILE its answers for fixed weights and images become the vector that tests/evaluation/extractors reads.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import torch

from cdm_kedro.evaluation.extractors.inception import Inception2015

GOLDEN_SIDES = ((45, 77), (130, 64))
"""Heights and widths of the images behind the stored vector: odd, not square, smaller than the network's 299."""


def randomize(net: torch.nn.Module, seed: int = 0) -> None:
    """Weights and statistics of a scale that keeps signals alive through all layers; the same everywhere.

    NumPy's RandomState is frozen by its makers, so the numbers do not depend on versions.
    """
    rng = np.random.RandomState(seed)
    with torch.no_grad():
        for name, tensor in sorted(net.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                values = rng.uniform(0.5, 1.5, tensor.shape)
            elif name.endswith("bn.weight"):
                values = rng.uniform(0.8, 1.6, tensor.shape)
            elif name.endswith("conv.weight"):
                values = rng.standard_normal(tensor.shape) * np.sqrt(2 / np.prod(tensor.shape[1:]))
            elif name == "fc.weight":
                values = rng.standard_normal(tensor.shape) / np.sqrt(tensor.shape[1])
            else:
                values = rng.standard_normal(tensor.shape) * 0.1
            tensor.copy_(torch.from_numpy(np.asarray(values, np.float32)))


def golden_images() -> list[torch.Tensor]:
    """One (1, 3, H, W) uint8 image for each of ``GOLDEN_SIDES``."""
    rng = np.random.RandomState(1)
    return [torch.from_numpy(rng.randint(0, 256, (1, 3, *side)).astype(np.uint8)) for side in GOLDEN_SIDES]


def load_theirs(package: Path, weights: str) -> torch.nn.Module:
    """Their network with a weights file."""
    # The package's __init__ wants torchvision, which its Inception does not.
    bare = types.ModuleType("torch_fidelity")
    bare.__path__ = [str(package)]
    sys.modules["torch_fidelity"] = bare
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("peer", ["2048", "logits_unbiased"], feature_extractor_weights_path=weights)


def main() -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--write", type=Path, help="npz for their features and logits of fixed images")
    arguments = parser.parse_args()
    package = arguments.checkout / "torch_fidelity"
    if not (package / "feature_extractor_inceptionv3.py").is_file():
        parser.error(f"{package} holds no feature_extractor_inceptionv3.py")
    ours = Inception2015().eval()
    randomize(ours)
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/weights.pth"
        torch.save(ours.state_dict(), weights)  # loading it there also proves that names and shapes agree
        theirs = load_theirs(package, weights)
    torch.manual_seed(0)
    cases = [torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8) for side in (32, 64, 256, 300)]
    worst, answers = 0.0, []
    for images in [*cases, *golden_images()]:
        with torch.no_grad():
            answer = theirs(images)
            errors = [
                ((a - b).abs().max() / b.abs().mean()).item() for a, b in zip(ours(images.float()), answer, strict=True)
            ]
        answers.append(answer)
        print(
            f"{images.shape[2]:4d} x {images.shape[3]:3d} px: features {errors[0]:.1e}, logits {errors[1]:.1e} "
            "(largest difference / mean magnitude)"
        )
        worst = max(worst, *errors)
    if arguments.write:
        features, logits = (torch.cat(part).numpy() for part in zip(*answers[len(cases) :], strict=True))
        np.savez_compressed(arguments.write, features=features, logits=logits)
    print("agree" if worst < 1e-5 else "DIFFER")
    return int(worst >= 1e-5)


if __name__ == "__main__":
    sys.exit(main())
