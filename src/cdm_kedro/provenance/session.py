"""The session that makes a plain `kedro run` run what is stale, and only that."""

import logging
import os
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner

from cdm_kedro.errors import CdmError
from cdm_kedro.processes.worker import end_with
from cdm_kedro.provenance import external
from cdm_kedro.tracking import scratch

log = logging.getLogger(__name__)
FORCE = "CDM_FORCE"
RESTARTS = "CDM_RESTARTS"
"""Environment variable of a command that may start itself again, to read edited code and parameters."""
_SELECTORS = ("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs", "namespaces")


def _terminated(*_: Any) -> None:
    sys.exit(143)  # so that finally-blocks run and the MLflow run ends as KILLED


def _clean_up_after_killed(root: Path) -> None:
    """End the MLflow runs of processes that were killed, and remove what only they used."""
    left = scratch.of_killed(root)
    if left:
        from cdm_kedro.tracking.delivery import Deliverer, default_tracking_uri

        with suppress(Exception):  # where no server answers, the next recorder does it
            Deliverer(default_tracking_uri(root), root / "mlruns").end_abandoned(socket.gethostname())
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


class OtherDoors:
    """Kedro hooks that refuse runs through sessions that record nothing, such as `kedro server`'s POST /run."""

    closed = True

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Refuse a run that :class:`CascadeSession` does not lead."""
        if self.closed:
            names = ",".join(run_params.get("pipeline_names") or ["cascade"])
            raise CdmError(
                "this session would run everything and record nothing, so nothing was run; use "
                f"`kedro run --pipelines={names}`, or cdm_kedro.provenance.session.CascadeSession in Python"
            )


class CascadeSession(KedroSession):
    """KedroSession with :class:`FreshRunner` for its default; an explicit other runner is respected as it is."""

    def run(self, *args: Any, runner: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Run pipelines; see KedroSession.run."""
        OtherDoors.closed = False
        if not Path(self._conf_source).is_dir():
            raise CdmError(
                f"{self._conf_source} is no folder with configuration; name one with --conf-source. "
                "An archive of `kedro package` has to be unpacked first: tar xzf conf-cdm_kedro.tar.gz"
            )
        root, env, force = Path(self._project_path), self.store.get("env"), bool(os.environ.get(FORCE))
        _clean_up_after_killed(root)
        loader = self._get_config_loader()  # from here on the pipeline registry knows the environment
        names = list(kwargs.get("pipeline_names") or ([kwargs["pipeline_name"]] if kwargs.get("pipeline_name") else []))
        if external.KEY in (self.store.get("runtime_params") or {}):
            return self._run_external(names, *args, runner=runner, **kwargs)
        from cdm_kedro.provenance.plan import refuse_unknown, refuse_unselectable

        for name in names:
            refuse_unknown(name)
        refuse_unselectable(names or ["__default__"], kwargs, self.store.get("runtime_params") or {})
        signal.signal(signal.SIGTERM, _terminated)
        if runner is not None and type(runner) is not SequentialRunner:
            try:
                return super().run(*args, runner=runner, **kwargs)  # type: ignore[misc]
            finally:
                shutil.rmtree(scratch.process_dir(root), ignore_errors=True)
        if not (root / "src/cdm_kedro").is_dir() or Path(self._conf_source).resolve() != (root / "conf").resolve():
            log.warning("%s has no src, or no conf of its own: everything runs, and dvc.lock records nothing", root)
            return super().run(*args, runner=self._one_off(names), **kwargs)  # type: ignore[misc]
        from kedro.framework.project import pipelines

        from cdm_kedro.data.image_folder import scan
        from cdm_kedro.pipeline_registry import by_stage, extra_of_stages
        from cdm_kedro.provenance.code import Code
        from cdm_kedro.provenance.dvcfile import code_stage, out_of_date, refresh
        from cdm_kedro.provenance.runner import EditedError, FreshRunner
        from cdm_kedro.provenance.staleness import Staleness, stage_of_dvc
        from cdm_kedro.tracking.runs import dvc_above

        if stage_of_dvc():
            dvc, parent = dvc_above(), os.getppid()
            if dvc is None and parent == 1:
                _terminated()  # `dvc repro` was killed while this process began
            end_with(dvc["pid"] if dvc else parent)
        extra_of, code = extra_of_stages(), Code(root)
        staleness = Staleness(root, env, extra_of)
        datasets = {dataset for name in names or ["__default__"] for dataset in pipelines[name].datasets()}
        images = loader["globals"].get("images")
        if images and "images" in datasets and "embedded_images" not in datasets:
            # DVC does not see links to folders and empty classes there: refuse them.
            scan(Path(images), loader["parameters"].get("preprocess", {}).get("val_files"))
        asked = [stage for name in names for stage, _ in by_stage(pipelines[name])]
        extras = {extra_of[stage] for stage in asked if stage in extra_of}
        if not stage_of_dvc() and out_of_date(root, env, extras):
            catalog = self.load_context().catalog
            for path in staleness.alone(lambda: refresh(catalog, root, env, extras)):
                log.info("wrote %s", path.relative_to(root))
        whole_cascade = names in ([], ["cascade"], ["__default__"]) and not any(kwargs.get(key) for key in _SELECTORS)
        overridden = bool(self.store.get("runtime_params")) or any((root / "conf/local").glob("**/parameters*"))
        plain = whole_cascade and not overridden and not stage_of_dvc() and not force
        fresh = plain and staleness.all_fresh()
        if not fresh:
            code.take()
            if not stage_of_dvc():
                code.record(staleness, [code_stage(extra) for extra in (None, *sorted(extras))])
        if fresh or (plain and staleness.all_fresh()):
            staleness.sweep()
            code.discard()
            log.info("Everything is fresh (dvc.lock): nothing to run.")
            return {}
        runner = FreshRunner(staleness, dict(loader["parameters"]), self._title(names), code, force)
        try:
            return super().run(*args, runner=runner, **kwargs)  # type: ignore[misc]
        except EditedError:
            if stage_of_dvc() or RESTARTS not in os.environ:
                raise
            log.info("code or parameters were edited; what is left runs in a new process that reads them again")
            code.discard()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        finally:
            code.discard()

    def _one_off(self, names: list[str]) -> SequentialRunner:
        from cdm_kedro.provenance.runner import OneOffRunner

        root, env = Path(self._project_path), self.store.get("env")
        return OneOffRunner(root, env, "-".join(names) or "cascade", self._title(names))

    def _title(self, names: list[str]) -> str:
        env = self.store.get("env")
        return " ".join([*(names or ["cascade"]), *([f"--env={env}"] if env else [])])

    def _run_external(self, names: list[str], *args: Any, runner: Any, **kwargs: Any) -> dict[str, Any]:
        """Judge files outside the project: no stage, nothing recorded, no output of the project."""
        selected = [key for key in (*_SELECTORS, "only_missing_outputs") if kwargs.get(key)]
        if selected:
            option = "--" + selected[0].replace("node_names", "nodes").replace("_", "-")
            raise external.CdmError(f"--params=external… runs one node; leave out {option}")
        signal.signal(signal.SIGTERM, _terminated)
        from kedro.framework.project import pipelines

        from cdm_kedro.params.files import read_roots
        from cdm_kedro.pipelines.external import external_pipelines

        root, loader = Path(self._project_path), self._get_config_loader()
        pipeline, params = external.resolve(
            names,
            self.store["runtime_params"],
            loader["parameters"].get("evaluate") or {},
            root / loader["globals"]["root"],
            [*read_roots(root / "conf").values()],
        )
        self._store["runtime_params"] = params
        # It is not in the registry, because `kedro viz` cannot draw it without parameters that only --params gives.
        pipelines.set_requested([pipeline])
        pipelines[pipeline] = external_pipelines()[pipeline]
        logging.getLogger("kedro_viz").setLevel(logging.ERROR)  # it would warn of a run that it cannot draw
        os.chdir(root)
        if runner is None or type(runner) is SequentialRunner:
            runner = self._one_off([pipeline])
        kwargs |= {"pipeline_name": None, "pipeline_names": [pipeline]}
        result: dict[str, Any] = super().run(*args, runner=runner, **kwargs)  # type: ignore[misc]
        log.info("wrote %s (outside the pipeline: dvc.lock does not know it)", params[external.KEY]["output"])
        return result
