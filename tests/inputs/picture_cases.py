"""Commands about pictures and estimates, lists of held-out images, and what the catalog says for DVC."""

from __future__ import annotations

from bench import Case, Step
from image_cases import huge_png
from steps import cut, folder, images, link, move, pixels, put, remove, swap

LOOK = "kedro inspect-images mine --env=test"
BESIDE = "kedro side-by-side balloon --env=test"
CATALOG, PARAMETERS = "conf/base/catalog.yml", "conf/test/parameters.yml"
HELD = "conf/test/val_files.txt"


def look(name: str, words: str, *said: str, steps: tuple[Step, ...] = (), code: int = 1) -> Case:
    """A case of `kedro inspect-images` with a small folder."""
    return Case(name, f"{LOOK} {words}".strip(), said, (images(), *steps), code=code)


def every(content: str) -> Step:
    """Write a text to every image."""
    return lambda root: [put(str(path.relative_to(root)), content)(root) for path in root.glob("mine/*/*/*.png")]


def held(name: str, content: str | bytes | None, *said: str, steps: tuple[Step, ...] = (), code: int = 1) -> Case:
    """A case of a list of held-out images."""
    listed = (put(HELD, content),) if content is not None else ()
    named = swap(PARAMETERS, "preprocess: {workers: 2}", f"preprocess: {{workers: 2, val_files: {HELD}}}")
    run = "kedro run --env=test --pipelines=preprocess"
    return Case(name, run, said, (images(), remove("mine/val"), named, *listed, *steps), code=code)


def beside(words: str, *said: str, steps: tuple[Step, ...] = (), code: int = 1) -> Case:
    """A case of `kedro side-by-side`."""
    return Case(f"kedro side-by-side balloon {words}", f"{BESIDE} {words}".strip(), said, steps, code=code, made=True)


def dvc(name: str, new: str, *said: str, run: str = "dvc-yaml") -> Case:
    """A case of what the catalog says for DVC."""
    old = "metadata:\n    kedro-viz: {layer: reporting}\n    dvc: {kind: metrics}"
    return Case(name, f"kedro {run} --env=test", ("metrics", *said), (swap(CATALOG, old, new),))


INSPECTIONS = [
    Case("inspecting what is not there", "kedro inspect-images gone", ("gone", "does not exist"), code=2),
    Case("inspecting a file", "kedro inspect-images pyproject.toml", ("pyproject.toml", "is a file"), code=2),
    Case(
        "inspecting an empty folder",
        "kedro inspect-images empty",
        ("empty", "no class folders"),
        (lambda root: (root / "empty").mkdir(),),
    ),
    look(
        "broken images among good ones, inspected",
        "",
        "broken files: ",
        "train/a/0.png (the file is empty)",
        "val/b/1.png",
        steps=(put("mine/train/a/0.png", b""), cut("mine/val/b/1.png", 0.5)),
        code=0,
    ),
    look(
        "a PNG too large for memory, inspected",
        "",
        "train/a/0.png",
        steps=(lambda root: put("mine/train/a/0.png", huge_png())(root),),
        code=0,
    ),
    look(
        "half a JPEG and a stripe, inspected",
        "",
        "train/a/x.jpg (",
        steps=(pixels("mine/train/a/x.jpg"), cut("mine/train/a/x.jpg", 0.5), pixels("mine/val/a/y.png", (20000, 10))),
        code=0,
    ),
    look("broken images alone, inspected", "", "mine", "broken", steps=(every("words"),)),
    look(
        "a linked class, inspected",
        "",
        "mine/train/a",
        "a link to a folder",
        steps=(move("mine/train/a", "elsewhere"), link("mine/train/a", "../../elsewhere")),
    ),
    look("a list of held-out images beside val", "--split=0.2", "mine/val"),
    look("nothing held out", "--split=0", "--split", code=2),
    look("almost everything held out", "--split=0.9", "--split", code=2),
    look(
        "a class whose images are all the same, divided",
        "--split=0.2",
        "train/a: has no image to spare",
        steps=(remove("mine/val"),),
    ),
    Case(
        "dividing for an unknown environment",
        "kedro inspect-images mine --split=0.2 --env=tset",
        ("tset", "test"),
        (images(), remove("mine/val")),
    ),
    look("a sheet in a file", "--sheet=pyproject.toml/a.png", "pyproject.toml", "a file, where a folder belongs"),
    look("a sheet that is a folder", "--sheet=conf", "conf", "directory", code=2),
]
LISTS = [
    held("no list of held-out images", None, HELD, "no such file", "kedro inspect-images"),
    held("a list of held-out images that is a folder", None, HELD, "kedro inspect-images", steps=(folder(HELD),)),
    held("an empty list of held-out images", "", HELD, "is empty"),
    held("a list of images that are not there", "train/a/7.png\n", HELD, "train/a/7.png", "does not hold"),
    held("a list of a whole class", "train/a/0.png\ntrain/a/1.png\n", HELD, "leaves no training images to ['a']"),
    held("a list that is not UTF-8", b"train/a/\xe9.png\n", HELD, "does not hold"),
    held("a list with line ends of Windows", "train/a/0.png\r\n", code=0),
    held(
        "a list beside val", "train/a/0.png\n", "mine/val", "preprocess.val_files", steps=(pixels("mine/val/a/0.png"),)
    ),
]
BESIDES = [
    Case("samples side by side before there are any", BESIDE, ("classes.json", "run the stage that makes it")),
    Case(
        "a class that is none, side by side", "kedro side-by-side ballon --env=test", ("ballon", "balloon"), made=True
    ),
    beside("--columns=0", "--columns", code=2),
    beside("--beside=theirs", "--beside", "WHO=FOLDER", code=2),
    beside("--beside=theirs=gone", "gone/balloon"),
    beside("--beside=theirs=conf", "conf/balloon"),
    beside("--beside=theirs=b", "b/balloon/0.png", steps=(put("b/balloon/0.png", "words"),)),
    beside("--out=pyproject.toml/a.png", "pyproject.toml", "a file, where a folder belongs"),
    beside("--out=src", "src", "directory", code=2),
    beside("--beside=theirs=b --out=c.png", "wrote c.png", steps=(pixels("b/balloon/0.png", (300, 200)),), code=0),
]
ESTIMATES = [
    Case("an unknown environment for kedro estimate", "kedro estimate --env=tset", ("tset", "test")),
    Case(
        "estimating before there are images", "kedro estimate --env=test", ("data/env/test/01_raw/embedded", "embedded")
    ),
    Case(
        "estimating with a misspelt key",
        "kedro estimate --env=test",
        (PARAMETERS, "batch_siez", "batch_size"),
        (images(), swap(PARAMETERS, "batch_size: 8, ema", "batch_siez: 8, ema")),
    ),
]
METADATA = [
    dvc("a number for what DVC is told", "metadata: {dvc: 3}", "metadata.dvc"),
    dvc("a number for a dataset's metadata", "metadata: 3", "metadata"),
    Case(
        "a dataset that is not in the catalog",
        "kedro dvc-yaml --env=test",
        ("catalog", "metrics is missing"),
        (swap(CATALOG, "metrics:\n  type", "metrcs:\n  type"),),
    ),
    dvc("a list for a kind", "metadata: {dvc: {kind: [metrics]}}", "metadata.dvc", "outs, metrics or plots"),
    dvc("an option that DVC does not know", "metadata: {dvc: {kind: metrics, cahce: false}}", "cahce", run="run"),
]
CASES = [*INSPECTIONS, *LISTS, *BESIDES, *ESTIMATES, *METADATA]
