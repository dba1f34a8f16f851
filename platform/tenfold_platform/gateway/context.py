"""What every request handler is given."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from tenfold_platform.errors import NotFound, Unauthenticated, Unavailable
from tenfold_platform.gateway.credentials import Caller, authenticate
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.http import Request
from tenfold_platform.gateway.loader import SnapshotLoader
from tenfold_platform.gateway.metrics import Metrics
from tenfold_platform.gateway.pool import Pool
from tenfold_platform.gateway.runner import Runner
from tenfold_platform.gateway.shadows import Shadows
from tenfold_platform.gateway.snapshot import Chance, Snapshot
from tenfold_platform.gateway.spool import Spool
from tenfold_platform.gateway.traffic import Traffic

Found = TypeVar("Found")


@dataclass(slots=True)
class Gateway:
    """The gateway's parts. `used_keys` are those to mark as used at the next flush, with the time of their last use.

    `chance` decides which calls go to a canary.
    """

    loader: SnapshotLoader
    pool: Pool
    spool: Spool
    metrics: Metrics
    traffic: Traffic
    runner: Runner
    shadows: Shadows
    database: Database  # for the few requests that PostgreSQL must answer
    signing_key: str
    console_origin: str
    own_url: str
    studio_dir: Path | None
    max_body_bytes: int
    used_keys: dict[UUID, float] = field(default_factory=dict)
    chance: Chance = random.random
    running: dict[tuple[UUID, str], int] = field(default_factory=dict)  # runs by (app, worklet)

    def snapshot(self) -> Snapshot:
        """Raises Unavailable when PostgreSQL has never been read."""
        if self.loader.snapshot is None:
            raise Unavailable(
                "The gateway has not read its configuration yet.",
                hint=f"PostgreSQL: {self.loader.problem}",
                headers={"Retry-After": "2"},
            )
        return self.loader.snapshot

    async def look_up(self, find: Callable[[], Found]) -> Found:
        """What `find` finds in the snapshot, or in a newer one when this one does not have it.

        Somebody who was just given a key, or told that a model is ready, is not to be faster than the gateway.
        """
        try:
            return find()
        except (NotFound, Unauthenticated):
            if not await self.loader.refresh():
                raise
        return find()

    def authenticate(self, request: Request) -> Caller:
        caller = authenticate(request, self.snapshot(), self.signing_key)
        if caller.key is not None:
            self.used_keys[caller.key.id] = time.time()
        return caller
