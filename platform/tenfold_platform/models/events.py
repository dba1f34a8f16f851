"""Live progress of a version: Server-Sent Events with its state and its logs, from rows, so that nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text

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
KEEP_ALIVE_SECONDS = 10.0
RECHECK_SECONDS = 30.0
LINES = 200  # of a log at once
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


class Look(NamedTuple):
    """What there is to tell. `version`: None where nothing of it has changed, or it is `gone`."""

    version: str | None = None
    lines: Sequence[LogLine] = ()
    ended: bool = False
    gone: bool = False
    marks: str = ""


async def version_events(
    ctx: StreamContext, model_id: UUID, version_id: UUID, *, after: int, follow: bool
) -> AsyncIterator[bytes]:
    """`version` events whenever it changed and `log` events as they come; ends with the preparation unless followed."""
    last_version, waited, checked, look = "", 0.0, 0.0, Look()
    while True:
        look = await asyncio.to_thread(_look, ctx, model_id, version_id, after, look)
        if look.gone:
            return
        if look.version is not None and look.version != last_version:
            last_version, waited = look.version, 0.0
            yield _event("version", look.version)
        for line in look.lines:
            after, waited = line.id, 0.0
            yield _event("log", line.model_dump_json(), line.id)
        if look.ended and not follow and not look.lines:
            return
        await asyncio.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
        checked += POLL_SECONDS
        if waited >= KEEP_ALIVE_SECONDS:
            waited = 0.0
            yield b": still here\n\n"
        if checked >= RECHECK_SECONDS:
            checked, look = 0.0, look._replace(marks="")  # with it goes what others' rows say of it
            if not await asyncio.to_thread(ctx.still_allowed):
                return


# `xmin` is the transaction that wrote a row last
_MARKS = text("""
select concat_ws(' ',
    version.xmin, model.xmin, environment.xmin, deployment.xmin, compilation.xmin,
    (select string_agg(replica.xmin::text, ' ' order by replica.id)
        from replicas replica where replica.deployment_id = deployment.id),
    (select string_agg(alias.xmin::text, ' ' order by alias.name)
        from model_aliases alias where alias.model_id = model.id),
    (select string_agg(concat(app.xmin, ' ', release.xmin), ' ' order by app.id, release.id)
        from apps app left join app_releases release on release.app_id = app.id
        where app.made_for_model_id = model.id),
    (select max((select max(id) from log_chunks where subject = name)) from unnest(array[
        'version:' || version.id, 'environment:' || environment.id, 'deployment:' || deployment.id]) name)
)
from model_versions version
join models model on model.id = version.model_id
join environments environment on environment.id = version.environment_id
join deployments deployment on deployment.version_id = version.id
left join model_compilations compilation on compilation.version_id = version.id
where version.id = :version_id
""")


def _look(ctx: StreamContext, model_id: UUID, version_id: UUID, after: int, last: Look) -> Look:
    with transaction(ctx.sessions) as session:
        marks = session.scalar(_MARKS, {"version_id": version_id})
        if marks is not None and marks == last.marks:
            return Look(ended=last.ended, marks=marks)
        version = session.get(VersionTable, version_id)
        model = session.scalars(select(ModelTable).where(ModelTable.id == model_id)).one_or_none()
        if version is None or model is None:
            return Look(gone=True)
        presenter = Presenter(session, ctx.settings, ctx.workspace.id, ctx.workspace.name)
        shown = presenter.version(model, version).model_dump_json(by_alias=True)
        deployment = deployments.of_version(session, version.id)
        chunks = logs.list_chunks(session, subjects_of(version, deployment.id), after=after, limit=LINES)
        ended = version.state in TERMINAL and stages.all_ended(version.stages)
        if len(chunks) == LINES:
            marks = None  # there may be more
        return Look(shown, [log_line(chunk) for chunk in chunks], ended, marks=marks or "")


def _event(name: str, data: str, event_id: int | None = None) -> bytes:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {data}\n\n".encode()
