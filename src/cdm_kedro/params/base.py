"""What every parameter model shares: unknown keys are errors and values never change after validation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Frozen pydantic model that rejects unknown keys, so a misspelt YAML key stops before any work."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
