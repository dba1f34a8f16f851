"""The process that workers of one environment are forked from: it has imported the libraries that they need.

`python -m tenfold_runtime.zygote --listen PATH --isolation FOLDER --imports FILE`. It lives in a sandbox of its own,
never runs code of a user's package, knows no secret, and has one thread: one that has more after importing gives up, as
no fork survives that.

A shim that starts a replica connects, which forks a process that serves it alone:

1. It gets one line of JSON: `{"arguments": [...], "environment": {...}, "working_folder": "...", "limits":
   {"7": 8192}, "seccomp": "...", "scope": true}`, with a descriptor for the worker's output.
2. It gets a line break, with descriptors of the namespaces of the sandbox that the replica is to be in (the order of
   `joining.open_namespaces`), and moves there.
3. The worker says `here`, and the shim knows its process id from the kernel. When it has put it under control, it
   answers `go`. The worker gives everything up that it must not have, and runs.
4. The zygote tells on the same connection how it ended: `{"status": 0}`, as waitpid says it. The connection is the
   worker's leash: when the shim's end closes, the worker is killed.

In step 1 to 3 the answer can be `{"error": "..."}` as well. Without workers the zygote ends after a while, and at once
when its folder or its environment is removed, or it is asked to (SIGTERM).
"""

from __future__ import annotations

import argparse
import array
import contextlib
import gc
import importlib
import json
import os
import re
import resource
import select
import signal
import socket
import sys
import time
import traceback
from typing import Any, Dict, List, NoReturn, Optional, Tuple

from tenfold_runtime import __main__ as worker
from tenfold_runtime import imports

THREADS_STATUS = 3
"""Its exit status when libraries have started threads: there is no use in trying again."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(\.[A-Za-z_][A-Za-z0-9_]{0,99}){0,20}")
_MESSAGE_BYTES = 256 * 1024
_LOOK_SECONDS = 2.0
_REQUEST_SECONDS = 20.0
_MOST_DESCRIPTORS = 16
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    options = _read()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    isolation = _Isolation(options.isolation)
    for name, problem in _import(options.imports).items():
        print(f"[tenfold] {name} could not be imported ahead: {problem}", flush=True)
    threads = _threads()
    if threads > 1:
        print(f"[tenfold] importing started threads ({threads}), which no fork survives", flush=True)
        os._exit(THREADS_STATUS)
    worker.command_line()
    imports.is_zygote()
    gc.collect()
    gc.freeze()  # what was imported stays where it is: a collection in a worker would copy its pages
    sys.stdout.flush()
    sys.stderr.flush()
    listener = _listener(options.listen)
    Zygote(listener, isolation, options.idle_seconds, os.path.dirname(options.listen)).run()
    os._exit(0)


class Zygote:
    """Forks workers on request, tells how they ended, and lets none outlive its shim."""

    def __init__(self, listener: socket.socket, isolation: _Isolation, idle_seconds: float, folder: str) -> None:
        self._listener = listener
        self._isolation = isolation
        self._idle_seconds = idle_seconds
        self._folders = [os.open(path, os.O_PATH) for path in (folder, sys.prefix)]
        self._leashes: Dict[int, socket.socket] = {}  # by descriptor
        self._births: Dict[int, socket.socket] = {}  # by the pipe that tells a worker's process id: its leash
        self._workers: Dict[int, Optional[socket.socket]] = {}  # by process: its leash, unless nobody holds that
        self._ended: Dict[int, int] = {}  # by process: how
        self._used = time.monotonic()
        self._retired = False
        self._poll = select.poll()

    def run(self) -> None:
        wake_in, wake_out = os.pipe()
        for descriptor in (wake_in, wake_out):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_retired", True))
        _be_parent_of_orphans()
        self._poll.register(wake_in, select.POLLIN)
        self._poll.register(self._listener, select.POLLIN)
        while self._is_wanted():
            for descriptor, _ in self._poll.poll(_LOOK_SECONDS * 1000):
                if descriptor == wake_in:
                    _drain(wake_in)
                elif descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._births:
                    self._is_born(descriptor)
                else:
                    self._let_go(descriptor)
            self._reap()

    def _is_wanted(self) -> bool:
        if self._workers or self._births:
            return True
        has_home = all(os.fstat(folder).st_nlink for folder in self._folders)  # a removed folder has no links left
        return has_home and not self._retired and time.monotonic() - self._used < self._idle_seconds

    def _accept(self) -> None:
        """Forks at once: while the libraries' pages are shared out, the replica's sandbox is still being made."""
        self._used = time.monotonic()
        leash, _ = self._listener.accept()
        if self._retired:
            leash.close()
            return
        told_in, told_out = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            _answer(leash, {"error": f"{type(error).__name__}: {error}"})
            for descriptor in (told_in, told_out, leash.detach()):
                os.close(descriptor)
            return
        if pid == 0:
            _serve(leash, told_out, self._isolation)
        os.close(told_out)
        self._births[told_in] = leash
        self._poll.register(told_in, select.POLLIN)

    def _is_born(self, told: int) -> None:
        """The worker is a grandchild, which its parent has left behind: this process is told of its end."""
        leash = self._births.pop(told)
        self._poll.unregister(told)
        said = os.read(told, 32)
        os.close(told)
        if not said:
            leash.close()
            return
        self._workers[int(said)] = leash
        self._leashes[leash.fileno()] = leash
        self._poll.register(leash, 0)  # only its end; the worker still waits for an answer that comes here

    def _let_go(self, descriptor: int) -> None:
        """Nobody watches over that worker any more."""
        self._poll.unregister(descriptor)
        leash = self._leashes.pop(descriptor)
        leash.close()
        for pid, held in self._workers.items():
            if held is leash:
                self._workers[pid] = None
                _kill(pid)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                self._ended[pid] = status
        for pid in self._ended.keys() & self._workers.keys():
            self._used = time.monotonic()
            self._tell(self._workers.pop(pid), self._ended.pop(pid))
        if not self._births:  # else a worker may have ended before this process has heard which one it is
            self._ended.clear()

    def _tell(self, leash: Optional[socket.socket], status: int) -> None:
        if leash is not None:
            self._poll.unregister(leash)
            del self._leashes[leash.fileno()]
            _answer(leash, {"status": status})
            leash.close()


class _Isolation:
    """What takes rights from a process. It comes with the sandbox, and is not left behind for user code to import."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, folder)
        self.joining: Any = importlib.import_module("joining")
        self.confinement: Any = importlib.import_module("confinement")
        sys.path.remove(folder)
        for name in ("joining", "confinement"):
            sys.modules.pop(name, None)

    def enter(self, namespaces: List[int]) -> None:
        self.joining.move_into(namespaces)

    def confine(self, request: Dict[str, Any]) -> None:
        """As bubblewrap leaves a worker; but for the filter, which comes last."""
        for what, most in request["limits"].items():
            _limit(int(what), most)
        self.confinement.drop_capabilities()
        if request["scope"]:
            self.confinement.scope()
        self.confinement.no_new_privileges()
        self.joining.be_readable()


