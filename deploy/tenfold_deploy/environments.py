"""Environments: requirements resolved to a lock with hashes, and one virtual environment built per lock, by uv.

`resolve` turns an `EnvironmentSpec` into a `Lock`; `build` turns a `Lock` into a folder, or finds it built.
An environment grows in a folder beside its destination and takes its place when it is complete, so a destination
that exists is whole. What is built never changes; `build(anew=True)` puts the same once more in its place, and
`remove` takes away what nobody needs. All three exclude each other, per destination, on the whole machine.

uv runs with an empty environment but for what it needs to reach the machine's package indexes: code that
runs during a build sees no secret of the platform.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import uv

from tenfold_deploy import bytecode, index_relay, shim
from tenfold_deploy.bytecode_store import BytecodeStore, open_store
from tenfold_deploy.isolation import confinement
from tenfold_deploy.isolation.builds import BuildSandbox, build_sandbox, in_sandbox
from tenfold_deploy.scheduler import Level

OnLog = Callable[[str], None]

OLDEST_PYTHON: Final = (3, 9)
MARKER: Final = "tenfold-environment.json"
BYTECODE_MARKER: Final = "tenfold-bytecode"
BUILD_TIMEOUT_SECONDS: Final = 1800.0


class EnvironmentFailed(Exception):
    """An environment that cannot be had. `message` says which requirement and why, `hint` what to change.

    Codes: bad_requirement, python_unavailable, package_not_found, version_not_found, conflict, python_mismatch,
    no_wheel, build_failed, hash_mismatch, index_unreachable, no_space, timed_out, not_an_environment, failed.
    """

    def __init__(self, code: str, message: str, hint: str | None = None, *, status: int = 422) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an environment must hold. Kept in canonical form, so equal wishes have equal digests.

    `python_version` is "3.11" (None: the platform's own); `constraints` bound what is installed anyway;
    `implied` packages come along where they do not contradict `requirements`.
    Raises EnvironmentFailed for a requirement that is not a name with versions.
    """

    python_version: str | None
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    implied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "python_version", canonical_python(self.python_version))
        for field in ("requirements", "constraints", "implied"):
            object.__setattr__(self, field, canonical_requirements(getattr(self, field)))

    @property
    def digest(self) -> str:
        """Of the wish, not of what it resolves to; that is `Lock.digest`."""
        wish = [self.python_version or own_python_version(), self.requirements, self.constraints, self.implied]
        return hashlib.sha256(json.dumps(wish).encode()).hexdigest()


