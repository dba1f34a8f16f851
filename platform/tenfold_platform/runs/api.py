"""Runs over HTTP. Runs are written by those who execute them (the gateway); here they are read."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from sqlalchemy import select

from tenfold_platform.apps import service as apps
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import Page, PageParams, WorkspaceCtx
from tenfold_platform.errors import NotFound
from tenfold_platform.paging import paginate
from tenfold_platform.routing import Router
from tenfold_platform.runs.schemas import Run, RunSummary, Step
from tenfold_platform.runs.tables import RunState, RunTable, StepTable
from tenfold_worklets.plan import Plan

router = Router(prefix="/workspaces/{workspace}/runs", tags=["runs"])


@router.get("", allow=Action.RUNS_READ)
def list_runs(
    ctx: WorkspaceCtx,
    page: PageParams,
    app: Annotated[str | None, Query()] = None,
    worklet: Annotated[str | None, Query()] = None,
    state: Annotated[RunState | None, Query()] = None,
) -> Page[RunSummary]:
    """The newest first."""
    query = select(RunTable).where(RunTable.workspace_id == ctx.workspace.id)
    if app is not None:
        query = query.where(RunTable.app_id == apps.get_app(ctx.session, ctx.workspace.id, app).id)
    if worklet is not None:
        query = query.where(RunTable.worklet == worklet)
    if state is not None:
        query = query.where(RunTable.state == state)
    rows, cursor = paginate(ctx.session, query, page, by=RunTable.id, descending=True)
    names = _names(ctx, rows)
    return Page(items=[RunSummary(**_summary(row, names)) for row in rows], next_cursor=cursor)


@router.get("/{run_id}", allow=Action.RUNS_READ)
def get_run(ctx: WorkspaceCtx, run_id: UUID) -> Run:
    row = ctx.session.get(RunTable, run_id)
    if row is None or row.workspace_id != ctx.workspace.id:
        raise NotFound("There is no such run.", hint="A run appears here within a second after its answer.")
    release = ctx.session.get_one(ReleaseTable, row.release_id)
    worklet = release.bundle["worklets"].get(row.worklet)
    steps = ctx.session.scalars(
        select(StepTable)
        .where(StepTable.run_id == run_id)
        .order_by(StepTable.started_at.nulls_last(), StepTable.path, StepTable.attempt)
    ).all()
    return Run(
        **_summary(row, _names(ctx, [row])),
        input=row.input,
        output=row.output,
        request_id=row.request_id,
        finished_at=row.finished_at,
        graph=Plan.from_json(worklet["plan"]).graph().to_json() if worklet else {"nodes": [], "edges": []},
        steps=[_step(row, step) for step in steps],
    )


def _names(ctx: WorkspaceCtx, rows: list[RunTable]) -> dict[UUID, str | int]:
    """App names and release numbers by id, for a page of runs."""
    apps_found = ctx.session.execute(
        select(AppTable.id, AppTable.name).where(AppTable.id.in_({row.app_id for row in rows}))
    )
    releases = ctx.session.execute(
        select(ReleaseTable.id, ReleaseTable.number).where(ReleaseTable.id.in_({row.release_id for row in rows}))
    )
    return {**{key: name for key, name in apps_found}, **{key: number for key, number in releases}}


def _summary(row: RunTable, names: dict[UUID, str | int]) -> dict[str, Any]:
    return {
        "id": row.id,
        "app": names[row.app_id],
        "worklet": row.worklet,
        "release": names[row.release_id],
        "state": row.state,
        "trigger": row.trigger,
        "caller": row.caller,
        "started_at": row.started_at,
        "duration_ms": row.duration_ms,
        "error": row.error,
    }


def _step(run: RunTable, step: StepTable) -> Step:
    offset = (step.started_at - run.started_at).total_seconds() * 1000 if step.started_at else None
    return Step(
        path=step.path,
        kind=step.kind,
        attempt=step.attempt,
        state=step.state,
        input=step.input,
        output=step.output,
        error=step.error,
        logs=step.logs,
        started_at=step.started_at,
        duration_ms=step.duration_ms,
        offset_ms=round(offset, 3) if offset is not None else None,
    )
