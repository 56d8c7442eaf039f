"""Places that cannot be written or read: outputs, records, caches, disks, the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench import Case, Step
from steps import add, cut, fifo, folder, link, put, remove

RUN = "kedro run --env=test"
EMBEDDED = f"{RUN} --pipelines=embedded"
GRIDS = f"{RUN} --pipelines=grids"
DATA = "data/env/test"
MODEL = f"{DATA}/06_models/base32.safetensors"


def made(
    name: str, *said: str, steps: tuple[Step, ...] = (), command: str = GRIDS, code: int = 1, **more: object
) -> Case:
    """A case in which the tiny cascade is made."""
    return Case(name, command, said, steps, code=code, made=True, **more)  # type: ignore[arg-type]


OUTPUTS = [
    Case("data is a file", EMBEDDED, ("data",), (put("data", "mine\n"),)),
    Case("data is a broken link", EMBEDDED, ("data", "link"), (link("data", "gone"),)),
    Case("data is a looping link", EMBEDDED, ("data", "link"), (link("data", "data"),)),
    Case("a folder of outputs is a file", EMBEDDED, (f"{DATA}/01_raw",), (put(f"{DATA}/01_raw", "mine\n"),)),
    Case(
        "an output is a broken link",
        EMBEDDED,
        (f"{DATA}/01_raw/embedded", "link"),
        (link(f"{DATA}/01_raw/embedded", "gone"),),
    ),
    Case(
        "an output is a looping link",
        EMBEDDED,
        (f"{DATA}/01_raw/embedded", "link"),
        (link(f"{DATA}/01_raw/embedded", "embedded"),),
    ),
    Case(
        "a folder of outputs is a broken link", EMBEDDED, (f"{DATA}/01_raw", "link"), (link(f"{DATA}/01_raw", "gone"),)
    ),
    Case(
        "an output folder is a file",
        EMBEDDED,
        code=0,
        steps=(put(f"{DATA}/01_raw/embedded", "mine\n"),),
        broken=(DATA,),
    ),
    Case("the scratch folder is a file", EMBEDDED, (".scratch",), (put(".scratch", "mine\n"),)),
    Case("the code digests' folder is a file", EMBEDDED, (f"{DATA}/code",), (put(f"{DATA}/code", "mine\n"),)),
    made("an output file is a folder", code=0, steps=(folder(f"{DATA}/08_reporting/samples_32.png"),), broken=(DATA,)),
    made(
        "an output file is a broken link",
        "samples_32.png",
        "link",
        steps=(link(f"{DATA}/08_reporting/samples_32.png", "gone"),),
        broken=(DATA,),
    ),
    made(
        "an input file is a broken link",
        "samples_32.npz",
        "link",
        steps=(link(f"{DATA}/07_model_output/samples_32.npz", "gone"),),
        broken=(DATA,),
    ),
    made(
        "an input file is a folder",
        "samples_32.npz",
        steps=(folder(f"{DATA}/07_model_output/samples_32.npz"),),
        broken=(DATA,),
    ),
]
RECORDS = [
    Case("dvc.yaml does not parse", EMBEDDED, code=0, steps=(put("dvc/test/dvc.yaml", "stages: [1\n"),)),
    Case("dvc.yaml is empty", EMBEDDED, code=0, steps=(put("dvc/test/dvc.yaml", ""),)),
    Case("dvc.yaml is a list", EMBEDDED, code=0, steps=(put("dvc/test/dvc.yaml", "- a\n"),)),
    Case("dvc.yaml is not UTF-8", EMBEDDED, code=0, steps=(put("dvc/test/dvc.yaml", b"caf\xe9"),)),
    Case("dvc.yaml is a folder", EMBEDDED, ("dvc/test/dvc.yaml", "folder"), (folder("dvc/test/dvc.yaml"),)),
    Case(
        "dvc.yaml is edited by hand",
        "kedro dvc-yaml --env=test",
        ("wrote",),
        (put("dvc/test/dvc.yaml", "stages:\n  mine: {cmd: ls}\n"),),
        code=0,
    ),
    Case(
        "dvc.yaml does not parse, for kedro dvc-yaml",
        "kedro dvc-yaml --env=test",
        ("wrote",),
        (put("dvc/test/dvc.yaml", "stages: [1\n"), put("dvc/test/dvc.lock", "schema: '2.0'\nstages: {}\n")),
        code=0,
    ),
    Case(
        "dvc.yaml does not parse, for the check",
        "kedro dvc-yaml --check",
        ("dvc.yaml", "kedro dvc-yaml"),
        (put("conf/local/.gitkeep", ""), put("dvc.yaml", "stages: [1\n")),
    ),
    Case(
        "dvc.yaml is not UTF-8, for the check",
        "kedro dvc-yaml --check",
        ("dvc.yaml", "kedro dvc-yaml"),
        (put("conf/local/.gitkeep", ""), put("dvc.yaml", b"caf\xe9")),
    ),
    Case(
        "another environment's dvc.yaml does not parse",
        EMBEDDED,
        code=0,
        steps=(put("dvc/claim/dvc.yaml", "stages: [1\n"),),
    ),
    made(
        "dvc.yaml does not parse, everything made",
        "fresh",
        command=RUN,
        code=0,
        steps=(put("dvc/test/dvc.yaml", "stages: [1\n"),),
    ),
    made(
        "dvc.lock does not parse",
        "good copy",
        command=RUN,
        code=0,
        steps=(put("dvc/test/dvc.lock", "stages: [1\n"),),
        broken=("dvc/",),
    ),
    made(
        "dvc.lock is empty", "good copy", command=RUN, code=0, steps=(put("dvc/test/dvc.lock", ""),), broken=("dvc/",)
    ),
    made(
        "dvc.lock is not UTF-8",
        "good copy",
        command=RUN,
        code=0,
        steps=(put("dvc/test/dvc.lock", b"caf\xe9: [1"),),
        broken=("dvc/",),
    ),
    made(
        "dvc.lock with the marks of a merge",
        "dvc/test/dvc.lock",
        "git checkout --ours",
        command=RUN,
        steps=(add("dvc/test/dvc.lock", "<<<<<<< a\n=======\n>>>>>>> b\n"),),
    ),
    made(
        "dvc.lock is a folder", "dvc/test/dvc.lock", command=RUN, steps=(folder("dvc/test/dvc.lock"),), broken=("dvc/",)
    ),
    made(
        "dvc.lock does not parse, for lineage",
        "dvc/test/dvc.lock",
        command=f"kedro lineage {MODEL}",
        steps=(put("dvc/test/dvc.lock", "stages: [1\n"),),
        broken=("dvc/",),
    ),
    made(
        "dvc.lock is a list, for lineage",
        "dvc/test/dvc.lock",
        command=f"kedro lineage {MODEL}",
        steps=(put("dvc/test/dvc.lock", "- a\n"),),
        broken=("dvc/",),
    ),
    Case("no DVC repository", EMBEDDED, ("is not a DVC repository", "dvc init"), (remove(".dvc"),)),
    Case(".dvc is a file", EMBEDDED, ("is not a DVC repository",), (remove(".dvc"), put(".dvc", "mine\n"))),
    Case("DVC's configuration does not parse", EMBEDDED, (".dvc/config",), (put(".dvc/config", "[core\n"),)),
    Case(
        "DVC's configuration has an unknown key",
        EMBEDDED,
        (".dvc/config",),
        (put(".dvc/config", "[colour]\n  red = 1\n"),),
    ),
    Case("DVC's folder for locks is a file", EMBEDDED, (".dvc/tmp",), (put(".dvc/tmp", "mine\n"),)),
    Case("DVC's cache is a file", EMBEDDED, (".dvc/cache",), (put(".dvc/cache", "mine\n"),), works=True),
    made("DVC's lock of files is damaged", "fresh", command=RUN, code=0, steps=(put(".dvc/tmp/rwlock", "not JSON"),)),
    Case("no git repository", EMBEDDED, ("git init", "dvc init"), (remove(".git"),)),
    Case("a damaged git repository", EMBEDDED, (), (put(".git/HEAD", "mine\n"),), code=0),
    Case("mlflow.db is a folder", EMBEDDED, ("mlflow.db",), (folder("mlflow.db"),), code=0, limit=60),
    Case("mlflow.db is a text", EMBEDDED, ("mlflow.db",), (put("mlflow.db", "mine\n" * 999),), code=0, limit=60),
    Case("mlflow.db is empty", EMBEDDED, (), (put("mlflow.db", ""),), code=0, limit=60),
    Case("mlflow.db is a broken link", EMBEDDED, ("mlflow.db",), (link("mlflow.db", "gone/deeper"),), code=0, limit=60),
    Case("mlruns is a file", EMBEDDED, (), (put("mlruns", "mine\n"),), code=0),
    Case(
        "no MLflow server answers",
        EMBEDDED,
        ("MLflow at http://127.0.0.1:9 does not answer", "kedro replay-runs"),
        env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        code=0,
        limit=60,
    ),
    Case(
        "an MLflow server of an unknown kind",
        EMBEDDED,
        ("MLflow at gopher://x",),
        env={"MLFLOW_TRACKING_URI": "gopher://x"},
        code=0,
        limit=60,
    ),
    Case(
        "no MLflow server, for replaying",
        "kedro replay-runs",
        ("MLflow at http://127.0.0.1:9 does not take them", ".scratch/unlogged"),
        (put(".scratch/unlogged/a.jsonl", '{"op": "tags", "run": "a", "values": {"b": "c"}, "time": 1}\n'),),
        env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        limit=60,
    ),
]


def without_git(root: Path) -> None:
    """A folder of programs that has all but git."""
    import sys

    (root / "bin").mkdir()
    for name in ("kedro", "dvc", "python"):
        (root / "bin" / name).symlink_to(Path(sys.executable).parent / name)


def no_scm(root: Path) -> None:
    """Give up git, as `dvc init --no-scm` does."""
    shutil.rmtree(root / ".git")
    put(".dvc/config", "[core]\n    no_scm = True\n")(root)


MACHINE = [
    Case(
        "no git program in a project without git",
        EMBEDDED,
        ("embedded: running",),
        (no_scm, without_git),
        code=0,
        env={"PATH": "bin:"},
    ),
    Case("no git program", EMBEDDED, ("embedded: running",), (without_git,), code=0, env={"PATH": "bin:"}),
    Case(
        "no commits",
        EMBEDDED,
        ("embedded: running",),
        (remove(".git"), lambda root: os.system(f"git init -q '{root}'")),
        code=0,
    ),
    Case("no HOME", EMBEDDED, ("embedded: running",), code=0, env={"HOME": None}),
    Case("a HOME that is not there", EMBEDDED, ("embedded: running",), code=0, env={"HOME": "/nowhere"}),
    Case("a TMPDIR that is not there", EMBEDDED, ("embedded: running",), code=0, env={"TMPDIR": "/nowhere"}),
    Case(
        "no USER and no locale",
        EMBEDDED,
        ("embedded: running",),
        code=0,
        env={"USER": None, "LOGNAME": None, "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
    ),
    Case("OMP_NUM_THREADS is a text", f"{RUN} --pipelines=embedded", (), env={"OMP_NUM_THREADS": "many"}, code=0),
    Case(
        "a stray character in the code",
        EMBEDDED,
        ("src/cdm_kedro/data/crop.py, line",),
        (add("src/cdm_kedro/data/crop.py", "def (\n"),),
    ),
    Case(
        "a pipe among the configuration",
        EMBEDDED,
        ("conf/test/parameters_x.yml",),
        (fifo("conf/test/parameters_x.yml"),),
        limit=60,
    ),
]
SHARDS = [
    made("half a weights file", "restored", command=RUN, code=0, steps=(cut(MODEL, 0.5),), broken=(DATA,)),
    made(
        "half a weights file, for sample-class",
        MODEL,
        "kedro run",
        command="kedro sample-class 0 -n 1 --env=test",
        steps=(cut(MODEL, 0.5),),
    ),
    made(
        "an empty weights file, for sample-class",
        MODEL,
        command="kedro sample-class 0 -n 1 --env=test",
        steps=(put(MODEL, ""),),
    ),
    made(
        "a text for a weights file, for sample-class",
        MODEL,
        command="kedro sample-class 0 -n 1 --env=test",
        steps=(put(MODEL, "words" * 99),),
    ),
    made(
        "classes that are no JSON, for sample-class",
        "classes.json",
        command="kedro sample-class 0 -n 1 --env=test",
        steps=(put(f"{DATA}/05_model_input/classes.json", "[1"),),
    ),
    made(
        "classes that are too few, for sample-class",
        "classes.json",
        command="kedro sample-class 9 -n 1 --env=test",
        steps=(put(f"{DATA}/05_model_input/classes.json", '["a"]'),),
    ),
    made(
        "half a data card",
        "restored",
        command=RUN,
        code=0,
        steps=(cut(f"{DATA}/05_model_input/data_card.json", 0.5),),
        broken=(DATA,),
    ),
    made(
        "half a file of training images",
        "restored",
        command=RUN,
        code=0,
        steps=(cut(f"{DATA}/05_model_input/train_32.beton", 0.5),),
        broken=(DATA,),
    ),
    made(
        "no reference",
        "restored",
        command=RUN,
        code=0,
        steps=(remove(f"{DATA}/04_feature/reference.npz"),),
        broken=(DATA,),
    ),
]
CASES = [*OUTPUTS, *RECORDS, *MACHINE, *SHARDS]