@dataclass(frozen=True)
class Lock:
    """Exact versions with hashes, for one Python version and one kind of machine. `text` alone can be stored."""

    text: str

    @property
    def python_version(self) -> str:
        header = re.match(r"# tenfold lock 1: python (3\.\d+) ", self.text)
        if header is None:
            raise EnvironmentFailed("failed", "the lock does not begin with its header", "Resolve it again.")
        return header[1]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """Name and version of everything the lock installs."""
        return tuple(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", self.text, re.MULTILINE))


@dataclass(frozen=True)
class Built:
    """An environment that is ready. `reused` says that it was there before; `seconds` is what this call took."""

    python: Path
    seconds: float
    reused: bool


@dataclass(frozen=True)
class Tools:
    """What uv may use beside what the machine brings: a cache of its own for wheels, a folder for Python versions.

    `python_downloads` says whether a Python version that is not on the machine may be fetched into `pythons`.
    The machine's own UV_CACHE_DIR comes before `wheel_cache`. `isolation` is what keeps the code of packages that have
    to be built from source away from the machine: with "strict" it runs in a sandbox, else not. `wheels_only` refuses
    such packages.
    """

    wheel_cache: Path | None = None
    pythons: Path | None = None
    python_downloads: bool = False
    wheels_only: bool = False
    isolation: Level = "none"


@dataclass(frozen=True)
class Interpreter:
    path: Path
    version: str

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


def resolve(
    spec: EnvironmentSpec,
    *,
    on_log: OnLog,
    timeout_seconds: float = BUILD_TIMEOUT_SECONDS,
    tools: Tools = Tools(),
) -> Lock:
    """Choose exact versions for `spec`, with the hash of every file they may come from."""
    deadline = time.monotonic() + timeout_seconds
    python = _get_python(spec.python_version, on_log, deadline, tools)
    if not spec.requirements and not spec.implied:
        return _lock(python, "")
    run = _Uv(_with_warning(on_log, tools), deadline, tools)
    implied = _implied_packages(spec)
    try:
        return _lock(python, _compile(python, spec, implied, run))
    except EnvironmentFailed as failure:
        if not implied or failure.code in ("timed_out", "index_unreachable", "no_space"):
            raise
        on_log("The requirements leave no room for all the packages a Truss server brings; trying without those.")
    return _lock(python, _compile(python, spec, (), run))


def build(
    lock: Lock,
    destination: Path,
    *,
    on_log: OnLog,
    timeout_seconds: float = BUILD_TIMEOUT_SECONDS,
    tools: Tools = Tools(),
    anew: bool = False,
) -> Built:
    """Make the environment of `lock` at `destination`, or find it there.

    `anew` makes it again although it is there, from the same lock, and puts it in the place of whatever was there:
    processes that run from it keep the files they have open, and find equal ones under the old names.
    Any number of callers, in any number of processes, may build the same lock: one works, the others wait.
    Raises EnvironmentFailed; `destination` is then as it was before.
    """
    started = time.monotonic()
    deadline = started + timeout_seconds
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _only_builder(destination, on_log, deadline):
        reused = not anew and is_built(destination, lock)
        if not reused:
            _build_beside(lock, destination, on_log, deadline, tools, anew=anew)
    return Built(destination / "bin" / "python", time.monotonic() - started, reused)


def is_compiled(destination: Path) -> bool:
    """Whether the packages of an environment have their bytecode, so that no worker has to compile them."""
    return (destination / BYTECODE_MARKER).exists()


def compile_rest(destination: Path, tools: Tools = Tools(), *, timeout_seconds: float = 600.0) -> bool:
    """Completes the bytecode of an environment, with low priority, while it is in use. False when it is not complete.

    Of several that are asked to, one does it and the others return at once. That the environment is gone is no error.
    """
    try:
        marker = json.loads((destination / MARKER).read_text())
        with _kept_in_place(destination) as folder:
            if folder is None or is_compiled(destination):
                return is_compiled(destination)
            python = find_python(".".join(marker["python"].split(".")[:2]), tools)
            anew = marker.get("anew", False)
            if not _compile_packages(destination, python, tools, timeout_seconds, anew=anew, niceness=19):
                return False
            os.close(os.open(BYTECODE_MARKER, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=folder))
            return True
    except (OSError, ValueError, KeyError, EnvironmentFailed):
        return False


def remove(destination: Path, *, unless: Callable[[], bool]) -> bool:
    """Remove the environment at `destination`, and what broken-off builds of it left. False when it stays.

    `unless` is asked while no build of it can begin or end: if that says so, only what was broken off goes. While it
    is being built or compiled, everything stays.
    """
    try:
        with _only_builder(destination, _silent, time.monotonic()):
            doomed = _leftovers(destination)
            is_needed = unless()
            if not is_needed and destination.exists():
                with _kept_in_place(destination) as kept:
                    if kept is None:
                        return False
                    aside = destination.with_name(f".{destination.name}.removed-{os.getpid()}-{time.time_ns()}")
                    destination.rename(aside)
                    doomed.append(aside)
    except EnvironmentFailed:
        return False
    for folder in doomed:
        shim.remove(str(folder))
    return not is_needed


@dataclass(frozen=True)
class Found:
    """A destination on disk. `is_broken_off` says that the rest of a build or a removal lies beside it."""

    destination: Path
    is_broken_off: bool


def look_around(folder: Path) -> list[Found]:
    """Every destination below `folder`, also those of which only the rest of something broken off is there."""
    whole, broken_off = set[str](), set[str]()
    for entry in folder.iterdir() if folder.is_dir() else ():
        leftover = re.fullmatch(r"\.(.+)\.(?:building|removed)-[^.]+", entry.name)
        if leftover:
            broken_off.add(leftover[1])
        elif not entry.name.startswith("."):
            whole.add(entry.name)
    return [Found(folder / name, name in broken_off) for name in sorted(whole | broken_off)]


def is_built(destination: Path, lock: Lock) -> bool:
    """Whether `destination` is the whole environment of `lock`. Raises EnvironmentFailed if it is something else."""
    try:
        marker = json.loads((destination / MARKER).read_text())
    except FileNotFoundError:
        if destination.is_dir() and any(destination.iterdir()):
            raise _not_an_environment(destination) from None
        return False
    if marker["lock"] != lock.digest:
        raise _not_an_environment(destination)
    return True


def installed(destination: Path) -> list[tuple[str, str]]:
    """Name and version of every distribution in an environment, sorted. Runs nothing of it."""
    folders = [str(folder) for folder in destination.glob("lib/python3*/site-packages")]
    found = importlib.metadata.distributions(path=folders)
    return sorted({(_canonical_name(one.metadata["Name"]), one.version) for one in found})


# --- Python versions ---------------------------------------------------------------------------------------


def own_python_version() -> str:
    """The platform's own version, as "3.11": what a spec without a version gets."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def canonical_python(version: str | None) -> str | None:
    """ "3.11" from "3.11", "3.11.7" or Truss's "py311"."""
    if version is None:
        return None
    match = re.fullmatch(r"\s*(?:3\.(\d{1,2})(?:\.\d{1,3})?|py3(\d{1,2}))\s*", version)
    if match is None:
        raise EnvironmentFailed("bad_requirement", f"{version!r} is not a Python version", 'Write it like "3.11".')
    return f"3.{int(match[1] or match[2])}"


def find_python(version: str | None, tools: Tools = Tools()) -> Interpreter:
    """An interpreter of `version` on this machine, the platform's own first. Raises EnvironmentFailed."""
    wanted = canonical_python(version) or own_python_version()
    if _as_numbers(wanted) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise EnvironmentFailed("python_unavailable", f"Python {wanted} is too old", f"Use Python {oldest} or newer.")
    candidates = _candidates(tools)
    for path in candidates.get(wanted, ()):
        interpreter = _ask_interpreter(path)
        if interpreter is not None and interpreter.minor == wanted:
            return interpreter
    there = ", ".join(sorted(candidates, key=_as_numbers))
    hint = f"Choose one of: {there}; or install Python {wanted} there."
    raise EnvironmentFailed("python_unavailable", f"Python {wanted} is not on the platform's machine", hint)


def python_versions(tools: Tools = Tools()) -> list[Interpreter]:
    """One interpreter of every usable version on this machine, newest last."""
    candidates = _candidates(tools)
    answers = (_ask_interpreter(candidates[version][0]) for version in sorted(candidates, key=_as_numbers))
    return [interpreter for interpreter in answers if interpreter is not None]


def installable_pythons(tools: Tools) -> list[str]:
    """The versions that uv could fetch, such as "3.14.2", newest last: the newest of each minor version, releases only.

    Asks nobody: uv knows them. Empty while downloads are off.
    """
    if not tools.python_downloads:
        return []
    command = [uv.find_uv_bin(), "python", "list", "--only-downloads", "--output-format", "json"]
    try:
        done = subprocess.run(
            command, env=_downloading(tools), capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=True
        )
        listed = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    versions = [
        str(one["version"]) for one in listed if (one["implementation"], one["variant"]) == ("cpython", "default")
    ]
    usable = {version for version in versions if re.fullmatch(r"3\.\d+\.\d+", version)}
    return sorted((version for version in usable if _as_numbers(version) >= OLDEST_PYTHON), key=_as_numbers)


def _get_python(version: str | None, on_log: OnLog, deadline: float, tools: Tools) -> Interpreter:
    """One that is on this machine, or fetched if that is allowed."""
    try:
        return find_python(version, tools)
    except EnvironmentFailed as failure:
        wanted = canonical_python(version) or own_python_version()
        fetchable = {".".join(known.split(".")[:2]) for known in installable_pythons(tools)}
        if tools.pythons is None or wanted not in fetchable:
            raise failure
    tools.pythons.mkdir(parents=True, exist_ok=True)
    on_log(f"Python {wanted} is not on this machine; fetching it")
    with _only_builder(tools.pythons / wanted, on_log, deadline):
        _Uv(on_log, deadline, tools, _downloading(tools))(["python", "install", wanted, "--no-bin"], tools.pythons)
    return find_python(version, tools)


def _downloading(tools: Tools) -> dict[str, str]:
    more = {"UV_PYTHON_INSTALL_DIR": str(tools.pythons)} if tools.pythons else {}
    return uv_environment(os.environ, tools) | {"UV_PYTHON_DOWNLOADS": "manual"} | more


def _candidates(tools: Tools) -> dict[str, list[Path]]:
    """Where interpreters may be, by version, best first; told from the file names, so nothing is run."""
    found: dict[str, list[Path]] = {own_python_version(): [_own_interpreter()]}
    for folder in _interpreter_folders(tools):
        for path in sorted(folder.glob("python3.*")):
            name = re.fullmatch(r"python(3\.\d+)", path.name)
            if name and _as_numbers(name[1]) >= OLDEST_PYTHON and os.access(path, os.X_OK):
                found.setdefault(name[1], []).append(path)
    return found


def _own_interpreter() -> Path:
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


def _interpreter_folders(tools: Tools) -> Iterator[Path]:
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    data_home = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data_home / "uv/python")
    own = [tools.pythons] if tools.pythons else []
    for versions in (*own, pyenv / "versions", managed):
        # The name sorts 3.9 after 3.13; within one minor version the newest patch should come first.
        yield from sorted(versions.glob("*/bin"), key=lambda folder: _as_numbers(folder.parent.name), reverse=True)
    on_path = os.environ.get("PATH", "").split(os.pathsep)
    for name in dict.fromkeys([*on_path, "/usr/local/bin", "/opt/homebrew/bin", "/usr/bin"]):
        folder = Path(name)
        is_environment = (folder.parent / "pyvenv.cfg").exists()
        if folder.is_absolute() and folder.name != "shims" and not is_environment:
            yield folder


