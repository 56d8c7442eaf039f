"""How the pipelines beside the cascade are wired."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdm_kedro import pipeline_registry
from cdm_kedro.params.cascade import read_cascade
from cdm_kedro.pipelines.cascade import cascade_stages
from cdm_kedro.pipelines.extras import cas_stages, extra_stages, table_stages
from project import ROOT


def test_the_pipeline_has_two_classifiers_a_size_and_the_report_shows_them_when_asked() -> None:
    cascade = read_cascade(ROOT / "conf", "imagenet")
    stages = cas_stages(cascade)
    kinds = [f"cas_{kind}_{size}" for size in (128, 256) for kind in ("real", "generated")]
    assert list(stages) == ["cas_samples", *kinds, "cas_table"]
    for name, stage in stages.items():
        assert {node.namespace for node in stage.nodes} == {name}
    assert "cas_samples_256" in stages["cas_generated_256"].inputs() and "train_256" in stages["cas_real_256"].inputs()
    assert stages["cas_samples"].outputs() == {"cas_samples_128", "cas_samples_256"}
    shared = cas_stages(replace(cascade, cas_samples=False))
    assert "samples_256" in shared["cas_generated_256"].inputs() and "cas_samples" not in shared
    made = stages["cas_table"].outputs()
    assert made == {"cas_table"} | {f"{p}_cas_{s}" for p in ("comparison", "best", "worst") for s in (128, 256)}
    report = cascade_stages(cascade)["report"]
    assert not report.inputs() & made  # the cascade alone does not wait for classifiers
    asked = replace(cascade, reported=("cas", "likelihood", "search_steps"))
    assert cascade_stages(asked)["report"].inputs() - report.inputs() == made | {"likelihood", "search_steps_figure"}


def test_rows_of_a_table_share_what_they_can() -> None:
    cascade = read_cascade(ROOT / "conf", "imagenet")
    stages = table_stages(cascade, "table3")
    assert len(stages) == 29 and list(stages)[-1] == "table3_table"
    states = stages["table3_states"]
    assert states.inputs() == {
        "base32_model",
        "params:table3.job",
        "params:table3.states",
        "params:sample.stages.base32",
    }
    common = {"params:table3.job", "params:evaluate", "reference", "base32_model", "sr64_model"}
    for name, low in (
        ("none_s0", "samples_32"),
        ("truncated_s251", "table3_states"),
        ("non_truncated_s251", "samples_32"),
        ("train_s0", "train_32"),
        ("val_s1501", "val_32"),
    ):
        assert stages[f"table3_{name}"].inputs() == common | {low, f"params:table3.rows.{name}"}
    assert stages["table3_table"].outputs() == {"table3_csv", "table3_page", "table3_pictures"}
    joint = read_cascade(ROOT / "conf", "imagenet_ablation16to64")
    assert list(extra_stages(joint)["ablations"]) == ["base64", "sr64_s0", "sr64_s101"]
    single = table_stages(joint, "table2")["table2_single"]
    assert "base64_model" in single.inputs() and not {"samples_16", "base16_model"} & single.inputs()


def test_a_figure_is_the_pipeline_that_draws_it_and_a_table_needs_what_makes_its_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_registry, "loaded", (ROOT / "conf", "imagenet"))
    pipelines = pipeline_registry.register_pipelines()
    assert pipelines["figure5"] is pipelines["cas"] and pipelines["figure8"] is pipelines["search_steps"]
    assert "figure7" not in pipelines  # it is of 16 to 64 pixels
    trained = {node.namespace for node in pipelines["table4"].nodes}
    assert {"sr256_no_blur", "sr256_batch", "sr256", "sr64", "base32", "sample", "reference"} <= trained
    assert "base32_without_flips" not in trained
    assert {"cas_generated_128", "cas_table", "evaluate"} <= {node.namespace for node in pipelines["table1"].nodes}
    monkeypatch.setattr(pipeline_registry, "loaded", (ROOT / "conf", "ablation16to64"))
    assert "figure7" in pipeline_registry.register_pipelines()
