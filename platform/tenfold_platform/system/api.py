from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from sqlalchemy import text

from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import PublicCtx, UserCtx
from tenfold_platform.routing import ANY_CREDENTIAL, PUBLIC, Router
from tenfold_platform.system import service
from tenfold_platform.system.schemas import DatabaseStatus, Health, IsolationStatus, Process, RedisStatus, SystemStatus

router = Router(tags=["system"])
probe_router = Router()  # outside /api/v1


@router.get("/system/status", allow=Action.SYSTEM_READ)
def get_system_status(ctx: UserCtx) -> SystemStatus:
    return SystemStatus(
        version=version("tenfold"),
        processes=[
            Process(
                kind=row.process.kind,
                host=row.process.host,
                pid=row.process.pid,
                started_at=row.process.started_at,
                seen_at=row.process.seen_at,
                alive=row.alive,
            )
            for row in service.list_processes(ctx.session)
        ],
        database=DatabaseStatus(ok=True, size_bytes=service.database_size(ctx.session)),
        redis=RedisStatus(ok=service.is_redis_up(ctx.settings.redis_url.get_secret_value())),
        isolation=IsolationStatus.model_validate(ctx.settings.find_isolation().to_json()),
        data_dir=str(ctx.settings.data_dir),
    )


@router.get("/openapi.json", allow=ANY_CREDENTIAL, include_in_schema=False)
def get_openapi_document(request: Request) -> JSONResponse:
    document: dict[str, Any] = request.app.openapi()
    return JSONResponse(document)


@probe_router.get_or_head("/healthz", allow=PUBLIC, include_in_schema=False)
def healthz(ctx: PublicCtx) -> Health:
    """200 while this process and its database answer; 503 otherwise."""
    ctx.session.execute(text("select 1"))
    return Health(ok=True)
