"""Asks DVC which stages are stale and records in dvc.lock what was run, through DVC's internals (3.67)."""

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import wraps
from itertools import filterfalse
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from cdm_kedro.errors import CdmError
from cdm_kedro.files import links
from cdm_kedro.files.places import disk_full_explained, refuse_unwritable
from cdm_kedro.params.base import differences
from cdm_kedro.params.files import Parameters
from cdm_kedro.provenance import lockfile, stock_dvc
from cdm_kedro.provenance.dvcfile import code_stage, dvc_file, is_code, reasons
from cdm_kedro.provenance.locks import blockers, holder, patiently

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class StageRun:
    """A stage whose turn has come."""

    name: str
    key: str  # hash of its command, parameters, code and data, as they were when it began
    why: list[str]  # reasons why it is stale; empty when it is fresh
    state: str  # fresh; restored from DVC's run cache; kept by a run that ended before it recorded; due, so it must run
    stage: Any  # DVC's, with the hashes that it began with
    work: Path  # folder for its unfinished work
    held: ExitStack = field(default_factory=ExitStack, repr=False)  # DVC's lock of its files

    @property
    def outputs(self) -> list[Path]:
        """Paths of its outputs."""
        return [Path(out.fs_path) for out in self.stage.outs]

    def hashes(self) -> dict[str, str]:
        """DVC's hashes of its inputs and outputs, by path."""
        return {file.def_path: str(file.hash_info.value) for file in (*_data(self.stage), *self.stage.outs)}


def _data(stage: Any) -> list[Any]:
    """A stage's inputs that are neither parameters nor code."""
    return [d for d in stage.deps if d not in stage.params and not is_code(d.def_path)]


def stage_of_dvc() -> str | None:
    """The stage whose command this process is, under `dvc repro`; None elsewhere."""
    stage = os.environ.get("DVC_STAGE")
    return stage.rsplit(":", 1)[-1] if stage else None


def _alone(method: Callable[Concatenate["Staleness", P], T]) -> Callable[Concatenate["Staleness", P], T]:
    """A method that runs under :meth:`Staleness.alone`."""

    @wraps(method)
    def locked(self: "Staleness", *args: P.args, **kwargs: P.kwargs) -> T:
        return self.alone(lambda: method(self, *args, **kwargs))

    return locked


