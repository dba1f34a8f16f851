"""Small clients for a worker's socket.

A blocking one, and one for asyncio that keeps many requests in flight on one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from types import TracebackType
from typing import Any, AsyncIterator, Dict, Iterator, List, Optional, Type, Union

from tenfold_runtime.frames import (
    MAX_PAYLOAD_BYTES,
    Address,
    Decoder,
    Frame,
    FrameError,
    Payload,
    encode,
    parse_address,
)

_READ_BYTES = 256 * 1024


class Client:
    """One blocking connection to a worker, one request at a time (other threads wait their turn).

    Raises OSError (ConnectionError, TimeoutError) when the worker cannot be reached or the connection ends,
    FrameError when the other side does not speak frames. After either the client must be closed.
    """

    def __init__(
        self,
        address: Union[str, Address],
        *,
        timeout_seconds: Optional[float] = 30.0,
        max_payload: int = MAX_PAYLOAD_BYTES,
    ) -> None:
        target = parse_address(address) if isinstance(address, str) else address
        self._socket = target.connect(timeout_seconds)
        self._decoder = Decoder(max_payload=max_payload)
        self._received: List[Frame] = []
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def request(
        self, op: str, payload: Payload = b"", *, timeout_seconds: Optional[float] = None, **header: Any
    ) -> Frame:
        """Sends one request and waits for its (only or last) answer. Parts of a stream are joined into one frame."""
        frames = list(self.stream(op, payload, timeout_seconds=timeout_seconds, **header))
        if len(frames) == 1:
            return frames[0]
        return Frame({**frames[0].header, **frames[-1].header}, b"".join(frame.payload for frame in frames))

    def stream(
        self, op: str, payload: Payload = b"", *, timeout_seconds: Optional[float] = None, **header: Any
    ) -> Iterator[Frame]:
        """Sends one request and yields its answers as they come, until the one that is the last."""
        with self._lock:
            if timeout_seconds is not None:
                self._socket.settimeout(timeout_seconds)
            identifier = next(self._ids)
            self._socket.sendall(encode({"id": identifier, "op": op, **header}, payload))
            while True:
                frame = self._next_frame()
                _check_connection(frame)
                if frame.id != identifier:
                    continue
                yield frame
                if not frame.more:
                    return

    def health(self) -> Dict[str, Any]:
        """The worker's own account of its state: the header of a `health` answer."""
        return self.request("health").header

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self.close()

    def _next_frame(self) -> Frame:
        while not self._received:
            try:
                data = self._socket.recv(_READ_BYTES)
            except socket.timeout as error:  # only from Python 3.10 on is this the same as TimeoutError
                raise TimeoutError("The worker did not answer in time.") from error
            if not data:
                raise ConnectionResetError("The worker closed the connection.")
            self._received = self._decoder.feed(data)
        return self._received.pop(0)


class AsyncClient:
    """One connection to a worker for asyncio, with any number of requests in flight.

    `await AsyncClient.connect(address)`, then `await client.request("predict", body, content_type="application/json")`.
    Cancelling the awaiting task cancels the request in the worker. When the connection ends, everything in flight
    raises ConnectionError and `closed` is true.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_payload: int) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(max_payload=max_payload)
        self._ids = itertools.count(1)
        self._waiting: Dict[int, "asyncio.Queue[Union[Frame, Exception]]"] = {}
        self._failure: Optional[Exception] = None
        self._receiving = asyncio.ensure_future(self._receive())

    @classmethod
    async def connect(
        cls,
        address: Union[str, Address],
        *,
        timeout_seconds: float = 5.0,
        max_payload: int = MAX_PAYLOAD_BYTES,
    ) -> AsyncClient:
        """Raises OSError when nobody listens at the address, TimeoutError when nobody answers."""
        target = parse_address(address) if isinstance(address, str) else address
        if target.is_unix:
            opening = asyncio.open_unix_connection(target.path)
        else:
            opening = asyncio.open_connection(target.host, target.port)
        try:
            reader, writer = await asyncio.wait_for(opening, timeout_seconds)
        except asyncio.TimeoutError as error:
            raise TimeoutError(f"Nobody answered at {target} within {timeout_seconds:g} s.") from error
        return cls(reader, writer, max_payload)

    @property
    def closed(self) -> bool:
        return self._failure is not None

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    async def request(self, op: str, payload: Payload = b"", **header: Any) -> Frame:
        """Sends one request and waits for its (only or last) answer. Parts of a stream are joined into one frame."""
        frames = [frame async for frame in self.stream(op, payload, **header)]
        if len(frames) == 1:
            return frames[0]
        return Frame({**frames[0].header, **frames[-1].header}, b"".join(frame.payload for frame in frames))

    async def stream(self, op: str, payload: Payload = b"", **header: Any) -> AsyncIterator[Frame]:
        """Sends one request and yields its answers as they come, until the one that is the last."""
        if self._failure is not None:
            raise self._failure
        identifier = next(self._ids)
        answers: "asyncio.Queue[Union[Frame, Exception]]" = asyncio.Queue()
        self._waiting[identifier] = answers
        finished = False
        try:
            self._writer.write(encode({"id": identifier, "op": op, **header}, payload))
            await self._writer.drain()
            while not finished:
                answer = await answers.get()
                finished = not isinstance(answer, Frame) or not answer.more
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            del self._waiting[identifier]
            if not finished and self._failure is None:
                self._writer.write(encode({"id": next(self._ids), "op": "cancel", "cancel": identifier}))

    async def health(self) -> Dict[str, Any]:
        """The worker's own account of its state: the header of a `health` answer."""
        return (await self.request("health")).header

    async def close(self) -> None:
        self._fail(ConnectionResetError("The connection to the worker was closed."))
        self._receiving.cancel()
        await asyncio.gather(self._receiving, return_exceptions=True)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _receive(self) -> None:
        try:
            while True:
                data = await self._reader.read(_READ_BYTES)
                if not data:
                    raise ConnectionResetError("The worker closed the connection.")
                for frame in self._decoder.feed(data):
                    _check_connection(frame)
                    answers = self._waiting.get(frame.id)
                    if answers is not None:
                        answers.put_nowait(frame)
        except (OSError, FrameError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._writer.close()
        for answers in self._waiting.values():
            answers.put_nowait(error)


def _check_connection(frame: Frame) -> None:
    if frame.id is None and not frame.ok:  # about the connection itself, which the worker closes now
        raise FrameError(str(frame.header.get("code")), str(frame.header.get("message")))
