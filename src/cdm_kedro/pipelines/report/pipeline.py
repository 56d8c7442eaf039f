"""Wiring of the report."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.cas.pipeline import CAS_PICTURES
from cdm_kedro.pipelines.report.nodes import draw_single_images, report
from cdm_kedro.pipelines.wiring import same, stage


def create_pipeline(cascade: CascadeShape) -> Pipeline:
    """Everything worth looking at, on one HTML page."""
    largest = cascade.resolutions[-1]
    chosen = {"samples": f"samples_{largest}", "train": f"train_{largest}", **same("single_images", "metrics")}
    drawn = same("neighbours", "realism")
    return stage("report", "draw_single_images", draw_single_images, chosen, drawn, "report", "picture") + stage(
        "report", "write_report", report, _inputs(cascade), "report", "report"
    )


def _inputs(cascade: CascadeShape) -> dict[str, str]:
    inputs = {"sampling": "sample_card", "params": "params:report", **same("metrics", "data_card")}
    inputs |= same(*(f"{model.name}_card" for model in cascade.models))
    inputs |= same(*(f"{model.name}_curve" for model in cascade.models if not model.pretrained))
    inputs |= same(*(f"grid_{side}" for side in cascade.resolutions))
    figures = ["neighbours", "realism"]
    for name in cascade.reported:
        if name == "cas":
            inputs["cas"] = "cas_table"
            figures += [f"{picture}_cas_{side}" for side in cascade.cas for picture in CAS_PICTURES]
        elif name == "likelihood":
            inputs["likelihood"] = "likelihood"
        elif name == "claim":
            figures += ["claim_figure", "claim_pictures"]
        else:
            figures.append(f"{name}_figure")
    return inputs | {f"figure_{name}": name for name in figures}
