"""A folder in ImageNet layout: ``train/<class>/*`` and ``val/<class>/*``, or a list instead of ``val``."""

import os
import re
import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from cdm_kedro.errors import CdmError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


class Sample(NamedTuple):
    """One file; ``path`` is relative to the image folder."""

    path: str
    label: int


@dataclass(frozen=True)
class ImageFolder:
    """Files of both splits with labels; a label is the index of the class in sorted order."""

    root: Path
    classes: list[str]  # names of the training classes, sorted
    splits: dict[str, list[Sample]]  # "train" and "val" to their files, sorted by path
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)  # folder to numbers of unread files by the reason

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


def scan(root: Path, val_files: Path | str | None = None) -> ImageFolder:
    """List the images.

    Raises CdmError if a split or class is missing or empty, validation has a class that training lacks, a link leads
    to a folder or nowhere, or the list does not fit the folder. ``val_files``: text file with the path of one
    validation image a line, relative to ``root``, for a folder that holds ``train/<class>/*`` or ``<class>/*`` alone.
    """
    if val_files is None:
        return _scan(root, "train", "val")
    folder, source = scan_undivided(root), Path(val_files)
    remedy = f"`kedro inspect-images {shlex.quote(str(root))} --split 0.1` writes it"
    if not source.is_file():
        raise CdmError(f"{source}: preprocess.val_files names it, but there is no such file; {remedy}")
    (samples,) = folder.splits.values()
    listed = {*source.read_text(encoding="utf-8", errors="surrogateescape").split("\n")} - {""}
    train, val = ([sample for sample in samples if (sample.path in listed) == held] for held in (False, True))
    unknown = sorted(listed.difference(sample.path for sample in val))
    trained = {sample.label for sample in train}
    bare = [name for i, name in enumerate(folder.classes) if i not in trained]
    if unknown or bare or not val:
        said = f"leaves no training images to {bare[:5]}" if bare else "is empty"
        said = f"lists {unknown[:5]}, which {root} does not hold" if unknown else said
        raise CdmError(f"{source}: {said}; {remedy} anew")
    return replace(folder, splits={"train": train, "val": val})


def scan_undivided(root: Path) -> ImageFolder:
    """List the images of a folder without ``val``, as one split: "train", or "." if classes lie in the folder."""
    if (root / "val").exists():
        raise CdmError(f"{root / 'val'}: exists, so no list says what is held out; unset preprocess.val_files")
    return _scan(root, "train" if (root / "train").exists() else ".")


def _scan(root: Path, *splits: str) -> ImageFolder:
    if not root.is_dir():
        found = "a file, not a folder" if root.exists() else "no such folder"
        if root.is_symlink():
            found = f"a link that leads nowhere (to {os.readlink(root)})"
        raise CdmError(
            f"{root}: {found}; `images` in conf/<env>/globals.yml must point to one with "
            "train/<class>/ and val/<class>/"
        )
    folder = ImageFolder(root, [], {})
    for split in splits:
        _scan_split(folder, split)
    return folder


def _scan_split(folder: ImageFolder, split: str) -> None:
    path = folder.root / split
    if split != "." and path.is_symlink():
        _refuse_link(path)
    if not path.is_dir():
        raise CdmError(
            f"{path}: no such folder; images must lie in {folder.root}/train/<class>/ and {folder.root}/val/<class>/. "
            f"Without val/: kedro inspect-images {shlex.quote(str(folder.root))} --split 0.1"
        )
    names, loose = _entries(path)
    if not names:
        raise CdmError(f"{path}: holds no class folders; images must lie in {path}/<class>/")
    if not folder.splits:
        folder.classes.extend(names)
    index = {name: i for i, name in enumerate(folder.classes)}
    unknown = [name for name in names if name not in index]
    if unknown:
        raise CdmError(
            f"{path}: classes {unknown[:5]} do not occur in {folder.root / 'train'}; labels would be undefined"
        )
    folder.leave_out(split, Counter({"beside the class folders": len(loose)}))
    samples = folder.splits[split] = []
    for name in names:
        below, files = _entries(path / name)
        images = [file for file in files if file.lower().endswith(EXTENSIONS)]
        if not images:
            raise CdmError(f"{path / name}: holds no images ({', '.join(EXTENSIONS)}); add some or remove the folder")
        samples += [Sample(os.path.normpath(f"{split}/{name}/{file}"), index[name]) for file in images]
        unread = sorted(set(files).difference(images))
        others = Counter(f"of kind {Path(file).suffix.lower() or 'unknown'}" for file in unread)
        others["in folders below a class"] = sum(_count_files(path / name / inner) for inner in below)
        folder.leave_out(f"{split}/{name}", others)


def _entries(path: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in a folder, sorted, without hidden ones."""
    with os.scandir(path) as entries:
        every = sorted(entries, key=lambda entry: entry.name)
    for entry in every:
        if re.search("[\udc80-\udcff]", entry.name):  # bytes that are no UTF-8, as Python has them
            raise CdmError(f"{entry.path!a}: the name is not UTF-8, and DVC cannot record it; rename it")
    seen = [entry for entry in every if not entry.name.startswith(".")]
    for entry in seen:
        if entry.is_symlink() and not os.path.isfile(entry.path):
            _refuse_link(path / entry.name)
        if not (entry.is_file() or entry.is_dir()):
            raise CdmError(f"{entry.path}: neither a file nor a folder; remove it")
    return [entry.name for entry in seen if entry.is_dir()], [entry.name for entry in seen if not entry.is_dir()]


def _count_files(path: Path) -> int:
    folders, files = _entries(path)
    return len(files) + sum(_count_files(path / name) for name in folders)


def _refuse_link(path: Path) -> None:
    target = os.readlink(path)
    if not path.is_dir():
        raise CdmError(f"{path}: a link that leads nowhere (to {target}); repair or remove it")
    source, here = shlex.quote(str(path.resolve())), shlex.quote(str(path))
    raise CdmError(
        f"{path}: a link to a folder ({target}). DVC does not look behind links to folders, so a changed image there "
        "would not be seen. Links to files are fine, and so is `images` itself as a link. "
        f"To link every file instead: rm {here} && cp -rs {source} {here}"
    )
