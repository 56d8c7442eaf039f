"""Configuration that is wrong: YAML that does not parse, values, places, environments."""

from __future__ import annotations

from bench import Case
from steps import add, fifo, folder, link, put, remove, swap

RUN = "kedro run --pipelines=cascade --env=test"
PARAMETERS, GLOBALS, CATALOG = "conf/test/parameters.yml", "conf/test/globals.yml", "conf/base/catalog.yml"
SR64 = "conf/base/parameters_sr64.yml"


def yaml(
    name: str, content: str | bytes, *said: str, path: str = PARAMETERS, quick: bool = False, code: int = 1
) -> Case:
    """A case in which a text is appended to a YAML file."""
    return Case(name, RUN, (path, *said), (add(path, content),), quick=quick, code=code)


YAML = [
    yaml("an open bracket", "extra: [1, 2\n", "line", quick=True),
    yaml("a tab for indentation", "extra:\n\tkey: 1\n", "line", "tab", quick=True),
    yaml("a tag of Python's", "extra: !!python/object:os.system {}\n", "line", "tag", quick=True),
    yaml("a tag of one's own", "extra: !env HOME\n", "line", "tag"),
    yaml("a key that is there twice", "grids: {columns: 2}\n", "line", "grids", quick=True),
    yaml("a key that is there twice, further in", "extra: {a: 1, a: 2}\n", "line", "a"),
    yaml("an interpolation of nothing", "extra: ${nothing}\n", "extra is not a key"),
    yaml("an unknown resolver", "extra: ${oc.env:HOME}\n", "extra is not a key"),
    yaml("a global that is not there", "extra: ${globals:nothing}\n", "extra is not a key"),
    yaml("an open interpolation", "extra: '${nothing'\n"),
    yaml("a list as a key", "? [a]\n: 1\n", "line", quick=True),
    yaml("a mapping as a key", "{a: 1}: 2\n", "line"),
    yaml("an unknown anchor", "extra: *nothing\n", "line", "alias"),
    yaml("an anchor that holds itself", "grids: &a {columns: *a}\n", "line"),
    yaml("a merge of a number", "extra: {<<: 3}\n", "line"),
    yaml("two documents", "---\nextra: 1\n", "line", "document"),
    yaml("a zero byte", b"extra: a\0b\n", quick=True),
    yaml("not UTF-8", b"extra: caf\xe9\n", "UTF-8", quick=True),
    yaml("a colon too many", "extra: a: b\n", "line"),
    yaml("a quote that never ends", "extra: 'a\n", "line"),
    yaml("a number as a key", "1: 2\n", "1"),
    yaml("nothing as a key", "~: 2\n"),
    yaml("a truth value as a key", "on: 2\n"),
    yaml("a date for a number", "grids: {columns: 2020-01-01}\n", "grids"),
    Case(
        "a list where a mapping belongs", RUN, (PARAMETERS, "mapping", "list"), (put(PARAMETERS, "- a\n"),), quick=True
    ),
    Case("a text where a mapping belongs", RUN, (PARAMETERS, "mapping", "str"), (put(PARAMETERS, "words\n"),)),
    Case("UTF-16", RUN, (PARAMETERS, "UTF-8"), (put(PARAMETERS, "cascade: {}\n".encode("utf-16")),)),
    Case(
        "a parameter file that is a folder", RUN, (f"{PARAMETERS[:-4]}_x.yml",), (folder(f"{PARAMETERS[:-4]}_x.yml"),)
    ),
    Case(
        "a parameter file that is a broken link",
        RUN,
        (f"{PARAMETERS[:-4]}_x.yml",),
        (link(f"{PARAMETERS[:-4]}_x.yml", "gone"),),
    ),
    Case(
        "a parameter file that is a looping link",
        RUN,
        (f"{PARAMETERS[:-4]}_x.yml",),
        (link(f"{PARAMETERS[:-4]}_x.yml", "parameters_x.yml"),),
    ),
    Case(
        "a key in two files of an environment",
        RUN,
        ("grids", "parameters_x.yml", "parameters.yml"),
        (put("conf/test/parameters_x.yml", "grids: {columns: 3}\n"),),
    ),
    Case(
        "parameters in a file that DVC does not read",
        RUN,
        ("parameters_x.yaml", "DVC would not see it", "parameters_x.yml"),
        (
            put("conf/local/parameters_x.yaml", "x: 1\n"),
            put("conf/test/parameters_x.yaml", "embedded: {train_per_class: 4}\n"),
        ),
    ),
    yaml("globals with an open bracket", "extra: [1\n", "line", path=GLOBALS, quick=True),
    yaml("globals that are not UTF-8", b"extra: caf\xe9\n", "UTF-8", path=GLOBALS),
    Case(
        "globals with an unknown interpolation",
        RUN,
        ("Interpolation key 'nothing' not found", "full_key: extra"),
        (add(GLOBALS, "extra: ${nothing}\n"),),
    ),
    yaml("globals with a key twice", "root: other\n", "line", "root", path=GLOBALS),
    Case("globals that are a list", RUN, (GLOBALS, "mapping", "list"), (put(GLOBALS, "- a\n"),), quick=True),
    yaml("a catalog with an open bracket", "extra: [1\n", "line", path=CATALOG),
    yaml("a catalog with a key twice", "metrics: {type: a}\n", "line", "metrics", path=CATALOG),
    yaml("a catalog that is not UTF-8", b"extra: caf\xe9\n", "UTF-8", path=CATALOG),
    yaml("a dataset without a type", "extra: {filepath: a}\n", "extra", path=CATALOG),
    Case(
        "a dataset of an unknown type",
        RUN,
        ("metrics", "JSNDataset"),
        (
            swap(
                CATALOG,
                "metrics:\n  type: cdm_kedro.datasets.JSONDataset",
                "metrics:\n  type: cdm_kedro.datasets.JSNDataset",
            ),
        ),
    ),
    Case(
        "a dataset with an unknown argument",
        RUN,
        ("metrics", "filpath"),
        (
            swap(
                CATALOG,
                "filepath: ${globals:root}/08_reporting/metrics.json",
                "filpath: ${globals:root}/08_reporting/metrics.json",
            ),
        ),
    ),
    Case(
        "a dataset whose global is misspelt",
        RUN,
        ("metrics.filepath", "rot", "catalog*.yml"),
        (swap(CATALOG, "${globals:root}/08_reporting/metrics.json", "${globals:rot}/08_reporting/metrics.json"),),
    ),
    Case(
        "an unknown kind for DVC",
        RUN,
        ("metrics", "metric"),
        (swap(CATALOG, "dvc: {kind: metrics}", "dvc: {kind: metric}"),),
    ),
    Case("no catalog", RUN, ("conf/base", "catalog"), (remove(CATALOG),)),
    Case(
        "no parameters for the cascade",
        RUN,
        ("cascade", "missing"),
        (
            remove("conf/base/parameters_cascade.yml"),
            swap(PARAMETERS, "cascade:\n  stages: [base32, sr64, sr128, sr256]\n", ""),
        ),
    ),
    Case(
        "line ends of Windows",
        "kedro model-sizes --env=test",
        ("base32",),
        (lambda root: put(PARAMETERS, (root / PARAMETERS).read_bytes().replace(b"\n", b"\r\n"))(root),),
        code=0,
    ),
    Case(
        "a byte order mark",
        "kedro model-sizes --env=test",
        ("base32",),
        (lambda root: put(PARAMETERS, b"\xef\xbb\xbf" + (root / PARAMETERS).read_bytes())(root),),
        code=0,
    ),
]


