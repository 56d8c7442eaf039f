"""The training process from outside: killed, damaged, refused, on two processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cdm_kedro.training.checkpoint import CheckpointMismatch, Checkpoints
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.launch import TrainingError, launch
from cdm_kedro.training.worker import write_weights


def make_job(beton: Path, workdir: Path, **training: Any) -> TrainingJob:
    return TrainingJob.model_validate(
        {
            "stage": "sr64",
            "params": {
                "resolution": 64,
                "low": "base32",
                "low_resolution": 32,
                "unet": {"channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1, "dropout": 0.1},
                "diffusion": {"timesteps": 40, "schedule": "cosine", "learned_variances": True},
                "augmentation": {"kind": "gaussian", "timesteps": 40},
                "training": {
                    "steps": 12,
                    "batch_size": 4,
                    "lr": 1e-3,
                    "crop": 32,
                    "ema_decay": 0.9,
                    "class_dropout": 0.1,
                    "log_every": 1,
                    "checkpoint_steps": 1,
                    **training,
                },
            },
            "beton": str(beton),
            "num_classes": 3,
            "workdir": str(workdir),
            "data": {"sha256": "of the test"},
        }
    )


def quiet(event: dict[str, Any]) -> None:
    return None


def start(job: TrainingJob) -> subprocess.Popen[str]:
    workdir = Path(job.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-m", "cdm_kedro.training.worker", str(workdir / "job.json")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_until(job: TrainingJob, step: int, number: int) -> int:
    """Start the process, send it a signal once it has saved the step, return its exit code."""
    process = start(job)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "checkpoint" and event["step"] >= step:
            os.kill(process.pid, number)
            break
    process.communicate()
    return process.returncode


@pytest.fixture(scope="module")
def uninterrupted(betons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return launch(make_job(betons["train_64"], tmp_path_factory.mktemp("whole")), quiet)


def test_killed_twice_ends_with_the_same_bits(betons: dict[str, Path], tmp_path: Path, uninterrupted: Any) -> None:
    job = make_job(betons["train_64"], tmp_path / "w")
    assert run_until(job, 3, signal.SIGKILL) == -signal.SIGKILL
    assert run_until(job, 7, signal.SIGKILL) == -signal.SIGKILL
    events: list[dict[str, Any]] = []
    result = launch(job, events.append)
    resumed = next(e["step"] for e in events if e["event"] == "resumed")
    assert 7 <= resumed < 12
    assert result.weights.read_bytes() == uninterrupted.weights.read_bytes()
    assert [r["loss"] for r in result.curve] == [r["loss"] for r in uninterrupted.curve]


def test_sigterm_saves_and_a_damaged_newest_checkpoint_falls_back(
    betons: dict[str, Path], tmp_path: Path, uninterrupted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(betons["train_64"], tmp_path / "w")
    assert run_until(job, 4, signal.SIGTERM) == 143
    saved = sorted((tmp_path / "w/checkpoints").glob("*.safetensors"))
    assert len(saved) == 2
    saved[1].write_bytes(saved[1].read_bytes()[:-100])
    events: list[dict[str, Any]] = []
    result = launch(job, events.append)
    assert next(e["step"] for e in events if e["event"] == "resumed") == int(saved[0].stem.split("_")[1])
    assert "damaged" in caplog.text
    assert result.weights.read_bytes() == uninterrupted.weights.read_bytes()


def test_another_jobs_checkpoint_is_refused_with_the_difference(
    betons: dict[str, Path], tmp_path: Path, uninterrupted: Any
) -> None:
    folder = uninterrupted.weights.parent
    shutil.copytree(folder, tmp_path / "w")
    with pytest.raises(TrainingError, match=r"params\.training\.lr: 0\.001 -> 0\.002"):
        launch(make_job(betons["train_64"], tmp_path / "w", lr=2e-3, steps=14), quiet)
    longer = launch(make_job(betons["train_64"], tmp_path / "w", steps=14), quiet)  # more steps go on from there
    assert [r["step"] for r in longer.curve] == list(range(1, 15))


def test_two_processes_take_the_same_steps(betons: dict[str, Path], tmp_path: Path) -> None:
    one = launch(make_job(betons["train_64"], tmp_path / "1", precision="fp32", steps=5), quiet)
    two = launch(make_job(betons["train_64"], tmp_path / "2", precision="fp32", steps=5, devices=2), quiet)
    accumulated = launch(make_job(betons["train_64"], tmp_path / "3", precision="fp32", steps=5, microbatch=2), quiet)
    for other in (two, accumulated):
        assert [r["loss"] for r in other.curve] == pytest.approx([r["loss"] for r in one.curve], rel=1e-4)
        assert [r["grad_norm"] for r in other.curve] == pytest.approx([r["grad_norm"] for r in one.curve], rel=1e-3)
        for name, tensor in load_file(one.weights).items():
            torch.testing.assert_close(load_file(other.weights)[name], tensor, rtol=1e-2, atol=2e-4)


def test_divergence_stops_with_the_state_kept(betons: dict[str, Path], tmp_path: Path) -> None:
    job = make_job(betons["train_64"], tmp_path / "w", lr=1e30, max_nonfinite=3, steps=50)
    with pytest.raises(TrainingError, match=r"3 steps in a row .* Lower training\.lr"):
        launch(job, quiet)
    found = Checkpoints(tmp_path / "w/checkpoints", job.identity()).load(torch.device("cpu"))
    assert found is not None and found[0] < 50 and found[2]["nonfinite_run"] == 3


def test_the_failing_process_is_heard(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none\.beton: no such file; run the preprocess stage"):
        launch(make_job(tmp_path / "none.beton", tmp_path / "w"), quiet)


def test_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, {"a": 1})
    checkpoints.save(1, {"x": torch.ones(3)}, {}, wait=True)

    def full(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cdm_kedro.training.checkpoint.save_file", full)
    assert checkpoints.save(2, {"x": torch.zeros(3)}, {})
    checkpoints.join()
    assert not list(tmp_path.glob("*2*")) and not list(tmp_path.glob("*.part"))
    found = checkpoints.load(torch.device("cpu"))
    assert found is not None and found[0] == 1 and torch.equal(found[1]["x"], torch.ones(3))
    with pytest.raises(CheckpointMismatch, match="a: 1 -> 2"):
        Checkpoints(tmp_path, {"a": 2}).load(torch.device("cpu"))


def test_weights_file_describes_itself_and_never_appears_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_weights(tmp_path / "m.safetensors", {"w": torch.ones(2, dtype=torch.bfloat16)}, {"stage": "x"})
    assert load_file(tmp_path / "m.safetensors")["w"].dtype == torch.float32
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_weights(tmp_path / "n.safetensors", {"w": torch.ones(2)}, {})
    assert not (tmp_path / "n.safetensors").exists()
