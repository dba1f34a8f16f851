"""How much a model was called, how fast it answered: the gateways' minutes, added up into steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, or_, select
from sqlalchemy.orm import Session

from tenfold_platform.deployments.tables import LIVE_REPLICA_STATES, DeploymentTable, ReplicaTable
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS
from tenfold_platform.models.present import cold_start_seconds
from tenfold_platform.models.schemas import ModelMetrics, TrafficLine, TrafficPoint, TrafficTotals
from tenfold_platform.models.tables import ModelTable, TrafficTable, VersionTable

SHOWN_STEPS = 120
MAX_STEPS = 1500
MAX_MINUTES = 31 * 24 * 60
KEPT_FOR = timedelta(minutes=MAX_MINUTES, days=1)
LATEST_REPLICAS = 5
STEPS_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440)


@dataclass
class Tally:
    """Calls added up."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=list)

    def add(self, row: Tally | Row[Any]) -> None:
        self.requests += row.requests
        self.refused += row.refused
        self.failed += row.failed
        self.seconds += row.seconds
        self.buckets += [0] * (len(row.buckets) - len(self.buckets))
        for index, count in enumerate(row.buckets):
            self.buckets[index] += count

    def totals(self) -> TrafficTotals:
        return TrafficTotals(
            requests=self.requests,
            refused=self.refused,
            failed=self.failed,
            mean_seconds=self.seconds / self.requests if self.requests else None,
            p50_seconds=percentile(self.buckets, 0.50),
            p95_seconds=percentile(self.buckets, 0.95),
            p99_seconds=percentile(self.buckets, 0.99),
        )


def percentile(buckets: Sequence[int], share: float, bounds: Sequence[float] = BOUNDS_SECONDS) -> float | None:
    """The duration that `share` of the calls stayed below, taken as evenly spread within their bucket.

    `buckets[i]` counts calls of at most `bounds[i]` seconds; the last one those that took longer than every bound, of
    which no more can be said than that. None without calls.
    """
    wanted = share * sum(buckets)
    if not wanted:
        return None
    before = 0
    for index, count in enumerate(buckets[: len(bounds)]):
        if count and before + count >= wanted:
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * (wanted - before) / count
        before += count
    return bounds[-1]


def step_for(minutes: int) -> int:
    """The shortest step of a common length in which the span has few enough points to be drawn."""
    return next((step for step in STEPS_MINUTES if minutes / step <= SHOWN_STEPS), STEPS_MINUTES[-1])


def metrics(
    session: Session,
    model: ModelTable,
    *,
    version: VersionTable | None,
    minutes: int,
    step_minutes: int | None,
    now: datetime,
) -> ModelMetrics:
    """The last `minutes` of a model, or of one of its versions: whole steps, the last one still going on."""
    step = timedelta(minutes=max(step_minutes or step_for(minutes), -(-minutes // MAX_STEPS)))
    until = _floor(now, timedelta(minutes=1)) + timedelta(minutes=1)
    since = _floor(until - timedelta(minutes=minutes), step)
    shown = _numbers(session, model, version)
    tallies = _tallies(session, list(shown), since, until, step)
    replicas = replicas_of(session, list(shown))
    running = {one for one, found in replicas.items() if any(row.state in LIVE_REPLICA_STATES for row in found)}
    told = {version.id} if version else {*tallies, *running}
    nothing = [Tally() for _ in range(_step_count(since, until, step))]
    lines = [
        _line(number, since, step, tallies.get(one, nothing), replicas.get(one, []))
        for one, number in shown.items()
        if one in told
    ]
    whole = [_sum(at) for at in zip(*tallies.values(), strict=True)] or nothing
    return ModelMetrics(
        since=since,
        until=until,
        step_minutes=int(step.total_seconds() // 60),
        totals=_sum(whole).totals(),
        points=_points(since, step, whole),
        versions=lines,
    )


def forget_old(session: Session, now: datetime) -> int:
    """Drops the minutes that no span reaches any more. How many."""
    result = session.execute(delete(TrafficTable).where(TrafficTable.minute < now - KEPT_FOR))
    return int(getattr(result, "rowcount", 0) or 0)


def _numbers(session: Session, model: ModelTable, version: VersionTable | None) -> dict[UUID, int]:
    """The versions that are asked about, newest first."""
    if version is not None:
        return {version.id: version.number}
    rows = session.execute(
        select(VersionTable.id, VersionTable.number)
        .where(VersionTable.model_id == model.id)
        .order_by(VersionTable.number.desc())
    )
    return {one: number for one, number in rows}


def _tallies(
    session: Session, version_ids: Sequence[UUID], since: datetime, until: datetime, step: timedelta
) -> dict[UUID, list[Tally]]:
    """One for each step, of each version that was called at all."""
    rows = session.execute(
        select(
            TrafficTable.version_id,
            TrafficTable.minute,
            TrafficTable.requests,
            TrafficTable.refused,
            TrafficTable.failed,
            TrafficTable.seconds,
            TrafficTable.buckets,
        ).where(TrafficTable.version_id.in_(version_ids), TrafficTable.minute >= since, TrafficTable.minute < until)
    )
    count = _step_count(since, until, step)
    found: dict[UUID, list[Tally]] = {}
    for row in rows:
        if row.version_id not in found:
            found[row.version_id] = [Tally() for _ in range(count)]
        found[row.version_id][(row.minute - since) // step].add(row)
    return found


def replicas_of(session: Session, version_ids: Sequence[UUID]) -> dict[UUID, list[ReplicaTable]]:
    """Those that live, and the latest few of each."""
    age = func.row_number().over(partition_by=ReplicaTable.deployment_id, order_by=ReplicaTable.id.desc())
    known = (
        select(ReplicaTable.id, DeploymentTable.version_id, age.label("age"))
        .join(DeploymentTable, DeploymentTable.id == ReplicaTable.deployment_id)
        .where(DeploymentTable.version_id.in_(version_ids))
        .subquery()
    )
    rows = session.execute(
        select(known.c.version_id, ReplicaTable)
        .join(known, known.c.id == ReplicaTable.id)
        .where(or_(ReplicaTable.state.in_(LIVE_REPLICA_STATES), known.c.age <= LATEST_REPLICAS))
    )
    found: dict[UUID, list[ReplicaTable]] = {}
    for version_id, replica in rows:
        found.setdefault(version_id, []).append(replica)
    return found


def _line(
    number: int, since: datetime, step: timedelta, tallies: Sequence[Tally], replicas: Sequence[ReplicaTable]
) -> TrafficLine:
    live = [replica for replica in replicas if replica.state in LIVE_REPLICA_STATES]
    started = [one for one in replicas if one.ready_at is not None]
    newest = max(started, key=lambda one: one.id.int, default=None)
    return TrafficLine(
        version=number,
        totals=_sum(tallies).totals(),
        points=_points(since, step, tallies),
        replicas=len(live),
        memory_bytes=max((one.memory_bytes or 0 for one in live), default=0) or None,
        peak_memory_bytes=max((one.peak_memory_bytes or 0 for one in replicas), default=0) or None,
        cold_start_seconds=cold_start_seconds(newest) if newest else None,
    )


def _points(since: datetime, step: timedelta, tallies: Sequence[Tally]) -> list[TrafficPoint]:
    """One for each step, those without calls included."""
    return [TrafficPoint(at=since + index * step, **vars(tally.totals())) for index, tally in enumerate(tallies)]


def _sum(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole


def _step_count(since: datetime, until: datetime, step: timedelta) -> int:
    return -(-(until - since) // step)


def _floor(at: datetime, step: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (at - epoch) // step * step
