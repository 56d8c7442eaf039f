"""`kedro` in a process that has the libraries already: ``python door.py`` runs one command after another.

It reads a command a line as JSON, forks, and lets the child do what the script `kedro` does, in the folder and with
the environment that are asked for. The project's own code is imported by the child alone. A command costs a third of
what it costs in a new process, and is the same but for the libraries' import.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time

LIBRARIES = ("kedro.framework.cli", "kedro.framework.session", "kedro.runner", "kedro.io", "pydantic", "omegaconf")
MORE = ("dvc.repo", "dvc.stage", "dvc.dvcfile", "dvc.schema", "dvc.lock", "psutil")


def child(request: dict) -> None:
    """Become `kedro`; never return."""
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for to, descriptor in enumerate((nothing, output, output)):
        os.dup2(descriptor, to)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    sys.path[:0] = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    code = 0
    try:
        from kedro.framework.cli import main

        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Run the commands of standard input; answer each with its exit code, None where it hung."""
    for line in sys.stdin:
        request = json.loads(line)
        deadline = time.monotonic() + request["limit"]
        pid = os.fork()
        if pid == 0:
            child(request)
        while (done := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        if done[0] == 0:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(done[1]) if done[0] else None), flush=True)


if __name__ == "__main__":
    for name in (*LIBRARIES, *MORE):
        importlib.import_module(name)
    serve()
