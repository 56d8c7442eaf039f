"""How the pipelines beside the cascade are wired."""

from __future__ import annotations

from dataclasses import replace

from cdm_kedro.params.cascade import read_cascade
from cdm_kedro.pipelines.cascade import cascade_stages
from cdm_kedro.pipelines.extras import cas_stages
from project import ROOT


def test_the_pipeline_has_two_classifiers_a_size_and_the_report_shows_them_when_asked() -> None:
    cascade = read_cascade(ROOT / "conf", "imagenet")
    stages = cas_stages(cascade)
    kinds = [f"cas_{kind}_{size}" for size in (128, 256) for kind in ("real", "generated")]
    assert list(stages) == [*kinds, "cas_table"]
    for name, stage in stages.items():
        assert {node.namespace for node in stage.nodes} == {name}
    assert "samples_256" in stages["cas_generated_256"].inputs() and "train_256" in stages["cas_real_256"].inputs()
    made = stages["cas_table"].outputs()
    assert made == {"cas_table"} | {f"{p}_cas_{s}" for p in ("comparison", "best", "worst") for s in (128, 256)}
    report = cascade_stages(cascade)["report"]
    assert not report.inputs() & made  # the cascade alone does not wait for classifiers
    asked = replace(cascade, reported=("cas", "likelihood", "search_steps"))
    assert cascade_stages(asked)["report"].inputs() - report.inputs() == made | {"likelihood", "search_steps_figure"}
