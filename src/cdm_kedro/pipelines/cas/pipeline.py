"""Wiring of the Classification Accuracy Score: a pipeline beside the cascade, run when asked for."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.cas.compare import compare
from cdm_kedro.pipelines.cas.nodes import make_classify
from cdm_kedro.pipelines.wiring import parts, same, stage

CAS_PICTURES = ("comparison", "best", "worst")


def create_stages(cascade: CascadeShape) -> dict[str, Pipeline]:
    """Stages by name: two classifiers for each of ``cas.resolutions``, then their table and pictures."""
    if not cascade.cas:
        return {}
    stages: dict[str, Pipeline] = {}
    compared, drawn = same("classes"), {"table": "cas_table"}
    for side in cascade.cas:
        for kind, images in (("real", f"train_{side}"), ("generated", f"samples_{side}")):
            name = f"cas_{kind}_{side}"
            inputs = {"images": images, "validation": f"val_{side}", "classes": "classes", "params": "params:cas"}
            outputs = parts(name, "scores", "curve")
            stages[name] = stage(name, f"train_{name}", make_classify(kind, side), inputs, outputs, "cas")
            compared[f"{kind}_{side}"] = f"{name}_scores"
        compared |= same(f"samples_{side}")
        drawn |= {f"{picture}_{side}": f"{picture}_cas_{side}" for picture in CAS_PICTURES}
    return {**stages, "cas_table": stage("cas_table", "compare_classifiers", compare, compared, drawn, "cas")}
