"""The console commands, on anyone's images and statistics."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cdm_kedro.cli.evaluation import evaluate_samples, reference_statistics

ROOT = Path(__file__).parents[2]
FAST = ("--input-side", "32")


def call(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(
        command,  # type: ignore[arg-type]
        [str(a) for a in arguments],
        obj=SimpleNamespace(project_path=ROOT),
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images as a folder and as an npz of the same pixels, and noisier samples as an npz."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 32)[None, :, None]
    real = np.clip(ramp + rng.integers(-20, 20, (24, 32, 32, 3)), 0, 255).astype(np.uint8)
    (root / "real").mkdir()
    for i, image in enumerate(real):
        Image.fromarray(image).save(root / "real" / f"{i}.png")
    np.savez(root / "real.npz", real)
    noisy = np.clip(ramp + rng.integers(-90, 90, (20, 32, 32, 3)), 0, 255).astype(np.uint8)
    np.savez(root / "samples.npz", noisy, np.arange(20) % 5)
    np.savez(root / "other_size.npz", noisy[:, ::2, ::2])
    return root


def test_every_form_of_the_same_reference_gives_the_same_scores(sets: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.npz"
    made = call(reference_statistics, sets / "real", "-o", stats, *FAST)
    assert made.exit_code == 0, made.output
    assert "24 images, efficientnet_lite0_32px (not more images than feature dimensions" in made.output
    with np.load(stats) as arrays:
        assert arrays["mu"].shape == (1280,) and arrays["sigma"].shape == (1280, 1280)
    found = []
    for reference in (sets / "real", sets / "real.npz", stats):
        out = tmp_path / "out" / "m.json"
        done = call(evaluate_samples, sets / "samples.npz", "--reference", reference, "-o", out, *FAST)
        assert done.exit_code == 0, done.output
        found.append(json.loads(out.read_text()))
    name = "efficientnet_lite0_32px"
    assert found[0]["extractor"]["name"] == name and found[0]["n"] == 20 and found[0]["reference_n"] == 24
    for other in found[1:]:
        for key in (f"fd_{name}", f"kd_{name}", f"score_{name}", f"precision_{name}", f"recall_{name}"):
            assert other[key] == pytest.approx(found[0][key], rel=1e-4)
    real = call(evaluate_samples, sets / "real.npz", "--reference", stats, "-o", out, *FAST)
    assert real.exit_code == 0
    assert json.loads(out.read_text())[f"fd_{name}"] == pytest.approx(0, abs=1e-3)
    assert found[0][f"fd_{name}"] > 1


def test_statistics_of_others_give_the_distance_and_a_remark(sets: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", mu=np.zeros(1280), sigma=np.eye(1280))
    out = tmp_path / "m.json"
    done = call(evaluate_samples, sets / "samples.npz", "--reference", tmp_path / "theirs.npz", "-o", out, *FAST)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert "fd_efficientnet_lite0_32px" in found and "kd_efficientnet_lite0_32px" not in found
    assert "theirs.npz does not say which network made it" in found["note"] and found["reference_n"] is None
    done = call(evaluate_samples, sets / "other_size.npz", "--reference", sets / "real", "-o", out, *FAST)
    assert "the samples are 16 x 16 pixels, the reference images 32 x 32" in json.loads(out.read_text())["note"]


def test_bad_input_is_an_error_without_a_traceback(sets: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "float.npz", np.full((4, 8, 8, 3), 0.5))
    np.savez(tmp_path / "small.npz", mu=np.zeros(3), sigma=np.eye(3))
    real = ("--reference", sets / "real")
    for arguments, message in (
        ((tmp_path / "float.npz", *real), "convert it to uint8"),
        ((sets / "samples.npz", "--reference", tmp_path / "small.npz"), "efficientnet_lite0_32px has 1280"),
        ((sets / "samples.npz", *real, "--extractor", "inception2015"), "needs weights"),
        ((sets / "samples.npz", *real, "--extractor", "clip"), "evaluate.extractor is 'clip': Input should be"),
        (
            (sets / "samples.npz", *real, "--extractor", "inception2015", "--weights", tmp_path / "small.npz"),
            "not 6726825d",
        ),
    ):
        done = call(evaluate_samples, *arguments, *FAST)
        assert done.exit_code == 1 and message in done.output and "Traceback" not in done.output, done.output
    done = call(reference_statistics, sets / "real", "-o", tmp_path / "a.txt")
    assert done.exit_code == 1 and "must end in .npz" in done.output
