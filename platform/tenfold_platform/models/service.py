"""Models, versions and aliases. A version is made in one transaction; engine and controller bring it to life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_deploy.archive import ArchiveError, check_path
from tenfold_deploy.environments import EnvironmentFailed, EnvironmentSpec
from tenfold_deploy.packages import CONFIG_NAME, PackageConfig, manifest_digest, read_package, starts_from
from tenfold_expressions import DocumentError
from tenfold_platform import stages
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.documents import as_details
from tenfold_platform.environments import service as environments
from tenfold_platform.environments.tables import EnvironmentState
from tenfold_platform.errors import Conflict, InvalidDocument, InvalidInput, NotFound
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.ids import new_id
from tenfold_platform.models.schemas import CreateVersion, PackageFile
from tenfold_platform.models.tables import AliasTable, ModelTable, VersionState, VersionTable

PRODUCTION = "production"
MAX_READ_BYTES = 4 * 1024 * 1024
READ_BY_THE_PLATFORM = ("config.yaml", "config.yml", "pyproject.toml", "uv.lock", "examples.yaml")


# --- finding


def find_model(session: Session, workspace_id: UUID, name: str) -> ModelTable | None:
    return session.scalars(
        select(ModelTable).where(ModelTable.workspace_id == workspace_id, ModelTable.name == name)
    ).one_or_none()


def get_model(session: Session, workspace_id: UUID, name: str) -> ModelTable:
    model = find_model(session, workspace_id, name)
    if model is None:
        raise NotFound("There is no such model.")
    return model


def get_version(session: Session, model: ModelTable, number: int) -> VersionTable:
    version = session.scalars(
        select(VersionTable).where(VersionTable.model_id == model.id, VersionTable.number == number)
    ).one_or_none()
    if version is None:
        raise NotFound("There is no such version.")
    return version


def find_by_reference(session: Session, workspace_id: UUID, reference: str) -> VersionTable | None:
    """The version that `name`, `name@alias` or `name@3` means now."""
    name, _, wanted = reference.partition("@")
    model = find_model(session, workspace_id, name)
    if model is None:
        return None
    wanted = wanted or PRODUCTION
    if wanted.isdigit():
        return session.scalars(
            select(VersionTable).where(VersionTable.model_id == model.id, VersionTable.number == int(wanted))
        ).one_or_none()
    return session.scalars(
        select(VersionTable)
        .join(AliasTable, AliasTable.version_id == VersionTable.id)
        .where(AliasTable.model_id == model.id, AliasTable.name == wanted)
    ).one_or_none()


def schemas_by_reference(session: Session, workspace_id: UUID) -> dict[str, dict[str, Any]]:
    """The schema of everything an app may call: `name@version` of each ready version, and `name@alias`."""
    ready = session.execute(
        select(ModelTable.name, VersionTable.id, VersionTable.number, VersionTable.schema)
        .join(VersionTable, VersionTable.model_id == ModelTable.id)
        .where(ModelTable.workspace_id == workspace_id, VersionTable.state == VersionState.READY)
    ).all()
    aliases = session.execute(
        select(AliasTable.version_id, AliasTable.name)
        .join(ModelTable, ModelTable.id == AliasTable.model_id)
        .where(ModelTable.workspace_id == workspace_id)
    ).all()
    by_version = {version_id: (name, schema) for name, version_id, _, schema in ready}
    found = {f"{name}@{number}": schema for name, _, number, schema in ready}
    for version_id, alias in aliases:
        if version_id in by_version:
            name, schema = by_version[version_id]
            found[f"{name}@{alias}"] = schema
    return found


def aliases_of(session: Session, model_id: UUID) -> dict[str, int]:
    rows = session.execute(
        select(AliasTable.name, VersionTable.number)
        .join(VersionTable, VersionTable.id == AliasTable.version_id)
        .where(AliasTable.model_id == model_id)
        .order_by(AliasTable.name)
    )
    return {name: number for name, number in rows}


def list_versions(session: Session, model_id: UUID) -> Sequence[VersionTable]:
    query = select(VersionTable).where(VersionTable.model_id == model_id).order_by(VersionTable.number.desc())
    return session.scalars(query).all()


def models_of(workspace_id: UUID) -> Select[ModelTable]:
    return select(ModelTable).where(ModelTable.workspace_id == workspace_id)


def versions_of(model_id: UUID) -> Select[VersionTable]:
    return select(VersionTable).where(VersionTable.model_id == model_id)


# --- making


def create_version(
    session: Session,
    store: ArtifactStore,
    workspace_id: UUID,
    name: str,
    request: CreateVersion,
    *,
    created_by: str,
    now: datetime,
) -> VersionTable:
    """A new version of a model (made when missing), to be built and started.

    Raises:
        InvalidDocument: the package has problems; all of them are listed.
        Conflict: blobs are missing; upload them first.
    """
    entries = _checked_entries(request.files)
    _require_blobs(session, store, workspace_id, entries)
    config = _read_config(store, entries)
    spec = _environment_spec(request, config)
    model = _model_for_update(session, workspace_id, name)
    environment = environments.get_or_create(session, workspace_id, spec)
    model.last_number += 1
    model.updated_at = now
    if config.description and not model.description:
        model.description = config.description
    has_versions = model.last_number > 1
    version = VersionTable(
        id=new_id(),
        workspace_id=workspace_id,
        model_id=model.id,
        number=model.last_number,
        package_digest=manifest_digest((entry.path, entry.digest, entry.executable) for entry in entries),
        files=[entry.model_dump() for entry in entries],
        size_bytes=sum(entry.size for entry in entries),
        config=starts_from(config),
        memory_bytes=config.resources.memory_bytes,
        framework=request.framework,
        schema=request.model_schema.model_dump(exclude_none=True) if request.model_schema else {},
        example=request.example if request.example is not None else config.model_metadata.get("example_model_input"),
        warnings=as_details(config.warnings),
        environment_id=environment.id,
        alias_wanted=request.alias or (None if has_versions and _has_alias(session, model, PRODUCTION) else PRODUCTION),
        stages=_first_stages(environment.state, request.make_app and request.model_schema is not None, now),
        created_by=created_by,
    )
    session.add(version)
    session.flush()
    deployments.create_for_version(session, version)
    return version


def _first_stages(environment_state: str, with_app: bool, now: datetime) -> list[Any]:
    made = stages.moved(stages.fresh(stages.VERSION_STAGES), "upload", "done", now)
    if environment_state == EnvironmentState.READY:
        made = stages.moved(made, "environment", "reused", now)
    return made if with_app else stages.moved(made, "app", "skipped", now)


def _checked_entries(entries: Sequence[PackageFile]) -> list[PackageFile]:
    problems: list[dict[str, Any]] = []
    seen: set[str] = set()
    for entry in entries:
        try:
            check_path(entry.path)
        except ArchiveError as error:
            problems.append({"path": entry.path, "message": error.message, "hint": error.hint or ""})
        if entry.path in seen:
            problems.append({"path": entry.path, "message": "is listed twice", "hint": ""})
        seen.add(entry.path)
    if problems:
        raise InvalidDocument("The package has file names that cannot be taken.", details=problems)
    return sorted(entries, key=lambda entry: entry.path)


def _require_blobs(session: Session, store: ArtifactStore, workspace_id: UUID, entries: Sequence[PackageFile]) -> None:
    missing = files.missing_digests(session, store, workspace_id, [entry.digest for entry in entries])
    if missing:
        raise Conflict(
            f"{len(missing)} of the package's files are not uploaded yet.",
            code="missing_blobs",
            hint="PUT them to /blobs/{sha256} first.",
            details=[{"path": entry.path, "digest": entry.digest} for entry in entries if entry.digest in missing],
        )


def _read_config(store: ArtifactStore, entries: Sequence[PackageFile]) -> PackageConfig:
    """Reads what the platform must know from text files of the package; models and code stay opaque bytes."""
    contents: dict[str, bytes] = {}
    for entry in entries:
        is_text = entry.path in READ_BY_THE_PLATFORM or (
            "/" not in entry.path and entry.path.endswith((".txt", ".in", ".toml", ".yaml", ".yml"))
        )
        readable = is_text and entry.size <= MAX_READ_BYTES
        contents[entry.path] = store.read_bytes(entry.digest) if readable else b""
    try:
        return read_package(contents)
    except DocumentError as error:
        raise invalid_document(f"The package's {CONFIG_NAME} has problems.", error) from error


def invalid_document(message: str, error: DocumentError) -> InvalidDocument:
    """The problems of a document in the API's shape."""
    return InvalidDocument(message, details=as_details(error.problems))


