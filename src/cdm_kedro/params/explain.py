"""Wrong parameters in the words of the YAML files: file, key, value, and what is allowed."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

import cdm_kedro.params
from cdm_kedro.params.files import read_parameters

_HEAD = re.compile(r"Failed to instantiate (\w+) for parameter '([\w.]+)'")


def explain(message: str, conf: Path, env: str | None) -> str | None:
    """Explain Kedro's complaint about parameters that a typed model refused.

    Args:
        message: of Kedro's ParameterValidationError.
        conf: the project's ``conf`` folder.
        env: environment.

    Returns:
        A line for each mistake, or None where the message is about something else.
    """
    values, origin = read_parameters(conf, env)
    lines: list[str] = []
    for model_name, parameter in dict.fromkeys(_HEAD.findall(message)):
        model, (top, *rest) = _model(model_name), parameter.split(".")
        value: Any = values.get(top)
        for part in rest:
            value = value.get(part) if isinstance(value, dict) else None
        if model is None:
            continue
        lines += [f"{origin.get(top, conf)}: {line}" for line in mistakes(parameter, model, value)]
    return "\n".join(lines) or None


def mistakes(parameter: str, model: type[BaseModel], value: Any) -> list[str]:
    """A line for each mistake in a value.

    Args:
        parameter: dotted key of the value.
        model: what it must be.
        value: as read.
    """
    try:
        model.model_validate(value)
    except ValidationError as error:
        return [_line(parameter, found, model) for found in error.errors()]
    return []


def _model(name: str) -> type[BaseModel] | None:
    for module in pkgutil.iter_modules(cdm_kedro.params.__path__):
        found = getattr(importlib.import_module(f"cdm_kedro.params.{module.name}"), name, None)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None


def _line(parameter: str, found: Any, model: type[BaseModel]) -> str:
    keys, where = [parameter], [model]
    for part in map(str, found["loc"]):
        tagged = [m for m in where if "kind" in m.model_fields and m.model_fields["kind"].default == part]
        if tagged:  # pydantic names the member of the union that was tried, which is no key of the file
            where = tagged
            continue
        keys.append(part)
        inside = [field.annotation for m in where if (field := m.model_fields.get(part))]
        where = [m for annotation in inside for m in _models(annotation)] or where
    key = ".".join(keys)
    if found["type"] == "extra_forbidden":
        allowed = sorted({name for m in where for name in m.model_fields})
        close = difflib.get_close_matches(keys[-1], allowed, 1)
        return f"{key} is not a key{f'; did you mean {close[0]}?' if close else '.'} Known are {', '.join(allowed)}"
    if found["type"] == "missing":
        return f"{key} is missing"
    shown = "" if isinstance(found["input"], dict) else f" is {found['input']!r}"
    return f"{key}{shown}: {found['msg'].removeprefix('Value error, ')}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
