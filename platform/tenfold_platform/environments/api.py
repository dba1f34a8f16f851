"""Environments, their names, Python versions and the wheel cache over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from tenfold_deploy import environments as builder
from tenfold_deploy.environments import EnvironmentFailed
from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import Page, PageParams, StreamCtx, WorkspaceCtx, services_of
from tenfold_platform.environments import present, service
from tenfold_platform.environments.schemas import (
    Collect,
    Collected,
    Environment,
    EnvironmentItem,
    NamedEnvironment,
    PrunedWheelCache,
    PruneWheelCache,
    PythonVersion,
    Rebuild,
    SetNamedEnvironment,
    WheelCache,
)
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable, NamedEnvironmentTable
from tenfold_platform.errors import Unavailable
from tenfold_platform.logs import service as logs
from tenfold_platform.models.schemas import LogLine, LogPage, Name
from tenfold_platform.paging import paginate
from tenfold_platform.routing import Router

router = Router(tags=["environments"])

HERE = "/workspaces/{workspace}/environments"
NAMED = "/workspaces/{workspace}/named-environments"


@router.get(HERE, allow=Action.ENVIRONMENTS_READ)
def list_environments(
    ctx: WorkspaceCtx, page: PageParams, state: EnvironmentState | None = None, unused: bool = False
) -> Page[EnvironmentItem]:
    """Newest first; those in one state, or those that nothing uses."""
    query = service.environments_of(ctx.workspace.id)
    if state is not None:
        query = query.where(EnvironmentTable.state == state)
    if unused:
        query = query.where(service.is_unused())
    rows, cursor = paginate(ctx.session, query, page, by=EnvironmentTable.id, descending=True)
    return Page(items=present.items(ctx.session, ctx.workspace.id, rows), next_cursor=cursor)


@router.get(HERE + "/{environment_id}", allow=Action.ENVIRONMENTS_READ)
def get_environment(ctx: WorkspaceCtx, environment_id: UUID) -> Environment:
    return present.detail(ctx.session, service.get(ctx.session, ctx.workspace.id, environment_id))


@router.post(HERE + "/{environment_id}/rebuild", allow=Action.MODELS_WRITE)
def rebuild_environment(ctx: WorkspaceCtx, environment_id: UUID, body: Rebuild | None = None) -> Environment:
    """Tries a failed one again; makes the folder of a ready one anew from its lock; or upgrades a named one."""
    row = service.get(ctx.session, ctx.workspace.id, environment_id)
    built = service.rebuild(ctx.session, row, upgrade=body.upgrade if body else False)
    return present.detail(ctx.session, built)


@router.delete(HERE + "/{environment_id}", allow=Action.MODELS_WRITE, status_code=204)
def delete_environment(ctx: WorkspaceCtx, environment_id: UUID) -> Response:
    """Deletes one that nothing uses; its folder follows within minutes."""
    service.delete_environment(ctx.session, service.get(ctx.session, ctx.workspace.id, environment_id))
    return Response(status_code=204)


@router.post(HERE + "/collect", allow=Action.MODELS_WRITE)
def collect_environments(ctx: WorkspaceCtx, body: Collect | None = None) -> Collected:
    """Deletes all that nothing uses, or says which those are."""
    asked = body or Collect()
    unused_for = timedelta(days=asked.unused_days)
    doomed = service.collect(ctx.session, ctx.workspace.id, unused_for=unused_for, dry_run=True)
    shown = {item.id: item for item in present.items(ctx.session, ctx.workspace.id, doomed)}
    if not asked.dry_run:
        doomed = service.collect(ctx.session, ctx.workspace.id, unused_for=unused_for)
    gone = [shown[row.id] for row in doomed if row.id in shown]
    return Collected(dry_run=asked.dry_run, items=gone, size_bytes=sum(item.size_bytes or 0 for item in gone))


@router.get(HERE + "/{environment_id}/logs", allow=Action.ENVIRONMENTS_READ)
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


@router.get(NAMED, allow=Action.ENVIRONMENTS_READ)
def list_named_environments(ctx: WorkspaceCtx, page: PageParams) -> Page[NamedEnvironment]:
    query = service.named_of(ctx.workspace.id)
    rows, cursor = paginate(ctx.session, query, page, by=NamedEnvironmentTable.name)
    return Page(items=present.named_items(ctx.session, ctx.workspace.id, rows), next_cursor=cursor)


@router.get(NAMED + "/{name}", allow=Action.ENVIRONMENTS_READ)
def get_named_environment(ctx: WorkspaceCtx, name: str) -> NamedEnvironment:
    return present.named(ctx.session, service.get_name(ctx.session, ctx.workspace.id, name))


@router.put(NAMED + "/{name}", allow=Action.MODELS_WRITE)
def put_named_environment(ctx: WorkspaceCtx, name: Name, body: SetNamedEnvironment) -> NamedEnvironment:
    """Makes or edits it. The environment it had stays until the new one is ready."""
    row = service.set_name(
        ctx.session,
        ctx.workspace.id,
        name,
        python_version=body.python_version,
        requirements=body.requirements,
        description=body.description,
        updated_by=ctx.principal.name,
    )
    return present.named(ctx.session, row)


@router.delete(NAMED + "/{name}", allow=Action.MODELS_WRITE, status_code=204)
def delete_named_environment(ctx: WorkspaceCtx, name: str) -> Response:
    service.delete_name(ctx.session, ctx.workspace.id, name)
    return Response(status_code=204)


@router.get("/workspaces/{workspace}/python-versions", allow=Action.ENVIRONMENTS_READ)
def list_python_versions(ctx: StreamCtx) -> list[PythonVersion]:
    """Those on the machine, and those that a build would fetch; oldest first."""
    tools = service.tools_of(ctx.settings)
    own = builder.own_python_version()
    there = {one.minor: (one.version, "machine") for one in builder.python_versions(tools)}
    fetchable = {full.rpartition(".")[0]: (full, "download") for full in builder.installable_pythons(tools)}
    return [
        PythonVersion.model_validate({"version": minor, "full": full, "source": source, "is_default": minor == own})
        for minor, (full, source) in sorted((fetchable | there).items(), key=lambda one: int(one[0].split(".")[1]))
    ]


# Of the installation: no transaction is held while the disk is walked


@router.get("/system/wheel-cache", allow=Action.SYSTEM_READ)
def get_wheel_cache(request: Request) -> WheelCache:
    folder = builder.wheel_cache(service.tools_of(services_of(request).settings))
    return WheelCache(path=str(folder), size_bytes=builder.disk_usage(folder))


@router.post("/system/wheel-cache/prune", allow=Action.SYSTEM_MANAGE)
def prune_wheel_cache(request: Request, body: PruneWheelCache | None = None) -> PrunedWheelCache:
    """Environments keep their files: what they share with the cache is still theirs."""
    tools = service.tools_of(services_of(request).settings)
    folder = builder.wheel_cache(tools)
    before = builder.disk_usage(folder)
    try:
        builder.prune_wheel_cache(tools, everything=body.everything if body else False)
    except EnvironmentFailed as error:
        raise Unavailable(error.message, code="wheel_cache_busy", hint="A build may be using it: try again.") from error
    after = builder.disk_usage(folder)
    return PrunedWheelCache(path=str(folder), size_bytes=after, freed_bytes=max(0, before - after))