@lru_cache(maxsize=64)
def _ask_interpreter(path: Path) -> Interpreter | None:
    question = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        answer = subprocess.run(
            [path, "-I", "-S", "-c", question], capture_output=True, text=True, timeout=20, check=True, env={}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Interpreter(path, answer.stdout.strip())


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


# --- requirements ------------------------------------------------------------------------------------------

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REQUIREMENT: Final = re.compile(
    rf"(?P<name>{_NAME})\s*(?:\[(?P<extras>[A-Za-z0-9._,\s-]*)\])?\s*"
    r"\(?(?P<versions>(?:(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*,?\s*)*)\)?\s*(?:;(?P<marker>.*))?"
)


def canonical_requirements(lines: Sequence[str]) -> tuple[str, ...]:
    """Requirements without comments, doubles and accidental spelling, sorted. Raises EnvironmentFailed.

    Only names with versions, extras and markers: options, paths and addresses would make the builder read
    files of the machine, or fetch from wherever the author of a package likes.
    """
    return tuple(sorted({_canonical(line) for line in map(_without_comment, lines) if line}))


def _canonical(line: str) -> str:
    match = _REQUIREMENT.fullmatch(line)
    if match is None or line.endswith((".whl", ".zip", ".gz", ".bz2", ".xz")):
        raise _refused_requirement(line)
    extras = sorted({_canonical_name(extra.strip()) for extra in (match["extras"] or "").split(",") if extra.strip()})
    versions = sorted({re.sub(r"\s+", "", part) for part in match["versions"].split(",") if part.strip()})
    marker = re.sub(r"\s+", " ", match["marker"] or "").strip().replace('"', "'")
    text = _canonical_name(match["name"]) + (f"[{','.join(extras)}]" if extras else "") + ",".join(versions)
    return f"{text} ; {marker}" if marker else text


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def _canonical_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _refused_requirement(line: str) -> EnvironmentFailed:
    shown = _without_credentials(line[:200])
    if line.startswith("-"):
        why = "is an option"
        hint = "List packages only. Which indexes are used is the operator's setting (UV_DEFAULT_INDEX, UV_INDEX, ...)."
    elif "://" in line or "@" in line:
        why = "is an address"
        hint = "Name a version that is on the package index, or put the code into the package's packages/ folder."
    elif "/" in line or line.endswith((".whl", ".zip", ".gz", ".bz2", ".xz")):
        why = "is a path"
        hint = "Name a version that is on the package index, or put the code into the package's packages/ folder."
    else:
        why = "is not a requirement"
        hint = 'Write it like "numpy", "numpy==2.1.0" or "numpy>=2,<3".'
    return EnvironmentFailed("bad_requirement", f"{shown!r} {why}", hint)


def _implied_packages(spec: EnvironmentSpec) -> tuple[str, ...]:
    named = {_name_of(line) for line in spec.requirements}
    return tuple(line for line in spec.implied if _name_of(line) not in named)


def _name_of(requirement: str) -> str:
    return re.split(r"[^a-z0-9-]", requirement, maxsplit=1)[0]


# --- uv ----------------------------------------------------------------------------------------------------

_MAX_LOG_LINES: Final = 20_000
_MAX_LINE_BYTES: Final = 4_000
_TAIL_LINES: Final = 400

_PASSED_ON: Final = re.compile(
    r"""HOME|USER|LOGNAME|PATH|TMPDIR|XDG_(?:CACHE|CONFIG|DATA)_HOME|LANG|LC_ALL|NETRC
    |SSL_CERT_(?:FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(?:https?|all|no)_proxy|(?:HTTPS?|ALL|NO)_PROXY
    |UV_(?:DEFAULT_INDEX|INDEX|INDEX_.+|EXTRA_INDEX_URL|FIND_LINKS|KEYRING_PROVIDER|CACHE_DIR|NO_CACHE|OFFLINE
    |HTTP_TIMEOUT|HTTP_RETRIES|REQUEST_TIMEOUT|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|CONCURRENT_.+|EXCLUDE_NEWER
    |CONFIG_FILE|NO_CONFIG|LINK_MODE|TORCH_BACKEND|RESOLUTION|PRERELEASE|PYTHON_INSTALL_MIRROR
    |PYTHON_DOWNLOADS_JSON_URL)""",
    re.VERBOSE,
)
_SPELLED_FOR_UV: Final = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
}


