"""Workers as processes of this machine, each under a small process of its own (shim.py) that outlives whoever started
it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from tenfold_deploy import shim
from tenfold_deploy.scheduler import (
    ExitStatus,
    Handle,
    LogChunk,
    Observation,
    ReplicaSpec,
    ReplicaState,
    SchedulerError,
)

_NAME = "local"
_REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_SOCKET_PATH_BYTES = 100
_START_SECONDS = 15.0
_MARK = "TENFOLD_REPLICA_ID"
_NOT_FOR_WORKERS = ("PYTHONHOME", "PYTHONSAFEPATH", "PYTHONSTARTUP")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


class LocalScheduler:
    """Starts workers as processes. Everything it knows is below `state_dir`, so any number of restarts loses nothing.

    Of several schedulers with one state folder each sees all replicas; that two do not start the same one is the
    caller's business.
    """

    name = _NAME

    def __init__(
        self,
        state_dir: Path | str,
        *,
        log_segment_bytes: int = 8 * 1024 * 1024,
        processes: int = 512,
        open_files: int = 8192,
        path_for_workers: str = "/usr/local/bin:/usr/bin:/bin",
    ) -> None:
        self._state_dir = Path(state_dir).absolute()
        self._replicas = self._state_dir / "replicas"
        self._replicas.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_segment_bytes = log_segment_bytes
        self._processes = processes
        self._open_files = open_files
        self._path = path_for_workers
        self._runtime: Path | None = None
        self._lock = threading.Lock()

    def start(self, spec: ReplicaSpec) -> Handle:
        _check(spec)
        folder = self._make_folder(spec.replica_id)
        try:
            answer = _run_shim(self._plan(spec, folder))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if "error" in answer:
            shutil.rmtree(folder, ignore_errors=True)
            raise SchedulerError(
                "start_failed",
                f"The worker's process could not be started: {answer['error']}.",
                hint=f"Does {spec.python} run on this machine?",
            )
        return _handle(folder, answer)

    def stop(self, handle: Handle, grace_seconds: float = 10.0) -> None:
        if (_folder(handle) / "exit.json").exists() or not _shim_lives(handle):
            return
        with contextlib.suppress(OSError):
            shim.write_json(str(_folder(handle) / "stop.json"), {"grace_seconds": grace_seconds})
        _signal(handle.data["shim_pid"], handle.data["shim_started"], signal.SIGTERM)

    def observe(self, handle: Handle) -> Observation:
        try:
            return self._observe(handle)
        except OSError as error:
            return Observation(
                ReplicaState.UNKNOWN, reason=f"It could not be looked at: {error}.", reason_code="unreachable"
            )

    def observe_all(self, handles: Sequence[Handle]) -> list[Observation]:
        return [self.observe(handle) for handle in handles]

    def logs(self, handle: Handle, offset: int = 0, limit: int = 65536) -> LogChunk:
        segments = _segments(_folder(handle))
        end = segments[-1][0] + _size(segments[-1][1]) if segments else 0
        start = max(0, end + offset) if offset < 0 else offset
        data = b""
        for first, path in segments:
            position = start + len(data) if data else max(start, first)
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(position - first)
                piece = file.read(limit - len(data))
                if piece and not data:
                    start = position
                data += piece
            if len(data) >= limit:
                break
        return LogChunk(data, start + len(data))

    def adopt(self) -> list[Handle]:
        handles = []
        for folder in sorted(self._replicas.iterdir()):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError):
                handles.append(_handle(folder, json.loads((folder / "handle.json").read_text("utf-8"))))
        return handles

    def remove(self, handle: Handle) -> None:
        if self.observe(handle).state is not ReplicaState.EXITED:
            raise SchedulerError(
                "still_running",
                f"Replica {handle.replica_id} has not ended.",
                hint="Stop it and observe its end first.",
            )
        shutil.rmtree(_folder(handle), ignore_errors=True)

    # Starting

    def _make_folder(self, replica_id: str) -> Path:
        folder = self._replicas / replica_id
        if (folder / "handle.json").exists():
            raise SchedulerError(
                "replica_exists", f"Replica {replica_id} was started before.", hint="Adopt it, or use a new id."
            )
        shutil.rmtree(folder, ignore_errors=True)  # of a start that was cut off before there was a process
        for name in ("", "home", "tmp", "secrets"):
            (folder / name).mkdir(mode=0o700, parents=True)
        return folder

    def _plan(self, spec: ReplicaSpec, folder: Path) -> dict[str, Any]:
        _write_secrets(folder / "secrets", spec.secrets)
        socket_path, socket_folder = _socket_path(folder)
        address = f"unix:{socket_path}"
        return {
            "folder": str(folder),
            "arguments": _arguments(spec, address, folder / "secrets"),
            "environment": self._environment(spec, folder),
            "working_folder": str(self._runtime_folder()),
            "memory_bytes": spec.resources.memory_bytes,
            "processes": self._processes,
            "open_files": self._open_files,
            "log_segment_bytes": self._log_segment_bytes,
            "remove_at_end": [socket_path, str(folder / "secrets"), *([socket_folder] if socket_folder else [])],
            "handle": {"replica_id": spec.replica_id, "labels": dict(spec.labels), "address": address},
        }

    def _environment(self, spec: ReplicaSpec, folder: Path) -> dict[str, str]:
        python = Path(spec.python)
        threads = str(max(1, int(spec.resources.cpu or os.cpu_count() or 1)))
        variables = {
            "PATH": f"{python.parent}:{self._path}",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONNOUSERSITE": "1",
            _MARK: spec.replica_id,
            **dict.fromkeys(_THREAD_VARIABLES, threads),
        }
        if (python.parent.parent / "pyvenv.cfg").exists():
            variables["VIRTUAL_ENV"] = str(python.parent.parent)
        variables.update(spec.environment_variables)
        return {name: value for name, value in variables.items() if name not in _NOT_FOR_WORKERS}

    def _runtime_folder(self) -> Path:
        """A private copy of the runtime, in a folder that holds nothing else.

        No more of the platform can be imported from it.
        """
        with self._lock:
            if self._runtime is None or not self._runtime.exists():
                self._runtime = _copied_runtime(self._state_dir)
            return self._runtime

    # Observing

    def _observe(self, handle: Handle) -> Observation:
        ended = _read_exit(handle)
        if ended is not None:
            return ended
        if _shim_lives(handle):
            return _observe_living(handle)
        return _read_exit(handle) or _observe_lost(handle)


def _check(spec: ReplicaSpec) -> None:
    if not _REPLICA_ID.fullmatch(spec.replica_id):
        raise SchedulerError("start_failed", f"{spec.replica_id!r} is not a replica id.", hint="Use a UUID.")
    if not os.access(spec.python, os.X_OK):
        raise SchedulerError(
            "start_failed", f"There is no Python at {spec.python}.", hint="Build the environment before starting."
        )
    folder = spec.root if spec.kind == "model" else spec.code_root
    if folder is None or not os.path.isdir(folder):
        raise SchedulerError(
            "start_failed", f"There is no folder {folder}.", hint="Put the package or the code on this machine first."
        )
    wrong = [name for name in spec.secrets if not _SECRET_NAME.fullmatch(name)]
    if wrong:
        raise SchedulerError("start_failed", f"{wrong[0]!r} cannot be the name of a secret.")


def _write_secrets(folder: Path, secrets: Mapping[str, str]) -> None:
    for name, value in secrets.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(value)


def _socket_path(folder: Path) -> tuple[str, str | None]:
    """Where the worker listens, and the folder made for it where the replica's own path is too long for a socket's
    address.
    """
    path = str(folder / "worker.sock")
    if len(os.fsencode(path)) < _SOCKET_PATH_BYTES:
        return path, None
    base = tempfile.gettempdir()
    made = tempfile.mkdtemp(prefix="tf-", dir=base if len(os.fsencode(base)) < _SOCKET_PATH_BYTES - 30 else "/tmp")  # noqa: S108
    return f"{made}/worker.sock", made


def _arguments(spec: ReplicaSpec, address: str, secrets: Path) -> list[str]:
    arguments = [spec.python, "-m", "tenfold_runtime", "--kind", spec.kind, "--listen", address]
    arguments += ["--grace-seconds", "86400"]  # how long it may take to stop is said when it is stopped
    if spec.kind == "model":
        arguments += ["--root", str(spec.root), "--secrets-dir", str(secrets)]
        if spec.environment is not None:
            arguments += ["--environment", json.dumps(dict(spec.environment))]
    else:
        arguments += ["--code-root", str(spec.code_root)]
    return [*arguments, "--digest", spec.digest] if spec.digest else arguments


def _run_shim(plan: dict[str, Any]) -> dict[str, Any]:
    """Starts a shim and waits for its first and only word: the handle's data, or what went wrong."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", shim.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={"LANG": "C.UTF-8"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as stdin, process.stdout as stdout:
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(plan).encode())
            stdin.close()
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        ready, _, _ = select.select([stdout], [], [], _START_SECONDS)
        line = stdout.readline() if ready else b""
    if not line:
        raise SchedulerError(
            "start_failed", "The process that starts workers did not answer.", hint="Is the machine overloaded?"
        )
    answer: dict[str, Any] = json.loads(line)
    return answer


