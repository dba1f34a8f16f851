"""Environments over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import Page, PageParams, WorkspaceCtx, paginate
from tenfold_platform.environments import service
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.logs import service as logs
from tenfold_platform.models.present import environment
from tenfold_platform.models.schemas import EnvironmentSummary, LogLine, LogPage
from tenfold_platform.routing import Router

router = Router(prefix="/workspaces/{workspace}/environments", tags=["environments"])


class Environment(EnvironmentSummary):
    lock: str | None


@router.get("", allow=Action.ENVIRONMENTS_READ)
def list_environments(ctx: WorkspaceCtx, page: PageParams) -> Page[EnvironmentSummary]:
    rows, cursor = paginate(
        ctx.session, service.environments_of(ctx.workspace.id), page, by=EnvironmentTable.id, descending=True
    )
    return Page(items=[environment(row) for row in rows], next_cursor=cursor)


@router.get("/{environment_id}", allow=Action.ENVIRONMENTS_READ)
def get_environment(ctx: WorkspaceCtx, environment_id: UUID) -> Environment:
    row = service.get(ctx.session, ctx.workspace.id, environment_id)
    return Environment(**environment(row).model_dump(), lock=row.lock)


@router.post("/{environment_id}/rebuild", allow=Action.MODELS_WRITE)
def rebuild_environment(ctx: WorkspaceCtx, environment_id: UUID) -> Environment:
    """Builds an environment again whose build failed."""
    row = service.get(ctx.session, ctx.workspace.id, environment_id)
    service.rebuild(ctx.session, row)
    return Environment(**environment(row).model_dump(), lock=row.lock)


@router.get("/{environment_id}/logs", allow=Action.ENVIRONMENTS_READ)
def list_environment_logs(
    ctx: WorkspaceCtx,
    environment_id: UUID,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> LogPage:
    row = service.get(ctx.session, ctx.workspace.id, environment_id)
    chunks = logs.list_chunks(ctx.session, [service.subject(row.id)], after=after, limit=limit)
    items = [LogLine(id=chunk.id, at=chunk.at, source="environment", text=chunk.text) for chunk in chunks]
    return LogPage(items=items, next_after=chunks[-1].id if chunks else after)
