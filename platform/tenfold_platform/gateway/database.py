"""PostgreSQL as the gateway uses it: one connection per purpose, opened when needed, thrown away when it fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row

PgConnection = psycopg.AsyncConnection[DictRow]


class Database:
    """One connection, used by one at a time. Whatever goes wrong with it closes it; the next use opens another."""

    def __init__(self, url: str, *, application_name: str, timeout_seconds: float = 10.0) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._application_name = application_name
        self._timeout_seconds = timeout_seconds
        self._connection: PgConnection | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[PgConnection]:
        """The connection, in autocommit. Raises psycopg.Error or TimeoutError when PostgreSQL does not answer."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    if self._connection is None or self._connection.closed:
                        self._connection = await self.open()
                    yield self._connection
            except BaseException:
                await self._drop()
                raise

    async def open(self, **options: Any) -> PgConnection:
        """A further connection, which is the caller's to close."""
        return await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=5,
            application_name=self._application_name,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            **options,
        )

    async def listen(self, query: LiteralString, heard: Callable[[str], None], *, retry_seconds: float) -> None:
        """Calls `heard` with the text of each notification, until cancelled.

        And with "" whenever listening has begun (again): nobody told what happened before.
        """
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._listen(query, heard)
            await asyncio.sleep(retry_seconds)

    async def close(self) -> None:
        async with self._lock:
            await self._drop()

    async def _listen(self, query: LiteralString, heard: Callable[[str], None]) -> None:
        connection = await self.open()
        try:
            await connection.execute(query)
            heard("")
            async for notification in connection.notifies():
                heard(notification.payload)
        finally:
            await connection.close()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
