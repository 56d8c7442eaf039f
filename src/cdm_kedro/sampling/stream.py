"""The cascade while it works: what every reverse step sees, as an iterator for commands and pages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any

from torch import Tensor

from cdm_kedro.diffusion.pixels import to_uint8
from cdm_kedro.sampling.model import LoadedModel


@dataclass(frozen=True)
class Estimate:
    """One reverse step of one model."""

    model: str
    step: int  # 0 for the noisiest; ``steps`` where the model has finished these images
    steps: int
    rows: slice  # which of all images these are, for a model may take them in several batches
    state: Tensor  # (b, 3, H, W) uint8 state x_t before the step, cut off at the ends of the range
    x_start: Tensor  # (b, 3, H, W) uint8 image x_0 that the model sees in it; the sample itself where it has finished

    @property
    def finished(self) -> bool:
        """Whether ``x_start`` holds samples."""
        return self.step == self.steps


Watch = Callable[[Estimate], object]


def visited(model: LoadedModel) -> list[float]:
    """The level, alphas_cumprod, of the state before each of the model's reverse steps."""
    again, levels = model.sampling.resample_from, model.schedule.alphas_cumprod.tolist()
    return levels if again is None else levels + model.schedule.below(again - 1).alphas_cumprod.tolist()


@contextmanager
def watched(model: LoadedModel, rows: slice, watch: Watch | None) -> Iterator[None]:
    """Call ``watch`` after every step that the model takes inside the block, for all but the filling of the batch.

    With classifier-free guidance x_start is what the conditional network alone sees.
    """
    if watch is None:
        yield
        return
    plain, levels, calls, count = model.forward, visited(model), 0, rows.stop - rows.start
    every = model.evaluations // len(levels)

    def forward(x: Tensor, *conditions: Any) -> Tensor:
        nonlocal calls
        out = plain(x, *conditions)
        step, unconditional = divmod(calls, every)
        calls += 1
        if not unconditional:
            abar, state = levels[step], x[:count].contiguous()
            x_0 = (state - (1 - abar) ** 0.5 * out[:count, :3].float()) / abar**0.5
            watch(Estimate(model.name, step, len(levels), rows, to_uint8(state), to_uint8(x_0)))
        return out

    model.forward = forward
    try:
        yield
    finally:
        model.forward = plain


_idle: list[Queue[Callable[[], object]]] = []
"""Tasks of the threads that have none. Threads are kept, because CUDA graphs are recorded anew in every thread."""


def _thread_tasks() -> Queue[Callable[[], object]]:
    with suppress(IndexError):
        return _idle.pop()
    tasks = Queue[Callable[[], object]]()

    def work() -> None:
        while True:
            tasks.get()()

    Thread(target=work, daemon=True, name="stream").start()
    return tasks


def iterate(work: Callable[[Watch], object]) -> Iterator[Estimate]:
    """Yield what ``work(emit)`` emits, which runs in a thread of its own and waits for each value to be taken.

    Its exceptions come out here. It is stopped at its next value where the iterator is closed early.
    """
    found, closed, ended, tasks = Queue[Estimate | BaseException | None](1), Event(), Event(), _thread_tasks()

    def emit(value: Estimate) -> None:
        found.put(value)
        if closed.is_set():
            raise GeneratorExit

    def run() -> None:
        try:
            work(emit)
            found.put(None)
        except BaseException as error:  # the thread that reads raises it
            found.put(error)
        _idle.append(tasks)
        ended.set()

    tasks.put(run)
    try:
        while (value := found.get()) is not None:
            if isinstance(value, BaseException):
                raise value
            yield value
    finally:
        closed.set()
        while not ended.wait(0.02):
            with suppress(Empty):
                found.get_nowait()
