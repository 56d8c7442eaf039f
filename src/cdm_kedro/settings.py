"""Kedro project settings."""

import os
from typing import Any

from kedro.config import OmegaConfigLoader

from cdm_kedro.provenance.session import CascadeSession


class RegistryConfigLoader(OmegaConfigLoader):
    """Tells the pipeline registry which environment is loaded, whoever loads it: `kedro viz` does not use our session.

    Args:
        conf_source: as OmegaConfigLoader's, like all others.
        env: environment.
        **kwargs: see OmegaConfigLoader.
    """

    def __init__(self, conf_source: str, env: str | None = None, **kwargs: Any) -> None:
        if env:
            os.environ["KEDRO_ENV"] = env
        super().__init__(conf_source, env, **kwargs)


SESSION_CLASS = CascadeSession
CONFIG_LOADER_CLASS = RegistryConfigLoader
DISABLE_HOOKS_FOR_PLUGINS: tuple[str, ...] = ("kedro-telemetry",)
CONFIG_LOADER_ARGS: dict[str, Any] = {"base_env": "base", "default_run_env": "local"}
