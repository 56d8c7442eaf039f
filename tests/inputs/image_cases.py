"""Images and their folders: wrong ones, and unusual ones that must work."""

from __future__ import annotations

import os
from pathlib import Path

from bench import Case, Step
from steps import cut, fifo, folder, images, link, move, pixels, put, remove

from project import Project

RUN = "kedro run --env=test --pipelines=preprocess"


def refused(name: str, *said: str, steps: tuple[Step, ...] = (), quick: bool = False) -> Case:
    """Images that are refused before work."""
    return Case(name, RUN, said, (images(), *steps), quick=quick)


def broken(name: str, *said: str, steps: tuple[Step, ...] = ()) -> Case:
    """An image that cannot be read, which preprocessing finds."""
    return Case(name, RUN, (*said, "preprocess.on_bad_image: skip"), (images(), *steps), works=True)


def good(name: str, *steps: Step, said: tuple[str, ...] = ()) -> Case:
    """Unusual images that are read."""
    return Case(name, RUN, said, (images(), *steps), code=0)


def raw_name(name: bytes) -> Step:
    """Give an image a name that is not UTF-8."""
    return lambda root: os.rename(root / "mine/train/a/0.png", os.fsencode(root / "mine/train/a") + b"/" + name)


def kedro_dvc_yaml(root: Path) -> None:
    """Write the dvc.yaml of conf/test."""
    Project(root)("kedro", "dvc-yaml", "--env=test")


def sparse(path: str, size: int) -> Step:
    """A file of zeros that is large and takes no room."""

    def step(root: Path) -> None:
        with (root / path).open("wb") as file:
            file.truncate(size)

    return step


