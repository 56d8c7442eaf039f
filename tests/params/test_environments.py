"""Every environment's parameters are valid and fit together; the ablations run at demo size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cdm_kedro.data.beton import check_beton, read_beton
from cdm_kedro.data.preprocess import preprocess_folder
from cdm_kedro.data.resample import downsample
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_unet
from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.params.cascade import CascadeShape, read_cascade
from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams
from cdm_kedro.params.data import EmbeddedParams, PreprocessParams
from cdm_kedro.params.evaluation import EvaluateParams, ReportParams
from cdm_kedro.params.files import read_parameters
from cdm_kedro.params.model import TrainedModelParams, parse_model
from cdm_kedro.params.sampling import ModelSamplingParams, SampleParams, SamplingParams
from cdm_kedro.params.search import SearchScheduleParams, SearchTruncationParams
from cdm_kedro.pipelines.claim.budget import match_compute
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.checks import check_cascade
from cdm_kedro.studies.search.points import POINTS, truncation_points
from cdm_kedro.studies.search.sweep import point_job
from cdm_kedro.tracking.live import flatten

CONF = Path(__file__).resolve().parents[2] / "conf"
ENVIRONMENTS = sorted(p.name for p in CONF.iterdir() if any(p.glob("parameters*.yml")))
TYPES = {
    "embedded": EmbeddedParams,
    "preprocess": PreprocessParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
    "sample": SampleParams,
    "search_truncation": SearchTruncationParams,
    "search_steps": SearchScheduleParams,
    "search_schedule": SearchScheduleParams,
}


def described(folder: Path, cascade: CascadeShape, values: dict[str, Any]) -> dict[str, Path]:
    """Weights files with descriptions and no weights."""
    out = {}
    for stage in (*cascade.models, *cascade.ablations):
        params = parse_model(values[stage.name])
        with torch.device("meta"):
            assert sum(p.numel() for p in build_unet(params, 10).parameters()) > 10_000
        out[stage.name] = folder / f"{stage.name}.safetensors"
        metadata = {"num_classes": "10", "params": params.model_dump_json(), "data": json.dumps({"source_sha256": "x"})}
        save_file({"none": torch.zeros(1)}, out[stage.name], metadata)
    return out


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_environment_builds(env: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values, origin = read_parameters(CONF, env)
    cascade = read_cascade(CONF, env)
    assert not cascade.images or set(cascade.resolutions) <= set(cascade.preprocess_resolutions)
    typed = {name: kind.model_validate(values[name]) for name, kind in TYPES.items() if name in values}
    models = described(tmp_path, cascade, values)
    check_cascade({name: models[name] for name in cascade.names}, typed["sample"])
    for table in cascade.tables.values():
        for row in table.rows.values():
            some = {model.name: models[model.name] for model in cascade.chain(row.model)}
            stages = {name: ModelSamplingParams() for name in some} | {row.model: row}
            params = SamplingParams.model_validate({**table.job.model_dump(), "stages": stages})
            real = {f"{split}_{side}": Path() for split in ("train", "val") for side in cascade.resolutions}
            check_cascade(some, params, real)
            assert table.job.num_samples <= typed["sample"].num_samples or row.conditioning != "generated"
    for search, stage in cascade.searches.items():
        chain = [s.name for s in cascade.chain(stage)]
        some = {name: models[name] for name in chain}
        real = {f"{split}_{cascade.chain(stage)[-1].low_resolution}": Path() for split in ("train", "val")}
        params = typed[search]
        for point in POINTS[search](params):
            check_cascade(some, point_job(params, point, some, Path()).params, real)  # type: ignore[arg-type]
    if cascade.claim is not None:
        claim = values["claim"]
        sweep, baseline = (
            ClaimSweepParams.model_validate(claim["sweep"]),
            BaselineParams.model_validate(claim["baseline"]),
        )
        ClassifierParams.model_validate(claim["classifier"])
        chain = cascade.chain(cascade.claim.sweep.stage)
        some = {s.name: models[s.name] for s in chain}
        for point in truncation_points(sweep):
            real = {f"{split}_{chain[-1].low_resolution}": Path() for split in ("train", "val")}
            check_cascade(some, point_job(sweep, point, some, Path()).params, real)
        budget = match_compute(["x"] * 10, baseline, sweep, **{s.name: values[s.name] for s in chain})
        rounding = 0.5 / budget["steps"]
        assert budget["ratio"] == pytest.approx(1, abs=rounding)
    in_env = [name for name in typed if name.startswith("search_") and origin[name].parent.name == env]
    assert set(in_env) <= set(cascade.searches)
    # No schedule begins far from noise, or beyond training; the tiny cascade's two steps of arbitrary levels do.
    assert env == "test" or not [r for r in caplog.records if "sqrt(alphas_cumprod)" in r.getMessage()]


def test_models_of_an_ablation_differ_in_what_its_row_names_alone() -> None:
    """Table 4's rows from sr256 backwards, Table 2's from sr64, and the flips; selection may score at other steps."""
    flips, batch, classes = "training.random_flip", "training.batch_size", "unet.class_cond"
    rows: tuple[tuple[str, str, str, set[str]], ...] = (
        ("imagenet", "sr256", "sr256_batch", {flips}),
        ("imagenet", "sr256_batch", "sr256_class", {batch}),
        ("imagenet", "sr256_class", "sr256_blur_04_06", {classes}),
        ("imagenet", "sr256_blur_04_06", "sr256_blur_04_08", {"augmentation.sigma_max"}),
        ("imagenet", "sr256_blur_04_06", "sr256_blur_04_10", {"augmentation.sigma_max"}),
        ("imagenet", "sr256_blur_04_06", "sr256_no_blur", {"augmentation"}),
        ("imagenet", "base32", "base32_without_flips", {flips, "training.steps"}),
        ("imagenet_ablation16to64", "sr64", "sr64_s101", {"augmentation.s"}),
        ("imagenet_ablation16to64", "sr64", "sr64_s0", {"augmentation"}),
        ("imagenet_ablation16to64", "sr64", "base64", {"augmentation", "low", "low_resolution"}),
        ("ablation16to64", "sr64", "sr64_s1001", {"augmentation.s"}),
        ("ablation16to64", "sr64", "sr64_s0", {"augmentation"}),
    )
    for env, one, other, expected in rows:
        values, _ = read_parameters(CONF, env)
        a, b = (dict(flatten(parse_model(values[name]))) for name in (one, other))
        found = {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)}
        found = {key for key in found if not key.startswith("training.selection.")}
        short = {
            "augmentation" if "augmentation" in expected and key.startswith("augmentation.") else key for key in found
        }
        assert short == expected, (env, one, other)


def test_table_4_samples_every_row_as_sr256_is_sampled() -> None:
    """Its last row is sr256 itself."""
    values, _ = read_parameters(CONF, "imagenet")
    wanted = ModelSamplingParams.model_validate(values["sample"]["stages"]["sr256"])
    for row in values["table4"]["rows"].values():
        assert ModelSamplingParams.model_validate({key: row[key] for key in row if key != "model"}) == wanted


def test_the_16_to_64_ablation_at_demo_size(image_folder: Path, tmp_path: Path) -> None:
    """Real preprocessing at 16 and 64 pixels, and the environment's own networks, untrained, for a few steps."""
    values, _ = read_parameters(CONF, "ablation16to64")
    made = preprocess_folder(image_folder, tmp_path, PreprocessParams(resolutions=(16, 64), workers=2))
    assert set(made["files"]) == {f"{split}_{side}" for split in ("train", "val") for side in (16, 64)}
    cards = made["data_card"]["betons"]
    assert cards["train_16"]["source_sha256"] == cards["train_64"]["source_sha256"] != cards["val_64"]["source_sha256"]
    small, large = (read_beton(made["files"][f"val_{side}"])[0] for side in (16, 64))
    assert check_beton(made["files"]["val_16"]).resolution == 16 and len(small) == len(large) == 6
    # Both come from the 256-pixel crop, so they agree up to the rounding of each.
    again = downsample(torch.from_numpy(large).permute(0, 3, 1, 2), 16).permute(0, 2, 3, 1).numpy()
    assert abs(again.astype(int) - small.astype(int)).max() <= 1
    models = {}
    for seed, name in enumerate(("base16", "sr64")):
        params = TrainedModelParams.model_validate(values[name])
        torch.manual_seed(seed)
        models[name] = tmp_path / f"{name}.safetensors"
        data = json.dumps(cards[f"train_{params.resolution}"])
        metadata = {"num_classes": "3", "params": params.model_dump_json(), "data": data}
        write_weights(models[name], build_unet(params, 3).state_dict(), metadata)
    settings = SampleParams.model_validate(values["sample"])
    stages = {name: stage.model_copy(update={"steps": 3}) for name, stage in settings.stages.items()}
    cascade = Cascade.from_files(models, settings.model_copy(update={"stages": stages}), torch.device("cpu"))
    images = cascade.sample([0, 1, 2])
    assert {side: tuple(x.shape) for side, x in images.items()} == {16: (3, 3, 16, 16), 64: (3, 3, 64, 64)}
