"""Packed models: those that ask to share a worker, and what came of it for each of their replicas.

Which of them do share is the scheduler's to say, in the replica's handle (`ReplicaSpec.packed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tenfold_platform.deployments.tables import LIVE_REPLICA_STATES, DeploymentTable, ReplicaTable
from tenfold_platform.models.tables import VersionTable

APART = "apart"  # the label of replicas that were not to share, though their version is packed
AFTER_A_FAILURE = (
    "It was started after a failure. Then each has a worker of its own, so that the one at fault is found."
)
NOBODY_SHARES = "Workers are not shared on the machine that it runs on."


def wants_packing(version: VersionTable) -> bool:
    """Whether the package says `runtime.packed: true`."""
    return bool((version.config.get("runtime") or {}).get("packed"))


def may_share(version: VersionTable, deployment: DeploymentTable) -> bool:
    """Whether its next replica may. After a failure none does until the deployment has run well for a while: when a
    shared worker crashes, all who were in it start alone, and the one at fault ends nobody else's the next time.
    """
    return wants_packing(version) and deployment.failures == 0


def shares_worker(row: ReplicaTable) -> bool:
    """Whether it is, or was, in a shared worker. How such a one ends says nothing of its model: another's may have
    ended it, and the next replica is alone.
    """
    return _worker(row) is not None


def count_sharing(session: Session, replicas: Sequence[ReplicaTable]) -> dict[UUID, int]:
    """For each live one of these that is in a shared worker: how many other live ones are in it."""
    workers = {row.id: worker for row in replicas if row.state in LIVE_REPLICA_STATES and (worker := _worker(row))}
    if not workers:
        return {}
    worker = ReplicaTable.handle["data"]["pack"]["worker"].astext
    counted = session.execute(
        select(ReplicaTable.host, worker, func.count())
        .where(ReplicaTable.state.in_(LIVE_REPLICA_STATES), worker.in_({name for _, name in workers.values()}))
        .group_by(ReplicaTable.host, worker)
    )
    members = {(host, name): count for host, name, count in counted}
    # one that was live a moment ago may not be counted any more
    return {replica_id: members.get(where, 1) - 1 for replica_id, where in workers.items()}


def alone_because(version: VersionTable, row: ReplicaTable) -> str | None:
    """Why a replica of a packed version has a worker of its own; None where it has not, or none yet."""
    if not row.handle or not wants_packing(version) or _worker(row):
        return None
    if (row.handle.get("labels") or {}).get(APART):
        return AFTER_A_FAILURE
    reason: str | None = _pack(row).get("alone")
    return reason or NOBODY_SHARES


def _worker(row: ReplicaTable) -> tuple[str, str] | None:
    """The worker that it shares: on which machine, and its name there."""
    name = _pack(row).get("worker")
    return (row.host, name) if name else None


def _pack(row: ReplicaTable) -> dict[str, str]:
    pack: dict[str, str] = (row.handle.get("data") or {}).get("pack") or {}
    return pack
