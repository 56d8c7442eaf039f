"""Small readable outputs: JSON, CSV curves, HTML. Written atomically and with stable bytes, since DVC hashes them."""

import json
from typing import Any, NewType

from cdm_kedro.datasets.files import OnDisk
from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.table import from_csv, to_csv

JSONPreview = NewType("JSONPreview", str)
PlotlyPreview = NewType("PlotlyPreview", dict)


class TextDataset(OnDisk[str]):
    """UTF-8 text, such as the HTML report."""

    def load(self) -> str:
        """Return the text."""
        return self._found().read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Write the text."""
        write_text(self._filepath, data)


class JSONDataset(OnDisk[Any]):
    """JSON with indentation; key order as given."""

    def load(self) -> Any:
        """Return the parsed value."""
        return json.loads(self._found().read_bytes())

    def save(self, data: Any) -> None:
        """Write the value; NaN and infinities are refused because JSON has none."""
        write_text(self._filepath, json.dumps(data, indent=2, allow_nan=False) + "\n")

    def preview(self) -> JSONPreview:
        """The text, for Kedro-Viz."""
        return JSONPreview(self._found().read_text(encoding="utf-8"))


class CurveDataset(OnDisk[list[dict[str, float]]]):
    """Rows of numbers with one header, as CSV; the first column is the x axis."""

    def load(self) -> list[dict[str, float]]:
        """Return the rows; empty cells are left out."""
        rows = from_csv(self._found().read_text(encoding="utf-8"))
        return [{key: float(value) for key, value in row.items()} for row in rows]

    def save(self, data: list[dict[str, float]]) -> None:
        """Write the rows; columns in order of first appearance."""
        write_text(self._filepath, to_csv(data))

    def preview(self) -> PlotlyPreview:
        """The loss against the step, for Kedro-Viz."""
        rows = self.load()
        if not rows:
            return PlotlyPreview({"data": [], "layout": {}})
        x, *others = rows[0]
        y = "loss" if "loss" in others else others[0]
        line = {"x": [row[x] for row in rows], "y": [row.get(y) for row in rows], "type": "scatter", "name": y}
        return PlotlyPreview(
            {"data": [line], "layout": {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}}
        )
