"""Kedro project settings."""

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from cdm_kedro.provenance.session import CascadeSession, OtherDoors


class RegistryConfigLoader(OmegaConfigLoader):
    """Tells the pipeline registry which configuration is loaded; `kedro viz` uses no session of ours that could."""

    def __init__(self, conf_source: str, env: str | None = None, **kwargs: Any) -> None:
        from cdm_kedro import pipeline_registry

        pipeline_registry.loaded = (Path(conf_source), env)
        super().__init__(conf_source, env, **kwargs)


HOOKS = (OtherDoors(),)
SESSION_CLASS = CascadeSession
CONFIG_LOADER_CLASS = RegistryConfigLoader
DISABLE_HOOKS_FOR_PLUGINS: tuple[str, ...] = ("kedro-telemetry",)
CONFIG_LOADER_ARGS: dict[str, Any] = {"base_env": "base", "default_run_env": "local"}
