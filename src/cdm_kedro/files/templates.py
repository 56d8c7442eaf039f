"""Jinja templates: pages, scripts and other texts that programs write for people."""

from pathlib import Path
from typing import Any


def fill_template(template: Path, **values: Any) -> str:
    """Fill in a Jinja template; text in HTML is escaped, and a value that is missing is an error."""
    import jinja2

    html = template.name.endswith(".html.j2")
    environment = jinja2.Environment(
        autoescape=html, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)
