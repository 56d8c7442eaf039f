"""Parameter files: which one counts, and what is said of a wrong value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.params.files import read_globals, read_parameters


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for name, text in (
        ("base/parameters_a.yml", "a: {x: 1, y: {z: 2}}\nb: 3\n"),
        ("base/parameters_empty.yml", "# nothing\n"),
        ("base/globals.yml", "images: i\nroot: r\n"),
        ("e/parameters.yml", "a: {x: 4}\n"),
        ("e/globals.yml", "root: s\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("env", [None, "base"])
def test_base_alone(conf: Path, env: str | None) -> None:
    found = read_parameters(conf, env)
    assert found.values == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert set(found.origin.values()) == {conf / "base/parameters_a.yml"}
    assert read_globals(conf, env) == {"images": "i", "root": "r"}


def test_an_environment_replaces_whole_keys_and_says_so(conf: Path) -> None:
    values, origin = read_parameters(conf, "e")
    assert values == {"a": {"x": 4}, "b": 3}
    assert origin == {"a": conf / "e/parameters.yml", "b": conf / "base/parameters_a.yml"}
    assert read_globals(conf, "e") == {"images": "i", "root": "s"}


def test_values_are_read_by_dotted_key_and_type(conf: Path) -> None:
    found = read_parameters(conf, None)
    assert found.get("a.y.z") == 2 and found.get("a.x.z") is None and found.get("none.at.all") is None
    assert found.read("a.y", dict[str, int]) == {"z": 2} and found.read("a.none", int | None) is None
    with pytest.raises(CdmError, match=r"base/parameters_a\.yml: b is 3: Input should be a valid string"):
        found.read("b", str)
    with pytest.raises(CdmError, match=r"e/parameters\.yml: a\.y is missing"):
        read_parameters(conf, "e").read("a.y", int)
    with pytest.raises(CdmError, match=r"conf: c\.d is missing"):
        found.read("c.d", int)


def test_a_file_that_is_no_mapping_is_named(conf: Path) -> None:
    (conf / "e/parameters.yml").write_text("- a\n")
    with pytest.raises(CdmError, match=r"e/parameters\.yml: expected a mapping of keys, found list"):
        read_parameters(conf, "e")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1, 2\n", r"e/parameters\.yml, line 2, column 1: .*Write `key: value`"),
        (b"a:\n\tb: 1\n", r"e/parameters\.yml, line 2, column 1: .*without tabs"),
        (b"a: !!python/object:os.system {}\n", r"line 1, column 4: could not determine a constructor for the tag"),
        (b"a: 1\nb: {c: 1, c: 2}\n", r"line 2, column 11: the key 'c' stands there twice; keep one"),
        (b"? [a]\n: 1\n", r"line 1, column 3: found unhashable key"),
        (b"a: *b\n", r"line 1, column 4: found undefined alias"),
        (b"a: 1\n---\na: 2\n", r"line 2, column 1: but found another document"),
        (b"a: caf\xe9\n", r"e/parameters\.yml: byte 6 is not UTF-8; save the file as UTF-8 text"),
        (b"a: b\0\n", r"e/parameters\.yml: .*control characters are not allowed"),
    ],
)
def test_a_file_that_is_no_yaml_is_named_with_the_line(conf: Path, content: bytes, said: str) -> None:
    (conf / "e/parameters.yml").write_bytes(content)
    with pytest.raises(CdmError, match=said):
        read_parameters(conf, "e")


def test_an_unknown_environment_and_a_key_in_two_files_are_named(conf: Path) -> None:
    with pytest.raises(CdmError, match=r"f is not an environment\. Known are base, e"):
        read_parameters(conf, "f")
    (conf / "e/parameters_x.yml").write_text("a: 1\n")
    with pytest.raises(CdmError, match=r"e/parameters_x\.yml: a stands in .*e/parameters\.yml too; keep one"):
        read_parameters(conf, "e")


def test_what_is_no_file_is_not_waited_for(conf: Path) -> None:
    os.mkfifo(conf / "e/parameters_x.yml")
    with pytest.raises(CdmError, match=r"e/parameters_x\.yml: not a file; move it away"):
        read_parameters(conf, "e")
