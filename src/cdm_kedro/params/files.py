"""Reads the parameter files of an environment and remembers which file says what."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from cdm_kedro.errors import CdmError
from cdm_kedro.params.explain import adapter, mistakes, refused_by_kedro


class ParametersError(CdmError, ValueError):
    """Parameter files that cannot be used; the message names file, key and value."""


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

    Raises ParametersError if a file does not hold a mapping. ``env``: environment, or None for ``base`` alone.
    """
    found = Parameters({}, {})
    for folder in dict.fromkeys(("base", env or "base")):
        for path in sorted((conf / folder).glob("parameters*.yml")):
            content = _yaml(path)
            found.values.update(content)
            found.origin.update(dict.fromkeys(content, path))
    return found


def read_globals(conf: Path, env: str | None) -> dict[str, Any]:
    """Read ``globals.yml`` of ``base`` overlaid with that of ``env``: the places of images and results."""
    values: dict[str, Any] = {}
    for folder in dict.fromkeys(("base", env or "base")):
        if (conf / folder / "globals.yml").is_file():
            values |= _yaml(conf / folder / "globals.yml")
    return values


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if content is not None and not isinstance(content, dict):
        raise ParametersError(f"{path}: expected a mapping of keys, found {type(content).__name__}")
    return content or {}
