"""What an extractor notices: how far real images that are spoiled in known ways move from the training images."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.collect import collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.sources import Images, Source
from cdm_kedro.evaluation.statistics import Moments, frechet_distance
from cdm_kedro.params.evaluation import EvaluateParams


def _blur(images: Images, indices: Sequence[int], sigma: float) -> NDArray[Any]:
    """Gaussian blur; sigma is in pixels."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="nearest"))


def _add_noise(images: Images, indices: Sequence[int], std: float) -> NDArray[Any]:
    """White noise; std is in levels of 256."""
    return images + np.stack([np.random.default_rng([1, i]).normal(0, std, images.shape[1:]) for i in indices])


def _shift_colours(images: Images, indices: Sequence[int], std: float) -> NDArray[Any]:
    """One random shift for each channel of each image; std is in levels of 256."""
    return images + np.stack([np.random.default_rng([2, i]).normal(0, std, (1, 1, 3)) for i in indices])


SPOILED: dict[str, Callable[[Images, Sequence[int]], NDArray[Any]]] = {
    "blur of 0.5 px": partial(_blur, sigma=0.5),
    "blur of 1 px": partial(_blur, sigma=1.0),
    "noise of 8 levels": partial(_add_noise, std=8),
    "noise of 16 levels": partial(_add_noise, std=16),
    "colour shift of 8 levels": partial(_shift_colours, std=8),
    "colour shift of 20 levels": partial(_shift_colours, std=20),
}


class SpoiledSource:
    """Images of a source, spoiled as they are read."""

    def __init__(self, source: Source, kind: str) -> None:
        self.path, self.count, self.labels = source.path, source.count, source.labels
        self.source, self.kind = source, kind

    def read(self, indices: Sequence[int]) -> Images:
        """Images (B, H, W, 3), uint8."""
        spoiled = SPOILED[self.kind](self.source.read(indices), indices)
        return np.asarray(spoiled.round().clip(0, 255).astype(np.uint8))


class WithoutClass:
    """Images of a source in which images of other classes stand in for those of one class.

    ``source``: where the images come from, with labels of at least two classes.
    """

    def __init__(self, source: Source, label: int) -> None:
        assert source.labels is not None
        self.path, self.count, self.labels = source.path, source.count, source.labels
        self.source, self.places = source, np.arange(source.count)
        missing = np.flatnonzero(source.labels == label)
        self.places[missing] = np.resize(np.flatnonzero(source.labels != label), len(missing))

    def read(self, indices: Sequence[int]) -> Images:
        """Images (B, H, W, 3), uint8."""
        return self.source.read(self.places[np.asarray(indices)].tolist())


def sensitivity(source: Source, train: Moments, extractor: Extractor, params: EvaluateParams) -> dict[str, float]:
    """Compare spoiled images with sound ones by their Fréchet distances to the training images.

    Returns ``sound``, the distance of the sound images, and the ratio of the spoiled images' distance to it for every
    way of spoiling them.
    """

    def distance(images: Source, name: str) -> float:
        return frechet_distance(collect(images, extractor, params, f"{extractor.name}, {name}").moments, train)

    spoiled: dict[str, Any] = {kind: SpoiledSource(source, kind) for kind in SPOILED}
    if source.labels is not None and len(np.unique(source.labels)) > 1:
        spoiled["one class missing"] = WithoutClass(source, int(source.labels.min()))
    sound = distance(source, "sound")
    return {"sound": sound, **{name: distance(images, name) / sound for name, images in spoiled.items()}}
