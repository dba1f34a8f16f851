"""Models, versions and aliases. A version is made in one transaction; engine and controller bring it to life."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from tenfold_deploy.archive import ArchiveError, Names, check_path
from tenfold_deploy.environments import EnvironmentFailed, EnvironmentSpec
from tenfold_deploy.packages import CONFIG_NAME, PackageConfig, manifest_digest, read_package, starts_from
from tenfold_expressions import DocumentError
from tenfold_platform import stages
from tenfold_platform.deployments import service as deployments
from tenfold_platform.documents import as_details
from tenfold_platform.engine.dispatch import send_after_commit
from tenfold_platform.environments import service as environments
from tenfold_platform.environments.tables import EnvironmentState
from tenfold_platform.errors import Conflict, InvalidDocument, InvalidInput, NotFound
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.ids import new_id
from tenfold_platform.models import compiling
from tenfold_platform.models.schemas import CreateVersion, ModelSchema, PackageFile
from tenfold_platform.models.tables import AliasTable, ModelTable, ShadowTable, VersionState, VersionTable

PRODUCTION = "production"
FETCH = "fetch"
UNKNOWN_FRAMEWORK = "custom"
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


@dataclass(frozen=True)
class Alias:
    """The number of the version it means; of the one that answers a share of its calls, and that share in percent."""

    number: int
    canary: int | None
    canary_percent: float


def aliases_of(session: Session, model_id: UUID) -> dict[str, Alias]:
    """By name, in their order."""
    tried = aliased(VersionTable)
    rows = session.execute(
        select(AliasTable.name, VersionTable.number, tried.number, AliasTable.canary_percent)
        .join(VersionTable, VersionTable.id == AliasTable.version_id)
        .outerjoin(tried, tried.id == AliasTable.canary_version_id)
        .where(AliasTable.model_id == model_id)
        .order_by(AliasTable.name)
    )
    return {name: Alias(number, canary, percent) for name, number, canary, percent in rows}


def list_versions(session: Session, model_id: UUID) -> Sequence[VersionTable]:
    query = select(VersionTable).where(VersionTable.model_id == model_id).order_by(VersionTable.number.desc())
    return session.scalars(query).all()


def models_of(workspace_id: UUID) -> Select[ModelTable]:
    return select(ModelTable).where(ModelTable.workspace_id == workspace_id)


def versions_of(model_id: UUID) -> Select[VersionTable]:
    return select(VersionTable).where(VersionTable.model_id == model_id)


def is_fetching(version: VersionTable) -> bool:
    """Whether external data is still on its way: until then the version must not start."""
    return any(stage["name"] == FETCH and stage["state"] in stages.OPEN for stage in version.stages)


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
    zoo_entry: str | None = None,
) -> VersionTable:
    """A new version of a model (made when missing), to be built and started.

    What the request leaves out (schema, framework, example) comes from `model_metadata` of the package.

    Raises:
        InvalidDocument: the package has problems; all of them are listed.
        Conflict: blobs are missing; upload them first.
        NotFound: there is no such named environment.
    """
    entries = _checked_entries(request.files)
    _require_blobs(session, store, workspace_id, entries)
    config = _read_config(store, entries)
    about = _about(request, config)
    fetches = bool(config.downloads)
    spec = _environment_spec(request, config)
    model = _model_for_update(session, workspace_id, name)
    if spec is None:
        environment = environments.named(session, workspace_id, request.environment or "")
    else:
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
        environment_name=request.environment,
        zoo_entry=zoo_entry,
        memory_bytes=config.resources.memory_bytes,
        framework=about.framework,
        schema=about.schema.model_dump(exclude_none=True) if about.schema else {},
        example=request.example if request.example is not None else config.model_metadata.get("example_model_input"),
        warnings=as_details(config.warnings),
        environment_id=environment.id,
        alias_wanted=request.alias or (None if has_versions and _has_alias(session, model, PRODUCTION) else PRODUCTION),
        stages=_first_stages(
            environment.state,
            fetches=fetches,
            with_app=request.make_app and bool(about.schema),
            now=now,
        ),
        created_by=created_by,
    )
    session.add(version)
    session.flush()
    deployment = deployments.create_for_version(session, version)
    compiling.begin(session, version)
    if fetches:
        deployments.stop(deployment)  # until all is there: see models/tasks.py
        send_after_commit(session, "fetch_data", version.id)
    return version


@dataclass(frozen=True)
class _About:
    """What is known of a model beyond its package's code."""

    framework: str
    schema: ModelSchema | None


