"""Tells PostgreSQL how many calls of each model wait and are under way here, for those who look at the installation.

Nothing is decided by it. What is not said again for a while counts as nothing: its gateway is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from typing import Any
from uuid import UUID

import orjson
import psycopg

from tenfold_platform.gateway import queries
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.pool import Pool

REPORT_SECONDS = 2.0


class LoadReport:
    """`run` reports until it is cancelled."""

    def __init__(self, database: Database, pool: Pool, *, report_seconds: float = REPORT_SECONDS) -> None:
        self._database = database
        self._pool = pool
        self._report_seconds = report_seconds
        self._gateway = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._told: set[UUID] = set()  # of these PostgreSQL thinks that there are calls

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._report_seconds)
            with contextlib.suppress(psycopg.Error, OSError):  # the snapshot loader reports that PostgreSQL is away
                await self.report()

    async def report(self) -> None:
        """How things are is in PostgreSQL when this returns. Raises psycopg.Error or OSError."""
        busy = {id: (waiting, in_flight) for id, waiting, in_flight in self._pool.loads() if waiting or in_flight}
        rows: list[dict[str, Any]] = [
            {"deployment_id": id, "waiting": waiting, "in_flight": in_flight}
            for id, (waiting, in_flight) in sorted((dict.fromkeys(self._told, (0, 0)) | busy).items())
        ]
        if rows:
            values = {"gateway": self._gateway, "loads": orjson.dumps(rows).decode()}
            async with self._database.connection() as connection:
                await connection.execute(queries.NOTE_LOADS, values)
        self._told = set(busy)
