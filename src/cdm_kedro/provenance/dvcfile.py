"""dvc.yaml as a function of the pipelines, the catalog and the parameter files; and why a stage of it is stale."""

import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text
from cdm_kedro.params.base import differences
from cdm_kedro.params.files import read_parameters
from cdm_kedro.pipeline_registry import by_stage, extra_of_stages
from cdm_kedro.provenance.digests import BESIDE, NODES, digest_name

FILES = ("weights", "training.selection.weights", "val_files")
"""Keys of parameters that name a file. A stage that reads such a parameter depends on the file's content too."""
CODE = "code"  # folder of digest files below an environment's ``root``, and DVC's name of the stage that writes them
HEADER = "# Written by `kedro dvc-yaml{option}` from the pipeline, the catalog and the parameters; do not edit.\n"


def dvc_file(root: Path, env: str | None, extra: str | None = None) -> Path:
    """Where the dvc.yaml of an environment's cascade, or of one of its extra pipelines, lies."""
    if env in (None, "base", "local"):
        return root / "dvc.yaml" if extra is None else root / "dvc" / "base" / extra / "dvc.yaml"
    return root / "dvc" / str(env) / (extra or "") / "dvc.yaml"


def code_stage(extra: str | None) -> str:
    """DVC's name of the stage that writes the digest files of the cascade, or of one of its extra pipelines."""
    return CODE if extra is None else f"{extra}_{CODE}"


def is_code(path: str) -> bool:
    """Whether an input of a stage is a digest of code."""
    return path.endswith(".txt") and CODE in Path(path).parts


def _path(dataset: Any, root: Path, name: str) -> str:
    if name == "images":
        return "${images}"  # so that stock DVC follows conf/<env>/globals.yml too
    if dataset is None:
        raise CdmError(f"catalog*.yml in conf: {name} is missing, which a stage reads or writes; write it again")
    path = Path(dataset._filepath)
    return (path.relative_to(root) if path.is_absolute() and path.is_relative_to(root) else path).as_posix()


def out_of_date(root: Path, env: str | None, extras: Iterable[str]) -> bool:
    """Whether the dvc.yaml of the cascade or of an extra pipeline is missing, damaged or older than what it is from."""
    files = [dvc_file(root, env), *(dvc_file(root, env, extra) for extra in extras)]
    if not all(map(_stages, files)):
        return True
    oldest = min(file.stat().st_mtime_ns for file in files)
    return any(path.stat().st_mtime_ns > oldest for path in sources(root))


def sources(root: Path) -> list[Path]:
    """Files of code and configuration that a run follows from."""
    return [
        *(root / "conf").rglob("*.yml"),
        *(f for kind in (".py", *BESIDE) for f in (root / "src").rglob(f"*{kind}")),
    ]


def refresh(catalog: CatalogProtocol, root: Path, env: str | None, extras: Iterable[str] = ()) -> list[Path]:
    """Write the dvc.yaml files of an environment that differ from what they should be, and return their paths.

    An extra pipeline gets its file when somebody asks for the pipeline, so that `dvc status` does not list it before.
    """
    written = []
    for extra in (None, *dict.fromkeys(extra_of_stages().values())):
        path = dvc_file(root, env, extra)
        if not (extra is None or extra in extras or path.exists()):
            continue
        text = render(catalog, root, env, extra)
        if path.is_file() and path.read_bytes() == text.encode():
            path.touch()  # newer than its sources again, see out_of_date
            continue
        if path.exists():
            _forget_stages_with_fewer_inputs(path, text)
        write_text(path, text)
        written.append(path)
    return written


def _forget_stages_with_fewer_inputs(path: Path, text: str) -> None:
    """Remove the records of stages that lost an input, because DVC does not count such a stage as stale."""
    import yaml

    lock = path.with_name("dvc.lock")
    if not lock.exists():
        return
    before, after = _stages(path), yaml.safe_load(text)["stages"]
    locked = yaml.safe_load(lock.read_text(encoding="utf-8"))
    both = before.keys() & after.keys() & locked["stages"].keys()
    lost = [name for name in both if _data(before[name]) - _data(after[name])]
    for name in lost:
        del locked["stages"][name]
    if lost:
        write_text(lock, yaml.safe_dump(locked, sort_keys=False))


