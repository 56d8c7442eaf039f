"""What s does, as the report shows it: the same samples, enlarged at several s with the same noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdm_kedro.pipelines.report import draw_several_s
from cdm_kedro.sampling.job import SamplingJob, run_job
from cdm_kedro.sampling.several_s import enlarge_at_several_s
from cdm_kedro.tracking import scratch
from tiny_cascade import SR, sampling, write_model


def test_each_row_is_what_the_model_makes_at_that_s(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = sampling(num_samples=12, stages={"sr": {"s": 7, "truncated": False}})
    files = run_job(SamplingJob(folder=tmp_path, models=models, params=params)).files
    samples = {f"samples_{resolution}": path for resolution, path in files.items()}
    made = enlarge_at_several_s(models, params, samples, tmp_path)["several_s"]
    with np.load(made) as arrays, np.load(files[8]) as low, np.load(files[16]) as enlarged:
        assert arrays["s"].tolist() == [0, 7, 20, 40] and arrays["used"] == 7
        assert np.array_equal(arrays["low"], low["arr_0"][:8])
        # Eight of twelve: the network rounds as for a batch of twelve, to a level here and there.
        difference = arrays["images"][1].astype(int) - enlarged["arr_0"][:8]
        assert np.abs(difference).max() <= 4 and (difference != 0).mean() < 1e-3
        for row, psnr in zip(arrays["images"].astype(float), arrays["psnr"], strict=True):
            averaged = np.rint(row.reshape(8, 8, 2, 8, 2, 3).mean((2, 4)))
            error = np.square(averaged - arrays["low"]).mean()
            assert psnr == pytest.approx(10 * np.log10(255**2 / error), abs=0.1)
        assert len({row.tobytes() for row in arrays["images"]}) == 4
    monkeypatch.setattr(scratch, "scratch_dir", lambda _: tmp_path)
    picture = Image.open(draw_several_s(made))
    assert "sampled at s = 7" in picture.info["Description"] and "at s = 40" in picture.info["Description"]


def test_a_model_of_one_s_alone_shows_nothing(models: dict[str, Path], tmp_path: Path) -> None:
    fixed = write_model(tmp_path / "sr.safetensors", {**SR, "augmentation": {**SR["augmentation"], "s": 5}})
    assert enlarge_at_several_s({**models, "sr": fixed}, sampling(), {}, tmp_path) == {}
