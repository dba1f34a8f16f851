"""What the calls of each model version came to, minute by minute: counted here, added to PostgreSQL behind the answers.

A gateway that is killed loses what it counted since the last flush, a few seconds. What PostgreSQL does not take now is
kept, up to a bound, and added later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_left
from collections.abc import Callable, Set
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
import structlog

from tenfold_platform.gateway import queries
from tenfold_platform.gateway.database import Database

log = structlog.get_logger(__name__)

# Upper bounds of `model_traffic.buckets`: half a millisecond and upwards, each 1.5 times the one before. A bucket more
# holds what took longer than the last. Rows outlive releases: these may be added to at the end, never changed.
BOUNDS_SECONDS: tuple[float, ...] = tuple(round(0.0005 * 1.5**step, 6) for step in range(33))

FLUSH_SECONDS = 3.0
LAST_FLUSH_SECONDS = 2.0
MAX_CELLS = 20_000
BROKEN_OFF = 0  # the status of an answer that began, and did not come to its end
_MINUTE = 60

Key = tuple[UUID, int]  # a version, and the minute since 1970


class Cell:
    """The calls of one version in one minute."""

    __slots__ = ("buckets", "failed", "refused", "requests", "seconds")

    def __init__(self) -> None:
        self.requests = self.refused = self.failed = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS_SECONDS) + 1)

    def note(self, status: int, seconds: float, bucket: int) -> None:
        self.requests += 1
        self.seconds += seconds
        self.buckets[bucket] += 1
        if status >= 500 or status == BROKEN_OFF:
            self.failed += 1
        elif status >= 400:
            self.refused += 1

    def add(self, other: Cell) -> None:
        self.requests += other.requests
        self.refused += other.refused
        self.failed += other.failed
        self.seconds += other.seconds
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]


class Total:
    """All calls of one version that this process has answered."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS_SECONDS) + 1)


class Traffic:
    """`note` is all that the request path calls; `run` carries the counts over until it is cancelled."""

    def __init__(
        self,
        database: Database,
        *,
        flush_seconds: float = FLUSH_SECONDS,
        max_cells: int = MAX_CELLS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._flush_seconds = flush_seconds
        self._max_cells = max_cells
        self._now = now
        self._cells: dict[Key, Cell] = {}
        self._flushing = asyncio.Lock()
        self.totals: dict[UUID, Total] = {}  # since the start, for those who scrape them
        self.dropped = 0  # calls that no longer fitted

    def note(self, version_id: UUID, status: int, seconds: float) -> None:
        """One call has ended, with an HTTP status or BROKEN_OFF."""
        bucket = bisect_left(BOUNDS_SECONDS, seconds)
        total = self.totals.get(version_id)
        if total is None:
            total = self.totals[version_id] = Total()
        total.statuses[status] = total.statuses.get(status, 0) + 1
        total.seconds += seconds
        total.buckets[bucket] += 1
        key = (version_id, int(self._now()) // _MINUTE)
        cell = self._cells.get(key)
        if cell is None:
            if len(self._cells) >= self._max_cells:
                self.dropped += 1
                return
            cell = self._cells[key] = Cell()
        cell.note(status, seconds, bucket)

    def forget_others(self, version_ids: Set[UUID]) -> None:
        """Of versions that are gone nobody asks for the totals."""
        for id in self.totals.keys() - version_ids:
            del self.totals[id]

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._flush_seconds)
            with contextlib.suppress(psycopg.Error, OSError):  # the snapshot loader reports that PostgreSQL is away
                await self.flush()

    async def flush(self) -> None:
        """Everything counted so far is in PostgreSQL when this returns. Raises psycopg.Error or OSError."""
        async with self._flushing:
            cells, self._cells = self._cells, {}
            if not cells:
                return
            rows = [_row(key, cell) for key, cell in sorted(cells.items())]  # in one order: gateways wait, not deadlock
            try:
                async with self._database.connection() as connection:
                    await connection.execute(queries.ADD_TRAFFIC, [orjson.dumps(rows).decode()])
            except BaseException:
                self._keep(cells)
                raise

    async def close(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            async with asyncio.timeout(LAST_FLUSH_SECONDS):
                await self.flush()
        if self.dropped:
            log.warning("gateway.traffic_dropped", calls=self.dropped)

    def _keep(self, cells: dict[Key, Cell]) -> None:
        """Puts back what could not be written, before what came meanwhile; beyond the bound the newest are let go."""
        newer, self._cells = self._cells, cells
        for key, cell in newer.items():
            if (known := cells.get(key)) is not None:
                known.add(cell)
            elif len(cells) < self._max_cells:
                cells[key] = cell
            else:
                self.dropped += cell.requests


def _row(key: Key, cell: Cell) -> dict[str, Any]:
    version_id, minute = key
    return {
        "version_id": version_id,
        "minute": datetime.fromtimestamp(minute * _MINUTE, UTC),
        "requests": cell.requests,
        "refused": cell.refused,
        "failed": cell.failed,
        "seconds": cell.seconds,
        "buckets": cell.buckets,
    }
