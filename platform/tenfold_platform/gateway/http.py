"""Requests and responses on bare ASGI: reading bodies within limits, noticing that the client has gone, answering."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes
from uuid import UUID

import orjson

from tenfold_platform.errors import InvalidInput, PlatformError, TooLarge
from tenfold_platform.gateway.faults import ClientGone
from tenfold_platform.gateway.snapshot import Shadow

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
ErrorResponse = Callable[[PlatformError, str], tuple[int, list[Header], bytes]]  # of an error and the request's id

BODY_GRACE_SECONDS = 20.0
BODY_LEAST_BYTES_PER_SECOND = 32 * 1024
MAX_JSON_DEPTH = 100
MAX_PATH_SEGMENTS = 16
SEND_SECONDS = 60.0

WEBSOCKET = "WEBSOCKET"
WITHOUT_BODY = (204, 304)  # statuses after whose head the next answer begins

_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{7,127}\Z")

JSON_TYPE = (b"content-type", b"application/json")

# Whatever a model or an app answers is data: no browser may take it for a page of this origin.
API_HEADERS: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cache-control", b"no-store"),
]


class Connection(Protocol):
    """What the server tells of a request's connection, beside what ASGI does."""

    @property
    def body_arrived(self) -> bool: ...

    def watch(self, on_lost: Callable[[], None] | None) -> None: ...


class RequestTimeout(PlatformError):
    status, code = 408, "request_timeout"


