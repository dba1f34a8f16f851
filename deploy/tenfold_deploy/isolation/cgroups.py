"""A control group of its own for each replica: memory, processes, processor time. Version 1 and 2.

Imported by the shim from its path: standard library only, nothing of the platform. Where no group can be made there is
none, and the shim's own watching has to do.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Mapping

_ROOT = "/sys/fs/cgroup"
_PERIOD_MICROSECONDS = 100_000
_TRIES, _PAUSE_SECONDS = 100, 0.01


def make(name: str, memory_bytes: int | None, processes: int, cpu: float | None, root: str = _ROOT) -> list[str]:
    """Makes the groups `name` and sets their limits. Returns their folders, none where the machine allows none.

    `cpu`, in cores, decides the share of a busy machine (None: as one process). The most is a core more, for what the
    runtime does besides: a group at its most stands still for the rest of a tenth of a second, which callers feel.
    A process enters with `enter`.
    """
    quota = int((cpu + 1) * _PERIOD_MICROSECONDS) if cpu else None
    share = max(0.1, cpu or 1.0)
    version_2 = _unified(root)
    if version_2 is not None:
        made = _first(
            [f"{parent}/{name}" for parent in _upwards(version_2, root)],
            "memory.max",
            {
                "memory.max": memory_bytes,
                "memory.swap.max": 0 if memory_bytes else None,
                "memory.oom.group": 1,
                "pids.max": processes,
                "cpu.weight": min(10_000, int(100 * share)),
                "cpu.max": f"{quota} {_PERIOD_MICROSECONDS}" if quota else None,
            },
        )
        return [made] if made else []
    groups = []
    wanted: dict[str, dict[str, int | str | None]] = {
        "memory": {"memory.limit_in_bytes": memory_bytes},
        "pids": {"pids.max": processes},
        "cpu": {
            "cpu.shares": int(1024 * share),
            "cpu.cfs_period_us": _PERIOD_MICROSECONDS,
            "cpu.cfs_quota_us": quota,
        },
    }
    for controller, values in wanted.items():
        own = _own_version_1(controller, root)
        if own is not None:
            groups.append(_first([f"{own}/{name}"], next(iter(values)), values))
    return [folder for folder in groups if folder]


def enter(folders: list[str]) -> None:
    """Puts the calling process, and with it all that it starts, into the groups."""
    for folder in folders:
        with contextlib.suppress(OSError):
            _write(f"{folder}/cgroup.procs", "0")


def admit(folders: list[str], pid: int) -> None:
    """Puts another process into the groups. Raises OSError."""
    for folder in folders:
        _write(f"{folder}/cgroup.procs", str(pid))


def forbid_forking(folders: list[str]) -> None:
    """From here on no process of the groups can start another, so that all of them can be found and ended."""
    for folder in folders:
        if os.path.exists(f"{folder}/pids.max"):
            with contextlib.suppress(OSError):
                _write(f"{folder}/pids.max", "0")


def ran_out_of_memory(folders: list[str]) -> bool:
    """Whether the kernel ended a process of the groups because of their limit."""
    for folder in folders:
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError), open(f"{folder}/{name}", encoding="ascii") as file:
                counts = dict(line.split() for line in file if len(line.split()) == 2)
                if int(counts.get("oom_kill", 0)) > 0:
                    return True
    return False


def remove(folders: list[str]) -> None:
    """Removes groups in which nothing is left, or nothing but what has been killed and takes a moment to go."""
    for folder in folders:
        for _ in range(_TRIES):
            try:
                os.rmdir(folder)
            except OSError as error:
                if error.errno == errno.EBUSY:
                    time.sleep(_PAUSE_SECONDS)
                    continue
            break


def _unified(root: str) -> str | None:
    """The folder of this process's group where all controllers are in one tree, else None."""
    if not os.path.exists(f"{root}/cgroup.controllers"):
        return None
    return _own_path("", root)


def _own_version_1(controller: str, root: str) -> str | None:
    return _own_path(controller, f"{root}/{controller}") if os.path.isdir(f"{root}/{controller}") else None


def _own_path(controller: str, mount: str) -> str | None:
    """Where this process is. In a container the mount may begin at the container's own group."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return None
    for _, controllers, path in rows:
        if controller in controllers.split(",") and ".." not in path.split("/"):
            own = f"{mount}{path}".rstrip("/")
            return own if os.path.isdir(own) else mount
    return None


def _upwards(folder: str, root: str) -> list[str]:
    """This group and those above it: one that holds processes cannot share out memory to groups below it."""
    found = []
    while len(folder) >= len(root):
        found.append(folder)
        folder = folder.rpartition("/")[0]
    return found


def _first(folders: list[str], needed: str, values: Mapping[str, int | str | None]) -> str | None:
    """Makes the first of these groups that can be made and has the file `needed`, and sets its limits."""
    for folder in folders:
        if os.access(os.path.dirname(folder), os.W_OK) and _made(folder, needed, values):
            return folder
    return None


def _made(folder: str, needed: str, values: Mapping[str, int | str | None]) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
        if os.path.exists(f"{folder}/{needed}"):
            for name, value in values.items():
                if value is not None and os.path.exists(f"{folder}/{name}"):
                    _write(f"{folder}/{name}", str(value))
            return True
    except OSError:
        pass
    remove([folder])
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
