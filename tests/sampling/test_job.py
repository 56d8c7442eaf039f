"""Whole sampling jobs: shards, interruption, several processes, stored states, real conditioning."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.data.resample import downsample
from cdm_kedro.errors import CdmError
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.job import SamplingJob, run_job
from tiny_cascade import CLASSES, sampling


def job(models: dict[str, Path], folder: Path, **changes: Any) -> SamplingJob:
    others = {key: changes.pop(key) for key in ("real", "stored", "states_at", "target") if key in changes}
    params = sampling(**{"num_samples": 10, "batch_size": 4, "devices": 1, **changes})
    return SamplingJob(folder=folder, models=models, params=params, **others)


@pytest.fixture(scope="module")
def whole(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return run_job(job(models, tmp_path_factory.mktemp("whole")))


def same(a: Any, b: Any) -> bool:
    return all(path.read_bytes() == b.files[r].read_bytes() for r, path in a.files.items())


def test_files_follow_the_adm_convention(whole: Any) -> None:
    assert set(whole.files) == {8, 16, 32}
    for resolution, path in whole.files.items():
        with np.load(path, allow_pickle=False) as file:
            assert file["arr_0"].shape == (10, resolution, resolution, 3) and file["arr_0"].dtype == np.uint8
            assert np.array_equal(file["arr_1"], np.arange(10) % CLASSES)
    assert whole.summary["batch_size"] == 4 and whole.summary["images_per_second"] > 0


def test_killed_and_resumed_is_bit_identical_and_redoes_nothing(
    models: dict[str, Path], tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = Cascade.run

    def dying(self: Cascade, labels: torch.Tensor, indices: torch.Tensor, *args: Any) -> Any:
        calls.append(int(indices[0]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, labels, indices, *args)

    monkeypatch.setattr(Cascade, "run", dying)
    with pytest.raises(KeyboardInterrupt):
        run_job(job(models, tmp_path))
    resumed = run_job(job(models, tmp_path))
    assert calls == [0, 4, 4, 8] and same(whole, resumed)
    with pytest.raises(CdmError, match="samples of a job with other params; delete it"):
        run_job(job(models, tmp_path, seed=1))


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b.replace(b"\x7f", b"\x80")])
def test_damaged_shards_are_named_and_made_again(
    models: dict[str, Path], tmp_path: Path, whole: Any, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    run_job(job(models, tmp_path))
    shard = sorted((tmp_path / "shards").glob("*.npz"))[1]
    sound = shard.read_bytes()
    shard.write_bytes(damage(sound))
    assert shard.read_bytes() != sound
    assert same(whole, run_job(job(models, tmp_path))) and shard.read_bytes() == sound
    assert f"{shard} is damaged; its samples are made again" in caplog.text


def test_killed_outright_in_two_processes_and_resumed_is_bit_identical(models: dict[str, Path], tmp_path: Path) -> None:
    slow = {"num_samples": 40, "stages": {"base": {"steps": 40}}}
    whole = run_job(job(models, tmp_path / "whole", **slow))
    cut = job(models, tmp_path / "cut", devices=2, **slow)
    (tmp_path / "cut.json").write_text(cut.model_dump_json())
    code = (
        "import sys; from pathlib import Path; from cdm_kedro.sampling.job import SamplingJob, run_job; "
        "run_job(SamplingJob.model_validate_json(Path(sys.argv[1]).read_text()))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "cut.json")], stderr=subprocess.DEVNULL)
    shards = tmp_path / "cut/shards"
    deadline = time.monotonic() + 100
    while not list(shards.glob("*.npz")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    while _processes_of(tmp_path):  # they notice within a step that nobody listens
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kept = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.npz")}
    assert same(whole, run_job(job(models, tmp_path / "cut", **slow)))
    assert 1 <= len(kept) < 10 and all((shards / name).stat().st_mtime_ns == at for name, at in kept.items())


def _processes_of(folder: Path) -> list[Any]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or []):
            found.append(process)
    return found


def test_a_failing_process_is_heard(models: dict[str, Path], tmp_path: Path) -> None:
    broken = job(models, tmp_path, devices=2, stages={"sr": {"s": 41}})
    with pytest.raises(CdmError, match="trained for s: 0 to 40"):
        run_job(broken)


def test_batch_size_of_the_first_call_stays(models: dict[str, Path], tmp_path: Path, whole: Any) -> None:
    (tmp_path / "batch_size.json").write_text("4")  # found by an earlier call, perhaps on another GPU
    found = run_job(job(models, tmp_path, batch_size="auto"))
    assert found.summary["batch_size"] == 4 and same(whole, found)
    other = tmp_path / "other"
    assert run_job(job(models, other, batch_size="auto")).summary["batch_size"] == 64


def test_stored_samples_condition_like_fresh_ones(models: dict[str, Path], tmp_path: Path, whole: Any) -> None:
    """A search stores the low stage once: z_0 in 8 bits, z_s in float32; later jobs reproduce the cascade's bits."""
    low = job(models, tmp_path / "low", states_at={"base": [10]}, target="base")
    stored = run_job(low)
    assert set(stored.files) == {8} and stored.files[8].read_bytes() == whole.files[8].read_bytes()
    with np.load(tmp_path / "low/shards/00000004.npz") as shard:
        assert shard["base@10"].dtype == np.float32 and shard["base@10"].shape == (4, 8, 8, 3)
    for changes in ({}, {"batch_size": 2}):  # the partition of the reader need not be the writer's
        more = {"stored": ("base", tmp_path / "low"), "target": "sr", **changes}
        high = run_job(job(models, tmp_path / f"high{len(changes)}", **more))
        assert set(high.files) == {16}
        with np.load(high.files[16]) as a, np.load(whole.files[16]) as b:
            assert np.abs(a["arr_0"].astype(int) - b["arr_0"]).max() <= (4 if changes else 0)
    stages = {"sr": {"truncated": False}}
    run_job(job(models, tmp_path / "plain", stages=stages, target="base"))
    full = run_job(job(models, tmp_path / "full", stages=stages))
    part = run_job(job(models, tmp_path / "part", stages=stages, stored=("base", tmp_path / "plain"), target="sr"))
    assert full.files[16].read_bytes() == part.files[16].read_bytes()


