"""Live progress of a version: Server-Sent Events with its state and its logs, from rows, so that nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy import select

from tenfold_platform import stages
from tenfold_platform.context import StreamContext
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.environments import service as environments
from tenfold_platform.logs import service as logs
from tenfold_platform.logs.tables import LogChunkTable
from tenfold_platform.models import service
from tenfold_platform.models.present import Presenter
from tenfold_platform.models.schemas import LogLine
from tenfold_platform.models.tables import ModelTable, VersionState, VersionTable

POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 10.0
RECHECK_SECONDS = 30.0
SOURCES = {"version": "fetch", "environment": "environment", "deployment": "worker"}
TERMINAL = (VersionState.READY, VersionState.FAILED)


def subjects_of(version: VersionTable, deployment_id: UUID) -> list[str]:
    """The logs that belong to a version: its external data, its environment's build, its replicas' output."""
    return [
        service.log_subject(version.id),
        environments.subject(version.environment_id),
        deployments.log_subject(deployment_id),
    ]


def log_line(chunk: LogChunkTable) -> LogLine:
    source = SOURCES[chunk.subject.partition(":")[0]]
    return LogLine(id=chunk.id, at=chunk.at, source=source, text=chunk.text)


async def version_events(
    ctx: StreamContext, model_id: UUID, version_id: UUID, *, after: int, follow: bool
) -> AsyncIterator[bytes]:
    """`version` events whenever it changed and `log` events as they come; ends with the preparation unless followed."""
    last_version, waited, checked = "", 0.0, 0.0
    while True:
        shown, chunks, ended = await asyncio.to_thread(_look, ctx, model_id, version_id, after)
        if shown is None:
            return
        if shown != last_version:
            last_version, waited = shown, 0.0
            yield _event("version", shown)
        for line in chunks:
            after, waited = line.id, 0.0
            yield _event("log", line.model_dump_json(), line.id)
        if ended and not follow and not chunks:
            return
        pause = min(max(POLL_SECONDS, waited / 5), LONGEST_POLL_SECONDS)  # each look is a dozen queries
        await asyncio.sleep(pause)
        waited += pause
        checked += pause
        if waited >= KEEP_ALIVE_SECONDS:
            waited = 0.0
            yield b": still here\n\n"
        if checked >= RECHECK_SECONDS:
            checked = 0.0
            if not await asyncio.to_thread(ctx.still_allowed):
                return


def _look(ctx: StreamContext, model_id: UUID, version_id: UUID, after: int) -> tuple[str | None, list[LogLine], bool]:
    with transaction(ctx.sessions) as session:
        version = session.get(VersionTable, version_id)
        model = session.scalars(select(ModelTable).where(ModelTable.id == model_id)).one_or_none()
        if version is None or model is None:
            return None, [], True
        presenter = Presenter(session, ctx.settings, ctx.workspace.id, ctx.workspace.name)
        shown = presenter.version(model, version).model_dump_json(by_alias=True)
        deployment = deployments.of_version(session, version.id)
        chunks = logs.list_chunks(session, subjects_of(version, deployment.id), after=after, limit=200)
        ended = version.state in TERMINAL and stages.all_ended(version.stages)
        return shown, [log_line(chunk) for chunk in chunks], ended


def _event(name: str, data: str, event_id: int | None = None) -> bytes:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {data}\n\n".encode()
