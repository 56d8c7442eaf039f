"""What an extractor notices: Fréchet distances of real images spoiled in known ways, over that of sound ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.measure import measure
from cdm_kedro.evaluation.sources import Images, Source
from cdm_kedro.evaluation.statistics import Moments, frechet_distance
from cdm_kedro.params.evaluation import EvaluateParams

Spoil = Callable[[Images, Sequence[int]], Images]


def _rounded(pixels: NDArray[np.floating]) -> Images:
    return np.asarray(pixels.round().clip(0, 255).astype(np.uint8))


def blurred(sigma: float) -> Spoil:
    """Gaussian blur, sigma in pixels."""
    from scipy.ndimage import gaussian_filter

    def spoil(images: Images, _: Sequence[int]) -> Images:
        pixels: NDArray[np.float32] = gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="nearest")
        return _rounded(pixels)

    return spoil


def noisy(std: float) -> Spoil:
    """White noise, std in levels of 256."""

    def spoil(images: Images, indices: Sequence[int]) -> Images:
        noise = [np.random.default_rng([1, index]).normal(0, std, images.shape[1:]) for index in indices]
        return _rounded(images.astype(np.float64) + np.stack(noise))

    return spoil


def tinted(std: float) -> Spoil:
    """One random shift a channel and image, std in levels of 256."""

    def spoil(images: Images, indices: Sequence[int]) -> Images:
        shifts = [np.random.default_rng([2, index]).normal(0, std, (1, 1, 3)) for index in indices]
        return _rounded(images.astype(np.float64) + np.stack(shifts))

    return spoil


SPOILED: dict[str, Callable[[], Spoil]] = {
    "blur of 0.5 px": lambda: blurred(0.5),
    "blur of 1 px": lambda: blurred(1.0),
    "noise of 8 levels": lambda: noisy(8),
    "noise of 16 levels": lambda: noisy(16),
    "colour shift of 8 levels": lambda: tinted(8),
    "colour shift of 20 levels": lambda: tinted(20),
}


class SpoiledSource:
    """Images of a source, spoiled as they are read.

    Args:
        source: of sound ones.
        spoil: (images, their places) to images.
    """

    def __init__(self, source: Source, spoil: Spoil) -> None:
        self.path: Path = source.path
        self.count, self.labels = source.count, source.labels
        self._source, self._spoil = source, spoil

    def read(self, indices: Sequence[int]) -> Images:
        """(B, H, W, 3) uint8."""
        return self._spoil(self._source.read(indices), indices)


class WithoutClass(SpoiledSource):
    """A labelled source in which other images stand in for those of one class.

    Args:
        source: with labels of at least two classes.
        label: the class.
    """

    def __init__(self, source: Source, label: int) -> None:
        super().__init__(source, lambda images, _: images)
        assert source.labels is not None
        kept = np.flatnonzero(source.labels != label)
        self._place = np.arange(source.count)
        missing = np.flatnonzero(source.labels == label)
        self._place[missing] = np.resize(kept, len(missing))

    def read(self, indices: Sequence[int]) -> Images:
        """(B, H, W, 3) uint8."""
        return self._source.read(self._place[np.asarray(indices)].tolist())


def sensitivity(source: Source, train: Moments, extractor: Extractor, params: EvaluateParams) -> dict[str, float]:
    """Distances to the training images over that of the sound images.

    Args:
        source: real images that are not among the training images.
        train: of the training images.
        extractor: network.
        params: limits.

    Returns:
        ``sound``, the distance of the sound images itself, and for every way of spoiling them a ratio.
    """
    alone = params.model_copy(update={"devices": 1})  # several processes would make the extractor that params name

    def distance(images: Source, name: str) -> float:
        return frechet_distance(measure(images, extractor, alone, f"{extractor.name}, {name}").moments, train)

    sound = distance(source, "sound")
    spoiled: dict[str, Source] = {name: SpoiledSource(source, make()) for name, make in SPOILED.items()}
    if source.labels is not None and len(np.unique(source.labels)) > 1:
        spoiled["one class missing"] = WithoutClass(source, int(source.labels.min()))
    return {"sound": sound, **{name: distance(images, name) / sound for name, images in spoiled.items()}}
