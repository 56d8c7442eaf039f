"""A whole sampling job: shards that survive interruption, merged into npz files of ADM's convention."""

import json
import logging
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from cdm_kedro.data.beton import read_labels
from cdm_kedro.data.resample import downsample
from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.npz import is_whole, write_arrays, write_npz
from cdm_kedro.model.load import read_description
from cdm_kedro.params.base import Params
from cdm_kedro.params.sampling import SamplingParams
from cdm_kedro.processes.launch import processes_wanted, slurm_nodes
from cdm_kedro.processes.shards import Progress, run_workers
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.conditioning import BATCH_FILE, StoredSamples, read_batch_size, shard_name, state_key

log = logging.getLogger(__name__)
RUNS_MODULES = ("cdm_kedro.sampling.worker",)

_AGREE_SECONDS = 900.0
_CONSISTENCY = "consistency/"  # prefix of a model's sums inside a shard


class SamplingJob(Params):
    """Everything that decides a job's samples, and where they go; sampling processes read it as JSON."""

    folder: Path
    models: dict[str, Path]  # model to weights, lowest first
    params: SamplingParams
    real: dict[str, Path] = Field(default_factory=dict)  # ``train_<resolution>`` and ``val_<resolution>`` FFCV files
    stored: tuple[str, Path] | None = None  # a model, and the folder of the finished job, or the npz, of its samples
    states_at: dict[str, tuple[int, ...]] = Field(default_factory=dict)  # model to each s whose float32 z_s is stored
    labels_of: Path | None = None  # FFCV file whose distribution of labels the samples share; None for balanced ones
    target: str | None = None  # the model whose samples are wanted, beside those that it needs; None for all

    def labels(self, num_classes: int) -> NDArray[np.int64]:
        """The samples' labels (N,)."""
        number = self.params.num_samples
        if self.labels_of is None:
            return balanced_labels(number, num_classes)
        given = np.sort(read_labels(self.labels_of))
        return given[np.arange(number) * len(given) // number]

    def identity(self) -> dict[str, Any]:
        """What decides the samples; shards of another identity are not continued."""
        return self.model_dump(mode="json", exclude={"folder": True, "params": {"devices", "compile"}})


class SamplingResult(NamedTuple):
    """What a job made."""

    files: dict[int, Path]
    summary: dict[str, float]  # seconds, throughput, and each super-resolution model's consistency with its input


def balanced_labels(num_samples: int, num_classes: int) -> NDArray[np.int64]:
    """Give sample i the class i modulo the number of classes, so that every prefix is balanced."""
    return np.arange(num_samples, dtype=np.int64) % num_classes


def open_cascade(job: SamplingJob, device: torch.device | None = None) -> Cascade:
    """Load the models of a job."""
    stored = StoredSamples(*job.stored) if job.stored else None
    return Cascade.from_files(
        job.models, job.params, device, real=job.real, stored=stored, states_at=job.states_at, target=job.target
    )


def prepare(job: SamplingJob) -> Path:
    """Make the job's folder, or recognize the one of an interrupted call.

    Returns the job as a file, for the sampling processes. Raises CdmError if the folder belongs to a job with
    other models or parameters.
    """
    path, shards = job.folder / "job.json", job.folder / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    if path.exists() and any(shards.glob("*.npz")):
        known = SamplingJob.model_validate_json(path.read_text(encoding="utf-8")).identity()
        if known != job.identity():
            changed = [key for key, value in job.identity().items() if known[key] != value]
            raise CdmError(f"{job.folder} holds samples of a job with other {', '.join(changed)}; delete it")
    write_text(path, job.model_dump_json())
    return path


def agree_on_batch_size(cascade: Cascade, folder: Path, rank: int) -> None:
    """Give every process, also one that continues later, the batch size that rank 0 had first.

    The batch size decides the shards, and through rounding the last bit of some pixels. Raises TimeoutError if rank 0
    did not say.
    """
    file, deadline = folder / BATCH_FILE, time.monotonic() + _AGREE_SECONDS
    if rank == 0 and not file.exists():
        write_text(file, json.dumps(cascade.batch_size))
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"rank 0 wrote no {file} in {_AGREE_SECONDS:.0f} s")
        time.sleep(0.1)
    cascade.batch_size = read_batch_size(folder)