def value(name: str, old: str, new: str, *said: str, quick: bool = False) -> Case:
    """A case in which a value of conf/test is another."""
    return Case(name, RUN, (PARAMETERS, *said), (swap(PARAMETERS, old, new),), quick=quick)


VALUES = [
    value("a truth value for a number", "steps: 6", "steps: yes", "base32.training: steps is True", "write a number"),
    value("a negative number of steps", "steps: 6", "steps: -6", "base32.training.steps is -6"),
    value("no steps", "steps: 6", "steps: 0", "base32.training.steps is 0"),
    value("not a number", "ema_decay: 0.9", "ema_decay: .nan", "base32.training.ema_decay is nan", quick=True),
    value("infinity", "ema_decay: 0.9", "ema_decay: .inf", "base32.training.ema_decay"),
    Case(
        "a power of ten",
        "kedro model-sizes --env=test",
        ("base32",),
        (swap(PARAMETERS, "steps: 6", "steps: 1e1"),),
        code=0,
    ),
    value("a list for a number", "steps: 6", "steps: [6]", "base32.training.steps is [6]"),
    Case(
        "an interpolation in a text",
        RUN,
        ("'nothing'", "report.title"),
        (swap(PARAMETERS, 'title: "Tiny cascade"', "title: '${nothing}'"),),
    ),
    value("no for a text", 'title: "Tiny cascade"', "title: no", "report: title is False"),
    value(
        "a model without a network",
        "  unet: {channels: 8, channel_mult: [1, 2], num_res_blocks: 1, attention_resolutions: [16]}\n",
        "",
        "base32.unet is missing",
    ),
    value(
        "a network without channels",
        "unet: {channels: 8, channel_mult: [1, 2], num_res_blocks: 1, att",
        "unet: {channel_mult: [1, 2], num_res_blocks: 1, att",
        "base32.unet.channels is missing",
    ),
    value(
        "a resolution that no file has",
        "resolution: 32\n",
        "resolution: 48\n",
        "sr64.low_resolution is 32, but base32 models 48-pixel images",
    ),
    value(
        "two models of one resolution",
        "sr128:\n  resolution: 128",
        "sr128:\n  resolution: 64",
        "sr128.resolution is 64, which sr64 has too",
    ),
    value("a cascade of nothing", "stages: [base32, sr64, sr128, sr256]", "stages: []", "cascade.stages"),
    value(
        "a cascade that is a text",
        "stages: [base32, sr64, sr128, sr256]",
        "stages: base32",
        "cascade.stages is 'base32'",
    ),
    value("a model that is a number", "grids: {columns: 1}", "grids: 3", "grids is 3"),
    value(
        "a search of a model that is none",
        "search_truncation:\n  stage: sr64",
        "search_truncation:\n  stage: sr46",
        "search_truncation",
        "sr46",
    ),
    value(
        "more samples at once than none",
        "num_samples: 10\n  batch_size: 10\n  stages:\n    base32: {steps: 4}",
        "num_samples: 0\n  batch_size: 10\n  stages:\n    base32: {steps: 4}",
        "sample.num_samples is 0",
    ),
    value(
        "an unknown sampler",
        "base32: {steps: 4}",
        "base32: {steps: 4, sampler: ddmi}",
        "sample.stages.base32.sampler is 'ddmi'",
    ),
    value("sampling of a model that is none", "base32: {steps: 4}", "base23: {steps: 4}", "sample.stages", "base23"),
    value(
        "more sampling steps than trained", "base32: {steps: 4}", "base32: {steps: 400}", "sample.stages.base32", "400"
    ),
    value(
        "preprocessing with too few sizes",
        "preprocess: {workers: 2}",
        "preprocess: {workers: 2, resolutions: [32]}",
        "preprocess.resolutions",
        "64",
    ),
    value("minus one worker", "preprocess: {workers: 2}", "preprocess: {workers: -1}", "preprocess.workers is -1"),
    value("JPEGs of 200 %", "jpeg_quality: 90", "jpeg_quality: 200", "embedded.jpeg_quality is 200"),
    value(
        "weights that are not there",
        "base32:\n  resolution: 32",
        "base32:\n  pretrained: {file: gone.pt}\n  resolution: 32",
        "base32",
    ),
    value(
        "a report of what is not made",
        'report: {title: "Tiny cascade"}',
        "report: {include: [caas]}",
        "report.include",
        "caas",
    ),
]


