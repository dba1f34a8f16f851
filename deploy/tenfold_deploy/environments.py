"""Environments: requirements resolved to a lock with hashes, and one virtual environment built per lock, by uv.

`resolve` turns an `EnvironmentSpec` into a `Lock`; `build` turns a `Lock` into a folder, or finds it built.
An environment grows in a folder beside its destination and is renamed when it is complete, so a destination
that exists is whole. Neither function ever changes what is already built.

uv runs with an empty environment but for what it needs to reach the machine's package indexes: code that
runs during a build sees no secret of the platform.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import uv

OnLog = Callable[[str], None]

OLDEST_PYTHON: Final = (3, 9)
MARKER: Final = "tenfold-environment.json"
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
class Interpreter:
    path: Path
    version: str

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


def resolve(spec: EnvironmentSpec, *, on_log: OnLog, timeout_seconds: float = BUILD_TIMEOUT_SECONDS) -> Lock:
    """Choose exact versions for `spec`, with the hash of every file they may come from."""
    python = find_python(spec.python_version)
    if not spec.requirements and not spec.implied:
        return _lock(python, "")
    deadline = time.monotonic() + timeout_seconds
    implied = _implied_packages(spec)
    try:
        return _lock(python, _compile(python, spec, implied, on_log, deadline))
    except EnvironmentFailed as failure:
        if not implied or failure.code in ("timed_out", "index_unreachable", "no_space"):
            raise
        on_log("The requirements leave no room for all the packages a Truss server brings; trying without those.")
    return _lock(python, _compile(python, spec, (), on_log, deadline))


def build(lock: Lock, destination: Path, *, on_log: OnLog, timeout_seconds: float = BUILD_TIMEOUT_SECONDS) -> Built:
    """Make the environment of `lock` at `destination`, or find it there.

    Any number of callers, in any number of processes, may build the same lock: one works, the others wait.
    Raises EnvironmentFailed; `destination` then does not exist, unless it did before.
    """
    started = time.monotonic()
    deadline = started + timeout_seconds
    reused = True
    if not is_built(destination, lock):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _only_builder(destination, on_log, deadline):
            if not is_built(destination, lock):
                reused = False
                _build_beside(lock, destination, on_log, deadline)
    return Built(destination / "bin" / "python", time.monotonic() - started, reused)


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


def find_python(version: str | None) -> Interpreter:
    """An interpreter of `version` on this machine, the platform's own first. Raises EnvironmentFailed."""
    wanted = canonical_python(version) or own_python_version()
    if _as_numbers(wanted) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise EnvironmentFailed("python_unavailable", f"Python {wanted} is too old", f"Use Python {oldest} or newer.")
    for path in _candidates().get(wanted, ()):
        interpreter = _ask_interpreter(path)
        if interpreter is not None and interpreter.minor == wanted:
            return interpreter
    there = ", ".join(sorted(_candidates(), key=_as_numbers))
    hint = f"Choose one of: {there}; or install Python {wanted} there."
    raise EnvironmentFailed("python_unavailable", f"Python {wanted} is not on the platform's machine", hint)


def python_versions() -> list[Interpreter]:
    """One interpreter of every usable version on this machine, newest last."""
    versions = sorted(_candidates(), key=_as_numbers)
    answers = (_ask_interpreter(path) for version in versions for path in _candidates()[version][:1])
    return [interpreter for interpreter in answers if interpreter is not None]


def _candidates() -> dict[str, list[Path]]:
    """Where interpreters may be, by version, best first; told from the file names, so nothing is run."""
    found: dict[str, list[Path]] = {own_python_version(): [_own_interpreter()]}
    for folder in _interpreter_folders():
        for path in sorted(folder.glob("python3.*")):
            name = re.fullmatch(r"python(3\.\d+)", path.name)
            if name and _as_numbers(name[1]) >= OLDEST_PYTHON and os.access(path, os.X_OK):
                found.setdefault(name[1], []).append(path)
    return found


def _own_interpreter() -> Path:
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


