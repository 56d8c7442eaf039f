"""Nodes of the stage ``report``."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import ReportParams
from cdm_kedro.tracking.scratch import scratch_dir


def report(
    metrics: dict[str, Any], data_card: dict[str, Any], sampling: dict[str, Any], params: ReportParams, **parts: Any
) -> str:
    """Put everything worth looking at on one page (HTML); see :func:`cdm_kedro.evaluation.report.render`.

    ``parts`` holds ``<model>_card``, ``<model>_curve``, PNG files ``grid_<resolution>`` and ``figure_<name>``,
    ``registered`` as the stage ``register`` made it, and, if ``report.include`` asks for them, what the pipelines
    ``cas`` and ``likelihood`` made, under these names.
    """
    from cdm_kedro.evaluation.report import render

    return render(
        params,
        metrics,
        data_card,
        sampling,
        cards={key.removesuffix("_card"): value for key, value in parts.items() if key.endswith("_card")},
        curves={key.removesuffix("_curve"): value for key, value in parts.items() if key.endswith("_curve")},
        grids={key.removeprefix("grid_"): path for key, path in parts.items() if key.startswith("grid_")},
        figures={key.removeprefix("figure_"): path for key, path in parts.items() if key.startswith("figure_")},
        **{key: parts[key] for key in ("cas", "likelihood", "registered") if key in parts},
    )


def draw_single_images(single_images: Path, samples: Path, train: Path, metrics: dict[str, Any]) -> dict[str, Path]:
    """Draw the single images that the stage ``evaluate`` chose (``single_images``, npz) at the largest size.

    Returns ``neighbours`` and ``realism``: PNG files that hold their captions.
    """
    import numpy as np

    from cdm_kedro.evaluation.pictures import draw_single_images
    from cdm_kedro.evaluation.sources import BetonSource, NpzSource

    with np.load(single_images, allow_pickle=False) as arrays:
        chosen, name = dict(arrays), metrics["extractor"]["name"]
    generated, real, folder = NpzSource(samples), BetonSource(train), scratch_dir("report")
    return draw_single_images(chosen, generated, real, metrics["memorization"], name, folder)


def draw_several_s(several_s: Path) -> Path:
    """Draw what :func:`~cdm_kedro.sampling.several_s.enlarge_at_several_s` made: a row for each s, below the input."""
    import numpy as np

    from cdm_kedro.evaluation.pictures import draw_rows

    with np.load(several_s, allow_pickle=False) as arrays:
        low, levels, images = arrays["low"], arrays["s"].tolist(), arrays["images"]
        psnr = ", ".join(f"{p:.1f} dB at s = {s}" for s, p in zip(levels, arrays["psnr"], strict=True))
        caption = (
            f"What conditioning augmentation does: the same {len(low[0])}-pixel samples, enlarged with the same noise "
            f"at several s. The cascade was sampled at s = {arrays['used']}. The more s, the less the model trusts its "
            f"input; PSNR of the enlarged images, averaged down, to the input: {psnr}."
        )
    rows = {"input": low} | {f"s = {s}": enlarged for s, enlarged in zip(levels, images, strict=True)}
    out = scratch_dir("report") / "conditioning.png"
    draw_rows(rows, out, caption)
    return out
