"""Node of preprocessing."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.data import PreprocessParams


def preprocess(images: Path, params: PreprocessParams, embedded_images: Path | None = None) -> dict[str, Any]:
    """Crop and store every image at every resolution.

    Returns ``{train,val}_<resolution>`` paths, ``classes`` and ``data_card``.

    Args:
        embedded_images: the same folder where it is the embedded data set; Kedro then runs that stage first.
    """
    from cdm_kedro.data.preprocess import preprocess_folder
    from cdm_kedro.tracking.scratch import scratch_dir

    result = preprocess_folder(images, scratch_dir("preprocess"), params)
    return {**result["files"], "classes": result["classes"], "data_card": result["data_card"]}
