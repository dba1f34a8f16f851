"""The packs of the local scheduler: workers that several small models of a workspace share.

All of it is in files below one folder, so that restarts lose nothing. Of each key there are a `lock` and a folder for
each pack, which a shim keeps like a replica's (`handle.json`, `log.*`, `exit.json`, ...). In that are

- `members`      what the worker is to serve, see `tenfold_runtime/pack.py`: all that it sees of the models' packages
- `number.json`  that of the last member
- `outdated`     one of its members did not end in time: it gets no more of them

A member is a replica like others, with a folder, a handle and an end of its own; that it shares a worker is in the
`pack` of its handle. Nobody adds or removes members but with the lock of their key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tenfold_deploy import shim
from tenfold_deploy.locking import only_one
from tenfold_deploy.scheduler import (
    ExitStatus,
    Handle,
    LogChunk,
    Observation,
    ReplicaSpec,
    Resources,
    SchedulerError,
)
from tenfold_runtime.frames import encode
from tenfold_runtime.package import read_config

MOST_MEMBERS: Final = 64
CONTROL_SOCKET: Final = "worker.sock"
_LOG_BLOCK_BYTES: Final = 64 * 1024
_LATE_SECONDS: Final = 5.0  # longer than a worker needs to tell callers that time is over
_NUDGE_SECONDS: Final = 1.0
_END_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 1.0  # of a worker without members
_GONE_SECONDS: Final = 3.0
_MARK: Final = re.compile(rb"\[\[(\d+)\]\] ")

StartWorker = Callable[[str, Path], dict[str, Any]]
"""Starts a pack's worker from its id and its folder: the data of its handle. Raises SchedulerError `start_failed`."""

Read = Callable[[int, int], LogChunk]
"""Reads a log from an offset on, as `Scheduler.logs` does."""


def why_alone(spec: ReplicaSpec) -> str | None:
    """Why a model cannot share a worker, in a sentence; None when it can."""
    if spec.kind != "model" or spec.root is None:
        return "Only models share workers."
    if spec.secrets:
        return "It has secrets, which no other model may read."
    try:
        return _why_package_alone(Path(spec.root))
    except Exception:  # the worker tells what is wrong with it
        return "Its configuration cannot be read."


def _why_package_alone(root: Path) -> str | None:
    config = read_config(root)
    if config["build_commands"]:
        return "It has build commands, whose results are for one model."
    if config["docker_server"]:
        return "It brings a server of its own."
    if config.get("weights") or config.get("model_cache"):
        return "It has weights at fixed paths, and those of several models would meet there."
    if config["runtime"]["enable_debug_logs"]:
        return "It asks for debug logs, and what is logged is the same for all in a worker."
    own = _own_modules(root, config)
    if own is not None:
        return f"It has Python modules beside its model's folder ({own}), and those of several models would meet."
    return None


def _own_modules(root: Path, config: Mapping[str, Any]) -> str | None:
    """One of those that could be imported from the package by name, beside the model's own folder."""
    module_folder = os.path.normpath(str(config["model_module_dir"]))
    if module_folder == ".":
        return str(config["model_class_filename"])
    apart = {module_folder.split(os.sep)[0], os.path.normpath(str(config["data_dir"])).split(os.sep)[0]}
    bundled = str(config["bundled_packages_dir"])
    for path in sorted(root.iterdir()):
        if path.name == bundled and path.is_dir() and any(path.iterdir()):
            return bundled
        if path.suffix in (".py", ".so"):
            return path.name
        is_importable = path.is_dir() and path.name not in apart and path.name.isidentifier()
        if is_importable and any(file.suffix in (".py", ".so") for file in path.rglob("*")):
            return path.name
    return None


def key_of(zygote_key: str, level: str, resources: Resources) -> str:
    """Names replicas that may share a worker: those that could be forked from one process, at one level of isolation.

    `resources` are those of each, and bound the worker as a whole: every package has some, if only the defaults.
    """
    alike = f"{zygote_key} {level} {resources.memory_bytes} {resources.cpu}"
    return hashlib.sha256(alike.encode()).hexdigest()[:16]


def is_member(handle: Handle) -> bool:
    return "pack_folder" in handle.data


def pack_handle(handle: Handle) -> Handle:
    """That of the worker that a member shares: as of a replica whose folder is the pack's."""
    folder = Path(handle.data["pack_folder"])
    data = {name: value for name, value in handle.data.items() if name != "pack_folder"}
    return Handle(handle.scheduler, folder.name, {**data, "folder": str(folder)})


