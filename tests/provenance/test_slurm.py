"""What `kedro slurm` hands to sbatch, with stand-ins for Slurm's commands; tests/deployment runs it on real Slurm."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from kedro.pipeline import Node, Pipeline
from pydantic import ValidationError

from cdm_kedro.errors import CdmError
from cdm_kedro.params.slurm import SlurmParams
from cdm_kedro.provenance.plan import Job, stale_jobs
from cdm_kedro.provenance.slurm import QueuedJob, Slurm, queue

ROOT = Path("/tmp/a user's $HOME")


class FakeStaleness:
    """Stages are stale by name; asking about one that comes after a stale one is an error, for it would wait."""

    def __init__(self, *stale: str) -> None:
        self.stale, self.asked = stale, []

    def why_stale(self, stage: str) -> list[str]:
        self.asked.append(stage)
        return ["edited"] if stage in self.stale else []


def node(stage: str, inputs: list[str], output: str) -> Node:
    return Node(lambda *_: 0, inputs=inputs, outputs=output, name=f"{stage}_node", namespace=stage)


@pytest.fixture
def diamond(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setattr("kedro.framework.project.pipelines", {})
    return Pipeline(
        [
            node("data", ["raw"], "images"),
            node("base", ["images"], "base_model"),
            node("super", ["images"], "super_model"),
            node("sample", ["base_model", "super_model"], "samples"),
        ]
    )


def test_fresh_stages_are_left_out_and_later_ones_wait_for_stale_ones(diamond: Pipeline) -> None:
    staleness = FakeStaleness("base")
    assert stale_jobs(staleness, diamond) == [Job("base", ["edited"], []), Job("sample", [], ["base"])]
    assert staleness.asked == ["data", "base", "super"]
    assert stale_jobs(FakeStaleness(), diamond) == []


def test_a_stage_in_the_queue_is_not_planned_again_but_waited_for(diamond: Pipeline) -> None:
    assert stale_jobs(FakeStaleness("data", "base"), diamond, ["data", "base"]) == [
        Job("super", [], ["data"]),
        Job("sample", [], ["base", "super"]),
    ]


def test_a_stage_has_its_own_values_over_the_common_ones() -> None:
    params = SlurmParams.model_validate(
        {
            "cpus": 8,
            "time": "2-00:00:00",
            "options": ["--account=me"],
            "stages": {"base32": {"nodes": 4, "gpus": 8}},
        }
    )
    own, common = params.job("base32"), params.job("sample")
    assert (own.nodes, own.gpus, own.cpus, own.time) == (4, 8, 8, "2-00:00:00")
    assert (common.nodes, common.gpus, common.cpus) == (1, 0, 8)
    text = Slurm(ROOT, "imagenet", params).script("base32")
    for option in ("--nodes=4", "--gpus-per-node=8", "--cpus-per-task=8", "--time=2-00:00:00", "--account=me"):
        assert f"#SBATCH {option}\n" in text
    assert "--gpus" not in Slurm(ROOT, None, params).script("sample")


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory": "64 GB"},
        {"time": "soon"},
        {"partition": "a b"},
        {"partition": "x; rm -rf ~"},
        {"options": ["account=vision"]},
        {"options": ["--a\nrm -rf ~"]},
        {"nodes": 0},
        {"stages": {"base32": {"grace_seconds": 1}}},
    ],
)
def test_what_sbatch_or_the_shell_would_misread_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SlurmParams.model_validate(wrong)


def test_names_that_a_shell_would_split_reach_kedro_whole(tmp_path: Path) -> None:
    root = tmp_path / "a user's $HOME; touch oops"
    (root / "bin").mkdir(parents=True)
    text = Slurm(root, "test", SlurmParams(setup=["export PATH=$PWD/bin:$PATH"])).script("base32")
    file = tmp_path / "job.sh"
    file.write_text(text.replace(" -m kedro run", " -c 'import os, sys; print(os.getcwd(), sys.argv[1:])'"))
    done = subprocess.run(["bash", str(file)], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == f"{root} ['--pipelines=base32', '--env=test']\n" and done.returncode == 0, done.stderr
    assert not (tmp_path / "oops").exists()


@pytest.mark.parametrize(("signals", "requeued"), [(["USR1"], True), (["TERM"], False)])
def test_only_a_warned_job_that_has_saved_requeues_itself(tmp_path: Path, signals: list[str], requeued: bool) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho scontrol $@\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    saving = "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.5), sys.exit(143))); "
    saving += "print('ready', flush=True); time.sleep(2); sys.exit(3)"
    params = SlurmParams(setup=[f"export PATH={tmp_path}:$PATH SLURM_JOB_ID=7"])
    file = tmp_path / "job.sh"
    file.write_text(Slurm(tmp_path, None, params).script("base32").replace(" -m kedro run", f' -c "{saving}"'))
    process = subprocess.Popen(["bash", str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for name in signals:
        subprocess.run(["kill", f"-{name}", str(process.pid)], check=True)
    said, _ = process.communicate(timeout=20)
    assert (process.returncode, said) == ((143, "scontrol requeue 7\n") if requeued else (3, ""))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins: sbatch numbers jobs from 11 and writes down its arguments, squeue prints a file."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "sbatch").write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\necho "$MLFLOW_RUN_ID $@" >> calls\necho $((10 + $(wc -l < calls)))\n'
    )
    (commands / "squeue").write_text('#!/bin/sh\ncat "$(dirname "$0")/listed"\n')
    for name in ("sbatch", "squeue"):
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    return commands


def test_jobs_depend_on_the_jobs_of_the_stages_before_them(tmp_path: Path, slurm: Path) -> None:
    jobs = [Job("base", ["edited"], []), Job("super", ["edited"], []), Job("sample", [], ["base", "super"])]
    cluster = Slurm(tmp_path, "test", SlurmParams())
    assert cluster.submit(jobs, "cascade", "parent") == {"base": "11", "super": "12", "sample": "13"}
    *_, last, end = (slurm / "calls").read_text().splitlines()
    assert "--dependency=afterany:11:12:13" in end
    assert "parent-run --pipelines=cascade --close=parent --env=test" in Path(end.split()[-1]).read_text()
    assert last.startswith("parent ") and "--dependency=afterok:11:12" in last and "--kill-on-invalid-dep=yes" in last
    (slurm / "listed").write_text("11|RUNNING|None|n1|1:02\n13|PENDING|Dependency||0:00\n99|RUNNING|None|n2|5:00\n")
    found = queue(tmp_path, "test")
    assert set(found) == {"base", "sample"} and all(job.active for job in found.values())
    assert cluster.describe("base", None, found["base"]) == "base: job 11 running on n1 for 1:02"
    assert cluster.describe("sample", None, found["sample"]) == "sample: job 13 pending, waits: Dependency"
    assert cluster.describe("data", None, None) == "data: fresh"
    failed = cluster.describe("base", jobs[0], QueuedJob("11", "FAILED"))
    assert failed == f"stale: base, because edited; job 11 failed, see {tmp_path}/.scratch/slurm/base-test.log"


def test_without_slurm_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CdmError, match="sbatch is not on this machine's path"):
        Slurm(tmp_path, None, SlurmParams()).submit([Job("base", [], [])], "cascade", None)
