"""One supervised process: spawned, its output kept in a file of bounded size, started again when it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG_BYTES = 16 * 1024 * 1024
BACKOFF_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STABLE_AFTER_SECONDS = 30.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """What to run. `stop_signal` is also what it gets when the supervisor itself is killed."""

    name: str
    argv: list[str]
    popen_kwargs: dict[str, Any] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 15.0
    before_start: Callable[[], None] | None = None


class Child:
    """Must be started and watched from one thread that lives as long as the supervisor: on Linux a child is told of the
    death of the thread that made it, not of the process."""

    def __init__(self, program: Program, log_file: Path) -> None:
        self.program = program
        self.log_file = log_file
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._ended_at: float | None = None
        self._failures = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        if self.program.before_start is not None:
            self.program.before_start()
        self._process = subprocess.Popen(
            self.program.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent(self.program.stop_signal),  # noqa: PLW1509 (two system calls, no locks)
            **self.program.popen_kwargs,
        )
        self._started_at, self._ended_at = time.monotonic(), None
        threading.Thread(
            target=_keep_log, args=(self._process, self.log_file), name=f"log of {self.program.name}", daemon=True
        ).start()

    def watch(self) -> str | None:
        """Starts it again when it has ended (after a pause, if that happens often). Returns what there is to say."""
        process = self._process
        if process is None or process.poll() is None:
            return None
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
            self._failures = 1 if now - self._started_at > STABLE_AFTER_SECONDS else self._failures + 1
            return f"{self.program.name} ended ({_how(process.returncode)}); starting it again"
        pause = BACKOFF_SECONDS[min(self._failures - 1, len(BACKOFF_SECONDS) - 1)]
        if now - self._ended_at >= pause:
            self.restarts += 1
            self.start()
        return None

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.program.stop_signal)

    def wait_stopped(self) -> None:
        """Waits for as long as the program may take, then kills it."""
        if self._process is None:
            return
        try:
            self._process.wait(self.program.stop_seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(self.program.kill_signal)
            self._process.wait(10)

    def has_failed_to_start(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def last_words(self, characters: int = 1500) -> str:
        try:
            return self.log_file.read_bytes()[-characters:].decode("utf-8", "replace").strip()
        except OSError:
            return ""


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def set_death_signal() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died before the line above
            os.kill(os.getpid(), number)

    return set_death_signal


def _keep_log(process: subprocess.Popen[bytes], file: Path) -> None:
    """Copies a process's output into its log file; a full one is kept beside it as `.1`."""
    assert process.stdout is not None
    with process.stdout as output:
        log = file.open("ab")
        try:
            while chunk := os.read(output.fileno(), 65536):
                if log.tell() + len(chunk) > LOG_BYTES:
                    log.close()
                    file.replace(file.with_name(f"{file.name}.1"))
                    log = file.open("ab")
                log.write(chunk)
                log.flush()
        finally:
            log.close()


def _how(returncode: int) -> str:
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"status {returncode}"
