"""Wiring of the claim: the single model and a second extractor, a stage of scores for each seed, the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.claim.baseline import NAME as BASELINE
from cdm_kedro.pipelines.claim.baseline import train_baseline
from cdm_kedro.pipelines.claim.budget import match_compute
from cdm_kedro.pipelines.claim.classifier import NAME as CLASSIFIER
from cdm_kedro.pipelines.claim.classifier import make_classifier_reference, train_classifier
from cdm_kedro.pipelines.claim.report import report_claim
from cdm_kedro.pipelines.claim.scores import make_scores
from cdm_kedro.pipelines.claim.sensitivity import try_extractors
from cdm_kedro.pipelines.wiring import parts, real_images, same, stage


def create_stages(cascade: CascadeShape) -> dict[str, Pipeline]:
    """Stages by name; none where the environment does not test the claim."""
    if cascade.claim is None:
        return {}
    chain = cascade.chain(cascade.claim.sweep.stage)
    high, low = chain[-1].resolution, chain[-1].low_resolution
    stages: dict[str, Pipeline] = {}

    def add(name: str, function: Callable[..., Any], inputs: dict[str, str], outputs: Any) -> None:
        stages[name] = stage(name, f"run_{name}", function, inputs, outputs, "claim")

    sweep, evaluate = "params:claim.sweep", {"evaluate": "params:evaluate"}
    classifier = {"classifier": f"{CLASSIFIER}_model"}
    references = {"reference": "reference", "classifier_reference": "claim_reference"}
    trained = {"images": f"train_{high}", **same("classes", "data_card")}
    baseline = {"classes": "classes", "baseline": "params:claim.baseline", "sweep": sweep}
    models = {model.name: f"params:{model.name}" for model in chain}
    add("claim_budget", match_compute, {**baseline, **models}, "claim_budget")
    inputs = {**trained, "params": "params:claim.baseline", "budget": "claim_budget"}
    add(BASELINE, train_baseline, inputs, parts(BASELINE, "model", "card", "curve"))
    inputs = {**trained, "validation": f"val_{high}", "params": "params:claim.classifier"}
    add(CLASSIFIER, train_classifier, inputs, parts(CLASSIFIER, "model", "card", "curve"))
    real = {"train": f"train_{high}", "val": f"val_{high}"}
    add("claim_reference", make_classifier_reference, {**evaluate, **classifier, **real}, "claim_reference")
    inputs = {**evaluate, **classifier, **references, "val": f"val_{high}"}
    add("claim_extractors", try_extractors, inputs, "claim_extractors")
    inputs = {"params": sweep, **evaluate, **references, **classifier, "baseline": f"{BASELINE}_model"}
    inputs |= {**same(*(f"{model.name}_model" for model in chain)), **real_images([low] if low else [])}
    scores: dict[str, str] = {}
    for seed in cascade.claim.seeds:
        name = f"claim_seed{seed}"
        add(name, make_scores(seed), inputs, parts(name, "table", "pictures"))
        scores |= {f"{part}_{seed}": f"{name}_{part}" for part in ("table", "pictures")}
    cards = {f"card_{name}": f"{name}_card" for name in (*(model.name for model in chain), BASELINE)}
    facts = {"budget": "claim_budget", "classifier_card": f"{CLASSIFIER}_card", "noticed": "claim_extractors"}
    inputs = {"params": sweep, "classes": "classes", **references, **facts, "real": f"val_{high}", **scores, **cards}
    outputs = parts("claim", "table", "statements", "figure", "pictures", "page")
    add("claim_report", report_claim, inputs, outputs)
    return stages