def _serve(shim: socket.socket, told: int, isolation: _Isolation) -> NoReturn:
    """In the first of two forks: only children are born in another pid namespace."""
    try:
        _keep_only(shim.fileno(), told)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        shim.settimeout(_REQUEST_SECONDS)
        request, (output,) = _receive(shim)
        _, namespaces = _receive(shim)
        isolation.enter(namespaces)
        pid = os.fork()
        if pid:
            os.write(told, str(pid).encode())
            os._exit(0)
    except BaseException as error:
        _answer(shim, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    _work(request, output, shim, isolation)


def _work(request: Dict[str, Any], output: int, shim: socket.socket, isolation: _Isolation) -> NoReturn:
    """In the worker: nothing of the zygote's but what it has imported is left."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        _keep_only(shim.fileno())
        isolation.confine(request)
        os.umask(0o077)
        os.chdir(request["working_folder"])
        shim.sendall(b"here\n")
        if shim.recv(16) != b"go\n":
            os._exit(1)
        shim.close()
        isolation.confinement.filter_calls(bytes.fromhex(request["seccomp"]))
    except BaseException as error:
        _answer(shim, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    status = 1
    try:
        _become_another(request)
        worker.main(request["arguments"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(status)


def _become_another(request: Dict[str, Any]) -> None:
    """What a process has from its start, and libraries remember. Two workers must not draw the same numbers either;
    Python's own generator sees to that itself.
    """
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[:] = [worker.__file__ or "", *request["arguments"]]
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
    time.tzset()


def _import(names: List[str]) -> Dict[str, str]:
    """Imports what can be imported. What cannot is the worker's own to fail at."""
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _threads() -> int:
    """How many threads there are, after a fork: before one OpenBLAS ends its own, and makes them again when needed."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return len(os.listdir("/proc/self/task"))


def _receive(connection: socket.socket) -> Tuple[Any, List[int]]:
    """One line of JSON (an empty one is None), with its descriptors. Raises OSError or ValueError."""
    found = array.array("i")
    data, ancillary, _, _ = connection.recvmsg(
        _MESSAGE_BYTES, socket.CMSG_SPACE(_MOST_DESCRIPTORS * found.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    while not data.endswith(b"\n"):
        piece = connection.recv(_MESSAGE_BYTES)
        if not piece:
            raise ValueError("the request is cut off")
        data += piece
    if not found:
        raise ValueError("the request has no descriptors")
    return (json.loads(data) if data.strip() else None), found.tolist()


def _listener(path: str) -> socket.socket:
    """It has another name first: where it can be found, it can be reached."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{path}.new")
    listener.listen(64)
    os.rename(f"{path}.new", path)
    return listener


def _keep_only(*kept: int) -> None:
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 65536)


def _answer(connection: socket.socket, value: Dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # whoever asked may have gone
        connection.sendall(json.dumps(value).encode() + b"\n")


def _be_parent_of_orphans() -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (most, most))


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


def _read() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tenfold_runtime.zygote", description="Forks workers that share libraries.")
    parser.add_argument("--listen", required=True, help="the path of a unix socket")
    parser.add_argument("--isolation", required=True, help="the folder of joining.py and confinement.py")
    parser.add_argument("--imports", type=_names, default=[], help="modules to import, with commas in between")
    parser.add_argument("--idle-seconds", type=float, default=3600.0, help="without workers, before it ends")
    return parser.parse_args()


def _names(text: str) -> List[str]:
    names = text.split(",") if text else []
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a module")
    return names


if __name__ == "__main__":
    main()
