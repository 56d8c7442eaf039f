"""The training step of a model of the cascade, on any device and any number of processes."""

import contextlib
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from cdm_kedro.data.resample import downsample
from cdm_kedro.diffusion.objective import Objective, Randomness
from cdm_kedro.errors import CdmError
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_augmentation, build_process, build_unet
from cdm_kedro.model.ema import EMA
from cdm_kedro.model.execution import memory_layout, usable_precision
from cdm_kedro.model.layers import dropout_keys
from cdm_kedro.model.sizes import forward_flops
from cdm_kedro.model.unet import GEOMETRY, PreconditionedUNet
from cdm_kedro.training.best import Selection, best
from cdm_kedro.training.crops import crop_and_flip, move
from cdm_kedro.training.draws import Draws, mix_seed
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.loop import Emit, Loop, World
from cdm_kedro.training.memory import needs_checkpointing
from cdm_kedro.training.muon import Muon
from cdm_kedro.training.speed import achieved, memory_gib, peak_tflops
from cdm_kedro.training.state import moments, named


class Meter:
    """Sums up on the device between two log points. Only reading the sums waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, device=device)  # loss, gradient norm, finite steps
        self.quartiles = torch.zeros(2, 4, device=device)  # loss and count by quartile of t

    def add_losses(self, quartile: Tensor, losses: Tensor) -> None:
        """Add (b,) losses to the quartiles of t, 0 .. 3, that their examples were noised to."""
        self.quartiles[0].index_add_(0, quartile, losses)
        self.quartiles[1].index_add_(0, quartile, torch.ones_like(losses))

    def read(self) -> dict[str, float]:
        """Return the means since the last call."""
        if dist.is_initialized():
            dist.all_reduce(self.quartiles)
        loss, norm, steps, *rest = torch.cat((self.sums, self.quartiles.flatten())).tolist()
        self.sums.zero_()
        self.quartiles.zero_()
        values = {"loss": loss / steps, "grad_norm": norm / steps} if steps else {}
        values |= {f"loss_q{i + 1}": rest[i] / rest[4 + i] for i in range(4) if rest[4 + i] and math.isfinite(rest[i])}
        return values


class Trainer(Loop):
    """Trains one model of the cascade.

    Every random number is a function of (seed, step, position in the batch), so that a checkpoint needs no generator's
    state. In addition to the events of :class:`Loop`, ``selection`` reports the score of an average.
    """

    def __init__(self, job: TrainingJob, world: World, emit: Emit) -> None:
        super().__init__(job, world, emit)
        self.params, self.training = job.params, job.training
        torch.manual_seed(mix_seed(self.training.seed, 1))
        self.precision = usable_precision(self.training.precision, world.device)
        self.net = build_unet(self.params, job.num_classes).to(world.device)
        self.peak = peak_tflops(torch.cuda.get_device_name(world.device)) if world.cuda else None
        self.forward_flops = forward_flops(self.net, self.params)
        self.ema = EMA(self.net, self.training.ema_decay)
        self.parameters = list(self.net.parameters())
        adam, lr, weighted = self.training.optimizer == "adam", self.training.lr, self.training.weighted_loss
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr, fused=True) if adam else Muon(self.net, lr)
        self.objective = Objective(
            build_process(self.params.diffusion),
            build_augmentation(self.params.augmentation),
            continuous=self.params.diffusion.noise_conditioning == "continuous",
            vlb_weight=self.params.diffusion.vlb_weight,
            class_dropout=self.training.class_dropout,
            num_classes=job.num_classes,
            weight=self.net.loss_weight if weighted and isinstance(self.net, PreconditionedUNet) else None,
        )
        self.draws = Draws(self.training.seed, self.training.batch_size, world.device)
        self.meter = Meter(world.device)
        self.nonfinite = torch.zeros(2, device=world.device)  # skipped steps: in a row, in all
        self.skipped = [0.0, 0.0]  # the same, as of the last log point
        self.kept = named("model", self.net.state_dict()) | named("ema", self.ema.state_dict())
        self.kept["count/nonfinite"] = self.nonfinite
        self.selection = Selection(job, world) if self.training.selection is not None else None
        self.arrange(compiled=self.training.compile is not False)
        self.spread(self.training.compile)

    def arrange(self, compiled: bool) -> None:
        """Bring the network, and what changes with it, into its fastest layout; recompute activations if need be."""
        cuda, device = self.world.cuda, self.world.device
        local = self.training.batch_size // self.world.size
        micro = min(self.training.microbatch or local, local)
        memory = torch.cuda.get_device_properties(device).total_memory if cuda else None
        step = self.params, self.job.num_classes, micro, self.precision, compiled
        self.net.checkpointing = self.net.checkpointing or needs_checkpointing(*step, memory)
        slow = not cuda and self.precision == "fp32"  # a CPU's GroupNorm, in channels_last
        self.layout = torch.contiguous_format if slow else memory_layout(device, compiled)
        for tensor in (*self.parameters, *self.ema.shadow, *moments(self.net, self.optimizer).values()):
            if tensor.ndim == 4:
                tensor.data = tensor.data.to(memory_format=self.layout)
        self.kept |= named("model", self.net.state_dict())

    def recompute(self) -> bool:
        """Recompute activations from now on, where the parameters leave it open. Tell whether that is new."""
        new = self.params.unet.checkpointing == "auto" and not self.net.checkpointing
        self.net.checkpointing |= new
        return new

    # ---- one step ----

    def network(self, x_t: Tensor, *conditions: Tensor | None, **more: Tensor) -> Tensor:
        """Evaluate the network in its memory layout and precision."""
        x_t = x_t.contiguous(memory_format=self.layout)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.forward(x_t, *conditions, **more)

    def losses(self, images: Tensor, labels: Tensor, first: int) -> Tensor:
        """Return the losses (b,) of a microbatch that begins at ``first`` in the global batch, and feed the meter."""
        crop, resolution, low_resolution = self.training.crop, self.params.resolution, self.params.low_resolution
        side, ratio = crop or resolution, resolution // (low_resolution or resolution)
        sides = [side] if low_resolution is None else [side, side // ratio]
        shapes = [(3, n, n) for n in sides] + [(GEOMETRY + 1,)] * self.params.told_geometry
        uniforms, *noises = self.draws(self.step, first, len(images), *shapes)
        if crop is not None or self.training.random_flip:
            corner = None if crop is None else uniforms[:, 6:8]
            flip = uniforms[:, 2] < 0.5 if self.training.random_flip else None
            images = crop_and_flip(images, side, corner, ratio, flip)
        more: dict[str, Tensor] = {}
        if self.params.told_geometry:
            images, more["geometry"] = move(images, noises.pop(), self.training.geometry)
        if self.params.unet.dropout > 0:
            seed = mix_seed(self.training.seed, 2, self.step)
            more["dropout_keys"] = dropout_keys(seed, first, len(images), self.world.device)
        low = None if low_resolution is None else downsample(images, sides[1])
        random = Randomness(uniforms[:, 0], uniforms[:, 1], uniforms[:, 3:5], uniforms[:, 5], *noises)
        network, classes = partial(self.network, **more), labels if self.params.unet.class_cond else None
        losses = self.objective(network, images, classes, low, random)
        self.meter.add_losses(losses.t * 4 // self.objective.process.num_timesteps, losses.simple.detach())
        return losses.total

    def accumulate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Accumulate the gradients of this process's share of the batch. Return its mean loss ()."""
        local = len(images)
        micro = min(self.training.microbatch or local, local)
        total = torch.zeros((), device=self.world.device)
        for start in range(0, local, micro):
            rows = slice(start, min(start + micro, local))
            # Gradients are averaged over the processes once, after the last microbatch.
            with self.apart() if rows.stop < local else contextlib.nullcontext():
                loss = self.losses(images[rows], labels[rows], self.world.rank * local + start).sum() / local
                loss.backward()
            total += loss.detach()
        return total

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """Take one optimizer step on this process's share of the batch; skip it if loss or gradients are not finite."""
        if self.untried:
            rows = slice(self.training.microbatch or len(images))
            first = self.world.rank * len(images)
            self.try_out(lambda: self.losses(images[rows], labels[rows], first).sum().backward())
            self.meter.read()
        total = self.accumulate(images, labels)
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
        """Return the learning rate of the next step."""
        warmup = self.training.warmup_steps
        return self.training.lr * (min(1.0, (self.step + 1) / warmup) if warmup else 1.0)

    # ---- around it ----

    @property
    def finished(self) -> bool:
        """Whether the last step is done or selection has run out of patience."""
        return super().finished or (self.selection is not None and self.selection.out_of_patience(self.scores))

    def measure(self) -> dict[str, float]:
        """Return the mean loss, also by quartile of t, and gradient norm; read the counts of skipped steps too."""
        means, self.skipped = self.meter.read(), self.nonfinite.tolist()
        return means

    def speeds(self, images_per_second: float, wait_share: float) -> dict[str, float]:
        """Return speed and memory; docs/training.md explains the columns."""
        return {
            **achieved(self.forward_flops, images_per_second, self.world.size, self.peak),
            "loader_wait_share": wait_share,
            "memory_gib": memory_gib(self.world.device),
            "nonfinite_steps": self.skipped[1],
            "eta_seconds": (self.training.steps - self.step) * self.training.batch_size / images_per_second,
        }

    def after_step(self) -> None:
        """Give up after too many skipped steps, and score the average when that is due.

        Raises CdmError if too many steps in a row were skipped; the state is saved.
        """
        if self.skipped[0] >= self.training.max_nonfinite:
            self.save(wait=True)
            raise CdmError(
                f"{self.skipped[0]:.0f} steps in a row had a loss or gradient that is not finite "
                f"(training.max_nonfinite {self.training.max_nonfinite}); the state is kept. Lower training.lr or set "
                "training.grad_clip."
            )
        if self.selection and (self.step % self.selection.every == 0 or self.step == self.training.steps):
            self.select(self.selection)

    def select(self, selection: Selection) -> None:
        """Score the average. If it is the best so far, keep it, and save a checkpoint that names it."""
        score = float(selection.selector.score(self.ema.state_dict()))
        self.scores.append((self.step, score if math.isfinite(score) else math.inf))
        self.emit({"event": "selection", "step": self.step, "metrics": {selection.selector.name: score}})
        if self.world.leads and best(self.scores) == self.scores[-1]:
            selection.keep(self.step, self.ema.state_dict())
            self.save(wait=True)
            selection.prune()

    def resume(self) -> None:
        """Continue as :class:`Loop` does, if the best average is there too."""
        super().resume()
        self.ema.updates = self.step
        if self.selection and self.scores and self.world.leads:
            self.selection.best_file(self.scores)

    def finish(self) -> dict[str, Any]:
        """Write the model: the best average, or the last one if none was scored."""
        weights, facts = self.ema.state_dict(), {}
        if self.selection and self.scores:
            weights = load_file(self.selection.best_file(self.scores))
            step, score = best(self.scores)
            facts = {"selected_step": step, "selected_score": score, "scores": self.scores}
        description = {
            "stage": self.job.name,
            "num_classes": str(self.job.num_classes),
            "params": self.params.model_dump_json(),
            "data": json.dumps(self.job.data),  # sampling refuses models that were trained on different images
        }
        out = Path(self.job.workdir) / f"{self.job.name}.safetensors"
        write_weights(out, weights, description)
        return {"weights": str(out), "facts": facts}
