"""The code that a run works with: a copy of the package, made when the run begins."""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.digests import NODES, PACKAGE, digest, write_digests
from cdm_kedro.provenance.dvcfile import is_code, sources
from cdm_kedro.provenance.staleness import Staleness
from cdm_kedro.tracking.scratch import process_dir


class Code:
    """The code and the parameter files of the project in ``root`` as they were when this process began."""

    def __init__(self, root: Path) -> None:
        self.root, self.copy = root, process_dir(root)
        self._path = os.environ.get("PYTHONPATH")
        self._began = self._times()

    def _times(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in sources(self.root)}

    def edited(self) -> bool:
        """Whether code or parameters were edited since this process began."""
        return self._times() != self._began

    def take(self) -> None:
        """Import what is not imported yet from a copy, here and in processes that start here.

        A run then works with the code that it began with, whatever is edited meanwhile.
        """
        shutil.rmtree(self.copy, ignore_errors=True)  # of a killed process with the same number
        shutil.copytree(self.root / "src" / PACKAGE, self.copy / PACKAGE)
        sys.path.insert(0, str(self.copy))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(self.copy), *filter(None, [self._path])])
        for name, module in list(sys.modules.items()):
            if (name == PACKAGE or name.startswith(f"{PACKAGE}.")) and hasattr(module, "__path__"):
                module.__path__ = [str(self.copy.joinpath(*name.split(".")))]

    def record(self, staleness: Staleness, stages: Iterable[str], source: Path | None = None) -> None:
        """Bring digest files up to date from ``source`` (by default the copy), as `dvc repro` does by these stages.

        Raises CdmError if the code is being edited at this very moment.
        """
        for name in stages:
            run = staleness.begin(name)
            try:
                if run.state == "due":
                    folder, *modules = run.stage.cmd.split()[2:]
                    write_digests(Path(folder), [NODES + module for module in modules], source or self.copy)
                    if self.edited():
                        raise CdmError("the code was edited while this run began; run again")
                if run.state != "fresh":
                    staleness.record(run)
            finally:
                staleness.end(run)

    def refuse_other(self, stage: Any) -> None:
        """Refuse to run a stage for `dvc repro` with code that is not the code that DVC will record.

        Raises CdmError if the code was edited since DVC's stage ``code`` wrote the digest files.
        """
        for dependency in stage.deps:
            if is_code(dependency.def_path):
                path = Path(dependency.fs_path)
                if path.read_text(encoding="utf-8") != digest(NODES + path.stem, self.copy):
                    raise CdmError("the code was edited after this `dvc repro` began, so nothing was run; run it again")

    def discard(self) -> None:
        """Remove the copy; processes that start from here on import the code of the project again."""
        shutil.rmtree(self.copy, ignore_errors=True)
        os.environ.pop("PYTHONPATH", None)
        if self._path is not None:
            os.environ["PYTHONPATH"] = self._path
