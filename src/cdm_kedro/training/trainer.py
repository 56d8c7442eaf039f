"""One trainer for every stage and device."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from cdm_kedro.data.loader import BetonLoader
from cdm_kedro.data.resample import downsample
from cdm_kedro.diffusion.objective import Objective, Randomness
from cdm_kedro.errors import CdmError
from cdm_kedro.model.build import build_augmentation, build_process, build_unet
from cdm_kedro.model.ema import EMA
from cdm_kedro.model.preconditioned import PreconditionedUNet
from cdm_kedro.model.sizes import forward_flops
from cdm_kedro.model.weights import write_weights
from cdm_kedro.training.checkpoint import Checkpoints
from cdm_kedro.training.crops import crop_and_flip
from cdm_kedro.training.draws import Draws, mix_seed
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.memory import needs_checkpointing
from cdm_kedro.training.meter import Meter, memory_gib
from cdm_kedro.training.speed import achieved, peak_tflops

log = logging.getLogger(__name__)
Emit = Callable[[dict[str, Any]], None]


class NonFiniteError(CdmError, RuntimeError):
    """Too many steps in a row had a loss or gradient that is not finite."""


@dataclass(frozen=True)
class World:
    """Where this process stands among all.

    Attributes:
        rank: decides its share of the batch.
        size: number of processes.
        device: of this process.
        leader: rank of the process that reports, and reads and writes checkpoints.
    """

    rank: int
    size: int
    device: torch.device
    leader: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process is the leader."""
        return self.rank == self.leader


