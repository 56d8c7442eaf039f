"""The MLflow run of the stage in progress, which nodes log to."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cdm_kedro.tracking.recorder import Recorder


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf of nested mappings and pydantic models."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


class LiveRun:
    """A run that is going on. Without a recorder every method does nothing, so nodes also work outside `kedro run`.

    ``key``: hash of everything that the stage depends on, or None where there is no such stage.
    """

    def __init__(self, recorder: Recorder | None = None, run: str = "", tags: dict[str, str] | None = None) -> None:
        self._recorder, self._run, self._tags = recorder, run, tags or {}
        self.after = 0.0  # seconds that the stages after this one will take, as far as the runner knows
        self.key = self._tags.get("cdm.key")

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run, or None where no server gave one."""
        return self._recorder.run_id(self._run) if self._recorder else None

    def log_metrics(self, values: dict[str, Any], step: int) -> None:
        """Log the numbers among ``values`` at a step."""
        if self._recorder:
            numbers = {key: float(value) for key, value in values.items() if isinstance(value, (int, float))}
            self._recorder.submit(op="metrics", run=self._run, values=numbers, step=step)

    def log_event(self, event: dict[str, Any]) -> None:
        """Log the metrics of an event of a training, where it has some."""
        if "metrics" in event:
            self.log_metrics(event["metrics"], step=event["step"])

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        """Attach a file to the run, in a folder of its artifacts."""
        if self._recorder:
            self._recorder.submit(op="artifact", run=self._run, path=str(Path(path).absolute()), folder=folder)

    def register(self, **model: Any) -> dict[str, Any] | None:
        """Register a version of a model and wait for the answer.

        Returns what was registered; None where no server answered, and then the journal keeps the model.
        """
        if self._recorder is None:
            return None
        return self._recorder.answer(self._recorder.submit(op="model", run=self._run, **model))

    @contextmanager
    def nested(self, name: str, params: dict[str, Any], tags: dict[str, str] | None = None) -> Iterator["LiveRun"]:
        """Around one point of a search: a run below this one."""
        if self._recorder is None:
            yield self
            return
        run, status = uuid.uuid4().hex, "FAILED"
        # All tags but the key, which names the stage's run.
        inherited = {key: value for key, value in self._tags.items() if key != "cdm.key"}
        self._recorder.submit(op="create", run=run, parent=self._run, name=name, tags={**inherited, **(tags or {})})
        self._recorder.submit(op="params", run=run, values=dict(flatten(params)))
        try:
            yield LiveRun(self._recorder, run)
            status = "FINISHED"
        finally:
            self._recorder.submit(op="end", run=run, status=status)


_live = LiveRun()


def live() -> LiveRun:
    """The run of the stage in progress."""
    return _live


def enter(run: LiveRun) -> None:
    """Make ``run`` what :func:`live` returns; ``LiveRun()`` when the stage is over."""
    global _live
    _live = run
