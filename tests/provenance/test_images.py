"""A change of the image folder is seen or refused, never skipped as fresh."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from project import COPIED, ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two classes of images of its own, preprocessed."""
    root = tmp_path_factory.mktemp("own images") / "cdm"
    for name in COPIED:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "local", "dvc.lock"))
        else:
            shutil.copy(source, target)
    (root / "conf/local").mkdir()
    for i, part in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (root / "mine" / part).mkdir(parents=True)
        Image.fromarray(np.full((64, 64, 3), 40 * i, np.uint8)).save(root / "mine" / part / "x.png")
    project = Project(root)
    project.edit("conf/base/globals.yml", "images: data/01_raw/embedded", "images: mine")
    project("git", "init", "-q")
    assert "preprocess: running, because" in preprocess(project)
    return project


def preprocess(project: Project, fails: bool = False) -> str:
    return project("kedro", "run", "--pipelines=preprocess", fails=fails)


def test_what_dvc_does_not_see_is_refused(own_images: Project) -> None:
    classes, elsewhere = own_images.root / "mine/train", own_images.root / "elsewhere"
    assert "preprocess: fresh, skipped" in preprocess(own_images)
    (classes / "c").mkdir()
    assert "train/c: holds no images" in preprocess(own_images, fails=True)
    (classes / "c").rmdir()
    (classes / "b").rename(elsewhere)
    (classes / "b").symlink_to(elsewhere)
    said = preprocess(own_images, fails=True)
    assert "train/b: a link to a folder" in said and "Traceback" not in said
    (classes / "b").unlink()
    elsewhere.rename(classes / "b")
    (classes / "a/y.png").symlink_to("nothing")  # DVC alone ends in an unexpected error here
    assert "train/a/y.png: a link that leads nowhere (to nothing)" in preprocess(own_images, fails=True)
    (classes / "a/y.png").unlink()
    assert "preprocess: fresh, skipped" in preprocess(own_images)


def test_a_changed_file_behind_a_link_is_seen(own_images: Project) -> None:
    behind: Path = own_images.root / "behind.png"
    shutil.copy(own_images.root / "mine/train/a/x.png", behind)
    (own_images.root / "mine/train/a/z.png").symlink_to(behind)
    preprocess(own_images)
    shutil.copy(own_images.root / "mine/train/b/x.png", behind)
    assert "running, because" in preprocess(own_images)
