"""The cascade over tiny untrained networks: reproducibility, conditioning, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cdm_kedro.build import build_unet
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.params.stage import StageParams
from cdm_kedro.sampling.cascade import Cascade, CascadeError
from cdm_kedro.sampling.grids import draw_grid
from cdm_kedro.sampling.job import balanced_labels, sample_to_files
from cdm_kedro.training.weights import write_weights

CLASSES = 4
BASE: dict[str, Any] = {
    "resolution": 8,
    "unet": {"channels": 8, "channel_mult": [1], "num_res_blocks": 1},
    "diffusion": {"timesteps": 40, "schedule": "cosine", "learned_variances": True},
    "training": {"steps": 1, "batch_size": 1},
}
SR: dict[str, Any] = {
    **BASE,
    "resolution": 16,
    "low": "base",
    "low_resolution": 8,
    "augmentation": {"kind": "gaussian", "timesteps": 40, "schedule": "cosine"},
}
TOP: dict[str, Any] = {
    **BASE,
    "resolution": 32,
    "low": "sr",
    "low_resolution": 16,
    "diffusion": {"timesteps": 40, "schedule": "linear", "beta_end": 0.01, "noise_conditioning": "continuous"},
    "augmentation": {"kind": "blur"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    out = {}
    for i, (name, raw) in enumerate({"base": BASE, "sr": SR, "top": TOP}.items()):
        params = StageParams.model_validate(raw)
        torch.manual_seed(i)
        net = build_unet(params, CLASSES)
        with torch.no_grad():
            for p in net.parameters():
                if not p.any():
                    p.normal_(std=0.1)
        out[name] = folder / f"{name}.safetensors"
        write_weights(
            out[name],
            net.state_dict(),
            {"stage": name, "num_classes": str(CLASSES), "params": params.model_dump_json()},
        )
    return out


def sampling(**changes: Any) -> SampleParams:
    stages = {
        "base": {"steps": 4},
        "sr": {"steps": 4, "s": 10, "truncated": True},
        "top": {"steps": 3, "schedule": "linear", "beta_start": 0.01, "beta_end": 0.6},
    }
    for name, values in changes.pop("stages", {}).items():
        stages[name] = {**stages[name], **values}
    return SampleParams(**{"num_samples": 8, "batch_size": 64, "precision": "fp32", "stages": stages, **changes})


def run(models: dict[str, Path], params: SampleParams, n: int = 8, first: int = 0) -> dict[int, np.ndarray]:
    cascade = Cascade.from_files(models, params, torch.device("cpu"))
    labels = torch.from_numpy(balanced_labels(first + n, CLASSES)[first:])
    return {r: x.numpy() for r, x in cascade.sample(labels, torch.arange(first, first + n), params.seed).items()}


def test_same_partition_is_bit_identical_and_seeds_differ(models: dict[str, Path]) -> None:
    a, b, c = run(models, sampling()), run(models, sampling()), run(models, sampling(seed=1))
    assert set(a) == {8, 16, 32} and all(np.array_equal(a[r], b[r]) for r in a)
    assert not np.array_equal(a[32], c[32])


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_other_partitions_differ_by_rounding_alone(models: dict[str, Path], batch_size: int) -> None:
    whole = run(models, sampling())
    other = run(models, sampling(batch_size=batch_size))
    parts = [run(models, sampling(batch_size=batch_size), 1, i) for i in range(8)]
    for r in whole:
        single = np.concatenate([p[r] for p in parts])
        for x in (other[r], single):
            difference = np.abs(x.astype(int) - whole[r].astype(int))
            assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_truncated_feeds_z_s_and_leaves_the_low_samples_alone(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    original = Cascade._conditioning

    def spy(self: Cascade, *args: Any) -> Any:
        low, level = original(self, *args)
        seen[args[1].name] = (low.clone(), level)
        return low, level

    monkeypatch.setattr(Cascade, "_conditioning", spy)
    truncated = run(models, sampling())
    z_s, level = seen["sr"]
    assert (level == 10).all()
    plain = run(models, sampling(stages={"sr": {"truncated": False}}))
    z_again, level_again = seen["sr"]
    assert (level_again == 10).all() and not torch.equal(z_s, z_again)
    # Both are at the level of s = 10: alphas_cumprod of index 9.
    process = Cascade.from_files(models, sampling(), torch.device("cpu")).stages[0].process
    a = float(process.alphas_cumprod[9])
    low = torch.from_numpy(plain[8]).float() / 127.5 - 1
    noise = (z_again - a**0.5 * low) / (1 - a) ** 0.5
    assert abs(float(noise.mean())) < 0.1 and float(noise.std()) == pytest.approx(1, abs=0.05)
    run(models, sampling(stages={"sr": {"s": 0, "truncated": False}}))
    clean, zero = seen["sr"]
    assert (zero == 0).all() and float(((clean + 1) * 127.5 - ((clean + 1) * 127.5).round()).abs().max()) < 1e-3
    assert truncated[8].shape == plain[8].shape


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"sr": {"s": 41}}, "trained for s: 0 to 40"),
        ({"top": {"s": 5}}, "trained with augmentation blur"),
        ({"base": {"schedule": "linear"}}, "knows only"),
        ({"base": {"steps": 41}}, "choose 1 to 40"),
        ({"base": {"s": 3}}, "has none"),
        ({"sr": {"guidance_scale": 2.0}}, "class_dropout"),
    ],
)
def test_impossible_sampling_is_refused_with_its_key(
    models: dict[str, Path], stages: dict[str, Any], message: str
) -> None:
    with pytest.raises(CascadeError, match=message) as error:
        run(models, sampling(stages=stages))
    assert f"sample.stages.{next(iter(stages))}" in str(error.value)


def test_job_writes_adm_files_and_resumes(models: dict[str, Path], tmp_path: Path) -> None:
    params = sampling(num_samples=10, batch_size=4)
    cascade = Cascade.from_files(models, params, torch.device("cpu"))
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = sample_to_files(cascade, params, tmp_path / "whole")
    calls: list[int] = []
    original = cascade.sample

    def dying(labels: torch.Tensor, indices: torch.Tensor, *args: Any) -> Any:
        calls.append(int(indices[0]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(labels, indices, *args)

    cascade.sample = dying  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        sample_to_files(cascade, params, tmp_path / "cut")
    cut = sample_to_files(cascade, params, tmp_path / "cut")
    assert calls == [0, 4, 4, 8]  # the finished shard was not made again
    for resolution, path in whole.files.items():
        assert path.read_bytes() == cut.files[resolution].read_bytes()
        with np.load(path, allow_pickle=False) as file:
            assert file["arr_0"].shape == (10, resolution, resolution, 3) and file["arr_0"].dtype == np.uint8
            assert np.array_equal(file["arr_1"], np.arange(10) % CLASSES)


def test_grid_has_one_row_a_class(tmp_path: Path) -> None:
    from PIL import Image

    images = np.zeros((6, 32, 32, 3), np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    for i in range(6):
        images[i] = 40 * (labels[i] + 1)
    draw_grid(images, labels, ["a", "bb", "ccc"], 2, tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] == 3 * 66
    for row in range(3):
        assert (pixels[row * 66 + 32, -130:-70] == 40 * (row + 1)).any() and (
            pixels[row * 66 + 10, -60] == 40 * (row + 1)
        ).all()
