from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from cdm_kedro.data.image_folder import scan
from cdm_kedro.errors import CdmError


def test_scan_sorts_and_labels(image_folder: Path) -> None:
    folder = scan(image_folder)
    assert folder.classes == ["class0", "class1", "class2"]
    assert [len(folder.splits[s]) for s in ("train", "val")] == [18, 6]
    assert all(s.path.split("/")[1] == folder.classes[s.label] for s in folder.splits["train"])


def test_layout_errors_name_folder_and_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nothing")
    for name, problem in {
        "missing": "no such folder",
        "file": "a file, not a folder",
        "dangling": r"a link that leads nowhere \(to nothing\)",
    }.items():
        with pytest.raises(CdmError, match=rf"{name}: {problem}; `images` in conf"):
            scan(tmp_path / name)
    with pytest.raises(CdmError, match="train"):
        scan(tmp_path)
    for part in ("train/a", "val/a", "val/b"):
        (tmp_path / part).mkdir(parents=True)
    with pytest.raises(CdmError, match="holds no images"):
        scan(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "train/a/x.png")
    with pytest.raises(CdmError, match=r"\['b'\] do not occur"):
        scan(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of one image a split."""
    for part in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / "images" / part).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / part / "x.png")
    return tmp_path / "images"


@pytest.mark.parametrize("name", ["train", "train/b", "val/b/below it's"])
def test_a_linked_folder_is_refused_and_the_remedy_works(folder: Path, name: str) -> None:
    behind = folder.parent / "else where"
    link = folder / name
    if link.exists():
        link.rename(behind)
    else:
        behind.mkdir()
    link.symlink_to(behind)
    with pytest.raises(CdmError, match="a link to a folder") as error:
        scan(folder)
    assert str(link) in str(error.value)
    subprocess.run(str(error.value).partition("instead: ")[2], shell=True, check=True)
    assert [s.path for s in scan(folder).splits["train"]] == ["train/a/x.png", "train/b/x.png"]


def test_links_to_files_and_images_itself_as_a_link_are_fine(folder: Path) -> None:
    (folder / "train/a/y.png").symlink_to(folder / "val/a/x.png")
    (folder.parent / "link").symlink_to(folder)
    assert len(scan(folder.parent / "link").splits["train"]) == 3


@pytest.mark.parametrize("target", ["nothing", "y.png"])
@pytest.mark.parametrize("place", ["train/a", "val"])
def test_links_that_lead_nowhere_are_named(folder: Path, place: str, target: str) -> None:
    (folder / place / "y.png").symlink_to(target)  # to itself, the second
    with pytest.raises(CdmError, match=rf"{place}/y\.png: a link that leads nowhere \(to {target}\)"):
        scan(folder)


def test_an_empty_class_is_refused(folder: Path) -> None:
    (folder / "train/c").mkdir()
    with pytest.raises(CdmError, match=r"train/c: holds no images .*; add some or remove the folder"):
        scan(folder)


def test_files_that_are_not_read_are_counted(folder: Path) -> None:
    (folder / "train/a/below/it").mkdir(parents=True)
    for name in ("a/1.bmp", "a/2.BMP", "b/3.bmp", "b/README", "a/below/1.png", "a/below/it/2.png", "list.txt", "a/.x"):
        (folder / "train" / name).write_text("")
    found = scan(folder)
    assert len(found.splits["train"]) == 2
    assert found.left_out_lines() == [
        "1 file(s) beside the class folders left out, in train",
        "2 file(s) in folders below a class left out, in train/a",
        "3 file(s) of kind .bmp left out, in train/a, train/b",
        "1 file(s) of kind unknown left out, in train/b",
    ]


@pytest.fixture(params=["train", "."])
def undivided(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two classes of three images without a split, below `train` or in the folder itself."""
    root = tmp_path / "all"
    for name in ("a", "b"):
        (root / request.param / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(root / request.param / name / f"{i}.png")
    return root


def test_a_list_says_what_is_held_out(undivided: Path) -> None:
    at = "train/" if (undivided / "train").exists() else ""
    listed = undivided.parent / "val.txt"
    listed.write_text(f"{at}b/1.png\n{at}a/0.png\n")
    link = undivided.parent / "link"
    link.symlink_to(undivided)
    for root in (undivided, link):
        found = scan(root, listed)
        assert found.classes == ["a", "b"]
        assert found.splits["val"] == [(f"{at}a/0.png", 0), (f"{at}b/1.png", 1)]
        assert [s.path for s in found.splits["train"]] == [f"{at}{x}.png" for x in ("a/1", "a/2", "b/0", "b/2")]
        assert all((root / s.path).is_file() for s in found.splits["train"])


def test_lists_that_do_not_fit_are_refused(undivided: Path) -> None:
    at = "train/" if (undivided / "train").exists() else ""
    listed = undivided.parent / "val.txt"
    remedy = r"; `kedro inspect-images .*/all --split 0\.1` writes it"
    with pytest.raises(CdmError, match=r"val\.txt: preprocess\.val_files names it, but there is no such file" + remedy):
        scan(undivided, listed)
    for text, problem in {
        f"{at}a/0.png\n{at}a/9.png\n": r"lists \['.*a/9\.png'\], which .*/all does not hold",
        "\n": "is empty",
        "".join(f"{at}b/{i}.png\n" for i in range(3)): r"leaves no training images to \['b'\]",
    }.items():
        listed.write_text(text)
        with pytest.raises(CdmError, match=problem + remedy):
            scan(undivided, listed)
    with pytest.raises(CdmError, match=r"no such folder; .* --split 0\.1"):
        scan(undivided)
    (undivided / "val").mkdir()
    with pytest.raises(CdmError, match=r"val: exists, .* unset preprocess\.val_files"):
        scan(undivided, listed)
