"""What the documentation says can be typed and found: commands parse, names exist, and tiny ones run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from project import ROOT, Project

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)  # of any language, or the end of one passes for a beginning
_SPAN = re.compile(r"`((?:kedro|dvc) [^`\n]+)`")

# Command of the docs to what is run on the tiny cascade, which is complete; {} is its data folder.
TINY = {
    "kedro run --pipeline=cascade": ["kedro run --pipeline=cascade --env=test"],
    "kedro run --pipeline=cascade --env=test": ["kedro run --pipeline=cascade --env=test"],
    "kedro run --pipelines=cascade --env=test": ["kedro run --pipelines=cascade --env=test"],
    "kedro run --pipeline=sr64": ["kedro run --pipeline=sr64 --env=test"],
    "kedro lineage data/08_reporting/samples_64.png": ["kedro lineage {}/08_reporting/samples_64.png"],
    "kedro model-sizes --env=imagenet": ["kedro model-sizes --env=test"],
    "kedro dvc-yaml": ["kedro dvc-yaml --env=test", "kedro dvc-yaml --env=test --check"],
    "kedro registry list": ["kedro registry list"],
    "kedro replay-runs": ["kedro replay-runs"],
    "kedro slurm --env=imagenet --dry-run": ["kedro slurm --env=test --dry-run"],
    "kedro sample-class cottage -n 8 --seed 1 --out pictures": [
        "kedro sample-class cottage -n 1 --seed 1 --out pictures --env=test"
    ],
    "kedro reference-statistics data/05_model_input/train_64.beton -o train_64.npz": [
        "kedro reference-statistics {}/05_model_input/val_64.beton -o val_64.npz --env=test",
        "kedro evaluate-samples {}/07_model_output/samples_64.npz --reference val_64.npz -o scores.json --env=test",
    ],
    'kedro accept base32 sr64 --because "the constant moved to another module"': [
        'kedro accept base32 sr64 --because "the constant moved to another module" --env=test'
    ],
    "dvc unprotect FILE": ["dvc unprotect {}/08_reporting/samples_64.png"],
    "dvc status": ["dvc status dvc/test/dvc.yaml"],
    "dvc repro dvc/test/dvc.yaml": ["dvc repro dvc/test/dvc.yaml"],
    "dvc exp show": ["dvc exp show --no-pager"],
    "dvc gc --workspace": ["dvc gc --workspace --force"],
}

SLOW = {  # the same for commands that take minutes; `make test-accidents` runs them
    "kedro run --pipeline=cas": ["kedro run --pipeline=cas --env=test"],
    "kedro run --pipeline=figure5 --env=imagenet": ["kedro run --pipeline=figure5 --env=test"],
    "kedro run --pipeline=table1 --env=imagenet": ["kedro run --pipeline=table1 --env=test"],
    "kedro run --pipeline=search_steps": ["kedro run --pipeline=search_steps --env=test"],
    "kedro run --pipeline=figure8 --env=imagenet": ["kedro run --pipeline=figure8 --env=test"],
    "kedro run --pipeline=search_schedule": ["kedro run --pipeline=search_schedule --env=test"],
    "kedro run --pipelines=register --force": ["kedro run --pipelines=register --force --env=test"],
    "kedro evaluate-samples generated/ --reference data/01_raw/imagenet/val --size 64 -o scores.json": [
        "kedro evaluate-samples {}/01_raw/embedded/train --reference {}/01_raw/embedded/val --size 64 -o folders.json"
        " --env=test --max-images=12"
    ],
    "kedro parent-run": ["kedro parent-run --env=test"],
    "dvc repro -f sr64": ["dvc repro -f dvc/test/dvc.yaml:sr64"],
}
ELSEWHERE = {  # the tests that run the others
    "dvc exp run": "provenance/test_two_doors.py",
    "dvc pull": "provenance/test_two_doors.py",
    "dvc push": "provenance/test_two_doors.py",
    "dvc remote": "provenance/test_two_doors.py",
    "kedro airflow": "deployment/test_airflow.py",
    "kedro estimate": "cli/test_estimate.py",
    "kedro inspect-images": "cli/test_inspect_images.py",
    "kedro jupyter": "cli/test_jupyter.py",
    "kedro package": "deployment/test_package.py",
    "kedro playground": "interfaces/test_browser.py",
    "kedro run base32": "provenance/test_edits.py",
    "kedro run claim": "studies/claim/test_claim_project.py",
    "kedro run evaluate": "provenance/test_external_project.py",
    "kedro run likelihood": "evaluation/test_likelihood_project.py",
    "kedro run sample": "pipelines/test_search.py",
    "kedro run search_truncation": "pipelines/test_search.py",
    "kedro run table3": "pipelines/test_table.py",
    "kedro server": "provenance/test_other_doors.py",
    "kedro side-by-side": "cli/test_sampling.py",
    "kedro upsample": "cli/test_sampling.py",
}
NOT_TINY = {  # why no test runs them
    "dvc cache": "moves the cache of DVC",
    "dvc commit": "is named, not advised",
    "dvc config": "sets an option of DVC",
    "kedro run ablations": "models that the tiny cascade does not have",
    "kedro run flips": "models that the tiny cascade does not have",
    "kedro run table2": "models that the tiny cascade does not have",
    "kedro run table4": "models that the tiny cascade does not have",
}


def kind(command: str) -> str:
    """A command without its options, but with the pipeline that it runs."""
    words = [word for word in command.split() if not word.startswith("-")]
    pipeline = re.search(r"--pipelines?=(\w+)", command)
    if words[1] == "run":
        return f"kedro run {pipeline[1] if pipeline else ''}".strip()
    return " ".join(words[: 3 if words[1] == "exp" else 2])


def commands(text: str) -> list[str]:
    """The kedro and dvc commands of a page: in blocks, and in words."""
    found = _SPAN.findall(text)
    for language, block in _FENCE.findall(text):
        if language not in ("", "console", "sh"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            found.append(line.removeprefix("$ ").split("  #")[0].split(" # ")[0].strip())
    words = (re.sub(r"\s+", " ", command) for command in found)
    return [command for command in words if command.startswith(("kedro ", "dvc "))]


ALL = sorted({command for page in PAGES for command in commands(page.read_text(encoding="utf-8"))})


def test_every_kedro_and_dvc_command_of_the_docs_has_these_options() -> None:
    import click
    from dvc.cli.parser import get_main_parser
    from kedro.framework.cli.cli import KedroCLI
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(ROOT)
    kedro, parser, wrong = KedroCLI(ROOT), get_main_parser(), []
    context = click.Context(kedro)
    for command in ALL:
        words = shlex.split(re.sub(r"…|<[^>]*>", "x", command))
        if words[0] == "dvc":
            try:
                parser.parse_args([*words[1:], *(["x=1"] if words[-1] == "-S" else [])])
            except SystemExit:
                wrong.append(command)
            continue
        group, at = kedro, 1
        found = group.get_command(context, words[at])
        while isinstance(found, click.Group) and at + 1 < len(words):
            at, group = at + 1, found
            found = group.get_command(context, words[at])
        if found is None:
            wrong.append(command)
            continue
        known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words[at + 1 :] if word.startswith("-") and len(word) > 1}
        wrong += [f"{command}: {sorted(given - known)}"] if given - known - {"--help"} else []
        environment = next((word.partition("=")[2] for word in words if word.startswith("--env=")), "base")
        wrong += [] if environment == "x" or (ROOT / "conf" / environment).is_dir() else [command]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    named = set(re.findall(r"`((?:src|conf|tests|benchmarks|docs|packaging)/[\w./-]*\w)`", text))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_our_messages_in_troubleshooting_are_in_the_code() -> None:
    foreign = {
        "Package opencv4 was not found", "operator torchvision::nms", "No module named", "Permission denied",
        "torch.OutOfMemoryError", "Killed", "address already in use",
    }  # fmt: skip
    sources = [*(ROOT / "src").rglob("*.py"), ROOT / "packaging/setup.sh"]
    code = " ".join(path.read_text(encoding="utf-8") for path in sources)
    code = re.sub(r"\"\s*\n\s*f?\"|[`']", "", code)
    entries = re.findall(r"^### (.*)$", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.M)
    assert len(entries) >= 20
    for entry in entries:
        quoted = re.search(r"`([^`]*)`", entry)
        if quoted is None or any(words in entry for words in foreign):
            continue
        pieces = [piece.strip(" ,;:.()") for piece in quoted[1].replace("(…)", "…").split("…")]
        assert all(piece in code for piece in pieces), entry


def test_every_command_of_the_docs_is_run_by_a_test() -> None:
    assert not (set(TINY) | set(SLOW)) - set(ALL), "the docs no longer have these"
    here = {kind(command) for command in (*TINY, *SLOW, "kedro run")}
    for command in {kind(command) for command in ALL} - here - set(NOT_TINY):
        assert command in ELSEWHERE, f"{command}: run it on the tiny cascade in TINY"
        assert command.split()[-1] in (ROOT / "tests" / ELSEWHERE[command]).read_text(encoding="utf-8")


def run(project: Project, tiny: dict[str, list[str]]) -> None:
    for command in dict.fromkeys(one for several in tiny.values() for one in several):
        project(*shlex.split(command.replace("{}", "data/env/test")))


@pytest.mark.e2e
def test_commands_of_the_docs_run_on_the_tiny_cascade(project: Project) -> None:
    run(project, TINY)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_slow_commands_of_the_docs_run_on_the_tiny_cascade(project: Project) -> None:
    run(project, SLOW)
