"""How much a model was called, how fast it answered: the gateways' minutes, added up into steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import LIVE_REPLICA_STATES, DeploymentTable, ReplicaTable
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS
from tenfold_platform.models import service
from tenfold_platform.models.present import cold_start_seconds
from tenfold_platform.models.schemas import ModelMetrics, TrafficLine, TrafficPoint, TrafficTotals
from tenfold_platform.models.tables import ModelTable, TrafficTable, VersionTable

SHOWN_STEPS = 120
MAX_STEPS = 1500
MAX_MINUTES = 31 * 24 * 60
KEPT_FOR = timedelta(minutes=MAX_MINUTES, days=1)
STEPS_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440)


class Minute(Protocol):
    """What one row says."""

    minute: datetime
    requests: int
    refused: int
    failed: int
    seconds: float
    buckets: list[int]


@dataclass
class Tally:
    """Calls added up."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=list)

    def add(self, row: Minute) -> None:
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


def steps(since: datetime, until: datetime, step: timedelta, rows: Iterable[Minute]) -> list[TrafficPoint]:
    """One point for each step, those without calls included. `since` is the beginning of a step."""
    count = max(0, -(-(until - since) // step))
    tallies = [Tally() for _ in range(count)]
    for row in rows:
        index = (row.minute - since) // step
        if 0 <= index < count:
            tallies[index].add(row)
    return [TrafficPoint(at=since + index * step, **vars(tally.totals())) for index, tally in enumerate(tallies)]


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
    shown = [version] if version else list(service.list_versions(session, model.id))
    rows = _rows(session, [one.id for one in shown], since, until)
    told = {version.id} if version else {*rows, *_running(session, model)}
    lines = [_line(session, one, since, until, step, rows.get(one.id, [])) for one in shown if one.id in told]
    everything = [row for found in rows.values() for row in found]
    return ModelMetrics(
        since=since,
        until=until,
        step_minutes=int(step.total_seconds() // 60),
        totals=_totals(everything),
        points=steps(since, until, step, everything),
        versions=lines,
    )


def forget_old(session: Session, now: datetime) -> int:
    """Drops the minutes that no span reaches any more. How many."""
    result = session.execute(delete(TrafficTable).where(TrafficTable.minute < now - KEPT_FOR))
    return int(getattr(result, "rowcount", 0) or 0)


def _rows(
    session: Session, version_ids: Sequence[UUID], since: datetime, until: datetime
) -> dict[UUID, list[TrafficTable]]:
    query = (
        select(TrafficTable)
        .where(TrafficTable.version_id.in_(version_ids), TrafficTable.minute >= since, TrafficTable.minute < until)
        .order_by(TrafficTable.minute)
    )
    found: dict[UUID, list[TrafficTable]] = {}
    for row in session.scalars(query):
        found.setdefault(row.version_id, []).append(row)
    return found


def _line(
    session: Session,
    version: VersionTable,
    since: datetime,
    until: datetime,
    step: timedelta,
    rows: Sequence[TrafficTable],
) -> TrafficLine:
    replicas = deployments.list_replicas(session, deployments.of_version(session, version.id).id)
    live = [replica for replica in replicas if replica.state in LIVE_REPLICA_STATES]
    started = [one for one in replicas if one.ready_at is not None]
    newest = max(started, key=lambda one: one.id.int, default=None)
    return TrafficLine(
        version=version.number,
        totals=_totals(rows),
        points=steps(since, until, step, rows),
        replicas=len(live),
        memory_bytes=max((one.memory_bytes or 0 for one in live), default=0) or None,
        peak_memory_bytes=max((one.peak_memory_bytes or 0 for one in replicas), default=0) or None,
        cold_start_seconds=cold_start_seconds(newest) if newest else None,
    )


def _running(session: Session, model: ModelTable) -> set[UUID]:
    """Versions with a replica now."""
    query = (
        select(VersionTable.id)
        .join(DeploymentTable, DeploymentTable.version_id == VersionTable.id)
        .join(ReplicaTable, ReplicaTable.deployment_id == DeploymentTable.id)
        .where(VersionTable.model_id == model.id, ReplicaTable.state.in_(LIVE_REPLICA_STATES))
    )
    return set(session.scalars(query))


def _totals(rows: Iterable[Minute]) -> TrafficTotals:
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally.totals()


def _floor(at: datetime, step: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (at - epoch) // step * step
