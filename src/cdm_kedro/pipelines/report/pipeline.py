"""Wiring of the report."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.cas.pipeline import CAS_PICTURES
from cdm_kedro.pipelines.report.nodes import draw_single_images, report


def _inputs(spec: CascadeSpec) -> dict[str, str]:
    inputs = {"metrics": "metrics", "data_card": "data_card", "sampling": "sample_card", "params": "params:report"}
    for stage in spec.stages:
        parts = ("card",) if stage.pretrained else ("card", "curve")
        inputs |= {f"{stage.name}_{part}": f"{stage.name}_{part}" for part in parts}
    inputs |= {f"grid_{res}": f"grid_{res}" for res in spec.resolutions}
    figures = ["neighbours", "realism"]
    for name in spec.included:
        if name == "cas":
            inputs["cas"] = "cas_table"
            figures += [f"{picture}_cas_{res}" for res in spec.classified for picture in CAS_PICTURES]
        elif name == "likelihood":
            inputs["likelihood"] = "likelihood"
        elif name == "claim":
            figures += ["claim_figure", "claim_pictures"]
        else:
            figures.append(f"{name}_figure")
    return inputs | {f"figure_{name}": name for name in figures}


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Everything worth looking at, on one HTML page."""
    largest = spec.resolutions[-1]
    return Pipeline(
        [
            Node(
                draw_single_images,
                inputs={
                    "single_images": "single_images",
                    "samples": f"samples_{largest}",
                    "train": f"train_{largest}",
                    "metrics": "metrics",
                },
                outputs={"neighbours": "neighbours", "realism": "realism"},
                name="draw_single_images",
                namespace="report",
                tags=["report", "picture"],
            ),
            Node(
                report,
                inputs=_inputs(spec),
                outputs="report",
                name="write_report",
                namespace="report",
                tags=["report"],
            ),
        ]
    )
