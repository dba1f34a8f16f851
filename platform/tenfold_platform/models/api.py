"""Models over HTTP: see models/service.py for what each of these does."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from tenfold_platform.apps import ready_made
from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import Context, Page, PageParams, StreamContext, StreamCtx, WorkspaceCtx
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.errors import Conflict, NotFound
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore, Stored, unwritable
from tenfold_platform.idempotency import service as idempotency
from tenfold_platform.logs import service as logs
from tenfold_platform.models import archives, compiling, events, linting, service, shadows, traffic
from tenfold_platform.models.compare import compare
from tenfold_platform.models.load import load
from tenfold_platform.models.present import Presenter
from tenfold_platform.models.schemas import (
    Comparison,
    CreateVersion,
    LintPackage,
    LintReport,
    Load,
    LogPage,
    Model,
    ModelMetrics,
    ModelSummary,
    Name,
    PointAlias,
    Replicas,
    SetCanary,
    SetShadow,
    ShadowDifferences,
    ShadowReport,
    UpdateModel,
    Version,
)
from tenfold_platform.models.tables import ModelTable, VersionState, VersionTable
from tenfold_platform.paging import paginate
from tenfold_platform.routing import Router

router = Router(prefix="/workspaces/{workspace}/models", tags=["models"])
load_router = Router(prefix="/workspaces/{workspace}/load", tags=["models"])
packages_router = Router(prefix="/workspaces/{workspace}/packages", tags=["models"])

MAX_ARCHIVE_BYTES = 8 * 1024**3
MAX_SHOWN_FILE_BYTES = 512 * 1024
CREATE_BODY_BYTES = 32 * 1024 * 1024
LINT_BODY_BYTES = 8 * 1024 * 1024


@router.get("", allow=Action.MODELS_READ)
def list_models(ctx: WorkspaceCtx, page: PageParams) -> Page[ModelSummary]:
    query = service.models_of(ctx.workspace.id)
    rows, cursor = paginate(ctx.session, query, page, by=ModelTable.name)
    return Page(items=_presenter(ctx).summaries(rows), next_cursor=cursor)


@router.get("/{model}", allow=Action.MODELS_READ)
def get_model(ctx: WorkspaceCtx, model: str) -> Model:
    return _presenter(ctx).model(service.get_model(ctx.session, ctx.workspace.id, model))


@router.patch("/{model}", allow=Action.MODELS_WRITE)
def update_model(ctx: WorkspaceCtx, model: str, body: UpdateModel) -> Model:
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    if body.description is not None:
        row.description = body.description
    if body.tags is not None:
        row.tags = sorted(set(body.tags))
    if body.replicas is not None or body.idle_seconds is not None:
        wanted = body.replicas or Replicas()
        deployments.scale(
            ctx.session, row, min_replicas=wanted.min, max_replicas=wanted.max, idle_seconds=body.idle_seconds
        )
    return _presenter(ctx).model(row)


@router.delete("/{model}", allow=Action.MODELS_WRITE, status_code=204)
def delete_model(ctx: WorkspaceCtx, model: str) -> Response:
    service.delete_model(ctx.session, service.get_model(ctx.session, ctx.workspace.id, model))
    return Response(status_code=204)


@router.get("/{model}/versions", allow=Action.MODELS_READ)
def list_versions(ctx: WorkspaceCtx, model: str, page: PageParams) -> Page[Version]:
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    query = service.versions_of(row.id)
    versions, cursor = paginate(ctx.session, query, page, by=VersionTable.number, descending=True)
    return Page(items=_presenter(ctx).versions(row, versions), next_cursor=cursor)


@router.post("/{model}/versions", allow=Action.MODELS_WRITE, status_code=201, max_body_bytes=CREATE_BODY_BYTES)
def create_version(ctx: WorkspaceCtx, model: Name, body: CreateVersion) -> Version:
    files.check_package(ctx.settings, sum(entry.size for entry in body.files))
    store = files.make_store(ctx.settings)
    version = service.create_version(
        ctx.session, store, ctx.workspace.id, model, body, created_by=ctx.principal.name, now=ctx.now
    )
    return _presenter(ctx).version(service.get_model(ctx.session, ctx.workspace.id, model), version)


@router.post(
    "/{model}/versions/archive",
    allow=Action.MODELS_WRITE,
    status_code=201,
    body="raw",
    max_body_bytes=MAX_ARCHIVE_BYTES,
    response_model=Version,
)
async def create_version_from_archive(
    ctx: StreamCtx, model: Name, alias: Name | None = None, environment: Name | None = None
) -> Response:
    """A version from a tar, tar.gz or zip of a package folder. With an Idempotency-Key it is made once."""
    ctx.settings.artifacts_dir.mkdir(parents=True, exist_ok=True)
    store = files.make_store(ctx.settings)
    files.check_space(store, ctx.request.headers.get("content-length"))
    with tempfile.TemporaryDirectory(dir=ctx.settings.data_dir, prefix="upload-") as folder:
        archive = Path(folder, "archive")
        await _receive(ctx, store, archive)
        try:
            content = await asyncio.to_thread(_version_from_archive, ctx, model, alias, environment, archive)
        except idempotency.AlreadyDone as done:
            headers = {"Idempotent-Replayed": "true"}
            return Response(done.answer, done.status, headers, media_type="application/json")
        return Response(content, 201, media_type="application/json")


@router.get("/{model}/versions/{number}", allow=Action.MODELS_READ)
def get_version(ctx: WorkspaceCtx, model: str, number: int) -> Version:
    row, version = _find(ctx, model, number)
    return _presenter(ctx).version(row, version)


@router.post("/{model}/versions/{number}/start", allow=Action.MODELS_WRITE)
def start_version(ctx: WorkspaceCtx, model: str, number: int) -> Version:
    row, version = _find(ctx, model, number)
    _require_prepared(version)
    deployments.start(deployments.of_version(ctx.session, version.id))
    return _presenter(ctx).version(row, version)


@router.post("/{model}/versions/{number}/stop", allow=Action.MODELS_WRITE)
def stop_version(ctx: WorkspaceCtx, model: str, number: int) -> Version:
    row, version = _find(ctx, model, number)
    deployments.stop(deployments.of_version(ctx.session, version.id))
    return _presenter(ctx).version(row, version)


@router.post("/{model}/versions/{number}/restart", allow=Action.MODELS_WRITE)
def restart_version(ctx: WorkspaceCtx, model: str, number: int) -> Version:
    """New replicas in the place of the running ones, which answer until those can: no call fails."""
    row, version = _find(ctx, model, number)
    _require_prepared(version)
    deployments.restart(ctx.session, deployments.of_version(ctx.session, version.id))
    return _presenter(ctx).version(row, version)


@router.post("/{model}/versions/{number}/serve-original", allow=Action.MODELS_WRITE)
def serve_original(ctx: WorkspaceCtx, model: str, number: int) -> Version:
    """Takes a compiled form back, or stops making one: the version is served as it was deployed from now on.

    Replicas are replaced as in a restart: no call fails.
    """
    row, version = _find(ctx, model, number)
    compiling.serve_original(ctx.session, version.id, f"{ctx.principal.name} asked for the original.")
    return _presenter(ctx).version(row, version)


@router.put("/{model}/aliases/{alias}", allow=Action.MODELS_WRITE)
def point_alias(ctx: WorkspaceCtx, model: str, alias: Name, body: PointAlias) -> Model:
    row, version = _find(ctx, model, body.version)
    service.point_alias(ctx.session, row, alias, version)
    if alias == service.PRODUCTION:
        ready_made.refresh(ctx.session, row, version, ctx.now)
    return _presenter(ctx).model(row)


@router.delete("/{model}/aliases/{alias}", allow=Action.MODELS_WRITE)
def remove_alias(ctx: WorkspaceCtx, model: str, alias: str) -> Model:
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    service.remove_alias(ctx.session, row, alias)
    return _presenter(ctx).model(row)


@router.put("/{model}/aliases/{alias}/canary", allow=Action.MODELS_WRITE)
def set_canary(ctx: WorkspaceCtx, model: str, alias: Name, body: SetCanary) -> Model:
    """Lets another version answer a share of the alias's calls. Promoting a version ends it."""
    row, version = _find(ctx, model, body.version)
    service.set_canary(ctx.session, row, alias, version, body.percent)
    return _presenter(ctx).model(row)


