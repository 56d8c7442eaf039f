"""A hook of MkDocs: CHANGELOG.md, which lies above docs/, becomes a page of the site with links that lead somewhere."""

from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the text of a page; that of changelog.md is CHANGELOG.md."""
    if page.file.src_uri != "changelog.md":
        return markdown
    return Path("CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
