"""The ASGI application: where routes, errors, CORS and metrics meet."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable

import orjson
import structlog

from tenfold_platform.auth.permissions import Action
from tenfold_platform.errors import PlatformError, Unavailable
from tenfold_platform.gateway import sockets, views, worklets
from tenfold_platform.gateway.bundle import Bundle
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import Caller, nothing_here
from tenfold_platform.gateway.faults import ClientGone
from tenfold_platform.gateway.http import API_HEADERS, JSON_TYPE, Receive, Request, Scope, Send
from tenfold_platform.gateway.inference import PREFIX, error_response, inference_routes
from tenfold_platform.gateway.model_routes import model_routes
from tenfold_platform.gateway.routes import ANY, Route, Router
from tenfold_platform.gateway.static import ASSETS, StaticFiles
from tenfold_platform.gateway.traffic import BROKEN_OFF

log = structlog.get_logger(__name__)

DATA_PLANE = "v1"
_ALLOWED_HEADERS = (
    b"authorization, content-type, accept, prefer, x-api-key, x-request-id, inference-header-content-length"
)
_CLIENT_GONE = 499


class GatewayApp:
    """`await GatewayApp(gateway)(scope, receive, send)`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._static = StaticFiles(gateway.studio_dir)
        self._router = Router(self._routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            request = sockets.handshake(scope, receive, send)
        else:
            request = Request(scope, receive, send)
        await self.carry_out(request, self._answer)

    async def carry_out(self, request: Request, work: Callable[[Request], Awaitable[None]]) -> None:
        """Whatever comes of the work, the request is answered once, and counted."""
        try:
            await work(request)
        except ClientGone:
            request.status = _CLIENT_GONE
        except PlatformError as error:
            await self._refuse(request, error)
        except asyncio.CancelledError:
            await self._refuse(request, Unavailable("The gateway is shutting down.", headers={"Retry-After": "1"}))
        except Exception:
            log.exception("gateway.request_failed", request_id=request.id, kind=request.kind)
            hint = "Say the request id to the operator; the log has the rest."
            await self._refuse(request, PlatformError("Something went wrong in the gateway.", hint=hint))
        seconds = time.perf_counter() - request.began
        self._gateway.metrics.observe(request.kind, request.target, request.status or BROKEN_OFF, seconds)
        if request.version_id is not None:
            self._gateway.traffic.note(request.version_id, request.status or BROKEN_OFF, seconds)

    async def _answer(self, request: Request) -> None:
        self._allow_console(request)
        if self._is_preflight(request):
            await self._preflight(request)
            return
        found = self._router.find(request)
        if found is None:
            raise self._unknown(request)
        route, arguments = found
        request.kind = route.kind
        request.error_response = route.error_response
        await route.handler(request, *arguments)

    def _routes(self) -> list[Route]:
        gateway, v1 = self._gateway, DATA_PLANE

        async def call_worklet(request: Request, workspace: str, app: str, worklet: str) -> None:
            await worklets.call_worklet(gateway, request, workspace, app, worklet)

        async def open_session(request: Request) -> None:
            await views.open_session(gateway, request)

        async def get_document(request: Request, workspace: str, app: str, view: str) -> None:
            await views.get_document(gateway, request, workspace, app, view)

        async def run_query(request: Request, workspace: str, app: str, view: str, query: str) -> None:
            await views.run_query(gateway, request, workspace, app, view, query)

        return [
            *model_routes(gateway),
            *inference_routes(gateway),
            Route("POST", (v1, ANY, "apps", ANY, "worklets", ANY), "worklet", call_worklet),
            Route("GET", (v1, ANY, "apps", ANY, "openapi.json"), "openapi", self._openapi),
            Route("POST", (v1, "views", "session"), "session", open_session),
            Route("GET", (v1, ANY, "apps", ANY, "views", ANY), "document", get_document),
            Route("POST", (v1, ANY, "apps", ANY, "views", ANY, "queries", ANY), "query", run_query),
            Route("GET", ("healthz",), "health", self._health),
            Route("GET", ("metrics",), "metrics", self._metrics),
            Route("GET", ("favicon.ico",), "asset", self._no_icon),
            Route("GET", (ASSETS, ANY), "asset", self._asset),
            Route("GET", (ASSETS, ANY, ANY), "asset", self._asset),
            Route("GET", (ANY, ANY), "page", self._page),
            Route("GET", (ANY, ANY, ANY), "page", self._page),
        ]

    async def _page(self, request: Request, *segments: str) -> None:
        if segments[0] in (DATA_PLANE, ASSETS):
            raise self._unknown(request)
        await self._static.shell(request)

    async def _asset(self, request: Request, *path: str) -> None:
        await self._static.asset(request, path)

    async def _no_icon(self, request: Request) -> None:
        """The page names its icon; browsers that ask here as well are told for a day that there is no other."""
        await request.respond(204, [(b"cache-control", b"public, max-age=86400")])

    async def _openapi(self, request: Request, workspace: str, app_name: str) -> None:
        def find() -> tuple[Caller, Bundle]:
            caller = self._gateway.authenticate(request)
            return caller, worklets.find_release(caller, workspace, app_name)[2]

        caller, bundle = await self._gateway.look_up(find)
        if Action.WORKLETS_RUN not in caller.actions:
            caller.require(Action.APPS_READ)
        await request.respond(200, [JSON_TYPE, *API_HEADERS], bundle.openapi)

    async def _health(self, request: Request) -> None:
        """200 as long as requests can be answered, be it from what was read before PostgreSQL went away."""
        loader = self._gateway.loader
        age = None if loader.loaded_at is None else round(time.monotonic() - loader.loaded_at, 3)
        said = {
            "status": "starting" if age is None else "degraded" if loader.problem else "ok",
            "database": {"ok": not loader.problem, "problem": loader.problem},
            "snapshot_age_seconds": age,
            "spool_bytes": self._gateway.spool.pending_bytes,
        }
        await request.respond(503 if age is None else 200, [JSON_TYPE, *API_HEADERS], orjson.dumps(said))

    async def _metrics(self, request: Request) -> None:
        """For a scraper on the same network. What comes through a proxy comes from the public, which has no metrics."""
        if not _is_near(request):
            raise nothing_here()
        headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), *API_HEADERS]
        await request.respond(200, headers, await self._gateway.metrics.text())

    def _unknown(self, request: Request) -> PlatformError:
        """On the data plane nobody learns without a credential which paths there are."""
        if request.scope["raw_path"].startswith(b"/v1/"):
            if (request.segments or ())[2:3] == (PREFIX,):
                request.error_response = error_response
            self._gateway.authenticate(request)
        return nothing_here()

    def _allow_console(self, request: Request) -> None:
        if request.header(b"origin") == self._gateway.console_origin and (request.segments or ())[:1] == (DATA_PLANE,):
            request.origin = self._gateway.console_origin

    def _is_preflight(self, request: Request) -> bool:
        return (
            request.method == "OPTIONS"
            and request.origin is not None
            and request.header(b"access-control-request-method") is not None
        )

    async def _preflight(self, request: Request) -> None:
        headers = [
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", b"600"),
        ]
        await request.respond(204, headers)

    async def _refuse(self, request: Request, error: PlatformError) -> None:
        """The error as a response, unless one has begun: then the connection ends where it is, and counts as failed."""
        if error.status >= 500 and error.code != "internal":
            self._gateway.metrics.worker_error(error.code)
        if request.status is not None:
            log.warning("gateway.response_broken_off", request_id=request.id, code=error.code)
            request.status = BROKEN_OFF
            return
        status, headers, body = request.error_response(error, request.id)
        await request.respond(status, headers, body)


def _is_near(request: Request) -> bool:
    if request.header(b"x-forwarded-for") is not None or request.header(b"forwarded") is not None:
        return False
    client = request.scope.get("client")
    if client is None:
        return True  # a unix socket
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_private
