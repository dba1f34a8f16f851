"""One connection to one worker, speaking frames (docs/reference/frames.md), with one exchange on it at a time.

One at a time because a stream whose reader is slow must hold up nobody else: the connection is its back pressure. The
codec is written out here, on orjson and without copies of the payload, because every predict pays for it twice.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson

from tenfold_platform.addresses import pinned
from tenfold_platform.gateway.faults import BadAnswer, TimedOut, WorkerLost
from tenfold_runtime.frames import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, Address

_LENGTHS = struct.Struct(">II")
_HIGH_WATER_BYTES = 256 * 1024
_LOW_WATER_BYTES = 64 * 1024
_JOIN_BELOW_BYTES = 64 * 1024
CONNECT_SECONDS = 5.0


@dataclass(slots=True)  # not frozen, which would take three times as long to make one
class Answer:
    """One frame from a worker: the only answer, or a part of a stream while `more`."""

    header: dict[str, Any]
    payload: bytes

    @property
    def ok(self) -> bool:
        return self.header.get("ok") is True

    @property
    def more(self) -> bool:
        return self.header.get("more") is True


class Taker(Protocol):
    """Who asks with `Connection.ask`: told of the first answer, or why there is none, and of nothing after it."""

    id: int

    def arrived(self, answer: Answer) -> None: ...

    def failed(self, failure: Exception) -> None: ...


class Exchange:
    """A request under way and its answers, in order.

    `on_end(reusable)` is called once: when the last answer has arrived (also that of a cancelled request), or when the
    connection is lost.
    """

    __slots__ = ("_answers", "_buffered", "_cancelled", "_connection", "_failure", "_on_end", "_waiting", "ended", "id")

    def __init__(self, connection: Connection, id: int, on_end: Callable[[bool], None]) -> None:
        self.id = id
        self.ended = False
        self._connection = connection
        self._on_end = on_end
        self._answers: deque[Answer] = deque()
        self._buffered = 0
        self._waiting: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._cancelled = False

    async def next(self, timeout_seconds: float | None) -> Answer:
        """The next answer. Raises TimedOut, WorkerLost or BadAnswer."""
        if not self._answers:
            await self._arrival(timeout_seconds)
        answer = self._answers.popleft()
        self._buffered -= len(answer.payload)
        if self._buffered < _LOW_WATER_BYTES and not self.ended:
            self._connection.resume()
        return answer

    async def send(self, header: dict[str, Any], payload: bytes) -> None:
        """A further frame of a two-way exchange. Waits while the worker is slow to read; nothing once it has ended."""
        if not self.ended and not self._cancelled:
            header["id"] = self.id
            await self._connection.send(self, header, payload)

    def cancel(self) -> None:
        """Ends the request in the worker. Nothing more is to be read from it; harmless once it has ended."""
        if self._cancelled or self.ended:
            return
        self._cancelled = True
        self._answers.clear()
        self._buffered = 0
        self._connection.cancel(self.id)

    def arrived(self, answer: Answer) -> None:
        if not answer.more:
            self._end(reusable=True)
        if self._cancelled:
            return
        self._answers.append(answer)
        self._buffered += len(answer.payload)
        if self._buffered > _HIGH_WATER_BYTES and answer.more:
            self._connection.pause()
        self._wake()

    def failed(self, failure: Exception) -> None:
        if self._failure is None:
            self._failure = failure
        self._end(reusable=False)
        self._wake()

    async def _arrival(self, timeout_seconds: float | None) -> None:
        if self._failure is not None:
            raise self._failure
        loop = asyncio.get_running_loop()
        self._waiting = waiting = loop.create_future()
        timer = None if timeout_seconds is None else loop.call_later(timeout_seconds, _expire, waiting, timeout_seconds)
        try:
            await waiting
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting = None
        if not self._answers:
            raise self._failure or WorkerLost()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _end(self, *, reusable: bool) -> None:
        if not self.ended:
            self.ended = True
            self._on_end(reusable)


def _expire(waiting: asyncio.Future[None], seconds: float) -> None:
    if not waiting.done():
        waiting.set_exception(TimedOut(seconds))


class Connection(asyncio.Protocol):
    """A socket to a worker. `on_lost` is called when it ends while nothing is under way."""

    CANCEL_SECONDS = 10.0  # longer than the worker lets a method see that its caller has gone

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._exchange: Exchange | Taker | None = None
        self._last_id = 0
        self._paused = False
        self._writable: asyncio.Future[None] | None = None  # while the worker does not read what was sent
        self._cancel_timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self._exchange is None

    def begin(self, header: dict[str, Any], payload: bytes, on_end: Callable[[bool], None]) -> Exchange:
        """Sends a request. Only on a connection that is `usable`."""
        self._last_id += 1
        header["id"] = self._last_id
        self._exchange = exchange = Exchange(self, self._last_id, on_end)
        self._send(header, payload)
        return exchange

    def ask(self, head: bytes, payload: bytes, taker: Taker) -> None:
        """Sends a request, whose header as JSON lacks only its number and the last brace. Only where `usable`."""
        self._last_id = taker.id = self._last_id + 1
        self._exchange = taker
        head = b'%b,"id":%d}' % (head, self._last_id)
        transport = self._transport
        assert transport is not None
        if len(payload) < _JOIN_BELOW_BYTES:
            transport.write(_LENGTHS.pack(len(head), len(payload)) + head + payload)
        else:
            transport.write(_LENGTHS.pack(len(head), len(payload)) + head)
            transport.write(payload)

    def go_on(self, taker: Taker, on_end: Callable[[bool], None]) -> Exchange:
        """What is still to come for a taker, as an exchange."""
        exchange = Exchange(self, taker.id, on_end)
        if self._exchange is taker:
            self._exchange = exchange
        return exchange

    async def send(self, exchange: Exchange, header: dict[str, Any], payload: bytes) -> None:
        """A further frame of the exchange under way, once the worker has read most of those before."""
        if self._writable is not None:
            await asyncio.shield(self._writable)  # it is of whoever waits: cancelling one must not end the others
        if self._exchange is exchange:
            self._send(header, payload)

    def cancel(self, id: int) -> None:
        self.resume()
        self._last_id += 1
        self._send({"id": self._last_id, "op": "cancel", "cancel": id}, b"")
        self._cancel_timer = asyncio.get_running_loop().call_later(self.CANCEL_SECONDS, self.close)

    def pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not its subclasses

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's; why does not matter
        self.resume_writing()
        exchange, self._exchange = self._exchange, None
        self._stop_cancel_timer()
        if exchange is not None:
            exchange.failed(WorkerLost())
        else:
            self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            self._consume(self._buffer)
        else:
            self._consume(data)

    def _consume(self, data: bytes | bytearray) -> None:
        position, total = 0, len(data)
        while (start := position + 8) <= total:
            header_length, payload_length = _LENGTHS.unpack_from(data, position)
            if header_length > MAX_HEADER_BYTES or payload_length > MAX_PAYLOAD_BYTES:
                return self._broken("a frame is too large")
            middle = start + header_length
            end = middle + payload_length
            if end > total:
                break
            try:
                header = orjson.loads(data[start:middle])
            except ValueError:
                return self._broken("a frame's header is not JSON")
            if type(header) is not dict:
                return self._broken("a frame's header is not an object")
            exchange = self._exchange
            if exchange is not None and header.get("id") == exchange.id:
                if header.get("more") is not True:
                    self._end_exchange()
                exchange.arrived(Answer(header, bytes(data[middle:end])))
            position = end
        if data is self._buffer:
            del self._buffer[:position]
        elif position < total:
            self._buffer += memoryview(data)[position:]

    def _end_exchange(self) -> None:
        self._exchange = None
        if self._cancel_timer is not None:
            self._stop_cancel_timer()
        if self._paused:
            self.resume()

    def _broken(self, why: str) -> None:
        self._buffer.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.failed(BadAnswer(why))
        self.close()

    def _send(self, header: dict[str, Any], payload: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head = orjson.dumps(header)
        start = _LENGTHS.pack(len(head), len(payload)) + head
        if len(payload) < _JOIN_BELOW_BYTES:
            self._transport.write(start + payload)
        else:
            self._transport.write(start)
            self._transport.write(payload)

    def _stop_cancel_timer(self) -> None:
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
            self._cancel_timer = None


async def connect(address: Address, on_lost: Callable[[Connection], None]) -> Connection:
    """Raises OSError (of which TimeoutError is one) when nobody answers there."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        if address.is_unix:
            with pinned(address) as socket:
                _, connection = await loop.create_unix_connection(lambda: Connection(on_lost), socket.path)
        else:
            _, connection = await loop.create_connection(lambda: Connection(on_lost), address.host, address.port)
    return connection
