"""What cases do to a project before their command: each function returns a step."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench import Step


def put(path: str, content: str | bytes) -> Step:
    """Write a file anew, and the folders on the way."""

    def step(root: Path) -> None:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    return step


def add(path: str, content: str | bytes) -> Step:
    """Append to a file."""
    return lambda root: put(
        path, (root / path).read_bytes() + (content if isinstance(content, bytes) else content.encode())
    )(root)


def swap(path: str, old: str, new: str) -> Step:
    """Replace a text in a file that has it."""

    def step(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text, (path, old)
        put(path, text.replace(old, new, 1))(root)

    return step


def cut(path: str, size: int | float) -> Step:
    """Keep the first bytes of a file: so many, or this share of them."""

    def step(root: Path) -> None:
        content = (root / path).read_bytes()
        put(path, content[: size if isinstance(size, int) else int(len(content) * size)])(root)

    return step


def remove(path: str) -> Step:
    """Remove a file or a folder that is there."""

    def step(root: Path) -> None:
        gone = root / path
        shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink()

    return step


def link(path: str, target: str) -> Step:
    """Make a symbolic link in place of what is there."""

    def step(root: Path) -> None:
        here = root / path
        here.parent.mkdir(parents=True, exist_ok=True)
        if here.is_symlink() or here.exists():
            remove(path)(root)
        here.symlink_to(target)

    return step


def folder(path: str) -> Step:
    """Make a folder in place of what is there, with a file in it."""

    def step(root: Path) -> None:
        if (root / path).is_file():
            remove(path)(root)
        put(f"{path}/mine.txt", "mine\n")(root)

    return step


def move(path: str, to: str) -> Step:
    """Rename."""

    def step(root: Path) -> None:
        (root / to).parent.mkdir(parents=True, exist_ok=True)
        (root / path).rename(root / to)

    return step


def fifo(path: str) -> Step:
    """Make a named pipe, which nobody writes to."""
    return lambda root: os.mkfifo(root / path)


def pixels(path: str, size: tuple[int, int] = (300, 280), mode: str = "RGB", **options: Any) -> Step:
    """Save a picture, in the format of its suffix or in ``format``."""

    def step(root: Path) -> None:
        from PIL import Image

        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize(size).convert(mode).save(file, **options)

    return step


def images(path: str = "mine", classes: tuple[str, ...] = ("a", "b")) -> Step:
    """Make a small image folder in ImageNet layout, and let conf/test point to it."""

    def step(root: Path) -> None:
        for split in ("train", "val"):
            for name in classes:
                for i in range(2):
                    pixels(f"{path}/{split}/{name}/{i}.png")(root)
        put("conf/test/globals.yml", f"images: {path}\nroot: data/env/test\n")(root)

    return step


def disk(path: str, size: str) -> Step:
    """Mount an empty file system of a size, such as 64k, in place of a folder."""

    def step(root: Path) -> None:
        (root / path).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", root / path], check=True)

    return step


def read_only(path: str) -> Step:
    """Let nobody write to a file or a folder, root neither."""

    def step(root: Path) -> None:
        if not (root / path).exists():
            (root / path).mkdir(parents=True)
        subprocess.run(["mount", "--bind", root / path, root / path], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", root / path], check=True)

    return step


def unmount_all(root: Path) -> None:
    """Take back what ``disk`` and ``read_only`` mounted in a project."""
    mounts = [line.split()[1].replace("\\040", " ") for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(root):
            subprocess.run(["umount", "-l", mount], check=True)
