"""The session that makes a plain `kedro run` run what is stale, and only that."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance import external

log = logging.getLogger(__name__)
FORCE = "CDM_FORCE"
_SELECTORS = ("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs", "namespaces")


def _terminated(*_: Any) -> None:
    sys.exit(143)  # so that finally-blocks run and the MLflow run ends as KILLED


class UnknownPipelineError(CdmError, ValueError):
    """A pipeline that the environment does not have; the message says which environment has it."""


def _refuse_unknown(name: str, root: Path, env: str | None) -> None:
    from kedro.framework.project import pipelines

    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.params.files import ParametersError
    from cdm_kedro.pipelines.extras import extra_stages

    if name in pipelines:
        return
    elsewhere = []
    for other in sorted(path.name for path in (root / "conf").iterdir() if any(path.glob("parameters*.yml"))):
        try:
            extras = extra_stages(read_cascade(root / "conf", other))
        except ParametersError:  # a mistake in another environment does not matter here
            continue
        if name in extras or any(name in stages for stages in extras.values()):
            elsewhere.append(f"--env={other}")
    where = (
        f"; it exists with {' or '.join(elsewhere)}" if elsewhere else f". There are: {', '.join(sorted(pipelines))}"
    )
    raise UnknownPipelineError(f"there is no pipeline {name!r} in environment {env or 'base'}{where}")


class CascadeSession(KedroSession):
    """KedroSession with :class:`FreshRunner` for its default; an explicit other runner is respected as it is."""

    def run(self, *args: Any, runner: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Run pipelines; see KedroSession.run."""
        loader = self._get_config_loader()  # from here on the pipeline registry knows the environment
        names = list(kwargs.get("pipeline_names") or ([kwargs["pipeline_name"]] if kwargs.get("pipeline_name") else []))
        if external.KEY in (self.store.get("runtime_params") or {}):
            return self._run_external(names, *args, runner=runner, **kwargs)
        if runner is not None and type(runner) is not SequentialRunner:
            return super().run(*args, runner=runner, **kwargs)  # type: ignore[misc]
        signal.signal(signal.SIGTERM, _terminated)
        from kedro.framework.project import pipelines

        from cdm_kedro.pipeline_registry import extra_of_stages
        from cdm_kedro.provenance.dvcfile import out_of_date, refresh
        from cdm_kedro.provenance.images import refuse_unseen
        from cdm_kedro.provenance.runner import FreshRunner
        from cdm_kedro.provenance.stages import by_stage
        from cdm_kedro.provenance.staleness import Staleness, stage_of_dvc

        root, env, force = Path(self._project_path), self.store.get("env"), bool(os.environ.get(FORCE))
        extra_of = extra_of_stages()
        staleness = Staleness(root, env, extra_of)
        for name in names:
            _refuse_unknown(name, root, env)
        refuse_unseen(pipelines, names, root / self._get_config_loader()["globals"].get("images", ""))
        extras = {extra_of.get(name, name) for name in names if name in extra_of or name in extra_of.values()}
        if not stage_of_dvc() and out_of_date(root, env, extras):
            catalog = self.load_context().catalog
            with staleness.locked():
                for path in refresh(pipelines, extra_of, catalog, root, env, extras):
                    log.info("wrote %s", path.relative_to(root))
        whole_cascade = names in ([], ["cascade"], ["__default__"]) and not any(kwargs.get(key) for key in _SELECTORS)
        overridden = bool(self.store.get("runtime_params")) or any((root / "conf/local").glob("**/parameters*"))
        plain = not overridden and not stage_of_dvc() and not force
        if whole_cascade and plain and staleness.all_fresh():
            log.info("Everything is fresh (dvc.lock): nothing to run.")
            return {}
        effective = dict(loader["parameters"])
        stages = {
            name: {n.name for n in nodes}
            for pipeline in (pipelines["__default__"], *(pipelines[home] for home in set(extra_of.values())))
            for name, nodes in by_stage(pipeline)
        }
        title = " ".join([*(names or ["cascade"]), *([f"--env={env}"] if env else [])])
        return super().run(*args, runner=FreshRunner(staleness, effective, stages, title, force), **kwargs)  # type: ignore[misc]

    def _run_external(self, names: list[str], *args: Any, runner: Any, **kwargs: Any) -> dict[str, Any]:
        """Judge files outside the project: no stage, nothing recorded, no output of the project."""
        selected = [key for key in (*_SELECTORS, "only_missing_outputs") if kwargs.get(key)]
        if selected:
            option = "--" + selected[0].replace("node_names", "nodes").replace("_", "-")
            raise external.ExternalRunError(f"--params=external… runs one node; leave out {option}")
        signal.signal(signal.SIGTERM, _terminated)
        from kedro.framework.project import pipelines

        from cdm_kedro.pipelines.extras import external_pipelines

        root, env, loader = Path(self._project_path), self.store.get("env"), self._get_config_loader()
        asked = external.resolve(
            names,
            self.store["runtime_params"],
            loader["parameters"].get("evaluate") or {},
            root / loader["globals"]["root"],
            external.roots(root),
        )
        self._store["runtime_params"] = asked.runtime_params
        # It is not in the registry, because `kedro viz` cannot draw it without parameters that only --params gives.
        pipelines.set_requested([asked.pipeline])
        pipelines[asked.pipeline] = external_pipelines()[asked.pipeline]
        logging.getLogger("kedro_viz").setLevel(logging.ERROR)  # it would warn of a run that it cannot draw
        os.chdir(root)
        if runner is None or type(runner) is SequentialRunner:
            from cdm_kedro.provenance.oneoff import OneOffRunner

            title = " ".join([asked.pipeline, *([f"--env={env}"] if env else [])])
            runner = OneOffRunner(root, env, asked.pipeline, title)
        kwargs |= {"pipeline_name": None, "pipeline_names": [asked.pipeline]}
        result: dict[str, Any] = super().run(*args, runner=runner, **kwargs)  # type: ignore[misc]
        log.info("wrote %s (outside the pipeline: dvc.lock does not know it)", asked.output)
        return result
