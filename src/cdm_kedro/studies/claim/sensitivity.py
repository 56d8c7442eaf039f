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


def _add_noise(
    images: Images, indices: Sequence[int], std: float, stream: int = 1, shape: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """Normal noise of each image, by default of each value of it; std is in levels of 256."""
    generators = [np.random.default_rng([stream, i]) for i in indices]
    return images + np.stack([generator.normal(0, std, shape or images.shape[1:]) for generator in generators])


_shift_colours = partial(_add_noise, stream=2, shape=(1, 1, 3))
SPOILED: dict[str, Callable[[Images, Sequence[int]], NDArray[Any]]] = {
    "blur of 0.5 px": partial(_blur, sigma=0.5),
    "blur of 1 px": partial(_blur, sigma=1.0),
    "noise of 8 levels": partial(_add_noise, std=8),
    "noise of 16 levels": partial(_add_noise, std=16),
    "colour shift of 8 levels": partial(_shift_colours, std=8),
    "colour shift of 20 levels": partial(_shift_colours, std=20),
}


class ChangedSource:
    """Images of a source, spoiled as they are read, or at other ``places`` (count,) of it."""

    def __init__(self, source: Source, spoil: str | None = None, places: NDArray[np.int64] | None = None) -> None:
        self.path, self.count, self.labels = source.path, source.count, source.labels
        self.source, self.spoil, self.places = source, spoil, places

    def read(self, indices: Sequence[int]) -> Images:
        """Images (B, H, W, 3), uint8."""
        images = self.source.read(indices if self.places is None else self.places[np.asarray(indices)].tolist())
        if self.spoil is None:
            return images
        return np.asarray(SPOILED[self.spoil](images, indices).round().clip(0, 255).astype(np.uint8))


def without_class(source: Source, label: int) -> ChangedSource:
    """Images of a source with labels of several classes, in which other classes' stand in for those of one class."""
    assert source.labels is not None
    places, missing = np.arange(source.count), np.flatnonzero(source.labels == label)
    places[missing] = np.resize(np.flatnonzero(source.labels != label), len(missing))
    return ChangedSource(source, places=places)


def sensitivity(source: Source, train: Moments, extractor: Extractor, params: EvaluateParams) -> dict[str, float]:
    """Compare spoiled images with sound ones by their Fréchet distances to the training images.

    Returns ``sound``, the distance of the sound images, and the ratio of the spoiled images' distance to it for every
    way of spoiling them.
    """

    def distance(images: Source, name: str) -> float:
        return frechet_distance(collect(images, extractor, params, f"{extractor.name}, {name}").moments, train)

    spoiled = {kind: ChangedSource(source, kind) for kind in SPOILED}
    if source.labels is not None and len(np.unique(source.labels)) > 1:
        spoiled["one class missing"] = without_class(source, int(source.labels.min()))
    sound = distance(source, "sound")
    return {"sound": sound, **{name: distance(images, name) / sound for name, images in spoiled.items()}}
