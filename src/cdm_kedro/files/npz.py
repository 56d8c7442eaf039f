"""Arrays in .npz archives: written with reproducible bytes, merged from shards, and mapped instead of read."""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import written_whole

_LOCAL_HEADER = 30  # bytes of a zip entry's local header before its name


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays to an npz file, whose bytes depend on them and their order alone."""
    with written_whole(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # entries opened by name have a fixed date


def write_npz(path: Path, shards: list[Path], key: str, resolution: int, labels: NDArray[np.int64]) -> None:
    """Merge the array ``key`` of the shards, in order, into ``arr_0`` (N, H, W, 3) uint8; labels are ``arr_1`` (N,).

    Only one shard is in memory at a time.
    """
    with written_whole(path) as part, zipfile.ZipFile(part, "w") as archive:
        with archive.open("arr_0.npy", "w", force_zip64=True) as file:
            shape = (len(labels), resolution, resolution, 3)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for shard in shards:
                with np.load(shard, allow_pickle=False) as arrays:
                    file.write(np.ascontiguousarray(arrays[key]).tobytes())
        with archive.open("arr_1.npy", "w") as file:
            np.lib.format.write_array(file, labels, allow_pickle=False)


def is_whole(path: Path) -> bool:
    """Whether an npz file holds what was written to it; reads all of it."""
    with suppress(OSError, EOFError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return archive.testzip() is None
    return False


def map_npz_array(path: Path, name: str) -> NDArray[Any]:
    """Map one array of an npz file into memory instead of loading it.

    A compressed array is unpacked into a temporary file first, which goes with the array. Raises CdmError: not an
    npz file, no such array, or an array of Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                found = [entry.removesuffix(".npy") for entry in archive.namelist()]
                raise CdmError(f"{path}: has no array {name}; it holds {found}")
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                reader = getattr(np.lib.format, "read_array_header_{}_{}".format(*version), None)
                if reader is None:
                    raise CdmError(f"{path}: {name} has npy version {version}; save it again with NumPy's savez")
                shape, fortran, dtype = reader(member)
                if dtype.hasobject:
                    raise CdmError(f"{path}: {name} holds Python objects, which are never loaded")
                header = member.tell()
                order: Literal["C", "F"] = "F" if fortran else "C"
                if int(np.prod(shape)) == 0:
                    return np.empty(shape, dtype)
                if info.compress_type != zipfile.ZIP_STORED:
                    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the map)
                    shutil.copyfileobj(member, unpacked, 1 << 24)
                    unpacked.flush()
                    return np.memmap(cast(Any, unpacked), dtype, "r", 0, shape, order)
        with path.open("rb") as file:  # the local header may have other extra fields than the directory says
            file.seek(info.header_offset)
            local = file.read(_LOCAL_HEADER)
        lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        return np.memmap(path, dtype, "r", info.header_offset + _LOCAL_HEADER + lengths + header, shape, order)
    except CdmError:
        raise
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise CdmError(f"{path}: not a readable npz file: {error}") from None
