"""`tenfold up`: PostgreSQL, Redis and the four platform processes in one supervised tree, on one machine.

Order up:   PostgreSQL and Redis, migrations, bootstrap, then api, gateway, engine and controller.
Order down: gateway and api (they drain), controller and engine, workers, Redis, PostgreSQL.

Whatever ends by itself is started again. If this process is killed, its children end with it; workers stay, and the
next `up` on the same folder adopts them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.scheduler import Network, ReplicaState
from tenfold_platform.auth.service import Bootstrap, bootstrap
from tenfold_platform.db import make_engine, make_sessions
from tenfold_platform.defaults import DISK_KEPT_FREE_BYTES, ENVIRONMENTS_KEPT_DAYS, MAX_PACKAGE_BYTES
from tenfold_platform.egress import Allowed
from tenfold_platform.errors import PlatformError
from tenfold_platform.heartbeat import plain_url
from tenfold_platform.migrations import migrate
from tenfold_platform.settings import Settings
from tenfold_platform.up import credentials
from tenfold_platform.up.children import Child, Program
from tenfold_platform.up.embedded import EmbeddedServer, EmbeddedServerError
from tenfold_platform.up.folder import DataFolder, Ports
from tenfold_platform.up.postgres import EmbeddedPostgres
from tenfold_platform.up.redis import EmbeddedRedis

PROCESSES = ("api", "gateway", "engine", "controller")
# The api seals; the controller opens for workers, and the engine for private weights. The gateway gets no key.
HANDLE_SECRETS = ("api", "controller", "engine")
START_SECONDS = 90.0
WATCH_SECONDS = 0.1
WORKER_STOP_SECONDS = 5.0

Say = Callable[[str], None]


class StartFailed(PlatformError):
    code = "start_failed"


@dataclass(frozen=True)
class Options:
    """What the operator asked for."""

    data: Path
    host: str = "127.0.0.1"
    api_port: int | None = None
    gateway_port: int | None = None
    console_url: str | None = None
    gateway_url: str | None = None
    allow_unisolated_code: bool = False
    worker_network: Network | None = None
    studio_dir: Path | None = None
    python_downloads: bool = False
    compile_models: bool = True
    environments_kept_days: int = ENVIRONMENTS_KEPT_DAYS
    egress_allow: str = ""
    max_package_bytes: int = MAX_PACKAGE_BYTES
    disk_kept_free_bytes: int = DISK_KEPT_FREE_BYTES
    credentials_file: Path | None = None


@dataclass(frozen=True)
class Started:
    """What there is to tell once everything answers."""

    settings: Settings
    sign_in_link: str | None
    credentials_file: Path
    seconds: float


class Supervisor:
    """Runs one installation. `start` returns when it is ready, `watch` when it was asked to stop; then `stop`."""

    def __init__(self, options: Options, *, say: Say = print) -> None:
        self._options = options
        self._say = say
        self._folder = DataFolder(options.data)
        self._children: dict[str, Child] = {}
        self._stopping = threading.Event()
        self._workers_dir = self._folder.path / "workers"

    def run(self, announce: Callable[[Started], None]) -> None:
        """Starts, announces, watches until SIGINT or SIGTERM, stops. Raises PlatformError when it cannot start."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        with self._folder:
            try:
                started = self._start_or_explain()
                if not self._stopping.is_set():
                    announce(started)
                self.watch()
            finally:
                self.stop()

    def start(self) -> Started:
        begun = time.monotonic()
        Allowed.parse(self._options.egress_allow)
        _need_disk(self._folder.path)
        ports = self._folder.choose_ports(api=self._options.api_port, gateway=self._options.gateway_port)
        postgres = EmbeddedPostgres(self._folder.postgres, ports.postgres)
        redis = EmbeddedRedis(self._folder.redis, ports.redis)
        self._start_servers(postgres, redis)
        settings = self._settings(ports, postgres.url, redis.url)
        booted = self._prepare_database(settings)
        for name in PROCESSES:
            self._start_process(name, settings)
        self._wait_for_processes(settings)
        credentials_file = self._options.credentials_file or credentials.default_file()
        if booted.local_key is not None:
            credentials.write(credentials_file, settings, booted.local_key, self._folder.path)
        self._folder.write_running(
            {
                "pid": os.getpid(),
                "console_url": settings.console_url,
                "gateway_url": settings.gateway_url,
                "processes": {name: child.pid for name, child in self._children.items()},
            }
        )
        return Started(settings, booted.first_admin_link, credentials_file, time.monotonic() - begun)

    def _start_or_explain(self) -> Started:
        try:
            return self.start()
        except EmbeddedServerError as error:
            raise StartFailed(str(error)) from error

    def watch(self) -> None:
        while not self._stopping.is_set():
            for child in self._children.values():
                said = child.watch()
                if said:
                    self._say(said)
            self._stopping.wait(WATCH_SECONDS)

    def stop(self) -> None:
        """Ends everything that was started, in order. Nothing is lost: what was accepted is in PostgreSQL."""
        for group in (("gateway", "api"), ("controller", "engine")):
            self._stop_group(group)
        if self._workers_dir.exists():
            stop_workers(LocalScheduler(self._workers_dir))
        self._stop_group(("redis", "postgres"))

    def _on_signal(self, *_: object) -> None:
        if self._stopping.is_set():  # asked twice: no more patience
            for child in self._children.values():
                if child.pid:
                    os.kill(child.pid, child.program.kill_signal)
            raise SystemExit(130)
        self._say("Stopping …")
        self._stopping.set()

    def _start_servers(self, *servers: EmbeddedServer) -> None:
        for server in servers:
            server.prepare()
            program = Program(
                name=server.name,
                argv=server.argv,
                popen_kwargs=server.popen_kwargs,
                stop_signal=server.stop_signal,
                kill_signal=server.kill_signal,
                stop_seconds=30.0,
                before_start=server.prepare,
            )
            key = "postgres" if isinstance(server, EmbeddedPostgres) else "redis"
            self._children[key] = Child(program, self._folder.logs / f"{key}.log")
            self._children[key].start()
        for server, key in zip(servers, ("postgres", "redis"), strict=True):
            self._wait(server.name, server.is_ready, self._children[key])

    def _settings(self, ports: Ports, database_url: str, redis_url: str) -> Settings:
        options = self._options
        return Settings.model_validate(
            {
                "database_url": database_url,
                "redis_url": redis_url,
                "data_dir": self._folder.path,
                "signing_key": self._folder.signing_key(),
                "secrets_key": self._folder.secrets_key(),
                # two host names for one machine: the console's cookie does not travel to where views are served
                "console_url": options.console_url or f"http://localhost:{ports.api}",
                "gateway_url": options.gateway_url or f"http://127.0.0.1:{ports.gateway}",
                "host": options.host,
                "api_port": ports.api,
                "gateway_port": ports.gateway,
                "studio_dir": options.studio_dir,
                "allow_unisolated_code": options.allow_unisolated_code,
                "worker_network": options.worker_network,
                "python_downloads": options.python_downloads,
                "compile_models": options.compile_models,
                "environments_kept_days": options.environments_kept_days,
                "egress_allow": options.egress_allow,
                "max_package_bytes": options.max_package_bytes,
                "disk_kept_free_bytes": options.disk_kept_free_bytes,
            }
        )

    def _prepare_database(self, settings: Settings) -> Bootstrap:
        migrate(settings.database_url.get_secret_value())
        engine = make_engine(settings.database_url.get_secret_value(), pool_size=1, application_name="tenfold up")
        try:
            sessions = make_sessions(engine)
            file = self._options.credentials_file or credentials.default_file()
            known = credentials.find_key(file, settings)
            with sessions() as session:
                has_key = known is not None and credentials.is_valid(session, known)
            return bootstrap(sessions, settings, want_local_key=not has_key)
        finally:
            engine.dispose()

    def _start_process(self, name: str, settings: Settings) -> None:
        if name not in HANDLE_SECRETS:
            settings = settings.model_copy(update={"secrets_key": None})
        program = Program(
            name=name,
            argv=[sys.executable, "-m", "tenfold_platform", name],
            popen_kwargs={"env": _environment(settings), "start_new_session": True, "cwd": str(self._folder.path)},
        )
        self._children[name] = Child(program, self._folder.logs / f"{name}.log")
        self._children[name].start()

    def _wait_for_processes(self, settings: Settings) -> None:
        local = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 (compared, not bound)
        waits: dict[str, Callable[[], bool]] = {
            "api": lambda: _answers(f"http://{local}:{settings.api_port}/healthz"),
            "gateway": lambda: _answers(f"http://{local}:{settings.gateway_port}/healthz"),
            "engine": lambda: _beats(settings, "engine"),
            "controller": lambda: _beats(settings, "controller"),
        }
        for name, is_ready in waits.items():
            self._wait(name, is_ready, self._children[name])

    def _wait(self, name: str, is_ready: Callable[[], bool], child: Child) -> None:
        begun = time.monotonic()
        while not is_ready():
            if self._stopping.is_set():
                return
            if child.has_failed_to_start() or time.monotonic() - begun > START_SECONDS:
                raise StartFailed(
                    f"{name} did not start. Its last words:\n{child.last_words()}",
                    hint=f"The whole log is {child.log_file}.",
                )
            time.sleep(0.03)
        self._say(f"{name} is ready ({time.monotonic() - begun:.1f} s)")

    def _stop_group(self, names: tuple[str, ...]) -> None:
        children = [self._children[name] for name in names if name in self._children]
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.wait_stopped()


