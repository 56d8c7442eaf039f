"""The DAG that kedro-airflow makes of the cascade, loaded with a stand-in for Airflow's decorators."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Task:
    def __init__(self, name: str, run: Any) -> None:
        self.name, self.run, self.after = name, run, set()

    def __rshift__(self, other: Task) -> Task:
        other.after.add(self.name)
        return other


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a DAG file declares: the arguments of @dag, and its tasks by name."""
    found: dict[str, Any] = {"tasks": {}}

    def dag(**arguments: Any) -> Any:
        found["dag"] = arguments
        return lambda function: function

    def task(task_id: str) -> Any:
        def decorate(function: Any) -> Any:
            def called(*arguments: Any) -> Task:
                found["tasks"][task_id] = Task(task_id, lambda: function(*arguments))
                return found["tasks"][task_id]

            return called

        return decorate

    sdk = ModuleType("airflow.sdk")
    sdk.dag, sdk.task = dag, task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", sdk)
    return found


def test_the_cascade_becomes_one_task_a_stage_in_the_stages_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow: dict[str, Any]
) -> None:
    made = subprocess.run(
        [
            *(sys.executable, "-m", "kedro", "airflow", "create", "--pipelines=cascade", "--env=test"),
            *("--group-by=namespace", "--jinja-file=packaging/airflow_dag.j2", f"--target-dir={tmp_path}"),
        ],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (file,) = tmp_path.glob("*.py")
    kedro = tmp_path / "kedro"
    kedro.write_text('#!/bin/sh\necho "$PWD $@" >> calls\n')
    kedro.chmod(0o755)
    monkeypatch.setenv("CDM_PROJECT", str(tmp_path))
    monkeypatch.setenv("CDM_KEDRO", str(kedro))
    runpy.run_path(str(file))
    tasks = airflow["tasks"]
    assert {name: task.after for name, task in tasks.items()} == {
        "embedded": set(),
        "preprocess": {"embedded"},
        "base32": {"preprocess"},
        "sr64": {"preprocess"},
        "sr128": {"preprocess"},
        "sr256": {"preprocess"},
        "sample": {"preprocess", "base32", "sr64", "sr128", "sr256"},
        "reference": {"preprocess"},
        "evaluate": {"preprocess", "sample", "reference"},
        "report": {"base32", "sr64", "sr128", "sr256", "sample", "evaluate", "preprocess"},
    }
    assert airflow["dag"]["dag_id"] == "cdm-kedro-cascade-test" and airflow["dag"]["schedule"] is None
    tasks["sr64"].run()
    assert (tmp_path / "calls").read_text() == f"{tmp_path} run --pipelines=sr64 --env=test\n"
    kedro.write_text("#!/bin/sh\nexit 143\n")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        tasks["sr64"].run()
    assert failed.value.returncode == 143
