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

    def __rrshift__(self, others: list[Task]) -> Task:
        self.after |= {other.name for other in others}
        return self

    def as_teardown(self, setups: Task) -> Task:
        self.setup = setups.name
        return self


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
                values = ["parent" if isinstance(argument, Task) else argument for argument in arguments]
                found["tasks"][task_id] = Task(task_id, lambda: function(*values))
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
    kedro.write_text('#!/bin/sh\necho "$MLFLOW_RUN_ID $PWD $@" >> calls\necho parent\n')
    kedro.chmod(0o755)
    monkeypatch.setenv("CDM_PROJECT", str(tmp_path))
    monkeypatch.setenv("CDM_KEDRO", str(kedro))
    runpy.run_path(str(file))
    tasks = airflow["tasks"]
    stages = {name: task.after for name, task in tasks.items() if not name.endswith("_run")}
    assert stages == {
        "embedded": set(),
        "preprocess": {"embedded"},
        "base32": {"preprocess"},
        "sr64": {"preprocess"},
        "sr128": {"preprocess"},
        "sr256": {"preprocess"},
        "sample": {"base32", "sr64", "sr128", "sr256"},
        "grids": {"preprocess", "sample"},
        "reference": {"preprocess"},
        "evaluate": {"preprocess", "sample", "reference"},
        "register": {"base32", "sr64", "sr128", "sr256", "sample", "evaluate", "preprocess"},
        "report": {"base32", "sr64", "sr128", "sr256", "sample", "grids", "evaluate", "register", "preprocess"},
    }
    assert airflow["dag"]["dag_id"] == "cdm-kedro-cascade-test" and airflow["dag"]["schedule"] is None
    assert tasks["close_run"].after == set(stages) and tasks["close_run"].setup == "open_run"
    assert tasks["open_run"].run() == "parent"
    tasks["sr64"].run()
    tasks["close_run"].run()
    assert (tmp_path / "calls").read_text().splitlines() == [
        f" {tmp_path} parent-run --pipelines=cascade --env=test",
        f"parent {tmp_path} run --pipelines=sr64 --env=test",
        f" {tmp_path} parent-run --pipelines=cascade --env=test --close=parent",
    ]
    kedro.write_text("#!/bin/sh\nexit 143\n")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        tasks["sr64"].run()
    assert failed.value.returncode == 143
