"""Runs the tiny cascade from two checkouts and compares every result's SHA-256: the proof that a refactor changed none.

    python tests/same_results.py OLD NEW      # two folders, each a checkout of this project

Both run with the interpreter that runs this script, in copies, so that the checkouts stay as they are. The exit code is
0 where all data files, weights, samples and metrics are identical, and 1 elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from project import COPIED, Project

PATTERNS = (
    "05_model_input/*.beton",
    "06_models/*.safetensors",
    "07_model_output/*.npz",
    "08_reporting/metrics.json",
    "08_reporting/likelihood.json",
    "08_reporting/search/*.csv",
)


def hashes(checkout: Path, folder: Path) -> dict[str, str]:
    """Result file to SHA-256 of the tiny cascade (conf/test) trained, sampled and scored by the checkout's code."""
    root = folder / "cdm"
    root.mkdir(parents=True)
    subprocess.run(
        ["cp", "-r", "--parents", *(n for n in COPIED if (checkout / n).exists()), root], cwd=checkout, check=True
    )
    for lock in root.rglob("dvc.lock"):
        lock.unlink()
    project = Project(root)
    project("git", "init", "-q")
    for pipeline in ("cascade", "search_truncation", "likelihood"):
        project("kedro", "run", f"--pipelines={pipeline}", "--env=test")
    data = root / "data/env/test"
    found = sorted({path for pattern in PATTERNS for path in data.glob(pattern)})
    return {str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def main() -> int:
    """Compare, and print one line a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="checkout whose results are right")
    parser.add_argument("new", type=Path, help="checkout to prove")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        old, new = (
            hashes(checkout.resolve(), Path(temporary) / side)
            for side, checkout in (("old", arguments.old), ("new", arguments.new))
        )
    same = True
    for name in sorted({*old, *new}):
        equal = name in old and old[name] == new.get(name)
        same &= equal
        shown = (side.get(name, "missing")[:16].ljust(16) for side in (old, new))
        print("same     " if equal else "DIFFERENT", *shown, name, sep="  ")
    kinds = {Path(name).suffix for name in old}
    if not {".safetensors", ".npz", ".json"} <= kinds:
        print(f"nothing to compare: found only {sorted(kinds)}")
        return 1
    print("all identical" if same else "results differ")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
