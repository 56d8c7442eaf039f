"""A folder in ImageNet layout: ``train/<class>/*`` and ``val/<class>/*``."""

import os
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cdm_kedro.errors import CdmError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


class FolderError(CdmError, ValueError):
    """The folder does not have the layout that is needed."""


class Sample(NamedTuple):
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
        left_out: folder to the number of its files that are not read, by the reason.
    """

    root: Path
    classes: list[str]
    splits: dict[str, list[Sample]]
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)

    def leave_out(self, where: str, reasons: Counter[str]) -> None:
        """Note files of a folder that are not read."""
        if any(reasons.values()):
            self.left_out[where] = {reason: count for reason, count in sorted(reasons.items()) if count}

    def left_out_lines(self) -> list[str]:
        """For each reason how many files are not read, and where the first of them lie."""
        lines = []
        for reason in dict.fromkeys(reason for reasons in self.left_out.values() for reason in reasons):
            found = {where: reasons[reason] for where, reasons in self.left_out.items() if reason in reasons}
            lines.append(f"{sum(found.values())} file(s) {reason} left out, in {', '.join(list(found)[:5])}")
        return lines


def scan(root: Path) -> ImageFolder:
    """List the images.

    Raises:
        FolderError: a split or class is missing or empty, validation has a class that training lacks, or a link leads
            to a folder or nowhere.
    """
    if not root.is_dir():
        found = "a file, not a folder" if root.exists() else "no such folder"
        if root.is_symlink():
            found = f"a link that leads nowhere (to {os.readlink(root)})"
        raise FolderError(
            f"{root}: {found}; `images` in conf/<env>/globals.yml must point to one with "
            "train/<class>/ and val/<class>/"
        )
    folder = ImageFolder(root, [], {})
    for split in ("train", "val"):
        _scan_split(folder, split)
    return folder


def _scan_split(folder: ImageFolder, split: str) -> None:
    path = folder.root / split
    if path.is_symlink():
        _refuse_link(path)
    if not path.is_dir():
        raise FolderError(
            f"{path}: no such folder; images must lie in {folder.root}/train/<class>/ and {folder.root}/val/<class>/"
        )
    names, loose = _entries(path)
    if not names:
        raise FolderError(f"{path}: holds no class folders; images must lie in {path}/<class>/")
    if split == "train":
        folder.classes.extend(names)
    index = {name: i for i, name in enumerate(folder.classes)}
    unknown = [name for name in names if name not in index]
    if unknown:
        raise FolderError(
            f"{path}: classes {unknown[:5]} do not occur in {folder.root / 'train'}; labels would be undefined"
        )
    folder.leave_out(split, Counter({"beside the class folders": len(loose)}))
    samples = folder.splits[split] = []
    for name in names:
        below, files = _entries(path / name)
        images = [file for file in files if file.lower().endswith(EXTENSIONS)]
        if not images:
            raise FolderError(
                f"{path / name}: holds no images ({', '.join(EXTENSIONS)}); add some or remove the folder"
            )
        samples += [Sample(f"{split}/{name}/{file}", index[name]) for file in images]
        unread = sorted(set(files).difference(images))
        others = Counter(f"of kind {Path(file).suffix.lower() or 'unknown'}" for file in unread)
        others["in folders below a class"] = sum(_count_files(path / name / inner) for inner in below)
        folder.leave_out(f"{split}/{name}", others)


def _entries(path: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in a folder, sorted, without hidden ones."""
    with os.scandir(path) as entries:
        seen = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in seen:
        if entry.is_symlink() and not os.path.isfile(entry.path):
            _refuse_link(path / entry.name)
    return [entry.name for entry in seen if entry.is_dir()], [entry.name for entry in seen if not entry.is_dir()]


def _count_files(path: Path) -> int:
    folders, files = _entries(path)
    return len(files) + sum(_count_files(path / name) for name in folders)


def _refuse_link(path: Path) -> None:
    target = os.readlink(path)
    if not path.is_dir():
        raise FolderError(f"{path}: a link that leads nowhere (to {target}); repair or remove it")
    source, here = shlex.quote(str(path.resolve())), shlex.quote(str(path))
    raise FolderError(
        f"{path}: a link to a folder ({target}). DVC does not look behind links to folders, so a changed image there "
        "would not be seen. Links to files are fine, and so is `images` itself as a link. "
        f"To link every file instead: rm {here} && cp -rs {source} {here}"
    )
