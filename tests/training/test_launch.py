"""The training process from outside: killed, damaged, refused, on two processes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cdm_kedro.errors import CdmError, CdmInterrupted
from cdm_kedro.model.build import build_unet
from cdm_kedro.training.checkpoint import Checkpoints
from cdm_kedro.training.draws import mix_seed
from cdm_kedro.training.launch import launch
from training_jobs import make_job


def quiet(event: dict[str, Any]) -> None:
    return None


@contextlib.contextmanager
def accident(text: str) -> Iterator[None]:
    """Trainings begun within have an accident (see dying.py)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cdm_kedro.training.launch.RUNS_MODULES", ("dying",))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        patch.setenv("DYING", text)
        yield


@pytest.fixture(scope="module")
def uninterrupted(betons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return launch(make_job(betons["train_64"], tmp_path_factory.mktemp("whole")), quiet)


def test_killed_at_random_steps_and_moments_ends_with_the_same_bits(
    betons: dict[str, Path], tmp_path: Path, uninterrupted: Any
) -> None:
    job = make_job(betons["train_64"], tmp_path / "w")
    rng = random.Random(1)
    steps = sorted(rng.sample(range(1, 11), 3))
    moments = rng.sample(["begin", "backward", "optimizer", "saving"], 3)
    resumed: list[int] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "resumed":
            resumed.append(event["step"])

    for step, moment in zip(steps, moments, strict=True):
        with accident(f"0 {step} {moment} SIGKILL"), pytest.raises(CdmError, match=f"code -{signal.SIGKILL:d}"):
            launch(job, on_event)
    result = launch(job, on_event)
    assert resumed == steps  # the checkpoint of the step before the accident, each time
    assert result.weights.read_bytes() == uninterrupted.weights.read_bytes()
    assert [r["loss"] for r in result.curve] == [r["loss"] for r in uninterrupted.curve]
    assert result.card["threads"] == uninterrupted.card["threads"]


def test_signals_save_and_a_damaged_newest_checkpoint_falls_back(
    betons: dict[str, Path], tmp_path: Path, uninterrupted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(betons["train_64"], tmp_path / "w")
    for number, step in ((signal.SIGTERM, 4), (signal.SIGINT, 7)):
        with accident(f"0 {step} backward {number.name}"), pytest.raises(CdmInterrupted, match="is saved") as stop:
            launch(job, quiet)
        assert stop.value.code == 128 + number
        saved = sorted((tmp_path / "w/checkpoints").glob("*.safetensors"))
        assert [path.stem for path in saved] == [f"step_{n:09d}" for n in (step, step + 1)]  # the step is finished
    saved[1].write_bytes(saved[1].read_bytes()[:-100])
    events: list[dict[str, Any]] = []
    result = launch(job, events.append)
    assert next(e["step"] for e in events if e["event"] == "resumed") == 7
    assert "damaged" in caplog.text
    assert result.weights.read_bytes() == uninterrupted.weights.read_bytes()


def test_another_jobs_checkpoint_is_refused_with_the_difference(
    betons: dict[str, Path], tmp_path: Path, uninterrupted: Any
) -> None:
    folder = uninterrupted.weights.parent
    shutil.copytree(folder, tmp_path / "w")
    with pytest.raises(CdmError, match=r"params\.training\.lr: 0\.001 -> 0\.002"):
        launch(make_job(betons["train_64"], tmp_path / "w", lr=2e-3, steps=14), quiet)
    longer = launch(make_job(betons["train_64"], tmp_path / "w", steps=14), quiet)  # more steps go on from there
    assert [r["step"] for r in longer.curve] == list(range(1, 15))


def same_run(beton: Path, workdir: Path, **training: Any) -> Any:
    # Adam divides by gradients' sizes: those of weights behind zero-initialized ones begin near 1e-8 and turn rounding
    # errors into errors of the size of lr, hence a small lr, and weights compared on the whole.
    return launch(make_job(beton, workdir, **{"precision": "fp32", "steps": 5, "lr": 1e-4, **training}), quiet)


@pytest.fixture(scope="module")
def one(betons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return same_run(betons["train_64"], tmp_path_factory.mktemp("one"))


def test_two_processes_and_accumulation_take_the_same_steps(betons: dict[str, Path], tmp_path: Path, one: Any) -> None:
    same_run(betons["train_64"], tmp_path / "2", devices=2, steps=3)
    two = same_run(betons["train_64"], tmp_path / "2", devices=2)  # goes on at step 3
    others = two, same_run(betons["train_64"], tmp_path / "3", microbatch=2)
    weights = load_file(one.weights)
    torch.manual_seed(mix_seed(0, 1))
    begun = build_unet(make_job(betons["train_64"], tmp_path).params, 3).state_dict()
    moved = torch.cat([(weights[name] - begun[name]).flatten() for name in weights]).norm()
    for other in others:
        assert [r["loss"] for r in other.curve] == pytest.approx([r["loss"] for r in one.curve], rel=1e-5)
        assert [r["grad_norm"] for r in other.curve] == pytest.approx([r["grad_norm"] for r in one.curve], rel=1e-3)
        again = load_file(other.weights)
        apart = torch.cat([(weights[name] - again[name]).flatten() for name in weights]).norm()
        assert apart < 0.25 * moved  # without synchronization it is above 1


def test_two_nodes_take_the_same_steps_as_one_process(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: Any
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {
        "PET_NNODES": "2",
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"127.0.0.1:{port}",
        "PET_RDZV_ID": "test",
        "PET_LOCAL_ADDR": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    other = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=1",
        "-m",
        "cdm_kedro.training.worker",
        "-",
    ]
    with subprocess.Popen(other, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as helper:
        try:
            two = same_run(betons["train_64"], tmp_path)
            said, _ = helper.communicate(timeout=60)
        finally:
            helper.kill()
    assert helper.returncode == 0, said
    assert '"event"' not in said  # only the leader reports
    assert two.card["processes"] == 2
    assert [r["loss"] for r in two.curve] == pytest.approx([r["loss"] for r in one.curve], rel=1e-5)
    assert [r["grad_norm"] for r in two.curve] == pytest.approx([r["grad_norm"] for r in one.curve], rel=1e-3)


def test_incomplete_rendezvous_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path / "none", tmp_path / "w")
    monkeypatch.setenv("PET_NNODES", "2")
    with pytest.raises(CdmError, match="PET_RDZV_ENDPOINT is not set"):
        launch(job, quiet)
    monkeypatch.setenv("PET_NNODES", "1:4")
    with pytest.raises(CdmError, match="give the number of nodes"):
        launch(job, quiet)


def test_the_process_that_failed_first_is_heard(betons: dict[str, Path], tmp_path: Path) -> None:
    with accident("1 2 begin raise"), pytest.raises(CdmError) as failed:
        launch(make_job(betons["train_64"], tmp_path / "w", devices=2), quiet)
    end = str(failed.value)[str(failed.value).index("Root Cause") :]
    assert "rank      : 1" in end and "step_with_accident" in end and "ArithmeticError: the accident" in end


PARENT = """
import sys
from pathlib import Path
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.errors import CdmInterrupted
from cdm_kedro.training.launch import launch
try:
    launch(TrainingJob.model_validate_json(Path(sys.argv[1]).read_text()), lambda e: print(e["event"], flush=True))
except CdmInterrupted as stop:
    sys.exit(stop.code)
"""


def test_ctrl_c_reaches_all_processes_and_the_state_is_saved(betons: dict[str, Path], tmp_path: Path) -> None:
    job = make_job(betons["train_64"], tmp_path / "w", devices=2, steps=100_000, checkpoint_steps=None)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-c", PARENT, str(tmp_path / "job.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        while "log" not in (line := parent.stdout.readline()):
            assert line, parent.communicate()
        parent.send_signal(signal.SIGINT)
        _, said = parent.communicate(timeout=120)
    assert parent.returncode == 130, said
    found = Checkpoints(tmp_path / "w/checkpoints", job.identity()).load(torch.device("cpu"))
    assert found is not None and 1 <= found[0] < 100_000 and len(found[2]["curve"]) == found[0]


def test_one_process_that_is_asked_stops_all_after_the_same_step(betons: dict[str, Path], tmp_path: Path) -> None:
    """Not the leader; the others hear of it one step later, and wait until the state is saved."""
    job = make_job(betons["train_64"], tmp_path / "w", devices=2, steps=100, checkpoint_steps=None)
    events: list[dict[str, Any]] = []
    with accident("1 4 backward SIGTERM"), pytest.raises(CdmError, match=r"(?s)exitcode *: 143.*exitcode *: 143"):
        launch(job, events.append)
    (stopped,) = [event["step"] for event in events if event["event"] == "stopped"]
    found = Checkpoints(tmp_path / "w/checkpoints", job.identity()).load(torch.device("cpu"))
    assert found is not None and found[0] == stopped == 6 and len(found[2]["curve"]) == 6


def test_divergence_stops_with_the_state_kept(betons: dict[str, Path], tmp_path: Path) -> None:
    job = make_job(betons["train_64"], tmp_path / "w", lr=1e30, max_nonfinite=3, steps=50)
    with pytest.raises(CdmError, match=r"3 steps in a row .* Lower training\.lr"):
        launch(job, quiet)
    found = Checkpoints(tmp_path / "w/checkpoints", job.identity()).load(torch.device("cpu"))
    assert found is not None and found[0] < 50 and found[1]["count/nonfinite"].tolist() == [3, 3]


def test_the_failing_process_is_heard(tmp_path: Path) -> None:
    with pytest.raises(CdmError, match=r"none\.beton: no such file; run the preprocess stage"):
        launch(make_job(tmp_path / "none.beton", tmp_path / "w"), quiet)
