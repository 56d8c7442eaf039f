"""What the parameter models share: unknown keys are errors, and values never change after validation."""

from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict


class Params(BaseModel):
    """Frozen pydantic model that rejects unknown keys, so that a misspelt YAML key stops before any work."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


def _without_repetition(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("the values must be without repetition")
    return values


Different = AfterValidator(_without_repetition)
"""Annotation of a tuple whose values all differ."""