def make_shards(job: SamplingJob, cascade: Cascade, progress: Progress, rank: int = 0, size: int = 1) -> int:
    """Make the missing shards that fall to this process.

    Returns number of images made, without those of earlier calls. ``size``: number of processes; shard n belongs to
    rank n modulo size.
    """
    agree_on_batch_size(cascade, job.folder, rank)
    cascade.job_size = job.params.num_samples
    labels = job.labels(cascade.num_classes)
    work = cascade.work()
    share = {model.name: work[model.name] / model.evaluations / sum(work.values()) for model in cascade.models}
    made, every = 0, range(job.params.num_samples)
    for start in every[:: cascade.batch_size][rank::size]:
        numbers = every[start : start + cascade.batch_size]
        path = job.folder / "shards" / shard_name(start)
        if is_whole(path):
            progress("", len(numbers))
            continue
        if path.exists():
            log.warning("%s is damaged; its samples are made again", path)
        batch = cascade.run(
            torch.from_numpy(labels[numbers]),
            torch.as_tensor(numbers),
            job.params.seed,
            lambda name, images: progress(name, images * share[name]),
        )
        states = {state_key(name, s): batch.states[name, s] for name, levels in job.states_at.items() for s in levels}
        images = {key: x.permute(0, 2, 3, 1).cpu().numpy() for key, x in (batch.images | states).items()}
        sums = {_CONSISTENCY + name: consistency_sums(batch.images[name], low) for name, low in batch.low.items()}
        write_arrays(path, images | sums)
        made += len(numbers)
    return made


def run_job(job: SamplingJob, description: str = "sample") -> SamplingResult:
    """Sample in this process or in several, with a progress bar over the whole job.

    Returns files ``samples_<resolution>.npz`` in the job's folder. Raises CdmError if models and parameters do not fit
    together, as :func:`prepare` does, or if a sampling process failed; CdmInterrupted if a signal stopped the
    processes. ``job``: what to sample; finished shards of an interrupted call in its folder are kept.
    """
    file = prepare(job)
    processes, nodes = processes_wanted(job.params.devices), slurm_nodes()
    total = job.params.num_samples
    started = time.monotonic()
    with tqdm(
        total=total,
        desc=description,
        unit="img",
        bar_format="{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    ) as bar:

        def progress(name: str, images: float) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update(min(images, total - bar.n))  # sums of fractions overshoot

        if processes == nodes == 1:
            made = make_shards(job, open_cascade(job), progress)
        else:
            made = run_workers(RUNS_MODULES[0], file, "sampling", processes, nodes, progress)
    return merge(job, made, time.monotonic() - started)


def merge(job: SamplingJob, made: int, seconds: float) -> SamplingResult:
    """Merge the shards of a finished job."""
    batch_size = read_batch_size(job.folder)
    starts = range(0, job.params.num_samples, batch_size)
    shards = [job.folder / "shards" / shard_name(start) for start in starts]
    numbers = {"seconds": seconds, "num_samples": float(job.params.num_samples), "batch_size": float(batch_size)}
    if made:
        numbers["images_per_second"] = made / seconds
    sums: dict[str, list[Any]] = {}
    for shard in shards:
        with np.load(shard, allow_pickle=False) as arrays:
            sampled = [name for name in job.models if name in arrays.files]
            for key in arrays.files:
                if key.startswith(_CONSISTENCY):
                    sums.setdefault(key.removeprefix(_CONSISTENCY), []).append(arrays[key])
    for name, parts in sums.items():
        numbers |= {f"{name}/{key}": value for key, value in consistency(np.sum(parts, axis=0)).items()}
    files = {}
    for name in sampled:
        params, num_classes = read_description(job.models[name])
        files[params.resolution] = job.folder / f"samples_{params.resolution}.npz"
        write_npz(files[params.resolution], shards, name, params.resolution, job.labels(num_classes))
    return SamplingResult(files, numbers)


def consistency_sums(images: Tensor, low: Tensor) -> NDArray[np.float64]:
    """Sum what :func:`consistency` needs over a batch; the sums of several batches may be added.

    Returns (5,) float64: number of pixels; sums of output minus input in red, green, blue; sum of their squares.
    ``images``: (B, 3, H, H) uint8 output. ``low``: (B, 3, h, h) uint8 images that the input was made from.
    """
    difference = downsample(images, low.shape[-1]).double() - low.double()
    pixels = difference.new_tensor([difference.numel() / 3])
    return torch.cat((pixels, difference.sum((0, 2, 3)), difference.square().sum()[None])).cpu().numpy()


def consistency(sums: NDArray[np.float64]) -> dict[str, float]:
    """Mean colour shift in levels of 8 bits, and PSNR in dB, which is absent where all pixels agree.

    Saharia et al. 2021 (SR3) call the agreement of the downsampled output with the input consistency.
    """
    pixels, red, green, blue, squares = sums.tolist()
    numbers = {f"colour_shift_{c}": v / pixels for c, v in (("red", red), ("green", green), ("blue", blue))}
    if squares > 0:
        numbers["psnr_to_input_db"] = 10 * math.log10(255**2 * 3 * pixels / squares)
    return numbers
