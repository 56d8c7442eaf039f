"""Kedro datasets. Saves are atomic: a path under data/ holds a finished file or nothing.

Files and folders pass through the pipeline as paths. Small readable outputs have stable bytes, since DVC hashes them.
"""

import base64
import json
import os
import shutil
from pathlib import Path
from typing import Any, NewType, TypeVar

from kedro.io import AbstractDataset, DatasetError

from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.links import remove
from cdm_kedro.files.places import disk_full_explained
from cdm_kedro.files.table import from_csv, to_csv

ImagePreview = NewType("ImagePreview", str)
JSONPreview = NewType("JSONPreview", str)
PlotlyPreview = NewType("PlotlyPreview", dict)
T = TypeVar("T")


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
                    remove(self._filepath)
                beside.replace(self._filepath)
            except OSError:
                if data.exists():
                    remove(beside)
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


class TextDataset(OnDisk[str]):
    """UTF-8 text, such as the HTML report."""

    def load(self) -> str:
        """Return the text."""
        return self._found().read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Write the text."""
        write_text(self._filepath, data)


class JSONDataset(OnDisk[Any]):
    """JSON with indentation; key order as given."""

    def load(self) -> Any:
        """Return the parsed value."""
        return json.loads(self._found().read_bytes())

    def save(self, data: Any) -> None:
        """Write the value; NaN and infinities are refused because JSON has none."""
        write_text(self._filepath, json.dumps(data, indent=2, allow_nan=False) + "\n")

    def preview(self) -> JSONPreview:
        """The text, for Kedro-Viz."""
        return JSONPreview(self._found().read_text(encoding="utf-8"))


class CurveDataset(OnDisk[list[dict[str, float]]]):
    """Rows of numbers with one header, as CSV; the first column is the x axis."""

    def load(self) -> list[dict[str, float]]:
        """Return the rows; empty cells are left out."""
        rows = from_csv(self._found().read_text(encoding="utf-8"))
        return [{key: float(value) for key, value in row.items()} for row in rows]

    def save(self, data: list[dict[str, float]]) -> None:
        """Write the rows; columns in order of first appearance."""
        write_text(self._filepath, to_csv(data))

    def preview(self) -> PlotlyPreview:
        """The loss against the step, for Kedro-Viz."""
        rows = self.load()
        if not rows:
            return PlotlyPreview({"data": [], "layout": {}})
        x, *others = rows[0]
        y = "loss" if "loss" in others else others[0]
        line = {"x": [row[x] for row in rows], "y": [row.get(y) for row in rows], "type": "scatter", "name": y}
        axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
        return PlotlyPreview({"data": [line], "layout": axes})
