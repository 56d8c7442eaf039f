"""Runs stages as jobs of a Slurm cluster that has the project folder on every node.

Each job is a plain `kedro run` of one stage, so dvc.lock decides there too what is stale.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.templates import fill_template
from cdm_kedro.params.slurm import SlurmParams
from cdm_kedro.provenance.plan import Job
from cdm_kedro.tracking.runs import PARENT

FOLDER = Path(".scratch/slurm")
"""Holds the scripts, the jobs' output, and a file for each environment that says which job runs which stage."""

_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL", "NODE_FAIL")
_CLOSE = "close"  # the job that ends the MLflow run


class QueuedJob(NamedTuple):
    """What Slurm says of a job: its state, the reason for which it waits, its nodes and the time that it has run."""

    id: str
    state: str
    reason: str = ""
    nodes: str = ""
    elapsed: str = ""

    @property
    def active(self) -> bool:
        """Whether it runs or will run."""
        return self.state not in _ENDED


class Slurm(NamedTuple):
    """The cluster, as one environment of the project uses it; ``params`` say what the jobs ask for."""

    root: Path
    env: str | None
    params: SlurmParams

    def _title(self, stage: str) -> str:
        return f"{stage}-{self.env}" if self.env else stage

    def _file(self, stage: str, suffix: str) -> Path:
        return self.root / FOLDER / f"{self._title(stage)}{suffix}"

    def script(self, stage: str) -> str:
        """The batch script of one stage.

        Before the time limit Slurm warns the script alone, with USR1. The script stops kedro with TERM, waits until it
        has saved, and puts itself back into the queue. Where Slurm itself ends a job, it sends TERM to every process of
        it. The script must not repeat that, because a second TERM would kill kedro before it has saved.
        """
        job = self.params.job(stage)
        options = [f"--signal=B:USR1@{self.params.grace_seconds}", "--requeue", f"--nodes={job.nodes}"]
        options += ["--ntasks-per-node=1", f"--cpus-per-task={job.cpus}"]
        asked = {"gpus-per-node": job.gpus, "mem": job.memory, "time": job.time, "partition": job.partition}
        options += [f"--{name}={value}" for name, value in asked.items() if value]
        return self._script(stage, [*options, *job.options], self._kedro("run", f"--pipelines={stage}"))

    def _script(self, stage: str, options: list[str], command: str) -> str:
        name, log = shlex.quote(self._title(stage)), shlex.quote(str(self._file(stage, ".log")))
        return fill_template(
            Path(__file__).with_name("slurm.sh.j2"),
            options=[f"--job-name={name}", f"--output={log}", "--open-mode=append", *options],
            root=shlex.quote(str(self.root)),
            setup=self.params.setup,
            command=command,
            close=stage == _CLOSE,
        )

    def _kedro(self, *words: str) -> str:
        return shlex.join([sys.executable, "-m", "kedro", *words, *([f"--env={self.env}"] if self.env else [])])

    def submit(self, jobs: list[Job], pipeline: str, run: str | None) -> dict[str, str]:
        """Submit jobs of a pipeline in order, each to start when those it needs have succeeded.

        Their MLflow runs will be below ``run``, if there is one, and a last job ends it. Returns the number of each
        stage's last job. Raises CdmError if sbatch is not there or refuses; jobs submitted before stay in the queue.
        """
        numbers = _numbers(self.root, self.env)
        variables = {PARENT: run} if run else {}
        for job in jobs:
            after = [f"--dependency=afterok:{':'.join(numbers[stage] for stage in job.after)}"] if job.after else []
            options = ["--kill-on-invalid-dep=yes", *after]
            numbers[job.stage] = self._sbatch(job.stage, self.script(job.stage), options, variables)
            write_text(_numbers_file(self.root, self.env), json.dumps(numbers, indent=2) + "\n")
        if run:
            close = self._kedro("parent-run", f"--pipelines={pipeline}", f"--close={run}")
            partition = [f"--partition={self.params.partition}"] if self.params.partition else []
            text = self._script(_CLOSE, [*partition, *self.params.options], close)
            self._sbatch(_CLOSE, text, [f"--dependency=afterany:{':'.join(numbers[job.stage] for job in jobs)}"], {})
        return numbers

    def _sbatch(self, stage: str, text: str, options: list[str], variables: dict[str, str]) -> str:
        file = self._file(stage, ".sh")
        write_text(file, text)
        return _slurm("sbatch", "--parsable", "--export=ALL", *options, str(file), **variables).strip().split(";")[0]

    def describe(self, stage: str, job: Job | None, last: QueuedJob | None) -> str:
        """One line about where a stage is: in the plan or not, and what Slurm says of its last job."""
        if last is not None and last.active:
            where = f" on {last.nodes} for {last.elapsed}" if last.nodes else f", waits: {last.reason}"
            return f"{stage}: job {last.id} {last.state.lower()}{where}"
        ended = f"; job {last.id} {last.state.lower()}, see {self._file(stage, '.log')}" if last is not None else ""
        return f"{stage}: fresh" if job is None else f"stale: {job}{ended}"


def queue(root: Path, env: str | None) -> dict[str, QueuedJob]:
    """What Slurm says of each stage's last job; those that it has forgotten are left out.

    Raises CdmError if squeue is not there or gets no answer.
    """
    listed = _slurm("squeue", "--noheader", "--states=all", "--format=%i|%T|%r|%N|%M").splitlines()
    found = {job.id: job for job in (QueuedJob(*line.split("|")) for line in listed)}
    return {stage: found[number] for stage, number in _numbers(root, env).items() if number in found}


def _numbers_file(root: Path, env: str | None) -> Path:
    return root / FOLDER / f"{env or 'base'}.json"


def _numbers(root: Path, env: str | None) -> dict[str, str]:
    file = _numbers_file(root, env)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _slurm(*command: str, **variables: str) -> str:
    try:
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CdmError(f"{command[0]} is not on this machine's path; run `kedro slurm` where Slurm is") from None
    if done.returncode != 0:
        raise CdmError(f"{command[0]} refused: {done.stderr.strip()}")
    return done.stdout