def _about(request: CreateVersion, config: PackageConfig) -> _About:
    """As the request says it, else as the package does: one that comes back from a download says it all itself."""
    ours = config.model_metadata.get("tenfold")
    told = ours if isinstance(ours, dict) else {}
    framework = request.framework
    if framework == UNKNOWN_FRAMEWORK:
        framework = str(told.get("framework") or config.values.get("model_framework") or UNKNOWN_FRAMEWORK)[:60]
    schema = request.model_schema
    if schema is None and told.get("schema"):
        try:
            schema = ModelSchema.model_validate(told["schema"])
        except ValidationError as error:
            details = [
                {
                    "path": ".".join(["model_metadata.tenfold.schema", *map(str, problem["loc"])]),
                    "message": problem["msg"],
                    "hint": "",
                }
                for problem in error.errors()
            ]
            raise InvalidDocument("The schema in the package's config.yaml has problems.", details=details) from error
    return _About(framework, schema)


def _first_stages(environment_state: str, *, fetches: bool, with_app: bool, now: datetime) -> list[Any]:
    names = stages.VERSION_STAGES if fetches else tuple(one for one in stages.VERSION_STAGES if one != FETCH)
    made = stages.moved(stages.fresh(names), "upload", "done", now)
    if environment_state == EnvironmentState.READY:
        made = stages.moved(made, "environment", "reused", now)
    return made if with_app else stages.moved(made, "app", "skipped", now)


def _checked_entries(entries: Sequence[PackageFile]) -> list[PackageFile]:
    problems = path_problems([], [entry.path for entry in entries])
    if problems:
        raise InvalidDocument("The package has file names that cannot be taken.", details=problems)
    return sorted(entries, key=lambda entry: entry.path)


def path_problems(there: Iterable[str], added: Iterable[str]) -> list[dict[str, Any]]:
    """Why paths cannot be added to a folder that has others."""
    names = Names()
    for path in there:
        names.add_file(path)
    problems: list[dict[str, Any]] = []
    for path in added:
        try:
            names.add_file(check_path(path))
        except ArchiveError as error:
            problems.append({"path": path, "message": error.message, "hint": error.hint or ""})
    return problems


def _require_blobs(session: Session, store: ArtifactStore, workspace_id: UUID, entries: Sequence[PackageFile]) -> None:
    there = files.sizes(session, store, workspace_id, [entry.digest for entry in entries])
    missing = {entry.digest for entry in entries if entry.digest not in there}
    if missing:
        raise Conflict(
            f"{len(missing)} of the package's files are not uploaded yet.",
            code="missing_blobs",
            hint="PUT them to /blobs/{sha256} first.",
            details=[{"path": entry.path, "digest": entry.digest} for entry in entries if entry.digest in missing],
        )
    problems = [
        {"path": entry.path, "message": f"has {there[entry.digest]} bytes, not {entry.size}", "hint": ""}
        for entry in entries
        if entry.size != there[entry.digest]
    ]
    if problems:
        raise InvalidDocument("The sizes of the package's files are not those that were uploaded.", details=problems)


