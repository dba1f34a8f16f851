"""What Prometheus may scrape of each model version: what this gateway counted, what the controller has written down,
and what workers say of their batches. docs/reference/metrics.md has the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric

from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway import calls, queries
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.pool import WAIT_BOUNDS_SECONDS, Pool
from tenfold_platform.gateway.snapshot import Snapshot, Version
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS, Traffic

MAX_VERSIONS = 1000
READ_SECONDS = 2.0  # for which what was read is good enough
ASK_SECONDS = 1.0
MAX_ASKED = 8  # replicas of a version, at once
MAX_WORKERS = 64  # of a version, whose batches are told apart
MAX_COUNT = 2**53
POWERS = tuple(1 << exponent for exponent in range(11))
STATES = ("pending", "starting", "loading", "ready", "draining")
ENDS = frozenset(
    {
        "stopped",
        "lost",
        "machine_restarted",
        "out_of_memory",
        "crashed",
        "killed",
        "exited",
        "start_failed",
        "not_ready",
    }
)
_LABELS = ["workspace", "model", "version"]
_PIECE = 100
_TURN = 50
_PAUSE_SECONDS = 1e-5  # at 0 this thread would most often be the next again
_EVERY = 2  # second bound of those that traffic is kept by: enough for a histogram that is kept for long

T = TypeVar("T")
Labels = tuple[str, str, str]
Worker = tuple[str, str]  # its process, and when it became ready
GONE: Worker = ("", "")
Sizes = Mapping[int, int]  # how many batches, by the power of two that their size is at least


class Answers(NamedTuple):
    """The calls of a version that were answered here."""

    labels: Labels
    statuses: Mapping[int, int]
    seconds: float
    buckets: Sequence[int]


class Waiting(NamedTuple):
    """The calls of a version that are under way here, and how long all of them waited."""

    labels: Labels
    queue_length: int
    in_flight: int
    seconds: float
    buckets: Sequence[int]


class Reading(NamedTuple):
    """Plain values of one moment, which any thread may write out."""

    answers: Sequence[Answers]
    waiting: Sequence[Waiting]
    rows: Sequence[Mapping[str, Any]]
    batches: Mapping[Labels, Sizes]

    def collect(self) -> Iterator[Metric]:
        yield from _answers(self.answers)
        yield from _waiting(self.waiting)
        yield from _replicas(self.rows)
        yield _batch_sizes(self.batches)


class ModelMetrics:
    """`read` fetches what others know, and looks at what is known here."""

    def __init__(
        self, pool: Pool, traffic: Traffic, snapshot: Callable[[], Snapshot | None], database: Database
    ) -> None:
        self._pool = pool
        self._traffic = traffic
        self._snapshot = snapshot
        self._database = database
        self._reading = asyncio.Lock()
        self._read_at = -READ_SECONDS
        self._rows: Sequence[Mapping[str, Any]] = ()
        self._told: dict[UUID, dict[Worker, Sizes]] = {}  # by version: what each of its workers said last

    async def read(self) -> Reading:
        """While PostgreSQL is away, what only it knows is left out: silence says more than old numbers."""
        async with self._reading:
            if time.monotonic() - self._read_at >= READ_SECONDS:
                self._rows, _ = await asyncio.gather(self._stored(), self._ask_all())
                self._read_at = time.monotonic()
            answers, waiting = await self._own()
            return Reading(answers, waiting, self._rows, self._batches())

    async def _own(self) -> tuple[list[Answers], list[Waiting]]:
        """In pieces, between which calls go on. A version without calls or replicas has nothing to tell."""
        answers: list[Answers] = []
        waiting: list[Waiting] = []
        lanes = self._pool.predicting()
        for number, version in enumerate(self._versions()):
            if number % _PIECE == _PIECE - 1:
                await asyncio.sleep(0)
            labels, total = _labels(version), self._traffic.totals.get(version.id)
            if total is not None:
                answers.append(Answers(labels, dict(total.statuses), total.seconds, list(total.buckets)))
            lane = lanes.get(version.deployment.id) if version.deployment is not None else None
            if lane is not None and (lane.waits.seconds or any(lane.waits.counts) or lane.deployment.replicas):
                waits = lane.waits
                waiting.append(Waiting(labels, lane.waiting, lane.in_flight, waits.seconds, list(waits.counts)))
        return answers, waiting

    def _versions(self) -> list[Version]:
        """The newest that run or were called, up to the bound: labels are memory, here and in Prometheus."""
        snapshot = self._snapshot()
        known = snapshot.versions.values() if snapshot is not None else ()
        totals, lanes = self._traffic.totals, self._pool.predicting()
        told = [
            version
            for version in known
            if version.id in totals or (version.deployment is not None and version.deployment.id in lanes)
        ]
        told.sort(key=lambda version: version.id.int, reverse=True)
        return told[:MAX_VERSIONS]

    async def _stored(self) -> Sequence[Mapping[str, Any]]:
        try:
            async with self._database.connection() as connection:
                return await (await connection.execute(queries.MODEL_STATES, [MAX_VERSIONS])).fetchall()
        except (psycopg.Error, OSError):
            return ()

    async def _ask_all(self) -> None:
        snapshot = self._snapshot()
        running = [version for version in snapshot.versions.values() if version.is_callable] if snapshot else []
        running.sort(key=lambda version: version.id.int, reverse=True)
        running = running[:MAX_VERSIONS]
        self._told = {version.id: self._told.get(version.id, {}) for version in running}
        await asyncio.gather(*(self._ask(version) for version in running for _ in range(_asked(version))))

    async def _ask(self, version: Version) -> None:
        """Who of several answers is not for us to choose: what the others said last is kept."""
        with contextlib.suppress(PlatformError):
            lane = calls.version_lane(self._pool, version, "ask")
            answer = await calls.ask(lane, {"op": "health"}, timeout_seconds=ASK_SECONDS)
            sizes = _sizes_of(answer.header.get("batches"))
            told = self._told.get(version.id)
            if sizes and told is not None:
                worker = (str(answer.header.get("pid")), str(answer.header.get("since")))
                told.pop(worker, None)
                told[worker] = sizes
                if len(told) > MAX_WORKERS:
                    _merge_oldest(told)

    def _batches(self) -> dict[Labels, Sizes]:
        snapshot = self._snapshot()
        versions = snapshot.versions if snapshot is not None else {}
        return {
            _labels(versions[id]): _sum(told.values()) for id, told in self._told.items() if told and id in versions
        }


# What a row of MODEL_STATES has under the same name, in bytes where it says so.
_GAUGES = {
    "desired_replicas": "Replicas that there should be now.",
    "memory_bytes": "Memory of all replicas.",
    "replica_memory_bytes": "Memory of the largest replica.",
    "replica_memory_peak_bytes": "The most that a running replica has used.",
    "replica_memory_limit_bytes": "What a replica may use.",
    "failures_in_a_row": "Replicas that failed since one ran for a while.",
    "crash_loop": "1 while replicas fail again and again, and none is ready.",
}


def in_turns(items: Iterable[T]) -> Iterator[T]:
    """For a thread's long loop: the event loop's thread gets a turn sooner than after the interpreter's 5 ms."""
    for number, item in enumerate(items):
        if number % _TURN == _TURN - 1:
            time.sleep(_PAUSE_SECONDS)
        yield item


