"""uvicorn's httptools protocol with the limits it leaves out: slow and large headers, long pipelines, unread uploads.

uvicorn starts its clock only after a first response. Here every connection has a time by which a request's headers must
have come, and a size they must not pass; bodies are the application's to time (see `http.Request.body`).

Websockets are uvicorn's as well, without compression: a small message could become a very large one.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn, Protocol

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request as Handshake

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_PIPELINED = 64
UNREAD_BODY_SECONDS = 2.0
UNSENT_SECONDS = 60
KEEP_ALIVE_SECONDS = 75
MAX_CONNECTIONS = 4096
BACKLOG = 2048
JOINED_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
PING_SECONDS = 20.0
UNREAD_SECONDS = 600.0  # for which a websocket's messages may wait for its model


class _NobodyWaits:
    def set(self) -> None:
        """Nothing waits for it."""


_NOBODY_WAITS = _NobodyWaits()


class ShortCycle(ABC):
    """A request that goes no way through ASGI, as the connection and uvicorn see it: like one of uvicorn's cycles.

    Whoever takes it answers it with `BoundedProtocol.answer`, or gives it back with `BoundedProtocol.go_long_way`.
    """

    known: Head
    parts: list[bytes]  # of the body
    keep_alive = True
    more_body = True
    response_started = response_complete = disconnected = False
    message_event = _NOBODY_WAITS

    def body(self) -> bytes:
        parts = self.parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @abstractmethod
    def begin(self) -> None:
        """All of the body is there."""

    @abstractmethod
    def lost(self) -> None:
        """Nobody is there to be answered any more."""


class Shortcut(Protocol):
    """Who may take a POST before ASGI does."""

    def admit(
        self, connection: BoundedProtocol, url: bytes, headers: list[tuple[bytes, bytes]]
    ) -> ShortCycle | None: ...


class Head(Protocol):
    """A request's head that can be told again."""

    url: bytes
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool

    def learn(self, data: bytes) -> bool: ...

    def begin_again(self, connection: BoundedProtocol, data: bytes) -> ShortCycle | None: ...


