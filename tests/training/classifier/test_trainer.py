"""A classifier's training: augmentation, resuming, and its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_kedro.params.cas import CasParams
from cdm_kedro.training.classifier.launch import ClassifierJob, launch
from cdm_kedro.training.classifier.trainer import ClassifierTrainer, augment
from cdm_kedro.training.loop import World

CPU = torch.device("cpu")


def test_augmentation_crops_within_the_image_and_flips_half() -> None:
    """On an image of its own coordinates: what comes out is a window of it, and mirrored half of the time."""
    line = torch.linspace(-1 + 1 / 32, 1 - 1 / 32, 32)
    image = torch.stack((line.expand(32, 32), line[:, None].expand(32, 32), torch.zeros(32, 32)))
    images = image.expand(400, 3, 32, 32)
    out = augment(images, 0.25, True, torch.Generator().manual_seed(0))
    slope_x, slope_y = (out[:, 0, 16, 20] - out[:, 0, 16, 12]) / 0.5, (out[:, 1, 20, 16] - out[:, 1, 12, 16]) / 0.5
    assert 0.4 < (slope_x < 0).float().mean() < 0.6 and (slope_y > 0).all()
    area = slope_x.abs() * slope_y
    assert 0.2 < area.min() < 0.35 and area.max() < 1.01 and area.mean() == pytest.approx(0.62, abs=0.05)
    assert out.abs().max() <= 1
    ratio = slope_x.abs() / slope_y
    assert ratio.min() > 0.74 and ratio.max() < 1.34
    flipped = augment(images, 1, True, torch.Generator().manual_seed(0))
    mirrored = torch.tensor([torch.equal(x, image.flip(2)) for x in flipped])
    assert 0.4 < mirrored.float().mean() < 0.6
    assert all(torch.equal(x, image) for x in flipped[~mirrored])
    assert torch.equal(augment(images, 1, False, torch.Generator()), images)


def job(folder: Path, betons: dict[str, Path], **more: Any) -> ClassifierJob:
    settings = {"resolutions": [32], "depth": 18, "width": 8, "steps": 12, "batch_size": 6, "lr": 0.02, "log_every": 3}
    params = CasParams(**(settings | {"min_crop": 0.7, "random_flip": False, "precision": "fp32"} | more))
    return ClassifierJob(
        name="cas",
        params=params,
        resolution=32,
        num_classes=3,
        beton=str(betons["train_32"]),
        validation=str(betons["val_32"]),
        workdir=str(folder),
        data={},
    )


def test_interrupted_training_equals_uninterrupted(tmp_path: Path, betons: dict[str, Path]) -> None:
    whole = ClassifierTrainer(job(tmp_path / "a", betons), World(0, 1, CPU), lambda event: None)
    whole.run()

    def stop(event: dict[str, Any]) -> None:
        first.stop_requested = event["event"] == "log" and event["step"] == 6

    first = ClassifierTrainer(job(tmp_path / "b", betons), World(0, 1, CPU), stop)
    first.run()
    assert first.step == 6
    events: list[dict[str, Any]] = []
    second = ClassifierTrainer(job(tmp_path / "b", betons), World(0, 1, CPU), events.append)
    second.run()
    assert events[0] == {"event": "resumed", "step": 6}
    assert [row["step"] for row in second.curve] == [3, 6, 9, 12]
    for key, value in whole.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[key]), key
    assert second.learning_rate(0) == 0.02 and second.learning_rate(6) == pytest.approx(0.01)


def test_a_classifier_learns_in_its_own_process_and_is_tested(tmp_path: Path, betons: dict[str, Path]) -> None:
    """The classes differ in colour, so all validation images are recognized."""
    events: list[dict[str, Any]] = []
    wanted = job(tmp_path, betons, steps=40, precision="bf16", warmup_steps=5)
    scores, curve = launch(wanted, 18, events.append)
    assert scores["top1"] == 100 and scores["top5"] == 100
    assert scores["per_class"]["images"] == scores["per_class"]["top1"] == [2, 2, 2]
    assert scores["network"] == "ResNet-18" and scores["train_images"] == 18 and scores["validation_images"] == 6
    assert curve[-1]["loss"] < curve[0]["loss"] and curve[-1]["step"] == 40
    assert {"log", "checkpoint", "done"} <= {event["event"] for event in events}


def test_a_terminated_process_saves_and_the_next_goes_on(tmp_path: Path, betons: dict[str, Path]) -> None:
    wanted = job(tmp_path, betons, steps=100_000, log_every=1)
    (tmp_path / "job.json").write_text(wanted.model_dump_json())

    def start() -> Any:
        command = [sys.executable, "-m", "cdm_kedro.training.classifier.worker", str(tmp_path / "job.json")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with start() as first:
        events = []
        for line in first.stdout:
            events.append(json.loads(line))
            if len(events) == 3:
                first.terminate()
    assert first.returncode == 143
    stopped = events[-1]
    assert stopped["event"] == "stopped" and stopped["step"] >= 3
    with start() as second:
        assert json.loads(second.stdout.readline()) == {"event": "resumed", "step": stopped["step"]}
        second.kill()
