"""How connections write, and how they learn that the other end has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn.server import ServerState

from tenfold_platform.gateway.faults import ClientGone
from tenfold_platform.gateway.http import Request, WhileConnected
from tenfold_platform.gateway.server import (
    JOINED_BYTES,
    PING_SECONDS,
    UNREAD_SECONDS,
    BoundedProtocol,
    BoundedWebSocket,
    make_server,
)
from tenfold_platform.gateway.wire import Connection

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Socket(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def connect(answer: Callable[[Request], Awaitable[None]]) -> tuple[BoundedProtocol, Socket]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(Request(scope, receive, send))

    config = make_server(app).config
    config.load()
    protocol, transport = BoundedProtocol(config=config, server_state=ServerState(), app_state={}), Socket()
    protocol.connection_made(transport)
    return protocol, transport


def written(request: bytes, answer: Callable[[Request], Awaitable[None]]) -> list[bytes]:
    async def run() -> list[bytes]:
        protocol, transport = await connect(answer)
        protocol.data_received(request)
        await asyncio.gather(*protocol.tasks)
        protocol.connection_lost(None)
        return transport.writes

    return asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, JOINED_BYTES])
def test_a_small_response_leaves_in_one_write(size: int) -> None:
    async def answer(request: Request) -> None:
        await request.respond(200, [], b"x" * size)

    (whole,) = written(GET, answer)
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"content-length: {size}".encode() in head
    assert body == b"x" * size


def test_a_large_body_is_not_copied_behind_its_head() -> None:
    body = b"x" * (JOINED_BYTES + 1)

    async def answer(request: Request) -> None:
        await request.respond(200, [], body)

    head, rest = written(GET, answer)
    assert head.endswith(b"\r\n\r\n")
    assert rest == body


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(GET.replace(b"GET", b"HEAD"), 200), (GET, 204), (GET, 304)],
    ids=["HEAD", "204", "304"],
)
def test_an_answer_without_a_body_is_sent(request_bytes: bytes, status: int) -> None:
    async def answer(request: Request) -> None:
        if status == 200:
            await request.respond(200, [], b"not for HEAD")
        else:
            await request.respond(status, [], b"not for these")

    (whole,) = written(request_bytes, answer)
    assert whole.startswith(b"HTTP/1.1 %d " % status)
    assert whole.endswith(b"\r\n\r\n")
    assert (b"content-length" in whole) is (status == 200)


def test_the_parts_of_a_stream_go_out_as_they_come() -> None:
    async def answer(request: Request) -> None:
        await request.start(200, [])
        for part in (b"one", b"two"):
            await request.send_part(part, more=True)
        await request.send_part(b"", more=False)

    first, second, last = written(GET, answer)
    assert first.endswith(b"\r\n\r\n3\r\none\r\n")
    assert (second, last) == (b"3\r\ntwo\r\n", b"0\r\n\r\n")


def test_two_requests_in_one_packet_are_answered_in_order() -> None:
    async def answer(request: Request) -> None:
        await request.respond(200, [], request.scope["raw_path"])

    async def run() -> list[bytes]:
        protocol, transport = await connect(answer)
        protocol.data_received(GET + GET.replace(b"/ ", b"/second "))
        for _ in range(2):
            await asyncio.gather(*protocol.tasks)
        protocol.connection_lost(None)
        return transport.writes

    first, second = asyncio.run(asyncio.wait_for(run(), 5))
    assert first.endswith(b"\r\n\r\n/")
    assert second.endswith(b"\r\n\r\n/second")


@pytest.mark.parametrize("early", [False, True])
def test_work_ends_when_the_connection_does(early: bool) -> None:
    """Also when it ended before anybody watched."""
    ends: list[str] = []

    async def answer(request: Request) -> None:
        try:
            async with WhileConnected(request):
                await asyncio.get_running_loop().create_future()
        except ClientGone:
            ends.append("gone")
        except asyncio.CancelledError:
            ends.append("cancelled")

    async def run() -> None:
        protocol, _ = await connect(answer)
        protocol.data_received(GET)
        tasks = list(protocol.tasks)
        if not early:
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.gather(*tasks)

    asyncio.run(asyncio.wait_for(run(), 5))
    assert ends == ["gone"]


def test_a_connection_that_ends_after_the_work_cancels_nothing() -> None:
    async def answer(request: Request) -> None:
        async with WhileConnected(request):
            pass
        await asyncio.sleep(0)
        await request.respond(200, [], b"done")

    async def run() -> list[bytes]:
        protocol, transport = await connect(answer)
        protocol.data_received(GET)
        tasks = list(protocol.tasks)
        await asyncio.gather(*tasks)
        protocol.connection_lost(None)
        return transport.writes

    assert asyncio.run(run())[0].endswith(b"done")


def test_of_two_that_wait_for_a_worker_to_read_one_can_be_cancelled() -> None:
    async def run() -> list[bytes]:
        connection, transport = Connection(lambda _: None), Socket()
        connection.connection_made(transport)
        exchange = connection.begin({"op": "websocket"}, b"", lambda _: None)
        connection.pause_writing()
        first, second = (asyncio.create_task(exchange.send({"op": "ws"}, body)) for body in (b"first", b"second"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        connection.resume_writing()
        await second
        return transport.writes

    _, sent = asyncio.run(asyncio.wait_for(run(), 5))
    assert sent.endswith(b"second")


class Clock:
    """An event loop in which it is always the same time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._loop = loop
        self._now = now

    def time(self) -> float:
        return self._now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class TestAClientThatOwesAPong:
    @pytest.fixture
    def after(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
        """Whether it is still connected after that many seconds of silence."""

        def is_connected_after(seconds: float, *, model_reads: bool) -> bool:
            return asyncio.run(asyncio.wait_for(ask(seconds, model_reads=model_reads), 5))

        async def ask(seconds: float, *, model_reads: bool) -> bool:
            began, ended = asyncio.Event(), asyncio.Event()

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await receive()
                await send({"type": "websocket.accept"})
                if model_reads:
                    await receive()
                began.set()
                await ended.wait()

            config = make_server(app).config
            config.load()
            protocol = BoundedWebSocket(config=config, server_state=ServerState(), app_state={})
            transport = Socket()
            protocol.connection_made(transport)
            protocol.data_received(UPGRADE)
            await asyncio.sleep(0)
            protocol.data_received(b"\x81\x80\x00\x00\x00\x00")  # an empty text
            await began.wait()
            protocol.send_keepalive_ping()
            monkeypatch.setattr(protocol, "loop", Clock(protocol.loop, protocol.loop.time() + seconds))
            protocol.keepalive_timeout()
            is_connected = not transport.is_closed
            protocol.connection_lost(None)
            ended.set()
            await asyncio.gather(*protocol.tasks)
            return is_connected

        return is_connected_after

    def test_is_gone_when_it_was_not_heard_of_since(self, after: Callable[..., bool]) -> None:
        assert after(PING_SECONDS / 2, model_reads=True)
        assert not after(PING_SECONDS * 2, model_reads=True)

    def test_may_have_sent_it_behind_what_the_model_does_not_read(self, after: Callable[..., bool]) -> None:
        assert after(PING_SECONDS * 2, model_reads=False)

    def test_is_not_waited_for_without_end(self, after: Callable[..., bool]) -> None:
        assert not after(UNREAD_SECONDS * 2, model_reads=False)
