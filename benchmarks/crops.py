"""How far the choices of preprocessing are apart, in levels of 8 bits: mean absolute difference, 99th percentile.

    python benchmarks/crops.py [FOLDER]

FOLDER holds photographs, at any depth. Without it, 30 pieces of 375 x 500 pixels, ImageNet's usual size, are cut from
the two photographs that scikit-learn ships. For every size it prints

- each value of `preprocess.resize` beside `area`;
- what a super-resolution model is trained on, its own images averaged down, beside the images of the size below;
- images of a short side of 200 pixels: reduced directly, beside enlarged to 256 pixels first.

Writes benchmarks/results/crops.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cdm_kedro.data.crop import Decoded, crops, decode
from cdm_kedro.data.image_folder import EXTENSIONS
from cdm_kedro.data.resample import downsample_numpy
from results import record

SIDES = (256, 128, 64, 32)
Images = list[NDArray[np.uint8]]


def pieces(height: int, width: int) -> Images:
    """Windows of scikit-learn's two photographs of 427 x 640 pixels."""
    from sklearn.datasets import load_sample_images

    tops, lefts = range(0, 427 - height + 1, 26), range(0, 640 - width + 1, 35)
    return [
        photo[top : top + height, left : left + width]
        for photo in load_sample_images().images
        for top in tops
        for left in lefts
    ]


def apart(one: Images, other: Images) -> dict[str, float]:
    """Mean absolute difference of two lists of equal shapes, and its 99th percentile."""
    off = np.abs(np.stack(one).astype(int) - np.stack(other))
    return {"mean": float(off.mean()), "99 %": float(np.percentile(off, 99))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args()
    if options.folder:
        files = [path for path in sorted(options.folder.rglob("*")) if path.suffix.lower() in EXTENSIONS]
        images = [decode(path, False).pixels for path in files]
    else:
        images = pieces(375, 500)
    made = {
        resize: [crops(Decoded(image), resize, SIDES) for image in images]
        for resize in ("area", "bilinear", "guided_diffusion")
    }
    figures: dict[str, Any] = {"images": len(images)}

    def say(what: str, one: Images, other: Images) -> None:
        figures[what] = found = apart(one, other)
        print(f"{what:60} mean {found['mean']:5.2f}   99 % {found['99 %']:5.1f}")

    for resize in ("bilinear", "guided_diffusion"):
        for side in SIDES:
            say(f"{resize} beside area, {side} px", *([sizes[side] for sizes in made[r]] for r in (resize, "area")))
    for resize, sizes_of in made.items():
        for large, small in ((64, 32), (128, 64), (256, 64)):
            averaged = [downsample_numpy(sizes[large][None], small)[0] for sizes in sizes_of]
            say(f"{resize}, {large} px averaged to {small} beside {small} px", averaged, [s[small] for s in sizes_of])
    little = [
        cv2.resize(
            image, None, fx=200 / min(image.shape[:2]), fy=200 / min(image.shape[:2]), interpolation=cv2.INTER_AREA
        )
        for image in images
    ]
    direct = [crops(Decoded(image), "area", SIDES) for image in little]
    for side in (128, 64, 32):
        through = [downsample_numpy(sizes[256][None], side)[0] for sizes in direct]
        say(f"short side 200, through 256 beside directly, {side} px", through, [sizes[side] for sizes in direct])
    record("crops", figures)


if __name__ == "__main__":
    main()
