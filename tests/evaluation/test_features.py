"""Features in blocks: resumed, shared out, and the same bits whoever made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cdm_kedro.evaluation.collect import Summary, collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.features import FeatureJob, features_of, make_blocks
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.tracking import scratch

PARAMS = EvaluateParams(input_side=32, batch_size=4, devices=1, kept_features=10)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> NpzSource:
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, arr_0=np.random.default_rng(0).integers(0, 256, (26, 16, 16, 3), np.uint8))
    return NpzSource(path)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return make_extractor(PARAMS)


class Counting:
    """An extractor that counts the batches that it gets, and fails at one of them."""

    def __init__(self, inner: Extractor, fails_at: int = 0) -> None:
        self.inner, self.fails_at, self.calls = inner, fails_at, 0
        self.remake, self.describe = inner.remake, inner.describe

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        return self.inner(images)


def spans(count: int, size: int) -> list[range]:
    return [range(start, min(count, start + size)) for start in range(0, count, size)]


def arrays(summary: Summary) -> list[np.ndarray]:
    moments = (summary.moments, *summary.quarters)
    return [summary.features, summary.indices, *(m.mu for m in moments), *(m.covariance() for m in moments)]


def test_an_interrupted_pass_resumes_at_the_block_that_it_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: NpzSource, extractor: Extractor
) -> None:
    whole = collect(source, extractor, PARAMS, "alone")
    monkeypatch.setenv(scratch.VARIABLE, str(tmp_path))
    first, second = Counting(extractor, fails_at=5), Counting(extractor)
    with pytest.raises(KeyboardInterrupt):
        collect(source, first, PARAMS, "interrupted")  # type: ignore[arg-type]
    resumed = collect(source, second, PARAMS, "resumed")  # type: ignore[arg-type]
    assert (first.calls, second.calls) == (5, 3)  # four of seven batches were kept
    for ours, theirs in zip(arrays(resumed), arrays(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.inception_score == whole.inception_score


def test_several_processes_give_the_bits_of_one(
    monkeypatch: pytest.MonkeyPatch, source: NpzSource, extractor: Extractor
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    batches = spans(source.count, 4)
    alone = list(features_of(source, extractor, batches, 1, "alone"))
    shared = list(features_of(source, extractor, batches, 2, "shared"))
    for (first, features, logits), (other, others, scores) in zip(alone, shared, strict=True):
        assert first == other
        np.testing.assert_array_equal(features, others)
        np.testing.assert_array_equal(logits, scores)


def test_blocks_do_not_depend_on_the_number_of_processes(tmp_path: Path, source: NpzSource) -> None:
    def sizes(count: int, batch: int) -> list[int]:
        job = FeatureJob(tmp_path, source, spans(count, batch), None)
        return [sum(map(len, block)) for block in job.blocks()]

    assert sizes(26, 4) == [4] * 6 + [2]
    assert set(sizes(50_000, 64)[:-1]) == {768} and sum(sizes(50_000, 64)) == 50_000  # 66 blocks
    assert set(sizes(1_281_167, 64)[:-1]) == {4096}


def test_every_rank_makes_its_own_blocks(tmp_path: Path, source: NpzSource, extractor: Extractor) -> None:
    job, done = FeatureJob(tmp_path, source, spans(26, 4), None), []
    assert make_blocks(job, extractor, done.append, 1, 2) == 12  # the second, fourth and sixth batch
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{start:09d}.npz" for start in (4, 12, 20)]
    assert make_blocks(job, extractor, done.append, 1, 2) == 0 and sum(done) == 24
