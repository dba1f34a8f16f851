"""Shadow traffic: a sample of an alias's calls goes to another version too, and the two answers are compared.

Nobody waits for it. Everything here happens after the caller has the answer; a shadow that is busy, slow or broken
only changes what is counted. Counts and differences are added to PostgreSQL every few seconds; what it does not take
now is kept, up to a bound, and added later.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg
import structlog

from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway import calls, queries
from tenfold_platform.gateway.calls import Prediction, WorkerFault
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.differences import Said, first_difference
from tenfold_platform.gateway.faults import NotReady
from tenfold_platform.gateway.http import Request, as_seen_by_models
from tenfold_platform.gateway.pool import Lane, Pool
from tenfold_platform.gateway.snapshot import Chance, Shadow, Version
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS
from tenfold_platform.gateway.wire import Answer
from tenfold_platform.ids import new_id

log = structlog.get_logger(__name__)

HEADER = "x-tenfold-shadow"
MAX_BYTES = 1024 * 1024  # of a request, and of an answer
KEPT_DIFFERENCES = 50  # of one shadow, the newest
KEPT_BYTES = 4 * 1024  # of a request, and of an answer, in a difference

Outcome = Literal["equal", "different", "primary_failed", "shadow_failed", "dropped"]
OUTCOMES: tuple[Outcome, ...] = ("equal", "different", "primary_failed", "shadow_failed", "dropped")
Key = tuple[UUID, UUID]  # a shadow, and the version that answered the caller

_LOOKED_AT_HERE_BYTES = 16 * 1024  # more than that is compared in a thread: others are being answered meanwhile
_OF_A_VERSION = frozenset({"model_version"})  # what an Open Inference answer says of whoever gave it


@dataclass(frozen=True, slots=True)
class ShadowLimits:
    """`in_flight`: shadow calls at once, those included that wait; more are dropped."""

    in_flight: int = 16
    call_seconds: float = calls.CALL_SECONDS
    flush_seconds: float = 3.0
    last_flush_seconds: float = 2.0
    pending_tallies: int = 1000
    pending_differences: int = 200


class Sampled:
    """One call that is to be made again, and what came of it for its caller."""

    __slots__ = ("answer", "began", "body", "frame", "request_id", "seconds", "shadow", "version")

    def __init__(self, shadow: Shadow, version: Version, frame: dict[str, Any], body: bytes) -> None:
        self.shadow = shadow
        self.version = version  # which answers the caller
        self.frame = frame
        self.body = body
        self.request_id: str = frame["request_id"]
        self.began = time.perf_counter()
        self.seconds = 0.0
        self.answer: Said | None = None  # None: one that is not compared, such as a stream

    @property
    def key(self) -> Key:
        return self.shadow.id, self.version.id

    def answered(self, prediction: Prediction) -> None:
        """Its answer is there, and about to be sent."""
        self.seconds = time.perf_counter() - self.began
        self.answer = _whole(prediction)


class Durations:
    """Calls by duration, as traffic counts them."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS_SECONDS) + 1)

    def note(self, seconds: float) -> None:
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS_SECONDS, seconds)] += 1

    def add(self, other: Durations) -> None:
        self.seconds += other.seconds
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]


class Tally:
    """What the sampled calls of one version came to. Durations are of those that were compared."""

    __slots__ = ("counts", "primary", "shadow")

    def __init__(self) -> None:
        self.counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.primary, self.shadow = Durations(), Durations()

    def note(self, outcome: Outcome, seconds: tuple[float, float] | None) -> None:
        self.counts[outcome] += 1
        if seconds is not None:
            self.primary.note(seconds[0])
            self.shadow.note(seconds[1])

    def add(self, other: Tally) -> None:
        for outcome, count in other.counts.items():
            self.counts[outcome] += count
        self.primary.add(other.primary)
        self.shadow.add(other.shadow)


