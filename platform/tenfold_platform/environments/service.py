"""Environments: found by what was asked for, resolved and built once by the engine, removed when nothing uses them.

A named environment ("nlp") is a list of requirements that people edit. Each edit asks for another environment, and the
name goes over to it when it is ready; what was made with the name before keeps the one it was made with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, column, delete, exists, func, or_, select, true
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH, insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from tenfold_deploy.environments import EnvironmentFailed, EnvironmentSpec, Tools
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.deployments.tables import DeploymentKind, DeploymentTable
from tenfold_platform.engine.dispatch import send_after_commit
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable, NamedEnvironmentTable
from tenfold_platform.errors import Conflict, InvalidInput, NotFound, Unavailable
from tenfold_platform.ids import new_id
from tenfold_platform.logs.tables import LogChunkTable
from tenfold_platform.models.tables import CompilationTable, ModelTable, VersionTable
from tenfold_platform.settings import Settings

OPEN_STATES = (EnvironmentState.PENDING, EnvironmentState.RESOLVING, EnvironmentState.BUILDING)


def tools_of(settings: Settings) -> Tools:
    """Where uv keeps its things in this installation."""
    return Tools(
        settings.wheels_dir,
        settings.pythons_dir,
        settings.python_downloads,
        wheels_only=settings.builds_wheels_only(),
        isolation=settings.find_isolation().level,
    )


def spec_of(row: EnvironmentTable) -> EnvironmentSpec:
    return EnvironmentSpec(row.python_version, tuple(row.requirements), tuple(row.constraints), tuple(row.implied))


def subject(environment_id: UUID) -> str:
    """The name of an environment's build log."""
    return f"environment:{environment_id}"


# --- finding and making


def get_or_create(session: Session, workspace_id: UUID, spec: EnvironmentSpec) -> EnvironmentTable:
    """The workspace's environment for a spec. A new one (or one whose build failed) is handed to the engine."""
    environment = _insert_or_lock(session, workspace_id, spec)
    environment.wanted_at = func.now()
    if environment.state == EnvironmentState.FAILED:
        _reset(environment)
    if environment.state == EnvironmentState.PENDING:
        send_after_commit(session, "build_environment", environment.id)
    session.flush()
    return environment


def _insert_or_lock(session: Session, workspace_id: UUID, spec: EnvironmentSpec) -> EnvironmentTable:
    for _ in range(5):  # between the two statements it may be collected
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
        found = session.scalars(_with_digest(workspace_id, spec).with_for_update()).one_or_none()
        if found is not None:
            return found
    raise Unavailable("The environment is being removed at this moment.", hint="Try again.")


def _with_digest(workspace_id: UUID, spec: EnvironmentSpec) -> Select[EnvironmentTable]:
    return environments_of(workspace_id).where(EnvironmentTable.spec_digest == spec.digest)


def get(session: Session, workspace_id: UUID, environment_id: UUID) -> EnvironmentTable:
    environment = session.get(EnvironmentTable, environment_id)
    if environment is None or environment.workspace_id != workspace_id:
        raise NotFound("There is no such environment.")
    return environment


def environments_of(workspace_id: UUID) -> Select[EnvironmentTable]:
    return select(EnvironmentTable).where(EnvironmentTable.workspace_id == workspace_id)


def rebuild(session: Session, environment: EnvironmentTable, *, upgrade: bool = False) -> EnvironmentTable:
    """Builds once more; returns what is built.

    One that failed is tried again. One that is ready gets its folder anew, from the same lock, which never changes;
    what runs from it goes on. With `upgrade` the requirements of a named environment are resolved afresh, as another
    environment, and the name goes over to that once it is ready.

    Raises:
        Conflict: an upgrade of what has no name: somebody pinned exactly this.
    """
    session.refresh(environment, with_for_update=True)
    if upgrade:
        return _upgrade(session, environment)
    if environment.state in (EnvironmentState.FAILED, EnvironmentState.READY):
        _reset(environment)
        send_after_commit(session, "build_environment", environment.id)
    return environment