def _read_config(store: ArtifactStore, entries: Sequence[PackageFile]) -> PackageConfig:
    """Reads what the platform must know from text files of the package; models and code stay opaque bytes."""
    contents: dict[str, bytes] = {}
    for entry in entries:
        readable = is_read_by_the_platform(entry.path) and entry.size <= MAX_READ_BYTES
        contents[entry.path] = store.read_bytes(entry.digest) if readable else b""
    try:
        return read_package(contents)
    except DocumentError as error:
        raise invalid_document(f"The package's {CONFIG_NAME} has problems.", error) from error


def is_read_by_the_platform(path: str) -> bool:
    """Whether a file says something about the package itself, rather than being a part of the model."""
    return path in READ_BY_THE_PLATFORM or (
        "/" not in path and path.endswith((".txt", ".in", ".toml", ".yaml", ".yml"))
    )


def invalid_document(message: str, error: DocumentError) -> InvalidDocument:
    """The problems of a document in the API's shape."""
    return InvalidDocument(message, details=as_details(error.problems))


def _environment_spec(request: CreateVersion, config: PackageConfig) -> EnvironmentSpec | None:
    """None where a named environment takes its place."""
    if request.environment is not None:
        if request.requirements is not None or request.python_version is not None:
            raise InvalidInput(
                "A named environment has its own Python version and requirements.",
                details=[{"path": "environment", "message": "is given together with requirements or python_version"}],
                hint="Give either the environment's name, or what it should hold.",
            )
        return None
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


def config_of(store: ArtifactStore, version: VersionTable) -> PackageConfig:
    """The configuration of a version's package, read again."""
    return _read_config(store, [PackageFile(**entry) for entry in version.files])


def log_subject(version_id: UUID) -> str:
    """The name of the log of a version's own preparation."""
    return f"version:{version_id}"


def fail(session: Session, version: VersionTable, reason: str, hint: str, now: datetime) -> None:
    """A version that failed never runs again; a corrected one is a new version."""
    version.state, version.reason, version.hint = VersionState.FAILED, reason, hint
    version.stages = stages.failed_at(version.stages, now, reason)
    deployments.stop(deployments.of_version(session, version.id))


# --- aliases


def point_alias(session: Session, model: ModelTable, alias: str, version: VersionTable) -> None:
    """Makes an alias mean this version, for all of its calls. Versions that nothing else needs stop.

    That ends a canary, and a shadow that is this version: another one goes on, beside the version that answers now.

    Raises:
        Conflict: the version is not ready.
    """
    _require_ready(model, alias, version)
    before = session.get(AliasTable, (model.id, alias), with_for_update=True)
    shadow = find_shadow(session, model, alias)
    if shadow is not None and shadow.version_id == version.id:
        session.delete(shadow)
    former: list[UUID] = []
    if before is None:
        session.add(AliasTable(model_id=model.id, name=alias, version_id=version.id))
    else:
        former = [one for one in (before.version_id, before.canary_version_id) if one not in (None, version.id)]
        before.version_id, before.canary_version_id, before.canary_percent = version.id, None, 0.0
    session.flush()
    deployments.start(deployments.of_version(session, version.id))
    deployments.stop_unneeded(session, former)


def set_canary(session: Session, model: ModelTable, alias: str, version: VersionTable, percent: float) -> None:
    """Lets another version answer `percent` of the alias's calls, from when it is up.

    Raises:
        NotFound: the alias means nothing.
        Conflict: the version is not ready, or is the one that the alias means.
    """
    row = _alias_for_update(session, model, alias)
    _require_ready(model, alias, version)
    if row.version_id == version.id:
        raise Conflict(
            f"{model.name}@{alias} is version {version.number} already.",
            code="canary_is_main",
            hint="Name another version, or promote this one: then it answers every call.",
        )
    former = row.canary_version_id
    row.canary_version_id, row.canary_percent = version.id, percent
    session.flush()
    deployments.start(deployments.of_version(session, version.id))
    if former and former != version.id:
        deployments.stop_unneeded(session, [former])


