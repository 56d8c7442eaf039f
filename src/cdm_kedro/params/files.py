"""Reads the YAML files of an environment, refuses what they must not hold, and remembers which file says what."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cdm_kedro.errors import CdmError
from cdm_kedro.params.explain import adapter, mistakes, not_a_key, refused_by_kedro


class ParametersError(CdmError, ValueError):
    """Files of the configuration that cannot be used; the message names file, key and value."""


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
        """Value of a dotted key as the type that it must have. Raises ParametersError if the value does not have it."""
        wrong = self._mistakes({key: kind})
        if wrong:
            raise ParametersError(wrong)
        return adapter(kind).validate_python(self.get(key))

    def explain(self, message: str) -> str:
        """Explain Kedro's ParameterValidationError: a line for each mistake; empty if it is about something else."""
        return self._mistakes(refused_by_kedro(message))

    def _mistakes(self, kinds: dict[str, Any]) -> str:
        return "\n".join(str(self.error(x)) for key, kind in kinds.items() for x in mistakes(key, kind, self.get(key)))

    def error(self, message: str) -> ParametersError:
        """An error that names the file of the dotted key with which its message begins."""
        top = re.match(r"[^\s.:]+", message)
        return ParametersError(f"{self.origin.get(top[0] if top else '', 'conf')}: {message}")


def read_parameters(conf: Path, env: str | None) -> Parameters:
    """Read the parameters of ``base`` overlaid with those of ``env``, whose top-level keys replace base's as a whole.

    Raises ParametersError if there is no such environment, a file is no YAML with a mapping, or two files of an
    environment hold the same key. ``env``: environment, or None for ``base`` alone.
    """
    found = Parameters({}, {})
    for folder in folders_of(conf, env or "base"):
        for path in sorted(folder.glob("parameters*.yml")):
            content = read_yaml(path)
            for key in content:
                if found.origin.get(key, conf).parent == folder:
                    raise ParametersError(f"{path}: {key} stands in {found.origin[key]} too; keep one of them")
            found.values.update(content)
            found.origin.update(dict.fromkeys(content, path))
    return found


def read_globals(conf: Path, env: str | None) -> dict[str, Any]:
    """Read ``globals.yml`` of ``base`` overlaid with that of ``env``: the places of images and results."""
    files = [folder / "globals.yml" for folder in folders_of(conf, env or "base")]
    return {key: value for file in files if os.path.lexists(file) for key, value in read_yaml(file).items()}


def folders_of(conf: Path, env: str) -> list[Path]:
    """The folders of base and an environment."""
    known = [path.name for path in sorted(conf.glob("*")) if path.is_dir()]
    if env not in ("base", "local", *known):
        raise ParametersError(f"{conf}: {not_a_key(env, known, 'an environment')}")
    return [conf / name for name in dict.fromkeys(("base", env))]


class _Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's safe loader, which refuses a key that stands twice, of which it would keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in (key for key, _ in reversed(node.value) if keys.count(key.value) > 1):
            said = f"the key {key.value!r} stands there twice; keep one"
            raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping. Raises ParametersError, which names the line."""
    if path.exists() and not path.is_file():
        raise ParametersError(f"{path}: not a file; move it away")
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Strict)
    except UnicodeDecodeError as error:
        raise ParametersError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ParametersError(f"{path}{where}: {said}. Write `key: value`, without tabs, tags and `---`") from None
    if content is not None and not isinstance(content, dict):
        raise ParametersError(f"{path}: expected a mapping of keys, found {type(content).__name__}")
    return content or {}
