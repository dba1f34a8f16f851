"""A real gateway on a real port and PostgreSQL, and workers that do as they are told: fakes that speak real frames."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import queue
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvloop
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker
from websockets.sync.client import ClientConnection, connect

from tenfold_deploy.packages import read_package, starts_from
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.auth.tokens import TokenKind, issue
from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.gateway.app import GatewayApp
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.direct import Direct
from tenfold_platform.gateway.main import running
from tenfold_platform.gateway.pool import PoolLimits
from tenfold_platform.gateway.runner import RunnerLimits
from tenfold_platform.gateway.server import Server, listen, make_server
from tenfold_platform.models.tables import AliasTable, ModelTable, VersionTable
from tenfold_platform.settings import Settings
from tenfold_platform.workspaces.tables import WorkspaceTable
from tenfold_runtime.client import Client
from tenfold_runtime.frames import Decoder, encode
from tenfold_worklets.compile import compile_worklet
from tenfold_worklets.document import load_worklet

ROOT = Path(__file__).parents[3]
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # else each client reads the machine's certificates: 60 ms
numbers = itertools.count(1)
Behaviour = Callable[["FakeWorker", dict[str, Any], bytes, "Reply"], None]


@dataclass
class Reply:
    """Sends the answers to one request."""

    connection: socket.socket
    id: int
    lock: threading.Lock
    inbox: queue.Queue[tuple[dict[str, Any], bytes]] = field(default_factory=queue.Queue)

    def next(self) -> tuple[dict[str, Any], bytes]:
        """The next further frame of a two-way exchange."""
        return self.inbox.get(timeout=20)

    def frame(self, header: dict[str, Any], payload: bytes = b"") -> None:
        with self.lock:
            self.connection.sendall(encode({"id": self.id, **header}, payload))

    def ok(self, payload: bytes = b"{}", **header: Any) -> None:
        self.frame({"ok": True, "status": 200, "content_type": "application/json", "seconds": 0.001, **header}, payload)

    def error(self, status: int, code: str, message: str, **header: Any) -> None:
        self.frame({"ok": False, "status": status, "code": code, "message": message, **header})


def echo(worker: FakeWorker, header: dict[str, Any], payload: bytes, reply: Reply) -> None:
    reply.ok(payload)


@dataclass
class FakeWorker:
    """Listens on a unix socket and does what `behaviour` says with every request, each in its own thread."""

    path: Path
    behaviour: Behaviour = echo
    requests: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    open: dict[tuple[int, int], Reply] = field(default_factory=dict)
    acknowledges: bool = True
    hold: threading.Event = field(default_factory=threading.Event)
    connections: list[socket.socket] = field(default_factory=list)
    _listener: socket.socket | None = None
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    def start(self) -> FakeWorker:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._spawn(self._accept, self._listener)
        return self

    def die(self) -> None:
        """As kill -9 would have it: the socket file stays, nobody listens, connections are cut."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.connections.clear()

    def restart(self) -> None:
        self.path.unlink(missing_ok=True)
        self.start()

    def close(self) -> None:
        self.hold.set()
        self.die()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        decoder, lock = Decoder(), threading.Lock()
        with connection:
            while True:
                try:
                    data = connection.recv(1 << 16)
                except OSError:
                    return
                if not data:
                    return
                try:
                    for frame in decoder.feed(data):
                        self._receive(frame.header, frame.payload, Reply(connection, frame.id, lock))
                except OSError:  # it left before it could be told that its request is cancelled
                    return

    def _receive(self, header: dict[str, Any], payload: bytes, reply: Reply) -> None:
        key = (id(reply.connection), reply.id)
        if header["op"] == "ws":
            self.open[key].inbox.put((header, payload))
            return
        self.open[key] = reply
        self._take(header, payload, reply)

    def _take(self, header: dict[str, Any], payload: bytes, reply: Reply) -> None:
        if header["op"] == "cancel":
            self.cancelled.append(header["cancel"])
            if not self.acknowledges:
                return
            Reply(reply.connection, header["cancel"], reply.lock).error(499, "cancelled", "cancelled")
            return
        self.requests.append((header, payload))
        self._spawn(self._answer, header, payload, reply)

    def _answer(self, header: dict[str, Any], payload: bytes, reply: Reply) -> None:
        try:
            self.behaviour(self, header, payload, reply)
        except OSError:
            return


