"""Images a second of preprocessing against four plain PIL passes, at one and at two processes.

    python benchmarks/preprocess.py

A PIL pass opens every JPEG, crops its centre square, shrinks it (bicubic) and writes the raw pixels at the image's
place in one file; four passes give 256, 128, 64 and 32 pixels. Ours includes all that the stage does: listing the
folder, taking the room on the disk, hashing, flushing to the disk. Both use equally many processes, started by each
run, pinned to as many cores; runs alternate, and ratios are medians over pairs. The ratio of processor time says the
same on a machine that others use too. Two sets: photograph-like noise of 500 x 375 pixels, ImageNet's usual size, and
the embedded set's images. Also prints what bounds the time of ImageNet, and writes all to
benchmarks/results/preprocess.json.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from cdm_kedro.data.embedded.generate import generate
from cdm_kedro.data.image_folder import scan
from cdm_kedro.data.preprocess import preprocess_folder
from cdm_kedro.params.data import EmbeddedParams, PreprocessParams
from cdm_kedro.processes.pool import shared_out
from results import record

SIDES = (256, 128, 64, 32)
IMAGENET = 1_281_167 + 50_000
IMAGE_BYTES = sum(side * side * 3 for side in SIDES)


def pil_pass(side: int, target: Path, job: tuple[int, list[str]]) -> None:
    """Write the images of one job at one size, side by side."""
    first, paths = job
    with target.open("r+b") as file:
        for index, path in enumerate(paths, first):
            with Image.open(path) as image:
                rgb = image.convert("RGB")
            short, (width, height) = min(rgb.size), rgb.size
            left, top = (width - short) // 2, (height - short) // 2
            square = rgb.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + short, top + short))
            os.pwrite(file.fileno(), np.asarray(square).tobytes(), index * side * side * 3)


def pil(root: Path, out: Path, processes: int) -> None:
    """Four passes over the folder."""
    paths = [str(root / s.path) for samples in scan(root).splits.values() for s in samples]
    jobs = [(at, paths[at : at + 32]) for at in range(0, len(paths), 32)]
    for side in SIDES:
        (out / f"{side}.raw").touch()
        list(shared_out(partial(pil_pass, side, out / f"{side}.raw"), jobs, processes, "PIL"))
        with (out / f"{side}.raw").open("rb") as file:
            os.fsync(file.fileno())


def ours(root: Path, out: Path, processes: int) -> None:
    """The stage's work."""
    preprocess_folder(root, out, PreprocessParams(workers=processes))


def timed(run: Any, root: Path, processes: int, cores: list[int]) -> tuple[float, float]:
    """Seconds of one run on as many cores as processes, and of processor time."""
    os.sched_setaffinity(0, cores[:processes])
    try:
        with tempfile.TemporaryDirectory(dir=root.parent) as out:
            begun, used = time.perf_counter(), sum(os.times()[:4])
            run(root, Path(out), processes)
            return time.perf_counter() - begun, sum(os.times()[:4]) - used
    finally:
        os.sched_setaffinity(0, cores)


def photographs(root: Path, count: int, quality: int) -> Path:
    """A folder of ten classes of JPEGs of 500 x 375 pixels; one in twenty is a validation image."""
    from loader import photograph

    rng, different = np.random.default_rng(0), []
    for _ in tqdm(range(min(count, 60)), desc="JPEG files"):
        buffer = io.BytesIO()
        photograph(rng, 500, 375).save(buffer, "JPEG", quality=quality)
        different.append(buffer.getvalue())
    for i in range(count):
        folder = root / ("val" if i % 20 == 0 else "train") / f"class{i // 20 % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.jpg").write_bytes(different[i % len(different)])
    return root


