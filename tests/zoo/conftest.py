"""The zoo's entries, running: each in its own environment, under the scheduler that the platform uses.

Environments are built once per test run, for all processes of pytest-xdist, out of uv's cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import pytest

from tenfold_deploy import environments
from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.packages import PackageFile, materialise, read_package, starts_from
from tenfold_deploy.scheduler import Handle, ReplicaSpec, ReplicaState, Resources
from tenfold_platform.zoo.service import ENTRIES_DIR, get_entry
from tenfold_runtime.client import Client
from tenfold_runtime.frames import Frame

from ..waiting import wait_for

PATIENCE_SECONDS = 900.0


@dataclass
class Running:
    """One worker that has an entry loaded."""

    client: Client
    health: dict[str, Any]
    build_seconds: float
    start_seconds: float
    answer_seconds: list[float] = field(default_factory=list)

    def predict(self, inputs: Any) -> Any:
        """The answer to a body. Fails the test when there is none."""
        frame = self.call("predict", inputs)
        assert frame.ok, frame.header
        return frame.json()

    def refusal(self, inputs: Any) -> str:
        """What a caller is told who sent something wrong."""
        frame = self.call("predict", inputs)
        assert not frame.ok, frame.payload[:200]
        assert frame.header["status"] == 400, frame.header
        assert frame.header["source"] == "input"
        return str(frame.header["message"])

    def call(self, op: str, inputs: Any, **header: Any) -> Frame:
        began = time.monotonic()
        header = {"content_type": "application/json", **header}
        frame = self.client.request(op, json.dumps(inputs).encode(), timeout_seconds=PATIENCE_SECONDS, **header)
        self.answer_seconds.append(time.monotonic() - began)
        return frame


class LoadFailed(Exception):
    """What the worker said about it."""


class Zoo:
    """Starts entries, and keeps what was started."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder = folder
        self._cache = cache
        self._scheduler = LocalScheduler(folder / "state")
        self._handles: list[Handle] = []
        self._clients: list[Client] = []
        self._running: dict[str, Running] = {}
        self._numbers = itertools.count()

    def __call__(self, name: str) -> Running:
        """The entry as it is shipped; started by the first test of a file that wants it."""
        if name not in self._running:
            self._running[name] = self.start(ENTRIES_DIR / name)
        return self._running[name]

    def start(self, package: Path, variables: Mapping[str, str] | None = None) -> Running:
        """Any package folder, loaded. Raises LoadFailed with what the worker says."""
        config = read_package(package)
        python, build_seconds = self.environment(config.environment)
        number = next(self._numbers)
        root = self._folder / f"package-{number}"
        materialise(_files(package), root, worker_config=starts_from(config))
        began = time.monotonic()
        handle = self._scheduler.start(
            ReplicaSpec(
                replica_id=f"zoo-{number}",
                kind="model",
                python=str(python),
                root=str(root),
                environment_variables={**config.environment_variables, **(variables or {})},
                resources=Resources(memory_bytes=config.resources.memory_bytes),
            )
        )
        self._handles.append(handle)
        client = Client(self._address(handle), timeout_seconds=PATIENCE_SECONDS)
        self._clients.append(client)
        health = self._loaded(client, handle)
        return Running(client, health, build_seconds, time.monotonic() - began)

    def environment(self, spec: environments.EnvironmentSpec) -> tuple[Path, float]:
        """The interpreter of an environment, and what it took to make it."""
        began = time.monotonic()
        lines: list[str] = []
        lock = environments.resolve(spec, on_log=lines.append)
        built = environments.build(lock, self._cache / lock.digest[:32], on_log=lines.append)
        return built.python, time.monotonic() - began

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for handle in self._handles:
            self._scheduler.stop(handle, grace_seconds=1)
        for handle in self._handles:
            wait_for(partial(self._has_ended, handle), PATIENCE_SECONDS)

    def _has_ended(self, handle: Handle) -> bool:
        return self._scheduler.observe(handle).state is ReplicaState.EXITED

    def _address(self, handle: Handle) -> str:
        def found() -> str | None:
            seen = self._scheduler.observe(handle)
            assert seen.state is not ReplicaState.EXITED, self._log(handle)
            return seen.address if seen.state is ReplicaState.RUNNING else None

        return str(wait_for(found, PATIENCE_SECONDS))

    def _loaded(self, client: Client, handle: Handle) -> dict[str, Any]:
        def answered() -> dict[str, Any] | None:
            seen = self._scheduler.observe(handle)
            assert seen.state is ReplicaState.RUNNING, f"{seen.reason}\n{self._log(handle)}"
            health = client.health()
            return None if health["state"] == "loading" else health

        health = wait_for(answered, PATIENCE_SECONDS)
        if health["state"] != "ready":
            raise LoadFailed(f"{json.dumps(health)}\n{self._log(handle)}")
        return dict(health)

    def _log(self, handle: Handle) -> str:
        return self._scheduler.logs(handle, offset=-20_000).data.decode("utf-8", "replace")


def _files(package: Path) -> list[PackageFile]:
    """The package without what is about it: as the platform uploads it."""
    found = [path for path in sorted(package.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return [
        PackageFile(
            path.relative_to(package).as_posix(),
            hashlib.sha256(path.read_bytes()).hexdigest(),
            False,
            partial(_opened, path),
        )
        for path in found
        if path.name != "zoo.yaml"
    ]


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


@pytest.fixture(scope="session")
def environment_cache(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "zoo-environments"


@pytest.fixture(scope="module")
def zoo(environment_cache: Path) -> Iterator[Zoo]:
    # not tmp_path: the path of a unix socket holds about a hundred bytes
    folder = Path(tempfile.mkdtemp(prefix="tf-zoo-"))
    started = Zoo(folder, environment_cache)
    try:
        yield started
    finally:
        started.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def drawings() -> ModuleType:
    """The module beside this one that draws and computes inputs."""
    spec = importlib.util.spec_from_file_location("zoo_drawings", Path(__file__).with_name("drawings.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def example() -> Callable[[str], Any]:
    """The example that an entry is shipped with."""
    return lambda name: get_entry(name).example


@pytest.fixture
def package_with(tmp_path: Path) -> Callable[..., Path]:
    """A copy of an entry's package in which a text of config.yaml is another."""

    def copied(name: str, **replaced: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(ENTRIES_DIR / name, folder, ignore=shutil.ignore_patterns("__pycache__", "zoo.yaml"))
        config = folder / "config.yaml"
        text = config.read_text(encoding="utf-8")
        for key, value in replaced.items():
            lines = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
            assert len(lines) == 1, lines
            text = text.replace(lines[0], f"{lines[0].partition(':')[0]}: {value}")
        config.write_text(text, encoding="utf-8")
        return folder

    return copied


@pytest.fixture(scope="module")
def run_in(zoo: Zoo) -> Callable[..., str]:
    """Runs a script in an environment of its own: the package's own word on what an entry answers, or an input."""

    def output(requirements: tuple[str, ...], script: str, *arguments: str) -> str:
        python, _ = zoo.environment(environments.EnvironmentSpec(None, requirements))
        done = subprocess.run([str(python), "-c", script, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return output


@pytest.fixture(scope="session")
def load_failed() -> type[LoadFailed]:
    return LoadFailed
