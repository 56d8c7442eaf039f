"""Wiring of the cascade, from images to the report: every stage with the datasets that it takes and makes."""

from collections.abc import Iterable

from cdm_kedro.params.cascade import CascadeShape, ModelShape
from cdm_kedro.pipelines.convert import make_convert
from cdm_kedro.pipelines.embedded import generate_embedded
from cdm_kedro.pipelines.evaluate import evaluate
from cdm_kedro.pipelines.grids import draw_grids
from cdm_kedro.pipelines.preprocess import preprocess
from cdm_kedro.pipelines.reference import make_reference
from cdm_kedro.pipelines.register import register_cascade
from cdm_kedro.pipelines.report import draw_several_s, draw_single_images, report
from cdm_kedro.pipelines.sample import sample_cascade
from cdm_kedro.pipelines.train.nodes import make_train
from cdm_kedro.pipelines.train.selecting import make_selecting_train
from cdm_kedro.pipelines.wiring import CAS_PICTURES, Stages, parts, real_images, same


def cascade_stages(cascade: CascadeShape) -> Stages:
    """The stages of the cascade."""
    stages = Stages()
    if cascade.embedded:
        inputs = {"params": "params:embedded"}
        stages.add("embedded", "generate_embedded", generate_embedded, inputs, "embedded_images", "data")
    if cascade.images:
        inputs = same("images", *["embedded_images"] * cascade.embedded) | {"params": "params:preprocess"}
        outputs = real_images(*cascade.preprocess_resolutions) | same("classes", "data_card")
        stages.add("preprocess", "preprocess_images", preprocess, inputs, outputs, "data")
    add_models(stages, cascade.models)
    _add_sampling(stages, cascade)
    if cascade.images:
        _add_evaluation(stages, cascade)
        _add_report(stages, cascade)
    return stages


def add_models(stages: Stages, models: Iterable[ModelShape]) -> None:
    """Add a stage for each model, in which it is trained, or converted from published weights."""
    for model in models:
        name, kind = model.name, "base" if model.low is None else "super_resolution"
        inputs = {"params": f"params:{name}"}
        if model.pretrained:
            inputs |= parts(name, "pretrained")
            outputs = parts(name, "model", "card")
            stages.add(name, f"convert_{name}", make_convert(name), inputs, outputs, "convert", kind)
        else:
            inputs |= {"images": f"train_{model.resolution}", **same("classes", "data_card")}
            inputs |= {"held_out": f"val_{model.resolution}"} if model.held_out else {}
            outputs = parts(name, "model", "card", "curve")
            train = make_selecting_train(name) if model.selects else make_train(name)
            stages.add(name, f"train_{name}", train, inputs, outputs, "train", kind)


def _add_sampling(stages: Stages, cascade: CascadeShape) -> None:
    """The whole cascade is sampled in one stage; its samples are labelled (ADM's npz). Pictures are another stage."""
    samples = same(*(f"samples_{side}" for side in cascade.resolutions))
    grids = same(*(f"grid_{side}" for side in cascade.resolutions))
    inputs = {"params": "params:sample"}
    models = same(*(f"{name}_model" for name in cascade.names), *cascade.sample_inputs)
    outputs = {**samples, "card": "sample_card"}
    if any(model.any_s for model in cascade.models):
        outputs |= same("several_s")
    stages.add("sample", "sample_cascade", sample_cascade, inputs | models, outputs, "sample")
    inputs = {"params": "params:grids", "classes": "classes" if cascade.images else "class_names", **samples}
    stages.add("grids", "draw_grids", draw_grids, inputs, grids, "picture")


def _add_evaluation(stages: Stages, cascade: CascadeShape) -> None:
    params = {"params": "params:evaluate"}
    made, inputs = same("reference", "train_features"), params | real_images(*cascade.resolutions)
    stages.add("reference", "make_reference", make_reference, inputs, made, "evaluate")
    inputs = params | made | same("classes", *(f"samples_{side}" for side in cascade.resolutions))
    stages.add("evaluate", "evaluate_samples", evaluate, inputs, same("metrics", "single_images"), "evaluate")
    networks = same(*(f"{name}_{part}" for name in cascade.names for part in ("model", "card")))
    inputs = params | {"sampling": "sample_card"} | same("metrics", "data_card", "classes") | networks
    stages.add("register", "register_cascade", register_cascade, inputs, "registered", "register")


def _add_report(stages: Stages, cascade: CascadeShape) -> None:
    largest = cascade.resolutions[-1]
    chosen = {"samples": f"samples_{largest}", "train": f"train_{largest}", **same("single_images", "metrics")}
    drawn = same("neighbours", "realism")
    stages.add("report", "draw_single_images", draw_single_images, chosen, drawn, "report", "picture")
    shows_s = "several_s" in stages["sample"].outputs()
    if shows_s:
        stages.add("report", "draw_several_s", draw_several_s, same("several_s"), "conditioning", "report", "picture")
    shown = [f"{model.name}_card" for model in cascade.models]
    shown += [f"{model.name}_curve" for model in cascade.models if not model.pretrained]
    shown += [f"grid_{side}" for side in cascade.resolutions]
    inputs = {"sampling": "sample_card", "params": "params:report"}
    inputs |= same("metrics", "data_card", "registered", *shown)
    figures = [*drawn, *["conditioning"] * shows_s]
    compared = [f"{picture}_cas_{side}" for side in cascade.cas_resolutions for picture in CAS_PICTURES]
    several = {"cas": compared, "likelihood": [], "claim": ["claim_figure", "claim_pictures"]}
    for name in cascade.reported:
        figures += several.get(name, [f"{name}_figure"])
    tables = {"cas": "cas_table", "likelihood": "likelihood"}
    inputs |= {name: tables[name] for name in cascade.reported if name in tables}
    inputs |= {f"figure_{name}": name for name in figures}
    stages.add("report", "write_report", report, inputs, "report", "report")
