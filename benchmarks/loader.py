"""Images a second of our loader against a torch DataLoader over the JPEG folder and against copying the same bytes.

    python benchmarks/loader.py

Makes JPEGs of photograph-like noise, preprocesses them, and lets the contenders take turns: the DataLoader decodes,
crops and shrinks with PIL in two worker processes; memcpy gathers the same images in the loader's order with two
threads. Every contender delivers uint8 batches; flips and conversion to float happen on the device, in training.
Prints ratios and writes them to benchmarks/results/loader.json.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.data.loader import BetonLoader, sample_positions
from results import record


def photograph(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Random image with about a photograph's detail at every scale, so that its JPEG has a photograph's size."""
    out = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 60.0), (16, 30.0), (64, 15.0), (256, 8.0)):
        small = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        layers = [np.asarray(Image.fromarray(small[..., c]).resize((width, height), Image.BICUBIC)) for c in range(3)]
        out += weight * np.stack(layers, -1)
    return Image.fromarray((128 + out).clip(0, 255).astype(np.uint8))


class Folder(Dataset[tuple[NDArray[np.uint8], int]]):
    """JPEG files, each decoded, cropped to its centre square and shrunk when asked for."""

    def __init__(self, paths: list[Path], side: int) -> None:
        self.paths, self.side = paths, side

    def __len__(self) -> int:
        """Number of files."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """(side, side, 3) uint8 and a label."""
        with Image.open(self.paths[index]) as image:
            rgb = image.convert("RGB")
        short, (width, height) = min(rgb.size), rgb.size
        left, top = (width - short) // 2, (height - short) // 2
        rgb = rgb.resize((self.side, self.side), Image.BICUBIC, (left, top, left + short, top + short))
        return np.array(rgb), 0


def measure(side: int, files: int, stored: int, batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Images a second of each contender at one size, and ratios of ours over theirs (median over rounds)."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder, squares, bytes_ = Path(name), [], 0
        for i in tqdm(range(files), desc="JPEG files"):
            width, height = (int(v) for v in rng.integers(250, 1025, 2))
            buffer = io.BytesIO()
            photograph(rng, width, height).save(buffer, "JPEG", quality=90)
            (folder / f"{i}.jpg").write_bytes(buffer.getvalue())
            bytes_ += len(buffer.getvalue())
        paths = sorted(folder.glob("*.jpg"))
        squares = [Folder(paths, side)[i][0] for i in range(min(files, 64))]
        # Enough images that they do not all lie in the CPU's cache: a few squares, each time moved a little.
        images = (np.roll(squares[i % len(squares)], i, axis=1) for i in range(stored))
        write_beton(folder / "train.beton", np.arange(stored) % 10, side, images)

        workers = 2
        folder_loader = DataLoader(
            Folder(paths, side), min(batch, files), True, num_workers=workers, persistent_workers=True
        )

        def decoded() -> Iterator[Any]:
            while True:
                yield from folder_loader

        torch_batches = decoded()
        next(torch_batches)
        loader = BetonLoader(
            folder / "train.beton", batch, seed=0, device=device, workers=workers if device.type == "cpu" else 4
        )
        images = next(loader)[0]
        source = np.concatenate([np.roll(s[None], i, axis=2) for i, s in enumerate(squares)] * (stored // len(squares)))
        order = sample_positions(len(source), 0, 0, 4096)
        target = np.empty((batch, side, side, 3), np.uint8)
        pool = ThreadPoolExecutor(workers)

        def memcpy(step: int) -> None:
            rows = order[(step * batch + np.arange(batch)) % len(order)]
            halves = np.array_split(np.arange(batch), workers)
            list(
                pool.map(
                    lambda part: np.take(source, rows[part], 0, out=target[part[0] : part[-1] + 1], mode="clip"), halves
                )
            )

        steps = max(32, 4096 * 64 * 64 // (side * side) // batch)  # many times what is read ahead

        def ours() -> float:
            begun = time.perf_counter()
            for _ in range(steps):
                next(loader)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return steps * batch / (time.perf_counter() - begun)

        def copies() -> float:
            begun = time.perf_counter()
            for step in range(steps):
                memcpy(step)
            return steps * batch / (time.perf_counter() - begun)

        def torchs() -> float:
            begun, seen = time.perf_counter(), 0
            while seen < max(files, 2 * batch):
                seen += len(next(torch_batches)[0])
            return seen / (time.perf_counter() - begun)

        contenders: dict[str, Callable[[], float]] = {"ours": ours, "memcpy": copies, "torch folder": torchs}
        rates: dict[str, list[float]] = {key: [] for key in contenders}
        try:
            for _ in tqdm(range(rounds), desc=f"rounds at {side} px"):
                for key, run in contenders.items():
                    rates[key].append(run())
        finally:
            loader.close()
            pool.shutdown()
        assert images.shape[-1] == side
        out: dict[str, Any] = {f"{key} images/s": statistics.median(values) for key, values in rates.items()}
        for key in ("memcpy", "torch folder"):
            out[f"ours over {key}"] = statistics.median(a / b for a, b in zip(rates["ours"], rates[key], strict=True))
        return out | {"mean JPEG kB": bytes_ / files / 1e3}


def main() -> None:
    """Run at 64 and 256 pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    device, results = torch.device("cuda" if torch.cuda.is_available() else "cpu"), {}
    for side in options.sides:
        stored = max(options.batch, 4096 * 64 * 64 // (side * side) // 64 * 64 * 2)
        found = measure(side, options.files, stored, options.batch, options.rounds, device)
        print(f"{side} px, batch {options.batch}")
        for key, value in found.items():
            print(f"  {key:28}{value:14.2f}")
        results[str(side)] = found
    record("loader", {"threads": torch.get_num_threads(), "sides": results})


if __name__ == "__main__":
    main()
