"""`kedro slurm` on a Slurm cluster of two nodes on this machine: `make test-slurm` starts it and runs this file."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from project import ROOT, Project, new_project

pytestmark = [
    pytest.mark.skipif("SLURM_CONF" not in os.environ, reason="needs a Slurm cluster: make test-slurm"),
    pytest.mark.timeout(2400),  # a test's first part is the making of all that it needs
]
PARAMETERS = "conf/test/parameters.yml"
DATA = Path("data/env/test")


def wait_for(what: Callable[[], object], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


class Cluster:
    """The project on the cluster."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def submit(self, *more: str, **env: str) -> str:
        return self.project("kedro", "slurm", "--env=test", *more, **env)

    def jobs(self) -> dict[str, str]:
        """Job to state, of the jobs that have not ended."""
        listed = self.project("squeue", "--noheader", "--format=%j %i %T %N")
        return {line.split()[0]: line for line in listed.splitlines()}

    def id(self, stage: str) -> str:
        return self.jobs()[f"{stage}-test"].split()[1]

    def finish(self, seconds: float = 1800) -> None:
        wait_for(lambda: not self.jobs(), seconds)

    def log(self, stage: str) -> str:
        file = self.project.root / f".scratch/slurm/{stage}-test.log"
        return file.read_text() if file.exists() else ""

    def change(self, **values: dict[str, object]) -> None:
        """Change parameters: top-level key to what is merged into it."""
        file = self.project.root / PARAMETERS
        parameters = yaml.safe_load(file.read_text())
        for key, value in values.items():
            parameters[key] = {**parameters.get(key, {}), **value}
        file.write_text(yaml.safe_dump(parameters, sort_keys=False))

    def train(self, steps: int, stage: str = "base32", **slurm: object) -> None:
        """Have a stage train for some steps, with a checkpoint at every second one."""
        training = yaml.safe_load((self.project.root / PARAMETERS).read_text())[stage]["training"]
        self.change(
            **{stage: {"training": {**training, "steps": steps, "log_every": 1, "checkpoint_steps": 2}}},
            slurm={"stages": {stage: slurm} if slurm else {}},
        )

    def file(self, path: str) -> Path:
        return self.project.root / DATA / path

    def hash(self, path: str) -> str:
        return hashlib.sha256(self.file(path).read_bytes()).hexdigest()

    def losses(self, stage: str) -> list[float]:
        with self.file(f"08_reporting/curves/{stage}.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    def trained(self, stage: str, since: int) -> bool:
        """Whether the job's output, from a place on, shows a training that is under way and has a checkpoint."""
        seen = re.findall(r"\| ([\d.]+)/[\d.]+k? ", self.log(stage)[since:].replace("\r", "\n"))
        return bool(seen) and float(seen[-1]) >= 80


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A copy of the project in a folder whose name a shell would split, with every stage made by jobs."""
    cluster = Cluster(new_project(tmp_path_factory.mktemp("a user's") / "cdm $HOME"))
    cluster.project.env["OMP_NUM_THREADS"] = "1"
    cluster.first = cluster.submit()  # type: ignore[attr-defined]
    wait_for(lambda: "running" in cluster.log("embedded"))
    cluster.status = cluster.submit("--status")  # type: ignore[attr-defined]
    cluster.finish()
    return cluster


def test_the_cascade_runs_as_a_graph_of_jobs_under_one_parent_run(cluster: Cluster) -> None:
    said, stages = cluster.first, cluster.project.stages()  # type: ignore[attr-defined]
    assert re.findall(r"^job \d+: (\w+)", said, re.M) == stages
    status = cluster.status  # type: ignore[attr-defined]
    assert re.search(r"^embedded: (job \d+ \w+ing on n[12] for \d+:\d\d|fresh)$", status, re.M), status
    assert re.search(r"^report: job \d+ pending, waits: Dependency$", status, re.M), status
    logs = "\n".join(f"{stage}: {cluster.log(stage)[-2000:]}" for stage in stages)
    assert cluster.submit("--status").splitlines() == [f"{stage}: fresh" for stage in stages], logs
    runs = cluster.project.runs()
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert sorted(r.info.run_name for r in runs if r is not parents[0]) == sorted(stages)
    assert {r.data.tags.get("mlflow.parentRunId") for r in runs if r is not parents[0]} == {parents[0].info.run_id}
    assert all(run.info.status == "FINISHED" for run in runs)


def test_fresh_stages_submit_nothing(cluster: Cluster) -> None:
    assert cluster.submit() == "nothing to submit: every stage is fresh or in the queue\n"
    assert not cluster.jobs()


def test_a_job_that_is_told_to_end_saves_is_requeued_and_ends_with_the_same_bytes(cluster: Cluster) -> None:
    cluster.train(60)
    cluster.project("kedro", "run", "--pipelines=base32", "--env=test")
    undisturbed = cluster.hash("06_models/base32.safetensors")

    cluster.submit("--pipelines=base32", CDM_FORCE="1")
    assert not cluster.jobs()  # fresh: even a forced environment submits nothing
    cluster.file("06_models/base32.safetensors").unlink()
    before = len(cluster.log("base32"))
    cluster.submit("--pipelines=base32", CDM_FORCE="1")
    assert "in the queue" in cluster.submit("--pipelines=base32")
    wait_for(lambda: cluster.trained("base32", before))
    cluster.project("scancel", "--signal=USR1", "--batch", cluster.id("base32"))  # as before the time limit
    cluster.finish()
    assert "base32: resuming at step" in cluster.log("base32")[before:]
    assert cluster.hash("06_models/base32.safetensors") == undisturbed


def test_a_job_whose_node_dies_ends_on_another_with_the_same_bytes(cluster: Cluster) -> None:
    undisturbed, before = cluster.hash("06_models/base32.safetensors"), len(cluster.log("base32"))
    cluster.train(60)
    cluster.file("06_models/base32.safetensors").unlink()
    cluster.project("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=test")
    cluster.submit("--pipelines=base32", CDM_FORCE="1")
    wait_for(lambda: "running" in cluster.log("base32")[before:])
    cluster.project("scontrol", "update", "NodeName=n1", "State=RESUME")
    assert cluster.jobs()["base32-test"].endswith(" n2")
    wait_for(lambda: cluster.trained("base32", before))
    power_off("n2")
    cluster.finish()
    power_on("n2")
    assert "resuming at step" in cluster.log("base32")[before:]
    assert cluster.hash("06_models/base32.safetensors") == undisturbed


def power_off(node: str) -> None:
    """End a node's daemon and all that runs under it at once."""
    folder = Path(os.environ["SLURM_CONF"]).parent
    victims = [psutil.Process(int((folder / node / "slurmd.pid").read_text()))]
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURMD_NODENAME") == node:
                victims += [p for p in process.parents() if "slurmstepd" in p.name()] + [process]
    for process in victims:
        with suppress(psutil.Error):
            process.kill()


def power_on(node: str) -> None:
    folder = Path(os.environ["SLURM_CONF"]).parent
    subprocess.run([str(ROOT / "packaging/slurm/cluster"), "slurmd", str(folder), node], check=True)
    states = ("sinfo", "--noheader", "--Node", "--format=%T")
    wait_for(lambda: subprocess.run(states, capture_output=True, text=True).stdout.split() == ["idle", "idle"])


def test_training_over_two_nodes_has_the_losses_of_one_process(cluster: Cluster) -> None:
    alone = cluster.losses("base32")
    cluster.train(60, nodes=2, cpus=2)
    cluster.file("06_models/base32.safetensors").unlink()
    before = len(cluster.log("base32"))
    cluster.submit("--pipelines=base32", CDM_FORCE="1")
    wait_for(lambda: "n[1-2]" in cluster.jobs()["base32-test"])
    wait_for(lambda: cluster.trained("base32", before))
    cluster.project("scancel", "--signal=USR1", "--batch", cluster.id("base32"))
    cluster.finish()
    assert "resuming at step" in cluster.log("base32")[before:], cluster.log("base32")[before:]
    card = json.loads(cluster.file("06_models/base32.json").read_text())
    assert card["processes"] == 2
    assert cluster.losses("base32") == pytest.approx(alone, rel=1e-5)


def test_sampling_over_two_nodes_makes_the_files_of_one_process(cluster: Cluster) -> None:
    files = [f"07_model_output/samples_{size}.npz" for size in (32, 64, 128, 256)]
    cluster.change(sample={"batch_size": 2}, slurm={"stages": {"sample": {"nodes": 2, "cpus": 2}}})
    cluster.project("kedro", "run", "--pipelines=sample", "--env=test")
    alone = [cluster.hash(file) for file in files]
    cluster.file(files[0]).unlink()
    cluster.submit("--pipelines=sample", CDM_FORCE="1")
    wait_for(lambda: "n[1-2]" in cluster.jobs()["sample-test"])
    cluster.finish()
    assert [cluster.hash(file) for file in files] == alone, cluster.log("sample")


def test_evaluation_over_two_nodes_makes_the_files_of_one_process(cluster: Cluster) -> None:
    files = ["04_feature/reference.npz", "08_reporting/metrics.json"]
    two = {name: {"nodes": 2} for name in ("reference", "evaluate")}
    cluster.change(evaluate={"batch_size": 3}, slurm={"stages": two})
    cluster.project("kedro", "run", "--pipelines=reference,evaluate", "--env=test")
    alone = [cluster.hash(file) for file in files]
    for file in files:
        cluster.file(file).unlink()
    cluster.submit("--pipelines=reference", CDM_FORCE="1")
    cluster.finish()
    cluster.submit("--pipelines=evaluate", CDM_FORCE="1")
    cluster.finish()
    assert [cluster.hash(file) for file in files] == alone, cluster.log("evaluate")