def _copied_runtime(state_dir: Path) -> Path:
    source = resources.files("tenfold_runtime")
    files = {entry.name: entry.read_bytes() for entry in source.iterdir() if entry.name.endswith(".py")}
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + data for name, data in sorted(files.items()))).hexdigest()
    folder = state_dir / f"runtime-{digest[:16]}"
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(prefix=".runtime-", dir=state_dir) as made:
        package = Path(made, "whole", "tenfold_runtime")
        package.mkdir(parents=True)
        for name, data in files.items():
            (package / name).write_bytes(data)
        with contextlib.suppress(OSError):  # somebody else was faster, with the same content
            package.parent.rename(folder)
    return folder


def _handle(folder: Path, data: Mapping[str, Any]) -> Handle:
    rest = {name: value for name, value in data.items() if name not in ("replica_id", "labels")}
    return Handle(_NAME, data["replica_id"], {**rest, "folder": str(folder)}, data["labels"])


def _folder(handle: Handle) -> Path:
    return Path(handle.data["folder"])


def _shim_lives(handle: Handle) -> bool:
    return _lives(handle, "shim")


def _lives(handle: Handle, which: str) -> bool:
    data = handle.data
    if data["boot"] != shim.boot_id() or data[f"{which}_started"] is None:
        return False
    return bool(shim.process_started(data[f"{which}_pid"]) == data[f"{which}_started"])