class BoundedProtocol(HttpToolsProtocol):
    """One client connection.

    Requests are answered in order, each with its own answer. Where a request begins is never guessed: after anything
    that cannot be read nothing further is, and the connection ends behind the answers that are still due.
    """

    header_seconds = HEADER_SECONDS

    def __init__(self, *args: Any, shortcut: Shortcut | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shortcut = shortcut
        self._short: ShortCycle | None = None  # whose body is coming
        self._admitted: ShortCycle | None = None  # of the data that is being read
        self._known: Head | None = None  # of the newest, if nothing was in that data but the request
        self._reading_headers = True
        self._header_bytes = 0
        self._header_count = 0
        self._unseen_bytes = 0  # received since something whole was read: half a header, the framing of a body
        self._once: set[bytes] = set()  # headers seen of those that may come once
        self._refusal = 400  # what to answer should this request be no good; 0: nothing
        self._is_upgrade = False  # it asks to go on in another protocol
        self._is_deaf = False  # nothing that comes matters any more
        self._is_leaving = False  # nothing more is sent
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._is_idle = True  # nothing has come since the last answer, and nothing of what came before is missing
        self._answering: RequestResponseCycle | ShortCycle | None = None
        self._body_complete = True
        self._idle_since: float | None = None
        self._response: _OneWrite | None = None
        self._on_lost: Callable[[], None] | None = None

    @property
    def body_arrived(self) -> bool:
        """Whether all of the body of the request being answered is there, so that reading it waits for nobody."""
        return self._answering is not None and not self._answering.more_body

    def watch(self, on_lost: Callable[[], None] | None) -> None:
        """Calls `on_lost` should the connection end from now on; None when that no longer matters."""
        self._on_lost = on_lost
        if on_lost is None:
            return
        if self._answering is not None and self._answering.disconnected:
            self.loop.call_soon(self._tell_lost)
        else:
            self.flow.resume_reading()  # a connection that is not read does not end

    def leave(self) -> None:
        """Ends the connection after what was written. To close it while the client still sends would be to reset it,
        and a reset takes back what the client has not read yet: so it is read for a moment longer.
        """
        if self._is_leaving or self.transport.is_closing():
            return
        self._stop_header_timer()
        self._stop_unread_timer()
        self.pipeline.clear()
        self._is_deaf = self._is_leaving = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._unread_timer = self.loop.call_later(UNREAD_BODY_SECONDS, self.transport.close)

    def answer(self, cycle: ShortCycle, *data: bytes) -> None:
        """A whole answer to the request that is being answered."""
        cycle.response_started = cycle.response_complete = True
        cycle.parts.clear()  # the connection remembers its newest request, for as long as it is idle
        self._on_lost = None
        for part in data:
            self.transport.write(part)
        if not cycle.keep_alive:
            self.leave()
        self.on_response_complete()

    def default_lines(self) -> bytes:
        """The headers that every answer has. The list of them is another every second."""
        headers, (known, lines) = self.server_state.default_headers, _default_lines[0]
        if headers is not known:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            _default_lines[0] = headers, lines
        return lines

    def go_long_way(self, cycle: ShortCycle, app: Any = None) -> None:
        """From here on the request is ASGI's, as if it had always been, with as much of its body as is there.

        `app` takes it instead of the application.
        """
        if self._short is cycle:
            self._short = None
        self._on_lost = None
        url, headers, body = cycle.known.url, cycle.known.headers, cycle.body()
        if not cycle.more_body:  # the headers may be those of another request, which was as long as it was
            length = (b"content-length", b"%d" % len(body))
            headers = [length if header[0] == b"content-length" else header for header in headers]
        scope = _scope_of(self, headers)
        scope |= {"method": "POST", "path": url.decode("ascii"), "raw_path": url, "query_string": b""}
        full = RequestResponseCycle(
            scope=scope,  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=cycle.keep_alive,
            on_response=self.on_response_complete,
        )
        full.body += body
        full.more_body = cycle.more_body
        full.message_event.set()
        if self.cycle is cycle:  # type: ignore[comparison-overlap]
            self.cycle = full
        self._start_asgi_task(full, app or self.app)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.header_seconds, self._headers_too_slow)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_SECONDS * 1000)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_unread_timer()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        self._tell_lost()
        # uvicorn tells only the newest request. With a pipeline behind it, the one being answered would never know.
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        was_idle, self._is_idle = self._is_idle, False
        if was_idle and self._known is not None and self._begins_again(self._known, data):
            return
        self._unseen_bytes += len(data)
        self._admitted = None
        self._feed(data)
        if was_idle and self._admitted is not None:
            known = self._admitted.known
            known.keep_alive = self._admitted.keep_alive
            self._known = known if known.learn(data) else None
        if self._unseen_bytes > MAX_HEADER_BYTES:
            if not self._is_deaf and not self.transport.is_closing():
                self._refusal = 431
                self.send_400_response("The headers are too large.")
        elif self._header_bytes or self._unseen_bytes:
            self._time_headers()

    def on_message_begin(self) -> None:
        """As uvicorn's, but for the scope, which most requests never need."""
        self._is_idle = False
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._reading_headers = True
        self._header_bytes = self._header_count = self._unseen_bytes = 0
        self._refusal = 400
        self._once.clear()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._header_bytes += len(url)
        self._unseen_bytes = 0
        if self._header_bytes > 2 * MAX_HEADER_BYTES:
            self._refuse_with(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """All that uvicorn's does, and the limits: this is done for every header.

        Trailers are headers to the parser. They come when the request is under way, and change nothing about it.
        """
        self._header_count += 1
        self._header_bytes += len(name) + len(value)
        self._unseen_bytes = 0
        if self._header_bytes > 2 * MAX_HEADER_BYTES or self._header_count > MAX_HEADERS:
            self._refuse_with(431)
        if self._reading_headers:
            name = name.lower()
            self.headers.append((name, value))
            if name in _ONCE:
                self._note_once(name, value.strip(b" \t").lower())

    def on_headers_complete(self) -> None:
        self._stop_header_timer()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refuse_with(0)
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse_with(505)
        if version == "1.0":
            self.expect_100_continue = False
        elif b"host" not in self._once:
            raise _Refused
        self._is_upgrade = self.parser.should_upgrade()
        if self._is_upgrade and self.parser.get_method() == b"CONNECT":
            self._refuse_with(501)
        if not self._is_upgrade:
            if not (version == "1.1" and self._takes_shortcut()):
                self.scope = _scope_of(self, self.headers)  # type: ignore[assignment]
                super().on_headers_complete()
            self._body_complete = False
        elif self._should_upgrade():
            self.scope = _scope_of(self, self.headers)  # type: ignore[assignment]
            super().on_headers_complete()
        self._reading_headers = False
        self._header_bytes = self._unseen_bytes = 0

    def on_chunk_header(self) -> None:
        self._unseen_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._unseen_bytes = 0
        if self._short is not None:
            self._short.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        super().on_message_complete()
        self._body_complete = self._reading_headers = True
        self._header_bytes = self._unseen_bytes = 0
        self._stop_unread_timer()
        if self.cycle is None:
            return
        if not self.parser.should_keep_alive():  # a trailer can say so: the parser reads nothing behind it
            self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self._wait_for_next()
        if self._short is not None:
            short, self._short = self._short, None
            short.begin()

    def on_response_complete(self) -> None:
        """A client that goes on uploading after its answer gets a moment to read that answer, and no more."""
        if self._response is not None:
            self._response.flush()
        self.server_state.total_requests += 1
        if self._is_leaving or self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._wait_idle()
        if not self._body_complete:
            self._unread_timer = self.loop.call_later(UNREAD_BODY_SECONDS, self.transport.close)
        elif self._header_bytes or self._unseen_bytes:
            self._time_headers()
        else:
            self._is_idle = True

    def timeout_keep_alive_handler(self) -> None:
        """The timer of a connection, which is not set anew for every answer: it looks how long nothing has come."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        """Only on a connection that owes no answer, and while there is room."""
        if self._owes_answer:
            self.send_400_response("A websocket cannot begin in the middle of an answer.")
        elif len(self.connections) >= (self.limit_concurrency or MAX_CONNECTIONS):
            self._refuse(503)
        else:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """What came cannot be read. What was asked before is good, and keeps its answer."""
        cycle, status = self.cycle, self._refusal
        self._is_deaf = True
        if not status:
            self.transport.close()
        elif cycle is None or (cycle.response_complete and self._body_complete):
            self._refuse(status, msg)
        elif cycle.response_complete:  # the body of a request that has its answer already
            self.leave()
        elif self._body_complete:  # the last good one has its answer coming
            cycle.keep_alive = False
            self.flow.pause_reading()
        elif cycle is not self._answering:  # its own body is no good, and its turn to be told so is to come
            cycle.keep_alive = False
            self.pipeline[0] = (cycle, _unreadable)
            self.flow.pause_reading()
        elif not cycle.response_started:
            cycle.disconnected = True  # so that nothing else answers
            cycle.message_event.set()
            self._refuse(status, msg)
            self._tell_lost()
        else:
            self.transport.close()

    def _feed(self, data: bytes) -> None:
        """As uvicorn's `data_received`, but for requests to go on in another protocol than websockets.

        The parser takes what follows such a request's head for that other protocol, its body too. As nobody answers in
        it, the request is read again without the wish.
        """
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                data = self._without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
            else:
                return

    def _without_upgrade(self) -> bytes:
        """The request's head as if it had not asked to go on in another protocol."""
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        said = [token.strip().lower() for name, value in self.headers if name == b"connection"
                for token in value.split(b",")]  # fmt: skip
        kept = [b"%s: %s\r\n" % pair for pair in self.headers if pair[0] not in (b"connection", b"upgrade")]
        kept += [b"connection: %s\r\n" % token for token in (b"close", b"keep-alive") if token in said]
        return b"".join([line, *kept, b"\r\n"])

    def _takes_shortcut(self) -> bool:
        if (
            self._shortcut is None
            or self.expect_100_continue
            or self._owes_answer
            or self.flow.write_paused  # its last answers are still to be read
            or self.parser.get_method() != b"POST"
            or len(self.connections) >= (self.limit_concurrency or MAX_CONNECTIONS)
        ):
            return False
        short = self._shortcut.admit(self, self.url, self.headers)
        if short is None:
            return False
        short.keep_alive = self.parser.should_keep_alive()
        self.cycle = short  # type: ignore[assignment]  # duck-typed
        self._short = self._admitted = self._answering = short
        self._on_lost = short.lost
        return True

    def _begins_again(self, known: Head, data: bytes) -> bool:
        """Begins a request that the parser need not read: it has read one with the same head."""
        if self.flow.write_paused or len(self.connections) >= (self.limit_concurrency or MAX_CONNECTIONS):
            return False
        short = known.begin_again(self, data)
        if short is None:
            return False
        self._idle_since = None
        if self._header_timer is not None:
            self._stop_header_timer()
        self.cycle = self._answering = short  # type: ignore[assignment]  # duck-typed
        self._on_lost = short.lost
        short.begin()
        return True

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _wait_idle(self) -> None:
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    @property
    def _owes_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        self._response = cycle.transport = _OneWrite(self, cycle)  # type: ignore[assignment]  # duck-typed
        cycle.scope["tenfold.connection"] = self  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

    def _tell_lost(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def _note_once(self, name: bytes, value: bytes) -> None:
        if name in self._once or (name == b"transfer-encoding" and value != b"chunked"):
            raise _Refused
        self._once.add(name)
        if name == b"expect" and value == b"100-continue":
            self.expect_100_continue = True

    def _refuse_with(self, status: int) -> NoReturn:
        self._refusal = status
        raise _Refused

    def _time_headers(self) -> None:
        """Should the next request's head have begun, and no answer be due that it could wait for."""
        has_begun = self._reading_headers and (self._header_bytes or self._unseen_bytes)
        is_ours = not (self._is_deaf or self._owes_answer or self.transport.is_closing())
        if has_begun and is_ours and self._header_timer is None:
            self._unset_keepalive_if_required()
            self._header_timer = self.loop.call_later(self.header_seconds, self._headers_too_slow)

    def _wait_for_next(self) -> None:
        """The rest of a body has come whose request was answered before: the connection may serve another."""
        if not self.cycle.keep_alive:
            self.leave()
        elif not self.transport.is_closing():
            self._wait_idle()

    def _headers_too_slow(self) -> None:
        self._header_timer = None
        if self._header_bytes or self._unseen_bytes:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str = "") -> None:
        """The last answer of this connection, which owes no other."""
        if self.transport.is_closing() or self._is_leaving:
            return
        self._is_deaf = True
        head = b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
        text = message.encode("ascii")
        self.transport.write(head % (status, _REASONS[status]) + b"content-length: %d\r\n\r\n" % len(text) + text)
        self.leave()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


def _scope_of(connection: BoundedProtocol, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """As uvicorn begins one. What follows from the request's line is added when that is read."""
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "http_version": "1.1",
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "root_path": connection.root_path,
        "headers": headers,
        "state": connection.app_state.copy(),
    }


_default_lines: list[tuple[list[tuple[bytes, bytes]], bytes]] = [([], b"")]


class _OneWrite:
    """A response's transport that keeps its head back until the body comes, so that both leave in one write.

    uvloop sends each write at once: two would be two system calls, and wake the client for half an answer.
    """

    __slots__ = ("_connection", "_cycle", "_head", "_is_begun", "_transport")

    def __init__(self, connection: BoundedProtocol, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._cycle = cycle
        self._head = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:
        if not self._is_begun and self._cycle.response_started:
            self._is_begun = True
            self._head = data
        elif self._head and len(data) <= JOINED_BYTES:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self.flush()
            self._transport.write(data)

    def flush(self) -> None:
        """Sends a head that has no body: the answer to HEAD."""
        head, self._head = self._head, b""
        if head:
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        if self._cycle.response_complete:
            self._connection.leave()
        else:  # broken off, which must be seen
            self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class _Refused(Exception):
    """Raised inside the parser's callbacks to stop it."""


async def _unreadable(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers a request whose body cannot be read."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


# Of these a second one could mean something else to whoever passed the request on to us.
_ONCE = frozenset(
    {b"host", b"transfer-encoding", b"content-type", b"content-encoding", b"expect", b"inference-header-content-length"}
)

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A client connection that became a websocket."""

    body_arrived = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_lost: Callable[[], None] | None = None
        self._heard_at = self.loop.time()

    def watch(self, on_lost: Callable[[], None] | None) -> None:
        """As `BoundedProtocol.watch`."""
        self._on_lost = on_lost
        if on_lost is not None and self.disconnected:
            self.loop.call_soon(self._tell_lost)

    def ping_every(self, interval_seconds: float | None, timeout_seconds: float | None) -> None:
        """To be said before the handshake is answered. None leaves what is."""
        self.ping_interval = interval_seconds or self.ping_interval
        self.ping_timeout = timeout_seconds or self.ping_timeout

    def keepalive_timeout(self) -> None:
        """The pong of a client that is there may lie behind messages that the model has not taken yet."""
        bound = UNREAD_SECONDS if self.read_paused else self.ping_timeout
        if bound is not None and self.loop.time() - self._heard_at < bound:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def abort(self) -> None:
        """Ends a connection that cannot be ended with words: its client does not read."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._tell_lost()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        super().data_received(data)
        # uvicorn waits on when the handshake cannot be read: a line that is longer than websockets allows
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_connect(self, event: Handshake) -> None:
        super().handle_connect(event)
        if not self.handshake_complete:
            self.scope["tenfold.connection"] = self  # type: ignore[typeddict-unknown-key]

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # with a refusal, which uvicorn would take for no answer at all

    def _tell_lost(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()


class Server(uvicorn.Server):
    """uvicorn's server, ended by SIGTERM or SIGINT with exit status 0 instead of by raising the signal again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.handle_exit, number, None)
        except (RuntimeError, ValueError):  # not the main thread: whoever started us ends us
            yield
            return
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def make_server(
    app: Any,
    *,
    shortcut: Shortcut | None = None,
    drain_seconds: int = 10,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Server:
    return Server(
        uvicorn.Config(
            app,
            http=partial(BoundedProtocol, shortcut=shortcut),  # type: ignore[arg-type]
            ws=BoundedWebSocket,
            ws_max_size=max_message_bytes,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=drain_seconds,
            backlog=BACKLOG,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound
