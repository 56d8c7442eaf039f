"""What the parameter models share: unknown keys are errors, values never change after validation; how two differ."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Params(BaseModel):
    """Frozen pydantic model that rejects unknown keys, so that a misspelt YAML key stops before any work."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _truth_values(cls, given: Any) -> Any:
        for key, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, bool) and (known := cls.model_fields.get(key)) and not _may_be_bool(known.annotation):
                raise ValueError(f"{key} is {value}; write a number, or a text in quotes (yes is true, no is false)")
        return given


def _may_be_bool(annotation: Any) -> bool:
    return annotation in (bool, Any) or isinstance(annotation, bool) or any(map(_may_be_bool, get_args(annotation)))


def _without_repetition(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("the values must be without repetition")
    return values


def _at_least_one(value: int | str) -> int | str:
    if isinstance(value, int) and value < 1:
        raise ValueError("it must be at least 1, or auto")
    return value


AtLeastOne = AfterValidator(_at_least_one)
Devices = Annotated[
    int | Literal["auto"],
    AtLeastOne,
    Field(description="processes on this node, at most one a GPU; auto = every GPU, or 1"),
]
Different = AfterValidator(_without_repetition)  # annotation of a tuple whose values all differ


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Leaves of nested mappings that differ, as (dotted key, old value, new value); a missing value is None."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield path, old, new
