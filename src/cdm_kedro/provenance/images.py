"""What DVC does not see of the image folder: links to folders and empty classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kedro.pipeline import Pipeline

from cdm_kedro.data.image_folder import scan


def refuse_unseen(pipelines: Mapping[str, Pipeline], names: Iterable[str], images: str | None) -> None:
    """Refuse an image folder whose preprocessing would be called fresh although something was added.

    Args:
        pipelines: registered pipelines.
        names: pipelines asked for; none is the whole cascade.
        images: path of the folder; not looked at unless a pipeline asked for reads it, nor where a stage makes it.

    Raises:
        FolderError: wrong layout.
    """
    asked = [pipelines[name] for name in names or ["__default__"]]
    datasets = {dataset for pipeline in asked for dataset in pipeline.datasets()}
    if images and "images" in datasets and "embedded_images" not in datasets:
        scan(Path(images))
