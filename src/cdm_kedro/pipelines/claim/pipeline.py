"""Wiring of the claim: the single model and a second extractor, a stage of scores for each seed, the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.claim.baseline import NAME as BASELINE
from cdm_kedro.pipelines.claim.baseline import train_baseline
from cdm_kedro.pipelines.claim.budget import match_compute
from cdm_kedro.pipelines.claim.classifier import NAME as CLASSIFIER
from cdm_kedro.pipelines.claim.classifier import make_classifier_reference, train_classifier
from cdm_kedro.pipelines.claim.report import report_claim
from cdm_kedro.pipelines.claim.scores import make_scores
from cdm_kedro.pipelines.claim.sensitivity import try_extractors


def _stage(name: str, function: Callable[..., Any], inputs: dict[str, str], outputs: Any) -> dict[str, Pipeline]:
    return {name: Pipeline([Node(function, inputs, outputs, name=f"run_{name}", namespace=name, tags=["claim"])])}


def create_stages(spec: CascadeSpec) -> dict[str, Pipeline]:
    """Stages by name; none where the environment has no ``claim``."""
    if spec.claim is None:
        return {}
    chain = spec.chain(spec.claim.stage)
    high, low = chain[-1].resolution, chain[-1].low_resolution
    stages = _stage(
        "claim_budget",
        match_compute,
        {
            "classes": "classes",
            "baseline": "params:claim.baseline",
            "sweep": "params:claim.sweep",
            **{s.name: f"params:{s.name}" for s in chain},
        },
        "claim_budget",
    )
    real = {"images": f"train_{high}", "classes": "classes", "data_card": "data_card"}
    stages |= _stage(
        BASELINE,
        train_baseline,
        {**real, "params": "params:claim.baseline", "budget": "claim_budget"},
        {part: f"{BASELINE}_{part}" for part in ("model", "card", "curve")},
    )
    stages |= _stage(
        CLASSIFIER,
        train_classifier,
        {**real, "validation": f"val_{high}", "params": "params:claim.classifier"},
        {part: f"{CLASSIFIER}_{part}" for part in ("model", "card", "curve")},
    )
    stages |= _stage(
        "claim_reference",
        make_classifier_reference,
        {
            "evaluate": "params:evaluate",
            "classifier": f"{CLASSIFIER}_model",
            "train": f"train_{high}",
            "val": f"val_{high}",
        },
        "claim_reference",
    )
    common = {
        "params": "params:claim.sweep",
        "evaluate": "params:evaluate",
        "reference": "reference",
        "classifier_reference": "claim_reference",
    }
    stages |= _stage(
        "claim_extractors",
        try_extractors,
        {
            "evaluate": "params:evaluate",
            "classifier": f"{CLASSIFIER}_model",
            "reference": "reference",
            "classifier_reference": "claim_reference",
            "val": f"val_{high}",
        },
        "claim_extractors",
    )
    models = {f"{s.name}_model": f"{s.name}_model" for s in chain}
    conditions = {f"{split}_{low}": f"{split}_{low}" for split in ("train", "val")}
    for seed in spec.claim.seeds:
        name = f"claim_seed{seed}"
        inputs = {**common, "classifier": f"{CLASSIFIER}_model", "baseline": f"{BASELINE}_model"}
        outputs = {part: f"{name}_{part}" for part in ("table", "pictures")}
        stages |= _stage(name, make_scores(seed), {**inputs, **models, **conditions}, outputs)
    parts = {
        f"{part}_{seed}": f"claim_seed{seed}_{part}" for seed in spec.claim.seeds for part in ("table", "pictures")
    }
    cards = {f"card_{name}": f"{name}_card" for name in (*(s.name for s in chain), BASELINE)}
    facts = {
        "classes": "classes",
        "budget": "claim_budget",
        "classifier_card": f"{CLASSIFIER}_card",
        "noticed": "claim_extractors",
    }
    return stages | _stage(
        "claim_report",
        report_claim,
        {
            **{key: name for key, name in common.items() if key != "evaluate"},
            **facts,
            "real": f"val_{high}",
            **parts,
            **cards,
        },
        {part: f"claim_{part}" for part in ("table", "statements", "figure", "pictures", "page")},
    )
