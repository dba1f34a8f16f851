"""Environments: found by what was asked for, resolved and built once by the engine."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_deploy.environments import EnvironmentSpec
from tenfold_platform.engine.dispatch import send_after_commit
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.errors import NotFound
from tenfold_platform.ids import new_id


def spec_of(row: EnvironmentTable) -> EnvironmentSpec:
    return EnvironmentSpec(row.python_version, tuple(row.requirements), tuple(row.constraints), tuple(row.implied))


def subject(environment_id: UUID) -> str:
    """The name of an environment's build log."""
    return f"environment:{environment_id}"


def get_or_create(session: Session, workspace_id: UUID, spec: EnvironmentSpec) -> EnvironmentTable:
    """The workspace's environment for a spec. A new one (or one whose build failed) is handed to the engine."""
    session.execute(
        insert(EnvironmentTable)
        .values(
            id=new_id(),
            workspace_id=workspace_id,
            spec_digest=spec.digest,
            python_version=spec.python_version,
            requirements=list(spec.requirements),
            constraints=list(spec.constraints),
            implied=list(spec.implied),
            state=EnvironmentState.PENDING,
            reason="",
            hint="",
            packages=[],
            attempts=0,
            fence=0,
        )
        .on_conflict_do_nothing()
    )
    environment = session.scalars(
        select(EnvironmentTable)
        .where(EnvironmentTable.workspace_id == workspace_id, EnvironmentTable.spec_digest == spec.digest)
        .with_for_update()
    ).one()
    if environment.state == EnvironmentState.FAILED:
        _reset(environment)
    if environment.state == EnvironmentState.PENDING:
        send_after_commit(session, "build_environment", environment.id)
    return environment


def get(session: Session, workspace_id: UUID, environment_id: UUID) -> EnvironmentTable:
    environment = session.get(EnvironmentTable, environment_id)
    if environment is None or environment.workspace_id != workspace_id:
        raise NotFound("There is no such environment.")
    return environment


def environments_of(workspace_id: UUID) -> Select[EnvironmentTable]:
    return select(EnvironmentTable).where(EnvironmentTable.workspace_id == workspace_id)


def rebuild(session: Session, environment: EnvironmentTable) -> None:
    """Builds again after a failure. What is ready stays as it is: a lock is immutable."""
    if environment.state == EnvironmentState.FAILED:
        _reset(environment)
        send_after_commit(session, "build_environment", environment.id)


def _reset(environment: EnvironmentTable) -> None:
    environment.state = EnvironmentState.PENDING
    environment.reason = environment.hint = ""
    environment.attempts = 0
