"""Desired state. Nothing here starts a process: it says what should run, and the controller makes it so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import Text, cast, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_platform.apps.tables import AppTable, ReleaseState, ReleaseTable
from tenfold_platform.deployments.tables import (
    LIVE_REPLICA_STATES,
    DeploymentKind,
    DeploymentTable,
    ReplicaState,
    ReplicaTable,
)
from tenfold_platform.ids import new_id
from tenfold_platform.models.tables import AliasTable, VersionState, VersionTable


def log_subject(deployment_id: UUID) -> str:
    """The name of the log that all replicas of a deployment write to."""
    return f"deployment:{deployment_id}"


def create_for_version(session: Session, version: VersionTable) -> DeploymentTable:
    deployment = DeploymentTable(
        id=new_id(),
        workspace_id=version.workspace_id,
        kind=DeploymentKind.MODEL,
        version_id=version.id,
        environment_id=version.environment_id,
        desired_replicas=1,
    )
    session.add(deployment)
    return deployment


def ensure_code_pool(session: Session, workspace_id: UUID, environment_id: UUID) -> DeploymentTable:
    """The pool that runs app code of one environment; running from now on."""
    session.execute(
        insert(DeploymentTable)
        .values(
            id=new_id(),
            workspace_id=workspace_id,
            kind=DeploymentKind.CODE,
            environment_id=environment_id,
            desired_replicas=1,
            failures=0,
            unhealthy_reason="",
            fence=0,
        )
        .on_conflict_do_nothing()
    )
    pool = session.scalars(
        select(DeploymentTable).where(
            DeploymentTable.environment_id == environment_id, DeploymentTable.kind == DeploymentKind.CODE
        )
    ).one()
    start(pool)
    return pool


def start(deployment: DeploymentTable) -> None:
    """Wants one replica, and forgets earlier failures: somebody asked, so try at once."""
    if deployment.desired_replicas == 0 or deployment.unhealthy_reason:
        deployment.failures = 0
        deployment.retry_at = None
        deployment.unhealthy_reason = ""
    deployment.desired_replicas = max(1, deployment.desired_replicas)


def restart(session: Session, deployment: DeploymentTable) -> None:
    """Replaces every replica by a new one, each only when the new one is ready. One that is stopped is started."""
    deployment.failures, deployment.retry_at, deployment.unhealthy_reason = 0, None, ""
    start(deployment)
    session.execute(
        update(ReplicaTable)
        .where(
            ReplicaTable.deployment_id == deployment.id,
            ReplicaTable.state.in_(LIVE_REPLICA_STATES),
            ReplicaTable.draining_since.is_(None),
        )
        .values(draining_since=func.now())
    )


def stop(deployment: DeploymentTable) -> None:
    deployment.desired_replicas = 0


def of_version(session: Session, version_id: UUID) -> DeploymentTable:
    return session.scalars(select(DeploymentTable).where(DeploymentTable.version_id == version_id)).one()


def stop_unneeded(session: Session, version_ids: Iterable[UUID]) -> None:
    """Stops versions that no alias names, no live or coming release pins, and that are not being prepared."""
    for version_id in set(version_ids):
        version = session.get(VersionTable, version_id)
        if version is None or version.state not in (VersionState.READY, VersionState.FAILED):
            continue
        if not _is_needed(session, version):
            stop(of_version(session, version_id))


def _is_needed(session: Session, version: VersionTable) -> bool:
    if version.state == VersionState.FAILED:
        return False
    aliased = exists().where(or_(AliasTable.version_id == version.id, AliasTable.canary_version_id == version.id))
    pinned = (
        exists()
        .where(ReleaseTable.workspace_id == version.workspace_id)
        .where(
            (ReleaseTable.state == ReleaseState.PREPARING) | exists().where(AppTable.live_release_id == ReleaseTable.id)
        )
        .where(cast(ReleaseTable.bundle["models"], Text).contains(str(version.id)))
    )
    return bool(session.scalar(select(aliased | pinned)))


def live_apps_using(session: Session, version_ids: Sequence[UUID]) -> list[AppTable]:
    """Apps whose live release pins one of these versions."""
    if not version_ids:
        return []
    models = cast(ReleaseTable.bundle["models"], Text)
    query = (
        select(AppTable)
        .join(ReleaseTable, ReleaseTable.id == AppTable.live_release_id)
        .where(or_(*(models.contains(str(version_id)) for version_id in version_ids)))
    )
    return list(session.scalars(query))


def list_replicas(session: Session, deployment_id: UUID, *, ended: int = 5) -> list[ReplicaTable]:
    """Live replicas, then the latest that ended."""
    live = session.scalars(
        select(ReplicaTable)
        .where(ReplicaTable.deployment_id == deployment_id, ReplicaTable.state.in_(LIVE_REPLICA_STATES))
        .order_by(ReplicaTable.id)
    ).all()
    gone = session.scalars(
        select(ReplicaTable)
        .where(ReplicaTable.deployment_id == deployment_id, ReplicaTable.state.not_in(LIVE_REPLICA_STATES))
        .order_by(ReplicaTable.id.desc())
        .limit(ended)
    ).all()
    return [*live, *gone]


def status_word(deployment: DeploymentTable, replicas: Sequence[ReplicaTable]) -> str:
    """stopped | starting | running | unhealthy."""
    if any(replica.state == ReplicaState.READY for replica in replicas):
        return "running"
    if deployment.desired_replicas == 0:
        return "stopped"
    return "unhealthy" if deployment.unhealthy_reason else "starting"
