"""Resume checkpoints on disk: written in the background, two kept, verified before use."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.hashes import sha256
from cdm_kedro.files.tensors import write_tensors
from cdm_kedro.params.base import differences

log = logging.getLogger(__name__)


def host_memory(tensors: Mapping[str, Tensor], pinned: bool, piece: int = 1 << 30) -> dict[str, Tensor]:
    """Make room on the host for tensors, in their memory formats.

    PyTorch rounds every pinned allocation up to a power of two. Thus the tensors share pieces of such a size, in bytes:
    those of the paper's base model, 12.7 GB, take 13 GB. Each on its own they would take 17 GB.
    """
    sizes = {name: -(-tensor.nbytes // 64) * 64 for name, tensor in tensors.items()}
    left, used, memory = sum(sizes.values()), 0, torch.empty(0, dtype=torch.uint8)
    room: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if used + sizes[name] > len(memory):
            used, memory = 0, torch.empty(max(sizes[name], min(piece, left)), dtype=torch.uint8, pin_memory=pinned)
        flat = memory[used : used + tensor.nbytes].view(tensor.dtype)
        room[name] = flat.as_strided(tensor.shape, torch.empty_like(tensor, device="meta").stride())
        used, left = used + sizes[name], left - sizes[name]
    return room


class Checkpoints:
    """The resume checkpoints of one job in one folder.

    A checkpoint is ``step_<n>.safetensors`` with ``step_<n>.json`` beside it. The JSON is written last and holds the
    hash of the tensors, so a file without its JSON, or with another hash, is not a checkpoint. ``identity``: identity
    of the job; a checkpoint of another one is refused. ``on_saved``: called by the writing thread with the step as soon
    as its checkpoint is on disk.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], on_saved: Callable[[int], None] = lambda step: None
    ) -> None:
        self.folder, self.identity, self.on_saved = folder, identity, on_saved
        folder.mkdir(parents=True, exist_ok=True)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._host: dict[str, Tensor] = {}
        self._copied: torch.cuda.Event | None = None

    def save(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any], wait: bool = False) -> bool:
        """Copy the tensors to the host and write them in the background; see :meth:`before_change`.

        Returns False, with nothing saved, if the checkpoint before is still being written.
        """
        if not wait and self._thread is not None and self._thread.is_alive():
            return False
        self.join()
        self._snapshot(tensors)
        self._thread = threading.Thread(target=self._write, args=(step, state, self._copied), name="checkpoint")
        self._thread.start()
        if wait:
            self.join()
            if self._error is not None:
                raise self._error
        return True

    def _snapshot(self, tensors: dict[str, Tensor]) -> None:
        """Copy to pinned host memory, from a GPU on a stream of its own while the next step computes its gradients."""
        cuda = next((t.device for t in tensors.values() if t.is_cuda), None)
        self._host |= host_memory({name: t for name, t in tensors.items() if name not in self._host}, cuda is not None)
        stream = None if cuda is None else torch.cuda.Stream(cuda)
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream(cuda))
        with torch.cuda.stream(stream):  # None changes nothing
            for name, tensor in tensors.items():
                self._host[name].copy_(tensor.detach(), non_blocking=True)
            self._copied = None if stream is None else stream.record_event()

    def before_change(self) -> None:
        """Have the GPU finish copying the saved tensors before they change. The host does not wait."""
        if self._copied is not None:
            self._copied.wait()
            self._copied = None

    def _write(self, step: int, state: dict[str, Any], copied: torch.cuda.Event | None) -> None:
        if copied is not None:
            copied.synchronize()
        data = self.folder / f"step_{step:09d}.safetensors"
        meta = data.with_suffix(".json")
        try:
            digest = write_tensors(data, self._host)
            record = {"step": step, "state": state, "identity": self.identity, "sha256": digest}
            write_text(meta, json.dumps(record))
            self._error = None
        except OSError as error:  # a full disk must not cost the run or the older checkpoints
            self._error = error
            meta.unlink(missing_ok=True)
            data.unlink(missing_ok=True)
            log.warning("could not write checkpoint %s: %s; the one before is kept", data, error)
            return
        for old in sorted(self.folder.glob("step_*.json"))[:-2]:
            old.unlink(missing_ok=True)
            old.with_suffix(".safetensors").unlink(missing_ok=True)
        for leftover in self.folder.glob("*.part"):  # of a process killed while it wrote
            leftover.unlink(missing_ok=True)
        self.on_saved(step)

    def join(self) -> None:
        """Wait for the write in flight."""
        if self._thread is not None:
            self._thread.join()

    def load(self, device: torch.device) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Return the newest sound checkpoint, or None.

        Raises CdmError if the checkpoint belongs to another job.
        """
        for meta in sorted(self.folder.glob("step_*.json"), reverse=True):
            data = meta.with_suffix(".safetensors")
            try:
                record = json.loads(meta.read_text(encoding="utf-8"))
                if sha256(data) != record["sha256"]:
                    raise ValueError("its contents do not match its hash")
                tensors = load_file(data, device=str(device))
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                log.warning("checkpoint %s is damaged (%s); falling back to the one before", data, error)
                continue
            changed = list(differences(record["identity"], json.loads(json.dumps(self.identity))))
            if changed:
                shown = "\n  ".join(f"{key}: {old!r} -> {new!r}" for key, old, new in changed)
                raise CdmError(
                    f"{data} was made by another job and is not resumed:\n  {shown}\n"
                    f"Restore those values, or delete {self.folder} to start anew."
                )
            return int(record["step"]), tensors, record["state"]
        return None
