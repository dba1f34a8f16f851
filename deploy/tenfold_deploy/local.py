"""Workers as processes of this machine, each under a small process of its own (shim.py) that outlives whoever started
it.
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from tenfold_deploy import isolation as isolating
from tenfold_deploy import packs, shim
from tenfold_deploy.isolation import confinement, joining, seccomp
from tenfold_deploy.isolation.levels import bubblewrap
from tenfold_deploy.scheduler import (
    ExitStatus,
    Handle,
    Isolation,
    LogChunk,
    Observation,
    ReplicaSpec,
    ReplicaState,
    SchedulerError,
)
from tenfold_deploy.shims import Shims
from tenfold_deploy.zygotes import Zygotes
from tenfold_runtime.package import read_config

_NAME = "local"
_REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_SOCKET_PATH_BYTES = 100
_OWN_SERVER = (
    "Its own server is reached over TCP, and workers have no network here: only a strict sandbox has one of its own."
)
_MARK = "TENFOLD_REPLICA_ID"
_OF_REPLICAS = ("HOME", "TMPDIR", _MARK)  # variables that differ between replicas that are alike
_TOLD = "imports.json"
_ZYGOTE_DISK_BYTES = 64 * 1024 * 1024
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
_REPORT_NOTHING = {  # libraries that tell their makers how they are used; onnxruntime has a thread for it, too
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}


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
        isolation: Isolation | None = None,
        disk_bytes: int | None = None,
        zygotes: int = 0,
    ) -> None:
        """`isolation` is what `find_isolation` found (default: it is asked, with the network open); `disk_bytes` is
        what one worker may keep in its own folders (default: half of what is free when it starts); `zygotes` is how
        many processes there may be from which workers are forked.
        """
        self._state_dir = Path(state_dir).absolute()
        self._replicas = self._state_dir / "replicas"
        self._replicas.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_segment_bytes = log_segment_bytes
        self._processes = processes
        self._open_files = open_files
        self._path = path_for_workers
        self._isolation = isolation
        self._disk_bytes = disk_bytes
        self._shims = Shims()
        self._zygotes = Zygotes(self._state_dir / "zygotes", zygotes, self._shims.start) if zygotes else None
        self._packs = packs.Packs(self._state_dir / "packs", self._replicas)
        self._heard: set[str] = set()
        self._runtime: Path | None = None
        self._lock = threading.Lock()

    def start(self, spec: ReplicaSpec) -> Handle:
        _check(spec)
        alone = packs.why_alone(spec) if spec.packed else None
        folder = self._make_folder(spec.replica_id)
        try:
            if spec.packed and alone is None:
                data = self._join_pack(spec, folder)
            else:
                data = self._start(spec, folder, {"pack": {"alone": alone}} if alone else {})
        except BaseException:
            shim.remove(str(folder))
            raise
        return _handle(folder, data)

    def stop(self, handle: Handle, grace_seconds: float = 10.0) -> None:
        if (_folder(handle) / "exit.json").exists() or not _shim_lives(handle):
            return
        if packs.is_member(handle):
            self._packs.stop(handle, grace_seconds)
            return
        with contextlib.suppress(OSError):
            shim.write_json(str(_folder(handle) / "stop.json"), {"grace_seconds": grace_seconds})
        shim.signal_process(handle.data["shim_pid"], handle.data["shim_started"], signal.SIGTERM)

    def observe(self, handle: Handle) -> Observation:
        try:
            seen = self._observe(handle)
            if seen.state is ReplicaState.RUNNING:
                self._hear_imports(handle)
            return seen
        except OSError as error:
            return Observation(
                ReplicaState.UNKNOWN, reason=f"It could not be looked at: {error}.", reason_code="unreachable"
            )

    def observe_all(self, handles: Sequence[Handle]) -> list[Observation]:
        return [self.observe(handle) for handle in handles]

    def logs(self, handle: Handle, offset: int = 0, limit: int = 65536) -> LogChunk:
        if packs.is_member(handle):
            return self._packs.logs(handle, partial(_read_log, _folder(packs.pack_handle(handle))), offset, limit)
        return _read_log(_folder(handle), offset, limit)

    def adopt(self) -> list[Handle]:
        self._packs.tidy()
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
        if packs.is_member(handle):
            self._packs.remove(handle)
        shim.remove(str(_folder(handle)))
        self._heard.discard(handle.replica_id)

    def end_zygotes(self) -> None:
        """Ends what workers are forked from or share, and those of them that are left, and waits for that."""
        self._packs.end_all()
        zygotes = self._zygotes or Zygotes(self._state_dir / "zygotes", 0, self._shims.start)
        zygotes.end_all()

    # Starting

    def _start(
        self, spec: ReplicaSpec, folder: Path, told: Mapping[str, Any] = {}, *, is_pack: bool = False
    ) -> dict[str, Any]:
        """The data of the handle, with what is `told` in it besides. Raises SchedulerError `start_failed`."""
        plan = self._plan(spec, folder, is_pack=is_pack)
        plan["handle"].update(told)
        answer = self._run_plan(spec, plan)
        if "error" in answer:
            raise SchedulerError(
                "start_failed",
                f"The worker's process could not be started: {answer['error']}.",
                hint=f"Does {spec.python} run on this machine?",
            )
        return answer

    def _join_pack(self, spec: ReplicaSpec, folder: Path) -> dict[str, Any]:
        isolation = self._isolation or isolating.find_isolation("open")
        alike = _zygote_key(spec, isolation, self._environment(spec, folder), self._runtime_folder())
        key = packs.key_of(alike, isolation.level, spec.resources)
        return self._packs.join(key, spec, folder, partial(self._start_pack, spec))

    def _start_pack(self, first: ReplicaSpec, name: str, folder: Path) -> dict[str, Any]:
        """The worker of a pack, started as that of its first member would be, but for the package."""
        _make_folders(folder)
        labels = {name: value for name, value in first.labels.items() if name == "workspace"}
        root = str(folder / "members")
        spec = replace(first, replica_id=name, root=root, digest=None, environment=None, labels=labels)
        return self._start(spec, folder, is_pack=True)

    def _run_plan(self, spec: ReplicaSpec, plan: dict[str, Any]) -> dict[str, Any]:
        key = plan["handle"].get("zygote_key")
        if self._zygotes is None or key is None:
            return self._shims.start(plan)
        zygote = self._zygotes.find(key)
        if zygote is not None:
            plan["zygote"] = {"socket": zygote.socket, "pid": zygote.pid, "started": zygote.started}
        answer = self._shims.start(plan)
        if answer.get("forked"):
            self._zygotes.forked(key)
            return answer
        if zygote is not None and "zygote_problem" in answer:
            self._zygotes.declined(key, zygote, answer["zygote_problem"])
        self._zygotes.wants(key, partial(self._zygote_plan, spec, plan))
        return answer

    def _make_folder(self, replica_id: str) -> Path:
        folder = self._replicas / replica_id
        if (folder / "handle.json").exists():
            raise SchedulerError(
                "replica_exists", f"Replica {replica_id} was started before.", hint="Adopt it, or use a new id."
            )
        shim.remove(str(folder))  # of a start that was cut off before there was a process
        folder.mkdir(mode=0o700, parents=True)
        _make_folders(folder)
        return folder

    def _plan(self, spec: ReplicaSpec, folder: Path, *, is_pack: bool = False) -> dict[str, Any]:
        _write_secrets(folder / "secrets", spec.secrets)
        socket_path, socket_folder = _socket_path(folder / "run")
        address = f"unix:{socket_path}"
        private = [folder / "home", folder / "tmp", Path(socket_path).parent]
        isolation = self._isolation or isolating.find_isolation("open")
        package = _package_of(spec)
        if isolation.level == "reduced" and isolation.network == "none" and package.has_own_server:
            raise SchedulerError("start_failed", _OWN_SERVER, hint=" ".join(isolation.missing))
        arguments = _arguments(spec, "pack" if is_pack else spec.kind, address, folder / "secrets")
        environment = self._environment(spec, folder)
        runtime = self._runtime_folder()
        key = None
        if self._zygotes and _may_fork(isolation) and spec.kind == "model" and package == _Package():
            key = _zygote_key(spec, isolation, environment, runtime)
            arguments += ["--tell-imports", str(Path(socket_path).parent / _TOLD)]
        compile_runtime(runtime, Path(os.path.realpath(spec.python)), self._state_dir)
        working_folder = str(runtime)
        return {
            "folder": str(folder),
            "arguments": arguments,
            "environment": environment,
            "working_folder": working_folder,
            "memory_bytes": spec.resources.memory_bytes,
            "cpu": spec.resources.cpu,
            "processes": self._processes,
            "open_files": self._open_files,
            "disk_bytes": self._disk_bytes or shutil.disk_usage(folder).free // 2,
            "private_folders": [str(path) for path in private],
            "log_segment_bytes": self._log_segment_bytes,
            "use_groups": isolation.level != "none",
            "sandbox": self._sandbox(spec, isolation, folder, private, package, arguments, environment, working_folder),
            "socket": socket_path,
            "remove_first": [str(folder / "secrets")],
            "remove_at_end": [socket_path, *([socket_folder] if socket_folder else [])],
            "handle": {
                "replica_id": spec.replica_id,
                "labels": dict(spec.labels),
                "address": address,
                "isolation": isolation.to_json(),
                **({"zygote_key": key} if key else {}),
            },
        }

    def _zygote_plan(self, spec: ReplicaSpec, plan: dict[str, Any], folder: Path, imports: list[str]) -> dict[str, Any]:
        """A zygote for replicas like that of `plan`. It is kept as they are, but for what it sees: no package, no
        secret.
        """
        socket_path, socket_folder = _socket_path(folder / "run", "zygote.sock")
        shared = {name: value for name, value in plan["environment"].items() if name not in _OF_REPLICAS}
        environment = {**shared, "HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108 (of the sandbox)
        tools = [Path(joining.__file__), Path(confinement.__file__)]
        python = Path(os.path.realpath(sys.executable))
        view = isolating.view_of(
            Path(spec.python),
            read=[Path(plan["working_folder"]), *tools, *isolating.interpreter_folders(python, self._state_dir)],
            write=[Path(socket_path).parent],
            hidden=self._state_dir,
        )
        # what shuts it in is the platform's own Python, without its variables: nothing of the user's runs before that
        arguments = [str(python), "-I", "-S", str(tools[0]), *map("=".join, environment.items()), "--"]
        arguments += [spec.python, "-m", "tenfold_runtime.zygote"]
        arguments += ["--listen", socket_path, "--isolation", str(tools[0].parent), "--imports", ",".join(imports)]
        isolation = Isolation.from_json(plan["handle"]["isolation"])
        return {
            **plan,
            "folder": str(folder),
            "is_zygote": True,
            "disk_bytes": _ZYGOTE_DISK_BYTES,
            "private_folders": [str(Path(socket_path).parent)],
            "socket": None,
            "remove_first": [],
            "remove_at_end": [socket_path, *([socket_folder] if socket_folder else [])],
            "handle": {"replica_id": f"zygote-{folder.parent.name}", "socket": socket_path},
            "sandbox": {
                **plan["sandbox"],
                "options": isolating.bubblewrap_arguments(
                    view,
                    network=isolation.network == "open",
                    environment={},
                    folder=plan["working_folder"],
                    accounts=self._accounts_folder(),
                    memory_bytes=spec.resources.memory_bytes,
                    terminals=False,
                ),
                "command": arguments,
                "seccomp": seccomp.program(sockets_out=True, may_join=True).hex(),
            },
        }

    def _sandbox(
        self,
        spec: ReplicaSpec,
        isolation: Isolation,
        folder: Path,
        private: list[Path],
        package: _Package,
        arguments: list[str],
        environment: dict[str, str],
        working_folder: str,
    ) -> dict[str, Any]:
        if isolation.level == "none":
            return {"level": "none"}
        code = Path(spec.root or spec.code_root or "")
        view = isolating.view_of(
            Path(spec.python),
            read=[Path(working_folder), folder / "secrets", *([] if package.is_built_here else [code])],
            write=[*private, *([code] if package.is_built_here else [])],
            hidden=self._state_dir,
        )
        is_open = isolation.network == "open"
        if isolation.level == "strict":
            program = bubblewrap()
            return {
                "level": "strict",
                "program": program,
                "scope": program is not None and not os.stat(program).st_mode & stat.S_ISUID,
                "options": isolating.bubblewrap_arguments(
                    view,
                    network=is_open,
                    environment=environment,
                    folder=working_folder,
                    accounts=self._accounts_folder(),
                    memory_bytes=spec.resources.memory_bytes,
                ),
                "command": arguments,
                "seccomp": seccomp.program(sockets_out=True).hex(),
            }
        user = None  # a package that is built here belongs to the platform's user, and several replicas write to it
        if not package.is_built_here and confinement.may_become_another_user():
            user = isolating.user_of(folder)
        if user is not None:
            for path in (*private, folder / "secrets", *(folder / "secrets").iterdir()):
                os.chown(path, user, user)
        return {
            "level": "reduced",
            "rules": isolating.landlock_rules(view, network=is_open, user=user),
            "seccomp": seccomp.program(sockets_out=is_open).hex(),
        }

    def _environment(self, spec: ReplicaSpec, folder: Path) -> dict[str, str]:
        python = Path(spec.python)
        threads = str(max(1, int(spec.resources.cpu or os.cpu_count() or 1)))
        variables = {
            "PATH": f"{python.parent}:{self._path}",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "USER": "worker",
            "LOGNAME": "worker",
            "LANG": "C.UTF-8",
            "PYTHONNOUSERSITE": "1",
            _MARK: spec.replica_id,
            **dict.fromkeys(_THREAD_VARIABLES, threads),
            **_REPORT_NOTHING,
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

    def _accounts_folder(self) -> Path:
        """What workers find as /etc/passwd and /etc/group."""
        folder = self._state_dir / "accounts"
        for name, content in isolating.ACCOUNTS.items():
            if not (folder / name).exists():
                folder.mkdir(exist_ok=True)
                partial = folder / f".{name}-{os.getpid()}-{threading.get_ident()}"
                partial.write_text(content, "ascii")
                partial.rename(folder / name)
        return folder

    # Observing

    def _hear_imports(self, handle: Handle) -> None:
        """What a worker that has loaded its model tells the zygote of those that come after it."""
        key = handle.data.get("zygote_key")
        if self._zygotes is None or key is None or handle.replica_id in self._heard:
            return
        told = Path(handle.data["address"].partition(":")[2]).parent / _TOLD
        if os.path.lexists(told):
            self._heard.add(handle.replica_id)
            self._zygotes.learn(key, told)

    def _observe(self, handle: Handle) -> Observation:
        ended = _read_exit(handle)
        if ended is not None:
            return ended
        if packs.is_member(handle):
            return self._observe_member(handle)
        if _shim_lives(handle):
            return _observe_living(handle)
        return _read_exit(handle) or _observe_lost(handle)

    def _observe_member(self, handle: Handle) -> Observation:
        self._packs.look_for_end(handle)
        ended = _read_exit(handle)
        if ended is not None:
            return ended
        if _shim_lives(handle):
            return _observe_living(handle) if self._packs.has(handle) else _removed()
        worker = self._observe(packs.pack_handle(handle))
        self._packs.worker_ended(handle, worker)
        return _read_exit(handle) or worker


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


@dataclass(frozen=True)
class _Package:
    """What of a package decides how it is confined."""

    is_built_here: bool = False
    has_own_server: bool = False


def _package_of(spec: ReplicaSpec) -> _Package:
    if spec.root is None:
        return _Package()
    try:
        config = read_config(Path(spec.root))
    except Exception:  # the worker tells what is wrong with it
        return _Package()
    return _Package(bool(config["build_commands"]), bool(config["docker_server"]))


def _write_secrets(folder: Path, secrets: Mapping[str, str]) -> None:
    for name, value in secrets.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(value)


def _may_fork(isolation: Isolation) -> bool:
    """Whether workers can be forked and be as confined as others: only a sandbox can be entered, by its owner, and only
    Landlock keeps a zygote from those who make sandboxes below its own.
    """
    program = bubblewrap() if isolation.level == "strict" else None
    if program is None or os.stat(program).st_mode & stat.S_ISUID:
        return False
    return confinement.landlock_abi() >= 1


def _zygote_key(spec: ReplicaSpec, isolation: Isolation, environment: Mapping[str, str], runtime: Path) -> str:
    """Names replicas that are alike in all that matters before their package's code runs.

    Workspaces never share one, and an environment that was built anew is another one.
    """
    python = Path(spec.python)
    made = python.parent.parent / "pyvenv.cfg"
    found = os.stat(made if made.exists() else python)
    alike = {
        "workspace": spec.labels.get("workspace"),
        "python": [spec.python, found.st_ino, found.st_mtime_ns],
        "runtime": str(runtime),
        "network": isolation.network,
        "environment": {name: value for name, value in environment.items() if name not in _OF_REPLICAS},
    }
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:20]


def _make_folders(folder: Path) -> None:
    """What a worker sees of its replica's folder."""
    for name in ("home", "tmp", "run", "secrets"):
        (folder / name).mkdir(mode=0o700)