def remove_canary(session: Session, model: ModelTable, alias: str) -> None:
    """The alias's own version answers all of its calls again."""
    row = _alias_for_update(session, model, alias)
    if row.canary_version_id is None:
        raise NotFound("The alias has no canary.")
    former = row.canary_version_id
    row.canary_version_id, row.canary_percent = None, 0.0
    session.flush()
    deployments.stop_unneeded(session, [former])


def find_shadow(session: Session, model: ModelTable, alias: str) -> ShadowTable | None:
    query = select(ShadowTable).where(ShadowTable.model_id == model.id, ShadowTable.alias == alias)
    return session.scalars(query).one_or_none()


def set_shadow(
    session: Session, model: ModelTable, alias: str, version: VersionTable, percent: float, tolerance: float
) -> None:
    """Sends `percent` of the alias's calls to this version as well, behind the answer, to compare what it says.

    Another version or tolerance begins a new comparison, and what the one before found is deleted.

    Raises:
        NotFound: the alias means nothing.
        Conflict: the version is not ready, or is the one that the alias means.
    """
    row = _alias_for_update(session, model, alias)
    if version.state != VersionState.READY:
        raise Conflict(
            f"Version {version.number} is {version.state}, and would answer nothing that could be compared.",
            code="version_not_ready",
            hint="Name a version that is ready." if version.state == VersionState.FAILED else "Wait until it is ready.",
        )
    if row.version_id == version.id:
        raise Conflict(
            f"{model.name}@{alias} is version {version.number} already, and would be compared with itself.",
            code="shadow_is_main",
            hint="Name another version.",
        )
    before = find_shadow(session, model, alias)
    if before is not None and (before.version_id, before.tolerance) == (version.id, tolerance):
        before.percent = percent
    else:
        if before is not None:
            session.delete(before)
            session.flush()
        session.add(
            ShadowTable(model_id=model.id, alias=alias, version_id=version.id, percent=percent, tolerance=tolerance)
        )
    session.flush()
    deployments.start(deployments.of_version(session, version.id))
    if before is not None and before.version_id != version.id:
        deployments.stop_unneeded(session, [before.version_id])


def remove_shadow(session: Session, model: ModelTable, alias: str) -> None:
    """Ends the comparison; what it found is deleted."""
    _alias_for_update(session, model, alias)
    shadow = find_shadow(session, model, alias)
    if shadow is None:
        raise NotFound("The alias has no shadow.")
    session.delete(shadow)
    session.flush()
    deployments.stop_unneeded(session, [shadow.version_id])


def shadows_of(session: Session, model_id: UUID) -> dict[str, tuple[ShadowTable, int]]:
    """Each alias's shadow, and the number of its version."""
    rows = session.execute(
        select(ShadowTable, VersionTable.number)
        .join(VersionTable, VersionTable.id == ShadowTable.version_id)
        .where(ShadowTable.model_id == model_id)
        .order_by(ShadowTable.alias)
    )
    return {shadow.alias: (shadow, number) for shadow, number in rows}


def _alias_for_update(session: Session, model: ModelTable, alias: str) -> AliasTable:
    row = session.get(AliasTable, (model.id, alias), with_for_update=True)
    if row is None:
        raise NotFound("There is no such alias.")
    return row


def _require_ready(model: ModelTable, alias: str, version: VersionTable) -> None:
    if version.state != VersionState.READY:
        raise Conflict(
            f"Version {version.number} is {version.state}, and callers of {model.name}@{alias} would get nothing.",
            code="version_not_ready",
            hint="Promote a version that is ready."
            if version.state == VersionState.FAILED
            else "Wait until it is ready.",
        )


def remove_alias(session: Session, model: ModelTable, alias: str) -> None:
    row = _alias_for_update(session, model, alias)
    shadow = find_shadow(session, model, alias)
    session.delete(row)  # and with it its shadow
    session.flush()
    named = (row.version_id, row.canary_version_id, shadow.version_id if shadow else None)
    deployments.stop_unneeded(session, [one for one in named if one])


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
