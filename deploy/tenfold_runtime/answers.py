"""What a call gives back: one body, or parts of a stream as they are made."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Mapping, Tuple

from tenfold_runtime.encoding import encode_json

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
LINES = "application/x-ndjson"

_WAIT_SECONDS = 0.01


@dataclass(frozen=True)
class Answer:
    """One body, encoded. After a stream it is what is left to send: nothing."""

    body: bytes = b""
    content_type: str = JSON
    warnings: List[str] = field(default_factory=list)

    @classmethod
    def of(cls, value: Any) -> Answer:
        """Raises Fault `bad_output` when the value cannot be written as JSON."""
        body, warnings = encode_json(value)
        return cls(body, JSON, warnings)

    def headers(self) -> Dict[str, Any]:
        return {"warnings": self.warnings} if self.warnings else {}


class Output:
    """Where a generator's parts go: to the caller one by one, or into one value for a caller who asked for JSON.

    `send(part, content_type)` may be called from any thread; `is_behind()` tells that the reader cannot keep up.
    """

    def __init__(
        self, send: Callable[[bytes, str], None], is_behind: Callable[[], bool], header: Mapping[str, Any]
    ) -> None:
        self._send = send
        self._is_behind = is_behind
        self._gathers = _wants_one_value(header)
        self._content_type = ""

    def drain(self, parts: Iterator[Any]) -> Answer:
        """Sends a generator's parts from a thread."""
        if self._gathers:
            return _gathered(list(parts))
        for part in parts:
            while self._is_behind():
                time.sleep(_WAIT_SECONDS)
            self._part(part)
        return Answer(b"", self._content_type or TEXT)

    async def drain_async(self, parts: AsyncIterator[Any]) -> Answer:
        """Sends an asynchronous generator's parts from the loop it runs on."""
        if self._gathers:
            return _gathered([part async for part in parts])
        async for part in parts:
            while self._is_behind():  # noqa: ASYNC110 (nothing tells when a transport's buffer has room)
                await asyncio.sleep(_WAIT_SECONDS)
            self._part(part)
        return Answer(b"", self._content_type or TEXT)

    def _part(self, part: Any) -> None:
        data, content_type = _encoded_part(part)
        self._content_type = self._content_type or content_type
        self._send(data, self._content_type)


def _wants_one_value(header: Mapping[str, Any]) -> bool:
    """A stream is gathered for those who accept JSON.

    But not for OpenAI's clients, which ask for it and expect a stream.
    """
    if "application/json" not in str(header.get("accept") or "").lower():
        return False
    headers = header.get("headers") or {}
    agent = next((str(value) for name, value in headers.items() if str(name).lower() == "user-agent"), "")
    return "openai" not in agent.lower()


def _gathered(parts: List[Any]) -> Answer:
    if parts and all(isinstance(part, (str, bytes)) for part in parts):
        texts = [part if isinstance(part, str) else part.decode("utf-8", "replace") for part in parts]
        return Answer.of("".join(texts))
    return Answer.of(parts)


def _encoded_part(part: Any) -> Tuple[bytes, str]:
    if isinstance(part, str):
        return part.encode("utf-8", "replace"), TEXT
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part), BYTES
    return encode_json(part)[0] + b"\n", LINES