def uv_environment(machine: Mapping[str, str], tools: Tools = Tools()) -> dict[str, str]:
    """What uv gets to see of the machine's variables: how to reach the indexes, in pip's spelling or uv's."""
    passed = {name: value for name, value in machine.items() if _PASSED_ON.fullmatch(name)}
    for pip_name, uv_name in _SPELLED_FOR_UV.items():
        value = machine.get(pip_name, "").strip()
        if value:
            passed.setdefault(uv_name, ",".join(value.split()) if uv_name == "UV_FIND_LINKS" else value)
    if tools.wheel_cache is not None:
        passed.setdefault("UV_CACHE_DIR", str(tools.wheel_cache))
    return passed | {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}


def _compile(python: Interpreter, spec: EnvironmentSpec, implied: tuple[str, ...], run: _Uv) -> str:
    with _temporary_folder("tenfold-resolve-") as folder:
        (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in (*spec.requirements, *implied)))
        constraints = ["--constraint", "constraints.txt"] if spec.constraints else []
        (folder / "constraints.txt").write_text("".join(f"{line}\n" for line in spec.constraints))
        run.on_log(f"Resolving {len(spec.requirements)} requirements for Python {python.version}")
        command = ["pip", "compile", "requirements.txt", *constraints, "--output-file", "lock.txt"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--python", str(python.path)]
        shorter = replace(run, on_log=_without_hashes(run.on_log))
        if not run.in_sandbox:
            shorter(command, folder)
        elif shorter.with_wheels(command, folder):
            run.on_log("A package has no wheel for this machine: its source is asked, in a sandbox")
            (folder / "lock.txt").unlink(missing_ok=True)
            with _sandboxed(shorter, python, folder) as inside:
                inside(command, folder)
        return _checked_pins(_read_regular(folder / "lock.txt"))


_PIN: Final = re.compile(rf"{_NAME}(?:\[[A-Za-z0-9._,-]*\])?===?[A-Za-z0-9.!+_-]+(?: ; [^\\@]+)?(?: \\)?")
_HASH: Final = re.compile(r"    --hash=sha\d+:[0-9a-f]+(?: \\)?")


def _checked_pins(text: str) -> str:
    """Nothing but versions with hashes: where something was built, foreign code may have written this."""
    wrong = next((line for line in text.splitlines() if not (_PIN.fullmatch(line) or _HASH.fullmatch(line))), None)
    if wrong is not None:
        raise EnvironmentFailed("failed", f"The lock has a line that is none: {wrong[:100]!r}", "The log says more.")
    return text


def _read_regular(path: Path, most: int = 64 * 1024 * 1024) -> str:
    """A file that foreign code may have put there: no link is followed, and no device or pipe waited for."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(errno.EFBIG, "not a file of a sensible size", str(path))
        return file.read()


def _with_warning(on_log: OnLog, tools: Tools) -> OnLog:
    """Says so when a package's code runs outside of a sandbox."""
    told = tools.isolation == "strict"

    def warning(line: str) -> None:
        nonlocal told
        on_log(line)
        if not told and re.match(r"\s*Building \S+==|error: Failed to build", line):
            told = True
            on_log("Its code runs as the user who runs Tenfold: builds are isolated only where isolation is strict")

    return warning


def _without_hashes(on_log: OnLog) -> OnLog:
    """uv prints the whole lock; people want to see the versions."""

    def shorter(line: str) -> None:
        if not line.startswith("    --hash="):
            on_log(line.removesuffix(" \\"))

    return shorter


def _lock(python: Interpreter, pins: str) -> Lock:
    machine = f"{sys.platform}-{platform.machine().lower()}"
    return Lock(f"# tenfold lock 1: python {python.minor} {machine}\n{pins}")


def _build_beside(lock: Lock, destination: Path, on_log: OnLog, deadline: float, tools: Tools, *, anew: bool) -> None:
    for abandoned in _leftovers(destination):
        shim.remove(str(abandoned))
    run = _Uv(_with_warning(on_log, tools), deadline, tools)
    growing = Path(tempfile.mkdtemp(prefix=f".{destination.name}.building-", dir=destination.parent))
    try:
        growing.chmod(0o755)
        python = _get_python(lock.python_version, on_log, deadline, tools)
        on_log(f"Creating an environment with Python {python.version}")
        # Relocatable: its scripts find the interpreter beside them, so it works after the rename.
        run(["venv", "--quiet", "--relocatable", "--allow-existing", "--python", str(python.path), "."], growing)
        is_complete = True
        if lock.packages:
            (growing / "requirements.lock").write_text(lock.text)
            # The files of an environment are those of the cache: what is damaged in one is damaged in the other.
            options = ["--no-cache"] if anew else []
            command = ["pip", "sync", "requirements.lock", "--require-hashes", "--python", "bin/python", *options]
            if run.in_sandbox:
                _sync(command, lock, growing, python, run, anew=anew)
            else:
                run(command, growing)
            before = time.monotonic()
            seconds = min(_BYTECODE_SECONDS, deadline - before)
            is_complete = _compile_packages(growing, python, tools, seconds, anew=anew)
            rest = "" if is_complete else "; the rest follows while it is in use"
            on_log(f"Compiled for {time.monotonic() - before:.1f} s{rest}")
        if is_complete:
            (growing / BYTECODE_MARKER).touch()
        _write_marker(growing / MARKER, lock, python, anew=anew)
        _put_in_place(growing, destination)
    finally:
        shim.remove(str(growing))
    if anew and lock.packages:
        with contextlib.suppress(EnvironmentFailed):  # only the next builds would notice
            _Uv(_silent, deadline, tools)(["cache", "clean", *(name for name, _ in lock.packages)], destination.parent)


def _sync(command: list[str], lock: Lock, growing: Path, python: Interpreter, run: _Uv, *, anew: bool) -> None:
    """Installs wheels only, which runs nothing. What has none is made into one in a sandbox, which uv then installs."""
    wheels: dict[str, Path] = {}
    # what the machine names stays: uv forgets it when there is an option
    others = [place for place in uv_environment(os.environ).get("UV_FIND_LINKS", "").split(",") if place]
    requirements = growing / "requirements.lock"
    while True:
        places = [*others, *(str(wheel.parent) for wheel in wheels.values())] if wheels else []
        more = [option for place in places for option in ("--find-links", place)]
        no_wheel = run.with_wheels([*command, *more], growing)
        if no_wheel is None:
            break
        pin = next((pin for pin in no_wheel.pins if pin not in wheels), None)
        if pin is None:
            raise no_wheel.failure
        wheel = wheels[pin] = _make_wheel(pin, lock, growing, python, run, anew=anew)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        pattern = rf"^{re.escape(pin)}(?P<marker> ;[^\n\\]*)?( \\\n    --hash=\S+)+"
        exact = re.sub(
            pattern, rf"{pin}\g<marker> --hash=sha256:{digest}", requirements.read_text(), flags=re.MULTILINE
        )
        requirements.write_text(exact)
    requirements.write_text(lock.text)


_WHEELS_KEPT_SECONDS: Final = 30 * 86400


def _make_wheel(pin: str, lock: Lock, growing: Path, python: Interpreter, run: _Uv, *, anew: bool) -> Path:
    """A wheel of one source distribution of the lock, from the workspace's own store or built now, in a sandbox."""
    found = re.search(rf"^{re.escape(pin)}(?: ;[^\n\\]*)?(?: \\\n    --hash=\S+)+", lock.text, re.MULTILINE)
    if found is None:
        raise EnvironmentFailed("failed", f"The lock does not name {pin}", "Resolve it again.")
    store = growing.parent / ".wheels"
    for old in store.glob("*/*.whl"):
        with contextlib.suppress(OSError):
            if old.stat().st_mtime < time.time() - _WHEELS_KEPT_SECONDS:
                shutil.rmtree(old.parent)
    place = store / hashlib.sha256(f"{lock.text.splitlines()[0]}\n{found[0]}".encode()).hexdigest()[:32]
    if anew:
        shutil.rmtree(place, ignore_errors=True)
    for wheel in place.glob("*.whl"):
        os.utime(wheel)
        return wheel
    run.on_log(f"{pin} has no wheel for this machine: building it from source, in a sandbox")
    with _temporary_folder(f"{growing.name}-", growing.parent) as folder:
        (folder / "requirements.txt").write_text(f"{found[0]}\n")
        command = ["pip", "install", "--no-deps", "--require-hashes", "--no-binary", pin.partition("==")[0]]
        command += ["--python", str(python.path), "--target", "installed", "--requirement", "requirements.txt"]
        with _sandboxed(run, python, folder) as inside:
            inside(command, folder)
        return _take_wheel(pin, folder / "cache", place)


def _take_wheel(pin: str, cache: Path, place: Path) -> Path:
    """The wheel that uv built, out of a cache to which foreign code could write as well."""
    name, _, version = pin.partition("==")
    for folder, _, files in os.walk(cache):
        for file in files:
            parts = file.removesuffix(".whl").split("-")
            if file.endswith(".whl") and len(parts) >= 5 and _canonical_name(parts[0]) == _canonical_name(name):
                source = os.open(f"{folder}/{file}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(source, "rb") as wheel:
                    if not stat.S_ISREG(os.fstat(source).st_mode) or not re.fullmatch(r"[\w.+!-]+", file):
                        continue
                    place.mkdir(parents=True, exist_ok=True)
                    partial = place / f".{file}.{os.getpid()}-{time.monotonic_ns()}"
                    with partial.open("wb") as copy:
                        shutil.copyfileobj(wheel, copy)
                    return partial.rename(place / file)
    why = f"The build of {name} {version} made no wheel"
    raise EnvironmentFailed("build_failed", why, "Choose a version that publishes wheels for this Python version.")


@contextmanager
def _sandboxed(run: _Uv, python: Interpreter, folder: Path) -> Iterator[_Uv]:
    """uv in a sandbox, where the code of packages runs as well: it may write to `folder`, and has a cache there.

    Of the network it has the configured package indexes, without the credentials for them.
    """
    indexes, links = _where_packages_are(run, python, folder)
    local = [Path(unquote(urlsplit(link).path)) for link in links if "://" not in link or link.startswith("file:")]
    remote = [link for link in links if "://" in link and not link.startswith("file:")]
    relay = index_relay.Relay(index_relay.with_credentials(indexes, os.environ), remote, os.environ)
    for name in ("cache", "home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    options = [*_own_settings(os.environ, folder), *relay.options()]
    for place in local:
        options += ["--find-links", str(place)]
    hidden = run.tools.wheel_cache or folder
    with (
        build_sandbox(
            python.path, folder, read=[one for one in local if one.exists()], hidden=hidden, port=index_relay.PORT
        ) as sandbox,
        relay.listening(sandbox.socket),
    ):
        yield replace(run, sandbox=sandbox, options=tuple(options), environment=_sandbox_environment(folder))


def _where_packages_are(run: _Uv, python: Interpreter, folder: Path) -> tuple[list[str], list[str]]:
    """The indexes that uv would ask here, its default first, and its other places; as uv itself tells."""
    (folder / "nothing.txt").touch()
    options = ["--emit-index-url", "--emit-find-links", "--no-header", "--output-file", "places.txt"]
    options += ["--python", str(python.path)]
    replace(run, on_log=_silent)(["pip", "compile", "nothing.txt", *options], folder)
    told = [line.split(maxsplit=1) for line in (folder / "places.txt").read_text().splitlines() if " " in line]
    indexes = [value for option, value in told if option in ("--index-url", "--extra-index-url")]
    return indexes, [
        str(folder / value) if "://" not in value else value for option, value in told if option == "--find-links"
    ]


_SETTING_FOR_BUILDS: Final = re.compile(
    r"UV_(?:OFFLINE|HTTP_TIMEOUT|HTTP_RETRIES|CONCURRENT_.+|EXCLUDE_NEWER|TORCH_BACKEND|RESOLUTION|PRERELEASE)"
)


def _sandbox_environment(folder: Path) -> dict[str, str]:
    settings = {name: value for name, value in os.environ.items() if _SETTING_FOR_BUILDS.fullmatch(name)}
    return settings | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "UV_CACHE_DIR": str(folder / "cache"),
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }


_ABOUT_PLACES: Final = (
    *("index", "index-url", "extra-index-url", "default-index", "find-links", "no-index", "keyring-provider"),
    *("cache-dir", "allow-insecure-host", "native-tls", "system-certs"),
)


def _own_settings(machine: Mapping[str, str], folder: Path) -> list[str]:
    """The operator's uv.toml without where packages are, and so without credentials."""
    options = _configuration(machine)
    named = machine.get("UV_CONFIG_FILE") or (options[1] if len(options) > 1 else None)
    if not named:
        return ["--no-config"]
    settings = tomllib.loads(Path(named).read_text("utf-8"))
    pip = settings.pop("pip", {})
    lines = [f"{json.dumps(key)} = {_as_toml(value)}" for key, value in settings.items() if key not in _ABOUT_PLACES]
    lines += ["[pip]"]
    lines += [f"{json.dumps(key)} = {_as_toml(value)}" for key, value in pip.items() if key not in _ABOUT_PLACES]
    (folder / "uv.toml").write_text("\n".join(lines), "utf-8")
    return ["--config-file", str(folder / "uv.toml")]


def _as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_as_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, bool)) else str(value)