def _upgrade(session: Session, environment: EnvironmentTable) -> EnvironmentTable:
    names = session.scalars(
        select(NamedEnvironmentTable).where(NamedEnvironmentTable.environment_id == environment.id)
    ).all()
    if not names:
        raise Conflict(
            "Only an environment with a name can be upgraded: what uses this one was made with exactly its lock.",
            code="environment_not_named",
            hint="Deploy the model or release the app again, or rebuild it from its lock.",
        )
    if environment.state == EnvironmentState.READY and environment.spec_digest == spec_of(environment).digest:
        # it stays for what was made with it, and whoever asks for the same from now on gets the newer one
        environment.spec_digest = f"{environment.spec_digest}:{environment.id}"
        session.flush()
    return get_or_create(session, environment.workspace_id, spec_of(environment))


def _reset(environment: EnvironmentTable) -> None:
    """To be built (again). `python_path` stays, where there is one: it says that there is something to replace."""
    environment.state = EnvironmentState.PENDING
    environment.reason = environment.hint = ""
    environment.attempts = 0
    if environment.python_path is None:  # nothing was made with its lock: choose versions anew
        environment.lock = environment.lock_digest = environment.lock_python = None


# --- who uses them


@dataclass(frozen=True)
class Uses:
    """Model versions and app releases as (name, number), and names."""

    models: tuple[tuple[str, int], ...] = ()
    apps: tuple[tuple[str, int], ...] = ()
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.models or self.apps or self.names)


def uses_of(session: Session, workspace_id: UUID, environment_ids: Collection[UUID]) -> Mapping[UUID, Uses]:
    """What uses each of these: every version and every release (it may go live again), running or not."""
    models: dict[UUID, list[tuple[str, int]]] = {}
    versions = session.execute(
        select(VersionTable.environment_id, ModelTable.name, VersionTable.number)
        .join(ModelTable, ModelTable.id == VersionTable.model_id)
        .where(VersionTable.environment_id.in_(environment_ids))
        .order_by(ModelTable.name, VersionTable.number)
    )
    compiled = session.execute(
        select(EnvironmentTable.id, ModelTable.name, VersionTable.number)
        .join(
            CompilationTable,
            or_(
                CompilationTable.environment_id == EnvironmentTable.id,
                CompilationTable.tools_id == EnvironmentTable.id,
            ),
        )
        .join(VersionTable, VersionTable.id == CompilationTable.version_id)
        .join(ModelTable, ModelTable.id == VersionTable.model_id)
        .where(EnvironmentTable.id.in_(environment_ids))
        .order_by(ModelTable.name, VersionTable.number)
    )
    for environment_id, name, number in [*versions, *compiled]:
        models.setdefault(environment_id, []).append((name, number))
    apps: dict[UUID, list[tuple[str, int]]] = {}
    releases = session.execute(
        _pinning_releases(EnvironmentTable.id, AppTable.name, ReleaseTable.number)
        .join(AppTable, AppTable.id == ReleaseTable.app_id)
        .where(EnvironmentTable.id.in_(environment_ids))
        .distinct()  # a release may have one environment under several names
        .order_by(AppTable.name, ReleaseTable.number)
    )
    for environment_id, name, number in releases:
        apps.setdefault(environment_id, []).append((name, number))
    names: dict[UUID, list[str]] = {}
    for row in session.scalars(named_of(workspace_id).order_by(NamedEnvironmentTable.name)):
        names.setdefault(row.environment_id, []).append(row.name)
    return {
        one: Uses(tuple(models.get(one, ())), tuple(apps.get(one, ())), tuple(names.get(one, ())))
        for one in environment_ids
    }


def is_unused() -> ColumnElement[bool]:
    """In SQL: no version, no release and no name points at the environment."""
    by_version = exists().where(VersionTable.environment_id == EnvironmentTable.id)
    by_name = exists().where(NamedEnvironmentTable.environment_id == EnvironmentTable.id)
    by_release = _pinning_releases(ReleaseTable.id).correlate(EnvironmentTable).exists()
    by_twin = exists().where(
        or_(
            CompilationTable.environment_id == EnvironmentTable.id,
            CompilationTable.tools_id == EnvironmentTable.id,
        )
    )
    return ~(by_version | by_name | by_release | by_twin)