@pytest.fixture
def sockets_dir() -> Iterator[Path]:
    """Short: a unix socket's path has at most 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="tf-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_worker(sockets_dir: Path) -> Iterator[Callable[..., FakeWorker]]:
    workers: list[FakeWorker] = []

    def make(behaviour: Behaviour = echo) -> FakeWorker:
        worker = FakeWorker(sockets_dir / f"{next(numbers)}.sock", behaviour).start()
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture
def start_package(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Starts real workers on packages, as the platform would; gives the address of one that has loaded."""
    with real_workers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """The same, for workers that the tests of a file share."""
    with real_workers(tmp_path_factory.mktemp("logs")) as start:
        yield start


@contextmanager
def real_workers(logs: Path) -> Iterator[Callable[[Path], str]]:
    folder = Path(tempfile.mkdtemp(prefix="tf-"))  # short, as sockets_dir
    processes: list[subprocess.Popen[bytes]] = []

    def start(root: Path) -> str:
        (root / ".tenfold").mkdir()
        (root / ".tenfold" / "config.json").write_text(json.dumps(starts_from(read_package(root))))
        path, log = folder / f"real-{next(numbers)}.sock", logs / f"{root.name}.log"
        arguments = ["--kind", "model", "--root", str(root), "--digest", "0" * 64, "--listen", f"unix:{path}"]
        environment = {"PYTHONPATH": str(ROOT / "deploy"), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
        with log.open("wb") as file:
            command = [sys.executable, "-m", "tenfold_runtime", *arguments]
            processes.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
        deadline = time.monotonic() + 120
        while not path.exists() or _state_of(path) == "loading":
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        assert _state_of(path) == "ready", log.read_text()
        return f"unix:{path}"

    yield start
    for process in processes:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start_model(start_package: Callable[[Path], str], tmp_path: Path) -> Callable[..., str]:
    """`start_model(source, config="")` is the address of a worker that serves that model.py."""

    def start(source: str, config: str = "") -> str:
        return start_package(package_of(source, tmp_path / f"model-{next(numbers)}", config))

    return start


def package_of(source: str, root: Path, config: str = "") -> Path:
    """A package that is that model.py."""
    (root / "model").mkdir(parents=True)
    (root / "config.yaml").write_text(config)
    (root / "model" / "model.py").write_text(source)
    return root


def _state_of(path: Path) -> str:
    with Client(f"unix:{path}") as client:
        return str(client.health()["state"])


@pytest.fixture
def workspace(make_workspace: Callable[..., WorkspaceTable]) -> WorkspaceTable:
    return make_workspace("acme")


@pytest.fixture
def key(workspace: WorkspaceTable, make_key: Callable[..., Any]) -> str:
    return str(make_key(workspace, "predict").text)


@dataclass
class World:
    """Puts rows where the controller and the api would."""

    sessions: sessionmaker[Session]

    def environment(self, workspace: WorkspaceTable) -> UUID:
        with transaction(self.sessions) as session:
            row = EnvironmentTable(
                workspace_id=workspace.id, spec_digest=f"spec-{next(numbers)}", requirements=[], state="ready"
            )
            session.add(row)
        return row.id

    def model(
        self,
        workspace: WorkspaceTable,
        name: str = "churn",
        *,
        number: int = 1,
        alias: str | None = "production",
        state: str = "ready",
        reason: str = "",
        runtime: dict[str, Any] | None = None,
        schema: dict[str, Any] | None = None,
    ) -> VersionTable:
        """A version of a model, which is made when it is the first."""
        environment = self.environment(workspace)
        with transaction(self.sessions) as session:
            model = session.query(ModelTable).filter_by(workspace_id=workspace.id, name=name).one_or_none()
            if model is None:
                model = ModelTable(workspace_id=workspace.id, name=name)
                session.add(model)
                session.flush()
            version = VersionTable(
                workspace_id=workspace.id,
                model_id=model.id,
                number=number,
                package_digest="0" * 64,
                files=[],
                size_bytes=0,
                memory_bytes=0,
                config={"runtime": runtime or {}},
                schema=schema or {},
                environment_id=environment,
                state=state,
                reason=reason,
            )
            session.add(version)
            session.flush()
            if alias:
                session.merge(AliasTable(model_id=model.id, name=alias, version_id=version.id))
        return version

    def deployment(self, version: VersionTable, *, desired: int = 1, unhealthy: str = "") -> UUID:
        with transaction(self.sessions) as session:
            row = DeploymentTable(
                workspace_id=version.workspace_id,
                kind="model",
                version_id=version.id,
                environment_id=version.environment_id,
                desired_replicas=desired,
                unhealthy_reason=unhealthy,
            )
            session.add(row)
        return row.id

    def code_deployment(self, workspace: WorkspaceTable, environment: UUID) -> UUID:
        with transaction(self.sessions) as session:
            row = DeploymentTable(workspace_id=workspace.id, kind="code", environment_id=environment)
            session.add(row)
        return row.id

    def replica(self, deployment: UUID, address: str | None, *, state: str = "ready", reason: str = "") -> UUID:
        with transaction(self.sessions) as session:
            row = ReplicaTable(deployment_id=deployment, state=state, address=address, reason=reason)
            session.add(row)
        return row.id

    def set_replica(self, id: UUID, **values: Any) -> None:
        with transaction(self.sessions) as session:
            session.execute(update(ReplicaTable).where(ReplicaTable.id == id).values(**values))

    def served(
        self, workspace: WorkspaceTable, worker: FakeWorker | str, name: str = "churn", **options: Any
    ) -> VersionTable:
        """A ready version with one ready replica: a worker, or the address of one."""
        alias = options.pop("alias", "production")
        version = self.model(workspace, name, alias=None, **options)
        self.replica(self.deployment(version), worker if isinstance(worker, str) else worker.address)
        if alias:
            with transaction(self.sessions) as session:
                session.merge(AliasTable(model_id=version.model_id, name=alias, version_id=version.id))
        return version

    def app(
        self,
        workspace: WorkspaceTable,
        bundle: dict[str, Any],
        name: str = "shop",
        *,
        access: str = "workspace",
        number: int = 1,
    ) -> AppTable:
        """An app with a live release of that bundle."""
        with transaction(self.sessions) as session:
            app = session.query(AppTable).filter_by(workspace_id=workspace.id, name=name).one_or_none()
            if app is None:
                app = AppTable(workspace_id=workspace.id, name=name, title=name.title(), access=access)
                session.add(app)
                session.flush()
            release = ReleaseTable(
                workspace_id=workspace.id, app_id=app.id, number=number, state="ready", bundle=bundle, stages=[]
            )
            session.add(release)
            session.flush()
            app.live_release_id = release.id
            session.flush()
            session.refresh(app)
        return app

    def change(self, row: Any, **values: Any) -> None:
        with transaction(self.sessions) as session:
            session.execute(update(type(row)).where(type(row).id == row.id).values(**values))


@pytest.fixture
def world(sessions: sessionmaker[Session]) -> World:
    return World(sessions)


def make_bundle(
    *worklets: str,
    views: dict[str, Any] | None = None,
    models: dict[str, VersionTable] | None = None,
    environments: dict[str, UUID] | None = None,
    code_digest: str | None = None,
) -> dict[str, Any]:
    """A release's bundle, as the api makes it, from worklets in YAML."""
    plans = [compile_worklet(load_worklet(text, filename="worklet.yaml")) for text in worklets]
    return {
        "bundle": 1,
        "app": {"name": "shop", "title": "Shop", "home": next(iter(views), None) if views else None},
        "worklets": {plan.name: {"plan": json.loads(json.dumps(plan.to_json()))} for plan in plans},
        "views": views or {},
        "models": {
            ref: {"model": ref.partition("@")[0], "version_id": str(version.id), "number": version.number}
            for ref, version in (models or {}).items()
        },
        "environments": {name: str(id) for name, id in (environments or {}).items()},
        "code_digest": code_digest,
        "openapi": {"openapi": "3.1.0", "info": {"title": "Shop", "version": "1"}},
    }


@pytest.fixture
def bundle_of() -> Callable[..., dict[str, Any]]:
    return make_bundle


@dataclass
class Running:
    """A gateway that serves in a thread of its own."""

    url: str
    port: int
    gateway: Gateway
    server: Server
    loop: asyncio.AbstractEventLoop
    settings: Settings

    def wait_for(self, condition: Callable[[Gateway], Any], seconds: float = 30.0) -> None:
        """Until the gateway's state is as expected: it follows the database by itself."""
        deadline = time.monotonic() + seconds
        while not condition(self.gateway):
            assert time.monotonic() < deadline, "the gateway did not get there in time"
            time.sleep(0.005)

    def reload(self) -> None:
        """The snapshot as of now."""
        asyncio.run_coroutine_threadsafe(self.gateway.loader.load(), self.loop).result(10)

    def flush(self) -> None:
        """Every finished run is in PostgreSQL."""
        asyncio.run_coroutine_threadsafe(self.gateway.spool.flush(), self.loop).result(10)

    def count(self) -> None:
        """Every call so far is in PostgreSQL's counts."""
        asyncio.run_coroutine_threadsafe(self.gateway.traffic.flush(), self.loop).result(10)

    def websocket(self, path: str, key: str | None = None, **options: Any) -> ClientConnection:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = self.url.replace("http://", "ws://") + path
        return connect(url, additional_headers=headers, open_timeout=20, close_timeout=20, **options)

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, verify=NO_TLS, **options)

    def raw(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., Running]]:
    """Starts gateways: `serve()`, `serve(limits=PoolLimits(queue_length=1))`, `serve(max_body_bytes=100)`."""
    stops: list[Callable[[], None]] = []

    def start(
        *, limits: PoolLimits | None = None, runner_limits: RunnerLimits | None = None, **overrides: Any
    ) -> Running:
        own = settings.model_copy(update=overrides)
        started: Future[Running] = Future()
        thread = threading.Thread(
            target=lambda: uvloop.run(_serve(own, limits, runner_limits, started)), name="gateway"
        )
        thread.start()
        running = started.result(20)

        def stop() -> None:
            running.server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

        stops.append(stop)
        return running

    yield start
    for stop in stops:
        stop()


async def _serve(
    settings: Settings, limits: PoolLimits | None, runner_limits: RunnerLimits | None, started: Future[Running]
) -> None:
    try:
        with listen("127.0.0.1", 0) as bound:
            port = bound.getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            async with running(settings, limits=limits, runner_limits=runner_limits) as gateway:
                app = GatewayApp(gateway)
                server = make_server(
                    app, shortcut=Direct(gateway, app), drain_seconds=5, max_message_bytes=settings.max_body_bytes
                )
                loop = asyncio.get_running_loop()
                started.set_result(Running(url, port, gateway, server, loop, settings))
                await server.serve(sockets=[bound])
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise


@pytest.fixture
def make_token(settings: Settings) -> Callable[..., str]:
    def make(kind: TokenKind, workspace: WorkspaceTable, **options: Any) -> str:
        signing_key = settings.signing_key.get_secret_value()
        return issue(signing_key, kind, workspace_id=workspace.id, name=options.pop("name", "someone"), **options)[0]

    return make