def test_two_processes_are_bit_identical_to_one(
    models: dict[str, Path], real: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything that crosses to the processes: real images for one stage, kept states of another."""
    monkeypatch.setenv("PET_NNODES", "2")  # training on two nodes; sampling would wait for the second
    stages = {"sr": {"s": 5, "truncated": False, "conditioning": "val"}}
    more = {"real": real, "states_at": {"base": [3]}, "stages": stages}
    one, two = (run_job(job(models, tmp_path / str(n), devices=n, **more)) for n in (1, 2))
    assert set(one.files) == {8, 16, 32} and same(one, two) and two.summary["images_per_second"] > 0
    shards = [sorted((tmp_path / str(n) / "shards").glob("*.npz")) for n in (1, 2)]
    assert len(shards[0]) == 3
    for a, b in zip(*shards, strict=True):
        with np.load(a) as x, np.load(b) as y:
            assert x.files == y.files and all(np.array_equal(x[key], y[key]) for key in x.files)


def test_consistency_is_that_of_the_finished_samples(whole: Any) -> None:
    with np.load(whole.files[16]) as high, np.load(whole.files[8]) as low:
        x, z = (torch.from_numpy(f["arr_0"]).permute(0, 3, 1, 2) for f in (high, low))
    difference = downsample(x, 8).double() - z.double()
    assert whole.summary["sr/psnr_to_input_db"] == pytest.approx(
        20 * math.log10(255) - 10 * math.log10(float(difference.square().mean()))
    )
    for channel, name in enumerate(("red", "green", "blue")):
        assert whole.summary[f"sr/colour_shift_{name}"] == pytest.approx(float(difference[:, channel].mean()))
    assert "base/psnr_to_input_db" not in whole.summary and "top/psnr_to_input_db" in whole.summary


def test_job_file_holds_everything(models: dict[str, Path], tmp_path: Path) -> None:
    one = job(models, tmp_path, states_at={"base": [3]})
    assert SamplingJob.model_validate_json(one.model_dump_json()).identity() == one.identity()
    assert json.loads(one.model_dump_json())["states_at"] == {"base": [3]}
    assert job(models, tmp_path, devices=2).identity() == job(models, tmp_path, devices=1).identity()


def test_labels_can_be_distributed_as_in_a_file(models: dict[str, Path], tmp_path: Path) -> None:
    given = np.array([2, 0, 2, 1, 2, 0, 2, 2], np.int64)  # two, one and five images of three of four classes
    write_beton(tmp_path / "train.beton", given, 8, np.zeros((8, 8, 8, 3), np.uint8))
    for number, counts in ((8, [2, 1, 5, 0]), (16, [4, 2, 10, 0]), (4, [1, 1, 2, 0])):
        params = sampling(num_samples=number, batch_size=5, stages={"base": {"steps": 2}})
        folder = tmp_path / str(number)
        job = SamplingJob(
            folder=folder, models=models, params=params, labels_of=tmp_path / "train.beton", target="base"
        )
        with np.load(run_job(job).files[8]) as arrays:
            assert np.bincount(arrays["arr_1"], minlength=4).tolist() == counts
    with np.load(tmp_path / "8/samples_8.npz") as arrays:
        balanced = job.model_copy(update={"folder": tmp_path / "b", "labels_of": None, "params": sampling()})
        other = np.load(run_job(balanced).files[8])
        assert (other["arr_1"] == np.arange(8) % 4).all() and (other["arr_0"] != arrays["arr_0"]).any()