class Shadows:
    """`picks`, `sample`, and then `follow` or `failed`, are what request handlers call.

    `run` carries over what was seen, until it is cancelled.
    """

    def __init__(
        self,
        database: Database,
        pool: Pool,
        limits: ShadowLimits | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._pool = pool
        self._limits = limits or ShadowLimits()
        self._now = now
        self._tasks: set[asyncio.Task[None]] = set()
        self._tallies: dict[Key, Tally] = {}
        self._differences: deque[dict[str, Any]] = deque(maxlen=self._limits.pending_differences)
        self._flushing = asyncio.Lock()
        self.chance: Chance = random.random
        self.totals: dict[Key, Tally] = {}  # since the start, for those who scrape them

    @property
    def running(self) -> int:
        return len(self._tasks)

    def picks(self, shadow: Shadow, version: Version) -> bool:
        """Whether chance picks this call, which `version` answers. None that the shadow answers itself is."""
        return version.id != shadow.version.id and self.chance() * 100 < shadow.percent

    def sample(self, shadow: Shadow, version: Version, frame: dict[str, Any], body: bytes) -> Sampled | None:
        """A call that was picked, to be made again. None: it is not to be, because it is too large or has no JSON.

        `frame`: the header of the frame that the shadow is to get (see `predict_frame`).
        """
        if not calls.is_json(frame.get("content_type", "application/json")):
            return None
        sampled = Sampled(shadow, version, frame, body)
        if len(body) > MAX_BYTES:
            self._note(sampled, "dropped")
            return None
        return sampled

    def failed(self, sampled: Sampled, error: PlatformError) -> None:
        """The caller is told an error. What is wrong with the request is compared, what went wrong is only counted."""
        if not isinstance(error, WorkerFault) or error.status >= 500:
            self._note(sampled, "primary_failed")
            return
        sampled.seconds = time.perf_counter() - sampled.began
        sampled.answer = _refusal(error)
        self.follow(sampled)

    def follow(self, sampled: Sampled) -> None:
        """The caller has the answer: the shadow's turn. Returns at once."""
        if sampled.answer is None or len(self._tasks) >= self._limits.in_flight:
            self._note(sampled, "dropped")
            return
        task = asyncio.create_task(self._call(sampled, sampled.answer), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._limits.flush_seconds)
            with contextlib.suppress(psycopg.Error, OSError):  # the snapshot loader reports that PostgreSQL is away
                await self.flush()

    async def flush(self) -> None:
        """Everything seen so far is in PostgreSQL when this returns. Raises psycopg.Error or OSError."""
        async with self._flushing:
            tallies, self._tallies = self._tallies, {}
            if not tallies:
                return
            differences = list(self._differences)
            self._differences.clear()
            try:
                await self._write(tallies, differences)
            except BaseException:
                self._keep(tallies, differences)
                raise

    async def close(self) -> None:
        """Shadow calls under way are dropped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(psycopg.Error, OSError):
            async with asyncio.timeout(self._limits.last_flush_seconds):
                await self.flush()

    def _lane(self, version: Version) -> Lane | None:
        """Where the shadow's call would begin at once, or wake it: it does not stand in line with others' calls."""
        try:
            lane = calls.version_lane(self._pool, version)
        except NotReady:
            return None
        return lane if not lane.waiting and (lane.is_reachable or lane.deployment.is_asleep) else None

    async def _call(self, sampled: Sampled, told: Said) -> None:
        lane = self._lane(sampled.shadow.version)
        if lane is None:
            self._note(sampled, "dropped")
            return
        began = time.perf_counter()
        try:
            said = await self._ask(lane, sampled)
            seconds = sampled.seconds, time.perf_counter() - began
            if said.status >= 500:
                self._note(sampled, "shadow_failed")
                self._record(sampled, "shadow_failed", "status", told, said)
                return
            path = await _compare(sampled, told, said)
        except asyncio.CancelledError:
            self._note(sampled, "dropped")
            raise
        except Exception:  # nobody waits for this, and nobody would hear of it
            log.exception("gateway.shadow_failed", request_id=sampled.request_id)
            self._note(sampled, "shadow_failed")
            return
        self._note(sampled, "equal" if path is None else "different", seconds)
        if path is not None:
            self._record(sampled, "different", path, told, said)

    async def _ask(self, lane: Lane, sampled: Sampled) -> Said:
        """The shadow's answer, an error too."""
        try:
            exchange, answer = await lane.call(sampled.frame, sampled.body, self._limits.call_seconds)
            if not answer.ok:
                raise WorkerFault(answer)
        except PlatformError as error:
            return _refusal(error)
        said = _whole(Prediction(exchange, answer))
        exchange.cancel()
        return said or Said(200, "", b"(a stream, or more than can be compared)")

    def _note(self, sampled: Sampled, outcome: Outcome, seconds: tuple[float, float] | None = None) -> None:
        key = sampled.key
        self.totals.setdefault(key, Tally()).note(outcome, seconds)
        if key in self._tallies or len(self._tallies) < self._limits.pending_tallies:
            self._tallies.setdefault(key, Tally()).note(outcome, seconds)

    def _record(self, sampled: Sampled, outcome: Outcome, path: str, told: Said, said: Said) -> None:
        self._differences.append(
            {
                "id": new_id(),
                "shadow_id": sampled.shadow.id,
                "version_id": sampled.version.id,
                "at": self._now(),
                "outcome": outcome,
                "request_id": sampled.request_id,
                "path": path,
                "request": _beginning(sampled.body, sampled.frame.get("json_length")),
                "primary_status": told.status,
                "primary_answer": _beginning(told.payload, told.json_length),
                "shadow_status": said.status,
                "shadow_answer": _beginning(said.payload, said.json_length),
            }
        )

    def _keep(self, tallies: dict[Key, Tally], differences: list[dict[str, Any]]) -> None:
        """Puts back what could not be written, before what came meanwhile; beyond the bounds something is let go."""
        newer, self._tallies = self._tallies, tallies
        for key, tally in newer.items():
            if key in tallies:
                tallies[key].add(tally)
            elif len(tallies) < self._limits.pending_tallies:
                tallies[key] = tally
        self._differences = deque([*differences, *self._differences], maxlen=self._limits.pending_differences)

    async def _write(self, tallies: dict[Key, Tally], differences: list[dict[str, Any]]) -> None:
        """In one order: gateways wait, not deadlock. All or nothing, as it is tried again."""
        rows = [_row(key, tally) for key, tally in sorted(tallies.items())]
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(queries.ADD_SHADOW_TALLIES, [orjson.dumps(rows).decode()])
            if differences:
                shadows = list({row["shadow_id"] for row in differences})
                await connection.execute(queries.KEEP_SHADOW_DIFFERENCES, [orjson.dumps(differences).decode()])
                kept = {"shadows": shadows, "kept": KEPT_DIFFERENCES}
                await connection.execute(queries.TRIM_SHADOW_DIFFERENCES, kept)


def predict_frame(request: Request, path: str, content_type: str) -> dict[str, Any]:
    """The header of a frame that asks a shadow what the caller asked."""
    frame: dict[str, Any] = {
        "op": "predict",
        "content_type": content_type,
        "request_id": request.id,
        "http": marked(as_seen_by_models(request, path)),
    }
    if (accept := request.header(b"accept")) is not None:
        frame["accept"] = accept
    return frame


def marked(http: dict[str, Any]) -> dict[str, Any]:
    """A request as a shadow's code may see it: with a header that says so, for it to leave side effects out."""
    http["headers"].append((HEADER, "1"))
    return http


async def _compare(sampled: Sampled, told: Said, said: Said) -> str | None:
    ignored = _OF_A_VERSION if sampled.frame["op"] == "infer" else frozenset[str]()

    def compare() -> str | None:
        return first_difference(told, said, tolerance=sampled.shadow.tolerance, ignored=ignored)

    is_small = len(told.payload) + len(said.payload) <= _LOOKED_AT_HERE_BYTES
    return compare() if is_small else await asyncio.to_thread(compare)


def _whole(prediction: Prediction) -> Said | None:
    """None for a stream, and for what is too large."""
    answer: Answer = prediction.answer
    if answer.more or len(answer.payload) > MAX_BYTES:
        return None
    length = answer.header.get("json_length")
    return Said(prediction.status, prediction.content_type, answer.payload, length if isinstance(length, int) else None)


def _refusal(error: PlatformError) -> Said:
    """An error as an answer. What the gateway could not do is never what the model says."""
    status = error.status if isinstance(error, WorkerFault) else max(error.status, 500)
    told = orjson.dumps({"error": {"code": error.code, "message": error.message}})
    return Said(status, "application/json", told, code=error.code)


def _beginning(payload: bytes, json_length: int | None) -> str:
    """As PostgreSQL can keep it: a text without NUL, and not all of one that is long. Binary tensors are left out."""
    text = payload[: min(json_length or KEPT_BYTES, KEPT_BYTES)].decode("utf-8", "replace").replace("\x00", "\ufffd")
    return text if len(payload) <= KEPT_BYTES and not json_length else text + "…"


def _row(key: Key, tally: Tally) -> dict[str, Any]:
    shadow_id, version_id = key
    return {
        **{str(outcome): count for outcome, count in tally.counts.items()},
        "shadow_id": shadow_id,
        "version_id": version_id,
        "primary_seconds": tally.primary.seconds,
        "primary_buckets": tally.primary.buckets,
        "shadow_seconds": tally.shadow.seconds,
        "shadow_buckets": tally.shadow.buckets,
    }
