"""Bytecode for a folder of packages, in place: workers find environments read-only, and could not keep what they
compile.

Run as a script by the interpreter that the bytecode is for, inside the folder. Standard library only, Python 3.9 or
newer. Nothing of the folder is imported or run. A file that does not compile is passed over: whoever imports it gets
the reason.

    python -I -S bytecode.py PROCESSES SECONDS NICENESS STORE RESULTS CONFINEMENT

What STORE has (a folder; "" for none) is taken from there. Everything else is compiled, what is likely to be imported
first before the rest: the packages at the top with what they import, then what lies one level down with what that
imports, and so on. Folders of tests are left out. The descriptor RESULTS is told, as `encoded` says, what was
compiled and what the store was of use for. CONFINEMENT is the path of `isolation/confinement.py`.

The code in the store is for everybody who has the same source text, so no other text may have a say in it. Each is
compiled by a process of its own that sees no other text, writes nowhere and only tells its parent; the parent, which
reads foreign texts but makes nothing of them, knows what the answer is the answer to.

Exit status 0: all is compiled. 3: the time was over before.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import marshal
import os
import re
import select
import signal
import struct
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator

TIME_IS_OVER = 3
MOST_CODE_BYTES = 64 << 20
_TESTS = ("tests", "test")
_FILE_NAME = "<bytecode>"  # whoever imports the code has the file's own name put into it, by importlib
_KIND = f"{sys.implementation.cache_tag} {importlib.util.MAGIC_NUMBER.hex()}\n".encode()
_RESULT = struct.Struct("<32sI")
_ANSWER = struct.Struct("<II")
_IMPORT = re.compile(
    rb"^(?:from[ \t]+(?P<origin>\.*[\w.]*)[ \t]+import[ \t]*(?:\((?P<many>[^)]*)\)|(?P<names>[^\n(]*))"
    rb"|import[ \t]+(?P<modules>[^\n]*))",
    re.MULTILINE,
)
_COMMENT = re.compile(r"#.*")


def main() -> None:
    processes, seconds, niceness, store, results, confinement = sys.argv[1:]
    deadline = time.monotonic() + float(seconds)
    os.nice(int(niceness))
    warnings.simplefilter("ignore")
    restrict = _guarded(confinement)
    left = list(_python_files())
    if store:
        left = _take_stored(left, store, int(results), deadline)
    if left:
        _warm_up()
    compilers = _Compilers(int(processes), int(results), restrict)
    sys.exit(0 if compilers.work_through(Order(left), deadline) else TIME_IS_OVER)


# --- what is in the store ----------------------------------------------------------------------------------


def key_of(source: bytes) -> bytes:
    """What the code of a source text goes by: 32 bytes, others for other Pythons."""
    return hashlib.sha256(_KIND + source).digest()


def entry_path(store: str, key: bytes) -> str:
    name = key.hex()
    return f"{store}/{name[:2]}/{name[2:]}"


def entry_of(code: bytes) -> bytes:
    """The content of the store's file for this code: it is told whether all of it is there."""
    return hashlib.sha256(code).digest() + code


def read_entry(path: str) -> bytes | None:
    """The code in a file of the store; None where there is none, or it is damaged."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    code = content[32:]
    return code if code and hashlib.sha256(code).digest() == content[:32] else None


def encoded(key: bytes, code: bytes = b"") -> bytes:
    """One result: code that was compiled; without any, that the store's was used."""
    return _RESULT.pack(key, len(code)) + code


