"""Runs on files outside the project: what is asked is checked before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.external import resolve


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "real").mkdir()
    (tmp_path / "samples.npz").write_bytes(b"")
    (tmp_path / "w.pth").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(
    external: Any, names: tuple[str, ...] = ("evaluate",), stored: dict[str, Any] | None = None, **others: Any
) -> tuple[str, dict[str, Any]]:
    data = Path.cwd() / "data"
    stored = stored if stored is not None else {"max_images": 80, "input_side": 128}
    return resolve(names, {"external": external, **others}, stored, data / "env/x", [data, data / "env/x"])


def test_a_question_is_completed(files: Path) -> None:
    both = {"samples": "samples.npz", "reference": "real"}
    pipeline, params = ask({**both, "size": 64}, evaluate={"extractor": "inception2015", "weights": "w.pth"})
    assert pipeline == "evaluate_external"
    assert params == {
        "external": {
            "samples": str(files / "samples.npz"),
            "reference": str(files / "real"),
            "statistics_of": None,
            "size": 64,
            "output": str(files / "data/env/x/08_reporting/external/samples_vs_real.json"),
        },
        # The stored cap is for the cascade's samples, not for these.
        "evaluate": {"max_images": None, "extractor": "inception2015", "weights": str(files / "w.pth")},
    }
    assert ask(both, evaluate={"max_images": 9})[1]["evaluate"]["max_images"] == 9
    pipeline, params = ask({"statistics_of": "real"})
    assert pipeline == "reference_external" and Path(params["external"]["output"]).name == "real.npz"
    for output in ("x.json", "data/08_reporting/external/x.json", "data/env/x/08_reporting/external/new/x.json"):
        assert ask({**both, "output": output})[1]["external"]["output"] == str(files / output)


@pytest.mark.parametrize(
    ("external", "message"),
    [
        (3, "external is 3: Input should be a valid dictionary"),
        ({"sample": "a"}, r"external\.sample is not a key; did you mean samples\?"),
        ({"samples": "samples.npz"}, "reference is missing; give samples and reference to get scores, or statistics"),
        ({"reference": "real"}, "samples is missing"),
        ({}, "samples is missing"),
        ({"statistics_of": "real", "samples": "samples.npz"}, "statistics_of stands alone"),
        ({"samples": 2024, "reference": "real"}, r"external\.samples is 2024: Input is not a valid path"),
        ({"samples": "none.npz", "reference": "real"}, r"external\.samples is .*/none\.npz, which does not exist"),
        ({"statistics_of": "real", "size": 48}, "size 48 does not divide 256; use 32, 64, 128 or 256"),
        ({"statistics_of": "real", "output": "a.json"}, r"output a\.json must end in \.npz"),
        ({"samples": "samples.npz", "reference": "real", "output": "dvc.lock"}, r"dvc\.lock must end in \.json"),
        ({"statistics_of": "samples.npz", "output": "samples.npz"}, r"samples\.npz, which this run reads"),
        ({"statistics_of": "real", "output": "w.pth/a.npz"}, r"w\.pth: a file, where a folder belongs"),
    ],
)
def test_wrong_questions_are_refused(files: Path, external: Any, message: str) -> None:
    with pytest.raises(CdmError, match=message):
        ask(external)


def test_results_never_take_the_place_of_a_stages_output(files: Path) -> None:
    both = {"samples": "samples.npz", "reference": "real"}
    link = files / "elsewhere"
    (files / "data/08_reporting").mkdir(parents=True)
    link.symlink_to(files / "data/08_reporting")
    for output in (
        "data/08_reporting/metrics.json",
        "data/env/x/08_reporting/metrics.json",
        "data/08_reporting/external/../metrics.json",
        "elsewhere/metrics.json",
    ):
        with pytest.raises(CdmError, match=r"metrics\.json, where only recorded stages write; name a file in"):
            ask({**both, "output": output})


def test_a_question_is_for_one_pipeline_and_its_own_parameters(files: Path) -> None:
    both = {"samples": "samples.npz", "reference": "real"}
    for names, said in (((), "cascade"), (("sample",), "sample"), (("evaluate", "report"), "evaluate, report")):
        with pytest.raises(CdmError, match=f"is for --pipelines=evaluate alone; this run is of {said}"):
            ask(both, names)
    with pytest.raises(CdmError, match="sample has no part in this run"):
        ask(both, sample={"num_samples": 3})
    with pytest.raises(CdmError, match=r"evaluate\.extractor is 'clip': Input should be 'efficientnet_lite0'"):
        ask(both, evaluate={"extractor": "clip"})
    with pytest.raises(CdmError, match="--params: evaluate: extractor inception2015 needs weights"):
        ask(both, evaluate={"extractor": "inception2015"})
    with pytest.raises(CdmError, match="evaluate is 3: Input should be a valid dictionary"):
        ask(both, evaluate=3)