def places(
    name: str, content: str, *said: str, quick: bool = False, code: int = 1, more: tuple = (), env: str = "test"
) -> Case:
    """A case with another conf/test/globals.yml."""
    return Case(
        name,
        f"kedro run --pipelines=cascade --env={env}",
        said,
        (put(f"conf/{env}/globals.yml", content), *more),
        code=code,
        quick=quick,
    )


def at(root: str) -> str:
    """Globals with the embedded images below a root."""
    return f"images: {root}/01_raw/embedded\nroot: {root}\n"


IMAGES = "images: data/env/test/01_raw/embedded\n"
PLACES = [
    places("root is nothing", f"{IMAGES}root:\n", GLOBALS, "root"),
    places("root is missing", IMAGES, GLOBALS, "root"),
    places("root is an empty text", f"{IMAGES}root: ''\n", GLOBALS, "root"),
    places("root is a number", f"{IMAGES}root: 7\n", GLOBALS, "root"),
    places("root is a list", f"{IMAGES}root: [data]\n", GLOBALS, "root"),
    places(
        "root of another environment",
        "images: data/01_raw/embedded\nroot: data\n",
        GLOBALS,
        "root",
        "conf/base/globals.yml",
    ),
    places(
        "root of another environment, in other words",
        f"{IMAGES}root: ./data/env/../env/claim/\n",
        GLOBALS,
        "root",
        "conf/claim/globals.yml",
    ),
    places("root outside the project", f"{IMAGES}root: ../elsewhere\n", GLOBALS, "root", "outside"),
    places("root outside the project, absolute", f"{IMAGES}root: /tmp/elsewhere\n", GLOBALS, "root", "outside"),
    places("root is a home folder's", f"{IMAGES}root: ~/elsewhere\n", GLOBALS, "root"),
    places("root is the project", f"{IMAGES}root: .\n", GLOBALS, "root"),
    places("root is the code", f"{IMAGES}root: src\n", GLOBALS, "root"),
    places("root is the configuration", f"{IMAGES}root: conf/test\n", GLOBALS, "root"),
    places(
        "root leads outside by a link",
        at("linked"),
        GLOBALS,
        "root",
        more=(put("../outside/x", ""), link("linked", "../outside")),
    ),
    places("root is a file", at("file"), "cdm/file: a file, where a folder belongs", more=(put("file", "mine\n"),)),
    places(
        "root lies in a file",
        at("file/below"),
        "cdm/file: a file, where a folder belongs",
        more=(put("file", "mine\n"),),
    ),
    places(
        "root is a broken link", at("linked"), "cdm/linked: a link that leads nowhere", more=(link("linked", "gone"),)
    ),
    places(
        "root is a looping link",
        at("linked"),
        "cdm/linked: a link that leads nowhere",
        more=(link("linked", "linked"),),
    ),
    places("images is nothing", "images:\nroot: data/env/test\n", GLOBALS, "images"),
    places("images is a number", "images: 7\nroot: data/env/test\n", GLOBALS, "images"),
    places("images is missing and base's are not there", "root: data/env/test\n", "data/01_raw/embedded"),
    places(
        "images is a misspelt folder",
        "images: photos\nroot: data/env/test\n",
        "photos",
        "no such folder",
        "globals.yml",
        quick=True,
    ),
    places("images are the outputs", "images: data/env/test\nroot: data/env/test\n", "data/env/test", "no such folder"),
    places("images is a file", "images: pyproject.toml\nroot: data/env/test\n", "pyproject.toml", "not a folder"),
    places(
        "images is a broken link",
        "images: photos\nroot: data/env/test\n",
        "photos",
        "leads nowhere",
        more=(link("photos", "gone"),),
    ),
    places(
        "images is a looping link",
        "images: photos\nroot: data/env/test\n",
        "photos",
        "link",
        more=(link("photos", "photos"),),
    ),
    places("images is a pipe", "images: photos\nroot: data/env/test\n", "photos", more=(fifo("photos"),)),
    places("globals name no images in a misspelt key", "imags: photos\nroot: data/env/test\n", "imags"),
    Case(
        "no globals at all", RUN, ("conf/test/globals.yml", "root"), (remove(GLOBALS), remove("conf/base/globals.yml"))
    ),
    Case("an environment without globals", RUN, ("conf/test/globals.yml", "root"), (remove(GLOBALS),)),
]


