"""Asks for replicas of what sleeps, on behalf of calls that are held until there is one."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

import psycopg

from tenfold_platform.gateway import queries
from tenfold_platform.gateway.database import Database


class Waker:
    """`wake` is all that lanes call; `run` carries the wishes to PostgreSQL at once, until it is cancelled.

    That one sleeps is known from a snapshot, which may be a moment old: waking what is awake changes nothing. What
    PostgreSQL does not take now is asked for again as long as somebody waits (`Lane.update`), and here.
    """

    def __init__(self, database: Database, *, retry_seconds: float = 0.5) -> None:
        self._database = database
        self._retry_seconds = retry_seconds
        self._wanted: set[UUID] = set()
        self._changed = asyncio.Event()

    def wake(self, deployment_id: UUID) -> None:
        self._wanted.add(deployment_id)
        self._changed.set()

    async def run(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            async with self._database.connection():
                pass  # the first call is not to wait until a connection is open
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted, self._wanted = self._wanted, set()
            try:
                async with self._database.connection() as connection:
                    await connection.execute(queries.WAKE_DEPLOYMENTS, [list(wanted)])
            except (psycopg.Error, OSError):  # the snapshot loader reports that PostgreSQL is away
                self._wanted |= wanted
                await asyncio.sleep(self._retry_seconds)
                self._changed.set()
