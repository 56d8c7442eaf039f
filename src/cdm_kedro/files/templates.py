"""Jinja templates: pages, scripts and other texts that programs write for people."""

from pathlib import Path
from typing import Any


def fill_template(template: Path, **values: Any) -> str:
    """Fill in a Jinja template; text in HTML is escaped, and a value that is missing is an error."""
    from jinja2 import Environment, StrictUndefined

    html = template.name.endswith(".html.j2")
    environment = Environment(autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)
