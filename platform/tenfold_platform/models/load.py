"""What every model of a workspace has to do now: what gateways count, and what the controller measures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import (
    LIVE_REPLICA_STATES,
    DeploymentTable,
    LoadTable,
    ReplicaState,
    ReplicaTable,
)
from tenfold_platform.models.present import cold_start_seconds
from tenfold_platform.models.schemas import Load, LoadLine
from tenfold_platform.models.tables import ModelTable, ShadowTable, TrafficTable, VersionTable
from tenfold_platform.models.traffic import Tally, replicas_of

WINDOW = timedelta(minutes=5)
SAID_WITHIN = timedelta(seconds=10)  # a gateway that has been silent for longer has no calls
MAX_LINES = 500


def load(session: Session, workspace_id: UUID, *, queue_length: int, now: datetime) -> Load:
    """Of each version that runs, sleeps, or was called within the window; the newest when there are very many."""
    since = (now - WINDOW).replace(second=0, microsecond=0)
    tallies = _tallies(session, workspace_id, since)
    rows = session.execute(
        select(ModelTable.name, VersionTable, DeploymentTable)
        .join(VersionTable, VersionTable.model_id == ModelTable.id)
        .join(DeploymentTable, DeploymentTable.version_id == VersionTable.id)
        .where(
            ModelTable.workspace_id == workspace_id,
            or_(
                DeploymentTable.desired_replicas > 0,
                DeploymentTable.asleep_since.is_not(None),
                VersionTable.id.in_(list(tallies)),
            ),
        )
        .order_by(VersionTable.id.desc())
        .limit(MAX_LINES)
    ).all()
    replicas = replicas_of(session, [version.id for _, version, _ in rows])
    calls = _calls(session, [deployment.id for _, _, deployment in rows])
    shadow_of = _shadow_of(session, [version.id for _, version, _ in rows])
    seconds = (now - since).total_seconds()
    return Load(
        window_seconds=seconds,
        queue_length=queue_length,
        lines=[
            _line(
                name,
                version,
                deployment,
                tallies.get(version.id, Tally()),
                replicas.get(version.id, []),
                calls.get(deployment.id, (0, 0)),
                seconds,
                shadow_of.get(version.id, []),
            )
            for name, version, deployment in rows
        ],
    )


def _tallies(session: Session, workspace_id: UUID, since: datetime) -> dict[UUID, Tally]:
    rows: Any = session.execute(
        select(
            TrafficTable.version_id,
            TrafficTable.requests,
            TrafficTable.refused,
            TrafficTable.failed,
            TrafficTable.seconds,
            TrafficTable.buckets,
        )
        .join(VersionTable, VersionTable.id == TrafficTable.version_id)
        .where(VersionTable.workspace_id == workspace_id, TrafficTable.minute >= since)
    )
    found: dict[UUID, Tally] = {}
    for row in rows:
        found.setdefault(row.version_id, Tally()).add(row)
    return found


def _calls(session: Session, deployment_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    """How many wait and are worked on, in all gateways."""
    rows = session.execute(
        select(LoadTable.deployment_id, func.sum(LoadTable.waiting), func.sum(LoadTable.in_flight))
        .where(LoadTable.deployment_id.in_(deployment_ids), LoadTable.at > func.now() - SAID_WITHIN)
        .group_by(LoadTable.deployment_id)
    )
    return {deployment_id: (int(waiting), int(in_flight)) for deployment_id, waiting, in_flight in rows}


def _shadow_of(session: Session, version_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """The aliases whose calls each version gets a copy of."""
    query = select(ShadowTable.version_id, ShadowTable.alias).where(ShadowTable.version_id.in_(version_ids))
    found: dict[UUID, list[str]] = {}
    for version_id, alias in session.execute(query.order_by(ShadowTable.alias)):
        found.setdefault(version_id, []).append(alias)
    return found


def _line(
    model: str,
    version: VersionTable,
    deployment: DeploymentTable,
    tally: Tally,
    replicas: Sequence[ReplicaTable],
    calls: tuple[int, int],
    seconds: float,
    shadow_of: list[str],
) -> LoadLine:
    live = [replica for replica in replicas if replica.state in LIVE_REPLICA_STATES]
    newest = max((one for one in replicas if one.ready_at is not None), key=lambda one: one.id.int, default=None)
    totals = tally.totals()
    waiting, in_flight = calls
    return LoadLine(
        model=model,
        version=version.number,
        status=deployments.status_word(deployment, live),
        requests_per_second=totals.requests / seconds,
        p95_seconds=totals.p95_seconds,
        failed=totals.failed,
        refused=totals.refused,
        waiting=waiting,
        in_flight=in_flight,
        desired_replicas=deployment.desired_replicas,
        ready_replicas=sum(replica.state == ReplicaState.READY for replica in live),
        memory_bytes=max((one.memory_bytes or 0 for one in live), default=0) or None,
        peak_memory_bytes=max((one.peak_memory_bytes or 0 for one in live), default=0) or None,
        memory_limit_bytes=version.memory_bytes,
        cold_start_seconds=cold_start_seconds(newest) if newest else None,
        shadow_of=shadow_of,
    )