def _pinning_releases(*columns: InstrumentedAttribute[Any]) -> Select[Any]:
    """Releases, each with the environments that it pins."""
    values = func.jsonb_path_query(ReleaseTable.bundle, cast("$.environments.*", JSONPATH))
    pinned = values.table_valued(column("id", JSONB), name="pinned").render_derived()
    return (
        select(*columns)
        .select_from(ReleaseTable)
        .join(pinned, true())
        .where(
            ReleaseTable.workspace_id == EnvironmentTable.workspace_id,
            pinned.c.id == func.to_jsonb(cast(EnvironmentTable.id, Text)),
        )
    )


# --- removing


def delete_environment(session: Session, environment: EnvironmentTable) -> None:
    """Deletes one that nothing uses. The controller removes its folder, unless another has the same lock.

    Raises:
        Conflict: something uses it.
    """
    session.refresh(environment, with_for_update=True)
    uses = uses_of(session, environment.workspace_id, [environment.id])[environment.id]
    if uses:
        raise Conflict(
            f"The environment is used by {_in_words(uses)}.",
            code="environment_in_use",
            hint="Delete those first. Old versions and releases count: each can be started again.",
        )
    _delete(session, [environment.id])


def unbuilt(after: timedelta) -> Select[UUID, datetime]:
    """Environments that nobody builds, that long after they were made: for the controller, which sends their message
    again."""
    nobody = or_(EnvironmentTable.lease_until.is_(None), EnvironmentTable.lease_until < func.now())
    return select(EnvironmentTable.id, EnvironmentTable.created_at).where(
        EnvironmentTable.state.in_(OPEN_STATES), EnvironmentTable.created_at < func.now() - after, nobody
    )


def collect(
    session: Session, workspace_id: UUID | None = None, *, unused_for: timedelta, dry_run: bool = False
) -> list[EnvironmentTable]:
    """Deletes what nothing uses and nobody has asked for within that time, and returns it.

    Of the workspace, or (None) of all. What is being built is left alone.
    """
    query = (
        select(EnvironmentTable)
        .where(EnvironmentTable.state.not_in(OPEN_STATES), EnvironmentTable.wanted_at <= func.now() - unused_for)
        .where(is_unused())
        .order_by(EnvironmentTable.id)
    )
    if workspace_id is not None:
        query = query.where(EnvironmentTable.workspace_id == workspace_id)
    coming = _coming_digests(session, workspace_id)
    doomed = [row for row in session.scalars(query) if (row.workspace_id, row.spec_digest) not in coming]
    if dry_run or not doomed:
        return doomed
    # whoever asks for one at this moment holds its row: it is left for the next time
    locked = select(EnvironmentTable.id).where(EnvironmentTable.id.in_([row.id for row in doomed]))
    ids = set(session.scalars(locked.with_for_update(skip_locked=True)))
    still = set(session.scalars(select(EnvironmentTable.id).where(EnvironmentTable.id.in_(ids), is_unused())))
    _delete(session, still)
    return [row for row in doomed if row.id in still]


def _coming_digests(session: Session, workspace_id: UUID | None) -> set[tuple[UUID, str]]:
    """What names are about to go over to, or failed to: nothing points there yet."""
    query = select(NamedEnvironmentTable)
    if workspace_id is not None:
        query = named_of(workspace_id)
    return {(row.workspace_id, spec_of_name(row).digest) for row in session.scalars(query)}


def _delete(session: Session, environment_ids: Collection[UUID]) -> None:
    """With their pools of app code, which no release names any more: the controller stops what runs without a row."""
    session.execute(
        delete(DeploymentTable).where(
            DeploymentTable.environment_id.in_(environment_ids), DeploymentTable.kind == DeploymentKind.CODE
        )
    )
    session.execute(delete(LogChunkTable).where(LogChunkTable.subject.in_(map(subject, environment_ids))))
    session.execute(delete(EnvironmentTable).where(EnvironmentTable.id.in_(environment_ids)))


def _in_words(uses: Uses) -> str:
    parts = [f"the name {name}" for name in uses.names]
    parts += [f"version {number} of {name}" for name, number in uses.models]
    parts += [f"release {number} of the app {name}" for name, number in uses.apps]
    return ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")


# --- named environments


def named_of(workspace_id: UUID) -> Select[NamedEnvironmentTable]:
    return select(NamedEnvironmentTable).where(NamedEnvironmentTable.workspace_id == workspace_id)


def find_name(session: Session, workspace_id: UUID, name: str) -> NamedEnvironmentTable | None:
    return session.scalars(named_of(workspace_id).where(NamedEnvironmentTable.name == name)).one_or_none()


