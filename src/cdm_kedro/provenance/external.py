"""Checks `kedro run --pipelines=evaluate --params=external…`, which judges files from outside the project."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.files.places import refuse_unwritable

KEY = "external"
_PIPELINE = "evaluate"
FOLDER = Path("08_reporting/external")
"""Below an environment's ``root``: where results go unless another place is named."""


def resolve(
    names: Sequence[str], runtime: Mapping[str, Any], evaluate: Mapping[str, Any], root: Path, roots: Sequence[Path]
) -> tuple[str, dict[str, Any]]:
    """Check everything that was asked for before any work begins.

    Returns the pipeline and its parameters, whose ``external.output`` is the file to write. Raises CdmError: wrong
    keys, values or paths; the message names each. ``runtime``: values of --params, which have ``KEY``. Relative paths
    start at the working directory. ``evaluate``: parameters of the environment. Their ``max_images`` does not apply
    here. ``roots``: data folders of all environments. There, results may go to ``FOLDER`` only, because DVC owns the
    rest.
    """
    from cdm_kedro.params.evaluation import EvaluateParams
    from cdm_kedro.params.explain import mistakes
    from cdm_kedro.params.external import ExternalParams

    if list(names) != [_PIPELINE]:
        raise CdmError(
            f"--params=external… is for --pipelines={_PIPELINE} alone; this run is of {', '.join(names) or 'cascade'}"
        )
    others = sorted(set(runtime) - {KEY, "evaluate"})
    if others:
        raise CdmError(f"--params: {others[0]} has no part in this run; only external.… and evaluate.… have")
    given = runtime.get("evaluate", {})
    overrides = {"max_images": None, **given} if isinstance(given, Mapping) else given
    if isinstance(overrides, dict) and overrides.get("weights") is not None:
        overrides["weights"] = str(_absolute(Path(str(overrides["weights"]))))
    found = [
        *mistakes(KEY, ExternalParams, runtime[KEY]),
        *mistakes("evaluate", EvaluateParams, {**evaluate, **overrides} if isinstance(overrides, dict) else overrides),
    ]
    if found:
        raise CdmError("\n".join(f"--params: {line}" for line in found))
    asked = ExternalParams.model_validate(runtime[KEY])
    pipeline = "evaluate_external" if asked.statistics_of is None else "reference_external"
    inputs = {key: _absolute(path) for key, path in asked.inputs().items()}
    for key, path in inputs.items():
        if not path.exists():
            raise CdmError(f"--params: external.{key} is {path}, which does not exist; name a file or folder")
    output = _absolute(asked.output) if asked.output is not None else root / FOLDER / _name(inputs)
    _check_output(output, inputs, roots)
    values = asked.model_dump(mode="json") | {key: str(path) for key, path in inputs.items()} | {"output": str(output)}
    return pipeline, {KEY: values, "evaluate": overrides}


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def _name(inputs: Mapping[str, Path]) -> str:
    stems = [re.sub(r"[^\w.-]", "_", path.name if path.is_dir() else path.stem) or "root" for path in inputs.values()]
    return "_vs_".join(stems).lstrip(".")[:200] + (".npz" if "statistics_of" in inputs else ".json")


def _check_output(output: Path, inputs: Mapping[str, Path], roots: Sequence[Path]) -> None:
    if output.is_dir():
        raise CdmError(f"--params: external.output is {output}, which is a folder; name a file in it")
    refuse_unwritable([output])
    if output in inputs.values():
        raise CdmError(f"--params: external.output is {output}, which this run reads; name another file")
    inside = [root for root in map(_absolute, roots) if output.is_relative_to(root)]
    if inside and not any(output.is_relative_to(root / FOLDER) for root in inside):
        raise CdmError(
            f"--params: external.output is {output}, where only recorded stages write; name a file in "
            f"{max(inside, key=lambda root: len(root.parts)) / FOLDER} or outside {min(inside)}"
        )
