"""A strict sandbox for a command that may run the code of packages while it builds them from source."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tenfold_deploy import shim
from tenfold_deploy.isolation import building, cgroups, seccomp, views
from tenfold_deploy.isolation.levels import bubblewrap

_PROCESSES = 512
_WATCH_SECONDS = 1.0


@dataclass
class BuildSandbox:
    """One folder to write to, the system and a Python to read, no network but the package indexes behind a socket.

    `folder` holds `home` and `tmp`. A command in it may use half of the machine's memory and half of the free disk.
    """

    python: Path
    folder: Path
    read: Sequence[Path]
    socket: Path
    port: int
    hidden: Path
    groups: list[str]
    memory_bytes: int
    disk_bytes: int
    _watched: float = field(default_factory=time.monotonic)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], bytes]:
        """What to run, and what to give it on its standard input, to run `command` in the sandbox."""
        script = Path(building.__file__)
        view = views.view_of(
            self.python,
            read=[*self.read, script, self.socket.parent, Path(command[0])],
            write=[self.folder],
            hidden=self.hidden,
        )
        options = views.bubblewrap_arguments(
            view, network=False, environment=environment, folder=str(self.folder), accounts=self.folder / "accounts"
        )
        inside = [str(self.python), "-I", "-S", str(script), "inside", str(self.socket), str(self.port), *command]
        return _entering(options, inside, self.groups, self.disk_bytes)

    def problem(self, pid: int) -> str | None:
        """What the sandbox below the process `pid` uses too much of, if anything. Looks once a second."""
        now = time.monotonic()
        if now - self._watched < _WATCH_SECONDS:
            return None
        processes = shim.descendants(pid)
        used, files = shim.disk_usage([str(self.folder)])
        self._watched = now + 10 * (time.monotonic() - now)
        if len(processes) > _PROCESSES:
            return f"it had {len(processes)} processes; {_PROCESSES} are allowed"
        if used > self.disk_bytes:
            return f"it kept {used >> 20} MiB in {files} files; {self.disk_bytes >> 20} MiB are allowed"
        memory = sum(map(_memory_of, processes))
        if memory > self.memory_bytes:
            return f"it used {memory >> 20} MiB of memory; {self.memory_bytes >> 20} MiB are allowed"
        return None

    def ran_out_of_memory(self) -> bool:
        return cgroups.ran_out_of_memory(self.groups)


@contextmanager
def build_sandbox(
    python: Path, folder: Path, *, read: Sequence[Path], hidden: Path, port: int
) -> Iterator[BuildSandbox]:
    """Makes what a sandbox needs in `folder`, and its control groups; they go with the context.

    What comes to `port` inside is passed on to the sandbox's `socket`. `hidden` no folder of a Python may open up.
    """
    for name in ("home", "tmp", "accounts"):
        (folder / name).mkdir(exist_ok=True)
    for name, content in views.ACCOUNTS.items():
        (folder / "accounts" / name).write_text(content, "ascii")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    name = f"tenfold-build-{os.getpid()}-{time.monotonic_ns()}"
    groups = cgroups.make(name, memory, 2 * _PROCESSES, os.cpu_count())
    _remove_abandoned(groups)
    near = "/tmp" if os.access("/tmp", os.W_OK) else None  # noqa: S108  # a socket's address must be short
    sockets = Path(tempfile.mkdtemp(prefix="tf-index-", dir=near))
    try:
        disk = shutil.disk_usage(folder).free // 2
        yield BuildSandbox(python, folder, read, sockets / "index.sock", port, hidden, groups, memory, disk)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
        cgroups.remove(groups)


def _remove_abandoned(groups: Sequence[str]) -> None:
    """The groups of builds whose process was killed. One that is not empty stays."""
    for folder in groups:
        for other in Path(folder).parent.glob("tenfold-build-*"):
            if not os.path.exists(f"/proc/{other.name.split('-')[2]}"):
                cgroups.remove([str(other)])


def in_sandbox(
    command: Sequence[str], *, python: Path, read: Sequence[Path], folder: Path, hidden: Path
) -> tuple[list[str], bytes]:
    """What to run, and what to give it on its standard input, to run `command` where it can write to `folder` only."""
    view = views.view_of(python, read=read, write=[folder], hidden=hidden)
    options = views.bubblewrap_arguments(view, network=False, environment={}, folder=str(folder))
    return _entering(options, command, [], shutil.disk_usage(folder).free // 2)


def _entering(
    options: list[str], command: Sequence[str], groups: list[str], disk_bytes: int
) -> tuple[list[str], bytes]:
    program = bubblewrap()
    if program is None:
        raise OSError("bubblewrap is not on this machine any more")
    plan = {
        "program": program,
        "scope": not os.stat(program).st_mode & stat.S_ISUID,
        "options": options,
        "seccomp": seccomp.program(sockets_out=True).hex(),
        "command": list(command),
        "groups": groups,
        "disk_bytes": disk_bytes,
    }
    return [sys.executable, "-I", "-S", building.__file__, "enter"], json.dumps(plan).encode()


def _memory_of(pid: int) -> int:
    """Bytes, with shared pages divided among those who share them."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
    return 0
