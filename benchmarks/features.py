"""Feature extraction: one pass over a file against the bare network, and the peak memory of 50 000 x 2048.

python benchmarks/features.py [--images 512]

Baseline of the rates: the same network on batches that already lie in memory, nothing kept. Both alternate in one run.
The Inception network has random weights, which changes no time.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cdm_kedro.evaluation.collect import collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.extractors.inception import Inception2015
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.scoring import score
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.params.evaluation import EvaluateParams
from results import record


def write_images(path: Path, count: int, side: int) -> None:
    """An npz of random images."""
    rng = np.random.default_rng(0)
    np.savez(path, rng.integers(0, 256, (count, side, side, 3), np.uint8))


def rates(extractor: Extractor, path: Path, images: int, batch: int, repeats: int) -> dict[str, float]:
    """Images a second of the bare network and of a whole pass, medians of alternating runs."""
    params = EvaluateParams(batch_size=batch, devices=1, max_images=images)
    source = NpzSource(path)
    batches = [source.read(range(i, i + batch)) for i in range(0, images, batch)]

    def bare() -> None:
        for part in batches:
            x = torch.from_numpy(part).to(extractor.device).permute(0, 3, 1, 2).float()
            with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
                extractor.net(x)
        if extractor.device.type == "cuda":
            torch.cuda.synchronize()

    def whole() -> None:
        collect(source, extractor, params, extractor.name)

    seconds: dict[str, list[float]] = {"bare": [], "whole": []}
    processor: dict[str, list[float]] = {"bare": [], "whole": []}
    bare()  # warm up
    for _ in range(repeats):
        for name, run in (("bare", bare), ("whole", whole)):
            started, used = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - used)
    bare_rate, whole_rate = (images / statistics.median(seconds[name]) for name in ("bare", "whole"))
    ratio, processor_ratio = (
        statistics.median(b / w for b, w in zip(times["bare"], times["whole"], strict=True))
        for times in (seconds, processor)
    )
    return {
        "bare_images_per_second": round(bare_rate, 2),
        "whole_images_per_second": round(whole_rate, 2),
        "ratio": round(ratio, 3),
        "processor_time_ratio": round(processor_ratio, 3),
    }


def peak_memory_gib() -> float:
    """Of this process; the kernel's other figure, ru_maxrss, would count what the starting process held, too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peak(count: int, dim: int) -> dict[str, float]:
    """Two sets of ``count`` x ``dim`` features measured and scored in this process: its peak resident memory."""
    torch.manual_seed(0)
    projection, head = torch.randn(8 * 8 * 3, dim) / 100, torch.randn(dim, 1008) / 10

    def net(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.relu(x.flatten(1) @ projection)
        return features, features @ head

    extractor = Extractor("random", net, dim, "0" * 64, "none", torch.device("cpu"))
    before, started = peak_memory_gib(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "a.npz", count, 8)
        source, params = NpzSource(Path(folder) / "a.npz"), EvaluateParams(batch_size=250, devices=1)
        real = collect(source, extractor, params, "real")
        score(collect(source, extractor, params, "fake"), {"": real}, "random")
    return {
        "images": count,
        "dimensions": dim,
        "features_gib": round(count * dim * 4 / 2**30, 3),
        "peak_gib": round(peak_memory_gib(), 3),
        "imports_gib": round(before, 3),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_only:
        print(json.dumps(peak(50_000, 2048)))
        return 0
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    inception = Inception2015().to(device).eval().requires_grad_(False)
    extractors = {
        "efficientnet_lite0, 128 px": (make_extractor(EvaluateParams(input_side=128)), arguments.images),
        "inception2015": (
            Extractor("inception2015", inception, 2048, "0" * 64, "", device),
            arguments.images if device.type == "cuda" else max(2 * arguments.batch, arguments.images // 4),
        ),
    }
    out: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "extraction": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        write_images(path, arguments.images, 64)
        for name, (extractor, images) in extractors.items():
            found = rates(extractor, path, images, arguments.batch, arguments.repeats)
            out["extraction"][name] = found
            print(
                f"{name}: bare network {found['bare_images_per_second']} images/s, whole pass "
                f"{found['whole_images_per_second']} images/s: {found['ratio']:.2f} of it "
                f"({found['processor_time_ratio']:.2f} by processor time, which other work on the machine hardly moves)"
            )
    child = subprocess.run(
        [sys.executable, __file__, "--peak-only"], check=True, stdout=subprocess.PIPE, text=True
    )  # its peak is its own
    out["memory"] = json.loads(child.stdout)
    print("two sets of {images} x {dimensions} measured and scored: peak {peak_gib} GiB".format(**out["memory"]))
    record("features", out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