class Staleness:
    """Staleness of the stages of one environment.

    The project folder becomes the working directory, because DVC resolves paths against that. ``extra_of`` maps a stage
    to the extra pipeline that it belongs to; stages of the cascade are not in it. Raises CdmError if the folder
    is not a DVC repository.
    """

    def __init__(self, root: Path, env: str | None = None, extra_of: Mapping[str, str] | None = None) -> None:
        os.chdir(root)
        self.root, self.env = root, env
        self.extra_of = {**(extra_of or {}), **{code_stage(extra): extra for extra in (extra_of or {}).values()}}
        from dvc.config import ConfigError
        from dvc.exceptions import DvcException
        from dvc.repo import Repo, lock_repo
        from dvc.scm import SCMError

        talk = logging.getLogger("dvc")  # importing DVC gave it a handler of its own; the runner says what happens
        talk.setLevel(logging.ERROR)
        talk.propagate = False
        logging.getLogger("dvc_data").setLevel(logging.CRITICAL)  # its errors with tracebacks are raised, too
        try:
            self.repo = Repo(str(root))
        except ConfigError as error:
            raise CdmError(f"{root}/.dvc/config, or DVC's for this user or machine: {error}; correct it") from None
        except (DvcException, SCMError) as error:
            raise CdmError(
                f"{root} is not a DVC repository ({error}). In a clone it is; in a plain copy run "
                "`git init && dvc init -f`, or `dvc init -f --no-scm` without git."
            ) from None
        cache = self.repo.cache.local.path
        try:
            os.makedirs(cache, exist_ok=True)
        except OSError as error:
            raise CdmError(
                f"DVC's cache {cache} cannot be opened ({error.strerror}). Attach its disk, or choose another place "
                "with `dvc cache dir --local FOLDER` and run again: outputs on disk go there, and nothing reruns"
            ) from None
        self._lock_repo = lock_repo
        stock_dvc.careful()
        stock_dvc.parse_once()
        for extra in (None, *dict.fromkeys(self.extra_of.values())):
            lockfile.mend(dvc_file(root, env, extra).with_name("dvc.lock"), root)

    def alone(self, work: Callable[[], T]) -> T:
        """Do work while no other `kedro run` or `dvc` changes the project's records; wait until none does."""
        from dvc.lock import LockError
        from dvc.rwlock import RWLockFileCorruptedError

        def attempt() -> T:
            with disk_full_explained(Path(self.repo.tmp_dir)), self._lock_repo(self.repo):  # the lock is a file there
                try:
                    return work()
                except RWLockFileCorruptedError:  # a process was killed while it wrote the file
                    Path(self.repo.tmp_dir, "rwlock").unlink(missing_ok=True)
                    return work()

        def holders(error: Exception) -> list[int]:
            return blockers(error) or holder(Path(self.repo.tmp_dir, "lock"))

        return patiently(attempt, LockError, holders, "this project's records")

    def stage(self, name: str) -> Any:
        """DVC's stage, with the hashes of dvc.lock."""
        return self.repo.stage.load_one(path=str(dvc_file(self.root, self.env, self.extra_of.get(name))), name=name)

    def all_fresh(self) -> bool:
        """One look at the whole cascade; unchanged files are not read again (DVC keeps their hashes)."""
        from dvc.lock import LockError
        from dvc.rwlock import RWLockFileCorruptedError

        try:
            return not self.repo.status(targets=[str(dvc_file(self.root, self.env))])
        except (LockError, RWLockFileCorruptedError):  # somebody is at work, or was killed, so it is not
            return False

    @_alone
    def why_stale(self, name: str) -> list[str]:
        """Reasons, empty when the stage is fresh."""
        return reasons(self.stage(name))

    def begin(self, name: str, forced: bool = False) -> StageRun:
        """Begin a stage's turn: wait until nobody else runs it, and find out what is to be done.

        Unless it is fresh, its outputs are locked until :meth:`end`, and so are its inputs against changes by DVC. A
        forced one runs even if it is fresh. Raises CdmError if an input does not exist.
        """
        if name == stage_of_dvc():  # `dvc repro` has decided and has removed the outputs
            stage = self.stage(name)
            stage.save_deps()
            run = self._run(name, stage, ["dvc repro"], "due")
            run.state = "kept" if links.put_back(run.work / "finished", run.outputs) else "due"
            return run
        return self._begin(name, forced)

    @_alone
    def _begin(self, name: str, forced: bool) -> StageRun:
        from dvc.rwlock import rwlock

        stage = self.stage(name)
        self.back_to_cache(stage)
        why = ["it is forced"] if forced else reasons(stage)
        if not why:
            return self._run(name, stage, [], "fresh")
        read, written = [d.fs_path for d in stage.deps], [o.fs_path for o in stage.outs]
        missing = [os.path.relpath(path, self.root) for path in dict.fromkeys(read) if not os.path.lexists(path)]
        if missing:
            raise CdmError(
                f"stage {name} reads {', '.join(missing)}, which does not exist; put it there, run the stage that "
                "makes it, or `dvc pull` (paths of files from outside are set in conf/*/globals.yml)"
            )
        for path in (d.fs_path for d in _data(stage) if d.hash_info and not d.hash_info.isdir):
            if os.path.isdir(path):
                raise CdmError(f"{path}: a folder, where a file belongs; move it away")
        broken = filterfalse(os.path.exists, read)  # links that lead nowhere
        refuse_unwritable(map(Path, [*broken, *written, self.repo.cache.local.path]))
        hardlink = self.repo.config["core"].get("hardlink_lock", False)
        with ExitStack() as held:
            held.enter_context(rwlock(self.repo.tmp_dir, self.repo.fs, " ".join(sys.argv), read, written, hardlink))
            now = self.stage(name)
            now.save_deps()
            run = self._run(name, now, why, "due")
            if not forced and links.put_back(run.work / "finished", run.outputs):
                run.state = "kept"
            else:
                stage.remove_outs(ignore_remove=False)
                run.state = "restored" if not forced and self._restore(name) else "due"
            run.held = held.pop_all()
            return run

    def _restore(self, name: str) -> bool:
        """Bring back what was made of the same inputs before, from DVC's cache, else from its default remote."""
        from dvc.stage.cache import RunCacheNotFoundError

        for pull in (False, True) if self.repo.config["core"].get("remote") else (False,):
            try:
                self.repo.stage_cache.restore(self.stage(name), pull=pull)  # it changes the stage, even where it fails
                return True
            except RunCacheNotFoundError:
                continue
            except Exception as error:
                if not pull:
                    raise
                log.warning("%s: DVC's remote does not answer (%s)", name, error)
        return False

    def _run(self, name: str, stage: Any, why: list[str], state: str) -> StageRun:
        inputs = {"cmd": stage.cmd, "deps": {str(d): d.hash_info.value for d in stage.deps}}
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()
        work = self.root / ".scratch" / (self.env or "base") / name / key[:16]
        return StageRun(name, key, why, state, stage, work)

    @staticmethod
    def back_to_cache(stage: Any) -> None:
        """Put outputs that DVC's cache has lost back into it, where those on disk are the recorded ones."""
        for out in stage.outs:
            if out.use_cache and out.hash_info and out.changed_cache() and out.exists and not out.changed_checksum():
                out.commit()
                log.info("%s: DVC's cache had lost it; it is the recorded one and was put back", out)

    @_alone
    def all_back_to_cache(self, file: str) -> None:
        """:meth:`back_to_cache` for all stages of a dvc.yaml, so that `dvc repro` does not remove what it has lost."""
        for stage in self.repo.stage.load_all(path=file):
            self.back_to_cache(stage)

    def keep(self, run: StageRun) -> None:
        """Note that a stage's outputs are complete, so that a kill from now on costs no work.

        Raises CdmError if its data changed while it ran, so that nobody knows what the outputs were made from.
        """
        now = self.stage(run.name)
        before = {str(d): d.hash_info for d in run.stage.deps}
        data = _data(now)
        for dependency in data:
            with suppress(Exception):  # it is gone: then its hash differs
                dependency.save()
        changed = [str(d) for d in data if not d.exists or before[str(d)] != d.hash_info]
        if changed:
            raise CdmError(
                f"changed while stage {run.name} ran: {', '.join(changed)}. Nobody knows which version its outputs "
                "are made from, so they are not recorded. Its unfinished work stays for the case that you change the "
                "data back; run again."
            )
        links.keep(run.work / "finished", run.outputs)

    @_alone
    def record(self, run: StageRun) -> None:
        """Put a stage's outputs into DVC's cache and run cache and record them in dvc.lock, with what it began with.

        Under `dvc repro` DVC writes dvc.lock itself, from what the files say at that time. Where they no longer say
        what the stage began with, it is recorded here, and an error keeps DVC from recording it falsely. Raises
        CdmError then.
        """
        stage = run.stage
        kept = f"The outputs of stage {run.name} are complete and kept"
        with disk_full_explained(Path(self.repo.cache.local.path), kept=kept):
            for out in stage.outs:
                out.save()
                out.commit()
        if all(o.use_cache for o in stage.outs if not (o.is_metric or o.is_plot)):
            self.repo.stage_cache.save(stage)
        edited = []
        if run.name == stage_of_dvc():
            now = self.stage(run.name)
            now.save_deps()
            before = {str(d): d.hash_info for d in stage.deps}
            edited = [str(d) for d in now.deps if before.get(str(d)) != d.hash_info]
            if not edited and now.cmd == stage.cmd:
                return
        self._write_lock(stage)
        if run.name == stage_of_dvc():
            raise CdmError(
                f"{', '.join(edited) or 'dvc.yaml'} changed while stage {run.name} ran. Its result is complete and is "
                "recorded with what it began with, and it comes back at once if you undo the change. `dvc repro` stops "
                "here, because DVC would record the new values; run it again."
            )

    @_alone
    def accept(self, name: str) -> tuple[StageRun, str, list[str]]:
        """Record that a stage's outputs are also what its present code and parameters would make.

        Returns the stage with its new key, its old key, and what changed; nothing changed where the stage is fresh.
        Raises CdmError if more than code and parameters changed.
        """
        stage = self.stage(name)
        self.back_to_cache(stage)
        allowed = {d.def_path for d in stage.params} | {str(d) for d in stage.deps if is_code(d.def_path)}
        changes = reasons(stage)
        if not all(o.hash_info for o in stage.outs):
            raise CdmError(f"stage {name} was never recorded, so that there is nothing to accept; run it")
        for entry in next(iter(stage.status().values()), []):
            kinds = entry if isinstance(entry, dict) else {str(entry): {str(entry): ""}}
            for kind, items in kinds.items():
                other = [item for item in items if kind != "changed deps" or item not in allowed]
                if other:
                    raise CdmError(
                        f"stage {name} cannot be accepted: {kind}: {', '.join(other)}. Only a change of code or "
                        "parameters can be; run the stage, or bring back what is recorded with `dvc checkout`"
                    )
        old = self._run(name, stage, [], "fresh").key
        stage.save_deps()
        if changes:
            self.repo.stage_cache.save(stage)
            self._write_lock(stage)
        return self._run(name, stage, changes, "fresh"), old, changes

    def _write_lock(self, stage: Any) -> None:
        stage.dvcfile._lockfile.dump(stage)
        lockfile.mend(Path(stage.dvcfile._lockfile.path), self.root)

    def sweep(self) -> None:
        """Remove the unfinished work of stages that are recorded: `dvc repro` records after the process that could."""
        for folder in (self.root / ".scratch" / (self.env or "base")).glob("*/*/finished"):
            name, key = folder.parts[-3:-1]
            with suppress(Exception):  # a stage that is no more
                if self._run(name, self.stage(name), [], "fresh").key.startswith(key):
                    shutil.rmtree(folder.parents[1])

    def end(self, run: StageRun) -> None:
        """End a stage's turn: others may have its files."""
        run.held.close()

    @staticmethod
    def invisible(stage: Any, effective: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
        """Parameters whose effective value is not the one that DVC sees.

        Returns (file, key, Kedro's value, DVC's value) for each leaf.
        """
        found = []
        for dependency in stage.params:
            for key, seen in dependency.read_params().items():
                changed = differences(Parameters(effective, {}).get(key), seen, key)
                found += [(dependency.def_path, *difference) for difference in changed]
        return found

    def file_hashes(self, paths: list[Path]) -> dict[str, str]:
        """DVC's hashes of files and folders, by path; unchanged ones come from its state without reading."""
        from dvc_data.hashfile.build import build

        found, odb = {}, self.repo.cache.local
        for path in paths:
            if path.exists():
                _, _, built = build(odb, str(path.absolute()), self.repo.root_dir and odb.fs, "md5", dry_run=True)
                found[path.as_posix()] = str(built.hash_info.value)
        return found