def _answers(told: Sequence[Answers]) -> Iterator[Metric]:
    requests = CounterMetricFamily("tenfold_model_requests", "Calls of a version.", labels=[*_LABELS, "status"])
    seconds = HistogramMetricFamily(
        "tenfold_model_request_seconds", "From a call's arrival to the last byte of its answer.", labels=_LABELS
    )
    for one in in_turns(told):
        for status, count in sorted(one.statuses.items()):
            requests.add_metric([*one.labels, str(status)], count)
        seconds.add_metric(one.labels, _cumulated(BOUNDS_SECONDS, one.buckets, _EVERY), one.seconds)
    yield from (requests, seconds)


def _waiting(told: Sequence[Waiting]) -> Iterator[Metric]:
    queue = GaugeMetricFamily("tenfold_model_queue_length", "Calls that wait for a replica.", labels=_LABELS)
    in_flight = GaugeMetricFamily("tenfold_model_in_flight", "Calls that replicas work on.", labels=_LABELS)
    waits = HistogramMetricFamily("tenfold_model_queue_seconds", "How long calls waited for a replica.", labels=_LABELS)
    for one in in_turns(told):
        queue.add_metric(one.labels, one.queue_length)
        in_flight.add_metric(one.labels, one.in_flight)
        waits.add_metric(one.labels, _cumulated(WAIT_BOUNDS_SECONDS, one.buckets), one.seconds)
    yield from (queue, in_flight, waits)


