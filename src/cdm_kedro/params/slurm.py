"""Parameters of `kedro slurm`: what each stage asks a Slurm cluster for."""

from fnmatch import fnmatchcase

from pydantic import Field, field_validator

from cdm_kedro.params.base import Params

_TIME = r"^(\d+|\d+:\d\d(:\d\d)?|\d+-\d\d?(:\d\d(:\d\d)?)?)$"


class SlurmJobParams(Params):
    """What one stage's job asks for. GPUs, CPUs and memory are those of each node."""

    nodes: int = Field(1, ge=1, description="training, sampling and evaluation use all; other stages the first")
    gpus: int = Field(0, ge=0, description="of each node")
    cpus: int = Field(1, ge=1, description="of each node")
    memory: str | None = Field(None, pattern=r"^\d+[KMGT]?$", description="of each node; null = the cluster's default")
    time: str | None = Field(None, pattern=_TIME, description="limit, as 2-00:00:00; then it saves and is requeued")
    partition: str | None = Field(None, pattern=r"^[\w.,-]+$")
    options: list[str] = Field([], description="further options of sbatch, one a line, e.g. --account=vision")

    @field_validator("options")
    @classmethod
    def _one_option_each(cls, options: list[str]) -> list[str]:
        for option in options:
            if not option.startswith("-") or len(option.splitlines()) != 1:
                raise ValueError(f"{option!r} is no option of sbatch; give one a line, as --name=value")
        return options


class SlurmParams(SlurmJobParams):
    """What every stage's job asks for, and what some stages ask for instead."""

    grace_seconds: int = Field(300, ge=1, description="warning before the limit, to finish and save the step under way")
    setup: list[str] = Field([], description="lines of shell before kedro starts, e.g. module load cuda")
    stages: dict[str, SlurmJobParams] = Field(
        {}, description="what differs, by stage or, after those, by the first pattern like table3_*"
    )

    def job(self, stage: str) -> SlurmJobParams:
        """What a stage asks for: its own values where it gives them, else the common ones."""
        common = self.model_dump(include=set(SlurmJobParams.model_fields))
        named = [stage, *(pattern for pattern in self.stages if fnmatchcase(stage, pattern))]
        own = next((self.stages[name].model_dump(exclude_unset=True) for name in named if name in self.stages), {})
        return SlurmJobParams.model_validate(common | own)
