"""The api, called in process: no sockets, no threads that outlive a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from tenfold_platform.app import assemble, make_services
from tenfold_platform.auth.cookies import cookie_name
from tenfold_platform.auth.tables import UserTable
from tenfold_platform.clock import Clock
from tenfold_platform.settings import Settings


class InProcess(httpx.BaseTransport):
    """A synchronous client's way to an ASGI application that runs in another thread's event loop."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop, address: str = "127.0.0.1") -> None:
        self._inner = httpx.ASGITransport(app=app, client=(address, 1234), raise_app_exceptions=True)
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(self._answer(request), self._loop).result(timeout=60)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        body = request.stream if isinstance(request.stream, httpx.AsyncByteStream) else _Chunks(list(request.stream))
        answer = await self._inner.handle_async_request(
            httpx.Request(
                request.method, request.url, headers=request.headers, stream=body, extensions=request.extensions
            )
        )
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        content = b"".join([chunk async for chunk in answer.stream])
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


class _Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        for chunk in self._chunks:
            yield chunk


@pytest.fixture(scope="session")
def app_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Where applications under test run."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="app under test")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def assembled() -> FastAPI:
    """The application without its services: all its routes take a while to put together."""
    return assemble()


@pytest.fixture
def app(assembled: FastAPI, settings: Settings, engine: Engine, clock: Clock) -> Iterator[FastAPI]:
    services = make_services(settings, clock=clock, engine=engine)
    assembled.state.services = services
    yield assembled
    services.close()


@pytest.fixture
def call(
    app: FastAPI, settings: Settings, app_loop: asyncio.AbstractEventLoop
) -> Iterator[Callable[..., httpx.Client]]:
    """Makes clients of the application: `call()`, `call(address="10.0.0.1")`, `call(app=another)`."""
    clients: list[httpx.Client] = []

    def make(*, headers: dict[str, str] | None = None, address: str = "127.0.0.1", app: Any = app) -> httpx.Client:
        client = httpx.Client(
            transport=InProcess(app, app_loop, address), base_url=settings.console_url, headers=headers or {}
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(call: Callable[..., httpx.Client]) -> httpx.Client:
    """Nobody in particular."""
    return call()


@pytest.fixture
def as_user(
    call: Callable[..., httpx.Client], settings: Settings, make_session: Callable[[UserTable], str]
) -> Callable[[UserTable], httpx.Client]:
    """A browser in which that user is signed in to the console."""

    def make(user: UserTable) -> httpx.Client:
        cookie = f"{cookie_name(settings)}={make_session(user)}"
        return call(headers={"Cookie": cookie, "Origin": settings.console_url})

    return make


@pytest.fixture
def as_key(call: Callable[..., httpx.Client]) -> Callable[[str], httpx.Client]:
    """A program with that key (its text)."""

    def make(key: str) -> httpx.Client:
        return call(headers={"Authorization": f"Bearer {key}"})

    return make
