"""Our Inception-2015 against torch-fidelity's, with the same random weights in both.

python benchmarks/peers/compare_inception.py --checkout PATH   (of https://github.com/toshas/torch-fidelity)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import types
from pathlib import Path

import torch

from cdm_kedro.evaluation.inception import Inception2015


def randomize(net: torch.nn.Module) -> None:
    """Weights and statistics of a scale that keeps signals alive through all layers."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.8, 1.6)
            module.bias.data.normal_(0, 0.1)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)


def main() -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    package = parser.parse_args().checkout / "torch_fidelity"
    if not (package / "feature_extractor_inceptionv3.py").is_file():
        parser.error(f"{package} holds no feature_extractor_inceptionv3.py")
    # The package's __init__ wants torchvision, which its Inception does not.
    bare = types.ModuleType("torch_fidelity")
    bare.__path__ = [str(package)]
    sys.modules["torch_fidelity"] = bare
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    ours = Inception2015().eval()
    randomize(ours)
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/weights.pth"
        torch.save(ours.state_dict(), weights)  # loading it there also proves that names and shapes agree
        theirs = FeatureExtractorInceptionV3(
            "peer", ["2048", "logits_unbiased"], feature_extractor_weights_path=weights
        )
    worst = 0.0
    for side in (32, 64, 256, 300):
        images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
        with torch.no_grad():
            pairs = zip(ours(images.float()), theirs(images), strict=True)
        errors = [((a - b).abs().max() / b.abs().mean()).item() for a, b in pairs]
        print(f"{side:4d} px: features {errors[0]:.1e}, logits {errors[1]:.1e} (largest difference / mean magnitude)")
        worst = max(worst, *errors)
    print("agree" if worst < 1e-4 else "DIFFER")
    return int(worst >= 1e-4)


if __name__ == "__main__":
    sys.exit(main())
