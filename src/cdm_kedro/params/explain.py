"""Says what is wrong with parameters in the words of the YAML files: key, value, and what is allowed."""

import difflib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from cdm_kedro.params.base import Params

_KEDRO_SAYS = re.compile(r"Failed to instantiate (\w+) for parameter '([\w.]+)'")
adapter = cache(TypeAdapter)


def refused_by_kedro(message: str) -> dict[str, Any]:
    """Dotted keys that Kedro's ParameterValidationError is about, each with the type that refused its value."""
    return {key: _subclass(name, Params) for name, key in _KEDRO_SAYS.findall(message)}


def mistakes(key: str, kind: Any, value: Any) -> list[str]:
    """Describe each mistake in a value in one line that begins with the key."""
    try:
        adapter(kind).validate_python(value)
    except ValidationError as error:
        return [_line(key, found, kind) for found in error.errors()]
    return []


def not_a_key(key: str, known: Iterable[str], what: str = "a key") -> str:
    """Say that a dotted key (or what else it is meant for) does not exist, which similar one does, which there are."""
    known = list(known)
    close = difflib.get_close_matches(key.rpartition(".")[2], known, 1)
    return f"{key} is not {what}{f'; did you mean {close[0]}?' if close else '.'} Known are {', '.join(known)}"


def _subclass(name: str, base: type[BaseModel]) -> Any:
    """The model of a name; ``Any``, which accepts every value, where there is none."""
    for model in base.__subclasses__():
        found = model if model.__name__ == name else _subclass(name, model)
        if found is not Any:
            return found
    return Any


def _line(parameter: str, found: Any, kind: Any) -> str:
    keys, models = [parameter], list(_models(kind))
    for part in map(str, found["loc"]):
        tagged = [m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == part]
        if tagged:  # pydantic names the member of the union that it tried, which is no key of the file
            models = tagged
            continue
        keys.append(part)
        inside = [field.annotation for m in models if (field := m.model_fields.get(part))]
        models = [m for annotation in inside for m in _models(annotation)] or models
    key = ".".join(keys)
    if found["type"] == "extra_forbidden":
        return not_a_key(key, sorted({name for m in models for name in m.model_fields}))
    if found["type"] == "missing" or (found["input"] is None and not found["loc"]):
        return f"{key} is missing"
    shown = "" if isinstance(found["input"], dict) else f" is {found['input']!r}"
    return f"{key}{shown}: {found['msg'].removeprefix('Value error, ')}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
