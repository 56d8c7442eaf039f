"""The notebook, executed on the tiny cascade."""

from __future__ import annotations

from typing import Any

import pytest

from project import ROOT

pytestmark = pytest.mark.e2e


def test_the_notebook_runs_from_the_first_cell_to_the_last(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra [notebook] is not installed")
    import nbformat

    for key, value in {**project.env, "KEDRO_ENV": "test", "IPYTHONDIR": str(project.root / ".ipython")}.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(ROOT / "notebooks/cascade.ipynb", as_version=4)
    metadata = {"metadata": {"path": str(project.root)}}
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources=metadata).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [{kind for out in cell.outputs for kind in out.get("data", {})} for cell in cells]
    assert ["image/png" in kinds for kinds in shown] == [False, True, True, True, False]
    table = cells[-1].outputs[-1].data["text/html"]
    assert "fd_efficientnet_lite0" in table and "256px" in table