@dataclass(frozen=True)
class Pack:
    folder: Path
    data: Mapping[str, Any]

    @property
    def members(self) -> Path:
        return self.folder / "members"

    @property
    def run(self) -> Path:
        """Where its sockets are. The worker writes here: nothing in it is to be trusted."""
        return Path(self.data["address"].partition(":")[2]).parent

    @property
    def is_alive(self) -> bool:
        """Its shim is there, and so may the worker be."""
        return (
            self.data["boot"] == shim.boot_id()
            and shim.process_started(self.data["shim_pid"]) == self.data["shim_started"]
            and not (self.folder / "exit.json").exists()
        )

    @property
    def takes_members(self) -> bool:
        ended = (self.folder / "stop.json", self.folder / "outdated", self.run / "outdated")
        works = shim.process_started(self.data["worker_pid"]) == self.data["worker_started"]
        return works and not any(map(os.path.lexists, ended))

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.members.glob("*.json"))

    def nudge(self) -> None:
        """Lets the worker look at its folder now. One that does not listen yet, or hangs, does so later, or never."""
        path = str(self.run / CONTROL_SOCKET)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                connection.settimeout(_NUDGE_SECONDS)
                connection.connect(path)
                connection.sendall(encode({"id": 1, "op": "look"}, b""))
                connection.recv(1)

    def end(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        with contextlib.suppress(OSError):
            shim.write_json(str(self.folder / "stop.json"), {"grace_seconds": grace_seconds})
        shim.signal_process(self.data["shim_pid"], self.data["shim_started"], signal.SIGTERM)


class Packs:
    """Methods may be called from any thread, and in several processes with one folder."""

    def __init__(self, folder: Path, replicas: Path) -> None:
        self._folder = folder
        self._replicas = replicas
        self._quiet: dict[str, tuple[int, int]] = {}  # by replica: where in the log there is nothing of it

    # Members come and go

    def join(self, key: str, spec: ReplicaSpec, replica: Path, start: StartWorker) -> dict[str, Any]:
        """Puts a replica into a worker of this key, a new one where none has room. Returns the data of its handle.

        Raises SchedulerError `start_failed`.
        """
        with only_one(self._folder / key) as folder:
            self._tidy(folder)
            for pack in self._of(folder):
                if pack.is_alive and pack.takes_members and len(pack.names()) < MOST_MEMBERS:
                    data = self._add(pack, spec)
                    if pack.takes_members:
                        break
                    _remove_member(pack, spec.replica_id)
            else:
                pack = _started(folder, start)
                data = self._add(pack, spec)
            shim.write_json(str(replica / "handle.json"), data)
        pack.nudge()
        return data

    def stop(self, handle: Handle, grace_seconds: float) -> None:
        pack = _pack_of(handle)
        path = pack.members / f"{handle.replica_id}.stop"
        until = min(time.time() + grace_seconds, _until(path) or float("inf"))
        with contextlib.suppress(FileNotFoundError):  # it was removed
            shim.write_json(str(path), {"until": until})
        pack.nudge()

    def has(self, handle: Handle) -> bool:
        """Whether it is a member still."""
        return (_pack_of(handle).members / f"{handle.replica_id}.json").exists()

    def look_for_end(self, handle: Handle) -> None:
        """Writes down how a member has ended whose worker goes on, if it has."""
        pack = _pack_of(handle)
        until = _until(pack.members / f"{handle.replica_id}.stop")
        has_told = os.path.lexists(pack.run / f"{handle.data['number']}.ended")
        if until is None and has_told:
            self._write_end([handle.replica_id], _end("exited", "It ended by itself.", 0))
        elif until is None:
            return
        elif has_told:
            self._write_end([handle.replica_id], _stopped(0))
        elif time.time() > until + _LATE_SECONDS:
            with contextlib.suppress(OSError):
                (pack.folder / "outdated").touch()
            self._write_end([handle.replica_id], _end("stopped", "It was stopped, and did not finish in time."))
        else:
            return
        self._end_if_left(pack)

    def worker_ended(self, handle: Handle, seen: Observation) -> None:
        """Writes down that a worker's members have ended with it."""
        pack = _pack_of(handle)
        with only_one(pack.folder.parent):
            active = self._active(pack)
            self._write_end([name for name in active if _until(pack.members / f"{name}.stop") is not None], _stopped())
            names = self._active(pack)
            reason = seen.reason or ""
            if len(names) > 1 and seen.reason_code != "stopped":
                others = "another model, which" if len(names) == 2 else f"{len(names) - 1} other models, which all"
                reason += f" It shared this worker with {others} ended with it."
            how = seen.exit or ExitStatus()
            self._write_end(names, _end(seen.reason_code or "lost", reason, how.code, how.signal, seen.since))

    def remove(self, handle: Handle) -> None:
        """Forgets a member that has ended; with the last one its pack, which is waited for for a moment."""
        pack = _pack_of(handle)
        self._quiet.pop(handle.replica_id, None)
        with only_one(pack.folder.parent):
            _remove_member(pack, handle.replica_id)
            is_last = not pack.names()
            if is_last and pack.is_alive:
                pack.end()
        if is_last:
            self._remove_ended(pack)
        else:
            pack.nudge()

    def tidy(self) -> None:
        """Removes what starts that were cut off have left, and packs that nobody needs any more."""
        for folder in self._keys():
            with only_one(folder):
                self._tidy(folder)

    def end_all(self) -> None:
        """Ends all packs, and their members with them, and waits for that."""
        told: set[Path] = set()
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            living = [pack for folder in self._keys() for pack in self._of(folder) if pack.is_alive]
            for pack in living:
                if pack.folder not in told:
                    pack.end(0)
            told = {pack.folder for pack in living}
            if not living:
                break
            time.sleep(0.01)
        self.tidy()

    # The log

    def logs(self, handle: Handle, read: Read, offset: int, limit: int) -> LogChunk:
        """What of the worker's log is this member's, or nobody's. Offsets are those in the log of the worker."""
        start, until = self._quiet.get(handle.replica_id, (0, 0))
        is_over = (Path(handle.data["pack_folder"]) / "exit.json").exists()
        first = until if start <= offset <= until else offset
        chunk = lines_of(handle.data["number"], read, first, limit, is_over=is_over)
        if not chunk.data and offset >= 0:  # it is asked again and again from there, while others print
            self._quiet[handle.replica_id] = (offset, chunk.next_offset)
        return chunk

    # Helpers

    def _add(self, pack: Pack, spec: ReplicaSpec) -> dict[str, Any]:
        """The member's file is written last: from then on the worker serves it."""
        number = _next_number(pack.folder)
        package = pack.members / spec.replica_id
        listen = f"unix:{pack.run}/{number}.sock"
        member = {
            "number": number,
            "root": str(package),
            "listen": listen,
            "digest": spec.digest,
            "environment": None if spec.environment is None else dict(spec.environment),
        }
        try:
            shutil.copytree(str(spec.root), package, symlinks=True, copy_function=_link)
            shim.write_json(str(pack.members / f"{spec.replica_id}.json"), member)
        except OSError as error:
            _remove_member(pack, spec.replica_id)
            raise SchedulerError(
                "start_failed", f"The package could not be put before its worker: {error}.", hint="Is the disk full?"
            ) from error
        kept = ("boot", "shim_pid", "shim_started", "worker_pid", "worker_started", "forked", "zygote_key", "isolation")
        return {
            **{name: pack.data[name] for name in kept if name in pack.data},
            "replica_id": spec.replica_id,
            "labels": dict(spec.labels),
            "address": listen,
            "started_at": time.time(),
            "number": number,
            "pack": {"worker": pack.folder.name},
            "pack_folder": str(pack.folder),
        }

    def _write_end(self, names: list[str], ended: Mapping[str, Any]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # it was removed
                shim.write_json(str(self._replicas / name / "exit.json"), ended)

    def _end_if_left(self, pack: Pack) -> None:
        """A worker without members ends: what they were is nothing that those to come would find there."""
        if self._active(pack):
            return
        with only_one(pack.folder.parent):
            if not self._active(pack) and pack.is_alive and not (pack.folder / "stop.json").exists():
                pack.end()

    def _active(self, pack: Pack) -> list[str]:
        return [name for name in pack.names() if not (self._replicas / name / "exit.json").exists()]

    def _tidy(self, folder: Path) -> None:
        """With the lock held, so that nothing here is about to become something."""
        for path in [path for path in folder.iterdir() if path.is_dir()]:
            if not (path / "handle.json").exists():
                shim.remove(str(path))
        for pack in self._of(folder):
            for name in pack.names():
                if not (self._replicas / name / "handle.json").exists():
                    _remove_member(pack, name)
            if not pack.names() and not pack.is_alive:
                shim.remove(str(pack.folder))

    def _remove_ended(self, pack: Pack) -> None:
        deadline = time.monotonic() + _GONE_SECONDS
        while pack.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
        with only_one(pack.folder.parent) as folder:
            self._tidy(folder)

    def _keys(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.is_dir()] if self._folder.exists() else []

    def _of(self, folder: Path) -> list[Pack]:
        found = []
        for path in sorted(folder.glob("*/handle.json")):
            with contextlib.suppress(OSError, ValueError):
                found.append(Pack(path.parent, json.loads(path.read_text("utf-8"))))
        return found


def lines_of(number: int, read: Read, offset: int, limit: int, *, is_over: bool = False) -> LogChunk:
    """What a log has from an offset on, without the lines of other members and the marks of this one's.

    A line that has no end yet is left for later, unless the log `is_over`. A negative offset counts from the end, and
    begins at the next line.
    """
    position = offset
    if offset < 0:
        tail = read(offset, -offset)
        position = tail.next_offset - len(tail.data)
        before = _begun_line(read, position)
        skipped = tail.data.find(b"\n") + 1 if before else 0
        position = position + skipped if skipped or not before else tail.next_offset
    begun = _begun_line(read, position)
    found = b""
    while len(found) < limit:
        chunk = read(position, _LOG_BLOCK_BYTES)
        first = chunk.next_offset - len(chunk.data)
        if first != position:  # what was there has been dropped
            position, begun = first, b""
        is_last = len(chunk.data) < _LOG_BLOCK_BYTES
        pieces = _pieces(chunk.data)
        if pieces and not pieces[-1].endswith(b"\n") and (len(pieces) > 1 or is_last) and not (is_last and is_over):
            pieces.pop()
        if not pieces:
            break
        for piece in pieces:
            mark = _MARK.match(begun or piece)
            is_mine = mark is None or int(mark[1]) == number
            hidden = len(mark[0]) if mark and not begun else 0
            text = piece[hidden:] if is_mine else b""
            room = limit - len(found)
            if len(text) > room:
                return LogChunk(found + text[:room], position + hidden + room)
            found += text
            position += len(piece)
            begun = b"" if piece.endswith(b"\n") else (begun or piece)
    return LogChunk(found, position)


def _pieces(data: bytes) -> list[bytes]:
    """Lines with their ends; the last one may have none."""
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def _begun_line(read: Read, position: int) -> bytes:
    """What stands before a position in its line, as far as a mark may be in it."""
    if position <= 0:
        return b""
    first = max(0, position - _LOG_BLOCK_BYTES)
    chunk = read(first, position - first)
    before = chunk.data[: max(0, position - (chunk.next_offset - len(chunk.data)))]
    return before.rpartition(b"\n")[2]


def _started(folder: Path, start: StartWorker) -> Pack:
    made = folder / secrets.token_hex(5)
    (made / "members").mkdir(parents=True)
    try:
        return Pack(made, start(made.name, made))
    except BaseException:
        shim.remove(str(made))
        raise


def _remove_member(pack: Pack, name: str) -> None:
    """Its file first: without that the worker has no such member."""
    for path in (f"{name}.json", f"{name}.stop", name):
        shim.remove(str(pack.members / path))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target, follow_symlinks=False)


def _next_number(folder: Path) -> int:
    path = folder / "number.json"
    number = json.loads(path.read_text("utf-8")) + 1 if path.exists() else 1
    shim.write_json(str(path), number)
    return int(number)


def _pack_of(handle: Handle) -> Pack:
    return Pack(Path(handle.data["pack_folder"]), handle.data)


def _until(path: Path) -> float | None:
    """By when a member is to have stopped, if it is."""
    try:
        return float(json.loads(path.read_text("utf-8"))["until"])
    except (OSError, ValueError, KeyError):
        return None


def _stopped(code: int | None = None) -> dict[str, Any]:
    return _end("stopped", "It was stopped.", code)


def _end(
    reason_code: str, reason: str, code: int | None = None, number: int | None = None, at: datetime | None = None
) -> dict[str, Any]:
    """As a shim writes it down."""
    when = time.time() if at is None else at.timestamp()
    return {"code": code, "signal": number, "reason": reason, "reason_code": reason_code, "at": when}