@router.delete("/{model}/aliases/{alias}/canary", allow=Action.MODELS_WRITE)
def remove_canary(ctx: WorkspaceCtx, model: str, alias: str) -> Model:
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    service.remove_canary(ctx.session, row, alias)
    return _presenter(ctx).model(row)


@router.get("/{model}/aliases/{alias}/shadow", allow=Action.MODELS_READ)
def get_shadow(ctx: WorkspaceCtx, model: str, alias: str) -> ShadowReport:
    """How often the shadow's answers were the same, and how fast both were."""
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    return shadows.report(ctx.session, row, alias)


@router.get("/{model}/aliases/{alias}/shadow/differences", allow=Action.RUNS_READ)
def list_shadow_differences(ctx: WorkspaceCtx, model: str, alias: str) -> ShadowDifferences:
    """The newest calls that the shadow answered otherwise, with what was asked and both answers."""
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    return ShadowDifferences(items=shadows.list_differences(ctx.session, row, alias))


@router.put("/{model}/aliases/{alias}/shadow", allow=Action.MODELS_WRITE)
def set_shadow(ctx: WorkspaceCtx, model: str, alias: Name, body: SetShadow) -> Model:
    """Sends a share of the alias's calls to another version as well, and compares. Promoting that version ends it."""
    row, version = _find(ctx, model, body.version)
    service.set_shadow(ctx.session, row, alias, version, body.percent, body.tolerance)
    return _presenter(ctx).model(row)