def stop_workers(scheduler: LocalScheduler) -> None:
    """Stops every worker of this installation, and what they were forked from, and waits for them."""
    handles = scheduler.adopt()
    for handle in handles:
        scheduler.stop(handle, WORKER_STOP_SECONDS)
    deadline = time.monotonic() + WORKER_STOP_SECONDS + 5
    while time.monotonic() < deadline:
        if all(seen.state == ReplicaState.EXITED for seen in scheduler.observe_all(handles)):
            break
        time.sleep(0.05)
    scheduler.end_zygotes()


def _environment(settings: Settings) -> dict[str, str]:
    """The machine's environment without anybody's TENFOLD_ variables, with ours. Bytecode is kept, for fast starts."""
    left_out = ("TENFOLD_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | settings.as_environment()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 (our own address)
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _beats(settings: Settings, kind: str) -> bool:
    """Whether a process of this kind has been seen since it was started."""
    try:
        with psycopg.connect(plain_url(settings.database_url.get_secret_value()), connect_timeout=2) as connection:
            row = connection.execute(
                "select 1 from processes where kind = %s and seen_at > now() - interval '5 seconds'", (kind,)
            ).fetchone()
    except psycopg.Error:
        return False
    return row is not None


def _need_disk(folder: Path, megabytes: int = 500) -> None:
    free = shutil.disk_usage(folder).free // (1024 * 1024)
    if free < megabytes:
        raise StartFailed(
            f"Only {free} MB are free where the data folder {folder} lies; {megabytes} MB are needed to start.",
            hint="Free some space, or name another folder with --data.",
        )