def env(command: str, *said: str, quick: bool = False, **more: str | None) -> Case:
    """A case with an environment that is none."""
    return Case(f"an unknown environment for {command}", command, said, env=more, quick=quick)


ENVIRONMENTS = [
    env("kedro run --env=tset", "tset", "did you mean test", "claim", quick=True),
    env("kedro run --pipelines=base32 --env=zzz", "zzz", "claim, "),
    env("kedro dvc-yaml --env=tset", "tset", "test", quick=True),
    env("kedro model-sizes --env=tset", "tset", "test", quick=True),
    env("kedro sample-class balloon --env=tset", "tset", "test"),
    env("kedro accept base32 --because=x --env=tset", "tset", "test"),
    env("kedro parent-run --env=tset", "tset", "test"),
    env("kedro slurm --dry-run --env=tset", "tset", "test"),
    env("kedro evaluate-samples src --reference=src --env=tset", "tset", "test"),
    env("kedro run --env=../conf/test", "../conf/test", "test"),
    env("kedro run --env=/tmp", "/tmp", "test"),
    env("kedro run --env=logging.yml", "logging.yml", "test"),
    env("kedro model-sizes", "tset", "test", KEDRO_ENV="tset"),
    env("kedro run", "tset", "test", KEDRO_ENV="tset"),
    env("kedro registry list", "tset", "test", KEDRO_ENV="tset"),
]
CASES = [*YAML, *VALUES, *PLACES, *ENVIRONMENTS]
