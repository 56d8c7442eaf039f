"""The training loop, which is the same whatever network is trained."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cdm_kedro.data.loader import BetonLoader
from cdm_kedro.errors import CdmError
from cdm_kedro.training.checkpoint import Checkpoints
from cdm_kedro.training.job import Job
from cdm_kedro.training.state import moments, restore, share
from cdm_kedro.training.stopping import Agreement

T = TypeVar("T")
Emit = Callable[[dict[str, Any]], None]
_LONG_WRITE = 10.0  # seconds


@dataclass(frozen=True)
class World:
    """A process's rank among ``size``, its device, and the rank of the leader, which reports and owns the files."""

    rank: int
    size: int
    device: torch.device
    leader: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process is the leader."""
        return self.rank == self.leader

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def gathered(self, value: T) -> list[T]:
        """Return what each process has, an object that can be pickled, by rank."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def share(self, net: nn.Module) -> nn.Module:
        """Wrap a network so that its gradients are averaged over all processes."""
        if self.size == 1:
            return net
        ids = [self.device.index] if self.cuda else None
        return nn.parallel.DistributedDataParallel(net, device_ids=ids, gradient_as_bucket_view=True, bucket_cap_mb=512)


class Loop(ABC):
    """Trains a network from where an earlier process was cut off to the last step, or until a stop is requested.

    A subclass sets the first three attributes and calls :meth:`spread`. ``emit`` receives the events ``log``,
    ``checkpoint``, ``resumed`` and ``warning``. ``kept``: all tensors that a resumed run needs, except the optimizer's.
    ``stop_requested``: when set in one process, the loops of all end after the same step, this one or the next, and
    the leader saves.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    kept: dict[str, Tensor]

    def __init__(self, job: Job, world: World, emit: Emit) -> None:
        self.job, self.world, self.emit = job, world, emit
        self.checkpoints = Checkpoints(
            Path(job.workdir) / "checkpoints",
            job.identity(),
            on_saved=lambda step: emit({"event": "checkpoint", "step": step}),
        )
        self.step = 0
        self.curve: list[dict[str, float]] = []
        self.scores: list[tuple[int, float]] = []
        self.stop_requested = False

    def spread(self, compile: bool | None) -> None:
        """Share the network among the processes, and compile it if that is wanted; None wants it on GPUs."""
        self.shared = self.world.share(self.net)
        self.compiled = self.world.cuda if compile is None else compile
        self.untried = self.compiled or self.world.cuda
        self.forward: Callable[..., Tensor] = self.shared
        if self.compiled:
            self.forward = torch.compile(self.shared, dynamic=False)

    def apart(self) -> contextlib.AbstractContextManager[None]:
        """A context in which gradients are not averaged over the processes."""
        shared = self.shared
        return shared.no_sync() if isinstance(shared, nn.parallel.DistributedDataParallel) else contextlib.nullcontext()

    def try_out(self, work: Callable[[], object]) -> None:
        """Do a microbatch's work, forward and backward, for nothing. Until it succeeds, change how it is done.

        Where memory runs out, activations are recomputed; where it fails else, the network is not compiled. No
        gradients are averaged meanwhile, so a process that fails leaves no other waiting; all then change together.
        Raises CdmError where memory does not suffice.
        """
        while self.untried:
            self.untried, full, failure = False, False, ""
            buffers = [buffer.clone() for buffer in self.net.buffers()]
            copies = 0 if self.optimizer.state else 2  # the room that Adam's moments will take
            moments = [torch.empty_like(p) for p in self.net.parameters() for _ in range(copies)]
            try:
                with self.apart():
                    work()
            except torch.OutOfMemoryError as error:
                full, failure = True, f"{error}; activations are recomputed from now on"
            except Exception as error:  # the compiler's failures have no common type
                if not self.compiled:
                    raise
                failure = f"torch.compile failed ({type(error).__name__}: {error}); going on without it"
            del moments
            for buffer, before in zip(self.net.buffers(), buffers, strict=True):
                buffer.copy_(before)
            self.optimizer.zero_grad(set_to_none=True)
            full, failure = max(self.world.gathered((full, failure)))
            if full and not self.recompute():
                raise CdmError(f"{self.job.name}: out of memory; lower training.microbatch, a classifier's batch_size")
            if failure:
                self.emit({"event": "warning", "message": failure})
                self.arrange(self.compiled and full)
                self.spread(self.compiled and full)

    def recompute(self) -> bool:
        """Recompute activations from now on, to save memory. Tell whether that is new."""
        return False

    def arrange(self, compiled: bool) -> None:  # noqa: B027 (most networks have one best layout)
        """Bring all tensors into the memory layout that is best with or without compilation."""

    @abstractmethod
    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """Take one optimizer step on this process's share of the batch, (b, 3, H, H) uint8 and (b,) int64."""

    @abstractmethod
    def measure(self) -> dict[str, float]:
        """Return the means since the last call. Nothing else between two log points waits for the device."""

    def speeds(self, images_per_second: float, wait_share: float) -> dict[str, float]:
        """Return more columns of a log row. ``wait_share`` is the share of time spent waiting for the loader."""
        return {}

    def after_step(self) -> None:  # noqa: B027 (most trainings have nothing to do there)
        """Do whatever else is due after a step. Its time does not count in the speed of training."""

    @abstractmethod
    def finish(self) -> dict[str, Any]:
        """Write the result, in the leader only. Return what the ``done`` event says of it."""

    @property
    def finished(self) -> bool:
        """Whether training has reached its end."""
        return self.step >= self.job.training.steps

    def run(self) -> None:
        """Train; save if a stop is requested."""
        self.resume()
        if self.finished:
            return
        self.net.train()
        training, world = self.job.training, self.world
        loader = BetonLoader(
            Path(self.job.beton),
            training.batch_size,
            seed=training.seed,
            rank=world.rank,
            world_size=world.size,
            start_step=self.step,
            device=world.device,
            workers=4 if world.cuda else 1,
        )
        every = getattr(training, "checkpoint_steps", None)
        logged = saved = time.monotonic()
        waited, since, stopping = 0.0, self.step, Agreement(world.size, world.device)
        try:
            while not self.finished and not stopping(self.stop_requested):
                asked = time.monotonic()
                images, labels = next(loader)
                waited += time.monotonic() - asked
                self.train_step(images, labels)
                if self.step % training.log_every == 0 or self.step == training.steps:
                    means, now = self.measure(), time.monotonic()
                    self.log(means, (self.step - since) * training.batch_size, now - logged, waited)
                    logged, waited, since = now, 0.0, self.step
                began = time.monotonic()
                self.after_step()
                logged += time.monotonic() - began
                if time.monotonic() - saved >= training.checkpoint_seconds or (every and self.step % every == 0):
                    self.save()
                    saved = time.monotonic()
            asked = time.monotonic()
            self.checkpoints.join()
            # Where a write takes this long, a stopped training has no time for a second one, of a few steps more. A
            # finished one saves too: a kill before the stage is recorded costs seconds.
            if self.finished or time.monotonic() - asked < _LONG_WRITE:
                self.save(wait=not self.finished)
        finally:
            loader.close()
            self.checkpoints.join()

    def log(self, means: dict[str, float], images: int, seconds: float, waited: float) -> None:
        """Add a row to the curve and report it. The images took ``seconds``, of which the loader was ``waited`` for."""
        rate = images / seconds
        values = means | {"learning_rate": self.optimizer.param_groups[0]["lr"], "images_per_second": rate}
        values |= self.speeds(rate, waited / seconds)
        self.curve.append({"step": self.step, **values})
        self.emit({"event": "log", "step": self.step, "metrics": values})

    def save(self, wait: bool = False) -> None:
        """Write a resume checkpoint, in the leader only. With ``wait``, block until it is on disk."""
        if self.world.leads:
            state = {"curve": list(self.curve), "scores": list(self.scores), "threads": torch.get_num_threads()}
            self.checkpoints.save(self.step, self.kept | moments(self.net, self.optimizer), state, wait)

    def resume(self) -> None:
        """Continue from the newest sound checkpoint, if there is one. The leader reads it and shares it."""
        found = self.checkpoints.load(self.world.device) if self.world.leads else None
        if self.world.size > 1:
            found = share(found, self.world.leader, self.world.device)
        if found is None:
            return
        self.step, tensors, state = found
        restore(tensors, self.kept, self.net, self.optimizer)
        self.curve, self.scores = state["curve"], [(step, score) for step, score in state["scores"]]
        self.emit({"event": "resumed", "step": self.step})
        now, then = torch.get_num_threads(), state["threads"]
        if self.world.device.type == "cpu" and now != then:
            said = f"resumed with {now} threads, begun with {then}: sums round differently, so the weights may differ"
            self.emit({"event": "warning", "message": f"{said} in their last bits"})
