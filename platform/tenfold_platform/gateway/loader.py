"""Keeps the snapshot fresh: reloads when PostgreSQL notifies of a change, and every few seconds in case it did not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import structlog

from tenfold_platform.gateway import queries
from tenfold_platform.gateway.bundle import BundleError, read_bundle
from tenfold_platform.gateway.database import Database, PgConnection
from tenfold_platform.gateway.snapshot import Release, Rows, Snapshot, build_snapshot

log = structlog.get_logger(__name__)

OnChange = Callable[[Snapshot], None]

ROWS: Mapping[str, LiteralString] = {
    "workspaces": queries.WORKSPACES,
    "members": queries.MEMBERS,
    "keys": queries.KEYS,
    "models": queries.MODELS,
    "versions": queries.VERSIONS,
    "aliases": queries.ALIASES,
    "deployments": queries.DEPLOYMENTS,
    "replicas": queries.REPLICAS,
    "apps": queries.APPS,
    "shadows": queries.SHADOWS,
}


class SnapshotLoader:
    """`snapshot` is None until the first load, and then always the last good one, however long PostgreSQL is away.

    `on_change` is called with each new snapshot before it becomes visible.
    """

    def __init__(
        self,
        database: Database,
        on_change: OnChange,
        *,
        reload_seconds: float = 5.0,
        coalesce_seconds: float = 0.01,
        retry_seconds: float = 0.5,
        refresh_seconds: float = 0.25,
    ) -> None:
        self._database = database
        self._on_change = on_change
        self._reload_seconds = reload_seconds
        self._coalesce_seconds = coalesce_seconds
        self._retry_seconds = retry_seconds
        self._refresh_seconds = refresh_seconds
        self._refreshed_at = -refresh_seconds
        self._changed = asyncio.Event()
        self._releases: dict[UUID, Release] = {}
        self.loaded = asyncio.Event()
        self.snapshot: Snapshot | None = None
        self.loaded_at: float | None = None  # time.monotonic()
        self.problem = "nothing has been loaded yet"  # empty while PostgreSQL answers

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._database.listen(queries.LISTEN, lambda _: self._changed.set(), retry_seconds=self._retry_seconds)
            )
            tasks.create_task(self._reload_forever())

    async def load(self) -> Snapshot:
        """Reads everything now. Raises psycopg.Error or TimeoutError when PostgreSQL cannot be read."""
        async with self._database.connection() as connection:
            rows, bundles = await self._read(connection)
        self._keep_releases(rows, bundles)
        snapshot = build_snapshot(rows, self._releases)
        self._on_change(snapshot)
        self.snapshot = snapshot
        self.loaded_at = time.monotonic()
        self.loaded.set()
        self.problem = ""
        return snapshot

    async def refresh(self) -> bool:
        """Reads everything again for a request that found nothing: what it asks for may be a moment old.

        False when that was done just now anyway, or PostgreSQL does not answer: whoever asks for nonsense all the time
        does not keep it busy.
        """
        now = time.monotonic()
        if now - self._refreshed_at < self._refresh_seconds:
            return False
        self._refreshed_at = now
        return await self._try_load()

    async def _reload_forever(self) -> None:
        while True:
            self._changed.clear()
            wait = self._reload_seconds if await self._try_load() else self._retry_seconds
            ended = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
                # one change is read at once, of a burst the first and the last
                await asyncio.sleep(max(0.0, ended + self._coalesce_seconds - time.monotonic()))

    async def _try_load(self) -> bool:
        try:
            await self.load()
        except (psycopg.Error, OSError) as error:
            self._note(f"PostgreSQL does not answer: {str(error).strip() or type(error).__name__}")
            return False
        except Exception as error:  # a row nobody foresaw must not end the loop: the last good snapshot stays
            log.exception("gateway.snapshot_unreadable")
            self._note(f"what PostgreSQL holds cannot be read: {error}")
            return False
        return True

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("gateway.snapshot_stale", problem=problem)
        self.problem = problem

    async def _read(self, connection: PgConnection) -> tuple[Rows, dict[UUID, dict[str, Any]]]:
        """All rows as of one moment, and the bundles of the live releases that were not read before."""
        async with connection.transaction():
            await connection.execute("set transaction isolation level repeatable read, read only")
            async with connection.pipeline():
                asked = {name: await connection.execute(query) for name, query in ROWS.items()}
                rows = Rows(**{name: await cursor.fetchall() for name, cursor in asked.items()})
            wanted = _live_releases(rows).keys() - self._releases.keys()
            if not wanted:
                return rows, {}
            cursor = await connection.execute(queries.BUNDLES, [list(wanted)])
            return rows, {row["id"]: row["bundle"] for row in await cursor.fetchall()}

    def _keep_releases(self, rows: Rows, bundles: dict[UUID, dict[str, Any]]) -> None:
        live = _live_releases(rows)
        for id, bundle in bundles.items():
            self._releases[id] = _read_release(id, live[id], bundle)
        for id in self._releases.keys() - live.keys():
            del self._releases[id]


def _live_releases(rows: Rows) -> dict[UUID, int]:
    return {row["release_id"]: row["release_number"] for row in rows.apps if row["release_id"] is not None}


def _read_release(id: UUID, number: int, bundle: dict[str, Any]) -> Release:
    try:
        return Release(id, number, read_bundle(bundle))
    except BundleError as error:
        log.error("gateway.bundle_unreadable", release=str(id), problem=str(error))
        return Release(id, number, None, str(error))
