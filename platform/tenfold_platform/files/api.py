from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.concurrency import run_in_threadpool

from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import StreamContext, StreamCtx, WorkspaceCtx
from tenfold_platform.db import transaction
from tenfold_platform.files import service
from tenfold_platform.files.schemas import Blob, Missing, MissingBody
from tenfold_platform.files.store import ArtifactWriter, Stored
from tenfold_platform.routing import Router

router = Router(prefix="/workspaces/{workspace}/blobs", tags=["files"])

WRITE_BYTES = 1024 * 1024

DigestPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@router.post("/missing", allow=Action.MODELS_WRITE)
def find_missing_blobs(ctx: WorkspaceCtx, body: MissingBody) -> Missing:
    """Which of these files this workspace has not uploaded yet.

    With `package_bytes`, a package that would be refused is refused before any of it is sent.
    """
    store = service.make_store(ctx.settings)
    service.check_package(ctx.settings, body.package_bytes or 0)
    return Missing(missing=service.missing_digests(ctx.session, store, ctx.workspace.id, body.digests))


@router.put("/{digest}", allow=Action.MODELS_WRITE, body="raw", max_body_bytes=service.MAX_BLOB_BYTES)
async def put_blob(ctx: StreamCtx, digest: DigestPath) -> Blob:
    """The bytes of one file, checked against its SHA-256."""
    ctx.settings.artifacts_dir.mkdir(parents=True, exist_ok=True)
    store = service.make_store(ctx.settings)
    service.check_space(store, ctx.request.headers.get("content-length"))
    limit = min(service.MAX_BLOB_BYTES, ctx.settings.max_package_bytes)
    with store.writer(digest=digest, max_bytes=limit) as writer:
        await _receive(ctx, writer)
        stored = await run_in_threadpool(writer.commit)
    await run_in_threadpool(_record, ctx, stored)
    return Blob(digest=stored.digest, size_bytes=stored.size_bytes)


async def _receive(ctx: StreamContext, writer: ArtifactWriter) -> None:
    waiting = bytearray()
    async for chunk in ctx.request.stream():
        waiting += chunk
        if len(waiting) >= WRITE_BYTES:
            await run_in_threadpool(writer.write, bytes(waiting))
            waiting.clear()
    if waiting:
        await run_in_threadpool(writer.write, bytes(waiting))


def _record(ctx: StreamContext, stored: Stored) -> None:
    with transaction(ctx.sessions) as session:
        service.record_blob(session, ctx.workspace.id, stored)
