"""Desired state. Nothing here starts a process: it says what should run, and the controller makes it so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import Text, bindparam, cast, exists, func, or_, select, update
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
from tenfold_platform.models.tables import AliasTable, ModelTable, ShadowTable, VersionState, VersionTable


def log_subject(deployment_id: UUID) -> str:
    """The name of the log that all replicas of a deployment write to."""
    return f"deployment:{deployment_id}"


def create_for_version(session: Session, version: VersionTable) -> DeploymentTable:
    model = session.get_one(ModelTable, version.model_id)
    deployment = DeploymentTable(
        id=new_id(),
        workspace_id=version.workspace_id,
        kind=DeploymentKind.MODEL,
        version_id=version.id,
        environment_id=version.environment_id,
        desired_replicas=max(1, model.min_replicas),  # also of one that may sleep: it has to show that it works
        min_replicas=model.min_replicas,
        max_replicas=model.max_replicas,
        idle_seconds=model.idle_seconds,
    )
    session.add(deployment)
    return deployment


def scale(
    session: Session,
    model: ModelTable,
    *,
    min_replicas: int | None = None,
    max_replicas: int | None = None,
    idle_seconds: int | None = None,
) -> None:
    """How many replicas each running version of a model may have. What is not said stays as it is, as far as it can:
    the other bound gives way.
    """
    lowest = model.min_replicas if min_replicas is None else min_replicas
    highest = model.max_replicas if max_replicas is None else max_replicas
    if lowest > highest:
        lowest, highest = (lowest, lowest) if max_replicas is None else (highest, highest)
    model.min_replicas, model.max_replicas = lowest, max(1, highest)
    if idle_seconds is not None:
        model.idle_seconds = idle_seconds
    of_model = select(VersionTable.id).where(VersionTable.model_id == model.id)
    rows = session.scalars(
        select(DeploymentTable).where(DeploymentTable.version_id.in_(of_model)).order_by(DeploymentTable.id)
        .with_for_update()
    )  # fmt: skip
    for deployment in rows:
        deployment.min_replicas, deployment.max_replicas = model.min_replicas, model.max_replicas
        deployment.idle_seconds = model.idle_seconds
        if deployment.asleep_since is not None and lowest > 0:
            start(deployment)
        elif deployment.desired_replicas > 0:
            deployment.desired_replicas = min(max(deployment.desired_replicas, lowest), model.max_replicas)


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
    """Wants a replica, or as many as it has at least; forgets earlier failures: somebody asked, so try at once."""
    if deployment.desired_replicas == 0 or deployment.unhealthy_reason:
        deployment.failures = 0
        deployment.retry_at = None
        deployment.unhealthy_reason = ""
    deployment.desired_replicas = max(1, deployment.min_replicas, deployment.desired_replicas)
    deployment.asleep_since = None


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
    """Until somebody starts it: no call does."""
    deployment.desired_replicas = 0
    deployment.asleep_since = None


def of_version(session: Session, version_id: UUID) -> DeploymentTable:
    return session.scalars(_OF_VERSION, {"version_id": version_id}).one()


def find_of_version(session: Session, version_id: UUID) -> DeploymentTable | None:
    """None for a version that was deleted."""
    return session.scalars(_OF_VERSION, {"version_id": version_id}).one_or_none()


_OF_VERSION = select(DeploymentTable).where(DeploymentTable.version_id == bindparam("version_id"))


def stop_unneeded(session: Session, version_ids: Iterable[UUID]) -> None:
    """Stops versions that no alias names or tries, no live or coming release pins, and that are not being prepared."""
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
    shadowing = exists().where(ShadowTable.version_id == version.id)
    pinned = (
        exists()
        .where(ReleaseTable.workspace_id == version.workspace_id)
        .where(
            (ReleaseTable.state == ReleaseState.PREPARING) | exists().where(AppTable.live_release_id == ReleaseTable.id)
        )
        .where(cast(ReleaseTable.bundle["models"], Text).contains(str(version.id)))
    )
    return bool(session.scalar(select(aliased | shadowing | pinned)))


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
    """stopped | asleep | starting | running | unhealthy."""
    if any(replica.state == ReplicaState.READY for replica in replicas):
        return "running"
    if deployment.desired_replicas == 0:
        return "asleep" if deployment.asleep_since else "stopped"
    return "unhealthy" if deployment.unhealthy_reason else "starting"
