"""Kedro project settings."""

from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf.errors import OmegaConfBaseException

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.session import CascadeSession, OtherDoors


class RegistryConfigLoader(OmegaConfigLoader):
    """Tells the pipeline registry which configuration is loaded; `kedro viz` uses no session of ours that could."""

    def __init__(self, conf_source: str, env: str | None = None, **kwargs: Any) -> None:
        from cdm_kedro import pipeline_registry
        from cdm_kedro.params.files import read_parameters, refuse_wrong_catalog, refuse_wrong_places

        pipeline_registry.loaded = (Path(conf_source), env)
        if Path(conf_source, "base").is_dir():  # say what is wrong with a file before Kedro stumbles over it
            for refuse_wrong in (read_parameters, refuse_wrong_places, refuse_wrong_catalog):
                refuse_wrong(Path(conf_source), env)
        super().__init__(conf_source, env, **kwargs)

    def __getitem__(self, key: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = super().__getitem__(key)
        except (MissingConfigException, OmegaConfBaseException, ValueError) as error:
            if isinstance(error, MissingConfigException) and key != "catalog":
                raise  # Kedro goes on without, for example without credentials
            raise CdmError(f"{self.conf_source}, {key}*.yml: {' '.join(str(error).split())}") from error
        return found


HOOKS = (OtherDoors(),)
SESSION_CLASS = CascadeSession
CONFIG_LOADER_CLASS = RegistryConfigLoader
DISABLE_HOOKS_FOR_PLUGINS: tuple[str, ...] = ("kedro-telemetry",)
CONFIG_LOADER_ARGS: dict[str, Any] = {"base_env": "base", "default_run_env": "local"}
