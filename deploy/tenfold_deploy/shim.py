"""The small process between the local scheduler and one worker.

Starts it, keeps its log, watches its memory, and ends all of it.

Run as a script (`python -I -S shim.py`, a plan as JSON on standard input), standard library only and by choice with
few imports: there is one of these per replica. It outlives whoever started it; what it knows is in files of the
replica's folder:

- `handle.json`  written once, when the worker's process exists
- `log.<offset>` the worker's output; the number is the position of the file's first byte in all that was ever written
- `stop.json`    written by the scheduler before it sends SIGTERM: `{"grace_seconds": 10}`
- `exit.json`    written once, when nothing of the worker is left
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any, NoReturn

LOG_PREFIX = "log."
_READ_BYTES = 64 * 1024
_WATCH_SECONDS = 0.5
_WATCH_CLOSELY_SECONDS = 0.1
_KILL_SECONDS = 5.0
_LAST_WORDS_SECONDS = 1.0
_BURST_BYTES = 4 * 1024 * 1024
_BYTES_PER_SECOND = 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    plan = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    if os.fork():
        os._exit(0)  # the scheduler waits for this process only, and so is never the parent of the one that stays
    _become_quiet(plan["folder"])
    _be_parent_of_orphans()
    Shim(plan).run(answer)


class Shim:
    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._folder = plan["folder"]
        self._log = Log(self._folder, plan["log_segment_bytes"])
        self._worker = 0
        self._status: int | None = None
        self._ending: dict[str, str] | None = None
        self._deadline: float | None = None
        self._killed_late = False
        self._condemned = False
        self._warned = False
        self._watch_seconds = _WATCH_CLOSELY_SECONDS
        self._watched = 0.0

    def run(self, answer: int) -> None:
        wake_in, wake_out = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(wake_out, False)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        stopped = [False]
        signal.signal(signal.SIGTERM, lambda *_: stopped.__setitem__(0, True))
        output, problem = self._start_worker()
        if problem is not None:
            _tell(answer, {"error": problem})
            os._exit(1)
        handle = self._handle()
        write_json(f"{self._folder}/handle.json", handle)
        _tell(answer, handle)
        poll = select.poll()
        poll.register(wake_in, select.POLLIN)
        poll.register(output, select.POLLIN)
        while self._status is None:
            for descriptor, _ in poll.poll(self._timeout() * 1000):
                if descriptor == wake_in:
                    _drain(wake_in)
                elif not self._copy_output(output):
                    poll.unregister(output)
            if stopped[0]:
                stopped[0] = False
                self._begin_stopping()
            self._watch()
            self._reap()
        self._finish(output)

    def _start_worker(self) -> tuple[int, str | None]:
        output_in, output_out = os.pipe()
        failure_in, failure_out = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_worker(output_out, failure_out)
        os.close(output_out)
        os.close(failure_out)
        self._worker = pid
        with os.fdopen(failure_in, "rb") as pipe:  # closed without a word by a successful exec
            failure = pipe.read().decode("utf-8", "replace")
        os.set_blocking(output_in, False)
        if failure:
            os.waitpid(pid, 0)
        return output_in, failure or None

    def _become_worker(self, output: int, failure: int) -> NoReturn:
        try:
            shim = os.getppid()
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != shim:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            _limit(resource.RLIMIT_CORE, 0)
            _limit(resource.RLIMIT_NOFILE, self._plan["open_files"])
            _write_file("/proc/self/oom_score_adj", "800")
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.set_inheritable(failure, False)
            os.closerange(3, failure)
            os.closerange(failure + 1, 65536)
            os.umask(0o077)
            os.chdir(self._plan["working_folder"])
            os.execve(self._plan["arguments"][0], self._plan["arguments"], self._plan["environment"])  # noqa: S606
        except BaseException as error:
            os.write(failure, f"{type(error).__name__}: {error}".encode())
        os._exit(127)

    def _handle(self) -> dict[str, Any]:
        return {
            **self._plan["handle"],
            "shim_pid": os.getpid(),
            "shim_started": process_started(os.getpid()),
            "worker_pid": self._worker,
            "worker_started": process_started(self._worker),
            "boot": boot_id(),
            "started_at": time.time(),
        }

    def _timeout(self) -> float:
        if self._deadline is None:
            return self._watch_seconds
        return max(0.0, min(self._watch_seconds, self._deadline - time.monotonic()))

    def _copy_output(self, output: int) -> bool:
        """Moves what the worker printed into the log. False when there will never be more."""
        for _ in range(64):
            try:
                data = os.read(output, _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._log.write(data)
        return True

    def _begin_stopping(self) -> None:
        grace = _read_grace(f"{self._folder}/stop.json")
        deadline = time.monotonic() + grace
        self._warned = self._warned or grace == 0
        if self._ending is None:
            self._ending = {"reason_code": "stopped", "reason": "It was stopped."}
            _signal(self._worker, signal.SIGTERM)
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _watch(self) -> None:
        self._log.tick()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._run_out_of_patience()
            return
        now = time.monotonic()
        if (
            self._condemned or now - self._watched < _WATCH_CLOSELY_SECONDS / 2
        ):  # woken for something else, output perhaps
            return
        self._watched = now
        limit, most = self._plan["memory_bytes"], self._plan["processes"]
        processes = descendants(os.getpid())
        if len(processes) > most:
            self._end("too_many_processes", f"It had {len(processes)} processes; {most} are allowed.")
            return
        resident = sum(map(_resident, processes)) if limit is not None else 0
        is_close = limit is not None and resident * 2 > limit
        self._watch_seconds = _WATCH_CLOSELY_SECONDS if is_close or len(processes) * 2 > most else _WATCH_SECONDS
        if limit is not None and resident > limit:
            used = sum(map(_proportional, processes))
            if used > limit:
                self._end("out_of_memory", f"Out of memory: it used {_mib(used)} of {_mib(limit)}.")

    def _run_out_of_patience(self) -> None:
        """The grace is over. Where there was one, the worker gets a second to tell its callers so."""
        if not self._warned:
            self._warned = True
            self._deadline = time.monotonic() + _LAST_WORDS_SECONDS
            _signal(self._worker, signal.SIGTERM)
            return
        self._killed_late = True
        self._kill_all()

    def _end(self, code: str, reason: str) -> None:
        self._condemned = True
        self._ending = {"reason_code": code, "reason": reason}
        self._log.note(reason)
        self._kill_all()

    def _kill_all(self) -> None:
        for pid in descendants(os.getpid()):
            _signal(pid, signal.SIGKILL)
        _signal(self._worker, signal.SIGKILL)

    def _reap(self) -> bool:
        """Collects ended children, the worker's orphans among them. False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._worker:
                self._status = status

    def _finish(self, output: int) -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        self._copy_output(output)
        while self._reap() and time.monotonic() < deadline:
            self._kill_all()
            time.sleep(0.005)
        _kill_group(self._worker)
        self._copy_output(output)
        self._log.close()
        for leftover in self._plan["remove_at_end"]:
            _remove(leftover)
        write_json(f"{self._folder}/exit.json", self._exit())
        os._exit(0)

    def _exit(self) -> dict[str, Any]:
        status = self._status or 0
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        ending = self._ending or _own_ending(code, number)
        if self._killed_late and ending["reason_code"] == "stopped":
            ending = {**ending, "reason": "It was stopped, and killed because it did not finish in time."}
        return {"code": code, "signal": number, "at": time.time(), **ending}


