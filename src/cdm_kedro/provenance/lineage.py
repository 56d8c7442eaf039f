"""Tells where a file came from: its stage, run, commit, parameters and inputs, back to the images."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.files.templates import fill_template
from cdm_kedro.params.files import read_yaml
from cdm_kedro.provenance.dvcfile import is_code
from cdm_kedro.tracking.delivery import default_tracking_uri
from cdm_kedro.tracking.registry import EXPERIMENT


@dataclass(frozen=True)
class Origin:
    """One file (or folder) and the stage that made it."""

    path: str  # relative to the project
    md5: str | None  # of the content that dvc.lock recorded
    stage: str | None = None  # None for a file that came from outside
    params: dict[str, Any] = field(default_factory=dict)  # the stage's, with dotted keys
    code: int = 0  # number of source files that the stage depends on now
    inputs: tuple[str, ...] = ()  # paths of its data inputs
    run: str | None = None  # MLflow's id of the run that made this content, or None where none is known
    commit: str | None = None  # git commit of that run
    dirty: bool = False  # whether the tree had uncommitted changes then
    accepted: tuple[str, ...] = ()  # later changes that a user accepted for this content, with the reasons


class Lineage:
    """Reads the records of every dvc.lock of the project in ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: dict[str, tuple[str, dict[str, Any], str]] = {}
        for lock in filter(Path.exists, [*sorted((root / "dvc").rglob("dvc.lock")), root / "dvc.lock"]):
            for name, stage in (read_yaml(lock).get("stages") or {}).items():
                for out in stage.get("outs", []):
                    self._made[out["path"]] = (name, stage, str(out.get("md5")))

    def image_files(self, names: Iterable[str]) -> list[str]:
        """FFCV files among some files, or, where there are none, among the inputs of the stages that made them."""
        names = list(names)
        inputs = [dep["path"] for name in names if name in self._made for dep in self._made[name][1]["deps"]]
        given, read = (sorted({name for name in some if name.endswith(".beton")}) for some in (names, inputs))
        return given or read

    def trace(self, path: Path) -> list[Origin]:
        """Find the origin of a file, then the origins of its inputs, and so on, each once.

        Raises CdmError if no stage made it.
        """
        from cdm_kedro.tracking.live import flatten

        absolute = path.absolute()
        if not absolute.is_relative_to(self.root):
            raise CdmError(f"{path} lies outside the project {self.root}")
        start = absolute.relative_to(self.root)
        known = next((p.as_posix() for p in (start, *start.parents) if p.as_posix() in self._made), None)
        if known is None:
            raise CdmError(
                f"{start} is recorded in no dvc.lock: no finished stage made it, or `kedro run` has not recorded it yet"
            )
        found: dict[str, Origin] = {}
        waiting: list[tuple[str, str | None]] = [(known, None)]
        while waiting:
            name, md5 = waiting.pop(0)
            if name in found:
                continue
            if name not in self._made:
                found[name] = Origin(name, md5)
                continue
            stage, record, made = self._made[name]
            deps = record.get("deps", [])
            data = [(d["path"], str(d.get("md5"))) for d in deps if not is_code(d["path"])]
            code = [self.root / d["path"] for d in deps if is_code(d["path"])]
            params = {k: v for values in record.get("params", {}).values() for k, v in flatten(values)}
            found[name] = Origin(
                name,
                made,
                stage,
                params,
                len({line for file in code if file.exists() for line in file.read_text(encoding="utf-8").splitlines()}),
                tuple(dict.fromkeys(p for p, _ in data)),
                **self._run(stage, name, made),
            )
            waiting += data
        return list(found.values())

    def _run(self, stage: str, path: str, md5: str) -> dict[str, Any]:
        """What MLflow knows of the run that made a file: the last fields of :class:`Origin`."""
        import mlflow

        uri = default_tracking_uri(self.root)
        if uri.startswith("sqlite") and not Path(uri.removeprefix("sqlite:///")).exists():
            return {}  # a client would create the file
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        quote = '"' if "`" in path else "`"  # MLflow has no other escape
        where, of = [experiment.experiment_id] if experiment else [], f"tags.`cdm.stage` = '{stage}' and tags."
        made, accepted = (f"{of}{quote}{tag}.{path}{quote} = '{md5}'" for tag in ("dvc", "accepted"))
        query = f"{made} and attributes.status = 'FINISHED'"
        runs = client.search_runs(where, query, max_results=1) if where else []
        if not runs:
            return {}
        tags = runs[0].data.tags
        later = [run.data.tags for run in client.search_runs(where, accepted)]
        return {
            "run": runs[0].info.run_id,
            "commit": tags.get("git.commit") or None,
            "dirty": tags.get("git.dirty") == "True",
            "accepted": tuple(f"{other['cdm.accepted']} ({other['cdm.why']})" for other in reversed(later)),
        }


def describe(origins: list[Origin], changed: set[str], params: bool = True) -> str:
    """Describe origins as text, one paragraph for each stage, the newest first.

    Files whose content on disk differs from the record (``changed``) are marked.
    """
    stages: dict[str, list[Origin]] = {}
    for origin in origins:
        stages.setdefault(origin.stage or "", []).append(origin)
    by_path, template = {origin.path: origin for origin in origins}, Path(__file__).with_name("lineage.txt.j2")
    return fill_template(template, stages=stages, by_path=by_path, changed=changed, params=params)
