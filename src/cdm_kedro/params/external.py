"""Parameters of a run about files outside the project, which the command line alone gives."""

from pathlib import Path

from pydantic import Field, model_validator

from cdm_kedro.params.base import Params
from cdm_kedro.params.data import RESOLUTIONS


class ExternalParams(Params):
    """Either ``samples`` and ``reference``, which are scored against each other, or ``statistics_of``."""

    samples: Path | None = Field(None, description="npz in the ADM evaluator's convention, .beton file or folder")
    reference: Path | None = Field(None, description="the same, or an npz with mu and sigma")
    statistics_of: Path | None = Field(None, description="images whose mu and sigma are wanted")
    size: int | None = Field(None, ge=1, description="crop and resize folders of images to this side")
    output: Path | None = Field(None, description="file to write; null = a name below <root>/08_reporting/external")

    @model_validator(mode="after")
    def _one_question(self) -> "ExternalParams":
        if self.statistics_of is not None:
            if self.samples is not None or self.reference is not None:
                raise ValueError(
                    "statistics_of stands alone; give it to write statistics, or samples and reference to get scores"
                )
        elif self.samples is None or self.reference is None:
            missing = "samples" if self.samples is None else "reference"
            raise ValueError(
                f"{missing} is missing; give samples and reference to get scores, or statistics_of to write statistics"
            )
        if self.size is not None and max(RESOLUTIONS) % self.size:
            raise ValueError(f"size {self.size} does not divide {max(RESOLUTIONS)}; use 32, 64, 128 or 256")
        suffix = ".json" if self.statistics_of is None else ".npz"
        if self.output is not None and self.output.suffix != suffix:
            raise ValueError(f"output {self.output} must end in {suffix}")
        return self

    def inputs(self) -> dict[str, Path]:
        """The files and folders that the run reads, by key."""
        return self.model_dump(include={"samples", "reference", "statistics_of"}, exclude_none=True)
