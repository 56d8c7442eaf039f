"""Versions of registered models that never change, and which of them is the champion."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from cdm_kedro.files.links import link_or_copy

Operation = dict[str, Any]
"""JSON values: ``op`` says what to do, ``run`` to which run, ``time`` when it happened (milliseconds since 1970)."""
UPLOAD_RATE = 10e6  # bytes per second; a server that takes less than this counts as one that does not answer
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
EXPERIMENT = "cdm-kedro"  # name of the project's experiment, and the first part of its registered models' names
CONTENT, MODEL, SCORED, VALUE, NETWORK = "cdm.content", "cdm.model", "cdm.scored", "cdm.value", "cdm.network."
"""Tags of a version: hash of what it is, MLflow's id of it, hash of how it was scored, its score, and the hash of each
network in it."""


def digest(value: Any) -> str:
    """Hash of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def network_tag(name: str) -> str:
    """Tag of a cascade's version with the content of one of its networks."""
    return f"{NETWORK}{EXPERIMENT}-{name}"


def register(client: Any, experiment: str, run: str, op: Operation) -> dict[str, Any]:
    """Add a version of a registered model, unless one with the same content exists, and decide about the champion.

    Returns ``version``, ``model`` (MLflow's id) and, with a score, what :func:`_compete` says. ``op``: ``name`` of the
    registered model; ``content``, a hash of everything that makes the version what it is; ``folder`` with the model's
    small files, or None; ``files``, path in the model to large file; ``tags`` and ``description`` of the version;
    ``metrics`` of the model; ``score``, or None where the version does not compete: its ``value``, whether ``higher``
    is better, and ``protocol``, a hash of how it was measured.
    """
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.exceptions import MlflowException

    name = op["name"]
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}'")
    version = next((v for v in versions if v.tags.get(CONTENT) == op["content"]), None)
    if version is None:
        model = client.create_logged_model(experiment, name, source_run_id=run, model_type=op.get("type"))
        _store(client, model, op)
        client.finalize_logged_model(model.model_id, "READY")
        numbers = [Metric(key, value, op["time"], 0, model_id=model.model_id) for key, value in op["metrics"].items()]
        client.log_batch(run, metrics=numbers)
        score = op["score"]
        tags = {**op["tags"], CONTENT: op["content"], MODEL: model.model_id}
        if score:
            tags |= {SCORED: score["protocol"], VALUE: repr(score["value"])}
        version = client.create_model_version(
            name, f"models:/{model.model_id}", run, tags, description=op["description"][:5000], model_id=model.model_id
        )
        versions.append(version)
    found = {"version": str(version.version), "model": version.tags[MODEL]}
    outputs = client.get_run(run).outputs
    if not outputs or found["model"] not in [output.model_id for output in outputs.model_outputs]:
        client.log_outputs(run, [LoggedModelOutput(found["model"], 0)])
    if op["score"] is None:
        client.set_registered_model_alias(name, "latest-trained", version.version)
        return found
    return found | _compete(client, version, versions, op)


def _store(client: Any, model: Any, op: Operation) -> None:
    """Put a model's files into the store: large ones by a hard link where the store is a folder of the same disk."""
    place = urlparse(model.artifact_location)
    if place.scheme not in ("", "file"):
        if op["folder"]:
            client.log_model_artifacts(model.model_id, op["folder"])
        usual = os.environ[TIMEOUT]
        for inside, path in op["files"].items():  # a request may take as much longer as the file takes
            os.environ[TIMEOUT] = str(int(usual) + round(Path(path).stat().st_size / UPLOAD_RATE))
            try:
                client.log_model_artifact(model.model_id, path, None if "/" not in inside else str(Path(inside).parent))
            finally:
                os.environ[TIMEOUT] = usual
        return
    folder = Path(unquote(place.path))
    if op["folder"]:
        shutil.copytree(op["folder"], folder, dirs_exist_ok=True)
    for inside, path in op["files"].items():
        link_or_copy(Path(path), folder / inside)


def _compete(client: Any, version: Any, versions: list[Any], op: Operation) -> dict[str, Any]:
    """Call the best version ``champion``; only versions that were scored alike are compared.

    A champion that was scored in another way stays what it is: nothing says which of the two is better. Returns
    ``best_before``: version and value of the best earlier one scored alike, or None; ``champion``: whether this version
    now has that name; ``champion_version``: which version has it.
    """
    name = op["name"]
    sign = 1.0 if op["score"]["higher"] else -1.0

    def rank(one: Any) -> tuple[float, int]:
        return sign * float(one.tags[VALUE]), -int(one.version)  # of equals the first

    alike = [v for v in versions if v.tags.get(SCORED) == op["score"]["protocol"]]
    earlier = max((v for v in alike if int(v.version) < int(version.version)), key=rank, default=None)
    champion = client.get_registered_model(name).aliases.get("champion")
    if champion is None or str(champion) in {str(v.version) for v in alike}:
        best = max(alike, key=rank)
        champion = best.version
        client.set_registered_model_alias(name, "champion", champion)
        for tag, content in best.tags.items():  # its networks are champions too
            network = tag.removeprefix(NETWORK)
            for one in client.search_model_versions(f"name = '{network}'") if network != tag else ():
                if one.tags.get(CONTENT) == content:
                    client.set_registered_model_alias(network, "champion", one.version)
    return {
        "best_before": earlier and {"version": str(earlier.version), "value": float(earlier.tags[VALUE])},
        "champion": str(champion) == str(version.version),
        "champion_version": str(champion),
    }
