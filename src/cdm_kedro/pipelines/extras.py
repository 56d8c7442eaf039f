"""Wiring of the pipelines beside the cascade, which run when they are asked for."""

from collections.abc import Callable
from typing import Any

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.cas.compare import compare
from cdm_kedro.pipelines.cas.nodes import make_classify
from cdm_kedro.pipelines.cas.samples import sample_for_classifiers
from cdm_kedro.pipelines.cascade import add_models
from cdm_kedro.pipelines.claim.baseline import NAME as BASELINE
from cdm_kedro.pipelines.claim.baseline import train_baseline
from cdm_kedro.pipelines.claim.budget import match_compute
from cdm_kedro.pipelines.claim.classifier import NAME as CLASSIFIER
from cdm_kedro.pipelines.claim.classifier import make_classifier_reference, train_classifier
from cdm_kedro.pipelines.claim.report import report_claim
from cdm_kedro.pipelines.claim.scores import make_scores
from cdm_kedro.pipelines.claim.sensitivity import try_extractors
from cdm_kedro.pipelines.likelihood import likelihood
from cdm_kedro.pipelines.search.figure_nodes import draw_search
from cdm_kedro.pipelines.search.nodes import make_search
from cdm_kedro.pipelines.table.nodes import make_states, score_row
from cdm_kedro.pipelines.table.write import make_write, write_table1
from cdm_kedro.pipelines.wiring import CAS_PICTURES, Stages, parts, real_images, same

FIGURES = {"figure5": "cas", "figure7": "table2", "figure8": "search_steps", "figure9": "cas", "figure10": "cas"}
"""Figures of the paper, and the pipelines that draw them, which can be asked for by these names too."""
_TABLE = ("csv", "page")


def likelihood_stages(cascade: CascadeShape) -> Stages:
    """Models and real images to bits per dimension."""
    stages = Stages()
    inputs = {"params": "params:likelihood", "stages": "params:sample.stages"}
    inputs |= same(*(f"{name}_model" for name in cascade.names)) | real_images(*cascade.resolutions)
    stages.add("likelihood", "bound_likelihood", likelihood, inputs, "likelihood", "evaluate")
    return stages


def search_stages(cascade: CascadeShape, search: str) -> Stages:
    """A search over how one model is sampled: a stage that samples and scores, and one that draws."""
    stages, chain = Stages(), cascade.chain(cascade.searches[search])
    inputs = {"params": f"params:{search}", "evaluate": "params:evaluate", "reference": "reference"}
    inputs |= same(*(f"{model.name}_model" for model in chain))
    if search == "search_truncation":
        inputs |= real_images(chain[-2].resolution)
    found, figure = parts(search, "table", "best"), f"{search}_figure"
    stages.add(f"{search}_scores", f"run_{search}", make_search(search), inputs, found, "search")
    stages.add(figure, f"draw_{search}", draw_search, found, figure, "search", "picture")
    return stages


def cas_stages(cascade: CascadeShape) -> Stages:
    """The Classification Accuracy Score: two classifiers for each of its sizes, then their table and pictures."""
    stages = Stages()
    compared, drawn = same("classes"), {"table": "cas_table"}
    samples = {f"samples_{side}": f"{'cas_' * cascade.cas_samples}samples_{side}" for side in cascade.cas_resolutions}
    if samples and cascade.cas_samples:
        inputs = {"sample": "params:sample", "params": "params:cas", "labels": f"train_{cascade.cas_resolutions[0]}"}
        inputs |= same(*(f"{name}_model" for name in cascade.names), *cascade.sample_inputs)
        stages.add("cas_samples", "sample_for_classifiers", sample_for_classifiers, inputs, samples, "cas")
    for side in cascade.cas_resolutions:
        for kind, images in (("real", f"train_{side}"), ("generated", samples[f"samples_{side}"])):
            name = f"cas_{kind}_{side}"
            inputs = {"images": images, "validation": f"val_{side}", "classes": "classes", "params": "params:cas"}
            stages.add(name, f"train_{name}", make_classify(kind, side), inputs, parts(name, "scores", "curve"), "cas")
            compared[f"{kind}_{side}"] = f"{name}_scores"
        drawn |= {f"{picture}_{side}": f"{picture}_cas_{side}" for picture in CAS_PICTURES}
    if cascade.cas_resolutions:
        stages.add("cas_table", "compare_classifiers", compare, compared | samples, drawn, "cas")
    return stages