def _read_exit(handle: Handle) -> Observation | None:
    try:
        ended = json.loads((_folder(handle) / "exit.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # not there, or lost its content with the machine's power
        return None
    return Observation(
        ReplicaState.EXITED,
        exit=ExitStatus(ended["code"], ended["signal"]),
        reason=ended["reason"],
        reason_code=ended["reason_code"],
        since=_time(ended["at"]),
    )


def _observe_living(handle: Handle) -> Observation:
    address, pid = handle.data["address"], handle.data["worker_pid"]
    since = _time(handle.data["started_at"])
    try:
        listening_since = os.lstat(address.partition(":")[2]).st_mtime
    except FileNotFoundError:
        return Observation(ReplicaState.STARTING, pid=pid, since=since)
    return Observation(ReplicaState.RUNNING, address, pid, since=_time(listening_since))


def _observe_lost(handle: Handle) -> Observation:
    """The shim is gone without a word.

    It was killed, or the machine restarted. Nothing of the worker may be left behind.
    """
    if handle.data["boot"] != shim.boot_id():
        code, reason = "machine_restarted", "The machine was restarted."
    else:
        code = "supervisor_killed"
        reason = "The process that watches over it was killed, by its own code or by somebody; it was ended as well."
        _end_leftovers(handle)
    now = time.time()
    if _folder(handle).exists():
        ended = {"code": None, "signal": None, "reason": reason, "reason_code": code, "at": now}
        shim.write_json(str(_folder(handle) / "exit.json"), ended)
    return Observation(ReplicaState.EXITED, exit=ExitStatus(), reason=reason, reason_code=code, since=_time(now))


def _end_leftovers(handle: Handle) -> None:
    worker = handle.data["worker_pid"]
    if _lives(handle, "worker"):
        _signal(worker, handle.data["worker_started"], signal.SIGKILL)
    mark = f"{_MARK}={handle.replica_id}".encode()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and (shim.session_of(int(name)) == worker or mark in _environment_of(name)):
            started = shim.process_started(int(name))
            if started is not None:
                _signal(int(name), started, signal.SIGKILL)


def _environment_of(pid: str) -> list[bytes]:
    """What a process was started with; nothing for one that is not ours to read."""
    try:
        return Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _signal(pid: int, started: str, number: int) -> None:
    """Sends a signal to exactly the process that was meant, or to none.

    Its number may have been given to another one.
    """
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            if shim.process_started(pid) == started:
                os.kill(pid, number)
            return
        descriptor = os.pidfd_open(pid)
        try:
            if shim.process_started(pid) == started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _segments(folder: Path) -> list[tuple[int, Path]]:
    found = [path for path in folder.glob(f"{shim.LOG_PREFIX}*") if path.suffix[1:].isdigit()]
    return sorted((int(path.suffix[1:]), path) for path in found)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # removed meanwhile
        return 0


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
