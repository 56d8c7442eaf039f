"""A no-op `kedro run` against a no-op `dvc repro`: what asking "is anything stale?" costs.

python benchmarks/startup.py [--runs 9]

Clones the project into a temporary folder, runs the tiny cascade of conf/test there once, then times both commands in
turn. Prints medians and their ratio; the project's target is at most 1.5.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from results import record

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "kedro run --pipeline=cascade --env=test": "fresh",
    "dvc repro dvc/test/dvc.yaml": "up to date",
}


def seconds(command: str, folder: Path, env: dict[str, str], expected: str) -> float:
    """Wall time of one run, whose output must say that there was nothing to do."""
    started = time.perf_counter()
    done = subprocess.run(command.split(), cwd=folder, env=env, capture_output=True, text=True, check=True)
    elapsed = time.perf_counter() - started
    if expected not in done.stdout + done.stderr:
        raise SystemExit(f"{command} had something to do:\n{done.stdout}{done.stderr}")
    return elapsed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each command")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "cdm"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(clone / "src"), "MLFLOW_DISABLE_TELEMETRY": "true"}
        first = next(iter(COMMANDS))
        subprocess.run(first.split(), cwd=clone, env=env, check=True, stdout=subprocess.DEVNULL)
        times: dict[str, list[float]] = {command: [] for command in COMMANDS}
        for turn in range(runs + 1):
            for command, expected in COMMANDS.items():
                elapsed = seconds(command, clone, env, expected)
                if turn:  # the first of each warms caches
                    times[command].append(elapsed)
    kedro, dvc = (median(values) for values in times.values())
    for command, values in times.items():
        print(f"{command:42} median {median(values):.2f} s  ({min(values):.2f} to {max(values):.2f}, {runs} runs)")
    print(f"ratio {kedro / dvc:.2f}  (target: at most 1.5)")
    record("startup", {"kedro_seconds": kedro, "dvc_seconds": dvc, "ratio": kedro / dvc, "runs": runs})


if __name__ == "__main__":
    main()
