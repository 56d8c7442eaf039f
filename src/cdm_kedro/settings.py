"""Kedro project settings."""

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from cdm_kedro.provenance.session import CascadeSession, OtherDoors


class RegistryConfigLoader(OmegaConfigLoader):
    """Tells the pipeline registry which configuration is loaded; `kedro viz` uses no session of ours that could."""

    def __init__(self, conf_source: str, env: str | None = None, **kwargs: Any) -> None:
        from cdm_kedro import pipeline_registry
        from cdm_kedro.params.files import read_globals, read_parameters

        pipeline_registry.loaded = (Path(conf_source), env)
        if Path(conf_source, "base").is_dir():  # say what is wrong with a file before Kedro stumbles over it
            read_parameters(Path(conf_source), env)
            read_globals(Path(conf_source), env)
        super().__init__(conf_source, env, **kwargs)


HOOKS = (OtherDoors(),)
SESSION_CLASS = CascadeSession
CONFIG_LOADER_CLASS = RegistryConfigLoader
DISABLE_HOOKS_FOR_PLUGINS: tuple[str, ...] = ("kedro-telemetry",)
CONFIG_LOADER_ARGS: dict[str, Any] = {"base_env": "base", "default_run_env": "local"}
