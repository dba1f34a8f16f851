"""Processes of a benchmark: started, waited for, ended by id; and what they cost, read from /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
END_SECONDS = 60


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes with its benchmark; others may pass through: started by root, PostgreSQL is another user."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends with it
    with tempfile.TemporaryDirectory(prefix="tenfold-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@contextlib.contextmanager
def process(
    arguments: list[str], *, cwd: Path, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output in `log`; afterwards it and its descendants are gone."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            arguments, cwd=cwd, env=os.environ | ONE_THREAD | dict(env or {}), stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield child
    finally:
        family = descendants({child.pid}) - {child.pid}
        send(family | {child.pid}, signal.SIGCONT)
        send({child.pid}, signal.SIGTERM)
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        send(family, signal.SIGKILL)  # what it should have ended itself


def send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def run(arguments: list[str], **options: Any) -> str:
    """The standard output of a command. Raises CalledProcessError, with what it said, when it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        arguments, capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments, done.stderr or done.stdout)
    return done.stdout


def wait_for(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.1) -> Any:
    """The condition's first truthy value. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {seconds:g} s")
        time.sleep(every)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason was given")[:200]


# --- what is there


def descendants(roots: set[int]) -> set[int]:
    """These processes and all that come from them."""
    children: dict[int, set[int]] = defaultdict(set)
    for pid, parent in parents().items():
        children[parent].add(pid)
    found: set[int] = set()
    left = list(roots)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children[pid]
    return found


def parents() -> dict[int, int]:
    """The parent of every process of the machine."""
    return {pid: int(stat[1]) for pid in _all_pids() if (stat := _stat(pid)) is not None}


def command_lines() -> dict[int, str]:
    """Every process of the machine that can be read, with its arguments."""
    lines = {}
    for pid in _all_pids():
        with contextlib.suppress(OSError):
            lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return lines


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes have used so far, with their children that have ended and been waited for."""
    ticks = 0
    for pid in pids:
        if (stat := _stat(pid)) is not None:
            ticks += sum(int(value) for value in stat[11:15])  # utime, stime, cutime, cstime
    return ticks / TICKS_PER_SECOND


def pss_bytes(pids: Iterable[int]) -> int:
    """Their proportional set size: what is shared between processes is counted once, in shares."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on: what is before may hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
