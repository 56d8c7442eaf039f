"""Where benchmarks leave their figures: one JSON a benchmark, with the machine and the date."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("results")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    facts: dict[str, Any] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        facts["processor"] = names[0] if names else facts["processor"]
    return {**facts, "python": platform.python_version()}


def record(name: str, figures: dict[str, Any], folder: Path = FOLDER, quiet: bool = False) -> Path:
    """Write ``<folder>/<name>.json``.

    Args:
        name: of the benchmark.
        figures: JSON-able; seconds, ratios and sizes with their units in the keys.
        folder: where to.
        quiet: do not say so.
    """
    path = folder / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    document = {"date": datetime.date.today().isoformat(), "machine": machine(), **figures}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if not quiet:
        print(f"recorded in {path.parent.name}/{path.name}")
    return path
