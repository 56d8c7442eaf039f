"""`kedro inspect-images`, and that DVC sees what it wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from project import new_project

pytestmark = pytest.mark.e2e


def test_a_folder_is_shown_and_divided_by_a_list_that_dvc_sees(image_folder: Path, tmp_path: Path) -> None:
    project = new_project(tmp_path / "cdm")
    images = tmp_path / "pets"
    shutil.copytree(image_folder / "train", images)
    before = sorted(path.name for path in images.rglob("*"))
    said = project("kedro", "inspect-images", str(images))
    assert "18 images in 3 classes" in said
    sheet = np.asarray(Image.open(project.root / "pets.png").convert("L"))
    assert sheet.shape[0] == 3 * 67 and all((sheet[i * 67 : i * 67 + 64] < 250).mean() > 0.4 for i in range(3))
    said = project("kedro", "inspect-images", str(images), "--split=0.3", "--env=small")
    assert (
        said.count("  4    2\n") == 3
        and "there more than once: none" in said
        and "wrote conf/small/val_files.txt" in said
    )
    listed = (project.root / "conf/small/val_files.txt").read_text().split()
    assert len(listed) == 6 and all((images / path).is_file() for path in listed)
    assert sorted(path.name for path in images.rglob("*")) == before
    project.edit("conf/small/globals.yml", "images: data/01_raw/images", f"images: {images}")
    project.edit("conf/small/parameters.yml", "val_files: null", "val_files: conf/small/val_files.txt")
    project("kedro", "dvc-yaml", "--env=small")
    stages = yaml.safe_load((project.root / "dvc/small/dvc.yaml").read_text())["stages"]
    assert "conf/small/val_files.txt" in stages["preprocess"]["deps"]
    assert "data/env/small/05_model_input/val_64.beton" in stages["sr64"]["deps"]  # selection compares with it
    (project.root / "conf/small/val_files.txt").write_text("class0/9.png\n")
    said = project("kedro", "run", "--pipelines=preprocess", "--env=small", fails=True)
    assert "lists ['class0/9.png'], which" in said and "--split 0.1` writes it anew" in said
