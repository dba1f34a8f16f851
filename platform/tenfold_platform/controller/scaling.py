"""How many replicas a deployment should have now, from what gateways see of its calls.

`target` decides, over plain values; `apply` reads what it goes by and writes what it says. Starting, draining and
stopping replicas is the reconciler's business.

calls wait for a while, all replicas up     -> more, as many as the load fills
the load would fit into fewer, for a while  -> one less
no call for `idle_seconds`, and 0 allowed   -> none: asleep, until a call wakes it (`gateway/waking.py`)
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, case, delete, exists, func, select, text, update
from sqlalchemy.orm import Session

from tenfold_platform.deployments.tables import DemandTable, DeploymentTable, ReplicaState, ReplicaTable
from tenfold_platform.models.tables import PredictionTable, VersionState, VersionTable

log = logging.getLogger(__name__)

QUEUED_SECONDS = 2.0  # calls that wait for shorter are none to start a replica for
ROOM = 0.8  # of the replicas that stay, at most so much may be filled when one goes
SETTLING_SECONDS = 60.0  # for so long a replica that comes up is waited for before fewer are asked for
STALE_SECONDS = 10.0  # a gateway that says nothing for so long sees no calls, or is gone
FORGET_DAYS = 7
COMING_UP = (ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.LOADING)
NO_FAILURES: dict[str, Any] = {"failures": 0, "retry_at": None, "unhealthy_reason": ""}  # whoever wakes starts anew


@dataclass(frozen=True)
class Bounds:
    min: int
    max: int
    idle_seconds: float


@dataclass(frozen=True)
class Seen:
    """Of all gateways together. Ages are in seconds, by PostgreSQL's clock.

    `load`: the most calls at once of the last while, in replicas that they fill. `queued_seconds`: for how long calls
    have waited without a break, None when none waits. `idle_seconds`: since the last call, or since it came up.
    `is_failing`: its replicas have failed lately. `newest_seconds`: since its newest replica was asked for.
    """

    load: float
    queued_seconds: float | None
    idle_seconds: float
    is_failing: bool = False
    newest_seconds: float = 0.0


def target(bounds: Bounds, desired: int, ready: int, seen: Seen) -> int:
    """How many replicas there should be; 0 only for one that may sleep."""
    if desired < 1:
        return desired
    if bounds.min < 1 and seen.idle_seconds >= bounds.idle_seconds and seen.queued_seconds is None:
        return 0
    lowest, highest = max(1, bounds.min), max(1, bounds.max)
    fits_into_fewer = seen.queued_seconds is None and seen.load <= (desired - 1) * ROOM
    is_coming_up = ready < desired
    if is_coming_up and not seen.is_failing and seen.newest_seconds < SETTLING_SECONDS:
        wanted = desired  # whoever comes up has not been counted yet
    elif fits_into_fewer:
        wanted = desired - 1
    elif not is_coming_up and seen.queued_seconds is not None and seen.queued_seconds >= QUEUED_SECONDS:
        wanted = max(desired + 1, math.ceil(seen.load))
    else:
        wanted = desired
    return min(max(wanted, lowest), highest)


def apply(session: Session, owner: str) -> list[UUID]:
    """Writes what the deployments leased by `owner` should have now. Returns those that changed."""
    changed: list[UUID] = _wake_for_predictions(session, owner)
    for row, ready, seen in _looks(session, owner):
        bounds = Bounds(row.min_replicas, row.max_replicas, row.idle_seconds)
        wanted = target(bounds, row.desired_replicas, ready, seen)
        if wanted == row.desired_replicas:
            continue
        said = "asleep" if wanted == 0 else f"{wanted} replicas"
        log.info("deployment %s: from %s replicas to %s", row.id, row.desired_replicas, said)
        asleep = {"asleep_since": func.now(), **NO_FAILURES} if wanted == 0 else {"asleep_since": None}
        written = session.execute(
            update(DeploymentTable)
            .where(
                DeploymentTable.id == row.id,
                DeploymentTable.desired_replicas == row.desired_replicas,  # unless somebody changed it meanwhile
                DeploymentTable.min_replicas == row.min_replicas,
                DeploymentTable.max_replicas == row.max_replicas,
            )
            .values(desired_replicas=wanted, **asleep)
            .execution_options(synchronize_session=False)
        )
        if written.rowcount:  # type: ignore[attr-defined]
            changed.append(row.id)
    return changed


def forget_gone(session: Session) -> None:
    """What gateways said that have long been gone."""
    session.execute(delete(DemandTable).where(DemandTable.at < func.now() - text(f"interval '{FORGET_DAYS} days'")))


def _has_predictions() -> Any:
    """Whether some wait to be answered later."""
    waits = PredictionTable.state.in_(("queued", "running"))
    return exists().where(PredictionTable.version_id == DeploymentTable.version_id, waits)


# asked once a second, and built once: putting them together costs more

_IS_LEASED = DeploymentTable.lease_owner == bindparam("owner")
_SCALED = (
    select(DeploymentTable, _has_predictions())
    .join(VersionTable, VersionTable.id == DeploymentTable.version_id)
    .where(
        _IS_LEASED,
        DeploymentTable.desired_replicas > 0,
        DeploymentTable.min_replicas < DeploymentTable.max_replicas,
        VersionTable.state == VersionState.READY,
    )
)
_IS_FRESH = DemandTable.at > func.now() - text(f"interval '{STALE_SECONDS:g} seconds'")
_DEMAND = (
    select(
        DemandTable.deployment_id,
        func.sum(case((_IS_FRESH, DemandTable.load), else_=0.0)),
        func.extract("epoch", func.now() - func.min(case((_IS_FRESH, DemandTable.queued_since)))),
        func.extract("epoch", func.now() - func.max(DemandTable.used_at)),
    )
    .where(DemandTable.deployment_id.in_(bindparam("ids", expanding=True)))
    .group_by(DemandTable.deployment_id)
)
_CAME_UP = func.coalesce(ReplicaTable.ready_at, ReplicaTable.created_at)
_REPLICAS = (
    select(
        ReplicaTable.deployment_id,
        func.count().filter(ReplicaTable.state == ReplicaState.READY),
        func.count().filter(ReplicaTable.state.in_(COMING_UP), ReplicaTable.draining_since.is_(None)),
        func.extract("epoch", func.now() - func.max(_CAME_UP)),
        func.extract("epoch", func.now() - func.max(ReplicaTable.created_at)),
    )
    .where(ReplicaTable.deployment_id.in_(bindparam("ids", expanding=True)))
    .group_by(ReplicaTable.deployment_id)
)
_ASLEEP_WITH_PREDICTIONS = (
    select(DeploymentTable.id)
    .where(_IS_LEASED, DeploymentTable.asleep_since.is_not(None), _has_predictions())
    .with_for_update(of=DeploymentTable)
)


def _looks(session: Session, owner: str) -> list[tuple[DeploymentTable, int, Seen]]:
    """Deployments that may have more or fewer replicas than now, and are prepared."""
    scaled = session.execute(_SCALED, {"owner": owner})
    rows = {row.id: (row, has_predictions) for row, has_predictions in scaled}
    if not rows:
        return []
    ids = {"ids": list(rows)}
    by_deployment = {id: (load, queued, used) for id, load, queued, used in session.execute(_DEMAND, ids)}
    by_replicas = {id: rest for id, *rest in session.execute(_REPLICAS, ids)}
    looks = []
    for id, (row, has_predictions) in rows.items():
        load, queued, used = by_deployment.get(id, (0.0, None, None))
        ready, coming_up, came_up, newest = by_replicas.get(id, (0, 0, None, None))
        is_busy = has_predictions or coming_up  # one that has not loaded yet has had nothing to do, and is not idle
        ages = [float(age) for age in (used, came_up, 0 if is_busy else None) if age is not None]
        if ages:
            queued_seconds = None if queued is None else float(queued)
            seen = Seen(float(load), queued_seconds, min(ages), row.failures > 0, float(newest or 0))
            looks.append((row, ready, seen))
    return looks


def _wake_for_predictions(session: Session, owner: str) -> list[UUID]:
    """Predictions that are answered later wait in PostgreSQL: their gateway may be gone before it wakes anything."""
    asleep = list(session.scalars(_ASLEEP_WITH_PREDICTIONS, {"owner": owner}))
    if asleep:  # an update of nothing is a change as well, to those who listen
        session.execute(
            update(DeploymentTable)
            .where(DeploymentTable.id.in_(asleep))
            .values(desired_replicas=func.greatest(1, DeploymentTable.min_replicas), asleep_since=None, **NO_FAILURES)
            .execution_options(synchronize_session=False)
        )
    return asleep
