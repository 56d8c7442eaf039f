"""Wiring of the Classification Accuracy Score: a pipeline beside the cascade, run when asked for."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.cas.compare import compare
from cdm_kedro.pipelines.cas.nodes import make_classify

CAS_PICTURES = ("comparison", "best", "worst")


def create_stages(spec: CascadeSpec) -> dict[str, Pipeline]:
    """Stages by name: two classifiers for each of ``cas.resolutions``, then their table and pictures."""
    if not spec.classified:
        return {}
    stages: dict[str, Pipeline] = {}
    for resolution in spec.classified:
        for kind, images in (("real", f"train_{resolution}"), ("generated", f"samples_{resolution}")):
            name = f"cas_{kind}_{resolution}"
            node = Node(
                make_classify(kind, resolution),
                inputs={
                    "images": images,
                    "validation": f"val_{resolution}",
                    "classes": "classes",
                    "params": "params:cas",
                },
                outputs={"scores": f"{name}_scores", "curve": f"{name}_curve"},
                name=f"train_{name}",
                namespace=name,
                tags=["cas"],
            )
            stages[name] = Pipeline([node])
    inputs = {"classes": "classes"}
    outputs = {"table": "cas_table"}
    for resolution in spec.classified:
        inputs |= {f"{kind}_{resolution}": f"cas_{kind}_{resolution}_scores" for kind in ("real", "generated")}
        inputs[f"samples_{resolution}"] = f"samples_{resolution}"
        outputs |= {f"{picture}_{resolution}": f"{picture}_cas_{resolution}" for picture in CAS_PICTURES}
    node = Node(
        compare, inputs=inputs, outputs=outputs, name="compare_classifiers", namespace="cas_table", tags=["cas"]
    )
    return {**stages, "cas_table": Pipeline([node])}
