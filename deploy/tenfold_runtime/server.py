"""The worker's socket.

Reads frames, hands them to the model or the code, and writes the answers. Health is answered at all times.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
import socket
import stat
import sys
import threading
import time
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Protocol, Set, Union

from tenfold_runtime import streams
from tenfold_runtime.answers import Answer, Output
from tenfold_runtime.backlog import Backlog
from tenfold_runtime.batching import BATCHED, Entry, Outcome, Reply
from tenfold_runtime.channels import Channel
from tenfold_runtime.faults import Fault, bad_input, cancelled, stopped, trimmed_traceback
from tenfold_runtime.frames import PROTOCOL, Address, Decoder, Frame, FrameError, encode_head

TERMINATION_GRACE_SECONDS = 10.0
_BEHIND_BYTES = 32 * 1024 * 1024
_TAKEN_BYTES = 1024 * 1024
_FLUSH_SECONDS = 2.0
_MOST_WAIT_SECONDS = 60.0


class Host(Protocol):
    """What a worker serves: a model, or an app's code. Operations it does not have are missing from `operations`."""

    kind: str

    @property
    def reads_requests(self) -> bool:
        """Whether it looks at what comes with a request beside its body. Callers who know need not send it."""

    @property
    def places(self) -> Optional[int]:
        """How many calls of predict it works on at once. Callers are told when it changes. None: it never does."""

    async def health(self) -> Dict[str, Any]: ...

    async def loaded(self) -> None:
        """Returns once it is not loading any more, however that ended."""

    def operations(self) -> Mapping[str, Callable[[Frame, Output], Awaitable[Answer]]]: ...

    def submit(self, frame: Frame, reply: Reply) -> Optional[Entry]:
        """Takes a request into a batch; None when it is not one for batches, but for `operations`."""

    def close(self) -> None: ...


