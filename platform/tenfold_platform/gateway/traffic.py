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
from functools import partial
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
    """The calls of one version in one minute. It is counted in while it `is_open` and the clock is before its end."""

    __slots__ = ("buckets", "ends_at", "failed", "is_open", "refused", "requests", "seconds")

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.is_open = True
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

    __slots__ = ("_cell", "_now", "_open_cell", "buckets", "seconds", "statuses")

    def __init__(self, open_cell: Callable[[], Cell | None], now: Callable[[], float]) -> None:
        self.statuses: dict[int, int] = {}
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS_SECONDS) + 1)
        self._cell: Cell | None = None
        self._open_cell = open_cell
        self._now = now

    def note(self, status: int, seconds: float) -> None:
        """One call has ended, with an HTTP status or BROKEN_OFF."""
        bucket = bisect_left(BOUNDS_SECONDS, seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.seconds += seconds
        self.buckets[bucket] += 1
        cell = self._cell
        if cell is None or not cell.is_open or self._now() >= cell.ends_at:
            cell = self._cell = self._open_cell()
        if cell is not None:
            cell.note(status, seconds, bucket)


class Traffic:
    """`note` is all that the request path calls; or `Total.note`, where many calls are of one version.

    `run` carries the counts over until it is cancelled.
    """

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
        """As `Total.note`."""
        self.total(version_id).note(status, seconds)

    def total(self, version_id: UUID) -> Total:
        """Where the calls of one version are counted."""
        total = self.totals.get(version_id)
        if total is None:
            total = self.totals[version_id] = Total(partial(self._open_cell, version_id), self._now)
        return total

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
            for cell in cells.values():
                cell.is_open = False
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

    def _open_cell(self, version_id: UUID) -> Cell | None:
        """That of the minute. None, and a call is dropped, when there is no room for another."""
        minute = int(self._now()) // _MINUTE
        key = (version_id, minute)
        cell = self._cells.get(key)
        if cell is None:
            if len(self._cells) >= self._max_cells:
                self.dropped += 1
                return None
            cell = self._cells[key] = Cell((minute + 1) * _MINUTE)
        cell.is_open = True
        return cell

    def _keep(self, cells: dict[Key, Cell]) -> None:
        """Puts back what could not be written, before what came meanwhile; beyond the bound the newest are let go."""
        newer, self._cells = self._cells, cells
        for key, cell in newer.items():
            cell.is_open = False
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
