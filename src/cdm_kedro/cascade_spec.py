"""The shape of the cascade, read from the parameters: which stages exist and what conditions what.

The registry needs it before Kedro has a context, so it reads the YAML files itself, with Kedro's default
(destructive) precedence of the environment over ``base``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StageSpec:
    """One model of the cascade."""

    name: str
    resolution: int
    low: str | None
    selects: bool = False
    """Whether training scores its samples and keeps the best weights."""


@dataclass(frozen=True)
class CascadeSpec:
    """Stages in an order in which each one's ``low`` comes first."""

    stages: tuple[StageSpec, ...]
    embedded: bool

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Sizes that the cascade makes, ascending."""
        return tuple(sorted(stage.resolution for stage in self.stages))


def read_parameters(conf: Path, env: str | None) -> tuple[dict[str, Any], dict[str, Path]]:
    """Top-level parameters of ``base`` overlaid with ``env``, and the file each key came from.

    Raises:
        ValueError: a file is not a mapping.
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
                raise ValueError(f"{path}: expected a mapping of parameters, found {type(content).__name__}")
            for key, value in (content or {}).items():
                values[key], origin[key] = value, path
    return values, origin


def read_cascade(conf: Path, env: str | None) -> CascadeSpec:
    """The cascade of an environment.

    Args:
        conf: the project's ``conf`` folder.
        env: environment, or None for ``base`` alone.

    Raises:
        ValueError: the list of stages and their parameters do not fit together; the message names file and key.
    """
    values, origin = read_parameters(conf, env)
    cascade = values.get("cascade")
    if not isinstance(cascade, dict) or not isinstance(cascade.get("stages"), list) or not cascade["stages"]:
        raise ValueError(f"{origin.get('cascade', conf / 'base')}: cascade.stages must be a list of stage names")
    where = origin["cascade"]
    unknown = sorted(set(cascade) - {"stages", "embedded"})
    if unknown:
        raise ValueError(f"{where}: cascade.{unknown[0]} is not a key; known are stages and embedded")
    known: dict[str, StageSpec] = {}
    for name in cascade["stages"]:
        if name in known:
            raise ValueError(f"{where}: cascade.stages names {name!r} twice")
        params = values.get(name)
        if not isinstance(params, dict):
            raise ValueError(f"{where}: cascade.stages names {name!r}, but no parameters file has a key {name!r}")
        resolution, low, low_resolution = (params.get(key) for key in ("resolution", "low", "low_resolution"))
        if not isinstance(resolution, int):
            raise ValueError(f"{origin[name]}: {name}.resolution is {resolution!r}; it must be a size in pixels")
        if low is not None:
            if low not in known:
                raise ValueError(
                    f"{origin[name]}: {name}.low is {low!r}, which is not an earlier entry of cascade.stages in {where}"
                )
            if known[low].resolution != low_resolution:
                raise ValueError(
                    f"{origin[name]}: {name}.low_resolution is {low_resolution!r}, but {low} models "
                    f"{known[low].resolution}-pixel images"
                )
        clash = next((s.name for s in known.values() if s.resolution == resolution), None)
        if clash:
            raise ValueError(
                f"{origin[name]}: {name}.resolution is {resolution}, which {clash} has too; "
                "samples are named by their size"
            )
        training = params.get("training")
        selects = isinstance(training, dict) and training.get("selection") is not None
        known[name] = StageSpec(name, resolution, low, selects)
    return CascadeSpec(tuple(known.values()), bool(cascade.get("embedded", True)))