_BYTECODE_SECONDS: Final = 3.0  # of a build's time; an import of what is not compiled yet works, and takes longer
_LAST_FILE_SECONDS: Final = 20.0


def _compile_packages(
    folder: Path, python: Interpreter, tools: Tools, seconds: float, *, anew: bool, niceness: int = 0
) -> bool:
    """Makes bytecode in `folder` until the time is over. Whether it is complete. `anew` takes none from the store.

    Runs the interpreter that the environment stands on, without `site`: nothing of the environment. What a source text
    does to the compiler stays in the sandbox, where there is one.
    """
    store = open_store(wheel_cache(tools))
    read = [Path(bytecode.__file__), Path(confinement.__file__)]
    stored = "" if anew or not store.folder.is_dir() else str(store.folder)
    read += [store.folder] if stored else []
    processes = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for packages in folder.glob("lib/python3*/site-packages"):
        results, theirs = os.pipe()
        command = [str(python.path), "-I", "-S", bytecode.__file__, str(processes), str(seconds), str(niceness)]
        command += [stored, str(theirs), confinement.__file__]
        given = b""
        with open(results, "rb"):
            with open(theirs, "wb"):
                if tools.isolation == "strict":
                    hidden = tools.wheel_cache or packages
                    command, given = in_sandbox(command, python=python.path, read=read, folder=packages, hidden=hidden)
                process = _start(command, packages, theirs)
            ended = _compiled(process, given, store, results, time.monotonic() + seconds + _LAST_FILE_SECONDS)
        if not ended:
            return False
    store.drop_unused()
    return True


