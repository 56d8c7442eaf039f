"""A folder in ImageNet layout: ``train/<class>/*`` and ``val/<class>/*``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cdm_kedro.errors import CdmError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


class FolderError(CdmError, ValueError):
    """The folder does not have the layout that is needed."""


@dataclass(frozen=True)
class Sample:
    """One file; ``path`` is relative to the image folder."""

    path: str
    label: int


@dataclass(frozen=True)
class ImageFolder:
    """Files of both splits with labels; a label is the index of the class in sorted order.

    Attributes:
        root: the folder.
        classes: names of the training classes, sorted.
        splits: "train" and "val" to their files, sorted by path.
    """

    root: Path
    classes: list[str]
    splits: dict[str, list[Sample]]


def scan(root: Path) -> ImageFolder:
    """List the images.

    Raises:
        FolderError: a split or class is missing or empty, or validation has a class that training lacks.
    """
    if not root.is_dir():
        raise FolderError(
            f"{root}: no such folder; `images` in conf/<env>/globals.yml must point to one with "
            "train/<class>/ and val/<class>/"
        )
    classes: list[str] = []
    splits: dict[str, list[Sample]] = {}
    for split in ("train", "val"):
        folder = root / split
        if not folder.is_dir():
            raise FolderError(
                f"{folder}: no such folder; images must lie in {root}/train/<class>/ and {root}/val/<class>/"
            )
        names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
        if not names:
            raise FolderError(f"{folder}: holds no class folders; images must lie in {folder}/<class>/")
        if split == "train":
            classes = names
        index = {name: i for i, name in enumerate(classes)}
        unknown = [name for name in names if name not in index]
        if unknown:
            raise FolderError(
                f"{folder}: classes {unknown[:5]} do not occur in {root / 'train'}; labels would be undefined"
            )
        splits[split] = []
        for name in names:
            files = sorted(
                e.name
                for e in os.scandir(folder / name)
                if e.name.lower().endswith(EXTENSIONS) and not e.name.startswith(".") and e.is_file()
            )
            if not files:
                raise FolderError(
                    f"{folder / name}: holds no images ({', '.join(EXTENSIONS)}); add some or remove the folder"
                )
            splits[split] += [Sample(f"{split}/{name}/{file}", index[name]) for file in files]
    return ImageFolder(root, classes, splits)