class Trainer:
    """Trains one stage; every random number is a function of (seed, step, position), so resuming needs no RNG state."""

    def __init__(self, job: TrainingJob, world: World, emit: Emit) -> None:
        self.job, self.world, self.emit = job, world, emit
        self.params, self.training = job.params, job.params.training
        torch.manual_seed(mix_seed(self.training.seed, 1))
        self.unet = build_unet(self.params, job.num_classes).to(world.device)
        self.net: nn.Module = self.unet
        cuda, local = world.device.type == "cuda", self.training.batch_size // world.size
        fast = cuda or self.training.precision == "bf16"  # float32 on the CPU has no fast GroupNorm in channels_last
        self.layout = torch.channels_last if fast else torch.contiguous_format
        self.net = self.net.to(memory_format=self.layout)
        micro = min(self.training.microbatch or local, local)
        memory = torch.cuda.get_device_properties(world.device).total_memory if cuda else None
        self.unet.checkpointing = needs_checkpointing(self.params, job.num_classes, micro, memory)
        self.peak = peak_tflops(torch.cuda.get_device_name(world.device)) if cuda else None
        self.forward_flops = forward_flops(self.unet, self.params)
        self.ema = EMA(self.net, self.training.ema_decay)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.training.lr, fused=True)
        self.objective = Objective(
            build_process(self.params.diffusion),
            build_augmentation(self.params.augmentation),
            continuous=self.params.diffusion.noise_conditioning == "continuous",
            vlb_weight=self.params.diffusion.vlb_weight,
            class_dropout=self.training.class_dropout,
            num_classes=job.num_classes,
            weight=self.unet.loss_weight if isinstance(self.unet, PreconditionedUNet) else None,
        )
        self.checkpoints = Checkpoints(
            Path(job.workdir) / "checkpoints",
            job.identity(),
            on_saved=lambda step: emit({"event": "checkpoint", "step": step}),
        )
        # Seeding it alone is a microsecond; torch.manual_seed takes a thousand, for devices that are not there.
        self.dropout_generator = (
            torch.cuda.default_generators[world.device.index or 0] if cuda else torch.default_generator
        )
        self.parameters = list(self.net.parameters())
        self.draws = Draws(self.training.seed, self.training.batch_size, world.device)
        self.meter = Meter(world.device)
        self.nonfinite = torch.zeros(2, device=world.device)  # skipped steps: in a row, in all
        self.step = 0
        self.curve: list[dict[str, float]] = []
        self.scores: list[tuple[int, float]] = []  # step and score of the average, where weights are selected
        self.selector: Any = None
        if self.training.selection is not None:
            if job.selector is None:
                raise ValueError("training.selection is given, but the job names no selector")
            module = importlib.import_module(job.selector)  # by name: no selection, no dependence on its code
            self.selector = module.Selector(job, world.rank, world.size, world.leader, world.device)
        self.stop_requested = False
        self.ddp: nn.parallel.DistributedDataParallel | None = None
        if world.size > 1:
            ids = [world.device.index] if cuda else None
            self.ddp = nn.parallel.DistributedDataParallel(self.net, device_ids=ids, gradient_as_bucket_view=True)
        self.forward: Callable[..., Tensor] = self.ddp or self.net
        self.untried_compilation = cuda if self.training.compile is None else self.training.compile
        if self.untried_compilation:
            self.forward = torch.compile(self.forward)

    # ---- state ----

    def tensors(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, by name."""
        names = [name for name, _ in self.net.named_parameters()]
        out = {f"model/{k}": v for k, v in self.net.state_dict().items()}
        out |= {f"ema/{k}": v for k, v in self.ema.state_dict().items()}
        for name, parameter in zip(names, self.net.parameters(), strict=True):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                out[f"adam/{key}/{name}"] = value
        return out | {"count/nonfinite": self.nonfinite}

    def save(self, wait: bool = False) -> None:
        """Write a resume checkpoint (leader only)."""
        if self.world.leads:
            state = {
                "curve": list(self.curve),
                "scores": list(self.scores),
                "ema_updates": self.ema.updates,
                "threads": torch.get_num_threads(),
            }
            self.checkpoints.save(self.step, self.tensors(), state, wait)

    def resume(self) -> None:
        """Continue from the newest sound checkpoint, if there is one; the leader reads it and shares it."""
        found = self.checkpoints.load(self.world.device) if self.world.leads else None
        if self.world.size > 1:
            head: list[Any] = [found and (found[0], {k: (v.shape, v.dtype) for k, v in found[1].items()}, found[2])]
            dist.broadcast_object_list(head, self.world.leader, device=self.world.device)
            if head[0] is not None:
                step, kinds, state = head[0]
                tensors = (
                    found[1]
                    if found
                    else {k: torch.empty(s, dtype=d, device=self.world.device) for k, (s, d) in kinds.items()}
                )
                for tensor in tensors.values():
                    dist.broadcast(tensor, self.world.leader)
                found = step, tensors, state
        if found is None:
            return
        self.step, tensors, state = found
        self.net.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
        self.ema.load_state_dict(
            {k.removeprefix("ema/"): v for k, v in tensors.items() if k.startswith("ema/")}, state["ema_updates"]
        )
        for name, parameter in self.net.named_parameters():
            keys = {k.split("/")[1]: v for k, v in tensors.items() if k.startswith("adam/") and k.endswith("/" + name)}
            if keys:  # in the parameter's own memory format, which the fused step takes for granted
                self.optimizer.state[parameter] = {
                    k: torch.empty_like(parameter, requires_grad=False).copy_(v) if v.shape == parameter.shape else v
                    for k, v in keys.items()
                }
        self.curve = state["curve"]
        self.scores = [(step, score) for step, score in state["scores"]]
        if self.world.leads and self.best and not self.best_file(self.best[0]).exists():
            raise FileNotFoundError(
                f"{self.best_file(self.best[0])}: the best weights so far are gone, though the checkpoint of step "
                f"{self.step} knows of them; restore the file, or delete {self.checkpoints.folder} to start anew"
            )
        self.nonfinite.copy_(tensors["count/nonfinite"])
        self.emit({"event": "resumed", "step": self.step})
        if self.world.device.type == "cpu" and state["threads"] != torch.get_num_threads():
            self.emit(
                {
                    "event": "warning",
                    "message": f"resumed with {torch.get_num_threads()} threads, begun with {state['threads']}: "
                    "sums round differently, so the weights may differ in their last bits",
                }
            )

    # ---- one step ----

    def network(self, x_t: Tensor, *conditions: Tensor | None) -> Tensor:
        """Evaluate the network in its memory layout and precision."""
        x_t = x_t.contiguous(memory_format=self.layout)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            return self.forward(x_t, *conditions)

    def losses(
        self, images: Tensor, labels: Tensor, uniforms: Tensor, noise: Tensor, low_noise: Tensor | None
    ) -> Tensor:
        """Per-example losses (B,) of a microbatch of (B, 3, H, W) uint8 images; also feeds the meter."""
        crop, flips = self.training.crop, self.training.random_flip
        if crop is not None or flips:
            images = crop_and_flip(
                images,
                crop or images.shape[-1],
                None if crop is None else uniforms[:, 6:8],
                self.params.resolution // (self.params.low_resolution or self.params.resolution),
                uniforms[:, 2] < 0.5 if flips else None,
            )
        low = None if low_noise is None else downsample(images, low_noise.shape[-1])
        random = Randomness(uniforms[:, 0], uniforms[:, 1], uniforms[:, 3:5], uniforms[:, 5], noise, low_noise)
        losses = self.objective(self.network, images, labels if self.params.unet.class_cond else None, low, random)
        self.meter.add_losses(losses.t * 4 // self.objective.process.num_timesteps, losses.simple.detach())
        return losses.total

    def accumulate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Gradients of this rank's share of the batch; returns its mean loss ()."""
        local = len(images)
        micro = min(self.training.microbatch or local, local)
        side = self.training.crop or self.params.resolution
        low = self.params.low_resolution and side * self.params.low_resolution // self.params.resolution
        self.dropout_generator.manual_seed(mix_seed(self.training.seed, 2, self.step, self.world.rank))
        total = torch.zeros((), device=self.world.device)
        for start in range(0, local, micro):
            rows = slice(start, min(start + micro, local))
            shapes = [(3, side, side)] + ([(3, low, low)] if low is not None else [])
            first = self.world.rank * local + start
            uniforms, noise, *rest = self.draws(self.step, first, rows.stop - rows.start, *shapes)
            waits = self.ddp is not None and rows.stop < local  # for the last microbatch to average over ranks
            with self.ddp.no_sync() if self.ddp is not None and waits else contextlib.nullcontext():
                loss = self.losses(images[rows], labels[rows], uniforms, noise, rest[0] if rest else None).sum() / local
                loss.backward()
            total += loss.detach()
        return total

    def first_accumulate(self, images: Tensor, labels: Tensor) -> Tensor:
        """The first step's: where compiling fails, forward or backward, go on without it."""
        self.untried_compilation = False
        try:
            return self.accumulate(images, labels)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # the compiler's failures have no common type
            message = f"torch.compile failed ({type(error).__name__}: {error}); going on without it"
            self.emit({"event": "warning", "message": message})
        self.forward = self.ddp or self.net
        self.optimizer.zero_grad(set_to_none=True)
        self.meter.read()
        return self.accumulate(images, labels)

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """One optimizer step on this rank's share of the batch."""
        total = (self.first_accumulate if self.untried_compilation else self.accumulate)(images, labels)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.world.size > 1:
            dist.all_reduce(total)
            total /= self.world.size
        finite = (torch.isfinite(norm) & torch.isfinite(total)).float()
        if self.training.grad_clip is not None:
            torch._foreach_mul_(gradients, (self.training.grad_clip / (norm + 1e-6)).clamp_max(1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        # Fused Adam leaves parameters and moments alone where found_inf is 1: no round trip to the host.
        self.optimizer.grad_scale, self.optimizer.found_inf = None, 1 - finite
        self.checkpoints.before_change()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update()
        self.nonfinite += 1 - finite
        self.nonfinite[0] *= 1 - finite
        self.meter.sums += torch.nan_to_num(torch.stack((total, norm, finite)), 0.0, 0.0, 0.0) * finite
        self.step += 1

    def learning_rate(self) -> float:
        """Of the step about to be taken."""
        warmup = self.training.warmup_steps
        return self.training.lr * (min(1.0, (self.step + 1) / warmup) if warmup else 1.0)

    # ---- selection ----

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and score of the best average so far, the earliest of equals."""
        return min(self.scores, key=lambda pair: (pair[1], pair[0]), default=None)

    @property
    def out_of_patience(self) -> bool:
        """Whether as many scores as training.selection.patience have come after the best one."""
        patience = self.training.selection and self.training.selection.patience
        return bool(patience and self.best and sum(step > self.best[0] for step, _ in self.scores) >= patience)

    def best_file(self, step: int) -> Path:
        """Where the average of a step is kept while it is the best."""
        return Path(self.job.workdir) / f"best_{step:09d}.safetensors"

    def select(self) -> None:
        """Score the average; where it is the best so far, keep it, and a checkpoint that knows of it."""
        score = float(self.selector.score(self.ema.state_dict()))
        self.scores.append((self.step, score if math.isfinite(score) else math.inf))
        self.emit({"event": "selection", "step": self.step, "metrics": {self.selector.name: score}})
        if self.world.leads and self.best == self.scores[-1]:
            write_weights(self.best_file(self.step), self.ema.state_dict(), {})
            self.save(wait=True)
            # The checkpoint before, which may be fallen back to, knows the best one before.
            for old in sorted(Path(self.job.workdir).glob("best_*.safetensors"))[:-2]:
                old.unlink()

    def weights(self) -> dict[str, Tensor]:
        """The model that training results in: the last average, or the best one."""
        if self.best is None:
            return self.ema.state_dict()
        return load_file(self.best_file(self.best[0]))

    # ---- the loop ----

    @property
    def finished(self) -> bool:
        """Whether training has come to its end."""
        return self.step >= self.training.steps or self.out_of_patience

    def run(self) -> None:
        """Train to the configured number of steps, or until a stop is requested; then save."""
        self.resume()
        if self.finished:
            return
        self.net.train()
        loader = BetonLoader(
            Path(self.job.beton),
            self.training.batch_size,
            seed=self.training.seed,
            rank=self.world.rank,
            world_size=self.world.size,
            start_step=self.step,
            device=self.world.device,
            workers=1 if self.world.device.type == "cpu" else 4,
        )
        try:
            self._loop(loader)
        finally:
            loader.close()
            self.checkpoints.join()

    def _loop(self, loader: BetonLoader) -> None:
        log_started = saved = time.monotonic()
        waited, since = 0.0, self.step
        every = self.training.checkpoint_steps
        every_score = self.training.selection and self.training.selection.every
        while not self.finished and not self.stop_requested:
            before = time.monotonic()
            images, labels = next(loader)
            waited += time.monotonic() - before
            self.train_step(images, labels)
            if self.step % self.training.log_every == 0 or self.step == self.training.steps:
                values = self.meter.read()
                now = time.monotonic()
                self._log(values, now - log_started, self.step - since, waited)
                log_started, waited, since = now, 0.0, self.step
            if every_score and (self.step % every_score == 0 or self.step == self.training.steps):
                began = time.monotonic()
                self.select()
                log_started += time.monotonic() - began  # the step's speed is of training alone
            if time.monotonic() - saved >= self.training.checkpoint_seconds or (every and self.step % every == 0):
                self.save()
                saved = time.monotonic()
        if self.stop_requested and not self.finished:
            self.save(wait=True)

    def _log(self, values: dict[str, float], seconds: float, steps: int, waited: float) -> None:
        rate = steps * self.training.batch_size / seconds
        run, total = self.nonfinite.tolist()
        values |= {
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "images_per_second": rate,
            **achieved(self.forward_flops, rate, self.world.size, self.peak),
            "loader_wait_share": waited / seconds,
            "memory_gib": memory_gib(self.world.device),
            "nonfinite_steps": total,
            "eta_seconds": (self.training.steps - self.step) * self.training.batch_size / rate,
        }
        row = {"step": self.step, **values}
        self.curve.append(row)
        self.emit({"event": "log", "step": self.step, "metrics": values})
        if run >= self.training.max_nonfinite:
            self.save(wait=True)
            raise NonFiniteError(
                f"{run:.0f} steps in a row had a loss or gradient that is not finite (training.max_nonfinite "
                f"{self.training.max_nonfinite}); the state is kept. Lower training.lr or set training.grad_clip."
            )
