"""Hashes of files."""

import hashlib
from pathlib import Path


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    return _hash(path, "sha256")


def md5(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal, as DVC has it."""
    return _hash(path, "md5")


def _hash(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