class Server:
    """Listens at one address and serves any number of connections until it is told to stop."""

    def __init__(
        self,
        host: Host,
        address: Address,
        *,
        digest: Optional[str],
        max_payload: int,
        grace_seconds: float,
        sharing: Callable[[], int] = lambda: 1,
    ) -> None:
        """`sharing` tells how many servers there are in this process: each has its part of the memory."""
        self.host = host
        self.max_payload = max_payload
        self.in_flight = 0
        self.stopping = False
        self.cut_off = False
        self._operations = host.operations()
        self._address = address
        self._digest = digest
        self._grace_seconds = grace_seconds
        self._sharing = sharing
        self._loop = asyncio.get_running_loop()
        self._connections: Set[Connection] = set()
        self._stopped = asyncio.Event()
        self._hurry = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._stopping: Optional["asyncio.Task[None]"] = None
        self._listener = _listen(address)

    async def serve(self) -> None:
        """Runs until `stop` has let everything in flight finish."""
        self._loop.add_reader(self._listener, self._accept)
        await self._stopped.wait()
        for connection in list(self._connections):
            connection.close()
        self.host.close()

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new work, waits for what is in flight, and ends `serve`."""
        self.stopping = True
        self._close_listener()
        waiting = [self._loop.create_task(event.wait()) for event in (self._drained, self._hurry)]
        await asyncio.wait(waiting, timeout=max(0.0, grace_seconds), return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        self.cut_off = True
        for connection in self._connections:
            connection.cancel_all()
        deadline = time.monotonic() + _FLUSH_SECONDS
        while self._is_busy() and time.monotonic() < deadline:  # noqa: ASYNC110 (no event tells of an empty buffer)
            await asyncio.sleep(0.01)
        self._stopped.set()

    async def run(self, frame: Frame, output: Output) -> Answer:
        """One operation of the host, counted as work in flight."""
        operation = self._operations.get(str(frame.header.get("op")))
        if operation is None:
            known = ", ".join(sorted([*self._operations, "health", "cancel", "shutdown"]))
            raise Fault(
                "unknown_op", f"This worker knows {known}, not {frame.header.get('op')!r}.", status=400, source="input"
            )
        if self.stopping:
            raise Fault("not_ready", "The worker is stopping.", status=503, hint="Ask another replica.")
        self.in_flight += 1
        self._drained.clear()
        try:
            return await operation(frame, output)
        finally:
            self.left()

    async def loaded(self, wait_seconds: float) -> None:
        """Waits until the host has loaded, but no longer than that."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.host.loaded(), wait_seconds)

    def submit(self, frame: Frame, reply: Reply) -> Optional[Entry]:
        """As the host's, counted as work in flight until `left`."""
        entry = None if self.stopping else self.host.submit(frame, reply)
        if entry is not None:
            self.in_flight += 1
            self._drained.clear()
        return entry

    def left(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self._drained.set()

    async def health(self) -> Dict[str, Any]:
        fields = {
            "kind": self.host.kind,
            "in_flight": self.in_flight,
            "pid": os.getpid(),
            "rss_bytes": _rss_bytes() // max(1, self._sharing()),
            "peak_rss_bytes": _peak_rss_bytes() // max(1, self._sharing()),
            "protocol": PROTOCOL,
            "python": platform.python_version(),
            **await self.host.health(),
        }
        if self._digest:
            fields["digest"] = self._digest
        if self.stopping:
            fields["stopping"] = True
        return fields

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def _is_busy(self) -> bool:
        return any(connection.busy for connection in self._connections)

    def _accept(self) -> None:
        streams.keep_descriptors()
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # out of descriptors: user code took them; the caller tries again
            return
        with contextlib.suppress(OSError):
            with accepted:
                moved = socket.socket(accepted.family, accepted.type, 0, streams.out_of_the_way(accepted.fileno()))
            moved.setblocking(False)
            if not self._address.is_unix:
                moved.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._loop.create_task(self._connect(moved))

    async def _connect(self, accepted: socket.socket) -> None:
        connection = Connection(self)
        self._connections.add(connection)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            self.forget(connection)
            accepted.close()

    def begin_stopping(self, grace_seconds: float) -> None:
        self._stopping = self._loop.create_task(self.stop(grace_seconds))

    def terminate(self) -> None:
        """Stops with the grace that the worker was started with; asked a second time, at once."""
        if self.stopping:
            self.hurry()
            return
        self.begin_stopping(self._grace_seconds)

    def hurry(self) -> None:
        """Ends the grace of a server that is stopping."""
        self._hurry.set()

    def _close_listener(self) -> None:
        if self._listener.fileno() < 0:
            return
        self._loop.remove_reader(self._listener)
        self._listener.close()
        if self._address.is_unix:
            with contextlib.suppress(OSError):
                os.unlink(self._address.path)


class Connection(asyncio.Protocol):
    """One caller's connection: many requests in flight, answers in the order in which they are ready."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._decoder = Decoder(max_payload=server.max_payload)
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._tasks: Dict[Any, Union["asyncio.Task[None]", Entry]] = {}
        self._channels: Dict[Any, Channel] = {}
        self._backlog = Backlog()
        self._queued = 0
        self._told: Optional[int] = None  # of places
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        return bool(self._tasks or self.unsent)

    @property
    def unsent(self) -> int:
        """Bytes that the other side has not taken yet."""
        transport = self._transport
        return 0 if transport is None else transport.get_write_buffer_size() + self._queued + self._backlog.size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=_BEHIND_BYTES, low=_BEHIND_BYTES // 4)
        self._transport = transport

    def connection_lost(self, exc: Optional[Exception]) -> None:  # noqa: ARG002 (asyncio calls it so)
        self._transport = None
        self._backlog.close()
        self._server.forget(self)
        self.cancel_all()

    def resume_writing(self) -> None:
        """The caller reads again: what was put aside goes on its way."""
        transport = self._transport
        while transport is not None and self._backlog.size and transport.get_write_buffer_size() <= _BEHIND_BYTES:
            transport.write(self._backlog.take(_TAKEN_BYTES))

    def cancel_all(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()

    def close(self) -> None:
        """What the caller has not taken by now is lost."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            self._send(
                {"id": None, **Fault(error.code, error.message, status=400, source="input").to_json(), "ok": False}
            )
            if self._transport is not None:
                self._transport.close()
            return
        for frame in frames:
            self._begin(frame)

    def _begin(self, frame: Frame) -> None:
        operation, identifier = frame.header.get("op"), frame.header.get("id")
        if operation == "cancel":
            task = self._tasks.get(_hashable(frame.header.get("cancel")))
            if task is not None:
                task.cancel()
            return
        key = _hashable(identifier)
        if operation == "ws":
            channel = self._channels.get(key)
            if channel is not None:
                channel.feed(frame)
            return
        if key in self._tasks:
            self._send_fault(
                identifier, bad_input(f"A request with the id {identifier!r} is in flight on this connection.")
            )
            return
        if not self._submitted(frame, key, identifier):
            channel = self._channel(key, identifier) if operation == "websocket" else None
            self._start(frame, key, channel)

    def _submitted(self, frame: Frame, key: Any, identifier: Any) -> bool:
        """Whether it goes into a batch, of which no task has to know."""
        began = time.perf_counter()

        def reply(outcome: Outcome) -> None:
            del self._tasks[key]
            self._server.left()
            if isinstance(outcome, Answer):
                self._send_answer(identifier, outcome, time.perf_counter() - began)
            elif outcome is None:
                self._start(frame, key, None)
            else:
                self._send_fault(identifier, self._cancelled() if outcome.code == "cancelled" else outcome)

        entry = self._server.submit(frame, reply)
        if entry is None:
            return False
        self._tasks[key] = entry
        return True

    def _start(self, frame: Frame, key: Any, channel: Optional[Channel]) -> None:
        task = self._loop.create_task(self._answer(frame, channel))
        self._tasks[key] = task
        task.add_done_callback(lambda task: self._ended(key, frame.header.get("id"), task))

    def _ended(self, key: Any, identifier: Any, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(key, None)
        if task.cancelled():  # before its first step, so that it answered nothing
            self._send_fault(identifier, self._cancelled())
        channel = self._channels.pop(key, None)
        if channel is not None:
            channel.end()
            self._hold(False)

    def _channel(self, key: Any, identifier: Any) -> Channel:
        def send(fields: Dict[str, Any], payload: bytes) -> None:
            with self._lock:
                self._queued += len(payload)
            self._loop.call_soon_threadsafe(write, fields, payload)

        def write(fields: Dict[str, Any], payload: bytes) -> None:
            with self._lock:
                self._queued -= len(payload)
            if self._channels.get(key) is channel:
                self._send({"id": identifier, "ok": True, "more": True, **fields}, payload)

        def hold(stop: bool) -> None:
            self._loop.call_soon_threadsafe(self._hold, stop)

        channel = self._channels[key] = Channel(send, hold, self._is_full)
        return channel

    def _hold(self, stop: bool) -> None:
        """Reads no further while user code has not read what came for its websocket."""
        if self._transport is None or self._transport.is_closing():
            return
        if stop:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def _answer(self, frame: Frame, channel: Optional[Channel]) -> None:
        identifier = frame.header.get("id")
        started = time.perf_counter()
        streamed = False

        def send_part(part: bytes, head: Answer) -> None:
            with self._lock:
                self._queued += len(part)
            self._loop.call_soon_threadsafe(write_part, part, head)

        def write_part(part: bytes, head: Answer) -> None:
            nonlocal streamed
            with self._lock:
                self._queued -= len(part)
            if self._tasks.get(_hashable(identifier)) is not asyncio_task:
                return  # it was cancelled in the meantime
            header = {"id": identifier, "ok": True, "more": True}
            if not streamed:
                header.update(head.fields())
            streamed = True
            self._send(header, part)

        asyncio_task = asyncio.current_task()
        try:
            fields, body = await self._result(frame, Output(send_part, self._is_behind, channel))
        except asyncio.CancelledError:
            self._send_fault(identifier, self._cancelled())
        except Fault as fault:
            self._send_fault(identifier, fault)
        except BaseException as error:
            streams.report(trimmed_traceback(error))
            self._send_fault(identifier, Fault("worker_error", f"The worker failed: {type(error).__name__}: {error}"))
        else:
            ending = {"more": False} if streamed else {}
            if channel is not None:
                self._channels.pop(_hashable(identifier), None)
            if frame.header.get("op") in BATCHED:
                self._tell_places(ending)
            seconds = round(time.perf_counter() - started, 6)
            self._send({"id": identifier, "ok": True, **fields, **ending, "seconds": seconds}, body)

    def _send_answer(self, identifier: Any, answer: Answer, seconds: float) -> None:
        """The answer of a call in a batch."""
        fields = answer.fields()
        self._tell_places(fields)
        self._send({"id": identifier, "ok": True, **fields, "seconds": round(seconds, 6)}, answer.body)

    def _tell_places(self, fields: Dict[str, Any]) -> None:
        """Adds to an answer's fields how many calls are worked on at once, where this caller has not been told."""
        host = self._server.host
        if host.places != self._told:
            self._told = host.places
            fields.update(places=host.places, reads_requests=host.reads_requests)

    def _cancelled(self) -> Fault:
        return stopped() if self._server.cut_off else cancelled()

    async def _result(self, frame: Frame, output: Output) -> tuple[Dict[str, Any], bytes]:
        operation = frame.header.get("op")
        if operation == "health":
            wait = frame.header.get("wait_seconds")
            if isinstance(wait, (int, float)) and wait > 0:
                await self._server.loaded(min(wait, _MOST_WAIT_SECONDS))
            return await self._server.health(), b""
        if operation == "shutdown":
            grace = frame.header.get("grace_seconds")
            seconds = float(grace) if isinstance(grace, (int, float)) else TERMINATION_GRACE_SECONDS
            self._server.begin_stopping(seconds)
            return {}, b""
        answer = await self._server.run(frame, output)
        return answer.fields(), answer.body

    def _is_behind(self) -> bool:
        """Whether a generator has to wait: the caller reads nothing, and no more can be put aside for it."""
        return self._queued > _BEHIND_BYTES or self.unsent > _BEHIND_BYTES + self._backlog.room

    def _is_full(self) -> bool:
        return self.unsent > _BEHIND_BYTES

    def _send_fault(self, identifier: Any, fault: Fault) -> None:
        self._send({"id": identifier, "ok": False, **fault.to_json(), "more": False})

    def _send(self, header: Dict[str, Any], payload: bytes = b"") -> None:
        if self._transport is None or self._transport.is_closing():
            return
        try:
            head = encode_head(header, len(payload))
        except (FrameError, TypeError, ValueError, RecursionError):
            fault = Fault("bad_output", "The answer is too large or too odd for a frame.", source="user")
            head, payload = encode_head({"id": header.get("id"), "ok": False, **fault.to_json(), "more": False}, 0), b""
        if self._backlog.size or self._transport.get_write_buffer_size() > _BEHIND_BYTES:
            self._backlog.put(head + payload)
        elif len(payload) < 65536:
            self._transport.write(head + payload)
        else:
            self._transport.write(head)
            self._transport.write(payload)


def on_termination(loop: asyncio.AbstractEventLoop, terminate: Callable[[], None]) -> None:
    """Calls it on the loop for each SIGTERM and SIGINT that is sent to this process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, terminate)
    os.register_at_fork(after_in_child=_forget_signals)


def _forget_signals() -> None:
    """In a process that user code forked: a signal sent to it must not be taken for one that was sent to the worker."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _hashable(identifier: Any) -> Any:
    return identifier if isinstance(identifier, (str, int, float, type(None))) else repr(identifier)


def _listen(address: Address) -> socket.socket:
    """A listening socket. A unix socket appears under its name only when it can be connected to."""
    if not address.is_unix:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(1024)
    else:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _remove_stale(address.path)
        unfinished = f"{address.path}~"
        _remove_stale(unfinished)
        listener.bind(unfinished)
        os.chmod(unfinished, 0o600)
        listener.listen(1024)
        os.rename(unfinished, address.path)
    with listener:
        moved = socket.socket(listener.family, listener.type, 0, streams.out_of_the_way(listener.fileno()))
    moved.setblocking(False)
    return moved


def _remove_stale(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return _largest_rss_bytes()


def _peak_rss_bytes() -> int:
    """The most that this program used. The system's own count begins with the process that it was forked from."""
    try:
        with open("/proc/self/status", "rb") as file:
            lines = file.read().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(b"VmHWM:")) * 1024
    except (OSError, ValueError, IndexError, StopIteration):
        return _largest_rss_bytes()


def _largest_rss_bytes() -> int:
    import resource  # not on every system

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
