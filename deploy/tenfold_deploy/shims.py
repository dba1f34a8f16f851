"""Starts shims, each forked from one process that has all of its program loaded: that takes 2 ms and not 50, and what
they have in common is in memory once.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import weakref
from typing import Any

from tenfold_deploy import shim
from tenfold_deploy.scheduler import SchedulerError

_START_SECONDS = 15.0


class Shims:
    """The process is started when it is first needed, and ends with this object; shims stay."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nursery: socket.socket | None = None

    def start(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Starts one and waits for its first and only word: the handle's data, or what went wrong."""
        answer_in, answer_out = os.pipe()
        try:
            try:
                self._ask(json.dumps(plan).encode(), answer_out)
            finally:
                os.close(answer_out)
            with os.fdopen(os.dup(answer_in), "rb") as answer:
                ready, _, _ = select.select([answer], [], [], _START_SECONDS)
                line = answer.readline() if ready else b""
        finally:
            os.close(answer_in)
        if not line:
            raise SchedulerError(
                "start_failed", "The process that starts workers did not answer.", hint="Is the machine overloaded?"
            )
        told: dict[str, Any] = json.loads(line)
        return told

    def _ask(self, plan: bytes, answer: int) -> None:
        with self._lock:
            try:
                self._send(plan, answer)
            except OSError:  # it was killed
                self._nursery = None
                self._send(plan, answer)

    def _send(self, plan: bytes, answer: int) -> None:
        if self._nursery is None:
            self._nursery = _new_nursery()
            weakref.finalize(self, self._nursery.close)
        rights = array.array("i", [answer]).tobytes()
        self._nursery.sendmsg([struct.pack("=Q", len(plan))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self._nursery.sendall(plan)


def _new_nursery() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", shim.__file__],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={"LANG": "C.UTF-8"},
        )
    try:
        process.wait(_START_SECONDS)  # it leaves the one that stays behind, so that this process is never its parent
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    ours.settimeout(_START_SECONDS)
    return ours
