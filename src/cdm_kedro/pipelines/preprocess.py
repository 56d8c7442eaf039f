"""Node of preprocessing."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.data import PreprocessParams


def preprocess(images: Path, params: PreprocessParams, embedded_images: Path | None = None) -> dict[str, Any]:
    """Crop and store every image at every resolution.

    Returns ``{train,val}_<resolution>`` paths, ``classes`` and ``data_card``. ``embedded_images``: the same folder
    where it is the embedded data set; Kedro then runs that stage first.
    """
    from cdm_kedro.data.preprocess import preprocess_folder
    from cdm_kedro.tracking.scratch import scratch_dir

    result = preprocess_folder(images, scratch_dir("preprocess"), params)
    files = {name: _second_name(path) for name, path in result["files"].items()}
    return {**files, "classes": result["classes"], "data_card": result["data_card"]}


def _second_name(path: Path) -> Path:
    """A hard link that the catalog may move, so that a kill while it moves them does not cost what was written."""
    link = path.with_name(f"made_{path.name}")
    try:
        link.unlink(missing_ok=True)
        link.hardlink_to(path)
    except OSError:  # a file system without such links
        return path
    return link
