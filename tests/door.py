"""`kedro` and `dvc` in a process that has the libraries already: ``python door.py`` runs one command after another.

It reads a command a line as JSON, forks, and lets the child do what the script `kedro` or `dvc` does, in the folder and
with the environment that are asked for. The project's own code is imported by the child alone. A command costs a third
of what it costs in a new process, and is the same but for the libraries' import.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("kedro.framework.cli", "kedro.framework.session", "kedro.runner", "kedro.io", "pydantic", "omegaconf")
DVC = ("dvc.cli", "dvc.repo", "dvc.stage.cache", "dvc.dvcfile", "dvc.schema", "dvc.lock", "psutil", "networkx")
HEAVY = ("torch", "safetensors.torch", "mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.pyfunc", "pandas")
FIGURES = (
    "IPython",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "matplotlib.backends.backend_agg",
    "PIL.Image",
)


def become(request: dict) -> NoReturn:
    """Be the command from here on, to the end of the process."""
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for to, descriptor in enumerate((nothing, output, output)):
        os.dup2(descriptor, to)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    sys.orig_argv = [sys.executable, *sys.argv]  # what starts itself again becomes a process of its own
    sys.path[:0] = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    exec((Path(__file__).parents[1] / "packaging/startup.py").read_text(), globals())  # as a new Python would
    script = {"kedro": "kedro.framework.cli", "dvc": "dvc.cli"}[Path(sys.argv[0]).name]
    sys.exit(importlib.import_module(script).main())


def serve() -> None:
    """Run the commands of standard input; answer each with its exit code, None where it hung."""
    for line in sys.stdin:
        request = json.loads(line)
        deadline = time.monotonic() + request["limit"]
        pid = os.fork()
        if pid == 0:
            become(request)
        while (done := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        if done[0] == 0:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(done[1]) if done[0] else None), flush=True)


if __name__ == "__main__":
    own = (str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep))
    for name in (*LIBRARIES, *DVC, *HEAVY, *FIGURES):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.split(".")[0] == "cdm_kedro"]:  # imported by a plug-in
        del sys.modules[name]
    sys.path = [path for path in sys.path if path not in own]
    gc.freeze()
    serve()
