"""Load of the machine, logged to the runs of long stages."""

import threading

from cdm_kedro.tracking.recorder import Recorder

AFTER_SECONDS, EVERY_SECONDS = 60.0, 10.0
"""Shorter stages log nothing; longer ones log at this interval."""


class SystemMetrics:
    """Logs the load of processor, memory, disk, network and GPU to a run from its first minute on, in a thread.

    Names and values are those of MLflow's own system metrics, so its pages show them.
    """

    def __init__(self, recorder: Recorder, run: str) -> None:
        self._recorder, self._run = recorder, run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="system metrics")
        self._thread.start()

    def _watch(self) -> None:
        if self._over.wait(AFTER_SECONDS):
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        machine, step = SystemMetricsMonitor(self._run), 0  # never started: it would log past the queue
        while not self._over.wait(EVERY_SECONDS):
            machine.collect_metrics()
            values = {f"system/{key}": float(value) for key, value in machine.aggregate_metrics().items()}
            for monitor in machine.monitors:
                monitor.clear_metrics()
            self._recorder.submit(op="metrics", run=self._run, values=values, step=step)
            step += 1

    def stop(self) -> None:
        """Log nothing more."""
        self._over.set()
        self._thread.join(EVERY_SECONDS)
