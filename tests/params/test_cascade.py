"""The shape of the cascade, and what does not fit together across files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.params.cascade import read_cascade

CONF = Path(__file__).resolve().parents[2] / "conf"


def test_searches_of_another_cascade_are_left_out_and_wrong_ones_named(tmp_path: Path) -> None:
    assert list(read_cascade(CONF, None).searches) == [
        "search_truncation",
        "search_steps",
        "search_schedule",
    ]
    assert read_cascade(CONF, "ablation16to64").searches == {}
    for folder in ("base", "test"):
        (tmp_path / folder).mkdir()
        for file in (CONF / folder).glob("parameters*.yml"):
            (tmp_path / folder / file.name).write_text(file.read_text())
    file = tmp_path / "test/parameters.yml"
    text = file.read_text()
    file.write_text(text.replace("search_steps:\n  stage: sr128", "search_steps:\n  stage: sr256"))
    with pytest.raises(ValueError, match=r"parameters.yml: search_steps.stages must hold search_steps.stage \('sr256'"):
        read_cascade(tmp_path, "test")
    file.write_text(text.replace("preprocess: {workers: 2}", "preprocess: {workers: 2, resolutions: [64, 128, 256]}"))
    with pytest.raises(ValueError, match=r"resolutions \[64, 128, 256\] lacks \[32\]"):
        read_cascade(tmp_path, "test")


def test_sampling_depends_on_what_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    for file in (CONF / "base").glob("parameters*.yml"):
        (tmp_path / "base" / file.name).write_text(file.read_text())
    assert read_cascade(tmp_path, None).sample_inputs == ()
    sample = tmp_path / "base/parameters_sample.yml"
    sample.write_text(
        "sample:\n  stages:\n    base32: {}\n    sr64: {s: best}\n    sr128: {conditioning: val, steps: best}\n"
        "    sr256: {schedule: best, conditioning: train}\n"
    )
    expected = ("search_truncation_best", "val_64", "search_steps_best", "train_64", "search_schedule_best")
    assert read_cascade(tmp_path, None).sample_inputs == expected


def test_settings_that_do_not_fit_the_cascade_are_refused(tmp_path: Path) -> None:
    def read(more: str, env: str | None = None) -> Any:
        for folder, text in (("base", "cascade: {stages: [a]}\na: {resolution: 32, unet: {}}\n" + more), ("e", "")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "parameters.yml").write_text(text)
        (tmp_path / "e" / "parameters.yml").write_text("cascade: {stages: [b]}\nb: {resolution: 64, unet: {}}\n")
        return read_cascade(tmp_path, env)

    with pytest.raises(ValueError, match=r"parameters\.yml: cas\.resolutions holds 48; the cascade makes \[32\]"):
        read("cas: {resolutions: [48]}")
    with pytest.raises(ValueError, match=r"report\.include holds 'cas'; it may hold \['likelihood'\]"):
        read("report: {include: [cas]}")
    asked = "cas: {resolutions: [32]}\nreport: {include: [cas]}"
    assert read(asked).cas_resolutions == (32,) and read(asked).reported == ("cas",)
    assert (
        read(asked, "e").cas_resolutions == () and read(asked, "e").reported == ()
    )  # inherited, and not for this cascade


def test_files_of_an_environment_hold_no_question(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/parameters.yml").write_text(
        "cascade: {stages: [a]}\na: {resolution: 32, unet: {}}\nexternal: {samples: x.npz}\n"
    )
    with pytest.raises(CdmError, match=r"parameters\.yml: external is not a key"):
        read_cascade(tmp_path, None)


TWO = "a: {resolution: 32, unet: {}}\nb: {resolution: 64, low: a, low_resolution: 32, unet: {}}\n"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("a: {resolution: 32, unet: {}}", "conf: cascade is missing"),
        ("cascade: {stages: []}", "cascade.stages is []: Tuple should have at least 1 item"),
        ("cascade: {stages: [a, a]}\n" + TWO, "cascade.stages is ['a', 'a']: the values must be without repetition"),
        ("cascade: {stages: [a], image: false}\n" + TWO, "cascade.image is not a key; did you mean images?"),
        ("cascade: {stages: [c]}\n" + TWO, "cascade.stages names 'c', but no parameters file has a key 'c'"),
        ("cascade: {stages: [a]}\na: {unet: {}}", "a.resolution is missing"),
        ("cascade: {stages: [b, a]}\n" + TWO, "b.low is 'a', which is not an earlier entry of cascade.stages"),
        (
            "cascade: {stages: [a, b]}\n" + TWO.replace("a: {resolution: 32", "a: {resolution: 8"),
            "b.low_resolution is 32, but a models 8-pixel",
        ),
        (
            "cascade: {stages: [a, b]}\na: {resolution: 32, unet: {}}\nb: {resolution: 32, unet: {}}",
            "b.resolution is 32, which a has too",
        ),
        ("cascade: {stages: [a], images: false}\n" + TWO, "cascade.images is false, but a would be trained; give it"),
        (
            "cascade: {stages: [a]}\nsample: {stages: [a]}\n" + TWO,
            "sample.stages is ['a']: Input should be a valid dict",
        ),
        ("cascade: {stages: [a]}\nsearch_steps: {}\n" + TWO, "search_steps.stage is missing"),
        (
            "cascade: {stages: [a]}\ncas: {resolutions: 16}\n" + TWO,
            "cas.resolutions is 16: Input should be a valid tuple",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_file_key_and_value(tmp_path: Path, parameters: str, said: str) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/parameters.yml").write_text(parameters)
    with pytest.raises(CdmError) as error:
        read_cascade(tmp_path, None)
    assert said in str(error.value) and str(error.value).startswith(("conf: ", str(tmp_path / "base/parameters.yml")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "    stage: sr32",
            "    stage: base16",
            "claim.sweep.stage is 'base16'; it must be a super-resolution model of",
        ),
        ("    stage: sr32", "    stage: sr64", "has no entry in stages"),
        (
            "      base16: {sampler: ancestral, steps: 100}\n      sr32: {sampler: ddim, steps: 12}\n    baseline",
            "      sr32: {sampler: ddim, steps: 12}\n    baseline",
            "claim.sweep.stages must hold ['base16', 'sr32'], and no other",
        ),
        (
            "    resolution: 32\n    unet",
            "    resolution: 16\n    unet",
            "claim.baseline.resolution is 16; sr32 models 32 pixels",
        ),
        ("seeds: [0, 1, 2, 3, 4]", "seeds: [0, 0]", "claim.seeds is [0, 0]: the values must be without repetition"),
        ("seeds: [0, 1, 2, 3, 4]", "seeds: [-1]", "claim.seeds.0 is -1: Input should be greater than or equal to 0"),
        ("  seeds: [0, 1, 2, 3, 4]", "  seed: 0", "claim.seed is not a key; did you mean seeds?"),
        (
            "    num_samples: 2000",
            "    num_samples: 2000\n    report_samples: 9",
            "claim.sweep: report_samples is for searches",
        ),
        ("2001]", "3001]", "claim.sweep.s holds 3001; sr32 is trained for s up to 2001"),
        ("max_s: 2001}", "s: 101}", "sr32.augmentation must be gaussian without a fixed s"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (CONF / "claim/parameters.yml").read_text()
    assert old in text
    (tmp_path / "claim").mkdir()
    (tmp_path / "claim/parameters.yml").write_text(text.replace(old, new, 1))
    with pytest.raises(CdmError) as error:
        read_cascade(tmp_path, "claim")
    assert said in str(error.value) and "claim/parameters.yml: " in str(error.value)


def test_a_claim_about_another_cascade_is_not_inherited(tmp_path: Path) -> None:
    for folder, text in (
        ("base", (CONF / "claim/parameters.yml").read_text()),
        ("e", "cascade: {stages: [a]}\na: {resolution: 16, unet: {}}\npreprocess: {resolutions: [16]}\n"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "parameters.yml").write_text(text)
    assert read_cascade(tmp_path, None).claim is not None and read_cascade(tmp_path, "e").claim is None


def test_tables_are_of_their_own_environment_and_name_models_that_fit(tmp_path: Path) -> None:
    row = "table3: {job: {num_samples: 4}, rows: {x: {model: ROW}}}\n"

    def read(more: str, env: str | None = None) -> Any:
        (tmp_path / "base").mkdir(exist_ok=True)
        (tmp_path / "e").mkdir(exist_ok=True)
        (tmp_path / "base/parameters.yml").write_text("cascade: {stages: [a, b]}\n" + TWO + more)
        (tmp_path / "e/parameters.yml").write_text("cascade: {stages: [a]}\n")
        return read_cascade(tmp_path, env)

    other = "c: {resolution: 64, low: a, low_resolution: 32, unet: {}}\n"
    found = read(other + row.replace("ROW", "c"))
    assert [model.name for model in found.ablations] == ["c"] and [m.name for m in found.chain("c")] == ["a", "c"]
    assert read(other + row.replace("ROW", "b")).ablations == ()
    assert read(other + row.replace("ROW", "c"), "e").tables == {}
    for text, said in (
        (row.replace("ROW", "d"), "table3.rows.x.model names 'd', but no parameters file has a key 'd'"),
        (row.replace("ROW", "c") + "c: {resolution: 128, low: b, low_resolution: 64, unet: {}}", "c.resolution is 128"),
        (row.replace("ROW", "c") + "c: {resolution: 64, low: x, unet: {}}", "c.low is 'x', which is not an earlier"),
        (row.replace("ROW", "b, s: best"), "table3: rows.x asks for what search_truncation found"),
        (row.replace("ROW", "b, s: 5, truncated: true"), "states is []; it must be the s of the truncated rows, [5]"),
        (row.replace("x: {", "X-1: {").replace("ROW", "b"), "table3.rows.X-1"),
    ):
        with pytest.raises(CdmError) as error:
            read(text)
        assert said in str(error.value) and str(error.value).startswith(str(tmp_path / "base/parameters.yml"))
