"""Resume checkpoints on disk: written in the background, two kept, verified before use."""

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text, written_whole
from cdm_kedro.files.hashes import sha256
from cdm_kedro.params.differences import differences

log = logging.getLogger(__name__)


class CheckpointMismatch(CdmError, RuntimeError):
    """The newest checkpoint was made by another job; the message shows the differences."""


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
        if self._thread is not None and self._thread.is_alive():
            if not wait:
                return False
            self._thread.join()
        self._snapshot(tensors)
        self._thread = threading.Thread(target=self._write, args=(step, state, self._copied), name="checkpoint")
        self._thread.start()
        if wait:
            self._thread.join()
            if self._error is not None:
                raise self._error
        return True

    def _snapshot(self, tensors: dict[str, Tensor]) -> None:
        """Copy to pinned host memory, from a GPU on a stream of its own while the next step computes its gradients."""
        for name, tensor in tensors.items():
            if name not in self._host:
                self._host[name] = torch.empty_like(
                    tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False
                )
        cuda = next((t.device for t in tensors.values() if t.is_cuda), None)
        if cuda is None:
            for name, tensor in tensors.items():
                self._host[name].copy_(tensor.detach())
            return
        stream = torch.cuda.Stream(cuda)
        stream.wait_stream(torch.cuda.current_stream(cuda))
        with torch.cuda.stream(stream):
            for name, tensor in tensors.items():
                self._host[name].copy_(tensor.detach(), non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(stream)

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
            with written_whole(data) as part:
                save_file({key: tensor.contiguous() for key, tensor in self._host.items()}, part)
            record = {"step": step, "state": state, "identity": self.identity, "sha256": sha256(data)}
            write_text(meta, json.dumps(record))
            self._error = None
        except (OSError, SafetensorError) as error:  # a full disk must not cost the run or the older checkpoints
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

        Raises CheckpointMismatch if the checkpoint belongs to another job.
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
                raise CheckpointMismatch(
                    f"{data} was made by another job and is not resumed:\n  {shown}\n"
                    f"Restore those values, or delete {self.folder} to start anew."
                )
            return int(record["step"]), tensors, record["state"]
        return None
