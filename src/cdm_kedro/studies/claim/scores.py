"""The claim's scores with one seed: every point is sampled and scored, and its first samples are kept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.evaluation.sources import Images, NpzSource
from cdm_kedro.files.npz import write_arrays
from cdm_kedro.files.table import Row
from cdm_kedro.params.claim import SINGLE, ClaimSweepParams
from cdm_kedro.sampling.inputs import SamplingInputs
from cdm_kedro.studies.search.points import Point, truncation_points
from cdm_kedro.studies.search.sweep import sweep

_BASELINE = "claim_baseline"
_SHOWN = 10  # samples a point that are kept for the pictures


def _first(samples: Path) -> Images:
    source = NpzSource(samples)
    return source.read(range(min(_SHOWN, source.count)))


def score_points(
    seed: int,
    params: ClaimSweepParams,
    scorers: Sequence[Callable[[Path], dict[str, Any]]],
    inputs: SamplingInputs,
    baseline: Path,
    folder: Path,
) -> tuple[list[Row], Path]:
    """Sample and score the single model and the cascade at every s.

    Returns one row a point, and an npz of the first samples of every point and of their low-resolution inputs.
    """
    shown = folder / "pictures"
    shown.mkdir(parents=True, exist_ok=True)

    def score(samples: Path) -> Row:
        # Beside the point's finished scores, so that an interrupted sweep keeps them.
        np.save(shown / f"{samples.parent.name}.npy", _first(samples))
        found = [scorer(samples) for scorer in scorers]
        return {key: value for scores in found for key, value in scores.items() if key != "extractor"}

    seeded = params.model_copy(update={"seed": seed})
    single = seeded.model_copy(update={"stage": _BASELINE, "stages": {_BASELINE: params.baseline}})
    point = Point(SINGLE, {"conditioning": SINGLE}, params.baseline)
    rows = sweep([point], single, SamplingInputs({_BASELINE: baseline}, {}, {}), folder, score)
    rows += sweep(truncation_points(seeded), seeded, inputs, folder, score)
    pictures = {path.stem: np.load(path, allow_pickle=False) for path in sorted(shown.glob("*.npy"))}
    out = folder / "pictures.npz"
    write_arrays(out, {"low": _first(next(folder.glob("*/low/samples_*.npz"))), **pictures})
    return [{"seed": seed, **row} for row in rows], out