def _socket_path(folder: Path, name: str = packs.CONTROL_SOCKET) -> tuple[str, str | None]:
    """Where the worker listens, and the folder made for it where the replica's own path is too long for a socket's
    address.
    """
    path = str(folder / name)
    if len(os.fsencode(path)) < _SOCKET_PATH_BYTES:
        return path, None
    base = tempfile.gettempdir()
    made = tempfile.mkdtemp(prefix="tf-", dir=base if len(os.fsencode(base)) < _SOCKET_PATH_BYTES - 30 else "/tmp")  # noqa: S108
    return f"{made}/{name}", made


def _arguments(spec: ReplicaSpec, kind: str, address: str, secrets: Path) -> list[str]:
    arguments = [spec.python, "-m", "tenfold_runtime", "--kind", kind, "--listen", address]
    arguments += ["--grace-seconds", "86400"]  # how long it may take to stop is said when it is stopped
    if spec.kind == "model":
        arguments += ["--root", str(spec.root), "--secrets-dir", str(secrets)]
        if spec.environment is not None:
            arguments += ["--environment", json.dumps(dict(spec.environment))]
    else:
        arguments += ["--code-root", str(spec.code_root)]
    return [*arguments, "--digest", spec.digest] if spec.digest else arguments


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
        # here and now, as workers cannot write into it
        compileall.compile_dir(package, quiet=2, stripdir=package.parent, prependdir=folder)
        with contextlib.suppress(OSError):  # somebody else was faster, with the same content
            package.parent.rename(folder)
    return folder


