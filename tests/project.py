"""The project used as a user would use it: through its command lines, in a copy."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "conf",
    "src",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "pyproject.toml",
    "packaging/startup.py",
    ".telemetry",
)

STAGES = ("preprocess", "base32", "sr64", "sr128", "sr256", "sample", "grids", "reference", "evaluate")
STAGES += ("register", "report")
PARAMETERS = "conf/test/parameters.yml"


class Door:
    """A process that runs `kedro` and `dvc` again and again, see ``door.py``."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("door.py"))]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=Project(ROOT).env
        )

    def __call__(self, argv: Sequence[str], cwd: Path, env: dict[str, str], limit: float) -> tuple[int | None, str]:
        """Run a command; returns its exit code, None where it hung and was killed, and all that it printed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with tempfile.NamedTemporaryFile() as log:
            request = {"argv": argv, "cwd": str(cwd), "env": env, "output": log.name, "limit": limit}
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            code = json.loads(self.process.stdout.readline())
            return code, Path(log.name).read_text(encoding="utf-8", errors="replace")


@functools.cache
def door() -> Door:
    """This test process's door; it closes when the test process ends."""
    return Door()


class Project:
    """A copy of the project, used through its command lines as a user would.

    With ``by_door`` its commands go through :func:`door`, for their speed, but for those whose children look for `dvc`
    above them. Otherwise each is a process of its own from the first import on.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.seconds, self.by_door = root, 400, False
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root / "src"),
            "NO_COLOR": "1",
            "COLUMNS": "300",
        }
        for name in ("KEDRO_ENV", "DVC_STAGE", "DVC_ROOT", "MLFLOW_TRACKING_URI"):
            self.env.pop(name, None)

    def __call__(self, *command: str, fails: bool = False, **env: str) -> str:
        """Run; returns standard output and error together."""
        if self.by_door and (command[0] == "kedro" or (command[0] == "dvc" and command[1] not in ("repro", "exp"))):
            code, output = door()(command, self.root, {**self.env, **env}, self.seconds)
        else:
            done = subprocess.run(
                command,
                cwd=self.root,
                env={**self.env, **env},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.seconds,
            )
            code, output = done.returncode, done.stdout
        assert code is not None and (code != 0) == fails, f"{' '.join(command)} ended with {code}:\n{output}"
        return output

    def kedro(self, *more: str, fails: bool = False) -> str:
        return self("kedro", "run", "--pipelines=cascade", "--env=test", *more, fails=fails)

    def stale(self) -> dict[str, Any]:
        """Stages that `dvc status` calls stale, upstream or not."""
        found = json.loads(self("dvc", "status", "--json", "dvc/test/dvc.yaml"))
        return {name.split(":")[-1]: why for name, why in found.items()}

    def stages(self) -> list[str]:
        """Names of the cascade's stages, in an order in which they can run."""
        import yaml

        known = yaml.safe_load((self.root / "dvc/test/dvc.yaml").read_text())["stages"]
        return [name for name in known if not name.startswith("code")]

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, (path, old)
        file.write_text(text.replace(old, new))

    def runs(self) -> list[Any]:
        """MLflow's runs, newest first."""
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{self.root}/mlflow.db")
        experiment = client.get_experiment_by_name("cdm-kedro")
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))


def new_project(root: Path) -> Project:
    """A copy of the project in a new folder, under git, in which nothing has run."""
    for name in COPIED:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "dvc.lock", "local")
            )
        elif source.exists():
            shutil.copy(source, target)
    project = Project(root)
    for command in (
        ("git", "init", "-q"),
        ("git", "config", "user.email", "a@b"),
        ("git", "config", "user.name", "t"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "start"),
    ):
        project(*command)
    return project


def executed(output: str) -> list[str]:
    return [
        line.split(": running, because")[0].split()[-1] for line in output.splitlines() if ": running, because" in line
    ]


def ran_by_dvc(output: str) -> list[str]:
    return re.findall(r"Running stage '(?:[^':]*:)?(\w+)'", output)
