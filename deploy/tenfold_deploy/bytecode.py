"""Bytecode for a folder of packages, in place: workers find environments read-only, and could not keep what they
compile.

Run as a script by the interpreter that the bytecode is for, inside the folder, so that it follows the folder when that
is renamed. Standard library only, Python 3.9 or newer. Nothing of the folder is imported or run. A file that does not
compile is passed over: whoever imports it gets the reason.

    python -I -S bytecode.py FINAL_FOLDER PROCESSES SECONDS NICENESS

What is likely to be imported first comes first: the packages at the top with what they import, then what lies one level
down with what that imports, and so on. Folders of tests are left out.

Exit status 0: all is compiled. 3: the time was over before.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import py_compile
import re
import select
import socket
import struct
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterable

TIME_IS_OVER = 3
_TESTS = ("tests", "test")
_MOST_CRASHES = 50
_IMPORT = re.compile(
    rb"^(?:from[ \t]+(?P<origin>\.*[\w.]*)[ \t]+import[ \t]*(?:\((?P<many>[^)]*)\)|(?P<names>[^\n(]*))"
    rb"|import[ \t]+(?P<modules>[^\n]*))",
    re.MULTILINE,
)


def main() -> None:
    final, processes, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    os.nice(int(sys.argv[4]))
    is_done = _Compilers(final, processes).work_through(Order(_python_files()), time.monotonic() + seconds)
    sys.exit(0 if is_done else TIME_IS_OVER)


class Order:
    """Hands out files, each once: what was learned of first, then by depth."""

    def __init__(self, files: Iterable[str]) -> None:
        files = list(files)
        self._by_module = {_module_of(path): path for path in files}
        self._others = deque(sorted(files, key=_depth))
        self._learned: deque[str] = deque()
        self._given: set[str] = set()

    def pop(self) -> str | None:
        while self._learned or self._others:
            path = (self._learned or self._others).popleft()
            if path not in self._given:
                self._given.add(path)
                return path
        return None

    def learn(self, modules: Iterable[str]) -> None:
        """What a file imports comes next, with the packages that it is in."""
        for module in modules:
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                path = self._by_module.get(".".join(parts[:end]))
                if path is not None and path not in self._given:
                    self._learned.append(path)


def imported(source: bytes, path: str) -> list[str]:
    """The modules that a source text may import at once, told from how its lines begin."""
    package = _module_of(path).split(".")
    if os.path.basename(path) != "__init__.py":
        package.pop()
    found = []
    for match in _IMPORT.finditer(source):
        if match["modules"] is not None:
            found += _names(match["modules"])
            continue
        origin = match["origin"].decode("utf-8", "replace")
        up = len(origin) - len(origin.lstrip("."))
        above = package[: len(package) - up + 1] if up else []
        base = ".".join([*above, *filter(None, [origin.lstrip(".")])])
        found += [base, *(f"{base}.{name}" for name in _names(match["many"] or match["names"] or b""))]
    return found


def compile_file(path: str, final: str) -> list[str]:
    """Makes the bytecode of one file, unless it is there. Returns the modules that the file may import."""
    with open(path, "rb") as file:
        source = file.read()
        status = os.fstat(file.fileno())
    cached = importlib.util.cache_from_source(path)
    times = struct.pack("<III", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    if not _begins_with(cached, importlib.util.MAGIC_NUMBER + times):
        by_time = py_compile.PycInvalidationMode.TIMESTAMP
        py_compile.compile(path, cached, f"{final}/{path}", doraise=True, invalidation_mode=by_time)
    return imported(source, path)


class _Compilers:
    """Processes that compile one file at a time. One that ends over a file is replaced, and the file passed over."""

    def __init__(self, final: str, processes: int) -> None:
        self._final = final
        self._answers: dict[socket.socket, bytes] = {}
        self._idle: deque[socket.socket] = deque()
        self._crashes = 0
        for _ in range(processes):
            self._start()

    def work_through(self, order: Order, deadline: float) -> bool:
        """Whether all was worked through when the time was over."""
        while True:
            while self._idle and time.monotonic() < deadline:
                path = order.pop()
                if path is None:
                    break
                self._idle.popleft().sendall(os.fsencode(path) + b"\0")
            busy = [one for one in self._answers if one not in self._idle]
            if not busy:
                return bool(self._answers) and order.pop() is None
            for one in select.select(busy, [], [])[0]:
                order.learn(self._receive(one))

    def _receive(self, one: socket.socket) -> list[str]:
        try:
            data = one.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:  # the source was too much for the compiler
            del self._answers[one]
            self._crashes += 1
            if self._crashes <= _MOST_CRASHES:
                self._start()
            return []
        self._answers[one] += data
        if not data.endswith(b"\0"):
            return []
        answer, self._answers[one] = self._answers[one][:-1], b""
        self._idle.append(one)
        return answer.decode("utf-8", "replace").split()

    def _start(self) -> None:
        ours, its = socket.socketpair()
        if os.fork() == 0:
            try:
                for other in (ours, *self._answers):
                    other.close()
                _compile_what_comes(its, self._final)
            finally:
                os._exit(0)
        its.close()
        self._answers[ours] = b""
        self._idle.append(ours)


def _compile_what_comes(tasks: socket.socket, final: str) -> None:
    warnings.simplefilter("ignore")
    path = b""
    while data := tasks.recv(1 << 16):
        path += data
        if not path.endswith(b"\0"):
            continue
        modules: list[str] = []
        with contextlib.suppress(py_compile.PyCompileError, OSError, ValueError, RecursionError, MemoryError):
            modules = compile_file(os.fsdecode(path[:-1]), final)
        path = b""
        tasks.sendall(" ".join(modules).encode("utf-8", "replace") + b"\0")


def _python_files() -> list[str]:
    found = []
    for folder, folders, names in os.walk("."):
        inside = folder[2:]
        folders[:] = [name for name in folders if name != "__pycache__" and not (inside and name in _TESTS)]
        found += [os.path.join(inside, name) for name in names if name.endswith(".py")]
    return found


def _depth(path: str) -> tuple[int, bool, str]:
    return path.count("/"), not path.endswith("/__init__.py"), path


def _module_of(path: str) -> str:
    name = path[: -len(".py")].replace("/", ".")
    return name[: -len(".__init__")] if name.endswith(".__init__") else name


def _names(part: bytes) -> list[str]:
    listed = re.sub(r"#.*", "", part.decode("utf-8", "replace")).split(",")
    return [words[0] for words in map(str.split, listed) if words]


def _begins_with(path: str, header: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(header)) == header
    except OSError:
        return False


if __name__ == "__main__":
    main()
