"""The data folder of a one-machine installation: one owner at a time, its ports and keys, and where everything lies."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenfold_platform.errors import Conflict
from tenfold_platform.up.embedded import free_port, is_listening

DEFAULT_API_PORT = 7070
DEFAULT_GATEWAY_PORT = 7071


class AlreadyRunning(Conflict):
    code = "already_running"


class PortInUse(Conflict):
    code = "port_in_use"


@dataclass(frozen=True)
class Ports:
    api: int
    gateway: int
    postgres: int
    redis: int


class DataFolder:
    """`path` with the lock held. Use as a context manager; raises AlreadyRunning when another `up` has it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: int | None = None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @property
    def running_file(self) -> Path:
        """Who runs here now, for `tenfold status` and for a second `up`."""
        return self.path / "running.json"

    def __enter__(self) -> DataFolder:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs.mkdir(exist_ok=True)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise self._already_running() from None
        self._lock = lock
        return self

    def __exit__(self, *exc: object) -> None:
        self.running_file.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read_running(self) -> dict[str, Any] | None:
        try:
            running: dict[str, Any] = json.loads(self.running_file.read_text())
        except (OSError, ValueError):
            return None
        return running

    def write_running(self, running: dict[str, Any]) -> None:
        write_private(self.running_file, json.dumps(running, indent=2))

    def signing_key(self) -> str:
        """Made at the first start and never shown; tokens and share links depend on it."""
        return self._key("signing").strip()

    def secrets_key(self) -> str:
        """Seals the secrets of the database, and is not in it. One key a line: the first seals, the others still open
        what they sealed, until it is sealed anew.
        """
        lines = [line.strip() for line in self._key("secrets").splitlines()]
        return ",".join(line for line in lines if line and not line.startswith("#"))

    def _key(self, name: str) -> str:
        file = self.path / "keys" / f"{name}.key"
        if not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(file, secrets.token_hex(32) + "\n")
        return file.read_text()

    def choose_ports(self, *, api: int | None, gateway: int | None) -> Ports:
        """The ports asked for, else those of the last start, else the usual ones; addresses stay what they were.

        Raises:
            PortInUse: one that was asked for, or that addresses of this folder already name, is taken.
        """
        file = self.path / "ports.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        ports = Ports(
            api=_fixed("--port", api if api is not None else known.get("api"), DEFAULT_API_PORT),
            gateway=_fixed(
                "--gateway-port", gateway if gateway is not None else known.get("gateway"), DEFAULT_GATEWAY_PORT
            ),
            postgres=_inner(known.get("postgres")),
            redis=_inner(known.get("redis")),
        )
        write_private(file, json.dumps(asdict(ports)))
        return ports

    def _already_running(self) -> AlreadyRunning:
        running = self.read_running() or {}
        where = f" at {running['console_url']} (process {running['pid']})" if running else ""
        return AlreadyRunning(
            f"Tenfold already runs on the data folder {self.path}{where}.",
            hint="Use that one, stop it with Ctrl+C where it was started, or name another folder with --data.",
        )


def write_private(file: Path, text: str) -> None:
    """Writes a file for its owner's eyes only, whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    temporary.replace(file)


def _fixed(option: str, wanted: int | None, usual: int) -> int:
    if wanted == 0:
        return free_port()
    if wanted is None:
        return usual if not is_listening(usual) else free_port()
    if is_listening(wanted):
        raise PortInUse(
            f"Port {wanted} is taken by another program.",
            hint=f"Stop that program, or choose another port with {option}.",
        )
    return wanted


def _inner(wanted: int | None) -> int:
    return wanted if wanted is not None and not is_listening(wanted) else free_port()
