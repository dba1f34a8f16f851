"""What a call gives back: one body, or parts of a stream as they are made."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from tenfold_runtime import msgpack
from tenfold_runtime.channels import Channel
from tenfold_runtime.encoding import encode_json
from tenfold_runtime.requests import Call

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
EVENTS = "text/event-stream; charset=utf-8"
BYTES = "application/octet-stream"
LINES = "application/x-ndjson"

_WAIT_SECONDS = 0.01
_EVENT_STARTS = (b"data:", b"event:", b"id:", b"retry:")


@dataclass(frozen=True)
class Answer:
    """One body, encoded. After a stream it is what is left to send: nothing."""

    body: bytes = b""
    content_type: str = JSON
    warnings: List[str] = field(default_factory=list)
    status: int = 200
    headers: Dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, call: Optional[Call] = None) -> Answer:
        """Raises Fault `bad_output` when the value cannot be written in the form that the caller accepts."""
        own = None if call is None else call.encode(value)
        if own is not None:
            answer: Answer = own
            return answer
        if call is not None and call.wants_binary:
            body = bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else msgpack.encode(value)
            return cls(body, msgpack.CONTENT_TYPE)
        body, warnings = encode_json(value)
        return cls(body, JSON, warnings)

    def fields(self) -> Dict[str, Any]:
        """What the answer's frame says of it."""
        fields: Dict[str, Any] = {"status": self.status, "content_type": self.content_type}
        if self.headers:
            fields["headers"] = self.headers
        if self.warnings:
            fields["warnings"] = self.warnings
        return fields


@dataclass(frozen=True)
class Closed(Answer):
    """The end of a websocket."""

    code: int = 1000
    reason: str = ""

    def fields(self) -> Dict[str, Any]:
        return {"more": False, "ws": "close", "code": self.code, "reason": self.reason}


class Output:
    """Where a generator's parts go: to the caller one by one, or into one value for a caller who asked for JSON.

    `send(part, head)` may be called from any thread, `head` being what the first part's frame says of the stream;
    `is_behind()` tells that the reader cannot keep up. `begun` is called when the first part is waited for, and
    `waiting_since` tells since when user code has given none (None: it is not user code that is waited for).
    `channel` is the way of a websocket's messages.
    """

    def __init__(
        self,
        send: Callable[[bytes, Answer], None],
        is_behind: Callable[[], bool],
        channel: Optional[Channel] = None,
    ) -> None:
        self._send = send
        self._is_behind = is_behind
        self._head: Optional[Answer] = None
        self.channel = channel
        self.begun: Callable[[], None] = _nothing
        self.waiting_since: Optional[float] = None

    def drain(self, parts: Iterator[Any], call: Call) -> Answer:
        """Sends a generator's parts from a thread."""
        if call.gathers:
            return _gathered(list(parts), call)
        self._begin()
        for part in parts:
            while self._is_behind():
                self.waiting_since = None
                time.sleep(_WAIT_SECONDS)
            self._part(part)
        return self._end()

    async def drain_async(self, parts: AsyncIterator[Any], call: Call) -> Answer:
        """Sends an asynchronous generator's parts from the loop it runs on."""
        if call.gathers:
            return _gathered([part async for part in parts], call)
        self._begin()
        async for part in parts:
            await self._until_read()
            self._part(part)
        return self._end()

    async def send_raw(self, data: bytes, head: Answer) -> None:
        """One part of a stream that is encoded already, with the head that its first part has."""
        if self._head is None:
            self._head = head
            self._begin()
        await self._until_read()
        if data:
            self._send(data, head)
        self.waiting_since = time.monotonic()

    async def _until_read(self) -> None:
        while self._is_behind():
            self.waiting_since = None
            await asyncio.sleep(_WAIT_SECONDS)

    def _begin(self) -> None:
        self.waiting_since = time.monotonic()
        self.begun()

    def _end(self) -> Answer:
        self.waiting_since = None
        return self._head or Answer(content_type=TEXT)

    def _part(self, part: Any) -> None:
        data, content_type = _encoded_part(part)
        if self._head is None:
            self._head = Answer(content_type=EVENTS if data.startswith(_EVENT_STARTS) else content_type)
        self._send(data, self._head)
        self.waiting_since = time.monotonic()


def _nothing() -> None:
    return None


def header_fields(raw: Iterable[Tuple[bytes, bytes]]) -> Dict[str, str]:
    """ASGI's header pairs by name; what is there several times is joined by commas."""
    fields: Dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields


def _gathered(parts: List[Any], call: Call) -> Answer:
    if parts and all(isinstance(part, (str, bytes, bytearray)) for part in parts):
        joined = b"".join(part.encode("utf-8", "replace") if isinstance(part, str) else bytes(part) for part in parts)
        return Answer.of(joined.decode("utf-8", "replace"), call)
    return Answer.of(parts, call)


def _encoded_part(part: Any) -> Tuple[bytes, str]:
    if isinstance(part, str):
        return part.encode("utf-8", "replace"), TEXT
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part), BYTES
    return encode_json(part)[0] + b"\n", LINES
