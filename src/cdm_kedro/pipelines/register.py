"""Registration node: the evaluated cascade becomes a version of an MLflow model."""

import logging
from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams

log = logging.getLogger(__name__)

NAME = "cdm-kedro-cascade"  # of the registered model


def register_cascade(
    params: EvaluateParams,
    metrics: dict[str, Any],
    data_card: dict[str, Any],
    sampling: dict[str, Any],
    classes: list[str],
    **parts: Any,
) -> dict[str, Any]:
    """Register the cascade, and compare it with the best one that was scored alike.

    Returns ``name`` and ``version`` of the registered model (None where MLflow did not take it), the deciding
    ``metric`` with its ``value``, and ``said``, a sentence on how it stands to the champion. ``parts``:
    ``<model>_model``, the weights of every network, lowest first, and ``<model>_card``.
    """
    from cdm_kedro.evaluation.champion import champion_score, render_model_card
    from cdm_kedro.files.hashes import md5
    from cdm_kedro.params.sampling import SampleParams
    from cdm_kedro.sampling.mlflow_model import CODE, WEIGHTS, write_model
    from cdm_kedro.tracking.live import flatten, live
    from cdm_kedro.tracking.registry import digest, network_tag
    from cdm_kedro.tracking.scratch import scratch_dir

    models = {key.removesuffix("_model"): Path(path) for key, path in parts.items() if key.endswith("_model")}
    settings = SampleParams.model_validate(sampling["params"])
    score = champion_score(metrics, data_card, params.champion_metric)
    made = {"name": NAME, "version": None, "metric": score and score.metric, "value": score and score.value}
    real = [name for name, one in settings.stages.items() if one.conditioning != "generated"]
    if real:
        return _said(made, f"not registered, because {real[0]} is conditioned on real images")
    folder = scratch_dir("register") / "model"
    write_model(folder, list(models), settings, classes)
    networks = {network_tag(name): md5(path) for name, path in models.items()}
    facts = {"classes": classes, "models": sampling["params"]["stages"], "data": data_card}
    cards = {name: parts[f"{name}_card"] for name in models}
    answer = live().register(
        name=NAME,
        type="cascade",
        content=digest([networks, sampling["params"], classes, metrics, CODE.read_text(encoding="utf-8")]),
        folder=str(folder),
        files={WEIGHTS.format(name=name): str(path.absolute()) for name, path in models.items()},
        tags={key: str(value) for key, value in (networks | dict(flatten(score.protocol if score else {}))).items()},
        description=render_model_card(NAME, metrics, cards=cards, **facts),
        metrics={key.replace(".", "/"): value for key, value in flatten(metrics) if isinstance(value, float)},
        score=score and {"value": score.value, "higher": score.higher, "protocol": digest(score.protocol)},
    )
    if answer is None:
        return _said(made, "not registered: MLflow did not take it; after an outage `kedro replay-runs` delivers it")
    version = answer["version"]
    said = score.standing(answer) if score else f"version {version} has no {params.champion_metric} to compete with"
    return _said({**made, "version": version}, said)


def _said(made: dict[str, Any], sentence: str) -> dict[str, Any]:
    log.info("%s: %s", NAME, sentence)
    return {**made, "said": sentence}