def get_name(session: Session, workspace_id: UUID, name: str) -> NamedEnvironmentTable:
    row = find_name(session, workspace_id, name)
    if row is None:
        raise NotFound(
            f"There is no environment named {name}.",
            code="unknown_environment",
            hint=f"Make it: tenfold environments set {name} --requirements requirements.txt",
        )
    return row


def named(session: Session, workspace_id: UUID, name: str) -> EnvironmentTable:
    """What a model or an app gets that asks for the name: the newest that is ready, else the one that is coming.

    Raises:
        NotFound: there is no such name.
    """
    row = get_name(session, workspace_id, name)
    settle(session, row)
    environment = session.get_one(EnvironmentTable, row.environment_id, with_for_update=True)
    environment.wanted_at = func.now()
    if environment.state == EnvironmentState.FAILED:
        _reset(environment)
        send_after_commit(session, "build_environment", environment.id)
    session.flush()
    return environment


def spec_of_name(row: NamedEnvironmentTable) -> EnvironmentSpec:
    return EnvironmentSpec(row.python_version, tuple(row.requirements))


def set_name(
    session: Session,
    workspace_id: UUID,
    name: str,
    *,
    python_version: str | None,
    requirements: Sequence[str],
    description: str | None,
    updated_by: str,
) -> NamedEnvironmentTable:
    """Makes a name, or edits it: the environment it had stays until the new one is ready.

    Raises:
        InvalidInput: a requirement is not a name with versions; all such are listed.
    """
    spec = _checked_spec(python_version, requirements)
    environment = get_or_create(session, workspace_id, spec)
    values: dict[str, Any] = {
        "python_version": python_version,
        "requirements": list(requirements),
        "updated_by": updated_by,
    }
    session.execute(
        insert(NamedEnvironmentTable)
        .values(
            id=new_id(),
            workspace_id=workspace_id,
            name=name,
            description=description or "",
            environment_id=environment.id,
            **values,
        )
        .on_conflict_do_nothing()
    )
    query = named_of(workspace_id).where(NamedEnvironmentTable.name == name).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one()
    for key, value in values.items():
        setattr(row, key, value)
    if description is not None:
        row.description = description
    row.updated_at = func.now()
    session.flush()
    session.refresh(row)
    settle(session, row)
    return row


def delete_name(session: Session, workspace_id: UUID, name: str) -> None:
    """Its environment stays for what was made with it. Apps that still say the name cannot be released again."""
    session.delete(get_name(session, workspace_id, name))


def settle(session: Session, row: NamedEnvironmentTable) -> EnvironmentTable | None:
    """Moves a name to the environment of its requirements, if that is ready or the present one is not.

    Returns the one that is still coming (or whose build failed), if there is one.
    """
    coming = session.scalars(_with_digest(row.workspace_id, spec_of_name(row))).one_or_none()
    if coming is None or coming.id == row.environment_id:
        return None
    present = session.get_one(EnvironmentTable, row.environment_id)
    if coming.state == EnvironmentState.READY or present.state == EnvironmentState.FAILED:
        row.environment_id = coming.id
        session.flush()
        return None
    return coming


def settle_all(session: Session, workspace_id: UUID) -> None:
    """After a build ended."""
    for row in session.scalars(named_of(workspace_id).with_for_update(skip_locked=True)):
        settle(session, row)


def _checked_spec(python_version: str | None, requirements: Iterable[str]) -> EnvironmentSpec:
    problems: list[dict[str, Any]] = []
    lines = list(requirements)
    for path, single in [("python_version", None), *((f"requirements[{i}]", line) for i, line in enumerate(lines))]:
        try:
            EnvironmentSpec(python_version if single is None else None, () if single is None else (single,))
        except EnvironmentFailed as error:
            problems.append({"path": path, "message": error.message, "hint": error.hint or "", "code": error.code})
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidInput(f"The environment has {count}.", code="bad_requirement", details=problems)
    return EnvironmentSpec(python_version, tuple(lines))


# --- age


def kept_for(settings: Settings) -> timedelta | None:
    """How long an environment that nothing uses stays; None for ever."""
    return timedelta(days=settings.environments_kept_days) if settings.environments_kept_days else None
