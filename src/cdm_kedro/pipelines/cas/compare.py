"""Node that compares the classifiers; in its own file, so that an edit of it retrains none of them."""

from typing import Any


def compare(classes: list[str], **parts: Any) -> dict[str, Any]:
    """Make ``table``, and for each resolution the PNG files ``comparison_…``, ``best_…`` and ``worst_<resolution>``.

    ``parts`` holds for each the scores ``real_…`` and ``generated_<resolution>``, and the npz ``samples_<resolution>``.
    """
    from cdm_kedro.studies.cas.results import cas_table, draw_classes, draw_comparison
    from cdm_kedro.tracking.scratch import scratch_dir

    sizes = [int(key.removeprefix("real_")) for key in parts if key.startswith("real_")]
    scores = {size: {kind: parts[f"{kind}_{size}"] for kind in ("real", "generated")} for size in sizes}
    out: dict[str, Any] = {"table": cas_table(scores)}
    for size, pair in scores.items():
        paths = {kind: scratch_dir("cas_table") / f"{kind}_{size}.png" for kind in ("comparison", "best", "worst")}
        draw_comparison(pair["real"], pair["generated"], paths["comparison"])
        draw_classes(pair, parts[f"samples_{size}"], classes, paths)
        out |= {f"{kind}_{size}": path for kind, path in paths.items()}
    return out
