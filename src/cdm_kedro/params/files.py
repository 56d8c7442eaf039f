"""Which parameter file says what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError


class CascadeSpecError(CdmError, ValueError):
    """Parameter files that describe no cascade; the message names file and key."""


def read_parameters(conf: Path, env: str | None) -> tuple[dict[str, Any], dict[str, Path]]:
    """Top-level parameters of ``base`` overlaid with ``env``, and the file each key came from.

    Raises:
        CascadeSpecError: a file is not a mapping.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    values: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for name in ("base", env):
        if name is None or (name == "base" and origin):
            continue
        for path in sorted((conf / name).glob("parameters*.yml")):
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
            if content is not None and not isinstance(content, dict):
                raise CascadeSpecError(f"{path}: expected a mapping of parameters, found {type(content).__name__}")
            for key, value in (content or {}).items():
                values[key], origin[key] = value, path
    return values, origin


def _uses_embedded(conf: Path, env: str | None) -> bool:
    """Whether globals.yml gives the embedded data set's folder for the images."""
    import yaml

    values: dict[str, Any] = {}
    for path in (conf / "base/globals.yml", *([conf / env / "globals.yml"] if env else [])):
        if path.is_file():
            values |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return values.get("images") == f"{values.get('root')}/01_raw/embedded"
