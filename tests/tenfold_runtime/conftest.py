"""Real workers for tests: a package or bundles are written to a folder, a process started, a client connected."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uv

from tenfold_deploy.packages import read_package, starts_from
from tenfold_runtime.client import Client
from tenfold_runtime.frames import Frame, FrameError, parse_address

RUNTIME = Path(sys.modules["tenfold_runtime"].__file__ or "").parent


class Worker:
    """One worker process of a test."""

    def __init__(
        self, folder: Path, arguments: list[str], python: str, environment: Mapping[str, str], listen: str | None = None
    ) -> None:
        self.folder = folder
        self.address = listen or f"unix:{folder}/s"
        self._clients: list[Client] = []
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [python, "-m", "tenfold_runtime", *arguments, "--listen", self.address],
                cwd=folder / "runtime",
                env={"HOME": str(folder), "PATH": "/usr/bin:/bin", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_until(self._listens)

    def client(self, **options: Any) -> Client:
        client = Client(self.address, timeout_seconds=20, **options)
        self._clients.append(client)
        return client

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def ready(self) -> Client:
        """A client, when loading has ended one way or the other."""
        client = self.client()
        self.wait_until(lambda: client.health()["state"] != "loading")
        return client

    def wait_until(self, condition: Callable[[], Any], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}: {self.log()}"
            assert time.monotonic() < deadline, f"it did not happen in {seconds} s: {self.log()}"
            time.sleep(0.005)

    def _listens(self) -> bool:
        try:
            parse_address(self.address).connect(1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        for client in self._clients:
            client.close()
        with contextlib.suppress(OSError, FrameError):  # in order, so that a server that it started ends as well
            with Client(self.address, timeout_seconds=5) as client:
                client.request("shutdown", grace_seconds=0)
            self.process.wait(5)
        self.process.kill()
        self.process.wait()


class Workers:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[Worker] = []

    def model(
        self,
        source: str,
        *,
        files: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        arguments: list[str] | None = None,
        listen: str | None = None,
    ) -> Worker:
        folder = self._new_folder()
        root = folder / "package"
        write_files(root, {"model/model.py": source, **(files or {})})
        if config is not None:
            write_files(root, {".tenfold/config.json": json.dumps(config)})
        write_files(folder / "secrets", secrets or {})
        options = ["--kind", "model", "--root", str(root), "--secrets-dir", str(folder / "secrets"), *(arguments or [])]
        return self._start(folder, options, python, environment or {}, listen)

    def truss(
        self,
        source: str,
        config: str = "",
        *,
        files: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        environment: Any = None,
        python: str = sys.executable,
    ) -> Worker:
        """A Truss folder, read as the platform reads it and run as the platform runs it."""
        written = {"config.yaml": textwrap.dedent(config), "model/model.py": textwrap.dedent(source), **(files or {})}
        if not source:
            del written["model/model.py"]
        settings = read_package({name: text.encode() for name, text in written.items()})
        variables = {"PATH": f"{Path(python).parent}:/usr/bin:/bin", **settings.environment_variables}
        folder = self._new_folder()
        root = folder / "package"
        write_files(root, {**written, ".tenfold/config.json": json.dumps(starts_from(settings))})
        write_files(folder / "secrets", secrets or {})
        options = ["--kind", "model", "--root", str(root), "--secrets-dir", str(folder / "secrets")]
        if environment is not None:
            options += ["--environment", json.dumps(environment)]
        return self._start(folder, options, python, variables)

    def code(self, bundles: Mapping[str, Mapping[str, str]], *, python: str = sys.executable) -> Worker:
        folder = self._new_folder()
        (folder / "bundles").mkdir()
        for digest, files in bundles.items():
            write_files(folder / "bundles" / digest, files)
        return self._start(folder, ["--kind", "code", "--code-root", str(folder / "bundles")], python, {})

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    @property
    def bare_python(self) -> str:
        """The interpreter below the one of the tests, without what is installed for them."""
        return os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")

    def _start(
        self, folder: Path, options: list[str], python: str, environment: Mapping[str, str], listen: str | None = None
    ) -> Worker:
        shutil.copytree(RUNTIME, folder / "runtime" / "tenfold_runtime", ignore=shutil.ignore_patterns("__pycache__"))
        worker = Worker(folder, options, python, environment, listen)
        self._workers.append(worker)
        return worker

    def _new_folder(self) -> Path:
        folder = self._folder / str(len(self._workers))
        folder.mkdir()
        return folder


def write_files(root: Path, files: Mapping[str, str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")


@pytest.fixture
def workers() -> Iterator[Workers]:
    with new_workers() as started:
        yield started


@pytest.fixture(scope="module")
def shared_workers() -> Iterator[Workers]:
    """For what the tests of a file ask the same worker, and leave as it was."""
    with new_workers() as started:
        yield started


@contextlib.contextmanager
def new_workers() -> Iterator[Workers]:
    # not tmp_path: the path of a unix socket holds about a hundred bytes
    folder = Path(tempfile.mkdtemp(prefix="tf-"))
    started = Workers(folder)
    yield started
    started.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def environment_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The Python of a new virtual environment that has the packages; one per set of packages and test run."""
    made: dict[tuple[str, ...], str] = {}

    def python(*packages: str) -> str:
        if packages not in made:
            folder = tmp_path_factory.mktemp("environment")
            uv_bin = uv.find_uv_bin()
            subprocess.run([uv_bin, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
            made[packages] = str(folder / "bin" / "python")
            command = [uv_bin, "pip", "install", "--quiet", "--python", made[packages], *packages]
            subprocess.run(command, check=True, timeout=600)
        return made[packages]

    return python


@pytest.fixture
def call() -> Callable[..., list[dict[str, Any]]]:
    """Calls steps in a bundle and answers their results."""

    def results(
        client: Client, code: str, *steps: tuple[str, str, dict[str, Any]], **values: Any
    ) -> list[dict[str, Any]]:
        header = [{"name": name, "target": target, "arguments": arguments} for name, target, arguments in steps]
        answer = client.request("call", json.dumps(values).encode(), code=code, steps=header)
        assert answer.ok, answer.header
        found: list[dict[str, Any]] = answer.json()["results"]
        return found

    return results


@pytest.fixture
def predict() -> Callable[..., Frame]:
    """Sends a JSON value to a model and answers the frame that comes back."""

    def answer(client: Client, value: Any = None, **header: Any) -> Frame:
        return client.request("predict", json.dumps(value).encode(), **{"content_type": "application/json", **header})

    return answer


@pytest.fixture
def open_files() -> Callable[[int], int]:
    """How many descriptors a process has open."""
    return lambda pid: len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture
def unused_port() -> Callable[[], int]:
    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number: int = probe.getsockname()[1]
            return number

    return port
