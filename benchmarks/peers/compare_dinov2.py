"""Our DINOv2 against Meta's, with the same random weights in both.

python benchmarks/peers/compare_dinov2.py --checkout PATH   (of https://github.com/facebookresearch/dinov2)

With --write FILE its answers for fixed weights and images become the vector that tests/evaluation/extractors reads.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
import torch

from cdm_kedro.evaluation.extractors.dinov2 import SIZES, DinoV2

GOLDEN = ("dinov2_vits14", 224)


def randomize(net: torch.nn.Module, seed: int = 0) -> None:
    """Weights of a scale that lets every part matter; the same everywhere (NumPy's RandomState is frozen)."""
    rng = np.random.RandomState(seed)
    with torch.no_grad():
        for name, tensor in sorted(net.state_dict().items()):
            values = rng.standard_normal(tensor.shape)
            if name.endswith("gamma") or ((name.startswith("norm") or ".norm" in name) and name.endswith("weight")):
                values = 1 + 0.2 * values
            elif tensor.ndim == 2 and name.endswith("weight"):
                values = values / np.sqrt(tensor.shape[1])
            else:
                values = values * 0.2
            tensor.copy_(torch.from_numpy(np.asarray(values, np.float32)))


def golden_images() -> torch.Tensor:
    """(2, 3, 224, 224) float32 whole numbers in 0 .. 255."""
    return torch.from_numpy(np.random.RandomState(1).randint(0, 256, (2, 3, 224, 224)).astype(np.float32))


def normalized(images: torch.Tensor) -> torch.Tensor:
    """ImageNet's mean and deviation, as their preprocessing does it."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = (images.double().numpy() / 255 - mean[:, None, None]) / std[:, None, None]
    return torch.from_numpy(x.astype(np.float32))


def main() -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--write", type=Path, help="npz for their class tokens of fixed images")
    arguments = parser.parse_args()
    if not (arguments.checkout / "dinov2" / "hub" / "backbones.py").is_file():
        parser.error(f"{arguments.checkout} holds no dinov2/hub/backbones.py")
    sys.path.insert(0, str(arguments.checkout))
    backbones = importlib.import_module("dinov2.hub.backbones")
    worst = 0.0
    for name, side in (GOLDEN, ("dinov2_vits14", 98), ("dinov2_vits14", 518), ("dinov2_vitl14", 224)):
        ours = DinoV2(*SIZES[name], side).eval()
        randomize(ours)
        theirs = getattr(backbones, name)(pretrained=False).eval()
        theirs.load_state_dict(ours.state_dict())  # strict: names and shapes agree
        images = golden_images() if side == 224 else torch.randint(0, 256, (1, 3, side, side)).float()
        with torch.no_grad():
            a, b = ours(images)[0], theirs(normalized(images))
        error = ((a - b).abs().max() / b.abs().mean()).item()
        print(f"{name} at {side:3d} px: class token {error:.1e} (largest difference / mean magnitude)")
        worst = max(worst, error)
        if arguments.write and (name, side) == GOLDEN:
            np.savez_compressed(arguments.write, features=b.numpy())
    print("agree" if worst < 1e-5 else "DIFFER")
    return int(worst >= 1e-5)


if __name__ == "__main__":
    sys.exit(main())
