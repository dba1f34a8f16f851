"""What the servers that came with Python packages have in common: prepared, started, watched and stopped the same way.

A supervisor spawns `argv` with `popen_kwargs` itself, after `prepare()`, and asks `is_ready()`; `start()` and `stop()`
do the same for a caller without one.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO

POLL_SECONDS = 0.02


class EmbeddedServerError(RuntimeError):
    """The server could not be prepared or started; the message ends with what it last said."""


class EmbeddedServer(ABC):
    """One server on a loopback port, with its files and its password in one folder."""

    name: str
    stop_signal: signal.Signals
    kill_signal: signal.Signals = signal.SIGKILL

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Makes whatever must be there before the first start. Repeatable; cheap when there is nothing to do."""

    @property
    @abstractmethod
    def argv(self) -> list[str]: ...

    @property
    @abstractmethod
    def popen_kwargs(self) -> dict[str, Any]:
        """Everything for subprocess.Popen but the argv and the standard streams."""

    @property
    @abstractmethod
    def url(self) -> str:
        """With the password: never log it."""

    @abstractmethod
    def is_ready(self) -> bool: ...

    @property
    def log_file(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Prepares, starts, and waits until it answers."""
        self.prepare()
        self._log = os.fdopen(os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
        self._process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, **self.popen_kwargs
        )
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout_seconds: float = 60) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if self._process is not None and self._process.poll() is not None:
                raise self.error(f"{self.name} ended at once, with status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise self.error(f"{self.name} did not answer within {timeout_seconds:.0f} seconds")
            time.sleep(POLL_SECONDS)

    def stop(self, timeout_seconds: float = 30) -> None:
        """Lets it finish; kills it when it does not."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, self.stop_signal, self.kill_signal, timeout_seconds)
        if self._log is not None:
            self._log.close()
            self._log = None

    def error(self, what: str) -> EmbeddedServerError:
        said = ""
        with contextlib.suppress(OSError):
            said = self.log_file.read_bytes()[-2000:].decode("utf-8", "replace").strip()
        return EmbeddedServerError(f"{what}. It said:\n{said}" if said else f"{what}.")


def free_port() -> int:
    """A loopback port that nobody listens on now, and that no outgoing connection is given before it is used."""
    for _ in range(_PORT_TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(_FIRST_PORT, _first_outgoing_port())))
            return int(probe.getsockname()[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first_outgoing_port() -> int:
    """Of those that the system gives to outgoing connections."""
    with contextlib.suppress(OSError, ValueError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
        return max(first, _FIRST_PORT + 1)
    return _USUAL_FIRST_OUTGOING_PORT


_FIRST_PORT = 10_240
_USUAL_FIRST_OUTGOING_PORT = 32_768
_PORT_TRIES = 50


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def password_in(file: Path) -> str:
    """Made at the first call, then kept, for its owner's eyes only."""
    with contextlib.suppress(FileExistsError):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as new:
            new.write(secrets.token_urlsafe(32))
    return file.read_text()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end(process: subprocess.Popen[bytes], politely: signal.Signals, hard: signal.Signals, seconds: float) -> None:
    if process.poll() is None:
        process.send_signal(politely)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(hard)
        process.wait(10)
