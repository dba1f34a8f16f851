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
from collections.abc import Callable, Iterator
from typing import Any

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


class BoundedProtocol(HttpToolsProtocol):
    """One client connection."""

    header_seconds = HEADER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading_headers = True
        self._header_bytes = 0
        self._header_count = 0
        self._too_large = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._body_complete = True
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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.header_seconds, self._headers_too_slow)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_SECONDS * 1000)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_unread_timer()
        self._tell_lost()
        # uvicorn tells only the newest request. With a pipeline behind it, the one being answered would never know.
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._reading_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if not self._reading_headers or self.transport.is_closing():
            return
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(431)
        elif self._header_timer is None and self._header_bytes:
            self._header_timer = self.loop.call_later(self.header_seconds, self._headers_too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading_headers = True
        self._header_bytes = self._header_count = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_count += 1
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._reading_headers = False
        self._header_bytes = 0
        self._body_complete = False
        self._stop_header_timer()
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _Refused
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._body_complete = True
        self._stop_unread_timer()

    def on_response_complete(self) -> None:
        """A client that goes on uploading after its answer gets a moment to read that answer, and no more."""
        if self._response is not None:
            self._response.flush()
        super().on_response_complete()
        if not self._body_complete and not self.pipeline and not self.transport.is_closing():
            self._unread_timer = self.loop.call_later(UNREAD_BODY_SECONDS, self.transport.close)

    def handle_websocket_upgrade(self) -> None:
        """Only on a connection that owes no answer, and while there is room."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.send_400_response("A websocket cannot begin in the middle of an answer.")
        elif len(self.connections) >= (self.limit_concurrency or MAX_CONNECTIONS):
            self._refuse(503)
        else:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            self._refuse(431)
        elif self.cycle is None or self.cycle.response_complete:
            super().send_400_response(msg)
        elif self._body_complete:  # the request before is good, and has its answer coming
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        elif self._answering is self.cycle and not self.cycle.response_started:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        self._response = cycle.transport = _OneWrite(self.transport, cycle)  # type: ignore[assignment]  # duck-typed
        cycle.scope["tenfold.connection"] = self  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

    def _tell_lost(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > 2 * MAX_HEADER_BYTES or self._header_count > MAX_HEADERS:
            self._too_large = True
            raise _Refused

    def _headers_too_slow(self) -> None:
        self._header_timer = None
        if self._header_bytes:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Only between answers: a response that is under way is not written into."""
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                reason = _REASONS[status]
                self.transport.write(
                    b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % (status, reason)
                )
            self.transport.close()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


class _OneWrite:
    """A response's transport that keeps its head back until the body comes, so that both leave in one write.

    uvloop sends each write at once: two would be two system calls, and wake the client for half an answer.
    """

    __slots__ = ("_cycle", "_head", "_is_begun", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
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
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class _Refused(Exception):
    """Raised inside the parser's callbacks to stop it."""


_REASONS = {408: b"Request Timeout", 431: b"Request Header Fields Too Large", 503: b"Service Unavailable"}


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


def make_server(app: Any, *, drain_seconds: int = 10, max_message_bytes: int = MAX_MESSAGE_BYTES) -> Server:
    return Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
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
