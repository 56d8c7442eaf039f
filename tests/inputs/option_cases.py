"""Options and arguments that are wrong."""

from __future__ import annotations

from bench import Case
from steps import folder, put

RUN = "kedro run --env=test"


def option(words: str, *said: str, code: int = 1, quick: bool = False, made: bool = False) -> Case:
    """A case of `kedro run` with options."""
    return Case(f"kedro run {words}", f"{RUN} {words}", said, code=code, quick=quick, made=made)


def command(
    words: str, *said: str, code: int = 1, quick: bool = False, made: bool = False, steps: tuple = (), **env: str | None
) -> Case:
    """A case of another command."""
    return Case(f"kedro {words}", f"kedro {words}", said, steps, code=code, quick=quick, made=made, env=env)


RUNS = [
    option("--pipelines=cascdae", "cascdae", "cascade", quick=True),
    option("--pipeline=base23", "base23", "base32"),
    option("--pipelines=base32,nothing", "nothing"),
    option("--pipeline=base32 --pipelines=sr64", "cannot be used together"),
    option("--from-nodes=smple", "--from-nodes: smple", "Known are sample.sample_cascade, "),
    option("--to-nodes=base23", "base23", "--to-nodes", "base32"),
    option("--nodes=trian", "trian", "--nodes"),
    option("--to-outputs=metrcs", "metrcs", "--to-outputs", "did you mean metrics"),
    option("--from-inputs=clases", "clases", "--from-inputs", "did you mean classes"),
    option("--tags=hot", "hot", "--tags"),
    option("--namespaces=base23", "base23", "--namespaces", "did you mean base32"),
    option("--runner=SequentialRuner", "SequentialRuner", "--runner", "SequentialRunner", code=2),
    option("--runner=nowhere.Runner", "nowhere.Runner", "--runner", "SequentialRunner", code=2),
    option("--runner=os.path", "os.path", "--runner", "SequentialRunner", code=2),
    option("--runner=pathlib.Path", "pathlib.Path", "--runner", "SequentialRunner", code=2),
    option("--runner-params=a=1", "--runner", "a", code=2),
    option("--params=a", "params", code=2),
    option("--params=nothing.at.all=1", "nothing"),
    option("--params=base32.training.steps=many", "base32.training.steps", "many"),
    option("--params=base32.training.stepz=3", "base32.training.stepz", "steps"),
    option("--params=base32=3", "base32"),
    option("--load-versions=metrics:2020-01-01T00.00.00.000Z", "--load-versions", "dvc checkout", code=2),
    option("--load-versions=metrics", "load_versions"),
    option("--config=gone.yml", "gone.yml", code=2),
    option("--conf-source=gone", "gone", code=2),
    option("--wait=soon", "--wait", "soon", code=2, quick=True),
    option("--wait=-1", "--wait", "-1", code=2),
    option("--forse", "--forse", "--force", code=2),
    option("balloon", "balloon", code=2),
    option("--params=external.samples=gone", "--pipelines=evaluate"),
    option(
        "--pipelines=evaluate --params=external.samples=gone,external.reference=src",
        "external.samples",
        "gone",
        "does not exist",
    ),
    option("--pipelines=evaluate --params=external.sample=src", "external.sample is not a key", "did you mean samples"),
    option("--pipelines=evaluate --params=external.samples=src", "external", "reference"),
    option(
        "--pipelines=evaluate --params=external.samples=src,external.reference=src,external.output=src",
        "external: output src must end in .json",
    ),
    option("--pipelines=evaluate --params=external.samples=src,external.reference=conf", "src", "image"),
    Case("an options file that does not parse", f"{RUN} --config=o.yml", ("o.yml",), (put("o.yml", "run: [1\n"),)),
    Case(
        "an options file with an unknown option",
        f"{RUN} --config=o.yml",
        ("colour",),
        (put("o.yml", "run: {colour: red}\n"),),
    ),
]
COMMANDS = [
    command("rnu", "rnu", code=2),
    command("model-sizes --env=test --num-classes=0", "--num-classes", code=2, quick=True),
    command("model-sizes --env=test --num-classes=-3", "--num-classes", code=2),
    command("model-sizes --env=test --num-classes=many", "--num-classes", "many", code=2),
    command("model-sizes --env=test --tflops=0", "--tflops", code=2, quick=True),
    command("model-sizes --env=test --tflops=-1", "--tflops", code=2),
    command("dvc-yaml --env=test --pipeline=nothing", "nothing", "search_truncation", quick=True),
    command("dvc-yaml --env=test --pipeline=base32", "base32", "no extra pipeline"),
    command("accept base32 --env=test", "--because", code=2),
    command("accept base23 --because=x --env=test", "base23", "base32"),
    command("accept --because=x --env=test", "STAGES", code=2),
    command("accept base32 --because=x --env=test", "dvc/test/dvc.yaml", "does not exist"),
    command("lineage gone", "gone", code=2),
    command("lineage pyproject.toml", "pyproject.toml", "no dvc.lock", quick=True),
    command("lineage /etc/hostname", "/etc/hostname", "outside"),
    command("lineage data", "data", "no dvc.lock", steps=(folder("data"),)),
    command("sample-class balloon --env=test", "classes.json does not exist", "run the stage that makes it"),
    command("sample-class balloon -n 0 --env=test", "-n", code=2),
    command("sample-class balloon -n many --env=test", "many", code=2),
    command("sample-class balloon --seed=x --env=test", "--seed", code=2),
    command("sample-class balloon --env=test --out=pyproject.toml", "pyproject.toml", code=2),
    command("sample-class --env=test", "NAME", code=2),
    command("sample-class ² --env=test", "²", "no class", made=True),
    command("sample-class ballon --env=test", "ballon", "balloon", made=True),
    command("sample-class 999 --env=test", "999", made=True),
    command("sample-class --env=test -- -1", "no class '-1'", "balloon", made=True),
    command("sample-class 0 -n 1 --seed=99999999999999999999999999 --env=test", "--seed", code=2, made=True),
    command("sample-class 0 -n 1 --seed=-5 --env=test", "--seed", code=2, made=True),
    command("sample-class 0 -n 1 --env=test --out=pyproject.toml/below", "pyproject.toml", made=True),
    command("sample-class 0 -n 1 --env=test", "wrote 4 images to samples", made=True, code=0),
    command("parent-run --pipeline=nothing --env=test", "nothing", "cascade"),
    command("parent-run --close=nothing --env=test", "nothing"),
    command("slurm --pipeline=nothing --dry-run --env=test", "nothing", "cascade"),
    command(
        "slurm --dry-run --env=test",
        "slurm.stages.base23",
        "did you mean base32",
        steps=(put("conf/test/parameters_slurm.yml", "slurm: {stages: {base23: {}}}\n"),),
    ),
    command("slurm --env=test", "squeue"),
    command("code-digests", "FOLDER", code=2),
    command("code-digests d nothing.nodes", "nothing.nodes"),
    command("code-digests pyproject.toml embedded", "pyproject.toml"),
    command("replay-runs", "delivered 0", code=0, quick=True),
    command(
        "replay-runs",
        "what is left stays in .scratch/unlogged",
        steps=(put(".scratch/unlogged/a.jsonl", "not JSON\n"),),
    ),
    command(
        "replay-runs", "what is left stays in .scratch/unlogged", steps=(put(".scratch/unlogged/a.jsonl", "{}\n"),)
    ),
]


