"""dvc.yaml as a function of the pipelines, the catalog and the parameter files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from cdm_kedro.cascade_spec import read_parameters
from cdm_kedro.provenance.lineage import source_files

HEADER = "# Written by `kedro dvc-yaml{option}` from the pipeline, the catalog and the parameters; do not edit.\n"


def dvc_file(root: Path, env: str | None) -> Path:
    """Where the environment's dvc.yaml lies."""
    return root / "dvc.yaml" if env in (None, "base", "local") else root / "dvc" / str(env) / "dvc.yaml"


def _dvc_metadata(dataset: Any) -> dict[str, Any]:
    return dict((getattr(dataset, "metadata", None) or {}).get("dvc") or {})


def _path(dataset: Any, root: Path, name: str) -> str:
    if name == "images":
        return "${images}"  # so that stock DVC follows conf/<env>/globals.yml too
    path = Path(dataset._filepath)
    return (path.relative_to(root) if path.is_absolute() and path.is_relative_to(root) else path).as_posix()


def render(
    pipelines: Mapping[str, Pipeline], stages: list[str], catalog: CatalogProtocol, root: Path, env: str | None
) -> str:
    """The text of dvc.yaml.

    Args:
        pipelines: registered pipelines.
        stages: names of those that are stages, in order.
        catalog: resolves datasets to paths and DVC metadata (``metadata.dvc``: kind, x, y, cache).
        root: project folder.
        env: environment; None for base.

    Raises:
        ValueError: a parameter that no file defines.
    """
    import yaml

    own = dvc_file(root, env)
    nested = own.parent != root
    option = f" --env={env}" if nested else ""
    _, origin = read_parameters(root / "conf", env if nested else None)
    globals_env = env if nested and (root / "conf" / str(env) / "globals.yml").exists() else "base"
    up = "../../" if nested else ""
    document: dict[str, Any] = {"vars": [f"{up}conf/{globals_env}/globals.yml"], "stages": {}}
    plots: list[Any] = []
    for name in stages:
        pipeline = pipelines[name]
        stage: dict[str, Any] = {"cmd": f"kedro run{option} --pipelines={name}"}
        if nested:
            stage["wdir"] = "../.."
        code = {
            f.relative_to(root).as_posix() for node in pipeline.nodes for f in source_files(node.func, root / "src")
        }
        inputs = sorted(_path(catalog.get(d), root, d) for d in pipeline.inputs() if not d.startswith("params:"))
        stage["deps"] = inputs + sorted(code)
        params: dict[str, list[str]] = {}
        for parameter in sorted(d.removeprefix("params:") for d in pipeline.inputs() if d.startswith("params:")):
            top = parameter.split(".")[0]
            if top not in origin:
                raise ValueError(f"stage {name} reads parameter {parameter!r}, which no conf/*/parameters*.yml defines")
            params.setdefault(origin[top].relative_to(root).as_posix(), []).append(parameter)
        if params:
            stage["params"] = [{file: keys} for file, keys in sorted(params.items())]
        for output in sorted(pipeline.all_outputs()):
            dataset = catalog.get(output)
            meta = _dvc_metadata(dataset)
            kind, path = meta.pop("kind", "outs"), _path(dataset, root, output)
            if kind == "plots":
                axes = {k: meta.pop(k) for k in ("x", "y", "title") if k in meta}
                plots.append({f"{up}{path}": axes})
                kind = "outs"  # listed under top-level plots, which name the axes
            stage.setdefault(kind, []).append({path: meta} if meta else path)
        document["stages"][name] = stage
    if plots:
        document["plots"] = plots
    return HEADER.format(option=option) + yaml.safe_dump(document, sort_keys=False, width=140)
