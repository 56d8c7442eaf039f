"""How long stages take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cdm_kedro.params.model import TrainingParams
from cdm_kedro.tracking import live
from cdm_kedro.tracking.durations import Durations, readable
from cdm_kedro.training.progress import progress


class Model:
    def __init__(self, steps: int) -> None:
        self.training = TrainingParams(steps=steps, batch_size=4)


def test_what_is_expected_grows_with_the_work(tmp_path: Path) -> None:
    Durations(tmp_path, None).note("base32", 100, Model(50))
    Durations(tmp_path, None).note("report", 3, None)
    known = Durations(tmp_path, None)
    assert known.expected("base32", Model(50)) == 100 and known.expected("base32", Model(125)) == 250
    assert known.expected("report", None) == 3 and known.expected("sr64", Model(1)) is None
    assert Durations(tmp_path, "test").expected("report", None) is None
    for broken in ("{", "[1]"):
        known.path.write_text(broken)
        assert Durations(tmp_path, None).expected("report", None) is None


def test_runs_at_once_do_not_forget_each_others_stages(tmp_path: Path) -> None:
    note = "import sys; from pathlib import Path; from cdm_kedro.tracking.durations import Durations as D\n"
    note += "known = D(Path(), None); input()\nfor i in range(40): known.note(f'{sys.argv[1]}{i}', 1.0, None)"
    started = [
        subprocess.Popen([sys.executable, "-c", note, name], cwd=tmp_path, stdin=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0, 0]
    assert len(Durations(tmp_path, None).known) == 80


def test_durations_are_said_in_the_largest_unit_that_tells_something() -> None:
    said = {5: "5 s", 89: "89 s", 90: "2 min", 5399: "90 min", 5400: "1.5 h", 129600: "1.5 days"}
    assert {seconds: readable(seconds) for seconds in said} == said


def test_the_bar_shows_the_time_of_all_stages_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"loss": 1.0, "tflops": 1.0, "loader_wait_share": 0.0, "memory_gib": 1.0, "eta_seconds": 600.0}
    assert progress(metrics)["left"] == "10 min" and "all stages" not in progress(metrics)
    monkeypatch.setattr(live.live(), "after", 6600.0)
    assert progress(metrics)["all stages"] == "2.0 h"