def _replicas(rows: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    gauges = {name: GaugeMetricFamily(f"tenfold_model_{name}", text, labels=_LABELS) for name, text in _GAUGES.items()}
    states = GaugeMetricFamily("tenfold_model_replicas", "Replicas by state.", labels=[*_LABELS, "state"])
    starts = SummaryMetricFamily(
        "tenfold_model_cold_start_seconds",
        "From asking for a replica to its first possible answer.",
        labels=_LABELS,
    )
    ends = CounterMetricFamily(
        "tenfold_model_replica_ends", "Replicas that ended, by why.", labels=[*_LABELS, "reason"]
    )
    for row in in_turns(rows):
        labels = (row["workspace"], row["model"], str(row["version"]))
        for state in STATES:
            states.add_metric([*labels, state], row["states"].get(state, 0))
        starts.add_metric(labels, row["cold_starts"], row["cold_start_seconds"])
        for reason, count in _bounded_ends(row["ends"]).items():
            ends.add_metric([*labels, reason], count)
        for name, gauge in gauges.items():
            if row[name] is not None:
                gauge.add_metric(labels, row[name])
    yield from (states, starts, ends, *gauges.values())


def _batch_sizes(batches: Mapping[Labels, Sizes]) -> Metric:
    """Without a sum: workers count batches by size, not calls."""
    family = HistogramMetricFamily("tenfold_model_batch_size", "Calls that a worker answered together.", labels=_LABELS)
    for labels, sizes in batches.items():
        powers = sorted(sizes)
        counts = accumulate(sizes[power] for power in powers)
        buckets = [(str(2.0 * power - 1), count) for power, count in zip(powers, counts, strict=True)]
        family.add_metric(labels, [*buckets, ("+Inf", sum(sizes.values()))], None)
    return family


def _sizes_of(given: Any) -> dict[int, int]:
    """What a worker says, as far as it can be true: it runs a model, which may have it say anything."""
    if not isinstance(given, dict):
        return {}
    counts = {power: given.get(str(power)) for power in POWERS}
    return {power: count for power, count in counts.items() if type(count) is int and 0 <= count <= MAX_COUNT}


def _sum(told: Iterable[Sizes]) -> dict[int, int]:
    total = Counter[int]()
    for sizes in told:
        total.update(sizes)
    return dict(total)


def _merge_oldest(told: dict[Worker, Sizes]) -> None:
    """What was heard of longest ago is told apart no more, but still counts."""
    oldest = next(worker for worker in told if worker != GONE)
    told[GONE] = _sum((told.get(GONE, {}), told.pop(oldest)))


def _asked(version: Version) -> int:
    """How often to ask, so that every replica is likely to have answered."""
    return min(len(version.deployment.ready), MAX_ASKED) if version.deployment is not None else 0


def _labels(version: Version) -> Labels:
    return version.workspace_name, version.model_name, str(version.number)


def _cumulated(bounds: Sequence[float], counts: Sequence[int], every: int = 1) -> list[tuple[str, float]]:
    """Prometheus's buckets: each counts all that is not above its bound."""
    sums = list(accumulate(counts))
    kept = range(every - 1, len(bounds), every)
    return [*((str(bounds[place]), float(sums[place])) for place in kept), ("+Inf", float(sums[-1]))]


def _bounded_ends(ends: Mapping[str, int]) -> dict[str, int]:
    bounded: dict[str, int] = {}
    for reason, count in ends.items():
        label = reason if reason in ENDS else "other"
        bounded[label] = bounded.get(label, 0) + count
    return bounded
