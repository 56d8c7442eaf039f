"""What src imports is declared in pyproject.toml, what is declared is used, and all of it is pinned."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions

import pytest
from packaging.specifiers import SpecifierSet

from project import ROOT

tomllib = pytest.importorskip("tomllib")  # of Python 3.11

COMMANDS = {"kedro-viz"}  # used as commands, imported nowhere


def normal(name: str) -> str:
    """The name of a distribution in PyPI's normal form, without its version."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[ ;]", name)[0]).lower()


def imported() -> set[str]:
    """Top-level packages, other than the standard library's, that any module of src imports anywhere."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"cdm_kedro"}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normal(name) for name in project["dependencies"]}
    optional = {normal(name) for extra in ("gpu", "playground") for name in project["optional-dependencies"][extra]}
    distributions = packages_distributions()
    makers = {name: {normal(maker) for maker in distributions[name]} for name in imported()}
    assert not {name for name, made_by in makers.items() if not made_by & (declared | optional)}
    assert declared - COMMANDS <= set().union(*makers.values())
    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    extras = {normal(name) for name in project["optional-dependencies"]["dev"]}
    assert declared | extras | optional <= pinned


def test_the_pinned_packages_run_on_the_python_of_debian_12() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name = line.partition("==")[0].strip()
        try:
            needs = metadata(name).get("Requires-Python") if "==" in line and not line.startswith("#") else None
        except PackageNotFoundError:
            continue  # of an extra that is not installed here
        assert SpecifierSet(needs or "").contains("3.11.2"), f"{line} needs Python {needs}"
