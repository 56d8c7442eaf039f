"""Reads the YAML files of an environment, refuses what they must not hold, and remembers which file says what."""

import difflib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cdm_kedro.errors import CdmError
from cdm_kedro.params.explain import adapter, mistakes, not_a_key, refused_by_kedro

_PLACES = ("images", "root")


class Parameters(NamedTuple):
    """The parameters of an environment."""

    values: dict[str, Any]
    origin: dict[str, Path]

    def get(self, key: str) -> Any:
        """Value of a dotted key; None where the files have none."""
        value: Any = self.values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def read(self, key: str, kind: Any) -> Any:
        """Value of a dotted key as the type that it must have. Raises CdmError if the value does not have it."""
        wrong = self._mistakes({key: kind})
        if wrong:
            raise CdmError(wrong)
        return adapter(kind).validate_python(self.get(key))

    def explain(self, message: str) -> str:
        """Explain Kedro's ParameterValidationError: a line for each mistake; empty if it is about something else."""
        return self._mistakes(refused_by_kedro(message))

    def overlaid(self, given: dict[str, Any]) -> "Parameters":
        """These parameters with the values of ``--params``."""
        from omegaconf import OmegaConf

        merged: Any = OmegaConf.to_container(OmegaConf.merge(self.values, given))
        return Parameters(merged, {**self.origin, **dict.fromkeys(given, Path("--params"))})

    def _mistakes(self, kinds: dict[str, Any]) -> str:
        return "\n".join(str(self.error(x)) for key, kind in kinds.items() for x in mistakes(key, kind, self.get(key)))

    def error(self, message: str) -> CdmError:
        """An error that names the file of the dotted key with which its message begins."""
        top = re.match(r"[^\s.:]+", message)
        return CdmError(f"{self.origin.get(top[0] if top else '', 'conf')}: {message}")


def read_parameters(conf: Path, env: str | None) -> Parameters:
    """Read the parameters of ``base`` overlaid with those of ``env``, whose top-level keys replace base's as a whole.

    Raises CdmError if there is no such environment, a file is no YAML with a mapping, or two files of an
    environment hold the same key. ``env``: environment, or None for ``base`` alone.
    """
    found = Parameters({}, {})
    for folder in folders_of(conf, env or "base"):
        for path in sorted((*folder.glob("parameters*.yaml"), *folder.glob("parameters*.json"))):
            raise CdmError(f"{path}: DVC would not see it; name it {path.stem}.yml")
        for path in sorted(folder.glob("parameters*.yml")):
            content = read_yaml(path)
            for key in content:
                if found.origin.get(key, conf).parent == folder:
                    raise CdmError(f"{path}: {key} stands in {found.origin[key]} too; keep one of them")
            found.values.update(content)
            found.origin.update(dict.fromkeys(content, path))
    return found


def folders_of(conf: Path, env: str) -> list[Path]:
    """The folders of base and an environment."""
    known = [path.name for path in sorted(conf.glob("*")) if path.is_dir()]
    if env not in ("base", "local", *known):
        raise CdmError(f"{conf}: {not_a_key(env, known, 'an environment')}")
    return [conf / name for name in dict.fromkeys(("base", env))]


def read_globals(conf: Path, env: str | None) -> dict[str, Any]:
    """Read ``globals.yml`` of ``base`` overlaid with that of ``env``: the places of images and results."""
    files = [folder / "globals.yml" for folder in folders_of(conf, env or "base")]
    return {key: value for file in files if os.path.lexists(file) for key, value in read_yaml(file).items()}


def refuse_wrong_places(conf: Path, env: str | None) -> None:
    """Raise CdmError if ``images`` is no path, or ``root`` no folder of the environment's own in the project."""
    found = read_globals(conf, env)
    file = conf / ("base" if env in (None, "local") else env) / "globals.yml"
    for key in found.keys() - _PLACES:
        if difflib.get_close_matches(key, _PLACES, 1, 0.8):
            raise CdmError(f"{file}: {not_a_key(key, _PLACES)}")
    if not isinstance(images := found.get("images", "absent"), str) or not images:
        raise CdmError(f"{file}: images is {images!r}; write the path of a folder of images")
    if wrong := _wrong_root(conf.resolve(), file.parent.name, found.get("root")):
        raise CdmError(f"{file}: root {wrong}; write a folder of its own in the project, such as data/env/mine")


def read_roots(conf: Path) -> dict[Path, Path]:
    """The ``globals.yml`` of each environment to the folder that it names; those that cannot be read are left out."""
    found = {}
    for file in sorted(conf.glob("*/globals.yml")):
        with suppress(CdmError):
            if isinstance(root := read_yaml(file).get("root"), str):
                found[file] = Path(os.path.realpath(conf.parent / root))
    return found


def _wrong_root(conf: Path, env: str, root: Any) -> str | None:
    if root is None:
        return "is missing"
    if not isinstance(root, str) or not re.fullmatch(r"[\w@%+=:,./-]+", root):
        return f"is {root!r}, which is no text that a shell takes as it is"
    place = Path(os.path.realpath(conf.parent / root))  # of a link too, which DVC does not look behind
    if (conf.parent / "src").is_dir():  # a packaged project records nothing and may write anywhere
        if not place.is_relative_to(conf.parent):
            return f"is {root!r}, which lies outside the project"
        top = place.relative_to(conf.parent).parts[:1]
        if not top or top[0] in ("conf", "dvc", "src") or top[0].startswith("."):
            return f"is {root!r}, where the project's own files lie"
    for file, other in read_roots(conf).items():
        if other == place and file.parent.name not in (env, "local"):
            return f"is {root!r}, which {file} has too"
    return None


def refuse_wrong_catalog(conf: Path, env: str | None) -> None:
    """Raise CdmError if a file of the catalog is no YAML, or holds a dataset without a type."""
    for path in (path for folder in folders_of(conf, env or "base") for path in sorted(folder.glob("catalog*.yml"))):
        for name, entry in read_yaml(path).items():
            if not name.startswith("_") and not (isinstance(entry, dict) and "type" in entry):
                raise CdmError(f"{path}: {name} has no type; write one, such as cdm_kedro.datasets.JSONDataset")


class _Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's safe loader, which refuses a key that stands twice, of which it would keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in (key for key, _ in reversed(node.value) if keys.count(key.value) > 1):
            said = f"the key {key.value!r} stands there twice; keep one"
            raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
        return super().construct_mapping(node, deep)


_Strict.add_implicit_resolver(  # as OmegaConf and DVC do, and YAML 1.2
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)?\.?\d[\d_]*[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping. Raises CdmError, which names the line."""
    try:
        if not path.is_file():
            raise CdmError(f"{path}: not a file; move it away")
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Strict)
    except UnicodeDecodeError as error:
        raise CdmError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CdmError(f"{path}{where}: {said}. Write `key: value`, without tabs, tags and `---`") from None
    if content is not None and not isinstance(content, dict):
        raise CdmError(f"{path}: expected a mapping of keys, found {type(content).__name__}")
    for key in content or ():
        if not isinstance(key, str):
            raise CdmError(f"{path}: the key {key!r} is no text; write another, or put it in quotes")
    return content or {}