def _start(command: list[str], folder: Path, results: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[results],
        start_new_session=True,
    )


def _compiled(
    process: subprocess.Popen[bytes], given: bytes, store: BytecodeStore, results: int, deadline: float
) -> bool:
    """Whether the compilers came to their end. What they make goes to the store meanwhile."""
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(given)
        store.receive(results, deadline)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(max(0.0, deadline - time.monotonic())) == 0
        return False
    except ValueError:  # no results
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _kept_in_place(destination: Path) -> Iterator[int | None]:
    """A descriptor of the folder, while which nobody else compiles or removes it; None if somebody does."""
    folder = os.open(destination, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield folder if _is_locked(folder) and os.path.samestat(os.fstat(folder), destination.stat()) else None
    finally:
        os.close(folder)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """One that foreign code may fill with whatever it likes."""
    folder = tempfile.mkdtemp(prefix=prefix, dir=parent)
    try:
        yield Path(folder)
    finally:
        shim.remove(folder)


def _leftovers(destination: Path) -> list[Path]:
    """Of builds and removals of this destination that were cut off. Call it as the only builder."""
    return [
        found
        for kind in ("building", "removed")
        for found in destination.parent.glob(f".{glob.escape(destination.name)}.{kind}-*")
    ]


_RENAME_EXCHANGE: Final = 2
_AT_FDCWD: Final = -100


def _put_in_place(new: Path, destination: Path) -> None:
    """`new` becomes `destination`. What was there lies where `new` was.

    A folder that is there stays, with what it holds exchanged: sandboxes have it mounted, and would go on with the old.
    """
    if not os.path.lexists(destination):
        new.rename(destination)
    elif destination.is_symlink() or not destination.is_dir():
        _swap(new, destination)
    else:
        for name in sorted({*os.listdir(new), *os.listdir(destination)}):
            _swap(new / name, destination / name)


def _swap(one: Path, other: Path) -> None:
    """Exchanges two names of which one may be missing, in one step where the system can do that."""
    if not os.path.lexists(other):
        one.rename(other)
    elif not os.path.lexists(one):
        other.rename(one)
    elif not _exchange(one, other):
        aside = other.with_name(f".{other.name}.removed-{os.getpid()}-{time.time_ns()}")
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two names at once; False where neither the library nor the file system knows how."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done != 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    return bool(done == 0)


def _write_marker(path: Path, lock: Lock, python: Interpreter, *, anew: bool) -> None:
    marker = {"lock": lock.digest, "python": python.version, "built_at": time.time(), "anew": anew}
    with path.open("w") as file:
        json.dump(marker, file)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _only_builder(destination: Path, on_log: OnLog, deadline: float) -> Iterator[None]:
    """Holds the lock file of a destination, among all threads and processes of the machine."""
    with (destination.parent / f".{destination.name}.lock").open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    on_log("Waiting for another build of the same environment")
                    told = True
                if time.monotonic() > deadline:
                    raise _timed_out() from None
                time.sleep(0.05)
        yield


@dataclass(frozen=True)
class _NoWheel:
    failure: EnvironmentFailed
    pins: list[str]


@dataclass(frozen=True)
class _Uv:
    """Runs uv until a deadline, its lines going to `on_log`; with `sandbox`, in there, with `options` of its own."""

    on_log: OnLog
    deadline: float
    tools: Tools
    environment: Mapping[str, str] | None = None
    sandbox: BuildSandbox | None = None
    options: tuple[str, ...] = ()

    @property
    def in_sandbox(self) -> bool:
        """Whether the code of packages may run in a sandbox only."""
        return self.tools.isolation == "strict" and not self.tools.wheels_only

    def with_wheels(self, arguments: list[str], folder: Path) -> _NoWheel | None:
        """Run one command that must do with wheels. Returns what it says where it cannot, and logs only the rest."""
        kept: list[str] = []

        def keep_errors(line: str) -> None:
            if kept or line.startswith("error:"):
                kept.append(line)
            else:
                self.on_log(line)

        wheels_only = replace(self, on_log=keep_errors, tools=replace(self.tools, wheels_only=True))
        no_wheel = None
        try:
            wheels_only(arguments, folder)
        except EnvironmentFailed as failure:
            if failure.code != "no_wheel":
                raise
            no_wheel = _NoWheel(
                failure, re.findall(r"([\w.-]+==[^\s,`]+) has no (?:usable wheels|wheels with)", " ".join(kept))
            )
        finally:
            for line in () if no_wheel else kept:
                self.on_log(line)
        return no_wheel

    def __call__(self, arguments: list[str], folder: Path) -> None:
        """Run one command in `folder`. Raises EnvironmentFailed with the reason it gave."""
        log = _Log(self.on_log)
        command, environment, given = self._command(arguments)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE if given else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError), process.stdin:
                    process.stdin.write(given)
            finished, problem = self._follow(process, log)
        finally:
            # Before it is reaped, while its pid cannot be another's: also what a build left running.
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            assert process.stdout is not None
            process.stdout.close()
        if problem is None and code != 0 and self.sandbox is not None and self.sandbox.ran_out_of_memory():
            problem = f"it used more than {self.sandbox.memory_bytes >> 20} MiB of memory"
        if problem is not None:
            message = f"The build from source was stopped: {problem}"
            raise EnvironmentFailed("build_failed", message, "Choose versions that publish wheels for this machine.")
        if not finished:
            raise _timed_out()
        if code != 0:
            raise explain([*log.notable, *log.tail])

    def _command(self, arguments: list[str]) -> tuple[list[str], Mapping[str, str], bytes]:
        """What to run, with which environment, and what to give it on its standard input."""
        command = [uv.find_uv_bin(), *arguments]
        if self.sandbox is not None:
            entering, given = self.sandbox.start([*command, *self.options], self.environment or {})
            return entering, {"LANG": "C.UTF-8"}, given
        command += _configuration(os.environ)
        if arguments[0] in ("pip", "venv"):
            command += _no_index(os.environ)
        if self.tools.wheels_only and arguments[0] == "pip":
            command.append("--no-build")
        return command, self.environment or uv_environment(os.environ, self.tools), b""

    def _follow(self, process: subprocess.Popen[bytes], log: _Log) -> tuple[bool, str | None]:
        """Pass on the output until the process ends (True) or the time is over (False), or tell what was too much.

        Its end counts, not the end of the output: a daemon left by a build may keep the pipe open.
        """
        assert process.stdout is not None
        problem = None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < self.deadline and problem is None:
                chunk = os.read(process.stdout.fileno(), 1 << 16) if selector.select(0.05) else None
                if chunk:
                    log.add(chunk)
                elif os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    log.close()
                    return True, None
                elif chunk == b"":
                    time.sleep(0.01)
                problem = self.sandbox.problem(process.pid) if self.sandbox is not None else None
        log.close()
        return False, problem


