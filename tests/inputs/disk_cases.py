"""Disks that are full and folders that can only be read; their set-up mounts file systems, which only root may."""

from __future__ import annotations

from bench import Case, Step
from steps import disk, images, put, read_only, swap

RUN = "kedro run --env=test"
EMBEDDED, PREPROCESS = f"{RUN} --pipelines=embedded", f"{RUN} --pipelines=preprocess"
BASE32, GRIDS = f"{RUN} --pipelines=base32", f"{RUN} --pipelines=grids"
DATA, PARAMETERS = "data/env/test", "conf/test/parameters.yml"
LONGER = swap(PARAMETERS, "training: {steps: 6,", "training: {steps: 7,")
WIDER = swap(PARAMETERS, "grids: {columns: 1}", "grids: {columns: 2}")
FULL, READ_ONLY = "no space left on its file system", "can only be read"


def plain(name: str, command: str, *said: str, steps: tuple[Step, ...], code: int = 1, works: bool = False) -> Case:
    """A case in a project in which nothing has run."""
    return Case(name, command, said, steps, code=code, works=works)


def made(name: str, command: str, *said: str, steps: tuple[Step, ...], code: int = 1, works: bool = False) -> Case:
    """A case in a project whose cascade is made."""
    return Case(name, command, said, steps, code=code, works=works, made=True, broken=(DATA,) if works else ())


CASES = [
    plain("data can only be read", EMBEDDED, "data", READ_ONLY, steps=(read_only("data"),)),
    plain("the scratch folder can only be read", EMBEDDED, ".scratch", READ_ONLY, steps=(read_only(".scratch"),)),
    plain("DVC's folder can only be read", EMBEDDED, ".dvc", READ_ONLY, steps=(read_only(".dvc"),)),
    plain(
        "DVC's cache can only be read",
        EMBEDDED,
        ".dvc/cache",
        "Read-only file system",
        "dvc cache dir",
        steps=(read_only(".dvc/cache"),),
    ),
    plain("the project can only be read", EMBEDDED, READ_ONLY, steps=(read_only("."),)),
    plain("the folder of dvc.yaml can only be read", EMBEDDED, "dvc", READ_ONLY, steps=(read_only("dvc"),)),
    plain("configuration and code can only be read", EMBEDDED, steps=(read_only("conf"), read_only("src")), code=0),
    plain("mlruns can only be read", EMBEDDED, steps=(read_only("mlruns"),), code=0),
    plain(
        "mlflow.db can only be read",
        EMBEDDED,
        "mlflow.db",
        steps=(put("mlflow.db", ""), read_only("mlflow.db")),
        code=0,
    ),
    plain("the disk of data is full", EMBEDDED, "data", "no space left", steps=(disk("data", "300k"),), works=True),
    plain(
        "the scratch disk is full", EMBEDDED, ".scratch", "no space left", steps=(disk(".scratch", "2m"),), works=True
    ),
    plain(
        "the disk of DVC's cache is full", EMBEDDED, ".dvc/cache", FULL, steps=(disk(".dvc/cache", "100k"),), works=True
    ),
    plain("the disk of DVC's locks is full", EMBEDDED, ".dvc/tmp", FULL, steps=(disk(".dvc/tmp", "4k"),), works=True),
    plain(
        "the scratch disk is full, for preprocessing",
        PREPROCESS,
        ".scratch",
        "no space left",
        steps=(images(), disk(".scratch", "20m")),
        works=True,
    ),
    plain(
        "the disk of data is full, for preprocessing",
        PREPROCESS,
        f"{DATA}/05_model_input",
        "no space left",
        steps=(images(), disk(f"{DATA}/05_model_input", "20m")),
        works=True,
    ),
    plain("the temporary folder is full", EMBEDDED, steps=(disk("tmp", "4k"),), code=0),
    made("data can only be read and all is fresh", RUN, "Everything is fresh", steps=(read_only("data"),), code=0),
    made(
        "data can only be read and grids are stale",
        GRIDS,
        f"{DATA}/08_reporting",
        READ_ONLY,
        steps=(WIDER, read_only("data")),
    ),
    made(
        "models can only be read",
        BASE32,
        f"{DATA}/06_models",
        READ_ONLY,
        steps=(LONGER, read_only(f"{DATA}/06_models")),
    ),
    made(
        "the disk of models is full",
        BASE32,
        f"{DATA}/06_models",
        "no space left",
        steps=(LONGER, disk(f"{DATA}/06_models", "64k")),
        works=True,
    ),
    made(
        "the scratch disk is full, for training",
        BASE32,
        "could not write checkpoint .scratch/test/base32/",
        "No space left on device",
        "the one before is kept",
        steps=(LONGER, disk(".scratch", "2m")),
        code=0,
        works=True,
    ),
    made(
        "the folder for samples can only be read",
        "kedro sample-class 0 -n 1 --env=test",
        "samples",
        READ_ONLY,
        steps=(read_only("samples"),),
    ),
    made(
        "the folder for scores can only be read",
        f"kedro evaluate-samples {DATA}/07_model_output/samples_32.npz --env=test -o out/a.json "
        f"--reference={DATA}/05_model_input/val_32.beton",
        "out",
        READ_ONLY,
        steps=(read_only("out"),),
    ),
    plain(
        "the folder for a sheet of images can only be read",
        "kedro inspect-images mine --sheet=shut/a.png --env=test",
        "shut",
        READ_ONLY,
        steps=(images(), read_only("shut")),
    ),
    plain("the scratch disk has no room for the code", EMBEDDED, ".scratch", FULL, steps=(disk(".scratch", "500k"),)),
    made("DVC's cache can only be read, later", GRIDS, ".dvc/cache", READ_ONLY, steps=(WIDER, read_only(".dvc/cache"))),
    made("DVC's cache can only be read and all is fresh", RUN, "is fresh", steps=(read_only(".dvc/cache"),), code=0),
]