def compile_runtime(folder: Path, python: Path, state_dir: Path) -> None:
    """Bytecode of the runtime for another Python version than the platform's, once: workers could not keep theirs.

    Only with an interpreter of the machine: what an environment or a package brings is somebody else's program.
    """
    version = re.fullmatch(r"python3\.(\d+)", python.name)
    if version is None or int(version[1]) == sys.version_info.minor:
        return
    if python.is_relative_to(state_dir) or any((parent / "pyvenv.cfg").exists() for parent in python.parents):
        return
    if any(folder.glob(f"tenfold_runtime/__pycache__/*.cpython-3{version[1]}.pyc")):
        return
    command = [str(python), "-I", "-S", "-m", "compileall", "-q", str(folder / "tenfold_runtime")]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env={}, timeout=60, check=False)


def _handle(folder: Path, data: Mapping[str, Any]) -> Handle:
    rest = {name: value for name, value in data.items() if name not in ("replica_id", "labels", "isolation")}
    isolation = Isolation.from_json(data.get("isolation"))
    return Handle(_NAME, data["replica_id"], {**rest, "folder": str(folder)}, data["labels"], isolation)


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
        found = os.lstat(address.partition(":")[2])
    except FileNotFoundError:
        return Observation(ReplicaState.STARTING, pid=pid, since=since)
    if not stat.S_ISSOCK(found.st_mode):  # the worker can put a link there, to somebody else's socket
        return Observation(ReplicaState.STARTING, pid=pid, since=since)
    return Observation(ReplicaState.RUNNING, address, pid, since=_time(found.st_mtime))


def _removed() -> Observation:
    now = datetime.now(UTC)
    return Observation(ReplicaState.EXITED, exit=ExitStatus(), reason="It was removed.", reason_code="lost", since=now)


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
        shim.signal_process(worker, handle.data["worker_started"], signal.SIGKILL)
    mark = f"{_MARK}={handle.replica_id}".encode()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and (shim.session_of(int(name)) == worker or mark in _environment_of(name)):
            started = shim.process_started(int(name))
            if started is not None:
                shim.signal_process(int(name), started, signal.SIGKILL)


def _environment_of(pid: str) -> list[bytes]:
    """What a process was started with; nothing for one that is not ours to read."""
    try:
        return Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _read_log(folder: Path, offset: int, limit: int) -> LogChunk:
    segments = _segments(folder)
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
