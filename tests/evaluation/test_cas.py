"""Classification Accuracy Score: the network, its training habits, the table and the pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from cdm_kedro.data.beton import read_beton
from cdm_kedro.errors import SourceError
from cdm_kedro.evaluation.pictures import read_caption
from cdm_kedro.model.resnet import ResNet
from cdm_kedro.params.cas import CasParams
from cdm_kedro.studies.cas.generated import samples_to_beton
from cdm_kedro.studies.cas.results import cas_table, class_accuracies, draw_classes, draw_comparison
from cdm_kedro.training.classifier.job import ClassifierJob
from cdm_kedro.training.classifier.launch import launch
from cdm_kedro.training.classifier.trainer import ClassifierTrainer, augment

CPU = torch.device("cpu")
CLASSES = ["class0", "class1", "class2"]


@pytest.mark.parametrize(
    ("depth", "parameters", "gmacs"),
    [(18, 11_689_512, 1.814), (34, 21_797_672, 3.664), (50, 25_557_032, 4.089), (101, 44_549_160, 7.801)],
)
def test_networks_have_the_published_sizes(depth: int, parameters: int, gmacs: float) -> None:
    """Parameters and multiply-adds at 224 pixels, as the common ResNet weights' cards state them."""
    with torch.device("meta"):
        net = ResNet(depth, 1000, 224)
        assert sum(p.numel() for p in net.parameters()) == parameters
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 3, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.001)


def test_bottleneck_network_against_its_definition() -> None:
    """ResNet-50 at 128 pixels, written out with functional calls over its own weights."""
    torch.manual_seed(0)
    net = ResNet(50, 7, 128, width=8).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.3, 1)
    s = net.state_dict()

    def bn(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, gain, bias = (s[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean[:, None, None]) / (var + 1e-5).sqrt()[:, None, None] * gain[:, None, None] + bias[
            :, None, None
        ]

    x = torch.randn(2, 3, 128, 128)
    h = F.max_pool2d(bn(F.conv2d(x, s["stem.weight"], None, 2, 3), "norm").relu(), 3, 2, 1)
    number = 0
    for stage, count in enumerate((3, 4, 6, 3)):
        for block in range(count):
            p, stride = f"blocks.{number}", 2 if stage > 0 and block == 0 else 1
            y = bn(F.conv2d(h, s[f"{p}.convs.0.weight"]), f"{p}.norms.0").relu()
            y = bn(F.conv2d(y, s[f"{p}.convs.1.weight"], None, stride, 1), f"{p}.norms.1").relu()
            y = bn(F.conv2d(y, s[f"{p}.convs.2.weight"]), f"{p}.norms.2")
            if block == 0:
                h = bn(F.conv2d(h, s[f"{p}.shortcut.0.weight"], None, stride), f"{p}.shortcut.1")
            h, number = (h + y).relu(), number + 1
    assert h.shape == (2, 256, 4, 4)
    expected = h.mean((2, 3)) @ s["head.weight"].T + s["head.bias"]
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("resolution", "side"), [(32, 32), (64, 32), (128, 32), (256, 64)])
def test_the_stem_suits_the_images(resolution: int, side: int) -> None:
    net = ResNet(18, 3, resolution, width=4)
    assert net.pool(net.stem(torch.zeros(1, 3, resolution, resolution))).shape[-1] == side


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
    whole = ClassifierTrainer(job(tmp_path / "a", betons), 0, 1, CPU, lambda event: None)
    whole.run()

    def stop(event: dict[str, Any]) -> None:
        first.stop_requested = event["event"] == "log" and event["step"] == 6

    first = ClassifierTrainer(job(tmp_path / "b", betons), 0, 1, CPU, stop)
    first.run()
    assert first.step == 6
    events: list[dict[str, Any]] = []
    second = ClassifierTrainer(job(tmp_path / "b", betons), 0, 1, CPU, events.append)
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


def test_samples_become_an_ffcv_file_or_an_error(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    labels = np.arange(9) % 3
    np.savez(tmp_path / "s.npz", images, labels)
    samples_to_beton(tmp_path / "s.npz", tmp_path / "s.beton", CLASSES)
    stored, found = read_beton(tmp_path / "s.beton")
    np.testing.assert_array_equal(stored, images)
    np.testing.assert_array_equal(found, labels)
    for arrays, message in (
        ((images,), r"has no labels \(arr_1\)"),
        ((images, labels + 1), "labels from 1 to 3; the data has classes 0 to 2"),
        ((images, labels % 2), r"1 of 3 classes have no sample \(class2…\).*raise sample\.num_samples"),
    ):
        np.savez(tmp_path / "bad.npz", *arrays)
        with pytest.raises(SourceError, match=message):
            samples_to_beton(tmp_path / "bad.npz", tmp_path / "bad.beton", CLASSES)


def test_table_comparison_and_class_grids(tmp_path: Path) -> None:
    base = {"resolution": 256, "network": "ResNet-50", "train_images": 9, "validation_images": 12, "top5": 100.0}
    real = base | {"top1": 75.0, "per_class": {"images": [4, 4, 4, 0], "top1": [4, 3, 2, 0], "top5": [4, 4, 4, 0]}}
    fake = base | {"top1": 50.0, "per_class": {"images": [4, 4, 4, 0], "top1": [1, 2, 3, 0], "top5": [4, 4, 4, 0]}}
    rows = cas_table({256: {"real": real, "generated": fake}})
    assert [(r["trained_on"], r["top1"], r["paper"]) for r in rows] == [
        ("real", 75.0, (73.09, 91.47)),
        ("generated", 50.0, (63.02, 84.06)),
    ]
    np.testing.assert_array_equal(class_accuracies(fake), [25, 50, 75, np.nan])
    draw_comparison(real, fake, tmp_path / "c.png")
    assert "better on 1 of 4 classes" in read_caption(tmp_path / "c.png")
    images = np.stack([np.full((128, 128, 3), 25 * c, np.uint8) for c in range(8) for _ in range(2)])
    np.savez(tmp_path / "s.npz", images, np.arange(16) // 2)
    paths = {kind: tmp_path / f"{kind}.png" for kind in ("best", "worst")}
    accuracies = {"images": [4] * 7 + [0], "top1": [0, 4, 1, 3, 2, 2, 1, 0]}
    draw_classes(fake | {"per_class": accuracies}, tmp_path / "s.npz", list("abcdefgh"), paths)
    shown = {}
    for kind, path in paths.items():
        pixels = np.asarray(Image.open(path))
        sizes = {c: (pixels == 25 * c).all(2) for c in range(8)}
        tops = {c: int(np.flatnonzero(area.sum(1) > 99)[0]) for c, area in sizes.items() if area.sum() > 10_000}
        shown[kind] = sorted(tops, key=lambda c: tops[c])
    assert shown["best"][:2] == [1, 3] and shown["worst"][0] == 0 and len(shown["best"]) == 6
    assert 7 not in shown["best"] + shown["worst"]  # a class without validation images has no accuracy
    assert "Figure 9" in read_caption(paths["best"]) and "Figure 10" in read_caption(paths["worst"])


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="warmup_steps 5 must be below steps 5"):
        CasParams(resolutions=[], steps=5, warmup_steps=5, batch_size=1)
