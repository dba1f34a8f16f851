"""A small HTTP/1.1 client on asyncio's streams, for one server on loopback that the worker itself has started."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import AsyncIterator, Dict, Iterable, List, Optional, Tuple

_HOST = "127.0.0.1"
_READ_BYTES = 64 * 1024
_MOST_HEADER_LINES = 200
_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)


class BadReply(Exception):
    """The server answered something that is not HTTP, or ended in the middle."""


@dataclass
class Reply:
    """The head of an answer, and its body to be read part by part."""

    status: int
    headers: Dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    begins: List[bytes] = field(default_factory=list)

    @property
    def is_stream(self) -> bool:
        """Whether the body has no length that is known beforehand."""
        return "content-length" not in self.headers and self.status not in (204, 304)

    def passed_on(self) -> Dict[str, str]:
        """The header fields that are about the content, not the connection."""
        left_out = _HOP_BY_HOP | {"content-type"}
        return {name: value for name, value in self.headers.items() if name not in left_out}

    async def parts(self) -> AsyncIterator[bytes]:
        if self.status in (204, 304):
            return
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            async for part in _chunks(self.reader):
                yield part
            return
        length = self.headers.get("content-length")
        remaining: Optional[int] = int(length) if length is not None and length.isdigit() else None
        while remaining is None or remaining > 0:
            part = await self.reader.read(_READ_BYTES if remaining is None else min(remaining, _READ_BYTES))
            if not part:
                if remaining:
                    raise BadReply("the server ended its answer too early")
                return
            if remaining is not None:
                remaining -= len(part)
            yield part

    async def body(self) -> bytes:
        return b"".join([part async for part in self.parts()])

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.close()


async def request(
    port: int,
    method: str,
    target: str,
    headers: Iterable[Tuple[str, str]] = (),
    body: bytes = b"",
    *,
    upgrade: Optional[str] = None,
) -> Reply:
    """Sends one request on a connection of its own and reads the head of the answer.

    The caller closes the reply. Raises OSError when nobody listens, BadReply.
    """
    reader, writer = await asyncio.open_connection(_HOST, port)
    try:
        lines = [f"{method} {_one_line(target)} HTTP/1.1", f"host: {_HOST}:{port}", _connection(upgrade)]
        lines += [f"{name}: {_one_line(value)}" for name, value in headers if name.lower() not in _HOP_BY_HOP]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)
        await writer.drain()
        status, fields = await _head(reader)
        while status == 100:
            status, fields = await _head(reader)
    except BaseException:
        writer.close()
        raise
    return Reply(status, fields, reader, writer)


def _connection(upgrade: Optional[str]) -> str:
    return f"connection: upgrade\r\nupgrade: {upgrade}" if upgrade else "connection: close"


async def _head(reader: asyncio.StreamReader) -> Tuple[int, Dict[str, str]]:
    first = (await _line(reader)).split(None, 2)
    if len(first) < 2 or not first[0].startswith("HTTP/1.") or not first[1].isdigit():
        raise BadReply("the server does not speak HTTP/1.1")
    fields: Dict[str, str] = {}
    for _ in range(_MOST_HEADER_LINES):
        line = await _line(reader)
        if not line:
            return int(first[1]), fields
        name, _, value = line.partition(":")
        key = name.strip().lower()
        fields[key] = f"{fields[key]}, {value.strip()}" if key in fields else value.strip()
    raise BadReply("the server's answer has too many header fields")


async def _line(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readline()
    except ValueError:
        raise BadReply("the server's answer has a line that is too long") from None
    if not line.endswith(b"\n"):
        raise BadReply("the server ended its answer too early")
    return line.rstrip(b"\r\n").decode("latin-1")


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        size_text = (await _line(reader)).partition(";")[0].strip()
        try:
            size = int(size_text, 16)
        except ValueError:
            raise BadReply("the server's answer has a chunk without a size") from None
        if size == 0:
            while await _line(reader):
                pass
            return
        while size > 0:
            part = await reader.read(min(size, _READ_BYTES))
            if not part:
                raise BadReply("the server ended its answer too early")
            size -= len(part)
            yield part
        await _line(reader)


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")
