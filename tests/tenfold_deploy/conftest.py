"""A scheduler of one level of isolation, with real workers; and an index of packages to make environments from."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import textwrap
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tenfold_deploy.isolation import find_isolation
from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.scheduler import Handle, Isolation, Level, Network, Observation, ReplicaSpec, ReplicaState
from tenfold_runtime.client import Client

from ..waiting import wait_for

MIB = 1024 * 1024
ORDER: tuple[Level, ...] = ("strict", "reduced", "none")
Way = Literal["strict", "reduced", "none", "forked"]
BARE_PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
SOURCE = "class Model:\n    def predict(self, x): return x"


class Machine:
    """A state folder below a data folder, with a scheduler of one level on it."""

    def __init__(self, folder: Path, level: Level, network: Network = "none", *, forks: bool = False) -> None:
        self.folder, self.level, self.forks = folder, level, forks
        self.isolation = Isolation(level, network)
        self.state = folder / "data" / "workers"
        self.handles: list[Handle] = []
        self.clients: list[Client] = []
        self.python = BARE_PYTHON
        self.scheduler = self.make()

    def make(self, **options: Any) -> LocalScheduler:
        options = {"zygotes": 4 if self.forks else 0, **options}
        return LocalScheduler(self.state, isolation=self.isolation, **options)

    def spec(self, source: str, *, files: Mapping[str, str] = {}, **fields: Any) -> ReplicaSpec:
        """Of a worker on a package of its own: this model.py, and those files."""
        data = self.folder / "data"
        root = data / f"package{len(list(data.glob('package*')))}"
        for name, text in {"model/model.py": textwrap.dedent(source), **files}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        given = {"replica_id": str(uuid.uuid4()), "kind": "model", "python": self.python, "root": str(root)}
        return ReplicaSpec(**{**given, **fields})

    def start(
        self, source: str, *, scheduler: LocalScheduler | None = None, first: str = SOURCE, **fields: Any
    ) -> Handle:
        """A worker, forked where the machine forks; `first` is the source of the one that a zygote learns from."""
        spec = self.spec(source, **fields)
        if self.forks:
            self.make_zygote(spec, first)
        handle = (scheduler or self.scheduler).start(spec)
        self.handles.append(handle)
        assert handle.data["forked"] is self.forks, handle
        return handle

    def make_zygote(self, spec: ReplicaSpec, source: str) -> None:
        """By a first worker that is like those to come, but for its package."""
        root = self.folder / "data" / "first"
        (root / "model").mkdir(parents=True, exist_ok=True)
        (root / "model" / "model.py").write_text(textwrap.dedent(source))
        first = replace(spec, replica_id=str(uuid.uuid4()), root=str(root), secrets={})
        handle = self.scheduler.start(first)
        key = handle.data["zygote_key"]
        wait_for(lambda: self.scheduler.observe(handle) and self.zygotes(key))
        self.scheduler.stop(handle, 0)
        self.ended(handle)
        self.scheduler.remove(handle)

    def zygotes(self, key: str = "*") -> list[dict[str, Any]]:
        """The handles of those that can be forked from."""
        handles = [json.loads(path.read_text()) for path in self.state.glob(f"zygotes/{key}/z-*/handle.json")]
        return [handle for handle in handles if os.path.exists(handle["socket"])]

    def running(self, source: str, **fields: Any) -> tuple[Handle, Client]:
        handle = self.start(source, **fields)
        return handle, self.connect(handle)

    def connect(self, handle: Handle) -> Client:
        seen = self.wait(handle, lambda seen: seen.state is not ReplicaState.STARTING)
        assert seen.state is ReplicaState.RUNNING, (seen, self.log(handle))
        assert seen.address is not None
        client = Client(seen.address, timeout_seconds=60)
        self.clients.append(client)
        wait_for(lambda: client.health()["state"] != "loading")
        return client

    def wait(self, handle: Handle, condition: Callable[[Observation], bool], seconds: float = 60) -> Observation:
        """The first observation that meets the condition."""

        def look() -> Observation | None:
            seen = self.scheduler.observe(handle)
            return seen if condition(seen) else None

        found: Observation = wait_for(look, seconds, every=0.01)
        return found

    def ended(self, handle: Handle) -> Observation:
        return self.wait(handle, lambda seen: seen.state is ReplicaState.EXITED)

    def log(self, handle: Handle) -> str:
        return self.scheduler.logs(handle, 0, 100 * MIB).data.decode("utf-8", "replace")

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for handle in self.handles:
            self.scheduler.stop(handle, 0)
        for handle in self.handles:
            self.ended(handle)
        self.scheduler.end_zygotes()


@pytest.fixture
def make_machine() -> Iterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def make(way: Way, network: Network = "none") -> Machine:
        level: Level = "strict" if way == "forked" else way
        found = find_isolation(network)
        if ORDER.index(level) < ORDER.index(found.level):
            pytest.fail(f"This machine cannot run the tests of level {level}: {' '.join(found.missing)}")
        machines.append(Machine(Path(tempfile.mkdtemp(prefix="tf-")), level, network, forks=way == "forked"))
        return machines[-1]

    yield make
    for machine in machines:
        machine.close()
        shutil.rmtree(machine.folder, ignore_errors=True)


# --- packages to install from


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that is all there is to install from; uv's cache and home are new as well."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "index"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    return folder


@pytest.fixture
def add_wheel(index: Path) -> Callable[..., None]:
    def add(
        name: str,
        version: str,
        *,
        requires: tuple[str, ...] = (),
        python: str = "",
        tag: str = "py3-none-any",
        more: Mapping[str, str] = {},
    ) -> None:
        stem = f"{name.replace('-', '_')}-{version}"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
        metadata += f"Requires-Python: {python}\n" if python else ""
        files = {
            f"{name}.py": f"VERSION = {version!r}\ndef main(): print(VERSION)\n",
            **more,
            f"{stem}.dist-info/METADATA": metadata,
            f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{stem}.dist-info/entry_points.txt": f"[console_scripts]\n{name}-version = {name}:main\n",
        }
        record = "".join(f"{path},,\n" for path in [*files, f"{stem}.dist-info/RECORD"])
        with zipfile.ZipFile(index / f"{stem}-{tag}.whl", "w") as wheel:
            for path, text in (files | {f"{stem}.dist-info/RECORD": record}).items():
                wheel.writestr(path, text)

    return add


@pytest.fixture
def add_source(index: Path) -> Callable[..., None]:
    """Adds a package that must be built, by `backend`: the code of its own build backend.

    Unless it is `static`, its metadata comes from the backend too.
    """

    def add(name: str, version: str, backend: str, *, static: bool = True, requires: tuple[str, ...] = ()) -> None:
        stem = f"{name}-{version}"
        project = f"[build-system]\nrequires = {list(requires)!r}\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        project += f"[project]\nname = '{name}'\nversion = '{version}'\n" if static else ""
        files = {
            "pyproject.toml": project,
            "backend.py": backend,
            "PKG-INFO": f"Metadata-Version: {'2.2' if static else '1.1'}\nName: {name}\nVersion: {version}\n",
        }
        with tarfile.open(index / f"{stem}.tar.gz", "w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{stem}/{path}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))

    return add
