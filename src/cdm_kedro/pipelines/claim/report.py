"""Node that judges the claim; apart from sampling, so that another look at the numbers costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.claim import ClaimSweepParams


def report_claim(
    params: ClaimSweepParams,
    classes: list[str],
    budget: dict[str, Any],
    classifier_card: dict[str, Any],
    noticed: dict[str, dict[str, float]],
    reference: Path,
    classifier_reference: Path,
    real: Path,
    **parts: Any,
) -> dict[str, Any]:
    """Table, figures, statements and page.

    Args:
        params: points.
        classes: class names.
        budget: what ``match_compute`` returned.
        classifier_card: of the second extractor.
        noticed: what ``try_extractors`` returned.
        reference: real images by the first extractor.
        classifier_reference: real images by the second.
        real: FFCV file of validation images.
        parts: ``table_<seed>`` (CSV), ``pictures_<seed>`` (npz) and ``card_<model>`` (model cards).

    Returns:
        ``table`` (CSV), ``statements`` (JSON), ``figure`` and ``pictures`` (PNG), ``page`` (HTML).
    """
    import numpy as np

    from cdm_kedro.data.beton import check_beton
    from cdm_kedro.evaluation.reference import read_reference
    from cdm_kedro.evaluation.scoring import metric_names
    from cdm_kedro.evaluation.sources import BetonSource
    from cdm_kedro.evaluation.statistics import frechet_distance
    from cdm_kedro.files.table import from_csv, to_csv
    from cdm_kedro.studies.claim.figure import draw_curves, draw_pictures
    from cdm_kedro.studies.claim.page import across, render
    from cdm_kedro.studies.claim.statements import Scores, agreement, judge
    from cdm_kedro.studies.claim.table import average
    from cdm_kedro.tracking.scratch import scratch_dir

    tables = {key: value for key, value in parts.items() if key.startswith("table_")}
    rows = [row for key in sorted(tables) for row in from_csv(tables[key])]
    cards = {key.removeprefix("card_"): value for key, value in parts.items() if key.startswith("card_")}
    resolution = check_beton(real).resolution
    metrics: dict[str, tuple[str, str]] = {}
    floors: dict[str, dict[str, Any]] = {}
    for path in (reference, classifier_reference):
        with np.load(path, allow_pickle=False) as arrays:
            name = str(arrays["extractor"])
            names = metric_names(name)
            metrics[name] = (f"{names['fd']}_{params.select}", names["score"])
            train, val = (read_reference(arrays, f"{split}_{resolution}/").moments for split in ("train", "val"))
            floors[name] = {"score": frechet_distance(val, train), "n": val.n}
    scores = {name: Scores(rows, fd) for name, (fd, _) in metrics.items()}
    statements = across({name: judge(own) for name, own in scores.items()})
    alike = agreement(*scores.values())
    columns = [column for pair in metrics.values() for column in pair]
    table = average(rows, [*columns, *(fd.removesuffix("train") + "val" for fd, _ in metrics.values())])

    folder = scratch_dir("claim_report")
    seeds = sorted({row["seed"] for row in rows})
    figure, grid = folder / "claim.png", folder / "pictures.png"
    held = ", ".join(f"({s['key']}) {s['verdict']}" for s in statements)
    caption = (
        f"Fréchet distance against s by two extractors, {rows[0]['n']} samples a point and seed, bands: 95 % over "
        f"{len(seeds)} seeds; right, the paper's FID at the same s. The paper's statements: {held}."
    )
    draw_curves(scores, {name: floor["score"] for name, floor in floors.items()}, caption, figure)
    with np.load(parts[f"pictures_{seeds[0]}"], allow_pickle=False) as arrays:
        shown = {key: arrays[key] for key in arrays.files}
    levels = sorted(s for s in params.s if s > 0)
    labels = BetonSource(real).labels
    assert labels is not None
    first = [int(np.flatnonzero(labels == label)[0]) for label in range(len(classes)) if (labels == label).any()]
    draw_pictures(
        [
            ("input", shown["low"]),
            ("s = 0", shown["none_s0"]),
            *((f"s = {s}", shown[f"non_truncated_s{s}"]) for s in levels),
            ("single model", shown["single"]),
            ("real", BetonSource(real).read(first[: len(shown["low"])])),
        ],
        "The low-resolution model's samples, and what the super-resolution model makes of each at every s "
        "(non-truncated) from the same noise; the single model's samples; validation images.",
        grid,
    )
    facts = {
        "resolution": resolution,
        "low_resolution": len(shown["low"][0]),
        "n": rows[0]["n"],
        "seeds": seeds,
        "budget": budget,
        "cards": cards,
        "classifier": classifier_card,
        "floors": floors,
        "noticed": noticed,
    }
    return {
        "table": to_csv(table),
        "statements": {"statements": statements, "agreement": alike, "floors": floors, "seeds": seeds},
        "figure": figure,
        "pictures": grid,
        "page": render(statements, table, metrics, alike, facts, [figure, grid]),
    }