def decoded(data: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Takes the results that are whole from the beginning of `data`. Raises ValueError if these are none."""
    while len(data) >= _RESULT.size:
        key, length = _RESULT.unpack_from(data)
        if length > MOST_CODE_BYTES:
            raise ValueError(f"{length} bytes of code for one file")
        if len(data) < _RESULT.size + length:
            return
        code = bytes(data[_RESULT.size : _RESULT.size + length])
        del data[: _RESULT.size + length]
        yield key, code


def _take_stored(paths: list[str], store: str, results: int, deadline: float) -> list[str]:
    """Writes the bytecode that the store has. Returns the files for which it has none, or was not asked in time."""
    left: list[str] = []
    for number, path in enumerate(paths):
        if time.monotonic() >= deadline:
            return left + paths[number:]
        source = _find_uncompiled(path)
        if source is None:
            continue
        code = read_entry(entry_path(store, source.key))
        if code is None:
            left.append(path)
        elif source.write(code):
            _write_all(results, encoded(source.key))
    return left


class _Source:
    """A source text, where its bytecode belongs, and the header that ties the bytecode to this very file."""

    def __init__(self, text: bytes, cached: str, header: bytes) -> None:
        self.text, self.cached, self.header = text, cached, header
        self.key = key_of(text)

    def write(self, code: bytes) -> bool:
        """Others may import the file at the same time."""
        temporary = f"{self.cached}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self.cached), exist_ok=True)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "wb") as file:
                file.write(self.header + code)
            os.replace(temporary, self.cached)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return False
        return True


def _find_uncompiled(path: str) -> _Source | None:
    """A source text that has no bytecode; None if it has, or cannot be read."""
    cached = importlib.util.cache_from_source(path)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            times = struct.pack("<III", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
            header = importlib.util.MAGIC_NUMBER + times
            return None if _begins_with(cached, header) else _Source(file.read(), cached, header)
    except OSError:
        return None


def _begins_with(path: str, header: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(header)) == header
    except OSError:
        return False


# --- what comes first --------------------------------------------------------------------------------------


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


def _names(part: bytes) -> list[str]:
    listed = _COMMENT.sub("", part.decode("utf-8", "replace")).split(",")
    return [words[0] for words in map(str.split, listed) if words]


def _python_files() -> Iterator[str]:
    for folder, folders, names in os.walk("."):
        inside = folder[2:]
        folders[:] = [name for name in folders if name != "__pycache__" and not (inside and name in _TESTS)]
        yield from (os.path.join(inside, name) for name in names if name.endswith(".py"))


def _depth(path: str) -> tuple[int, bool, str]:
    return path.count("/"), not path.endswith("/__init__.py"), path


def _module_of(path: str) -> str:
    name = path[: -len(".py")].replace("/", ".")
    return name[: -len(".__init__")] if name.endswith(".__init__") else name


# --- compiling ---------------------------------------------------------------------------------------------


class _Compiler:
    """A process that compiles one file, and what it has answered so far."""

    def __init__(self, pid: int, source: _Source) -> None:
        self.pid, self.source, self.answer = pid, source, bytearray()

    def has_answered(self) -> bool:
        """Whether nothing more should come, or too much would."""
        length = sum(self._lengths())
        return length > 0 and (len(self.answer) >= _ANSWER.size + length or length > MOST_CODE_BYTES)

    def parts(self) -> tuple[bytes, bytes]:
        """The modules that the file may import, and its code; both empty where something is missing."""
        modules, code = self._lengths()
        rest = bytes(self.answer[_ANSWER.size :])
        return (rest[:modules], rest[modules:]) if modules + code == len(rest) else (b"", b"")

    def _lengths(self) -> tuple[int, int]:
        modules, code = _ANSWER.unpack_from(self.answer) if len(self.answer) >= _ANSWER.size else (0, 0)
        return modules, code


class _Compilers:
    """A process a file. One that ends without an answer had a file that is too much for the compiler."""

    def __init__(self, processes: int, results: int, restrict: Callable[[], None]) -> None:
        self._processes, self._results, self._restrict = processes, results, restrict
        self._running: dict[int, _Compiler] = {}

    def work_through(self, order: Order, deadline: float) -> bool:
        """Whether all was worked through when the time was over."""
        while True:
            while len(self._running) < self._processes and time.monotonic() < deadline:
                path = order.pop()
                if path is None:
                    break
                self._start(path)
            if not self._running:
                return order.pop() is None
            for answers in select.select(list(self._running), [], [])[0]:
                order.learn(self._receive(answers))

    def _start(self, path: str) -> None:
        source = _find_uncompiled(path)
        if source is None:
            return
        answers, its = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for other in (answers, self._results, *self._running):
                    os.close(other)
                self._restrict()
                _write_all(its, _answer(path, source.text))
            finally:
                os._exit(0)
        os.close(its)
        self._running[answers] = _Compiler(pid, source)

    def _receive(self, answers: int) -> list[str]:
        one = self._running[answers]
        data = os.read(answers, 1 << 20)
        one.answer += data
        if data and not one.has_answered():
            return []
        del self._running[answers]
        os.close(answers)
        os.kill(one.pid, signal.SIGKILL)  # if its text got the better of it, it need not end by itself
        os.waitpid(one.pid, 0)
        modules, code = one.parts()
        if code and one.source.write(code):
            _write_all(self._results, encoded(one.source.key, code))
        return modules.decode("utf-8", "replace").split()


def _answer(path: str, text: bytes) -> bytes:
    """What a compiler says of a source text: the modules that it may import, and its code."""
    code = marshal.dumps(compile(text, _FILE_NAME, "exec", dont_inherit=True))
    modules = " ".join(imported(text, path)).encode("utf-8", "replace")
    return _ANSWER.pack(len(modules), len(code)) + modules + code


def _warm_up() -> None:
    """Does here what every compiler would do first, each for itself."""
    with open(__file__, "rb") as file:
        _answer(__file__, file.read())


def _guarded(confinement: str) -> Callable[[], None]:
    """Keeps this process's children from its memory and descriptors, and those of each other.

    Returns what one of them calls to lose the machine's files, but for what the compiler itself may import.
    """
    own = list(sys.path)
    sys.path.append(os.path.dirname(confinement))
    try:
        module = importlib.import_module("confinement")
        module.hide_memory()
        ruleset = module.reading_only(own)
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, a kernel without Landlock, no Linux
        return lambda: None

    def restrict() -> None:
        with contextlib.suppress(OSError):  # more layers of it than the kernel allows
            module.restrict(ruleset)

    return restrict


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


if __name__ == "__main__":
    main()
