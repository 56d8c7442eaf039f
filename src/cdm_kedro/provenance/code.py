"""Which source files a node really depends on: its module and everything of this package that it imports."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "cdm_kedro"
# Changing how runs are tracked or wired changes no output; wiring shows in dvc.yaml itself.
NOT_LINEAGE = (f"{PACKAGE}.provenance", f"{PACKAGE}.tracking")


def _module_file(module: str, source: Path) -> Path | None:
    base = source.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "RUNS_MODULES" for t in node.targets
        ):
            found.update(ast.literal_eval(node.value))  # modules started as processes of their own
    return {name for name in found if name == PACKAGE or name.startswith(PACKAGE + ".")}


def source_files(function: Callable[..., Any], source: Path) -> list[Path]:
    """Files whose change makes a node's output stale.

    Follows imports statically, inside functions too, and counts the ``__init__`` of every package on the way and
    templates that lie beside a module under its name.

    Args:
        function: the node's function.
        source: folder that holds the package.

    Returns:
        Sorted paths.
    """
    todo, seen, files = [function.__module__], set(), set()
    while todo:
        module = todo.pop()
        if module in seen or module.startswith(NOT_LINEAGE):
            continue
        seen.add(module)
        path = _module_file(module, source)
        if path is None:  # a name inside a module, or a module of someone else
            continue
        files.add(path)
        files.update(path.parent.glob(f"{path.stem}*.j2"))
        todo += sorted(_imports(path))
        if "." in module:
            todo.append(module.rsplit(".", 1)[0])
    return sorted(files)
