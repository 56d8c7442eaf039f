"""Where images come from: npz files in the ADM evaluator's convention, FFCV files, and folders."""

import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.data.beton import check_beton, read_beton, read_labels
from cdm_kedro.data.crop import BadImage, crops, decode
from cdm_kedro.data.image_folder import EXTENSIONS
from cdm_kedro.errors import CdmError
from cdm_kedro.files.npz import map_npz_array
from cdm_kedro.params.data import CROP_SIDE

Images = NDArray[np.uint8]


class Source(Protocol):
    """Images of one size with random access, which are read from their files only when asked for.

    Another process opens a source from its pickle, and two sources with the same pickle hold the same images.
    ``labels``: class indices (count,), or None.
    """

    path: Path
    count: int
    labels: NDArray[np.int64] | None

    def read(self, indices: Sequence[int]) -> Images:
        """Images (B, H, W, 3), uint8."""
        ...


def _describe_floats(images: NDArray[Any]) -> str:
    if not np.issubdtype(images.dtype, np.number):
        return ""
    low, high = np.fmin.reduce(images, None), np.fmax.reduce(images, None)  # these leave out NaN
    finite = np.isfinite([images.min(), images.max()]).all()
    return f" with values from {low:g} to {high:g}{'' if finite else ' and NaN or infinity'}"


class NpzSource:
    """``arr_0`` (N, H, W, 3) uint8 and, optionally, ``arr_1`` (N,) labels.

    Raises CdmError if the file or an array is missing, or an array has another shape or type.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CdmError(f"{path}: no such file")
        images = map_npz_array(path, "arr_0")
        if images.ndim != 4 or images.shape[3] != 3 or len(images) == 0:
            raise CdmError(f"{path}: arr_0 has shape {images.shape}; expected (N, H, W, 3) with N > 0")
        if images.dtype != np.uint8:
            raise CdmError(
                f"{path}: arr_0 is {images.dtype}{_describe_floats(images)}; convert it to uint8 0 .. 255 first"
            )
        self.path, self.count, self._images = path, len(images), images
        with zipfile.ZipFile(path) as archive:
            labelled = "arr_1.npy" in archive.namelist()
        self.labels: NDArray[np.int64] | None = None
        if labelled:
            labels = np.asarray(map_npz_array(path, "arr_1"))
            if labels.shape != (self.count,) or not np.issubdtype(labels.dtype, np.integer):
                raise CdmError(
                    f"{path}: arr_1 is {labels.dtype} {labels.shape}; expected ({self.count},) integer class labels"
                )
            self.labels = labels.astype(np.int64)

    def __reduce__(self) -> Any:
        return NpzSource, (self.path,)

    def read(self, indices: Sequence[int]) -> Images:
        """Images (B, H, W, 3), uint8."""
        return np.asarray(self._images[np.asarray(indices)])


class BetonSource:
    """An FFCV file of the preprocess stage. Raises CdmError if the file is damaged or incomplete."""

    def __init__(self, path: Path) -> None:
        info = check_beton(path)
        self.path, self.count, self.resolution = path, info.num_samples, info.resolution
        self.labels: NDArray[np.int64] | None = read_labels(path)

    def __reduce__(self) -> Any:
        return BetonSource, (self.path,)

    def read(self, indices: Sequence[int]) -> Images:
        """Images (B, H, W, 3), uint8."""
        return read_beton(self.path, indices)[0]


class FolderSource:
    """Images anywhere below a folder, in a seeded random order, so that the first of them are a fair sample.

    ``size``: side in pixels that images are cropped and resized to, as the preprocess stage does it; None takes them
    as they are, and they must then all have one size. Raises CdmError if there is no folder, or it holds no images, or,
    when read, an image is unreadable or of another size.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        if not path.is_dir():
            raise CdmError(f"{path}: no such folder")
        if size is not None and (size < 1 or CROP_SIDE % size):
            raise CdmError(f"size {size} does not divide {CROP_SIDE}, the side of the crops; use 32, 64, 128, 256")
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))
        if not files:
            raise CdmError(f"{path}: holds no images ({', '.join(EXTENSIONS)})")
        order = np.random.Generator(np.random.Philox(key=0)).permutation(len(files))
        self.path, self.size, self.count = path, size, len(files)
        self.files = [files[i] for i in order]
        self.labels: NDArray[np.int64] | None = None
        self._shape: tuple[int, ...] | None = None

    def __reduce__(self) -> Any:
        return FolderSource, (self.path, self.size)

    def _one(self, index: int) -> Images:
        path = self.files[index]
        try:
            image = decode(path, True)
        except BadImage as error:
            raise CdmError(f"{path}: {error}") from None
        return image.pixels if self.size is None else crops(image, "area", [self.size])[self.size]

    def read(self, indices: Sequence[int]) -> Images:
        """Images (B, H, W, 3), uint8."""
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(self._one, indices))
        self._shape = self._shape or images[0].shape
        for index, image in zip(indices, images, strict=True):
            if image.shape != self._shape:
                raise CdmError(
                    f"{self.files[index]}: is {image.shape[1]} x {image.shape[0]}, another image in {self.path} is "
                    f"{self._shape[1]} x {self._shape[0]}; give a size to crop and resize all of them to"
                )
        return np.stack(images)


def open_source(path: Path, size: int | None = None) -> Source:
    """Open an npz of images, an FFCV file or a folder.

    Raises CdmError if the path is none of these, or a file has a ``size``, which is for :class:`FolderSource` alone.
    """
    if path.is_dir():
        return FolderSource(path, size)
    if size is not None:
        raise CdmError(f"{path}: a size is for folders; images in npz and beton files are taken as they are")
    if path.suffix == ".beton":
        return BetonSource(path)
    if path.suffix == ".npz":
        return NpzSource(path)
    raise CdmError(f"{path}: expected an .npz or .beton file, or a folder of images")
