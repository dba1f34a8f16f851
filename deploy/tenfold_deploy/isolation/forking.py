"""The shim's side of a zygote: makes a sandbox below the zygote's, and has a worker forked that moves into it.

Imported by the shim from its path, and only for replicas for which there is a zygote: standard library only, nothing of
the platform. What is said in which order is described in `tenfold_runtime/zygote.py`.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any, NoReturn

cgroups: Any = importlib.import_module("cgroups")
joining: Any = importlib.import_module("joining")

Enter = Callable[[int, int], NoReturn]

KEEPER = ("/bin/sh", "-c", "echo; read nothing")
"""The command of such a sandbox: says that it is complete, and ends with the shim."""

_ANSWER_SECONDS = 5.0
_STATUS_SECONDS = 1.0
_MESSAGE_BYTES = 64 * 1024


class Declined(Exception):
    """There is no worker. The message says why; nothing is left of the attempt."""


class Forked:
    """A worker that a zygote has forked. `sandbox` is bubblewrap, a child of the caller; `first` is the first process
    inside. `descriptors` become readable when the worker or the zygote ends.
    """

    def __init__(self, sandbox: int, first: int, worker: int, leash: socket.socket, keeper: int) -> None:
        self.sandbox = sandbox
        self.first = first
        self.worker = worker
        self._leash = leash
        self._keeper = keeper  # while it is open the sandbox stays
        self.descriptors = [leash.fileno()]
        with contextlib.suppress(AttributeError, OSError):
            self.descriptors.append(os.pidfd_open(worker))

    def status(self) -> int | None:
        """How the worker ended, as waitpid tells it. None where the zygote does not say so in time: it may be gone."""
        self._leash.settimeout(_STATUS_SECONDS)
        try:
            return int(json.loads(self._leash.recv(_MESSAGE_BYTES))["status"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def fork(zygote: dict[str, Any], request: dict[str, Any], output: int, groups: list[str], enter: Enter) -> Forked:
    """Has a worker forked and puts it under control. Raises Declined.

    `zygote` has `socket`, and `pid` and `started` of its process; `output` is where the worker prints. `enter` is
    called in a new process, with what is its input and its output, and becomes the sandbox around KEEPER.
    """
    attempt = _Attempt(output)
    try:
        return attempt.run(zygote, request, groups, enter)
    except BaseException as error:
        attempt.undo()
        if isinstance(error, TimeoutError):
            raise Declined("its zygote did not answer") from None
        if isinstance(error, (OSError, ValueError, IndexError)):
            raise Declined(f"{type(error).__name__}: {error}") from None
        raise


class _Attempt:
    def __init__(self, output: int) -> None:
        self._output = output
        self._opened: list[int] = []
        self._leash = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sandbox = 0
        self._keeper = -1

    def run(self, zygote: dict[str, Any], request: dict[str, Any], groups: list[str], enter: Enter) -> Forked:
        user, pid = (self._keep(os.open(f"/proc/{zygote['pid']}/ns/{name}", os.O_RDONLY)) for name in ("user", "pid"))
        self._connect(zygote)
        self._send(json.dumps(request).encode() + b"\n", [self._output])
        self._make_sandbox(user, pid, enter)
        first = self._first_inside()
        namespaces = [self._keep(descriptor) for descriptor in joining.open_namespaces(first)]
        self._send(b"\n", namespaces)
        worker = self._worker(namespaces[-1])
        cgroups.admit(groups, worker)
        with contextlib.suppress(OSError), open(f"/proc/{worker}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("800")
        self._leash.sendall(b"go\n")
        for descriptor in self._opened:
            os.close(descriptor)
        return Forked(self._sandbox, first, worker, self._leash, self._keeper)

    def undo(self) -> None:
        self._leash.close()
        if self._sandbox:
            os.kill(self._sandbox, signal.SIGKILL)
            os.waitpid(self._sandbox, 0)
        for descriptor in (*self._opened, *([self._keeper] if self._keeper >= 0 else [])):
            os.close(descriptor)

    def _connect(self, zygote: dict[str, Any]) -> None:
        """The zygote's folder is writable for it: a link there must lead to nobody else's socket."""
        if not stat.S_ISSOCK(os.lstat(zygote["socket"]).st_mode):
            raise Declined("its zygote has no socket")
        self._leash.settimeout(_ANSWER_SECONDS)
        self._leash.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._leash.connect(zygote["socket"])
        peer = struct.unpack("3i", self._leash.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        if peer != zygote["pid"] or _started(peer) != zygote["started"]:
            raise Declined("its zygote's socket is somebody else's")

    def _send(self, data: bytes, descriptors: list[int]) -> None:
        sent = self._leash.sendmsg(
            [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]
        )
        self._leash.sendall(data[sent:])

    def _make_sandbox(self, user: int, pid: int, enter: Enter) -> None:
        keeper_in, self._keeper = os.pipe()
        self._ready, ready_out = os.pipe()
        self._keep(self._ready)
        told_in, told_out = os.pipe()
        between = os.fork()
        if between == 0:
            try:
                made = joining.start_below(user, pid)
                if made == 0:
                    enter(keeper_in, ready_out)
                os.write(told_out, str(made).encode())
            except BaseException as error:
                os.write(self._output, f"[tenfold] no sandbox below the zygote's: {error}\n".encode())
            os._exit(0)
        for descriptor in (keeper_in, ready_out, told_out):
            os.close(descriptor)
        os.waitpid(between, 0)
        with os.fdopen(told_in, "rb") as told:
            self._sandbox = int(told.read(32) or 0)
        if not self._sandbox:
            raise Declined("no sandbox could be made below its zygote's")

    def _first_inside(self) -> int:
        """The first process of the complete sandbox."""
        ready, _, _ = select.select([self._ready], [], [], _ANSWER_SECONDS)
        if not ready or not os.read(self._ready, 16):
            raise Declined("the sandbox below its zygote's did not become ready")
        with open(f"/proc/{self._sandbox}/task/{self._sandbox}/children", "rb") as file:
            return int(file.read().split()[0])

    def _worker(self, namespace: int) -> int:
        """The worker's process, as the kernel knows who says `here`; it must be where it was sent."""
        data, ancillary, _, _ = self._leash.recvmsg(_MESSAGE_BYTES, socket.CMSG_SPACE(12))
        if data != b"here\n":
            raise Declined(f"its zygote answered {data[:500].decode('utf-8', 'replace').strip() or 'nothing'}")
        pid: int = struct.unpack("3i", ancillary[0][2])[0]  # nothing else fits: descriptors are not taken from it
        if not os.path.samestat(os.stat(f"/proc/{pid}/ns/pid"), os.fstat(namespace)):
            raise Declined("the worker that its zygote forked is not in its sandbox")
        return pid

    def _keep(self, descriptor: int) -> int:
        self._opened.append(descriptor)
        return descriptor


def _started(pid: int) -> str:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[19].decode()
