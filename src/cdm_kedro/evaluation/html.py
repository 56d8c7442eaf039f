"""Pages of one file: templates filled in, and pictures as data URIs, so that a page loads nothing from elsewhere."""

import base64
import io
from pathlib import Path
from typing import Any

_SMALL = 1_000_000  # bytes of a PNG that a page holds as it is


def fill_template(template: Path, **values: Any) -> str:
    """Fill in a Jinja template; text in HTML is escaped, and a value that is missing is an error."""
    import jinja2

    html = template.name.endswith(".html.j2")
    environment = jinja2.Environment(
        autoescape=html, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def image_uri(path: Path, max_width: int = 1600) -> str:
    """A picture as a data URI: a small PNG as it is, else a JPEG at most ``max_width`` pixels wide."""
    from PIL import Image

    data, kind = path.read_bytes(), "png"
    if len(data) > _SMALL:
        with Image.open(path) as image:
            picture = image.convert("RGB")
        if picture.width > max_width:
            height = round(picture.height * max_width / picture.width)
            picture = picture.resize((max_width, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88)
        data, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