CASES = [
    refused("no folder train", "mine/train", "no such folder", steps=(move("mine/train", "mine/Train"),), quick=True),
    refused("no folder val", "mine/val", "no such folder", steps=(remove("mine/val"),)),
    refused("train is a file", "mine/train", steps=(remove("mine/train"), put("mine/train", "words"))),
    refused(
        "images without classes",
        "mine/train",
        "no class folders",
        steps=(move("mine/train/a/0.png", "mine/0.png"), remove("mine/train"), move("mine/0.png", "mine/train/0.png")),
    ),
    refused(
        "an empty class",
        "mine/train/c",
        "holds no images",
        steps=(lambda root: (root / "mine/train/c").mkdir(),),
        quick=True,
    ),
    refused("a class of texts", "mine/train/c", "holds no images", steps=(put("mine/train/c/a.txt", "words"),)),
    refused("a class that only val has", "mine/val", "c", "mine/train", steps=(pixels("mine/val/c/0.png"),)),
    refused(
        "a linked split",
        "mine/train",
        "a link to a folder",
        "cp -rs",
        steps=(move("mine/train", "elsewhere"), link("mine/train", "../elsewhere")),
    ),
    refused(
        "a linked class",
        "mine/train/a",
        "a link to a folder",
        "cp -rs",
        steps=(move("mine/train/a", "elsewhere"), link("mine/train/a", "../../elsewhere")),
        quick=True,
    ),
    refused(
        "a linked folder with a quote in its name",
        "'mine/train/it'\"'\"'s'",
        steps=(move("mine/train/a", "elsewhere"), link("mine/train/it's", "../../elsewhere")),
    ),
    refused(
        "a broken link among the images",
        "mine/train/a/x.png",
        "leads nowhere",
        steps=(link("mine/train/a/x.png", "gone"),),
    ),
    refused(
        "a looping link among the images", "mine/train/a/x.png", "link", steps=(link("mine/train/a/x.png", "x.png"),)
    ),
    refused("a looping link among the classes", "mine/train/x", "link", steps=(link("mine/train/x", "x"),)),
    refused("a pipe among the images", "mine/train/a/x.png", steps=(fifo("mine/train/a/x.png"),)),
    refused("a device among the images", "mine/train/a/x.png", steps=(link("mine/train/a/x.png", "/dev/zero"),)),
    refused("a pipe among the classes", "mine/train/x", steps=(fifo("mine/train/x"),)),
    broken("an empty image", "train/a/0.png: the file is empty", steps=(put("mine/train/a/0.png", b""),)),
    broken("a text for an image", "train/a/0.png", steps=(put("mine/train/a/0.png", "words"),)),
    broken("half a PNG", "train/a/0.png", steps=(cut("mine/train/a/0.png", 0.5),)),
    broken("a PNG's header", "train/a/0.png", steps=(cut("mine/train/a/0.png", 30),)),
    broken("half a JPEG", "val/a/x.jpg", steps=(pixels("mine/val/a/x.jpg"), cut("mine/val/a/x.jpg", 0.5))),
    broken("a web page for a JPEG", "val/a/x.jpg", steps=(put("mine/val/a/x.jpg", "<!doctype html><title>404"),)),
    broken(
        "SVG for a PNG", "val/a/x.png", steps=(put("mine/val/a/x.png", '<svg xmlns="http://www.w3.org/2000/svg"/>'),)
    ),
    broken("zeros for a JPEG", "val/a/x.jpg", steps=(sparse("mine/val/a/x.jpg", 1 << 22),)),
    broken(
        "a PNG too large for memory", "val/a/x.png", steps=(lambda root: put("mine/val/a/x.png", huge_png())(root),)
    ),
    broken(
        "two broken images in both splits",
        "2 broken image(s)",
        "train/a/0.png",
        "val/b/1.png",
        steps=(put("mine/train/a/0.png", b""), put("mine/val/b/1.png", b"x")),
    ),
    good(
        "a folder with an image's name",
        folder("mine/train/a/x.png"),
        said=("1 file(s) in folders below a class left out, in train/a",),
    ),
    good(
        "images in folders below a class",
        move("mine/train/a/0.png", "mine/train/a/more/0.png"),
        said=("1 file(s) in folders below a class left out, in train/a",),
    ),
    good(
        "files of other kinds",
        pixels("mine/train/a/x.tiff"),
        put("mine/train/a/notes.txt", "words"),
        said=("1 file(s) of kind .tiff left out", "1 file(s) of kind .txt left out"),
    ),
    good(
        "files beside the classes",
        put("mine/train/notes.txt", "words"),
        said=("1 file(s) beside the class folders left out, in train",),
    ),
    good("hidden files", put("mine/train/a/._0.png", "x"), put("mine/train/.DS_Store", "x")),
    good(
        "linked images",
        move("mine/train/a/0.png", "elsewhere.png"),
        link("mine/train/a/0.png", "../../../elsewhere.png"),
    ),
    good("images itself as a link", move("mine", "elsewhere"), link("mine", "elsewhere")),
    good("16 bits", pixels("mine/train/a/x.png", mode="I;16")),
    good("a palette", pixels("mine/train/a/x.png", mode="P")),
    good("one bit", pixels("mine/train/a/x.png", mode="1")),
    good("transparency", pixels("mine/train/a/x.png", mode="RGBA"), pixels("mine/train/a/y.png", mode="LA")),
    good("CMYK", pixels("mine/train/a/x.jpg", mode="CMYK")),
    good("a GIF by another name", pixels("mine/train/a/x.png", format="GIF")),
    good("WebP", pixels("mine/train/a/x.webp")),
    good("a BMP by another name", pixels("mine/train/a/x.jpg", format="BMP")),
    good("one pixel", pixels("mine/train/a/x.png", (1, 1))),
    good("a stripe", pixels("mine/train/a/x.png", (20000, 10))),
    good("capitals in the ending", move("mine/train/a/0.png", "mine/train/a/0.PNG")),
    good(
        "names in other scripts",
        move("mine/train/a", "mine/train/猫 ñ"),
        move("mine/val/a", "mine/val/猫 ñ"),
        move("mine/train/b/0.png", "mine/train/b/ключ 🐈.png"),
    ),
    good("names full of the shell", move("mine/train/b/0.png", "mine/train/b/$(touch x); `ls` & 'a' \"b\" *?.png")),
    good(
        "classes full of the shell",
        move("mine/train/a", "mine/train/-rf $HOME'\"; #"),
        move("mine/val/a", "mine/val/-rf $HOME'\"; #"),
    ),
    good("a line end in a name", move("mine/train/b/0.png", "mine/train/b/two\nlines.png")),
    Case("a name that is not UTF-8", RUN, ("UTF-8",), (images(), raw_name(b"caf\xe9.png"))),
    Case(
        "a broken image is left out on demand",
        RUN,
        ("leaving out 1 broken image(s)",),
        (
            images(),
            put("mine/train/a/0.png", b""),
            put("conf/test/parameters_x.yml", "preprocess2: 1\n"),
            remove("conf/test/parameters_x.yml"),
            lambda root: put(
                "conf/test/parameters.yml",
                (root / "conf/test/parameters.yml")
                .read_text()
                .replace("preprocess: {workers: 2}", "preprocess: {workers: 2, on_bad_image: skip}"),
            )(root),
        ),
        code=0,
    ),
    Case(
        "a class of broken images alone",
        RUN,
        ("mine/train", "a", "readable"),
        (
            images(),
            put("mine/train/a/0.png", b""),
            put("mine/train/a/1.png", b""),
            lambda root: put(
                "conf/test/parameters.yml",
                (root / "conf/test/parameters.yml")
                .read_text()
                .replace("preprocess: {workers: 2}", "preprocess: {workers: 2, on_bad_image: skip}"),
            )(root),
        ),
        works=True,
    ),
    Case(
        "dvc repro with broken images",
        "dvc repro dvc/test/dvc.yaml:preprocess",
        ("train/a/0.png: the file is empty", "skip"),
        (images(), put("mine/train/a/0.png", b""), kedro_dvc_yaml),
        code=255,
        works=True,
    ),
]


def huge_png() -> bytes:
    """A PNG whose header says 60000 x 60000."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