class _Log:
    """Cuts output into lines for `on_log`, without credentials; a flood is dropped.

    Keeps the last lines, and the first of those that say what fails: the output of a build follows them.
    """

    def __init__(self, on_log: OnLog) -> None:
        self.notable: list[str] = []
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._on_log = on_log
        self._rest = b""
        self._count = 0

    def add(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._line(line)

    def close(self) -> None:
        if self._rest:
            self._line(self._rest)
            self._rest = b""

    def _line(self, raw: bytes) -> None:
        line = _without_credentials(raw[:_MAX_LINE_BYTES].decode(errors="replace").rstrip())
        self.tail.append(line)
        if len(self.notable) < 20 and re.search(r"^error:|Failed to build", line):
            self.notable.append(line)
        self._count += 1
        if self._count <= _MAX_LOG_LINES:
            self._on_log(line)
        elif self._count == _MAX_LOG_LINES + 1:
            self._on_log("... the build prints too much; the rest is left out")


def _configuration(machine: Mapping[str, str]) -> list[str]:
    """Only the operator's own uv.toml counts: uv would also take one from any folder above the working folder."""
    if machine.get("UV_CONFIG_FILE") or machine.get("UV_NO_CONFIG"):
        return []
    user = Path(machine.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uv" / "uv.toml"
    system = Path("/etc/uv/uv.toml")
    found = next((path for path in (user, system) if path.is_file()), None)
    return ["--no-config"] if found is None else ["--config-file", str(found)]


def _no_index(machine: Mapping[str, str]) -> list[str]:
    """uv has an option for this, but no variable."""
    wish = machine.get("UV_NO_INDEX") or machine.get("PIP_NO_INDEX") or ""
    return ["--no-index"] if wish.lower() in ("1", "true", "yes", "on") else []


def _without_credentials(line: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://****@", line)


# --- disk --------------------------------------------------------------------------------------------------


def disk_usage(path: Path) -> int:
    """The bytes that a file or folder takes, each file once however many names it has. Links are not followed."""
    total, seen = 0, set[tuple[int, int]]()
    waiting = [path]
    while waiting:
        entry = waiting.pop()
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            status = entry.lstat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
            if stat.S_ISDIR(status.st_mode):
                waiting += entry.iterdir()
    return total


def wheel_cache(tools: Tools) -> Path:
    """Where uv keeps what it downloaded and built."""
    machine = os.environ.get("UV_CACHE_DIR")
    if machine:
        return Path(machine)
    return tools.wheel_cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"


def prune_wheel_cache(tools: Tools, *, everything: bool = False, timeout_seconds: float = 300.0) -> None:
    """Drop what no longer serves a purpose from uv's cache, or all of it. Environments keep their files.

    The stored bytecode goes in both cases: uv drops what it does not know.

    Waits for builds that use it. Raises EnvironmentFailed.
    """
    folder = wheel_cache(tools)
    if folder.is_dir():
        run = _Uv(_silent, time.monotonic() + timeout_seconds, tools)
        run(["cache", "clean" if everything else "prune"], folder.parent)


def _silent(_: str) -> None:
    pass


# --- reasons -----------------------------------------------------------------------------------------------

_REASONS: Final[tuple[tuple[str, str, str, str], ...]] = (
    # pattern in uv's words, code, our words, hint
    (r"(?i)building source distributions (?:for .+? )?is disabled|has no usable wheels", "no_wheel",
     "A requirement has no wheel for this machine, and building from source is not allowed here: {tail}",
     "Choose a version with a wheel, or ask the operator to build one."),
    (r"Couldn't parse requirement.*? cause: (?P<why>.+)", "bad_requirement", "A requirement cannot be read: {why}",
     'Write requirements like "numpy", "numpy==2.1.0" or "numpy>=2,<3".'),
    (r"[Hh]ash mismatch for `(?P<name>[^`]+)`", "hash_mismatch", "{name} on the index is not what was locked",
     "Resolve the environment again; if it happens again, somebody changed a published file."),
    (r"Failed to build `(?P<name>[^`]+)`(?P<why>.*)", "build_failed",
     "{name} has no ready-made wheel for this machine, and building it from source failed: {why}",
     "Choose a version that publishes wheels for this Python version, or another Python version."),
    (r"No space left on device|os error 28", "no_space", "The disk is full", "Free some space and build again."),
    (r"\b(?:401|403)\b|Unauthorized|Forbidden", "index_unreachable", "The package index refused the request: {tail}",
     "The operator's credentials for the index are missing or wrong."),
    (r"error sending request|Failed to fetch|Could not connect|dns error|Connection refused|timed out"
     r"|connectivity is disabled", "index_unreachable",
     "The package index cannot be reached: {tail}", "Check the network and the index settings of the platform."),
    (r"(?:Because )?(?P<name>[\w.-]+) was not found in the (?:package registry|provided package locations|cache)",
     "package_not_found", "There is no package {name} on the package index", "Check the spelling of {name}."),
    (r"current Python version \((?P<python>[\d.]+)\) does not satisfy Python(?P<wanted>[^\s]+) and (?P<name>[\w.-]+)"
     r"(?:[=<>!~]\S+)? depends", "python_mismatch", "{name} needs Python {wanted}, and the environment has {python}",
     "Choose another Python version, or another version of {name}."),
    (r"(?P<name>[\w.-]+)(?:[=<>!~]=?\S+)? requires Python ?(?P<wanted>[<>=!~]\S+)", "python_mismatch",
     "{name} needs Python {wanted}", "Choose another Python version, or another version of {name}."),
    (r"(?P<name>[\w.-]+?)(?:[=<>!~]=?\S+)? has no wheels with a matching (?P<what>[\w ]+? tag)", "no_wheel",
     "{name} has no wheel for this machine (no matching {what}) and no source", "Choose another version of {name}."),
    (r"(?:there (?:is|are) no versions? of|only) (?P<name>[\w.-]+?)(?P<wanted>[=<>!~][^\s,]+)?"
     r"(?: is available)? and you require (?P<required>(?P=name)[^\s,]*), we", "version_not_found",
     "There is no {required} on the package index", "Choose a version that exists, or leave the version out."),
    (r"(?P<why>Because .+?unsatisfiable)", "conflict", "The requirements contradict each other: {why}",
     "Loosen or remove one of the versions named."),
)  # fmt: skip


def explain(output: Iterable[str]) -> EnvironmentFailed:
    """What went wrong, from the last lines that uv printed."""
    lines = [re.sub(r"^[\s\u2500-\u25ff\u00d7]+", "", line) for line in output]
    lines = [line for line in lines if line and not line.startswith("warning:")]
    text = " ".join(lines)
    tail = next((line for line in reversed(lines) if not line.startswith("hint:")), "no output")
    for pattern, code, message, hint in _REASONS:
        if match := re.search(pattern, text):
            words = {name: value or "" for name, value in match.groupdict().items()}
            words["tail"] = tail.removeprefix("cause: ")
            words["why"] = _last_words(lines) if code == "build_failed" else words.get("why", "")[:1000]
            return EnvironmentFailed(code, message.format_map(words), hint.format_map(words))
    return EnvironmentFailed("failed", f"uv could not make the environment: {tail[:500]}", "The log says more.")


def _last_words(lines: list[str]) -> str:
    """The line of a failed build that says most: the last that looks like an error, else the last at all."""
    told = [line for line in lines if not line.startswith(("hint:", "help:", "cause:"))]
    errors = [line for line in told if re.match(r"(\w+\.)*\w*(Error|Exception|error)\b", line)]
    return (errors or told or ["no output"])[-1][:500]


def _timed_out() -> EnvironmentFailed:
    message = "The environment was not ready in time, and the build was stopped"
    return EnvironmentFailed("timed_out", message, "Use packages with ready-made wheels, or fewer of them.", status=504)


def _not_an_environment(destination: Path) -> EnvironmentFailed:
    message = f"{destination} holds something else than the environment asked for"
    return EnvironmentFailed("not_an_environment", message, "Use an empty place.", status=500)