class Request:
    """One request. `segments` is the path, cut at its slashes and decoded once; None when it is no path of ours.

    A websocket's handshake is one too, of the method WEBSOCKET.
    """

    __slots__ = (
        "_headers",
        "_receive",
        "_send",
        "began",
        "error_response",
        "id",
        "kind",
        "method",
        "origin",
        "scope",
        "segments",
        "shadow",
        "status",
        "target",
        "version_id",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.method: str = scope.get("method", WEBSOCKET)
        self.began = time.perf_counter()
        self.segments = split_path(scope["raw_path"])
        self.status: int | None = None  # once the response has begun
        self.kind = "other"  # of route, for metrics
        self.target = ""  # what it is about, for metrics
        self.shadow: Shadow | None = None  # of the alias that it called
        self.version_id: UUID | None = None  # the model version it called, for that version's traffic
        self.error_response: ErrorResponse = error_response
        self._receive = receive
        self._send = send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.id = (request_id(self._headers.get(b"x-request-id")) or new_id()).decode()
        self.origin: str | None = None  # the console's, once CORS has allowed it

    def header(self, name: bytes) -> str | None:
        """The (last) header of that name, in lower case."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def header_bytes(self, name: bytes) -> bytes | None:
        return self._headers.get(name)

    def headers_named(self, name: bytes) -> list[str]:
        return [value.decode("latin-1") for key, value in self.scope["headers"] if key == name]

    async def body(self, limit: int) -> bytes:
        """All of the body. Raises TooLarge, RequestTimeout, or ClientGone."""
        announced = self._headers.get(b"content-length")
        if announced is not None and int(announced) > limit:
            raise too_large(limit)
        first = await self._part(BODY_GRACE_SECONDS)
        if not first.get("more_body"):
            return _whole(first.get("body", b""), limit)
        return await self._rest(first.get("body", b""), limit)

    @property
    def connection(self) -> Connection:
        connection: Connection = self.scope["tenfold.connection"]
        return connection

    async def respond(self, status: int, headers: Iterable[Header], body: bytes = b"") -> None:
        """A whole response. Of 204 and 304 neither body nor length is sent, whatever is given."""
        if status in WITHOUT_BODY:
            body = b""
            await self.start(status, [*headers])
        else:
            await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: list[Header]) -> None:
        """Begins a response whose length is not known, or given by the headers."""
        self.status = status
        headers.append((b"x-request-id", self.id.encode()))
        if b"expect" in self._headers and not self.connection.body_arrived:
            headers.append((b"connection", b"close"))  # nobody knows whether the body will come now
        if self.origin is not None:
            headers += _cors_headers(self.origin)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send_part(self, body: bytes, *, more: bool) -> None:
        """Waits while the client is slow to read. Raises ClientGone when it does not read at all."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            raise ClientGone from None

    async def _rest(self, first: bytes, limit: int) -> bytes:
        parts = [_whole(first, limit)]
        received = len(first)
        began = time.monotonic()
        more = True
        while more:
            allowed = BODY_GRACE_SECONDS + received / BODY_LEAST_BYTES_PER_SECOND
            message = await self._part(began + allowed - time.monotonic())
            part = message.get("body", b"")
            received += len(part)
            if received > limit:
                raise too_large(limit)
            parts.append(part)
            more = bool(message.get("more_body"))
        return b"".join(parts)

    async def _part(self, seconds: float) -> Message:
        """What has arrived of the body, or what comes within that time."""
        if self.connection.body_arrived:
            return _not_gone(await self._receive())
        try:
            async with asyncio.timeout(max(seconds, 0)):
                message = await self._receive()
        except TimeoutError:
            hint = f"Send at least {BODY_LEAST_BYTES_PER_SECOND // 1024} KiB a second."
            raise RequestTimeout("The request's body came too slowly.", hint=hint) from None
        return _not_gone(message)


class WhileConnected:
    """Cancels what runs inside when the client goes away, and raises ClientGone instead."""

    __slots__ = ("_connection", "_gone", "_task")

    def __init__(self, request: Request) -> None:
        self._connection = request.connection
        self._gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._connection.watch(self._lost)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.watch(None)
        if self._gone:
            self._task.uncancel()
            if kind is None or issubclass(kind, asyncio.CancelledError):
                raise ClientGone from None

    def _lost(self) -> None:
        self._gone = True
        self._task.cancel()


def as_seen_by_models(request: Request, path: str) -> dict[str, Any]:
    """The request as user code may see it: at the model server's path, without credentials and what is the hop's."""
    scope = request.scope
    method = "GET" if request.method == WEBSOCKET else request.method
    return seen_by_models(method, path, scope["query_string"], scope["headers"])


def seen_by_models(method: str, path: str, query: bytes, headers: list[Header]) -> dict[str, Any]:
    """As `as_seen_by_models`."""
    names = _names
    return {
        "method": method,
        "path": path,
        "query": query.decode("latin-1"),
        "headers": [(name, value.decode("latin-1")) for raw, value in headers if (name := names[raw]) is not None],
    }


class _Names(dict[bytes, str | None]):
    """Header names as models see them, None for those they do not. Remembered: this is done for every header."""

    def __missing__(self, raw: bytes) -> str | None:
        name = None if raw in _NOT_FOR_MODELS or raw.startswith(b"proxy-") else raw.decode("latin-1")
        if len(self) < _MAX_NAMES:
            self[raw] = name
        return name


_NOT_FOR_MODELS = frozenset(
    {
        b"authorization", b"x-api-key", b"cookie", b"x-forwarded-access-token", b"sec-websocket-protocol",
        b"x-tenfold-shadow",  # the platform's own word
        b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
_MAX_NAMES = 500
_names = _Names()


def split_path(raw: bytes) -> tuple[str, ...] | None:
    """`/a/b%20c` as ("a", "b c"). None for what has empty, dotted or otherwise tricky segments: nothing lives there."""
    if raw[:1] != b"/":
        return None
    parts = raw[1:].split(b"/")
    if parts == [b""]:
        return ()
    if len(parts) > MAX_PATH_SEGMENTS:
        return None
    if b"%" in raw:
        parts = [unquote_to_bytes(part) for part in parts]
    try:
        segments = tuple(part.decode("utf-8") for part in parts)
    except UnicodeDecodeError:
        return None
    for segment in segments:
        if segment in ("", ".", "..") or "/" in segment or "\\" in segment or not segment.isprintable():
            return None
    return segments


def read_json(body: bytes) -> Any:
    """Strict JSON, not nested beyond reason. Raises InvalidInput."""
    if body.count(b"[") + body.count(b"{") > MAX_JSON_DEPTH and _depth(body) > MAX_JSON_DEPTH:
        raise InvalidInput(f"The body is nested deeper than {MAX_JSON_DEPTH} levels.", code="bad_input")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "Send JSON in UTF-8, and the header Content-Type: application/json."
        raise InvalidInput(f"The body is not JSON: {error}", code="bad_input", hint=hint) from None


def write_json(value: Any) -> bytes:
    """JSON of anything JSON-like. Numbers that orjson cannot write (beyond 64 bits) go the slow way."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str).encode("utf-8", "replace")


def error_response(error: PlatformError, request_id: str) -> tuple[int, list[Header], bytes]:
    headers = [JSON_TYPE, *API_HEADERS, *((k.lower().encode(), v.encode()) for k, v in error.headers.items())]
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="tenfold"'))
    return error.status, headers, write_json(error.body(request_id))


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.", hint="The operator can raise TENFOLD_MAX_BODY_BYTES.")


def _cors_headers(origin: str) -> list[Header]:
    return [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


_EXPOSED = (
    b"Location, X-Tenfold-Version, X-Tenfold-Run, X-Tenfold-Warning, X-Request-Id, Server-Timing, Retry-After, "
    b"Inference-Header-Content-Length"
)


def new_id() -> bytes:
    """A request's id. This process has drawn the first half of it, and counts in the second."""
    return b"%b%016x" % (_PROCESS, next(_numbers))


def request_id(given: bytes | None) -> bytes | None:
    """The caller's own, when it looks like one: it ends up in logs and rows."""
    return given if given is not None and _REQUEST_ID.match(given) else None


_PROCESS = uuid.uuid4().hex[:16].encode()
_numbers = itertools.count(1)


def _not_gone(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _whole(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise too_large(limit)
    return body


_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def _depth(body: bytes) -> int:
    """How deep brackets nest outside of strings, whether or not the rest is JSON."""
    depth = deepest = 0
    for match in _TOKENS.finditer(body):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_JSON_DEPTH:
                break
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest
