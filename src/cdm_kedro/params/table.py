"""Parameters of the paper's tables: rows, each of which samples and scores one model."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from cdm_kedro.params.base import Different, Params
from cdm_kedro.params.sampling import JobParams, ModelSamplingParams

TABLES = ("table2", "table3", "table4", "flips")
"""Tables whose rows are parameters; ``flips`` is the comparison of section 4.3. Table 1 is made from other results."""

RowName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]


class RowParams(ModelSamplingParams):
    """A row: a model, and how it is sampled on top of the samples of the model below it."""

    model: str = Field(description="a model of the cascade, or one that the pipeline `ablations` trains beside it")


class TableParams(Params):
    """A table."""

    job: JobParams
    states: Annotated[tuple[int, ...], Different] = Field((), description="s whose z_s are stored, 4 bytes a value")
    rows: dict[RowName, RowParams] = Field(min_length=1, description="by the paper's names (evaluation/paper.csv)")

    @model_validator(mode="after")
    def _fits(self) -> "TableParams":
        for name, row in self.rows.items():
            if row.searched:
                raise ValueError(f"rows.{name} asks for what {', '.join(row.searched)} found; it needs numbers")
        truncated = [row for row in self.rows.values() if row.truncated]
        needed = {row.s for row in truncated}
        if needed != set(self.states) or len({row.model for row in truncated}) > 1:
            raise ValueError(
                f"states is {list(self.states)}; it must be the s of the truncated rows, {sorted(needed, key=str)}, "
                "and they must be of one model"
            )
        return self
