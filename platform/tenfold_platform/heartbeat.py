"""A process's sign of life: its row in `processes`, for `tenfold status`. Uses psycopg only, so every process can."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import psycopg

BEAT_SECONDS = 2.0
SILENT_AFTER_SECONDS = 10.0
FORGOTTEN_AFTER_HOURS = 1

ProcessKind = Literal["api", "gateway", "engine", "controller"]

_BEAT = """
insert into processes (kind, host, pid, started_at, seen_at) values (%(kind)s, %(host)s, %(pid)s, now(), now())
on conflict (kind, host, pid) do update set seen_at = now(),
    started_at = case when %(first)s then now() else processes.started_at end
"""
_FORGET = "delete from processes where seen_at < now() - make_interval(hours => %(hours)s)"
_LEAVE = "delete from processes where kind = %(kind)s and host = %(host)s and pid = %(pid)s"


@dataclass
class Heartbeat:
    """`with Heartbeat(url, "api"): ...` beats in a thread of its own, through outages, and leaves at the end."""

    database_url: str
    kind: ProcessKind
    beat_seconds: float = BEAT_SECONDS
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        me = {"kind": self.kind, "host": socket.gethostname(), "pid": os.getpid(), "hours": FORGOTTEN_AFTER_HOURS}
        first = True
        while not self._stopping.is_set():
            try:
                with psycopg.connect(
                    plain_url(self.database_url),
                    autocommit=True,
                    connect_timeout=5,
                    application_name=f"tenfold-{self.kind}-heartbeat",
                ) as connection:
                    connection.execute(_FORGET, me)
                    while not self._stopping.is_set():
                        connection.execute(_BEAT, {**me, "first": first})
                        first = False
                        self._stopping.wait(self.beat_seconds)
                    connection.execute(_LEAVE, me)
            except psycopg.Error:
                self._stopping.wait(self.beat_seconds)


def plain_url(url: str) -> str:
    """What libpq understands of a SQLAlchemy address."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
