"""Carries out the predictions that are answered later. Each gateway has one; PostgreSQL deals the work out.

A prediction is claimed under a lease, which is renewed while its worker works, and a fence, which tells its owners
apart: a gateway that died, or lost its lease while PostgreSQL was away, is followed by another, and only the last owner
can record the answer. Calls wait for nobody's place: a prediction begins where a replica has nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import orjson
import psycopg
import structlog

from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway import calls, queries
from tenfold_platform.gateway.calls import WorkerFault
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.faults import GatewayFault, WorkerLost
from tenfold_platform.gateway.pool import Pool
from tenfold_platform.gateway.snapshot import Snapshot, Version
from tenfold_platform.gateway.spool import no_nul
from tenfold_platform.gateway.traffic import Traffic

log = structlog.get_logger(__name__)

KEPT_DAYS = 7

# What PostgreSQL says of JSON that it cannot even read: not in UTF-8, or nested very deep.
_UNREADABLE = (psycopg.errors.CharacterNotInRepertoire, psycopg.errors.StatementTooComplex)


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """`max_attempts`: how often one is begun whose gateway, or worker, was gone before the end."""

    running: int = 32
    run_seconds: float = 3600.0
    answer_bytes: int = 64 * 1024 * 1024
    max_attempts: int = 3
    lease_seconds: float = 15.0
    renew_seconds: float = 4.0
    poll_seconds: float = 1.0
    retry_seconds: float = 1.0
    sweep_seconds: float = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A prediction that is ours as long as nobody has a higher fence."""

    id: UUID
    version_id: UUID
    content_type: str
    body: bytes
    accept: str | None
    request_id: str
    attempts: int
    fence: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is recorded of a prediction that has ended."""

    status: int
    answer: bytes | None = None
    answer_type: str | None = None
    error: dict[str, Any] | None = None


class Runner:
    """`run` works until it is cancelled, and `close` gives back what is unfinished then.

    Leases have a database connection of their own: an answer may be under way for longer than a lease lasts.
    """

    def __init__(
        self,
        database: Database,
        leases: Database,
        pool: Pool,
        snapshot: Callable[[], Snapshot | None],
        traffic: Traffic,
        limits: RunnerLimits | None = None,
    ) -> None:
        self._database = database
        self._leases = leases
        self._pool = pool
        self._snapshot = snapshot
        self._traffic = traffic
        self._limits = limits or RunnerLimits()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._jobs: dict[Job, asyncio.Task[None]] = {}
        self._done: set[Job] = set()  # of these: nothing is left to do but to record them
        self._callable: tuple[Snapshot | None, list[Version]] = (None, [])
        self._paused: dict[UUID, float] = {}  # versions that could not take a call, until when
        self._wanted = asyncio.Event()
        self._doubted = asyncio.Event()
        self._closing = False

    @property
    def running(self) -> int:
        return len(self._jobs)

    def wake(self) -> None:
        """There may be something to do."""
        self._wanted.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._claim_all, self._wanted, self._limits.poll_seconds))
            tasks.create_task(self._forever(self._renew, self._doubted, self._limits.renew_seconds))
            tasks.create_task(self._forever(self._sweep, asyncio.Event(), self._limits.sweep_seconds))
            tasks.create_task(
                self._database.listen(queries.LISTEN_PREDICTIONS, self._heard, retry_seconds=self._limits.retry_seconds)
            )

    async def close(self, seconds: float = 3.0) -> None:
        """Records what is done, and gives back what is not, for others to begin again."""
        self._closing = True
        for job, task in self._jobs.items():
            if job not in self._done:
                task.cancel()
        if not self._jobs:
            return
        _, late = await asyncio.wait(list(self._jobs.values()), timeout=seconds)
        for task in late:
            task.cancel()

    async def _forever(self, work: Callable[[], Awaitable[None]], event: asyncio.Event, seconds: float) -> None:
        """Does it when asked, and every so often anyway. That PostgreSQL is away is the snapshot loader's to report."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
            event.clear()
            try:
                await work()
            except (psycopg.Error, OSError):
                await asyncio.sleep(self._limits.retry_seconds)
            except Exception:  # a row nobody foresaw must not end the loop
                log.exception("gateway.runner_failed")
                await asyncio.sleep(self._limits.retry_seconds)

    def _heard(self, said: str) -> None:
        (self._doubted if said == "cancelled" else self._wanted).set()

    # Taking work

    async def _claim_all(self) -> None:
        while len(self._jobs) < self._limits.running and (versions := self._idle_versions()):
            job = await self._claim(versions)
            if job is None:
                return
            self._begin(job)
            await asyncio.sleep(0)  # until it has its place, which the next look at who is idle must see

    def _idle_versions(self) -> list[UUID]:
        snapshot, now = self._snapshot(), time.monotonic()
        if snapshot is not self._callable[0]:
            versions = snapshot.versions.values() if snapshot is not None else ()
            self._callable = (snapshot, [one for one in versions if one.is_callable and one.state != "failed"])
        self._paused = {id: until for id, until in self._paused.items() if until > now}
        return [
            version.id
            for version in self._callable[1]
            if version.id not in self._paused and calls.version_lane(self._pool, version).is_idle
        ]

    async def _claim(self, versions: list[UUID]) -> Job | None:
        values = {
            "owner": self._owner,
            "versions": versions,
            "mine": [job.id for job in self._jobs],
            "lease_seconds": self._limits.lease_seconds,
            "max_attempts": self._limits.max_attempts,
        }
        async with self._database.connection() as connection:
            cursor = await connection.execute(queries.CLAIM_PREDICTION, values)
            row = await cursor.fetchone()
        return Job(**row) if row is not None else None

    def _begin(self, job: Job) -> None:
        task = asyncio.create_task(self._carry_out(job), name=f"prediction {job.id}")
        self._jobs[job] = task
        task.add_done_callback(lambda _: self._ended(job))

    def _ended(self, job: Job) -> None:
        del self._jobs[job]
        self._done.discard(job)
        self._wanted.set()

    # Doing it

    async def _carry_out(self, job: Job) -> None:
        began = time.perf_counter()
        try:
            outcome = await self._predict(job)
        except asyncio.CancelledError:
            if self._closing:
                await self._give_back(job, attempts=job.attempts - 1)
            raise
        except WorkerLost as fault:
            if job.attempts < self._limits.max_attempts:
                await self._give_back(job, attempts=job.attempts)
                return
            outcome = _failed(fault)
        except GatewayFault as fault:
            if fault.retryable:  # no replica took it
                self._paused[job.version_id] = time.monotonic() + self._limits.retry_seconds
                await self._give_back(job, attempts=job.attempts - 1)
                return
            outcome = _failed(fault)
        except PlatformError as fault:
            outcome = _failed(fault)
        except Exception:
            log.exception("gateway.prediction_failed", prediction=str(job.id))
            outcome = _failed(PlatformError("Something went wrong in the gateway.", hint="Its log has the rest."))
        seconds = time.perf_counter() - began
        self._done.add(job)
        if await self._record(job, outcome):
            self._traffic.note(job.version_id, outcome.status, seconds)

    async def _predict(self, job: Job) -> Outcome:
        snapshot = self._snapshot()
        version: Version | None = snapshot.versions.get(job.version_id) if snapshot is not None else None
        if version is None:
            return Outcome(404, error=_as_error(PlatformError("The version is gone.", code="not_found")))
        limits = self._limits
        lane = calls.version_lane(self._pool, version)
        headers = [("content-type", job.content_type), *([("accept", job.accept)] if job.accept else [])]
        prediction = await calls.predict(
            lane,
            job.body,
            content_type=job.content_type,
            accept=job.accept if job.accept not in (None, "*/*") else "application/json",
            request_id=job.request_id,
            http={"method": "POST", "path": calls.PREDICT_PATH, "query": "", "headers": headers},
            timeout_seconds=limits.run_seconds,
        )
        answer = await calls.whole(prediction, limits.run_seconds, max_bytes=limits.answer_bytes)
        status = prediction.status
        refused = PlatformError(f"The model answered {status}.", code="http", hint="The output says why.")
        return Outcome(status, answer, prediction.content_type, _as_error(refused) if status >= 400 else None)

    # Saying so

    async def _record(self, job: Job, outcome: Outcome) -> bool:
        """Whether it was ours to record. Waits for PostgreSQL as long as it takes."""
        values: dict[str, Any] = {
            "id": job.id,
            "fence": job.fence,
            "state": "succeeded" if outcome.error is None else "failed",
            "status": outcome.status,
            "answer": outcome.answer,
            "answer_type": outcome.answer_type,
            "is_json": outcome.answer_type is not None and calls.is_json(outcome.answer_type),
            "error": None if outcome.error is None else orjson.dumps(no_nul(outcome.error)).decode(),
        }
        while True:
            try:
                return await self._execute(queries.FINISH_PREDICTION, values) == 1
            except (psycopg.Error, OSError) as error:
                if values["is_json"] and isinstance(error, _UNREADABLE):
                    values |= {"answer_type": "text/plain", "is_json": False}
                elif isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
                    log.exception("gateway.prediction_not_recorded", prediction=str(job.id))
                    return False  # its lease runs out, and it is tried again
                else:
                    await asyncio.sleep(self._limits.retry_seconds)

    async def _give_back(self, job: Job, *, attempts: int) -> None:
        """For somebody else, or later. Should PostgreSQL not hear of it, the lease runs out instead."""
        with contextlib.suppress(psycopg.Error, OSError):
            values = {"id": job.id, "fence": job.fence, "attempts": attempts}
            async with self._leases.connection() as connection:
                await connection.execute(queries.RETURN_PREDICTION, values)

    async def _renew(self) -> None:
        """Keeps the leases of what is under way, and stops what is not ours any more.

        What is done is not stopped: it may have been recorded just now, and if it is not ours cannot be.
        """
        jobs = list(self._jobs)
        if not jobs:
            return
        values = {
            "ids": [job.id for job in jobs],
            "fences": [job.fence for job in jobs],
            "lease_seconds": self._limits.lease_seconds,
        }
        async with self._leases.connection() as connection:
            cursor = await connection.execute(queries.RENEW_PREDICTIONS, values)
            ours = {row["id"] for row in await cursor.fetchall()}
        for job in jobs:
            if job.id not in ours and job not in self._done and (task := self._jobs.get(job)) is not None:
                task.cancel()

    async def _sweep(self) -> None:
        """Ends what nobody can carry out, forgets what is old."""
        values = {"max_attempts": self._limits.max_attempts, "mine": [job.id for job in self._jobs]}
        await self._execute(queries.FAIL_HOPELESS_PREDICTIONS, values)
        await self._execute(queries.FORGET_PREDICTIONS, [_first_id_of(time.time() - KEPT_DAYS * 86400)])

    async def _execute(self, query: LiteralString, values: Any) -> int:
        async with self._database.connection() as connection:
            return (await connection.execute(query, values)).rowcount


def _first_id_of(seconds: float) -> UUID:
    """Ids are UUIDs of version 7, which begin with the time they were made at."""
    return UUID(int=int(seconds * 1000) << 80)


def _failed(fault: PlatformError) -> Outcome:
    return Outcome(fault.status, error=_as_error(fault))


def _as_error(fault: PlatformError) -> dict[str, Any]:
    said: dict[str, Any] = {"code": fault.code, "message": fault.message, "hint": fault.hint, "details": fault.details}
    if isinstance(fault, WorkerFault):
        said["source"] = fault.source
    return said