def _environment_spec(request: CreateVersion, config: PackageConfig) -> EnvironmentSpec:
    if request.requirements is None and request.python_version is None:
        return config.environment
    asked = config.environment
    requirements = asked.requirements if request.requirements is None else tuple(request.requirements)
    try:
        return replace(asked, python_version=request.python_version or asked.python_version, requirements=requirements)
    except EnvironmentFailed as error:
        details = [{"path": "requirements", "message": error.message, "hint": error.hint or ""}]
        raise InvalidInput(error.message, code=error.code, hint=error.hint or "", details=details) from error


def _model_for_update(session: Session, workspace_id: UUID, name: str) -> ModelTable:
    session.execute(
        insert(ModelTable)
        .values(id=new_id(), workspace_id=workspace_id, name=name, description="", tags=[], last_number=0)
        .on_conflict_do_nothing()
    )
    return session.scalars(
        select(ModelTable).where(ModelTable.workspace_id == workspace_id, ModelTable.name == name).with_for_update()
    ).one()


def _has_alias(session: Session, model: ModelTable, alias: str) -> bool:
    return session.get(AliasTable, (model.id, alias)) is not None


# --- aliases


def point_alias(session: Session, model: ModelTable, alias: str, version: VersionTable) -> None:
    """Makes an alias mean this version. The version it meant before stops if nothing else needs it.

    Raises:
        Conflict: the version is not ready.
    """
    if version.state != VersionState.READY:
        raise Conflict(
            f"Version {version.number} is {version.state}, and callers of {model.name}@{alias} would get nothing.",
            code="version_not_ready",
            hint="Promote a version that is ready."
            if version.state == VersionState.FAILED
            else "Wait until it is ready.",
        )
    before = session.get(AliasTable, (model.id, alias), with_for_update=True)
    if before is None:
        session.add(AliasTable(model_id=model.id, name=alias, version_id=version.id))
        previous: UUID | None = None
    else:
        previous, before.version_id = before.version_id, version.id
    session.flush()
    deployments.start(deployments.of_version(session, version.id))
    if previous and previous != version.id:
        deployments.stop_unneeded(session, [previous])


def remove_alias(session: Session, model: ModelTable, alias: str) -> None:
    row = session.get(AliasTable, (model.id, alias))
    if row is None:
        raise NotFound("There is no such alias.")
    session.delete(row)
    session.flush()
    deployments.stop_unneeded(session, [row.version_id])


def delete_model(session: Session, model: ModelTable) -> None:
    """Deletes a model with its versions. The controller stops running replicas: it finds them without a row.

    Raises:
        Conflict: a live app release calls it.
    """
    users = deployments.live_apps_using(session, [version.id for version in list_versions(session, model.id)])
    foreign = [app.name for app in users if app.made_for_model_id != model.id]
    if foreign:
        raise Conflict(
            f"The model is used by the live release of: {', '.join(foreign)}.",
            code="model_in_use",
            hint="Release these apps without it first.",
        )
    for app in users:
        session.delete(app)
    session.execute(delete(ModelTable).where(ModelTable.id == model.id))


def deployments_by_version(session: Session, version_ids: Sequence[UUID]) -> Mapping[UUID, DeploymentTable]:
    rows = session.scalars(select(DeploymentTable).where(DeploymentTable.version_id.in_(version_ids)))
    return {row.version_id: row for row in rows if row.version_id}
