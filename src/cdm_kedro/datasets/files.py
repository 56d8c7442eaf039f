"""Files and folders that pass through the pipeline as paths, never through memory."""

import base64
import os
import shutil
from pathlib import Path
from typing import Any, NewType, TypeVar

from kedro.io import AbstractDataset, DatasetError

from cdm_kedro.files.space import disk_full_explained

ImagePreview = NewType("ImagePreview", str)
T = TypeVar("T")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class OnDisk(AbstractDataset[T, T]):
    """A dataset at one path.

    ``filepath``: where the file lives in the project. ``metadata``: free for plugins; ``metadata.dvc`` says how DVC
    tracks it.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _found(self) -> Path:
        if not self._exists():
            raise DatasetError(f"{self._filepath} does not exist; run the stage that makes it, or `dvc pull`")
        return self._filepath

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class FileDataset(OnDisk[Path]):
    """One finished file. ``save`` adopts the file that a node made elsewhere; ``load`` returns the path unopened."""

    def load(self) -> Path:
        """Return the path. Raises DatasetError if nothing is there."""
        return self._found()

    def save(self, data: Path) -> None:
        """Move ``data`` to the dataset's place; readers see the old content or the new one, never a part."""
        data = Path(data)
        if not data.exists():
            raise DatasetError(f"the node returned {data}, which does not exist")
        if data.absolute() == self._filepath.absolute():
            return
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        beside = self._filepath.with_name(f".{self._filepath.name}.{os.getpid()}.part")
        with disk_full_explained(beside.parent):
            try:
                shutil.move(data, beside)  # copies from another file system
                if beside.is_dir():
                    _remove(self._filepath)
                beside.replace(self._filepath)
            except OSError:
                if data.exists():
                    _remove(beside)
                else:
                    shutil.move(beside, data)
                raise


class FolderDataset(FileDataset):
    """One finished folder, handled like :class:`FileDataset`."""

    def _exists(self) -> bool:
        return self._filepath.is_dir()


class ImageDataset(FileDataset):
    """A finished PNG, shown by Kedro-Viz."""

    def preview(self) -> ImagePreview:
        """The picture as base64 PNG."""
        return ImagePreview(base64.b64encode(self.load().read_bytes()).decode())
