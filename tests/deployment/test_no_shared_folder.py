"""Two clones with nothing in common but git, an S3 bucket and an MLflow server: `make test-s3` runs this file."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from project import Project, new_project

MOTO = os.environ.get("MOTO_SERVER", "")
pytestmark = [
    pytest.mark.skipif(not MOTO, reason="needs moto's S3 server: make test-s3"),
    pytest.mark.timeout(2400),  # a test's first part is the making of all that it needs
]
TRAINED = ("embedded", "preprocess", "base32", "sr64")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(url: str, *command: str, cwd: Path) -> Iterator[str]:
    """A server, from the moment at which it answers."""
    with (cwd / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                except urllib.error.HTTPError:
                    break
                except OSError:
                    assert process.poll() is None, Path(log.name).read_text()
                    time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            process.wait(30)


class World:
    """What the clones share, and the first of them."""

    def __init__(self, folder: Path, s3: str, mlflow: str) -> None:
        self.folder, self.s3 = folder, s3
        self.shared = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_TRACKING_URI": mlflow,
            "OMP_NUM_THREADS": "1",
        }
        self.first = self.made(new_project(folder / "first"))
        request = urllib.request.Request(f"{s3}/cdm", method="PUT")
        urllib.request.urlopen(request).close()
        self.first("dvc", "remote", "add", "--default", "bucket", "s3://cdm/cache")
        self.first("dvc", "remote", "modify", "bucket", "endpointurl", s3)
        self.first("git", "commit", "-qam", "remote")

    def made(self, project: Project) -> Project:
        project.env |= self.shared
        return project

    def clone(self, name: str) -> Project:
        """Another machine's clone of the first one's git repository, and nothing else of it."""
        subprocess.run(["git", "clone", "-q", str(self.first.root), str(self.folder / name)], check=True)
        return self.made(Project(self.folder / name))

    def objects(self) -> dict[str, str]:
        """Key to time of writing of all files in the bucket; the run cache's small notes are sent with every push."""
        with urllib.request.urlopen(f"{self.s3}/cdm?list-type=2&max-keys=1000") as answer:
            text = answer.read().decode()
        found = re.findall(r"<Key>(.*?)</Key>\s*<LastModified>(.*?)</LastModified>", text.replace("\n", ""))
        return {key: written for key, written in found if "/files/" in key}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A bucket, an MLflow server, and a clone in which the first stages ran and were pushed."""
    folder = tmp_path_factory.mktemp("world")
    ports = free_port(), free_port()
    s3 = served(f"http://127.0.0.1:{ports[0]}", MOTO, "-H", "127.0.0.1", "-p", str(ports[0]), cwd=folder)
    mlflow = served(
        f"http://127.0.0.1:{ports[1]}",
        *(str(Path(sys.executable).with_name("mlflow")), "server", "--host=127.0.0.1", f"--port={ports[1]}"),
        *("--backend-store-uri=sqlite:///server.db", "--artifacts-destination=./artifacts", "--workers=1"),
        cwd=folder,
    )
    with s3 as s3_url, mlflow as mlflow_url:
        world = World(folder, s3_url, mlflow_url)
        for stage in TRAINED:
            world.first("kedro", "run", f"--pipelines={stage}", "--env=test")
        world.first("dvc", "push", "--run-cache", "dvc/test/dvc.yaml")
        world.first("git", "add", "-A")
        world.first("git", "commit", "-qm", "trained up to sr64")
        yield world


@contextmanager
def bytes_changed(path: Path) -> Iterator[None]:
    """Change a file in a way that only a reader of its bytes notices, for the length of the block."""
    before, original = path.stat(), path.read_bytes()

    def write(data: bytes) -> None:
        path.chmod(0o644)
        path.write_bytes(data)
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    write(bytes(255 - byte for byte in original))
    try:
        yield
    finally:
        write(original)


def run_id(project: Project, stage: str) -> str:
    return str(json.loads((project.root / f"data/env/test/06_models/{stage}.json").read_text())["mlflow_run"])


def test_another_clone_pulls_continues_and_knows_where_all_came_from(world: World) -> None:
    second = world.clone("second")
    second("dvc", "pull", "--run-cache", "--allow-missing", "dvc/test/dvc.yaml")
    with bytes_changed(second.root / "data/env/test/06_models/base32.safetensors"):
        assert "base32: fresh" in second("kedro", "run", "--pipelines=base32", "--env=test")
    said = second.kedro()
    assert [re.findall(rf"{stage}: (\w+)", said)[0] for stage in TRAINED] == ["fresh"] * 4, said
    assert all(f"{stage}: running" in said for stage in second.stages() if stage not in TRAINED), said
    lineage = second("kedro", "lineage", "data/env/test/08_reporting/samples_256.png", "--no-params")
    assert run_id(world.first, "sr64") in lineage and run_id(second, "sr256") in lineage


def test_what_one_clone_has_made_the_other_restores(world: World) -> None:
    second = Project(world.folder / "second")
    world.made(second)
    before = world.objects()
    second("dvc", "push", "--run-cache", "dvc/test/dvc.yaml")
    sent = world.objects()
    assert len(sent) > len(before) and all(
        sent[key] == written for key, written in before.items()
    )  # none is sent twice
    second("dvc", "push", "--run-cache", "dvc/test/dvc.yaml")
    assert world.objects() == sent
    third = world.clone("third")  # has dvc.lock as of sr64 only
    third("dvc", "pull", "--run-cache", "--allow-missing", "dvc/test/dvc.yaml")
    said = third.kedro()
    assert all(f"{stage}: restored from DVC's run cache" in said for stage in ("sr128", "sr256", "sample")), said
    assert "running, because" not in said, said
