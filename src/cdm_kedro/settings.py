"""Kedro project settings."""

from typing import Any

from cdm_kedro.provenance.session import CascadeSession

SESSION_CLASS = CascadeSession
DISABLE_HOOKS_FOR_PLUGINS: tuple[str, ...] = ("kedro-telemetry",)
CONFIG_LOADER_ARGS: dict[str, Any] = {"base_env": "base", "default_run_env": "local"}
