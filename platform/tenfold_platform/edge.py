"""The outermost layer of the api: request ids, one log line a request, security headers, and no path that is not
written plainly. The last place where an exception becomes an answer."""

from __future__ import annotations

import re
import time
from urllib.parse import unquote_to_bytes
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold_platform.auth.access import nothing_here
from tenfold_platform.errors import PlatformError
from tenfold_platform.log import get_logger

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
CLIENT_CLOSED_REQUEST = 499
QUIET_OPERATIONS = frozenset({"healthz", "get_asset", "get_studio"})

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# for everything but the studio's page, which brings its own
API_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"),
    (b"cache-control", b"no-store"),
)

log = get_logger("tenfold.api")


class Edge:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_headers(message["headers"], request_id)}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                if is_plain_path(scope):
                    await self._app(scope, receive, send_with_headers)
                else:
                    await error_response(nothing_here(), request_id)(scope, receive, send_with_headers)
            except ClientDisconnect:
                status = CLIENT_CLOSED_REQUEST  # nobody is left to answer
            except Exception:
                log.exception("unhandled", method=scope["method"], operation=state.get("operation"))
                if status:
                    raise  # the answer has begun: only breaking the connection can say that it is not whole
                await error_response(internal_error(), request_id)(scope, receive, send_with_headers)
            finally:
                operation = state.get("operation")
                if operation not in QUIET_OPERATIONS or status >= 400:
                    log.info(
                        "request",
                        method=scope["method"],
                        operation=operation,
                        status=status,
                        ms=round((time.perf_counter() - began) * 1000, 1),
                    )


def is_plain_path(scope: Scope) -> bool:
    """No empty or dot segments, no backslashes or control characters, however they are encoded: what two layers could
    read differently, nobody gets to say."""
    path: str = scope["path"]
    if not path.startswith("/") or any(ord(char) < 0x20 or char in "\\\x7f" for char in path):
        return False
    segments = path[1:].split("/")
    if any(segment in {".", ".."} for segment in segments) or "" in segments[:-1]:
        return False
    # still encoded after one decoding: somebody hopes for a second one
    raw = scope.get("raw_path") or b""
    once = unquote_to_bytes(raw)
    return not re.search(rb"(?i)%(2e|2f|5c|00|25)", once)


def internal_error() -> PlatformError:
    return PlatformError(
        "Something went wrong on the server.",
        hint="Try again. If it stays, give the request id to whoever runs this installation: it is in the logs.",
    )


def error_response(error: PlatformError, request_id: str) -> JSONResponse:
    return JSONResponse(error.body(request_id), status_code=error.status, headers=error.headers)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if REQUEST_ID_PATTERN.fullmatch(given):
                return given
    return uuid4().hex


def _with_headers(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    extra = [pair for pair in (*SECURITY_HEADERS, *API_HEADERS) if pair[0] not in present]
    return [*headers, *extra, (b"x-request-id", request_id.encode("ascii"))]