def _interpreter_folders() -> Iterator[Path]:
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    data_home = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data_home / "uv/python")
    for versions in (pyenv / "versions", managed):
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
    |CONFIG_FILE|NO_CONFIG|LINK_MODE|TORCH_BACKEND|RESOLUTION|PRERELEASE)""",
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


def uv_environment(machine: Mapping[str, str]) -> dict[str, str]:
    """What uv gets to see of the machine's variables: how to reach the indexes, in pip's spelling or uv's."""
    passed = {name: value for name, value in machine.items() if _PASSED_ON.fullmatch(name)}
    for pip_name, uv_name in _SPELLED_FOR_UV.items():
        value = machine.get(pip_name, "").strip()
        if value:
            passed.setdefault(uv_name, ",".join(value.split()) if uv_name == "UV_FIND_LINKS" else value)
    return passed | {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}


def _compile(
    python: Interpreter, spec: EnvironmentSpec, implied: tuple[str, ...], on_log: OnLog, deadline: float
) -> str:
    with tempfile.TemporaryDirectory(prefix="tenfold-resolve-") as name:
        folder = Path(name)
        (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in (*spec.requirements, *implied)))
        (folder / "constraints.txt").write_text("".join(f"{line}\n" for line in spec.constraints))
        on_log(f"Resolving {len(spec.requirements)} requirements for Python {python.version}")
        command = ["pip", "compile", "requirements.txt", "--constraint", "constraints.txt", "--output-file", "lock.txt"]
        options = ["--generate-hashes", "--no-header", "--no-annotate", "--python", str(python.path)]
        _run_uv([*command, *options], folder, on_log, deadline)
        return (folder / "lock.txt").read_text()


def _lock(python: Interpreter, pins: str) -> Lock:
    machine = f"{sys.platform}-{platform.machine().lower()}"
    return Lock(f"# tenfold lock 1: python {python.minor} {machine}\n{pins}")


def _build_beside(lock: Lock, destination: Path, on_log: OnLog, deadline: float) -> None:
    prefix = f".{destination.name}.building-"
    for abandoned in destination.parent.glob(f"{prefix}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    growing = Path(tempfile.mkdtemp(prefix=prefix, dir=destination.parent))
    try:
        growing.chmod(0o755)
        python = find_python(lock.python_version)
        on_log(f"Creating an environment with Python {python.version}")
        # Relocatable: its scripts find the interpreter beside them, so it works after the rename.
        _run_uv(["venv", "--quiet", "--relocatable", "--allow-existing", "--python", str(python.path), "."],
                growing, on_log, deadline)  # fmt: skip
        if lock.packages:
            (growing / "requirements.lock").write_text(lock.text)
            options = ["--require-hashes", "--python", "bin/python"]
            _run_uv(["pip", "sync", "requirements.lock", *options], growing, on_log, deadline)
        _write_marker(growing / MARKER, lock, python)
        growing.rename(destination)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise


def _write_marker(path: Path, lock: Lock, python: Interpreter) -> None:
    marker = {"lock": lock.digest, "python": python.version, "built_at": time.time()}
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


def _run_uv(arguments: list[str], folder: Path, on_log: OnLog, deadline: float) -> None:
    """Run uv in `folder`, its lines going to `on_log`; raises EnvironmentFailed with the reason it gave."""
    log = _Log(on_log)
    process = subprocess.Popen(
        [uv.find_uv_bin(), *arguments, *_configuration(os.environ), *_no_index(os.environ)],
        cwd=folder,
        env=uv_environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        finished = _follow(process, log, deadline)
    finally:
        # Before it is reaped, while its pid cannot be another's: also what a build left running.
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        assert process.stdout is not None
        process.stdout.close()
    if not finished:
        raise _timed_out()
    if code != 0:
        raise explain([*log.notable, *log.tail])


def _follow(process: subprocess.Popen[bytes], log: _Log, deadline: float) -> bool:
    """Pass on the output until the process ends (True) or the time is over (False).

    Its end counts, not the end of the output: a daemon left by a build may keep the pipe open.
    """
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            chunk = os.read(process.stdout.fileno(), 1 << 16) if selector.select(0.05) else None
            if chunk:
                log.add(chunk)
            elif os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                log.close()
                return True
            elif chunk == b"":
                time.sleep(0.01)
    log.close()
    return False


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


# --- reasons -----------------------------------------------------------------------------------------------

_REASONS: Final[tuple[tuple[str, str, str, str], ...]] = (
    # pattern in uv's words, code, our words, hint
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
