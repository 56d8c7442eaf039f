"""Every bad input gets one sentence: a table of cases against the real command line.

The quick ones run by default, all with ``make test-inputs``, which shows the inputs that have no sentence yet.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import configuration_cases
import disk_cases
import image_cases
import option_cases
import picture_cases
import place_cases
import pytest
from bench import Case, complaints, copy_project, finished, make_made, make_plain, run, run_by_door
from steps import unmount_all

MODULES = (configuration_cases, option_cases, image_cases, place_cases, disk_cases, picture_cases)
CASES = [case for module in MODULES for case in module.CASES]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """A project that nothing has run in, or one whose cascade is made; all of xdist's workers share them."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(made: bool) -> Path:
        root = base / ("made" if made else "plain") / "cdm"
        with (base / f"{root.parent.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (root / "ready").exists():
                (make_made if made else make_plain)(root)
                (root / "ready").touch()
        return root

    return get


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cdm"
    unmount_all(tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


def judge(case: Case, source: Path, copied: Path, run: Callable[[Case, Path], tuple[int | None, str, float]]) -> None:
    """Run a case in a copy of the project."""
    copy_project(source, copied)
    for step in case.steps:
        step(copied)
    before = finished(copied)
    outcome = run(case, copied)
    wrong = complaints(case, copied, before, outcome)
    assert not wrong, f"{case.command}: {'; '.join(wrong)}\n{outcome[1]}"


def params(quick: bool) -> list[object]:
    """Cases with names that differ."""
    return [pytest.param(case, id=f"{i}: {case.name}") for i, case in enumerate(CASES) if case.quick == quick]


@pytest.mark.parametrize("case", params(True))
def test_a_bad_input_gets_a_sentence(case: Case, source: Callable[[bool], Path], copied: Path) -> None:
    judge(case, source(case.made), copied, run_by_door)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", params(False))
def test_every_bad_input_gets_a_sentence(case: Case, source: Callable[[bool], Path], copied: Path) -> None:
    if case in disk_cases.CASES and os.geteuid() != 0:
        pytest.skip("only root may mount file systems")
    judge(case, source(case.made), copied, run)


def test_the_table_is_as_large_as_it_says() -> None:
    """At least 120 cases, and no two alike."""
    assert len(CASES) >= 120
    asked = [(case.name, case.command, case.said, len(case.steps)) for case in CASES]
    assert len(set(asked)) >= len(asked) - 8  # some damage different bytes in one way