def embedded(root: Path, count: int) -> Path:
    """The embedded set's images, each under several names so that there are enough."""
    generate(root, EmbeddedParams(train_per_class=10, val_per_class=2))
    for path in list(root.rglob("*.jpg")):
        for copy in range(1, count // 120):
            shutil.copy(path, path.with_stem(f"{path.stem}_{copy}"))
    return root


def measure(root: Path, rounds: int, cores: list[int]) -> dict[str, Any]:
    """Rates and ratios of both contenders at one and two processes."""
    files = list(root.rglob("*.jpg"))
    found: dict[str, Any] = {
        "images": len(files),
        "mean JPEG kB": sum(f.stat().st_size for f in files) / len(files) / 1e3,
    }
    for processes in (1, 2)[: len(cores)]:
        pairs = [[timed(run, root, processes, cores) for run in (ours, pil)] for _ in range(rounds)]
        ratios = [theirs[0] / mine[0] for mine, theirs in pairs]
        at = f"at {processes} process(es)"
        found[f"ours, images/s {at}"] = len(files) / statistics.median(mine[0] for mine, _ in pairs)
        found[f"four PIL passes, images/s {at}"] = len(files) / statistics.median(theirs[0] for _, theirs in pairs)
        found[f"ratio {at}"] = statistics.median(ratios)
        found[f"ratio {at}, each round"] = [round(ratio, 2) for ratio in ratios]
        found[f"ratio of processor time {at}"] = statistics.median(theirs[1] / mine[1] for mine, theirs in pairs)
    return found


def bounds(folder: Path) -> dict[str, float]:
    """What more processes cannot pass: hashing in one process, and the disk; images a second, all four sizes."""
    data = np.random.default_rng(0).integers(0, 256, 1 << 27, np.uint8).tobytes()
    begun = time.perf_counter()
    hashlib.sha256(data).hexdigest()
    hashed = time.perf_counter() - begun
    path = folder / "disk"
    begun = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(8):
            file.write(data)
        os.fsync(file.fileno())
    wrote = (time.perf_counter() - begun) / 8
    path.unlink()
    return {"hashing": len(data) / hashed / IMAGE_BYTES, "disk": len(data) / wrote / IMAGE_BYTES}


def main() -> None:
    """Measure both sets and say what it means for ImageNet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="of 500 x 375 pixels")
    parser.add_argument("--quality", type=int, default=95, help="of the JPEGs of 500 x 375 pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the temporary folder")
    options = parser.parse_args()
    cores, results = sorted(os.sched_getaffinity(0)), {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        sets = {
            "500 x 375": photographs(folder / "photographs" / "images", options.images, options.quality),
            "embedded": embedded(folder / "embedded" / "images", options.images),
        }
        for kind, root in sets.items():
            print(kind)
            results[kind] = measure(root, options.rounds, cores)
            for key, value in results[kind].items():
                print(f"  {key:44}{value if isinstance(value, list) else format(value, '12.2f')}")
        few = photographs(folder / "few" / "images", 40, 90)
        results["seconds for 40 images"] = timed(ours, few, len(cores), cores)[0]
        print(f"40 images, start and all: {results['seconds for 40 images']:.2f} s")
        results["bounds, images/s"] = limits = bounds(folder)
    two = results["500 x 375"].get("ours, images/s at 2 process(es)", 0.0)
    one = results["500 x 375"]["ours, images/s at 1 process(es)"]
    print(f"ImageNet, {IMAGENET:,} images, {IMAGENET * IMAGE_BYTES / 1e9:.0f} GB written:")
    for processes, rate in ((1, one), (2, two), (16, 8 * two), (64, 32 * two)):
        if rate:
            allowed = min(rate, *limits.values())
            by = "the processes" if allowed == rate else f"{min(limits, key=lambda k: limits[k])}"
            said = "measured" if processes <= 2 else "reckoned from 2"
            print(f"  {processes:3} processes ({said}): {IMAGENET / allowed / 60:8.1f} minutes, bound by {by}")
    print("bounds: " + ", ".join(f"{key} {value:,.0f} images/s" for key, value in limits.items()))
    record("preprocess", results)


if __name__ == "__main__":
    main()
