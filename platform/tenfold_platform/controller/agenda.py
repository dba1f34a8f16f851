"""What there is to do in a round. The questions are put together once: that costs several times what asking does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, case, func, literal_column, or_, select, union_all, update
from sqlalchemy.orm import Session

from tenfold_platform.controller import compiling, releases, versions
from tenfold_platform.deployments.tables import LIVE_REPLICA_STATES, DeploymentTable, ReplicaState, ReplicaTable
from tenfold_platform.environments import service as environments
from tenfold_platform.models import tasks

LEASE = timedelta(seconds=15)
RESEND_AFTER = timedelta(seconds=2)
HEALTHY_LOOK_SECONDS = 2.0


class Agenda:
    """`owner`: the controller that asks. `compiles`: whether models are compiled at all."""

    def __init__(self, owner: str, *, compiles: bool) -> None:
        lists = {
            "version": versions.unfinished(),
            "release": releases.preparing(),
            "build_environment": environments.unbuilt(RESEND_AFTER),
            "fetch_data": tasks.unfetched(RESEND_AFTER),
        }
        if compiles:
            lists["compilation"] = compiling.unfinished()
        self._work = union_all(*(_of_kind(kind, ids) for kind, ids in lists.items())).order_by("created_at")
        self._deployments = _deployments(owner)
        self._lease = _lease(owner)
        self._looked_at: dict[UUID, float] = {}

    def work(self, session: Session) -> list[tuple[str, UUID]]:
        """Kinds and ids of what is not finished, the oldest first: a version, a release or a compilation to advance,
        an environment (`build_environment`) or a version (`fetch_data`) whose message has waited for long.
        """
        return [(kind, row_id) for kind, row_id, _ in session.execute(self._work)]

    def due_deployments(self, session: Session) -> list[UUID]:
        """Leases deployments and returns those to look at: all that are not settled, the settled ones now and then."""
        rows = session.execute(self._deployments).all()
        if any(row.wants_lease for row in rows):
            session.execute(self._lease)
            rows = session.execute(self._deployments).all()
        return self._due([row for row in rows if row.is_mine])

    def _due(self, rows: Sequence[Row[Any]]) -> list[UUID]:
        now = time.monotonic()
        due: list[UUID] = []
        for row in rows:
            settled = row.states == [ReplicaState.READY] * row.desired_replicas
            if settled and now - self._looked_at.get(row.id, 0.0) < HEALTHY_LOOK_SECONDS:
                continue
            if settled and row.desired_replicas == 0:
                continue
            self._looked_at[row.id] = now
            due.append(row.id)
        return due


def _of_kind(kind: str, rows: Select[UUID, datetime]) -> Select[str, UUID, datetime]:
    row = rows.subquery()
    return select(literal_column(f"'{kind}'"), row.c[0], row.c[1].label("created_at"))


def _deployments(owner: str) -> Select[Any]:
    is_mine = func.coalesce(DeploymentTable.lease_owner == owner, False)
    is_live = and_(ReplicaTable.deployment_id == DeploymentTable.id, ReplicaTable.state.in_(LIVE_REPLICA_STATES))
    state = case((ReplicaTable.draining_since.is_not(None), "outgoing"), else_=ReplicaTable.state)
    states = func.array_agg(state).filter(ReplicaTable.id.is_not(None))
    return (
        select(
            DeploymentTable.id,
            DeploymentTable.desired_replicas,
            is_mine.label("is_mine"),
            _wants_lease(owner).label("wants_lease"),
            func.coalesce(states, literal_column("'{}'::text[]")).label("states"),
        )
        .outerjoin(ReplicaTable, is_live)
        .group_by(DeploymentTable.id)
    )


def _lease(owner: str) -> Any:
    free = select(DeploymentTable.id).where(_wants_lease(owner)).with_for_update(skip_locked=True)
    return (
        update(DeploymentTable)
        .where(DeploymentTable.id.in_(free))
        .values(
            lease_owner=owner,
            lease_until=func.now() + LEASE,
            fence=DeploymentTable.fence + case((DeploymentTable.lease_owner == owner, 0), else_=1),
        )
        .execution_options(synchronize_session=False)
    )


def _wants_lease(owner: str) -> Any:
    """Nobody has it, or this owner's is half over."""
    is_old = and_(DeploymentTable.lease_owner == owner, DeploymentTable.lease_until < func.now() + LEASE / 2)
    return or_(DeploymentTable.lease_until.is_(None), DeploymentTable.lease_until < func.now(), is_old)
