"""A row of a table: what it samples is what the cascade samples, from samples and states that others made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.reference import write_reference
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import JobParams
from cdm_kedro.params.table import RowParams
from cdm_kedro.pipelines.table.nodes import make_states
from cdm_kedro.sampling.inputs import SamplingInputs
from cdm_kedro.sampling.job import SamplingJob, run_job
from cdm_kedro.studies.table.row import score_row
from cdm_kedro.tracking import scratch
from tiny_cascade import sampling

JOB: dict[str, Any] = {"num_samples": 6, "batch_size": 4, "precision": "fp32", "devices": 1}
SCORING = EvaluateParams(input_side=32, batch_size=16, devices=1)


def test_rows_continue_stored_samples_and_states(
    models: dict[str, Path], real: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scratch.VARIABLE, str(tmp_path))
    pair = {name: models[name] for name in ("base", "sr")}
    extractor, reference = make_extractor(SCORING), tmp_path / "reference.npz"
    write_reference(reference, extractor, SCORING, {name: real[name] for name in ("train_16", "val_16")})

    def whole(name: str, **sr: Any) -> dict[int, Path]:
        """The cascade of both models, the lower one with all its steps."""
        params = sampling(**JOB).model_copy(update={"stages": sampling(stages={"base": {"steps": None}}).stages})
        stages = {"base": params.stages["base"], "sr": RowParams.model_validate({"model": "sr", "steps": 4, **sr})}
        job = SamplingJob(
            folder=tmp_path / name, models=pair, params=params.model_copy(update={"stages": stages}), real=real
        )
        return run_job(job).files

    job, finished = JobParams.model_validate(JOB), whole("plain")[8]
    states = make_states("base")(job, [10], settings_base={}, base_model=models["base"])
    assert not (states / "job.json").exists()
    kinds: tuple[tuple[str, dict[str, Any], Path | None], ...] = (
        ("none", {}, finished),
        ("noised", {"s": 10}, finished),
        ("truncated", {"s": 10, "truncated": True}, states),
        ("train", {"s": 10, "conditioning": "train"}, None),
    )
    images = []
    for name, settings, low in kinds:
        row = RowParams.model_validate({"model": "sr", "steps": 4, **settings})
        inputs = SamplingInputs(pair, {"train_8": real["train_8"]}, {})
        made = score_row(row, job, SCORING, reference, low, inputs, tmp_path / f"row_{name}")
        expected = np.load(whole(name, **settings)[16])["arr_0"]
        shown = np.load(made["pictures"])
        np.testing.assert_array_equal(shown["high"], expected)
        assert ("low" in shown) == (low is not None)
        scores = made["scores"]
        assert scores["n"] == 6 and scores["model"] == "sr" and scores["extractor"] == extractor.name
        assert scores[f"fd_{extractor.name}_train"] > 0 and scores["psnr_to_input_db"] > 0
        assert {key: scores[key] for key in settings} == settings
        images.append(shown["high"])
    assert all((a != b).any() for i, a in enumerate(images) for b in images[:i])

    more = job.model_copy(update={"num_samples": 7})
    row = RowParams.model_validate({"model": "sr"})
    with pytest.raises(CdmError, match=r"job\.num_samples is 7, but there are 6 samples of base"):
        score_row(row, more, SCORING, reference, finished, SamplingInputs(pair, {}, {}), tmp_path / "more")
    impossible = RowParams.model_validate({"model": "sr", "s": 41})
    with pytest.raises(CdmError, match="sr was trained for s: 0 to 40"):
        score_row(impossible, job, SCORING, reference, finished, SamplingInputs(pair, {}, {}), tmp_path)


def test_rows_of_a_model_without_a_lower_one_as_in_table_2a(
    models: dict[str, Path], real: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scratch.VARIABLE, str(tmp_path))
    base, reference = {"base": models["base"]}, tmp_path / "reference.npz"
    write_reference(reference, make_extractor(SCORING), SCORING, {name: real[name] for name in ("train_8", "val_8")})
    shown = {}
    for name, settings in {"single": {}, "single_more_steps": {"resample_from": 20}}.items():
        row = RowParams.model_validate({"model": "base", **settings})
        job = JobParams.model_validate(JOB)
        made = score_row(row, job, SCORING, reference, None, SamplingInputs(base, {}, {}), tmp_path / name)
        params = sampling(**JOB).model_copy(update={"stages": {"base": row}})
        alone = run_job(SamplingJob(folder=tmp_path / f"{name}_alone", models=base, params=params, real={})).files[8]
        shown[name] = np.load(made["pictures"])["high"]
        np.testing.assert_array_equal(shown[name], np.load(alone)["arr_0"])
        assert made["scores"]["model"] == "base" and made["scores"].get("resample_from") == settings.get(
            "resample_from"
        )
    assert (shown["single"] != shown["single_more_steps"]).any()
