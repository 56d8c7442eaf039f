"""How the cascade is wired."""

from __future__ import annotations

from pathlib import Path

from cdm_kedro.params.cascade import read_cascade
from cdm_kedro.pipelines.cascade import cascade_stages


def test_the_parameters_decide_which_node_trains(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    stages = "cascade: {stages: [a, b]}\na: {resolution: 32, unet: {}, training: {steps: 1}}\n"
    stages += "b: {resolution: 64, low: a, low_resolution: 32, unet: {}, training: {selection: {every: 5}}}\n"
    (tmp_path / "base/parameters.yml").write_text(stages)
    cascade = read_cascade(tmp_path, None)
    assert [model.selects for model in cascade.models] == [False, True]
    nodes = [cascade_stages(cascade)[name].nodes[0] for name in cascade.names]
    assert [node.func.__module__.rsplit(".", 1)[1] for node in nodes] == ["nodes", "selecting"]
    assert nodes[0].inputs[1:3] == nodes[1].inputs[1:3]  # the same wiring
