"""The frame.

How the platform and a worker talk, shared by both ends. The protocol is described in docs/reference/frames.md.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple, Union

orjson: Any
try:
    import orjson
except ImportError:  # an environment of the user's need not have it
    orjson = None

PROTOCOL = 1
MAX_HEADER_BYTES = 1024 * 1024
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024

_LENGTHS = struct.Struct(">II")
_SMALL_BYTES = 4096
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

Payload = Union[bytes, bytearray, memoryview]


class FrameError(Exception):
    """The other side sent something that is not a frame. The connection cannot be used any further."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Frame:
    """One message: a JSON object that says what it is, and raw bytes that it is about."""

    header: Dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    @property
    def id(self) -> Any:
        return self.header.get("id")

    @property
    def ok(self) -> bool:
        return self.header.get("ok") is True

    @property
    def more(self) -> bool:
        return self.header.get("more") is True

    def json(self) -> Any:
        """The payload read as JSON. Raises ValueError when it is not."""
        return json.loads(self.payload)


def encode_head(header: Dict[str, Any], payload_length: int) -> bytes:
    """Everything of a frame but its payload, for senders that hand the payload to the socket without copying it."""
    head = _encode_header(header)
    if len(head) > MAX_HEADER_BYTES:
        raise FrameError(
            "header_too_large", f"A frame header may hold {MAX_HEADER_BYTES} bytes; this one is {len(head)}."
        )
    if payload_length > 0xFFFFFFFF:
        raise FrameError("payload_too_large", f"A frame payload may hold 4 GiB; this one is {payload_length} bytes.")
    return _LENGTHS.pack(len(head), payload_length) + head


def _encode_header(header: Dict[str, Any]) -> bytes:
    if orjson is not None:
        try:
            head: bytes = orjson.dumps(header)
            return head
        except TypeError:  # huge integers, half a surrogate pair: what only the other can write
            pass
    return _ENCODER.encode(header).encode("utf-8", "backslashreplace")


def encode(header: Dict[str, Any], payload: Payload = b"") -> bytes:
    """One frame as bytes, ready to be sent."""
    return encode_head(header, len(payload)) + bytes(payload)


class Decoder:
    """Cuts a byte stream into frames, whatever the pieces it arrives in.

    `feed` answers the frames that are complete and keeps the rest. It raises FrameError at the first byte that cannot
    belong to a frame, after which the decoder must not be fed again.
    """

    def __init__(self, *, max_payload: int = MAX_PAYLOAD_BYTES, max_header: int = MAX_HEADER_BYTES) -> None:
        self._max_payload = max_payload
        self._max_header = max_header
        self._buffer = bytearray()  # of a frame whose header has not ended
        self._header: Optional[Dict[str, Any]] = None  # of a frame whose payload has not ended
        self._pieces: List[Union[bytes, bytearray]] = []  # of that payload, which is put together once
        self._missing = 0

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame held so far, without a header that has been read."""
        return len(self._buffer) + sum(map(len, self._pieces))

    def feed(self, data: Payload) -> List[Frame]:
        if self._header is not None and _SMALL_BYTES <= len(data) < self._missing and type(data) is bytes:
            self._missing -= len(data)
            self._pieces.append(data)  # as it is
            return []
        with memoryview(data) as view:
            if self._header is None:
                return self._begun(view)
            taken = min(self._missing, len(view))
            self._keep(view[:taken])
            if self._missing:
                return []
            frame = Frame(self._header, b"".join(self._pieces))
            self._header, self._pieces = None, []
            return [frame, *self._begun(view[taken:])]

    def _begun(self, view: memoryview) -> List[Frame]:
        """The frames that begin here, and what is held of the one before, which has not got past its header."""
        if not self._buffer:  # most often whole frames, which need no buffer
            frames, end = self._cut(view)
            self._buffer += view[end:]
            return frames
        self._buffer += view
        with memoryview(self._buffer) as held:
            frames, end = self._cut(held)
        del self._buffer[:end]
        return frames

    def _keep(self, view: memoryview) -> None:
        self._missing -= len(view)
        last = self._pieces[-1] if self._pieces else b""
        if isinstance(last, bytearray) and len(last) < _SMALL_BYTES:
            last += view
        else:
            self._pieces.append(bytearray(view) if len(view) < _SMALL_BYTES else bytes(view))

    def _cut(self, view: memoryview) -> Tuple[List[Frame], int]:
        """The complete frames at the beginning, and where they end, with what is kept of the next one's payload."""
        frames: List[Frame] = []
        start, there = 0, len(view)
        while there - start >= _LENGTHS.size:
            header_length, payload_length = self._lengths(view, start)
            body = start + _LENGTHS.size
            payload = body + header_length
            if there < payload:
                break
            header = _decode_header(bytes(view[body:payload]))
            end = payload + payload_length
            if there < end:
                self._header, self._missing = header, payload_length
                self._keep(view[payload:])
                return frames, there
            frames.append(Frame(header, bytes(view[payload:end])))
            start = end
        return frames, start

    def _lengths(self, view: memoryview, start: int) -> Tuple[int, int]:
        header_length, payload_length = _LENGTHS.unpack_from(view, start)
        if header_length > self._max_header:
            message = f"A frame header may hold {self._max_header} bytes; {header_length} were announced."
            raise FrameError("header_too_large", message)
        if payload_length > self._max_payload:
            message = f"A frame payload may hold {self._max_payload} bytes; {payload_length} were announced."
            raise FrameError("payload_too_large", message)
        return header_length, payload_length


def _decode_header(raw: bytes) -> Dict[str, Any]:
    try:
        header = _loads(raw)
    except (ValueError, RecursionError) as error:
        raise FrameError("bad_header", f"A frame header must be JSON in UTF-8: {error}.") from None
    if not isinstance(header, dict):
        raise FrameError("bad_header", "A frame header must be a JSON object.")
    return header


def _loads(raw: bytes) -> Any:
    if orjson is not None:
        try:
            return orjson.loads(raw)
        except ValueError:  # NaN, or bytes that only the other takes
            pass
    return json.loads(raw)


@dataclass(frozen=True)
class Address:
    """Where a worker listens: `unix:PATH` or `tcp:HOST:PORT`."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.is_unix else f"tcp:{self.host}:{self.port}"

    def connect(self, timeout_seconds: float | None) -> socket.socket:
        """A connected blocking socket. Raises OSError when nobody listens there."""
        if not self.is_unix:
            connection = socket.create_connection((self.host, self.port), timeout_seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_seconds)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def parse_address(text: str) -> Address:
    """Reads `unix:PATH` or `tcp:HOST:PORT`. Raises ValueError for anything else."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest:
        return Address(path=rest)
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isdigit() and int(port) < 65536:
        return Address(host=host.strip("[]"), port=int(port))
    raise ValueError(f"A worker's address is unix:PATH or tcp:HOST:PORT, not {text!r}.")
