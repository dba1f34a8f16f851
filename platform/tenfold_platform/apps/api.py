"""Apps over HTTP: see apps/service.py for what each of these does."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Response

from tenfold_platform.apps import bundle, links, service
from tenfold_platform.apps.present import Presenter, diff_files
from tenfold_platform.apps.schemas import (
    App,
    AppFile,
    AppSummary,
    Checked,
    CreateRelease,
    Draft,
    GoLive,
    OpenedView,
    PushDraft,
    Pushed,
    Release,
    ReleaseDiff,
    SetAccess,
)
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.auth.permissions import Action, Role
from tenfold_platform.context import Context, Page, PageParams, WorkspaceCtx
from tenfold_platform.documents import as_details
from tenfold_platform.errors import NotFound
from tenfold_platform.models.schemas import Name
from tenfold_platform.paging import paginate
from tenfold_platform.routing import Router

router = Router(prefix="/workspaces/{workspace}/apps", tags=["apps"])

APP_BODY_BYTES = 32 * 1024 * 1024


@router.get("", allow=Action.APPS_READ)
def list_apps(ctx: WorkspaceCtx, page: PageParams) -> Page[AppSummary]:
    rows, cursor = paginate(ctx.session, service.apps_of(ctx.workspace.id), page, by=AppTable.name)
    presenter = _presenter(ctx)
    return Page(items=[presenter.summary(app) for app in rows], next_cursor=cursor)


@router.get("/{app}", allow=Action.APPS_READ)
def get_app(ctx: WorkspaceCtx, app: str) -> App:
    return _presenter(ctx).app(_find(ctx, app))


@router.delete("/{app}", allow=Action.APPS_WRITE, status_code=204)
def delete_app(ctx: WorkspaceCtx, app: str) -> Response:
    service.delete_app(ctx.session, _find(ctx, app))
    return Response(status_code=204)


@router.get("/{app}/draft", allow=Action.APPS_READ)
def get_draft(ctx: WorkspaceCtx, app: str) -> Draft:
    row = _find(ctx, app)
    files = service.read_draft(ctx.session, row)
    return Draft(revision=row.draft_revision, files=[AppFile.of(path, content) for path, content in files.items()])


@router.put("/{app}/draft", allow=Action.APPS_WRITE, max_body_bytes=APP_BODY_BYTES)
def push_draft(ctx: WorkspaceCtx, app: Name, body: PushDraft) -> Pushed:
    row, changed = service.push_draft(
        ctx.session,
        ctx.workspace.id,
        app,
        body.to_files(),
        revision=body.revision,
        updated_by=ctx.principal.name,
    )
    return Pushed(revision=row.draft_revision, changed=changed)


@router.post("/{app}/check", allow=Action.APPS_READ, max_body_bytes=APP_BODY_BYTES)
def check_draft(ctx: WorkspaceCtx, app: Name, body: PushDraft) -> Checked:
    """Reads the files as `push` would, and saves nothing."""
    checked = service.check(ctx.session, ctx.workspace.id, body.to_files(), name=app)
    return Checked(problems=as_details(checked.problems), warnings=as_details(checked.warnings))


@router.get("/{app}/releases", allow=Action.APPS_READ)
def list_releases(ctx: WorkspaceCtx, app: str, page: PageParams) -> Page[Release]:
    row = _find(ctx, app)
    releases, cursor = paginate(ctx.session, service.releases_of(row.id), page, by=ReleaseTable.number, descending=True)
    presenter = _presenter(ctx)
    return Page(items=[presenter.release(row, release) for release in releases], next_cursor=cursor)


@router.post("/{app}/releases", allow=Action.APPS_WRITE, status_code=201)
def create_release(ctx: WorkspaceCtx, app: str, body: CreateRelease) -> Release:
    row = _find(ctx, app)
    release = service.create_release(
        ctx.session, row, note=body.note, created_by=ctx.principal.name, now=ctx.now, go_live=body.go_live
    )
    return _presenter(ctx).release(row, release)


@router.get("/{app}/releases/{number}", allow=Action.APPS_READ)
def get_release(ctx: WorkspaceCtx, app: str, number: int) -> Release:
    row = _find(ctx, app)
    return _presenter(ctx).release(row, service.get_release(ctx.session, row, number))


@router.get("/{app}/releases/{number}/diff", allow=Action.APPS_READ)
def diff_release(
    ctx: WorkspaceCtx, app: str, number: int, against: Annotated[int | None, Query()] = None
) -> ReleaseDiff:
    """What changed since another release (the one before, when not named)."""
    row = _find(ctx, app)
    release = service.get_release(ctx.session, row, number)
    before = (
        service.release_before(ctx.session, release)
        if against is None
        else service.get_release(ctx.session, row, against)
    )
    old = service.release_files(ctx.session, before) if before else {}
    files = diff_files(old, service.release_files(ctx.session, release))
    return ReleaseDiff(release=number, against=before.number if before else None, files=files)


@router.put("/{app}/live", allow=Action.APPS_WRITE)
def set_live_release(ctx: WorkspaceCtx, app: str, body: GoLive) -> App:
    row = _find(ctx, app)
    service.make_live(ctx.session, service.get_release(ctx.session, row, body.release))
    return _presenter(ctx).app(row)


@router.put("/{app}/access", allow=Action.APPS_WRITE)
def set_access(ctx: WorkspaceCtx, app: str, body: SetAccess) -> App:
    row = _find(ctx, app)
    row.access = body.access
    return _presenter(ctx).app(row)


@router.post("/{app}/link/rotate", allow=Action.APPS_WRITE)
def rotate_link(ctx: WorkspaceCtx, app: str) -> App:
    """A new share link; the old one opens nothing from now on."""
    row = _find(ctx, app)
    row.link_generation += 1
    return _presenter(ctx).app(row)


@router.post("/{app}/views/{view}/open", allow=Action.APPS_READ)
def open_view(ctx: WorkspaceCtx, app: str, view: str) -> OpenedView:
    """The address that opens a view as the one who asks."""
    row = _find(ctx, app)
    release = service.live_release(ctx.session, row)
    if release is None or view not in release.bundle["views"]:
        raise NotFound("The app has no such view in its live release.")
    is_person = ctx.principal.kind == "user"
    url = links.member_url(
        ctx.settings,
        ctx.workspace.name,
        row,
        view,
        workspace_id=ctx.workspace.id,
        user_id=ctx.principal.id if is_person else None,
        name=ctx.principal.name,
        role=ctx.principal.role or Role.VIEWER,
    )
    return OpenedView(url=url)


@router.get("/{app}/openapi.json", allow=Action.APPS_READ)
def get_app_openapi(ctx: WorkspaceCtx, app: str) -> dict[str, Any]:
    """The OpenAPI document of the app's generated endpoints."""
    release = service.live_release(ctx.session, _find(ctx, app))
    if release is None:
        raise NotFound("The app has no live release yet.")
    return bundle.openapi(release.bundle, server_url=ctx.settings.gateway_url, workspace=ctx.workspace.name)


def _presenter(ctx: Context) -> Presenter:
    return Presenter(ctx.session, ctx.settings, ctx.workspace.id, ctx.workspace.name)


def _find(ctx: Context, app: str) -> AppTable:
    return service.get_app(ctx.session, ctx.workspace.id, app)
