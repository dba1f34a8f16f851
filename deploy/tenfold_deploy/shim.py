"""The small process between the local scheduler and one worker.

Starts it, keeps its log, watches its memory, and ends all of it.

Run as a script (`python -I -S shim.py`), which forks one of these for each plan that it is sent, see `shims.py`.
Standard library only, and by choice with few imports: there is one per replica. It outlives whoever started it; what it
knows is in files of the replica's folder:

- `handle.json`  written once, when the worker's process exists
- `log.<offset>` the worker's output; the number is the position of the file's first byte in all that was ever written
- `stop.json`    written by the scheduler before it sends SIGTERM: `{"grace_seconds": 10}`
- `exit.json`    written once, when nothing of the worker is left

Where the plan names a zygote, the worker is forked from that, into a sandbox that this process makes (see
`isolation/forking.py`). Where that fails, for whatever reason, it is started like any other.

The worker sees none of these: of the replica's folder it has `home`, `tmp`, `run` (its socket) and `secrets`.
What it is confined with is worked out by the scheduler and stands in the plan's `sandbox`.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
import traceback
from typing import Any, NoReturn

LOG_PREFIX = "log."
_READ_BYTES = 64 * 1024
_WATCH_SECONDS = 0.5
_WATCH_CLOSELY_SECONDS = 0.1
_KILL_SECONDS = 5.0
_LAST_WORDS_SECONDS = 1.0
_WATCH_DISK_SECONDS = 5.0
_MOST_FILES = 1_000_000
_SOCKET_GONE_SECONDS = 5.0  # longer than one that ends by itself takes
_FINISH_SECONDS = 30.0
_TASKS_PER_PROCESS = 2  # threads are tasks as well
_KEEPERS = 2  # bubblewrap's own processes in a sandbox
_KEEPERS_OF_FORKED = 3  # and the one that keeps the sandbox of a forked worker
_BURST_BYTES = 4 * 1024 * 1024
_BYTES_PER_SECOND = 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Forks a shim for each plan that comes in on standard input, a socket, until that is closed."""
    nursery = socket.socket(fileno=os.dup(0))
    if os.fork():
        os._exit(0)  # the scheduler waits for this process only, and so is never the parent of those that stay
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "isolation"))
    if sys.platform == "linux":
        for module in ("cgroups", "confinement", "forking"):
            _isolation(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for shims
    gc.freeze()
    while True:
        plan, answer = _next_plan(nursery)
        if os.fork() == 0:
            nursery.close()
            _be_shim(plan, answer)
        os.close(answer)


def _next_plan(nursery: socket.socket) -> tuple[bytes, int]:
    rights = array.array("i")
    size, ancillary, _, _ = nursery.recvmsg(8, socket.CMSG_SPACE(rights.itemsize), socket.MSG_WAITALL)
    if len(size) < 8:
        os._exit(0)
    rights.frombytes(ancillary[0][2])
    parts, missing = [], int.from_bytes(size, sys.byteorder)
    while missing:
        part = nursery.recv(min(missing, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts), rights[0]


def _be_shim(text: bytes, answer: int) -> NoReturn:
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        plan = json.loads(text)
        _become_quiet(plan["folder"])
        _be_parent_of_orphans()
        Shim(plan).run(answer)
    except BaseException:
        traceback.print_exc()  # into shim.log; whoever started it sees the end of a process that said nothing
    os._exit(1)


class Shim:
    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._folder = plan["folder"]
        self._log = Log(self._folder, plan["log_segment_bytes"])
        self._sandbox = plan["sandbox"]
        self._groups: list[str] = []
        self._child = 0  # the worker, or the sandbox around it
        self._worker = 0
        self._worker_started: str | None = None
        self._forked: Any = None
        self._declined: str | None = None
        self._disk_watched = time.monotonic()
        self._socket_seen: float | None = None
        self._socket_folder_changed = self._folder_of_socket_changed()
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
        ends = self._forked.descriptors if self._forked else []
        for descriptor in ends:
            poll.register(descriptor, select.POLLIN)
        while self._status is None:
            for descriptor, _ in poll.poll(self._timeout() * 1000):
                if descriptor == wake_in:
                    _drain(wake_in)
                elif descriptor in ends:
                    self._hear_of_end()
                elif not self._copy_output(output):
                    poll.unregister(output)
            if stopped[0]:
                stopped[0] = False
                self._begin_stopping()
            self._watch()
            self._reap()
        self._finish(output)

    def _start_worker(self) -> tuple[int, str | None]:
        plan = self._plan
        if plan["use_groups"]:
            self._groups = _isolation("cgroups").make(
                f"tenfold-{plan['handle']['replica_id']}-{os.getpid()}",
                plan["memory_bytes"],
                plan["processes"] * _TASKS_PER_PROCESS,
                plan["cpu"],
            )
        output_in, output_out = os.pipe()
        if plan.get("zygote") and self._fork_worker(output_out):
            os.close(output_out)
            os.set_blocking(output_in, False)
            self._worker_started = process_started(self._worker)
            return output_in, None
        failure_in, failure_out = os.pipe()
        told_in, told_out = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_worker(output_out, failure_out, told_out)
        for descriptor in (output_out, failure_out, told_out):
            os.close(descriptor)
        self._child = self._worker = pid
        with os.fdopen(failure_in, "rb") as pipe:  # closed without a word by a successful exec
            failure = pipe.read().decode("utf-8", "replace")
        with os.fdopen(told_in, "rb") as pipe:
            told = pipe.read()
        if not failure and self._sandbox["level"] == "strict":
            failure = self._find_worker_inside(told, output_in)
        os.set_blocking(output_in, False)
        if failure:
            os.waitpid(pid, 0)
            self._leave_groups()
        self._worker_started = process_started(self._worker)
        return output_in, failure or None

    def _fork_worker(self, output: int) -> bool:
        forking = _isolation("forking")

        def enter(keeper: int, ready: int) -> NoReturn:
            self._prepare(keeper, ready, output)
            arguments, environment = self._strict(None, forking.KEEPER)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            os.execve(arguments[0], arguments, environment)  # noqa: S606

        request = {
            "arguments": self._plan["arguments"][3:],  # without python -m tenfold_runtime
            "environment": self._plan["environment"],
            "working_folder": self._plan["working_folder"],
            "limits": {str(what): most for what, most in self._limits().items()},
            "seccomp": self._sandbox["seccomp"],
            "scope": self._sandbox["scope"],
        }
        try:
            self._forked = forking.fork(self._plan["zygote"], request, output, self._groups, enter)
        except forking.Declined as error:
            self._declined = str(error)
            return False
        self._child, self._worker = self._forked.sandbox, self._forked.worker
        return True

    def _find_worker_inside(self, told: bytes, output: int) -> str:
        """The worker is a child of the first process in the sandbox. Returns what went wrong, if anything did."""
        try:
            first = int(json.loads(told)["child-pid"])
        except (ValueError, KeyError):
            return os.read(output, 4096).decode("utf-8", "replace").strip() or "the sandbox said nothing"
        while process_started(self._child) is not None:
            inside = children(first)
            if inside:
                self._worker = inside[0]
                return ""
            time.sleep(0.0005)
        if not select.select([output], [], [], 0)[0]:
            return "the sandbox ended without a word"
        return os.read(output, 4096).decode("utf-8", "replace").strip() or "the sandbox ended without a word"

    def _become_worker(self, output: int, failure: int, told: int) -> NoReturn:
        try:
            shim = os.getppid()
            self._prepare(os.open(os.devnull, os.O_RDONLY), output, output, failure, told)
            os.set_inheritable(failure, False)
            arguments, environment = self._enter_sandbox(told)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # this late: becoming another user resets it
            if os.getppid() != shim:
                os._exit(1)
            os.execve(arguments[0], arguments, environment)  # noqa: S606
        except BaseException as error:
            os.write(failure, f"{type(error).__name__}: {error}".encode())
        os._exit(127)

    def _prepare(self, standard_input: int, standard_output: int, standard_error: int, *kept: int) -> None:
        """What a process that becomes a worker, or the sandbox around one, has from this one."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        for what, most in self._limits().items():
            _limit(what, most)
        _write_file("/proc/self/oom_score_adj", "800")
        if self._groups:
            _isolation("cgroups").enter(self._groups)
        for place, descriptor in enumerate((standard_input, standard_output, standard_error)):
            os.dup2(descriptor, place)
        _close_all_but(*kept)
        os.umask(0o077)
        os.chdir(self._plan["working_folder"])

    def _limits(self) -> dict[int, int]:
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: self._plan["open_files"],
        }
        if not self._plan.get("is_zygote"):  # what its workers may is decided for each of them
            limits[resource.RLIMIT_FSIZE] = self._plan["disk_bytes"]
        if self._own_user() is not None:
            limits[resource.RLIMIT_NPROC] = self._plan["processes"] * _TASKS_PER_PROCESS
        return limits

    def _enter_sandbox(self, told: int) -> tuple[list[str], dict[str, str]]:
        """Confines this process, or says what to run that does. Returns what to execute, with which environment."""
        sandbox = self._sandbox
        if sandbox["level"] == "strict":
            return self._strict(told, sandbox["command"])
        os.close(told)
        if sandbox["level"] == "reduced":
            _isolation("confinement").confine(sandbox["rules"], bytes.fromhex(sandbox["seccomp"]))
        return self._plan["arguments"], self._plan["environment"]

    def _strict(self, told: int | None, command: list[str]) -> tuple[list[str], dict[str, str]]:
        sandbox = self._sandbox
        options = "".join(f"{option}\0" for option in sandbox["options"]).encode()
        code, said = _memory_file(bytes.fromhex(sandbox["seccomp"])), _memory_file(options)
        if sandbox["scope"]:
            _isolation("confinement").scope()
        arguments = [sandbox["program"], "--seccomp", str(code), "--args", str(said)]
        if told is not None:
            os.set_inheritable(told, True)
            arguments += ["--info-fd", str(told)]
        # the worker's variables are set inside: a library that they name must not be loaded by bubblewrap itself
        return [*arguments, "--", *command], {}

    def _handle(self) -> dict[str, Any]:
        return {
            **self._plan["handle"],
            "forked": self._forked is not None,
            **({"zygote_problem": self._declined} if self._declined else {}),
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
            self._ask_to_end()
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
        processes = self._processes()
        count = len(processes) - self._keepers()
        if count > most:
            self._end("too_many_processes", f"It had {count} processes; {most} are allowed.")
            return
        if now - self._disk_watched > _WATCH_DISK_SECONDS and self._is_over_disk(now):
            return
        self._watch_socket(now)
        resident = sum(map(_resident, processes)) if limit is not None else 0
        is_close = limit is not None and resident * 2 > limit
        self._watch_seconds = _WATCH_CLOSELY_SECONDS if is_close or count * 2 > most else _WATCH_SECONDS
        if limit is not None and resident > limit:
            used = sum(map(_proportional, processes))
            if used > limit:
                self._end("out_of_memory", f"Out of memory: it used {_mib(used)} of {_mib(limit)}.")

    def _watch_socket(self, now: float) -> None:
        """A worker that has removed its socket, or put a link in its place, finishes what it is at and ends."""
        if self._plan["socket"] is None or self._ending is not None:
            return
        is_there = False
        with contextlib.suppress(OSError):
            is_there = stat.S_ISSOCK(os.lstat(self._plan["socket"]).st_mode)
        if is_there or (self._socket_seen is None and self._folder_of_socket_changed() != self._socket_folder_changed):
            self._socket_seen = now
        elif self._socket_seen is not None and now - self._socket_seen > _SOCKET_GONE_SECONDS:
            reason = "Its socket is gone: nobody could reach it any more, and it was stopped."
            self._ending = {"reason_code": "no_socket", "reason": reason}
            self._log.note(reason)
            self._deadline = now + _FINISH_SECONDS
            self._ask_to_end()

    def _folder_of_socket_changed(self) -> int:
        """It tells of a socket that came and went between two looks."""
        try:
            return os.stat(os.path.dirname(self._plan["socket"] or "")).st_mtime_ns
        except OSError:
            return 0

    def _processes(self) -> list[int]:
        """Those of the replica, with those that make its sandbox."""
        found = descendants(os.getpid())
        if self._forked:
            return [*found, self._worker, *descendants(self._worker)]
        if self._plan.get("is_zygote"):  # the workers below it are watched by shims of their own
            depth = _depth(self._worker)
            return [pid for pid in found if _depth(pid) <= depth]
        return found

    def _keepers(self) -> int:
        if self._forked:
            return _KEEPERS_OF_FORKED
        return _KEEPERS if self._child != self._worker else 0

    def _is_over_disk(self, now: float) -> bool:
        used, files = disk_usage(self._plan["private_folders"])
        self._disk_watched = now + 20 * (time.monotonic() - now)  # looking takes at most a twentieth of the time
        most = self._plan["disk_bytes"]
        if used <= most and files <= _MOST_FILES:
            return False
        self._end("out_of_disk", f"It kept {_mib(used)} in {files} files; {_mib(most)} in {_MOST_FILES} are allowed.")
        return True

    def _ask_to_end(self) -> None:
        if process_started(self._worker) == self._worker_started:
            _signal(self._worker, signal.SIGTERM)

    def _run_out_of_patience(self) -> None:
        """The grace is over. Where there was one, the worker gets a second to tell its callers so."""
        if not self._warned:
            self._warned = True
            self._deadline = time.monotonic() + _LAST_WORDS_SECONDS
            self._ask_to_end()
            return
        self._killed_late = True
        self._kill_all()

    def _end(self, code: str, reason: str) -> None:
        self._condemned = True
        self._ending = {"reason_code": code, "reason": reason}
        self._log.note(reason)
        self._kill_all()

    def _kill_all(self) -> None:
        if self._groups:
            _isolation("cgroups").forbid_forking(self._groups)
        user = self._own_user()
        if user is not None:
            _kill_all_of(user)
        for pid in self._processes() if self._forked else descendants(os.getpid()):
            _signal(pid, signal.SIGKILL)
        _signal(self._child, signal.SIGKILL)

    def _reap(self) -> bool:
        """Collects ended children, the worker's orphans among them. False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._child and self._forked:
                self._hear_of_end()
            elif pid == self._child:
                self._status = status

    def _hear_of_end(self) -> None:
        """A forked worker has ended, or its sandbox, or the zygote, which tells how; without it nobody lives."""
        if self._status is not None:
            return
        status: int | None = self._forked.status()
        self._status = signal.SIGKILL.value if status is None else status
        if status is None:
            reason = "The process that it was forked from ended, and all that were forked from it with it."
            self._ending = self._ending or {"reason_code": "killed", "reason": reason}

    def _finish(self, output: int) -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        self._copy_output(output)
        while (self._reap() or self._is_anything_left()) and time.monotonic() < deadline:
            self._kill_all()
            time.sleep(0.005)
        _kill_group(self._child)
        self._copy_output(output)
        self._log.close()
        for secret in self._plan["remove_first"]:
            remove(secret)
        write_json(f"{self._folder}/exit.json", self._exit())
        self._leave_groups()
        for leftover in self._plan["remove_at_end"]:  # what the worker could write to: that may take a while
            remove(leftover)
        os._exit(0)

    def _is_anything_left(self) -> bool:
        """Of a forked worker's sandbox, which is not this process's to reap."""
        return bool(self._forked) and any(map(process_started, (self._worker, self._forked.first)))

    def _leave_groups(self) -> None:
        if self._groups:
            _isolation("cgroups").remove(self._groups)

    def _exit(self) -> dict[str, Any]:
        status = self._status or 0
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        if self._child != self._worker and not self._forked and code is not None and 128 < code <= 128 + 64:
            number, code = code - 128, None  # as a sandbox tells of a signal
        ending = self._ending or self._end_of_group(number) or _own_ending(code, number)
        if self._killed_late and ending["reason_code"] == "stopped":
            ending = {**ending, "reason": "It was stopped, and killed because it did not finish in time."}
        return {"code": code, "signal": number, "at": time.time(), **ending}

    def _own_user(self) -> int | None:
        """The user that this worker alone runs as, where there is one."""
        user: int | None = self._sandbox.get("rules", {}).get("user")
        return user

    def _end_of_group(self, number: int | None) -> dict[str, str] | None:
        limit = self._plan["memory_bytes"]
        if number != signal.SIGKILL or limit is None or not self._groups:
            return None
        if not _isolation("cgroups").ran_out_of_memory(self._groups):
            return None
        return {"reason_code": "out_of_memory", "reason": f"Out of memory: it used more than {_mib(limit)}."}


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
            remove(self._segments.pop(0))


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


def signal_process(pid: int, started: str, number: int) -> None:
    """Sends a signal to exactly the process that was meant, or to none.

    Its number may have been given to another one.
    """
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            if process_started(pid) == started:
                os.kill(pid, number)
            return
        descriptor = os.pidfd_open(pid)
        try:
            if process_started(pid) == started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


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
        for child in children(waiting.pop()):
            found.append(child)
            waiting.append(child)
    return found


def disk_usage(folders: list[str]) -> tuple[int, int]:
    """Bytes and files below folders, links not followed. Stops counting where there are too many anyway."""
    used = files = 0
    waiting = list(folders)
    while waiting and files <= _MOST_FILES:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                files += 1
                with contextlib.suppress(OSError):
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return used, files


def remove(path: str) -> None:
    """Removes a file, or a folder with all that is in it, links not followed. What cannot be removed stays.

    Folders are moved up into the first one before they are looked into: whoever nests them as deep as can be causes
    neither recursion nor paths that are too long, and no more than two of them are ever open.
    """
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        folder = _open_folder(path)
        try:
            _empty(folder)
        finally:
            os.close(folder)
        os.rmdir(path)


def write_json(path: str, value: Any) -> None:
    """Writes a file that appears whole or not at all (but for a loss of power, which ends replicas anyway)."""
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(partial, path)


def _depth(pid: int) -> int:
    """In how many pid namespaces a process is."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((len(line.split()) - 1 for line in file if line.startswith(b"NSpid:")), 0)
    except OSError:
        return 0


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except OSError:  # it ended meanwhile
        pass
    return found


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


def _isolation(module: str) -> Any:
    """A module of the folder `isolation`, loaded only where it is needed: there is one of these processes a replica."""
    return importlib.import_module(module)


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("sandbox", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _close_all_but(*kept: int) -> None:
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 65536)


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


def _kill_all_of(user: int) -> None:
    """Kills a user's processes at once, also those that fork faster than they can be counted."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.setresuid(user, user, user)
            os.kill(-1, signal.SIGKILL)  # spares the caller
        os._exit(0)
    os.waitpid(pid, 0)


def _write_file(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        pass


def _empty(folder: int) -> None:
    progress = True
    while progress:
        progress = False
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        progress = _move_up(entry.name, folder) or progress
                        os.rmdir(entry.name, dir_fd=folder)
                    else:
                        os.unlink(entry.name, dir_fd=folder)
                    progress = True


def _move_up(name: str, above: int) -> bool:
    """Moves the folders that are in a folder beside it, and removes its files. Whether there was any."""
    progress = False
    folder = _open_folder(name, above)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        _rename_beside(entry.name, folder, above)
                    else:
                        os.unlink(entry.name, dir_fd=folder)
                    progress = True
    finally:
        os.close(folder)
    return progress


def _rename_beside(name: str, folder: int, above: int) -> None:
    free = os.urandom(16).hex()
    try:
        os.rename(name, free, src_dir_fd=folder, dst_dir_fd=above)
    except PermissionError:
        os.close(_open_folder(name, folder))
        os.rename(name, free, src_dir_fd=folder, dst_dir_fd=above)


def _open_folder(name: str, above: int | None = None) -> int:
    """Opens a folder, also one that its owner has closed, to look into it and to change it."""
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(name, how, dir_fd=above)
    except PermissionError:
        if sys.platform != "linux":
            raise
        closed = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            os.chmod(f"/proc/self/fd/{closed}", 0o700)
        finally:
            os.close(closed)
        folder = os.open(name, how, dir_fd=above)
    with contextlib.suppress(OSError):  # somebody else's: perhaps it can be emptied all the same
        if os.fstat(folder).st_mode & 0o700 != 0o700:
            os.fchmod(folder, 0o700)
    return folder


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.0f} MiB"


if __name__ == "__main__":
    main()