class Log:
    """The worker's output in at most two files. More than a megabyte a second is dropped, with a note of how much."""

    def __init__(self, folder: str, segment_bytes: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segments: list[str] = []
        self._offset = 0
        self._room = 0
        self._file = -1
        self._budget = float(_BURST_BYTES)
        self._refilled = time.monotonic()
        self._dropped = 0

    def write(self, data: bytes) -> None:
        self._refill()
        if len(data) > self._budget:
            self._dropped += len(data)
            return
        self._budget -= len(data)
        self._tell_dropped()
        self._append(data)

    def note(self, text: str) -> None:
        self._append(f"[tenfold] {text}\n".encode())

    def tick(self) -> None:
        if self._dropped:
            self._refill()
            if self._budget > _READ_BYTES:
                self._tell_dropped()

    def close(self) -> None:
        self._tell_dropped()

    def _refill(self) -> None:
        now = time.monotonic()
        self._budget = min(float(_BURST_BYTES), self._budget + (now - self._refilled) * _BYTES_PER_SECOND)
        self._refilled = now

    def _tell_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.note(f"{dropped} bytes of output were dropped: it prints more than 1 MiB per second.")

    def _append(self, data: bytes) -> None:
        try:
            while data:
                if self._room <= 0:
                    self._next_segment()
                written = os.write(self._file, data[: self._room])
                self._room -= written
                self._offset += written
                data = data[written:]
        except OSError:  # the disk is full, or the folder is gone: the worker must not stand still for that
            return

    def _next_segment(self) -> None:
        path = f"{self._folder}/{LOG_PREFIX}{self._offset:016d}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._room = self._segment_bytes
        self._segments.append(path)
        while len(self._segments) > 2:
            _remove(self._segments.pop(0))


def process_started(pid: int) -> str | None:
    """When a living process started, in the kernel's own count.

    With the pid it names a process for good. None for a dead one.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return _started_without_proc(pid)
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def session_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[3])
    except (OSError, IndexError, ValueError):
        return None


def boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Every living process below this one, its own children first."""
    found: list[int] = []
    waiting = [pid]
    while waiting and len(found) < 100_000:
        for child in _children(waiting.pop()):
            found.append(child)
            waiting.append(child)
    return found


def write_json(path: str, value: dict[str, Any]) -> None:
    """Writes a file that appears whole or not at all (but for a loss of power, which ends replicas anyway)."""
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(partial, path)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children.extend(map(int, file.read().split()))
    except OSError:  # it ended meanwhile
        pass
    return children


def _started_without_proc(pid: int) -> str | None:
    if os.path.isdir("/proc/self"):
        return None
    import subprocess

    found = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(None, 1)
    return None if len(found) < 2 or found[0].startswith("Z") else found[1].strip()


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def _proportional(pid: int) -> int:
    """Memory with shared pages divided among those who share them, so that forked children do not count twice."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return _resident(pid)
    return 0


def _own_ending(code: int | None, number: int | None) -> dict[str, str]:
    if number == signal.SIGKILL:
        reason = "It was killed (SIGKILL): by the system for want of memory, or by somebody on the machine."
        return {"reason_code": "killed", "reason": reason}
    if number is not None:
        return {"reason_code": "crashed", "reason": f"It crashed with signal {number} ({_signal_name(number)})."}
    if code == 0:
        return {"reason_code": "exited", "reason": "It ended by itself, with exit code 0."}
    return {
        "reason_code": "exited",
        "reason": f"It ended by itself, with exit code {code}; the last lines of its log may say why.",
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _become_quiet(folder: str) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    problems = os.open(f"{folder}/shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(problems, 2)
    os.close(null)
    os.close(problems)
    os.chdir("/")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def _be_parent_of_orphans() -> None:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (most, most))


def _read_grace(path: str) -> float:
    try:
        with open(path, encoding="utf-8") as file:
            return max(0.0, float(json.load(file)["grace_seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return 10.0


def _tell(answer: int, value: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # whoever asked may have gone; the files tell
        os.write(answer, json.dumps(value).encode() + b"\n")
    os.close(answer)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _write_file(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        pass


def _remove(path: str) -> None:
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            for name in os.listdir(path):
                _remove(f"{path}/{name}")
            os.rmdir(path)
        else:
            os.unlink(path)
    except OSError:
        pass


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.0f} MiB"


if __name__ == "__main__":
    main()