@router.delete("/{model}/aliases/{alias}/shadow", allow=Action.MODELS_WRITE)
def remove_shadow(ctx: WorkspaceCtx, model: str, alias: str) -> Model:
    """What was found is deleted with it."""
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    service.remove_shadow(ctx.session, row, alias)
    return _presenter(ctx).model(row)


@router.get("/{model}/metrics", allow=Action.MODELS_READ)
def get_model_metrics(
    ctx: WorkspaceCtx,
    model: str,
    version: Annotated[int | None, Query(ge=1)] = None,
    minutes: Annotated[int, Query(ge=1, le=traffic.MAX_MINUTES)] = 60,
    step: Annotated[int | None, Query(ge=1, le=1440, description="minutes; chosen by the span when not given")] = None,
) -> ModelMetrics:
    """Calls, errors and durations of the last minutes, of all versions or of one."""
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    one = service.get_version(ctx.session, row, version) if version is not None else None
    return traffic.metrics(ctx.session, row, version=one, minutes=minutes, step_minutes=step, now=ctx.now)


@router.get("/{model}/compare", allow=Action.MODELS_READ)
def compare_versions(
    ctx: WorkspaceCtx,
    model: str,
    before: Annotated[int, Query(alias="from", ge=1)],
    after: Annotated[int, Query(alias="to", ge=1)],
) -> Comparison:
    """What differs: configuration, environment, schema, files."""
    row, old = _find(ctx, model, before)
    new = service.get_version(ctx.session, row, after)
    environments = [ctx.session.get_one(EnvironmentTable, version.environment_id) for version in (old, new)]
    return compare(old, new, *environments)


