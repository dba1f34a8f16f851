"""The api process's application: the only place where routers, error handlers and the start and end of it all meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tenfold_platform import studio, tables
from tenfold_platform.apps import api as apps
from tenfold_platform.auth import api as auth
from tenfold_platform.auth.access import Allow, SignedIn, nothing_here
from tenfold_platform.auth.limits import RateLimiter
from tenfold_platform.auth.permissions import Action
from tenfold_platform.clock import Clock, utc_now
from tenfold_platform.context import Services, request_id_of
from tenfold_platform.db import make_engine, make_sessions
from tenfold_platform.edge import Edge, error_response, internal_error
from tenfold_platform.environments import api as environments
from tenfold_platform.errors import Conflict, InvalidInput, PlatformError, TooLarge, Unavailable
from tenfold_platform.files import api as files
from tenfold_platform.log import get_logger
from tenfold_platform.models import api as models
from tenfold_platform.routing import GuardedRoute, Router, check_routes, walk
from tenfold_platform.runs import api as runs
from tenfold_platform.secrets import api as secrets
from tenfold_platform.settings import Settings
from tenfold_platform.system import api as system
from tenfold_platform.system.schemas import ErrorAnswer
from tenfold_platform.workspaces import api as workspaces
from tenfold_platform.zoo import api as zoo

API = "/api/v1"
ROUTERS: tuple[Router, ...] = (
    auth.router,
    auth.keys_router,
    workspaces.router,
    files.router,
    models.router,
    models.load_router,
    models.packages_router,
    zoo.router,
    environments.router,
    secrets.router,
    apps.router,
    runs.router,
    system.router,
)

log = get_logger("tenfold.api")

# tables: the whole schema must be known before the first query
__all__ = ["assemble", "create_app", "make_services", "tables"]


def create_app(
    settings: Settings, *, clock: Clock = utc_now, engine: Engine | None = None, routers: Sequence[Router] = ROUTERS
) -> FastAPI:
    """Raises UndeclaredPermission when a route does not say who may use it."""
    app = assemble(routers)
    app.state.services = make_services(settings, clock=clock, engine=engine)
    return app


def make_services(settings: Settings, *, clock: Clock = utc_now, engine: Engine | None = None) -> Services:
    """What an application needs beside its routes. Connects to nothing yet."""
    engine = engine or make_engine(settings.database_url.get_secret_value(), application_name="tenfold-api")
    limiter = RateLimiter(settings.redis_url.get_secret_value())
    return Services(settings=settings, engine=engine, sessions=make_sessions(engine), clock=clock, limiter=limiter)


def assemble(routers: Sequence[Router] = ROUTERS) -> FastAPI:
    """An application that answers once `state.services` is set. Raises UndeclaredPermission as create_app does."""
    app = FastAPI(
        title="Tenfold",
        version=version("tenfold"),
        openapi_url=None,  # served by a guarded route (system/api.py)
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    for router in routers:
        app.include_router(router, prefix=API)
    app.include_router(system.probe_router)
    app.include_router(studio.router)  # the last: it answers every other GET
    app.add_middleware(Edge)
    app.add_exception_handler(PlatformError, _platform_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OperationalError, _database_error)
    app.add_exception_handler(PoolTimeout, _database_error)
    app.add_exception_handler(DataError, _unstorable)
    app.add_exception_handler(UnicodeEncodeError, _unstorable)
    check_routes(app.routes)
    description = cache(lambda: describe(app))
    app.openapi = description  # type: ignore[method-assign]
    return app


def describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of the management API, with our one shape of errors in place of FastAPI's, and who may do what."""
    document = get_openapi(
        title="Tenfold management API",
        version=app.version,
        description="Models, apps, environments, runs, people and keys of a Tenfold installation.",
        routes=app.routes,
    )
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["ErrorAnswer"] = ErrorAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schemas["ErrorAnswer"].pop("$defs"))
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A key of one workspace: `tf_...`"},
        "session": {"type": "apiKey", "in": "cookie", "name": "tenfold_session", "description": "The console's"},
    }
    rights = {route.operation_id: route.allow for _, route in walk(app.routes) if isinstance(route, GuardedRoute)}
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe_operation(operation, rights[operation["operationId"]])
    return document


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    services: Services = app.state.services
    services.close()


def _describe_operation(operation: dict[str, Any], allow: Allow | None) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    answers["default"] = {
        "description": "An error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
    }
    match allow:
        case Action():
            operation["x-permission"] = allow.value
            operation["security"] = [{"key": []}, {"session": []}]
        case SignedIn(kinds=kinds):
            operation["security"] = [{"session" if kind == "user" else "key": []} for kind in kinds]
        case _:
            operation["security"] = []


async def _platform_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PlatformError)
    if error.status >= 500:
        log.warning("platform_error", code=error.code, message=error.message)
    return error_response(error, request_id_of(request))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = [{"path": _path(problem["loc"]), "message": problem["msg"]} for problem in error.errors()]
    return error_response(
        InvalidInput("The request is not right: see `details`.", details=details), request_id_of(request)
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404 | 405:
            own: PlatformError = nothing_here()
        case 413:
            own = TooLarge("The body is too large.")
        case status if status < 500:
            own = InvalidInput("The request cannot be read.", status=status, hint=str(error.detail))
        case _:
            own = internal_error()
    return error_response(own, request_id_of(request))


async def _database_error(request: Request, error: Exception) -> Response:
    """PostgreSQL is away, or every connection is busy. A full lock or statement time-out is the state's fault."""
    log.warning("database_unavailable", error=type(error).__name__, detail=str(getattr(error, "orig", "")))
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == "55P03":
        own: PlatformError = Conflict("Somebody else is changing the same thing.", hint="Try again.")
    else:
        own = Unavailable(
            "The database cannot answer now.", hint="Try again in a moment.", headers={"Retry-After": "2"}
        )
    return error_response(own, request_id_of(request))


async def _unstorable(request: Request, error: Exception) -> Response:
    """A zero character or half a surrogate pair in a text, a number out of range: what no field's check has caught."""
    log.warning("unstorable_value", error=type(error).__name__)
    return error_response(
        InvalidInput("A value cannot be stored: it holds a character or a number that is not allowed."),
        request_id_of(request),
    )


def _path(location: Sequence[str | int]) -> str:
    """`files[0].digest` of ("body", "files", 0, "digest"); where it is not the body, what it is comes first."""
    first, *rest = location or ("body",)
    parts = rest if first == "body" else [*rest]
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
