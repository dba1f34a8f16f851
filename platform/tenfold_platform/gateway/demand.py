"""Tells the controller, by way of PostgreSQL, what the calls of deployments that may be scaled come to.

The request path knows nothing of it: lanes are looked at a few times a second. A gateway that is gone is told by the
age of its row; idle deployments are not reported at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import psycopg

from tenfold_platform.gateway import queries
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.pool import Lane, Pool

_STEPS = 12  # of a window


@dataclass(frozen=True, slots=True)
class DemandLimits:
    """`window_seconds`: how long a peak counts, so that a short pause ends no replica."""

    sample_seconds: float = 0.25
    report_seconds: float = 1.0
    window_seconds: float = 60.0


@dataclass(slots=True)
class Use:
    """What was seen of one deployment, in this process's clock."""

    used_at: float
    queued_since: float | None = None
    peaks: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_STEPS))  # (step, most load in it)

    def note(self, step: int, load: float) -> None:
        if self.peaks and self.peaks[-1][0] == step:
            self.peaks[-1] = (step, max(load, self.peaks[-1][1]))
        else:
            self.peaks.append((step, load))

    def peak(self, step: int) -> float:
        return max((load for at, load in self.peaks if at > step - _STEPS), default=0.0)


class Demand:
    """`run` looks and reports until it is cancelled. `sample` is one look."""

    def __init__(
        self,
        database: Database,
        pool: Pool,
        limits: DemandLimits | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._pool = pool
        self._limits = limits or DemandLimits()
        self._now = now
        self._gateway = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._uses: dict[UUID, Use] = {}

    async def run(self) -> None:
        reported = self._now()
        while True:
            await asyncio.sleep(self._limits.sample_seconds)
            self.sample()
            if self._now() - reported >= self._limits.report_seconds:
                reported = self._now()
                with contextlib.suppress(psycopg.Error, OSError):  # the snapshot loader reports that PostgreSQL is away
                    await self.report()

    def sample(self) -> None:
        now, step = self._now(), self._step()
        for deployment_id, lanes in self._pool.scaled():
            load = sum(lane.load for lane in lanes)
            used_at = now if load else max(lane.used_at for lane in lanes)
            use = self._uses.get(deployment_id)
            if use is None:
                if not used_at:
                    continue  # nobody has called it here yet
                use = self._uses[deployment_id] = Use(used_at)
            use.used_at = max(use.used_at, used_at)
            use.note(step, load)
            if not any(_queues(lane) for lane in lanes):
                use.queued_since = None
            elif use.queued_since is None:
                use.queued_since = now

    async def report(self) -> None:
        """What was seen is in PostgreSQL when this returns. Raises psycopg.Error or OSError."""
        rows = self.rows()
        if rows:
            async with self._database.connection() as connection:
                values = {"gateway": self._gateway, "demand": orjson.dumps(rows).decode()}
                await connection.execute(queries.NOTE_DEMAND, values)

    def rows(self) -> list[dict[str, Any]]:
        """One for each deployment that was used within the window, in one order: gateways wait, not deadlock."""
        now, step = self._now(), self._step()
        kept = now - self._limits.window_seconds - 2 * self._limits.report_seconds
        self._uses = {id: use for id, use in self._uses.items() if use.used_at > kept}
        return [
            {
                "deployment_id": id,
                "used_ago": now - use.used_at,
                "load": use.peak(step),
                "queued_for": None if use.queued_since is None else now - use.queued_since,
            }
            for id, use in sorted(self._uses.items())
        ]

    def _step(self) -> int:
        return int(self._now() * _STEPS / self._limits.window_seconds)


def _queues(lane: Lane) -> bool:
    """Whether calls wait: here, or at a replica that was handed more than it works on."""
    return lane.waiting > 0 or lane.load > len(lane.deployment.ready)
