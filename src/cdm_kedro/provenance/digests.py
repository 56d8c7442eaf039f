"""Digests of the code that a node can reach, without all that cannot change its outputs.

DVC compares one digest file for each module of nodes. The file lists every source file that the module reaches by
imports, with a hash of what remains when comments, docstrings, blank lines, layout and type annotations are cut out.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cdm_kedro.files.atomic import write_text

PACKAGE = "cdm_kedro"
NODES = f"{PACKAGE}.pipelines."
NO_EFFECT = tuple(
    f"{PACKAGE}.{name}"
    for name in ("cli", "errors", "processes", "provenance", "tracking", "training.progress", "training.speed")
)
"""Modules and folders that cannot change the bytes of an output: they start, watch, record, name and display."""
BESIDE = (".j2", ".csv")
"""Kinds of files that count as code where they lie beside a module under its name: templates and tables."""
_TYPING = ("typing", "collections.abc", "__future__")


def digest_name(module: str) -> str:
    """Name of a module's digest file."""
    return f"{module.removeprefix(NODES)}.txt"


def write_digests(folder: Path, modules: Iterable[str], source: Path) -> None:
    """Write the digest files of modules of nodes into a folder; a file that says the same already is left alone."""
    for module in modules:
        path, text = folder / digest_name(module), digest(module, source)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.unlink(missing_ok=True)  # DVC may have linked it to its cache
            write_text(path, text)


def digest(module: str, source: Path) -> str:
    """The text of a module's digest file: a hash and a path for every source file that counts."""
    if _module_file(module, source) is None:
        from cdm_kedro.errors import CdmError

        raise CdmError(f"{module.removeprefix(NODES)} is no module of {PACKAGE}/pipelines")
    return "".join(f"{_hash(path)}  {path.relative_to(source).as_posix()}\n" for path in source_files(module, source))


def source_files(module: str, source: Path) -> list[Path]:
    """Source files whose meaning decides the outputs of a module's nodes.

    Imports are read, not run, inside functions too. The ``__init__`` of every package on the way counts, and so do
    what lies beside a module under its name (``BESIDE``) and modules that it starts as processes (``RUNS_MODULES``).
    ``source`` is the folder that holds the package.
    """
    todo, seen, files = [module], set(), set()
    while todo:
        name = todo.pop()
        if name in seen or any(name == m or name.startswith(f"{m}.") for m in NO_EFFECT):
            continue
        seen.add(name)
        path = _module_file(name, source)
        if path is None:  # a name inside a module
            continue
        files.add(path)
        files.update(file for kind in BESIDE for file in path.parent.glob(f"{path.stem}*{kind}"))
        todo += sorted(_imports(path))
        if "." in name:
            todo.append(name.rsplit(".", 1)[0])
    return sorted(files)


def _module_file(module: str, source: Path) -> Path | None:
    base = source.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in _walk_running(_parse(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Assign) and "RUNS_MODULES" in map(ast.unparse, node.targets):
            found.update(ast.literal_eval(node.value))
    return {name for name in found if name == PACKAGE or name.startswith(f"{PACKAGE}.")}


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        from cdm_kedro.errors import CdmError  # here, so that a bare Python can read the rest

        inside = path.as_posix().rpartition(f"/{PACKAGE}/")[2]  # the file may lie in a run's copy of the code
        raise CdmError(f"src/{PACKAGE}/{inside}, line {error.lineno}: {error.msg}; correct it and run again") from None


def _walk_running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below ``if TYPE_CHECKING``, which never run."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if not _is_type_checking(node):
            yield node
            todo += ast.iter_child_nodes(node)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _hash(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = normalized(text, keep_signatures="pipelines" in path.parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def normalized(text: str, keep_signatures: bool = False) -> str:
    """The syntax tree of a source text without docstrings and annotations; the same on every Python version.

    Fields of classes keep their annotations, because pydantic and dataclasses read them. Those of functions stay too
    with ``keep_signatures``, because Kedro reads a node's to make its parameters. The result has one statement a line.
    """
    return _meaning(ast.parse(text), keep_signatures)


def _meaning(part: Any, keep_signatures: bool, in_class: bool = False) -> str:
    """A part of a syntax tree as text; empty where it has no effect on what the code does."""
    if isinstance(part, list):
        return "[" + ",".join(filter(None, (_meaning(item, keep_signatures, in_class) for item in part))) + "]"
    if not isinstance(part, ast.AST):
        return ascii(part)
    typing_only = _is_type_checking(part) or (isinstance(part, ast.ImportFrom) and part.module in _TYPING)
    if typing_only or (isinstance(part, ast.Expr) and isinstance(getattr(part.value, "value", None), str)):
        return ""
    kind, fields = type(part).__name__, dict(ast.iter_fields(part))
    if isinstance(part, ast.AnnAssign) and not in_class:
        if part.value is None:
            return ""
        kind, fields = "Assign", {"targets": [part.target], "value": part.value}
    elif not keep_signatures and isinstance(part, (ast.arg, ast.FunctionDef, ast.AsyncFunctionDef)):
        fields |= {"annotation": None, "returns": None}
    inside = isinstance(part, ast.ClassDef)
    # The kind of a text is left out, for u"" is "", and what is empty, in which versions of Python differ.
    told = {key: _meaning(field, keep_signatures, inside) for key, field in fields.items() if key != "kind"}
    shown = [f"{key}={text}" for key, text in told.items() if text not in ("", "None", "[]")]
    return f"{kind}({','.join(shown)})" + ("\n" if isinstance(part, ast.stmt) else "")