def claim_stages(cascade: CascadeShape) -> Stages:
    """The paper's claim: the single model, a second extractor, the scores of each seed, and the page."""
    stages = Stages()
    if cascade.claim is None:
        return stages

    def add(name: str, function: Callable[..., Any], inputs: dict[str, str], outputs: Any) -> None:
        stages.add(name, f"run_{name}", function, inputs, outputs, "claim")

    chain = cascade.chain(cascade.claim.sweep.stage)
    high, low = chain[-1].resolution, chain[-2].resolution
    sweep, evaluate, classes = {"params": "params:claim.sweep"}, {"evaluate": "params:evaluate"}, same("classes")
    trained_on = {"images": f"train_{high}", **classes, **same("data_card")}
    classifier = {"classifier": f"{CLASSIFIER}_model"}
    references = {"reference": "reference", "classifier_reference": "claim_reference"}

    inputs = {**classes, "baseline": "params:claim.baseline", "sweep": "params:claim.sweep"}
    inputs |= {model.name: f"params:{model.name}" for model in chain}
    add("claim_budget", match_compute, inputs, "claim_budget")
    inputs = {**trained_on, "params": "params:claim.baseline", "budget": "claim_budget"}
    add(BASELINE, train_baseline, inputs, parts(BASELINE, "model", "card", "curve"))
    inputs = {**trained_on, "validation": f"val_{high}", "params": "params:claim.classifier"}
    add(CLASSIFIER, train_classifier, inputs, parts(CLASSIFIER, "model", "card", "curve"))
    inputs = {**evaluate, **classifier, "train": f"train_{high}", "val": f"val_{high}"}
    add("claim_reference", make_classifier_reference, inputs, "claim_reference")
    inputs = {**evaluate, **classifier, **references, "val": f"val_{high}"}
    add("claim_extractors", try_extractors, inputs, "claim_extractors")

    inputs = {**sweep, **evaluate, **references, **classifier, "baseline": f"{BASELINE}_model"}
    inputs |= same(*(f"{model.name}_model" for model in chain)) | real_images(low)
    scores: dict[str, str] = {}
    for seed in cascade.claim.seeds:
        made = parts(f"claim_seed{seed}", "table", "pictures")
        add(f"claim_seed{seed}", make_scores(seed), inputs, made)
        scores |= {f"{part}_{seed}": dataset for part, dataset in made.items()}

    inputs = {**sweep, **references, **scores, "real": f"val_{high}", "budget": "claim_budget"}
    inputs |= {"classifier_card": f"{CLASSIFIER}_card", "noticed": "claim_extractors"}
    inputs |= {f"card_{name}": f"{name}_card" for name in (*(model.name for model in chain), BASELINE)}
    add("claim_report", report_claim, inputs, parts("claim", "table", "statements", "figure", "pictures", "page"))
    return stages


def table_stages(cascade: CascadeShape, key: str) -> Stages:
    """A table of the paper: a stage for each row, and one that writes them all down."""
    stages, table, job = Stages(), cascade.tables[key], {"job": f"params:{key}.job"}

    def models(name: str) -> dict[str, str]:
        return same(*(f"{model.name}_model" for model in cascade.chain(name)))

    written = {"rows": f"params:{key}.rows"}
    for name, row in table.rows.items():
        inputs = {**job, "row": f"params:{key}.rows.{name}", "evaluate": "params:evaluate", **same("reference")}
        _, *low = reversed(cascade.chain(row.model))
        if low and row.truncated:
            states = {**job, "states": f"params:{key}.states", **models(low[0].name)}
            states |= {f"settings_{model.name}": f"params:sample.stages.{model.name}" for model in low}
            if f"{key}_states" not in stages:
                stages.add(f"{key}_states", f"sample_{key}_states", make_states(low[0].name), states, f"{key}_states")
            inputs["low"] = f"{key}_states"
        elif low and row.conditioning == "generated":
            inputs["low"] = f"samples_{low[0].resolution}"
        elif low:
            inputs |= same(f"{row.conditioning}_{low[0].resolution}")
        made = {"scores": f"{key}_row_{name}", "pictures": f"{key}_shown_{name}"}
        stages.add(f"{key}_{name}", f"score_{key}_{name}", score_row, {**inputs, **models(row.model)}, made, "table")
        written |= {f"{part}_{name}": dataset for part, dataset in made.items()}
    stages.add(f"{key}_table", f"write_{key}", make_write(key), written, parts(key, *_TABLE, "pictures"), "table")
    return stages


def extra_stages(cascade: CascadeShape) -> dict[str, Stages]:
    """Name of each extra pipeline of an environment to its stages."""
    if not cascade.images:
        return {}
    ablations, table1, scores = Stages(), Stages(), same("metrics", *["cas_table"] * bool(cascade.cas_resolutions))
    add_models(ablations, cascade.ablations)
    table1.add("table1_table", "write_table1", write_table1, scores, parts("table1", *_TABLE), "table")
    extras = {"cas": cas_stages(cascade), "likelihood": likelihood_stages(cascade), "claim": claim_stages(cascade)}
    extras |= {search: search_stages(cascade, search) for search in cascade.searches}
    extras |= {"ablations": ablations, "table1": table1}
    extras |= {table: table_stages(cascade, table) for table in cascade.tables}
    return {name: stages for name, stages in extras.items() if stages}
