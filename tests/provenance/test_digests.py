"""What counts as a change of code: what can change an output, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.digests import NO_EFFECT, PACKAGE, digest, normalized, source_files, write_digests

SOURCE = Path(__file__).parents[2] / "src"
PLAIN = """import os
X = 3
def f(a, b={}, *c):
    z = f"a{b!r:>{a}} {'x'}"
    return [a, b]
class A(B):
    ü: int = 3
    k: str
    def g(self, x):
        return -1
"""
DRESSED = '''"""Module."""
from __future__ import annotations
from typing import TYPE_CHECKING, Any
import os
if TYPE_CHECKING:
    import torch
    from x import Y

X: int = 3  # three


def f(a: int, b: dict[str, int]={}, *c: Any) -> list[int]:
    """Doc ü."""
    # a comment
    y: int
    z: str = f"a{b!r:>{a}} {'x'}"

    return [a,
       b]
class A(B):
    """Class."""
    ü: int = 3
    """A field."""
    k: str

    def g(self, x: "Y | None") -> None:
        return (
            -1
        )
'''


def test_what_has_no_effect_is_cut_out() -> None:
    plain = normalized(PLAIN)
    assert normalized(DRESSED) == plain
    assert normalized(PLAIN.replace("ü: int", "ü: str")) != plain  # pydantic reads the fields of classes
    assert normalized(PLAIN + "# a comment\n\n'a string that nobody reads'\n") == plain


@pytest.mark.parametrize(
    ("old", "new"),
    [("X = 3", "X = 4"), ("!r", "!s"), ("[a, b]", "[b, a]"), ("k: str", "k: int"), ("b={}", "b=None"), ("-1", "+1")],
)
def test_what_has_an_effect_counts(old: str, new: str) -> None:
    assert PLAIN.count(old) == 1
    assert normalized(PLAIN.replace(old, new)) != normalized(PLAIN)


def test_signatures_of_nodes_count_because_kedro_reads_them() -> None:
    one, other = "def node(params: A): ...", "def node(params: B): ..."
    assert normalized(one) == normalized(other)
    assert normalized(one, keep_signatures=True) != normalized(other, keep_signatures=True)


def test_every_python_version_gives_the_same_text() -> None:
    script = (
        "import sys, pathlib, hashlib; from cdm_kedro.provenance.digests import normalized\n"
        "texts = [normalized(p.read_text()) for p in sorted(pathlib.Path(sys.argv[1]).rglob('*.py'))]\n"
        "print(hashlib.sha256(repr(texts).encode()).hexdigest())"
    )
    found = {}
    versions = [Path(p) for p in Path.home().glob(".pyenv/versions/3.1[0-3].*/bin/python")]
    for python in [Path(sys.executable), *versions]:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
        done = subprocess.run([python, "-c", script, SOURCE], env=env, capture_output=True, text=True, check=True)
        found[str(python)] = done.stdout
    assert len(set(found.values())) == 1, found


def test_a_module_without_effect_reaches_none_that_has_one() -> None:
    """What is left out must not lead, alone, to code that changes outputs."""
    nodes = SOURCE / PACKAGE / "pipelines"
    modules = [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in sorted(nodes.rglob("*.py"))
        if path.name not in ("__init__.py", "pipeline.py")
    ]
    reached = {path for module in modules for path in source_files(module, SOURCE)}
    names = {".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in reached}
    assert not [name for name in names if any(name == m or name.startswith(f"{m}.") for m in NO_EFFECT)]
    for module in NO_EFFECT:
        assert (
            SOURCE.joinpath(*module.split(".")).with_suffix(".py").exists()
            or SOURCE.joinpath(*module.split(".")).is_dir()
        ), module
    assert "cdm_kedro.training.speed" in NO_EFFECT  # the table of peaks
    assert {"cdm_kedro.training.worker", "cdm_kedro.training.trainer", "cdm_kedro.model.unet"} <= names


def test_a_digest_names_its_files_and_is_written_once(tmp_path: Path) -> None:
    module = "cdm_kedro.pipelines.train.nodes"
    lines = digest(module, SOURCE).splitlines()
    assert any(line.endswith("  cdm_kedro/model/unet.py") for line in lines) and lines == sorted(
        lines, key=lambda x: x[34:]
    )
    write_digests(tmp_path, [module], SOURCE)
    file = tmp_path / "train.nodes.txt"
    before = file.stat()
    write_digests(tmp_path, [module], SOURCE)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    (tmp_path / "src/cdm_kedro").mkdir(parents=True)
    (tmp_path / "src/cdm_kedro/broken.py").write_text("x = (\n")
    with pytest.raises(CdmError, match=r"broken.py, line 1"):
        digest("cdm_kedro.broken", tmp_path / "src")


def test_templates_and_tables_beside_a_module_count_as_its_code() -> None:
    files = {path.name for path in source_files("cdm_kedro.pipelines.table.write", SOURCE)}
    assert {"page.html.j2", "paper.csv", "paper.py"} <= files
    assert "paper.csv" not in {path.name for path in source_files("cdm_kedro.pipelines.train.nodes", SOURCE)}
