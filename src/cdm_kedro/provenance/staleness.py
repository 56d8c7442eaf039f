"""Asks DVC which stages are stale and records in dvc.lock what was run. No other module uses DVC's internals (3.67)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.params.differences import differences
from cdm_kedro.provenance.dvcfile import dvc_file


class ProvenanceError(CdmError, RuntimeError):
    """A run that could not be recorded truthfully, or a project without DVC; the message says what to do."""


@dataclass(frozen=True)
class StageRun:
    """A stage whose turn has come.

    Attributes:
        key: hash of its command, parameters and inputs.
        restored: whether its outputs came from DVC's run cache, so that nothing is left to run.
    """

    key: str
    restored: bool


def stage_of_dvc() -> str | None:
    """The stage whose command this process is, under `dvc repro`; None elsewhere."""
    stage = os.environ.get("DVC_STAGE")
    return stage.rsplit(":", 1)[-1] if stage else None


class Staleness:
    """Staleness of the stages of one environment.

    Args:
        root: project folder. It becomes the working directory, because DVC resolves paths against that.
        env: environment.
        extra_of: maps a stage to the extra pipeline that it belongs to. Stages of the cascade are not in it.

    Raises:
        ProvenanceError: the folder is not a DVC repository.
    """

    def __init__(self, root: Path, env: str | None = None, extra_of: Mapping[str, str] | None = None) -> None:
        os.chdir(root)
        self.root, self.env, self.extra_of = root, env, extra_of or {}
        from dvc.exceptions import DvcException
        from dvc.repo import Repo, lock_repo
        from dvc.scm import SCMError

        talk = logging.getLogger("dvc")  # importing DVC gave it a handler of its own; the runner says what happens
        talk.setLevel(logging.WARNING)
        talk.propagate = False
        try:
            self.repo = Repo(str(root))
        except (DvcException, SCMError) as error:
            raise ProvenanceError(
                f"{root} is not a DVC repository ({error}). In a clone it is; in a plain copy run "
                "`git init && dvc init -f`, or `dvc init -f --no-scm` without git."
            ) from None
        self._lock_repo = lock_repo

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block no other `kedro run` or `dvc` touches the project's records.

        Raises:
            ProvenanceError: another one does now.
        """
        from dvc.lock import LockError

        try:
            with self._lock_repo(self.repo):
                yield
        except LockError as error:
            raise ProvenanceError(
                f"another `kedro run` or `dvc` is changing this project; try again when it ends ({error})"
            ) from None

    def stage(self, name: str) -> Any:
        """DVC's stage, with the hashes of dvc.lock."""
        return self.repo.stage.load_one(path=str(dvc_file(self.root, self.env, self.extra_of.get(name))), name=name)

    def all_fresh(self) -> bool:
        """One look at the whole cascade; unchanged files are not read again (DVC keeps their hashes)."""
        return not self.repo.status(targets=[str(dvc_file(self.root, self.env))])

    def why_stale(self, name: str) -> list[str]:
        """Reasons, empty when fresh."""
        with self.locked():
            stage = self.stage(name)
            entries: list[Any] = next(iter(stage.status().values()), [])
            return self._reasons(stage, entries) if entries else []

    @staticmethod
    def _reasons(stage: Any, entries: list[Any]) -> list[str]:
        reasons: list[str] = []
        recorded = {d.def_path: d.hash_info.value or {} for d in stage.params}
        current = {d.def_path: d.read_params() for d in stage.params}
        for entry in entries:
            if not isinstance(entry, dict):
                reasons.append("command changed" if entry == "changed command" else str(entry))
                continue
            for kind, items in entry.items():
                for item, state in items.items():
                    if isinstance(state, dict) and item in current:
                        if recorded[item]:
                            reasons += [
                                f"params {k} {old} → {new}"
                                for k, old, new in differences(recorded[item], current[item])
                            ]
                    elif kind == "changed outs":
                        reasons.append(
                            "not made yet"
                            if state == "deleted" and not recorded_outs(stage)
                            else f"output {state}: {item}"
                        )
                    elif recorded_outs(stage):
                        reasons.append(f"{state}: {item}")
        return _folded(list(dict.fromkeys(reasons))) or ["never run"]

    def invisible(self, name: str, effective: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
        """Parameters whose effective value is not the one DVC would record.

        Returns:
            (file, key, Kedro's value, DVC's value) for each leaf.
        """
        found = []
        for dependency in self.stage(name).params:
            for key, seen in dependency.read_params().items():
                value: Any = effective
                for part in key.split("."):
                    value = value.get(part) if isinstance(value, dict) else None
                found += [(dependency.def_path, *difference) for difference in differences(value, seen, key)]
        return found

    def recorded_key(self, name: str) -> str:
        """Stage key as dvc.lock has it."""
        return self._key(self.stage(name))

    def key(self, name: str) -> str:
        """Stage key of the present inputs; takes no lock."""
        stage = self.stage(name)
        stage.save_deps()
        return self._key(stage)

    @contextmanager
    def running(self, name: str, restore: bool = True) -> Iterator[StageRun]:
        """Around a stage's run: restores it from the run cache or lets the body run, then commits it to dvc.lock.

        The repository is unlocked while the body runs; the stage's inputs and outputs are not.

        Raises:
            ProvenanceError: an input, parameter or source file changed while the body ran; nothing is recorded then.
        """
        from dvc.exceptions import DvcException
        from dvc.rwlock import rwlock
        from dvc.stage.cache import RunCacheNotFoundError

        repo = self.repo
        with self.locked():
            stage = self.stage(name)
            read, written = [d.fs_path for d in stage.deps], [o.fs_path for o in stage.outs]
            missing = [os.path.relpath(path, self.root) for path in read if not os.path.lexists(path)]
            if missing:
                raise ProvenanceError(
                    f"stage {name} reads {', '.join(missing)}, which does not exist; put it there, run the stage that "
                    "makes it, or `dvc pull` (paths of files from outside are set in conf/*/globals.yml)"
                )
            try:
                lock = rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), read, written, False)
                lock.__enter__()
            except DvcException as error:
                raise ProvenanceError(f"stage {name} is in use: {error}") from None
            try:
                stage.remove_outs(ignore_remove=False)
                restored = False
                if restore:
                    with suppress(RunCacheNotFoundError):
                        repo.stage_cache.restore(stage)
                        restored = True
                stage.save_deps()
                run = StageRun(self._key(stage), restored)
                before = {str(d): d.hash_info for d in stage.deps}
                if restored:
                    yield run
                else:
                    repo.lock.unlock()
                    repo._reset()
                    try:
                        yield run
                    finally:
                        repo.lock.lock()
                stage.save(run_cache=all(o.use_cache for o in stage.outs if not (o.is_metric or o.is_plot)))
                changed = [str(d) for d in stage.deps if before[str(d)] != d.hash_info]
                if changed:
                    raise ProvenanceError(
                        f"changed while stage {name} ran: {', '.join(changed)}. "
                        "Its outputs are of the old version and are not recorded; run again."
                    )
                stage.commit()
                stage.dump(update_pipeline=False)
            finally:
                lock.__exit__(None, None, None)

    @staticmethod
    def _key(stage: Any) -> str:
        inputs = {"cmd": stage.cmd, "deps": {str(d): d.hash_info.value for d in stage.deps}}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()

    def file_hashes(self, paths: list[Path]) -> dict[str, str]:
        """DVC's hashes of files and folders, by path; unchanged ones come from its state without reading."""
        from dvc_data.hashfile.build import build

        found = {}
        odb = self.repo.cache.local
        for path in paths:
            if path.exists():
                _, _, built = build(odb, str(path.absolute()), self.repo.root_dir and odb.fs, "md5", dry_run=True)
                found[path.as_posix()] = str(built.hash_info.value)
        return found


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


def recorded_outs(stage: Any) -> bool:
    """Whether dvc.lock has this stage."""
    return any(o.hash_info for o in stage.outs)
