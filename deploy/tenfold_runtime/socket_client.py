"""The client's half of a websocket (RFC 6455), for one server on loopback that the worker itself has started."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
from typing import Dict, Iterable, List, Tuple

from tenfold_runtime import http_client
from tenfold_runtime.http_client import BadReply

TEXT, BINARY = 1, 2
_CONTINUATION, _CLOSE, _PING, _PONG = 0, 8, 9, 10
_FINAL, _MASKED = 0x80, 0x80
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST_BYTES = 100 * 1024 * 1024
_NO_CODE, _GONE = 1005, 1006


class Ended(Exception):
    """The server closed the websocket, or went away."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Socket:
    """An open websocket. One task may send while another receives."""

    def __init__(self, reply: http_client.Reply) -> None:
        self.headers: Dict[str, str] = reply.headers
        self._reply = reply

    async def send(self, kind: int, message: bytes) -> None:
        self._write(kind, message)
        await self._reply.writer.drain()

    def close(self, code: int, reason: str) -> None:
        """Says good-bye, and does not wait until that is read. Codes that only describe an ending are not sent."""
        if self._reply.writer.is_closing():
            return
        body = struct.pack(">H", code) + reason.encode("utf-8", "replace")[:120] if _is_sendable(code) else b""
        self._write(_CLOSE, body)
        self._reply.close()

    async def receive(self) -> Tuple[int, bytes]:
        """The kind and the content of the next message. Raises Ended, BadReply."""
        kind = 0
        parts: List[bytes] = []
        while True:
            try:
                first, content = await self._frame()
            except (OSError, asyncio.IncompleteReadError):
                raise Ended(_GONE) from None
            code = first & 0x0F
            if code == _CLOSE:
                raise _ended(content)
            if code == _PING:
                await self.send(_PONG, content)
            elif code in (TEXT, BINARY, _CONTINUATION):
                kind = code or kind
                parts.append(content)
                if sum(map(len, parts)) > _MOST_BYTES:
                    raise BadReply("the server sent a message that is too large")
                if first & _FINAL:
                    return kind, b"".join(parts)

    def _write(self, kind: int, message: bytes) -> None:
        mask = os.urandom(4)
        self._reply.writer.write(_head(kind, len(message)) + mask + _masked(message, mask))

    async def _frame(self) -> Tuple[int, bytes]:
        reader = self._reply.reader
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await reader.readexactly(8))
        if length > _MOST_BYTES or second & _MASKED:
            raise BadReply("the server sent a frame that is too large, or masked")
        return first, await reader.readexactly(length)


async def connect(port: int, target: str, headers: Iterable[Tuple[str, str]]) -> Socket:
    """Opens a websocket. Raises Refused with the server's answer, OSError, BadReply."""
    key = base64.b64encode(os.urandom(16)).decode("ascii")
    kept = [(name, value) for name, value in headers if name not in _OURS]
    reply = await http_client.request(
        port, "GET", target, [*kept, ("sec-websocket-version", "13"), ("sec-websocket-key", key)], upgrade="websocket"
    )
    if reply.status != 101:
        try:
            raise Refused(reply.status, (await reply.body()).decode("utf-8", "replace"))
        finally:
            reply.close()
    expected = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode("ascii")
    if reply.headers.get("sec-websocket-accept") != expected:
        reply.close()
        raise BadReply("the server's handshake is wrong")
    return Socket(reply)


class Refused(Exception):
    """The server answered the handshake with something else."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


_OURS = ("sec-websocket-version", "sec-websocket-key", "sec-websocket-extensions", "origin")


def _head(kind: int, length: int) -> bytes:
    if length < 126:
        return struct.pack(">BB", _FINAL | kind, _MASKED | length)
    if length < 1 << 16:
        return struct.pack(">BBH", _FINAL | kind, _MASKED | 126, length)
    return struct.pack(">BBQ", _FINAL | kind, _MASKED | 127, length)


def _masked(data: bytes, mask: bytes) -> bytes:
    """As one large number: a loop over the bytes would take a hundred times as long."""
    if not data:
        return b""
    pattern = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(len(data), "big")


def _ended(content: bytes) -> Ended:
    if len(content) < 2:
        return Ended(_NO_CODE)
    return Ended(struct.unpack(">H", content[:2])[0], content[2:].decode("utf-8", "replace"))


def _is_sendable(code: int) -> bool:
    return 1000 <= code <= 4999 and code not in (1004, _NO_CODE, _GONE, 1015)
