"""Hashes of files."""

import hashlib
from functools import partial
from pathlib import Path


def file_hash(path: Path, algorithm: str) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


sha256, md5 = partial(file_hash, algorithm="sha256"), partial(file_hash, algorithm="md5")  # DVC's is the second