@router.get("/{model}/versions/{number}/package", allow=Action.MODELS_READ)
def get_version_package(ctx: StreamCtx, model: str, number: int) -> StreamingResponse:
    """The package as it was uploaded, as a tar.gz that can be deployed again."""
    with transaction(ctx.sessions) as session:
        row = service.get_model(session, ctx.workspace.id, model)
        version = service.get_version(session, row, number)
    parts = archives.pack(ArtifactStore(ctx.settings.artifacts_dir), version.files)
    headers = {
        "Content-Disposition": f'attachment; filename="{row.name}-{version.number}.tar.gz"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(parts, media_type="application/gzip", headers=headers)


@load_router.get("", allow=Action.MODELS_READ)
def get_load(ctx: WorkspaceCtx) -> Load:
    """What every model has to do now: calls, queues, replicas, memory."""
    return load(ctx.session, ctx.workspace.id, queue_length=ctx.settings.queue_length, now=ctx.now)


@packages_router.post("/lint", allow=Action.MODELS_WRITE, max_body_bytes=LINT_BODY_BYTES)
def lint_package(ctx: WorkspaceCtx, body: LintPackage) -> LintReport:
    """What becomes of each key of a package's config.yaml here. Nothing is kept."""
    del ctx  # whoever may deploy may ask
    return linting.lint(body.files)


@router.get("/{model}/versions/{number}/logs", allow=Action.MODELS_READ)
def list_version_logs(
    ctx: WorkspaceCtx,
    model: str,
    number: int,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> LogPage:
    _, version = _find(ctx, model, number)
    subjects = events.subjects_of(version, deployments.of_version(ctx.session, version.id).id)
    chunks = logs.list_chunks(ctx.session, subjects, after=after, limit=limit)
    return LogPage(items=[events.log_line(chunk) for chunk in chunks], next_after=chunks[-1].id if chunks else after)


@router.get("/{model}/versions/{number}/events", allow=Action.MODELS_READ)
def stream_version_events(
    ctx: StreamCtx, model: str, number: int, after: Annotated[int, Query(ge=0)] = 0, follow: bool = False
) -> StreamingResponse:
    with transaction(ctx.sessions) as session:
        row = service.get_model(session, ctx.workspace.id, model)
        version = service.get_version(session, row, number)
    last_seen = ctx.request.headers.get("last-event-id", "")
    start = max(after, int(last_seen)) if last_seen.isdigit() else after
    return StreamingResponse(
        events.version_events(ctx, row.id, version.id, after=start, follow=follow),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get("/{model}/versions/{number}/files/{path:path}", allow=Action.MODELS_READ)
def get_version_file(ctx: WorkspaceCtx, model: str, number: int, path: str) -> PlainTextResponse:
    """A text file of the package, for reading. Binary files and those over half a megabyte are not shown."""
    _, version = _find(ctx, model, number)
    entry = next((entry for entry in version.files if entry["path"] == path), None)
    if entry is None or entry["size"] > MAX_SHOWN_FILE_BYTES:
        raise NotFound("There is no such file, or it is too large to show.")
    try:
        text = ArtifactStore(ctx.settings.artifacts_dir).read_text(entry["digest"], max_bytes=MAX_SHOWN_FILE_BYTES)
    except UnicodeDecodeError:
        raise NotFound("The file is not text.") from None
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
    return PlainTextResponse(text, headers=headers)


async def _receive(ctx: StreamContext, store: ArtifactStore, archive: Path) -> None:
    try:
        with archive.open("wb") as file:
            async for chunk in ctx.request.stream():
                store.require_room(len(chunk))
                await asyncio.to_thread(file.write, chunk)
    except OSError as error:
        raise unwritable(error) from error


def _version_from_archive(
    ctx: StreamContext, model: str, alias: str | None, environment: str | None, archive: Path
) -> bytes:
    """The new version as the API shows it. Raises AlreadyDone for a repeat."""
    store = files.make_store(ctx.settings)
    repeatable = _repeatable(ctx, archive)
    entries = archives.unpack(store, archive)  # minutes for a large one, and the same however often: no transaction yet
    files.check_package(ctx.settings, sum(entry.size for entry in entries))
    with transaction(ctx.sessions) as session:
        if repeatable is not None:
            idempotency.begin(session, repeatable)
        for entry in entries:
            files.record_blob(session, ctx.workspace.id, Stored(entry.digest, entry.size))
        body = CreateVersion(files=entries, alias=alias, environment=environment)
        version = service.create_version(
            session, store, ctx.workspace.id, model, body, created_by=ctx.principal.name, now=ctx.clock()
        )
        row = service.get_model(session, ctx.workspace.id, model)
        shown = Presenter(session, ctx.settings, ctx.workspace.id, ctx.workspace.name).version(row, version)
        content = shown.model_dump_json(by_alias=True).encode()
        if repeatable is not None:
            idempotency.finish(session, repeatable, status=201, answer=content)
        return content


def _repeatable(ctx: StreamContext, archive: Path) -> idempotency.RepeatableRequest | None:
    """What the routing does for JSON bodies; an archive's is the digest of a file."""
    key = ctx.request.headers.get("idempotency-key")
    if key is None:
        return None
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return idempotency.repeatable(
        key,
        principal=f"{ctx.principal.kind}:{ctx.principal.id}",
        method=ctx.request.method,
        address=f"{ctx.request.url.path}?{ctx.request.url.query}",
        body=digest,
        keeps_answer=True,
    )


def _presenter(ctx: Context) -> Presenter:
    return Presenter(ctx.session, ctx.settings, ctx.workspace.id, ctx.workspace.name)


def _find(ctx: Context, model: str, number: int) -> tuple[ModelTable, VersionTable]:
    row = service.get_model(ctx.session, ctx.workspace.id, model)
    return row, service.get_version(ctx.session, row, number)


def _require_prepared(version: VersionTable) -> None:
    if version.state == VersionState.FAILED:
        raise Conflict(
            f"Version {version.number} failed while it was prepared: {version.reason}",
            code="version_failed",
            hint="Correct it and deploy again.",
        )
    if service.is_fetching(version):
        raise Conflict(
            f"The external data of version {version.number} is still being fetched.",
            code="version_not_ready",
            hint="It starts by itself when all of it is there.",
        )