def _stages(path: Path) -> dict[str, Any]:
    """The stages of a dvc.yaml; none where there is no such file, or where it is damaged."""
    import yaml

    with suppress(OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return dict(yaml.safe_load(path.read_bytes())["stages"])
    return {}


def _data(stage: dict[str, Any]) -> set[str]:
    return {path for path in stage["deps"] if not path.startswith("src/") and not is_code(path)}


def render(catalog: CatalogProtocol, root: Path, env: str | None, extra: str | None = None) -> str:
    """The text of the dvc.yaml of an environment's cascade, or of one of its extra pipelines.

    The catalog resolves datasets to paths and to what DVC needs to know (``metadata.dvc``: kind, x, y, title, cache).
    Raises ValueError if no file defines a parameter.
    """
    import yaml
    from kedro.framework.project import pipelines

    if extra is None:
        stages = [name for name, _ in by_stage(pipelines["__default__"])]
    else:
        stages = [name for name, home in extra_of_stages().items() if home == extra]
    other = dvc_file(root, env) != dvc_file(root, None)
    option = f" {shlex.quote(f'--env={env}')}" if other else ""
    files = read_parameters(root / "conf", env if other else None)
    globals_env = env if other and (root / "conf" / str(env) / "globals.yml").exists() else "base"
    up = "../" * len(dvc_file(root, env, extra).parent.relative_to(root).parts)
    folder = "/".join(("${root}", CODE, *([extra] if extra else [])))
    modules = {name: sorted({node.func.__module__ for node in pipelines[name].nodes}) for name in stages}
    needed = sorted({module for some in modules.values() for module in some})
    place = {"wdir": up.rstrip("/")} if up else {}
    code: dict[str, Any] = {
        "cmd": " ".join(["kedro code-digests", folder, *(module.removeprefix(NODES) for module in needed)]),
        **place,
        "deps": ["src/cdm_kedro"],
        "outs": [f"{folder}/{digest_name(module)}" for module in needed],
    }
    document: dict[str, Any] = {"vars": [f"{up}conf/{globals_env}/globals.yml"], "stages": {code_stage(extra): code}}
    plots: list[Any] = []
    for name in stages:
        pipeline = pipelines[name]
        stage: dict[str, Any] = {"cmd": f"kedro run{option} --pipelines={name}", **place}
        inputs = {_path(catalog.get(d), root, d) for d in pipeline.inputs() if not d.startswith("params:")}
        parameters = sorted(d.removeprefix("params:") for d in pipeline.inputs() if d.startswith("params:"))
        named = [files.get(f"{parameter}.{key}") for parameter in parameters for key in FILES]
        stage["deps"] = sorted(inputs | {file for file in named if isinstance(file, str)})  # pydantic refuses others
        stage["deps"] += [f"{folder}/{digest_name(module)}" for module in modules[name]]
        params: dict[str, list[str]] = {}
        for parameter in parameters:
            top = parameter.split(".")[0]
            if top not in files.origin:
                raise ValueError(f"stage {name} reads parameter {parameter!r}, which no conf/*/parameters*.yml defines")
            params.setdefault(files.origin[top].relative_to(root).as_posix(), []).append(parameter)
        if params:
            stage["params"] = [{file: keys} for file, keys in sorted(params.items())]
        for output in sorted(pipeline.all_outputs()):
            dataset = catalog.get(output)
            told = getattr(dataset, "metadata", None) or {}
            meta = told.get("dvc") or {} if isinstance(told, dict) else told
            if not isinstance(meta, dict) or meta.get("kind", "outs") not in ("outs", "metrics", "plots"):
                raise CdmError(f"catalog*.yml: {output}.metadata.dvc is {meta!r}; its kind is outs, metrics or plots")
            meta = dict(meta)
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


def reasons(stage: Any) -> list[str]:
    """Why one of DVC's stages is stale, in words; nothing where it is fresh."""
    entries: list[Any] = next(iter(stage.status().values()), [])
    if not entries:
        return []
    found: list[str] = []
    recorded = {d.def_path: d.hash_info.value or {} for d in stage.params}
    current = {d.def_path: d.read_params() for d in stage.params}
    code = {str(d): d for d in stage.deps if is_code(d.def_path)}
    made = any(o.hash_info for o in stage.outs)
    for entry in entries:
        if not isinstance(entry, dict):
            found.append("command changed" if entry == "changed command" else str(entry))
            continue
        for kind, items in entry.items():
            for item, state in items.items():
                if isinstance(state, dict) and item in current:
                    if recorded[item]:
                        changed = differences(recorded[item], current[item])
                        found += [f"params {key} {old} → {new}" for key, old, new in changed]
                elif kind == "changed outs":
                    found.append(f"output {state}: {item}" if made or state != "deleted" else "not made yet")
                elif made and item in code:
                    found += _code_changes(code[item])
                elif made:
                    found.append(f"{state}: {item}")
    return _folded(list(dict.fromkeys(found))) or ["never run"]


def _code_changes(dependency: Any) -> list[str]:
    """What changed in the code of a stage: "modified: " and the path of a source file, for each."""
    try:
        recorded = dependency.repo.cache.local.oid_to_path(dependency.hash_info.value)
        old, new = (set(Path(path).read_text(encoding="utf-8").splitlines()) for path in (recorded, dependency.fs_path))
    except (OSError, TypeError):
        return ["code changed"]
    return [f"modified: src/{path}" for path in sorted({line.split("  ")[1] for line in old ^ new})]


def _folded(reasons: list[str]) -> list[str]:
    """Files in the same state as one reason: "modified: a, b and 3 more"."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        state, separator, item = reason.partition(": ")
        groups.setdefault(state if separator else reason, []).append(item)
    return [
        state + (": " + ", ".join(items[:3]) if items[0] else "") + (f" and {len(items) - 3} more" if items[3:] else "")
        for state, items in groups.items()
    ]