def evaluate(words: str, *said: str, code: int = 1, steps: tuple = (), quick: bool = False) -> Case:
    """A case of `kedro evaluate-samples`."""
    return command(f"evaluate-samples {words} --env=test", *said, code=code, steps=steps, quick=quick)


def array(path: str, **arrays: object):
    """Save arrays."""

    def step(root) -> None:
        import numpy as np

        np.savez(root / path, **{name: np.asarray(value) for name, value in arrays.items()})

    return step


def pictures(count: int = 3, side: int = 32, kind: str = "uint8"):
    """Pixels."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 255, (count, side, side, 3)).astype(kind)


GOOD = array("good.npz", arr_0=pictures())
EVALUATIONS = [
    evaluate("gone --reference=src", "gone", code=2),
    evaluate("src", "--reference", code=2),
    evaluate("src --reference=gone", "gone", code=2),
    evaluate("conf --reference=good.npz", "conf", "no images", steps=(GOOD,)),
    evaluate("empty --reference=good.npz", "empty", "no images", steps=(GOOD, lambda root: (root / "empty").mkdir())),
    evaluate("pyproject.toml --reference=good.npz", "pyproject.toml", steps=(GOOD,)),
    evaluate("a.npz --reference=good.npz", "a.npz", "not a readable npz", steps=(GOOD, put("a.npz", "text"))),
    evaluate("a.npz --reference=good.npz", "a.npz", steps=(GOOD, put("a.npz", b""))),
    evaluate("a.npz --reference=good.npz", "a.npz", "no array arr_0", steps=(GOOD, array("a.npz", x=[1]))),
    evaluate("a.npz --reference=good.npz", "a.npz", "arr_0", steps=(GOOD, array("a.npz", arr_0=[1, 2]))),
    evaluate(
        "a.npz --reference=good.npz", "a.npz", "uint8", steps=(GOOD, array("a.npz", arr_0=pictures(kind="float32")))
    ),
    evaluate("a.npz --reference=good.npz", "a.npz", "Python objects", steps=(GOOD, array("a.npz", arr_0=[{}, {}]))),
    evaluate("a.npz --reference=good.npz", "a.npz", steps=(GOOD, array("a.npz", arr_0=pictures(0)))),
    evaluate(
        "a.npz --reference=good.npz",
        "good.npz: 3 image(s) are too few to score",
        steps=(GOOD, array("a.npz", arr_0=pictures(1))),
    ),
    evaluate(
        "a.npz --reference=good.npz",
        "a.npz",
        "(N, H, W, 3)",
        steps=(GOOD, array("a.npz", arr_0=pictures().transpose(0, 3, 1, 2))),
    ),
    evaluate("a.beton --reference=good.npz", "a.beton", steps=(GOOD, put("a.beton", b"x" * 9999))),
    evaluate("good.npz --reference=r.npz", "r.npz", "mu", steps=(GOOD, array("r.npz", mu=[1.0, 2.0]))),
    evaluate(
        "good.npz --reference=r.npz",
        "r.npz",
        "statistics of 2 dimensions",
        steps=(GOOD, array("r.npz", mu=[1.0, 2.0], sigma=[[1.0, 0.0], [0.0, 1.0]])),
    ),
    evaluate(
        "good.npz --reference=r.npz",
        "r.npz",
        steps=(GOOD, array("r.npz", mu=[float("nan")] * 1280, sigma=[[float("nan")] * 1280] * 1280)),
    ),
    evaluate(
        "good.npz --reference=good.npz --extractor=inceptoin2015",
        "inceptoin2015",
        "inception2015",
        steps=(GOOD,),
        quick=True,
    ),
    evaluate("good.npz --reference=good.npz --extractor=inception2015", "inception2015 needs weights", steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --extractor=inception2015 --weights=gone", "gone", steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --extractor=inception2015 --weights=good.npz", "good.npz", steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --size=33", "33", "size", steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --batch-size=0", "evaluate.batch_size is 0", steps=(GOOD,), quick=True),
    evaluate("good.npz --reference=good.npz --max-images=-1", "evaluate.max_images is -1", steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --input-side=0", "evaluate.input_side is 0", steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --output=src", "src", "directory", code=2, steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --output=pyproject.toml/a", "pyproject.toml", steps=(GOOD,)),
    evaluate("good.npz --reference=good.npz --output=/proc/a.json", "/proc", steps=(GOOD,)),
    command("reference-statistics good.npz -o a.json", "a.json", ".npz", steps=(GOOD,)),
    command("reference-statistics good.npz -o src", "src", "directory", code=2, steps=(GOOD,)),
    command("reference-statistics good.npz -o d.npz", "d.npz", "directory", code=2, steps=(GOOD, folder("d.npz"))),
    command("reference-statistics gone -o a.npz", "gone", code=2),
    command("reference-statistics good.npz -o good.npz", "good.npz", steps=(GOOD,)),
]
CASES = [*RUNS, *COMMANDS, *EVALUATIONS]
