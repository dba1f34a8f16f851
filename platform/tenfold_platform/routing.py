"""Routes that refuse to exist without a permission.

    router = Router(prefix="/workspaces/{workspace}/models", tags=["models"])

    @router.get("", allow=Action.MODELS_READ)
    def list_models(ctx: WorkspaceCtx, page: PageParams) -> Page[ModelSummary]: ...

`allow` is an Action, or PUBLIC, SIGNED_IN (a person), WITH_KEY, ANY_CREDENTIAL. The function's name is the operation
id. The check runs on the matched route before the body is read. A body is JSON of at most a megabyte, unless the route
says otherwise: `max_body_bytes=`, or `body="raw"` for one that reads `ctx.request.stream()` itself (of any content type
but those a plain HTML form can send). A create (`status_code=201`) accepts an Idempotency-Key; `shows_secret=True`
keeps its answer from being stored for repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute, APIRouter, iter_route_contexts
from sqlalchemy.orm import Session
from starlette.routing import BaseRoute
from starlette.types import Message, Receive

from tenfold_platform.auth import access as rules
from tenfold_platform.auth.access import ANY_CREDENTIAL, PUBLIC, SIGNED_IN, WITH_KEY, Allow, Credential, Public
from tenfold_platform.auth.cookies import cookie_name, set_session_cookie
from tenfold_platform.context import Access, Services, services_of
from tenfold_platform.db import transaction
from tenfold_platform.errors import Forbidden, InvalidInput, PlatformError, TooLarge
from tenfold_platform.idempotency import service as idempotency
from tenfold_platform.settings import Settings

__all__ = [
    "ANY_CREDENTIAL",
    "PUBLIC",
    "SIGNED_IN",
    "WITH_KEY",
    "GuardedRoute",
    "Router",
    "UndeclaredPermission",
    "check_routes",
    "origin_of",
]

JSON_BODY_BYTES = 1024 * 1024
CREATED = 201
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_TYPES = frozenset({"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
BodyKind = Literal["json", "raw"]
Answer = Callable[[Request], Coroutine[Any, Any, Response]]


class UndeclaredPermission(RuntimeError):
    """A route that does not say who may use it: the server must not start."""


class CrossSite(Forbidden):
    code = "cross_site"


class UnsupportedMediaType(InvalidInput):
    status, code = 415, "unsupported_media_type"


class GuardedRoute(APIRoute):
    """Checks who asks before anything else of the request is looked at."""

    allow: Allow | None = None
    body: BodyKind = "json"
    max_body_bytes: int = JSON_BODY_BYTES
    shows_secret: bool = False

    def get_route_handler(self) -> Answer:
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.operation = self.operation_id
            services = services_of(request)
            renewed = await self._admit(request, services)
            if request.method not in SAFE_METHODS:
                _check_content_type(request, self.body)
            limited = Request(request.scope, _limited(request, self.max_body_bytes), request._send)
            content = b""
            if self.body_field is not None:
                content = await limited.body()  # here, so that too large a body is a 413 and not a parse error
            response = await self._answer_once(limited, content, answer)
            if renewed:
                set_session_cookie(response, services.settings, renewed.text)
            return response

        return guarded

    async def _answer_once(self, request: Request, content: bytes, answer: Answer) -> Response:
        """A create with an Idempotency-Key is done once: repeats get the first one's answer."""
        key = request.headers.get("idempotency-key")
        access: Access = request.state.access
        if key is None or self.status_code != CREATED or self.body == "raw" or access.principal is None:
            return await answer(request)
        repeatable = idempotency.repeatable(
            key,
            principal=f"{access.principal.kind}:{access.principal.id}",
            method=request.method,
            address=f"{request.url.path}?{request.url.query}",
            body=content,
            keeps_answer=not self.shows_secret,
        )
        request.state.repeatable = repeatable
        try:
            response = await answer(request)
        except idempotency.AlreadyDone as done:
            return Response(done.answer, done.status, {"Idempotent-Replayed": "true"}, media_type="application/json")
        # FastAPI ends the transaction (a dependency of scope "function") only after this returns
        session: Session = request.state.session
        await run_in_threadpool(
            idempotency.finish, session, repeatable, status=response.status_code, answer=bytes(response.body)
        )
        return response

    async def _admit(self, request: Request, services: Services) -> Credential | None:
        """Leaves the Access on the request. Returns the cookie when it should be set anew."""
        if self.allow is None:
            raise rules.nothing_here()
        credential = rules.find_credential(request.headers, request.cookies, cookie_name(services.settings))
        if request.method not in SAFE_METHODS:
            uses_cookie = credential is not None and credential.kind == "cookie"
            by_cookie = uses_cookie and not isinstance(self.allow, Public)
            _check_origin(request, services.settings, by_cookie=by_cookie)
        if isinstance(self.allow, Public):
            request.state.access = Access(principal=None, workspace=None)
            return None
        allow, workspace = self.allow, request.path_params.get("workspace")

        def admit() -> rules.Admission:
            with transaction(services.sessions) as session:
                return rules.admit(session, credential, allow, workspace, services.clock())

        def still_allowed() -> bool:
            try:
                admit()
            except PlatformError:
                return False
            return True

        admission = await run_in_threadpool(admit)
        request.state.access = Access(
            principal=admission.principal,
            workspace=admission.workspace,
            session_id=admission.session_id,
            check_again=still_allowed,
        )
        return credential if admission.renewed else None


class Router(APIRouter):
    def __init__(self, *, prefix: str = "", tags: list[str] | None = None) -> None:
        super().__init__(prefix=prefix, tags=list(tags or []), route_class=GuardedRoute, redirect_slashes=False)

    def get(self, path: str, *, allow: Allow, **options: Any) -> Callable[[Endpoint], Endpoint]:  # type: ignore[override]
        return self._declare(["GET"], path, allow, **options)

    def post(self, path: str, *, allow: Allow, **options: Any) -> Callable[[Endpoint], Endpoint]:  # type: ignore[override]
        return self._declare(["POST"], path, allow, **options)

    def put(self, path: str, *, allow: Allow, **options: Any) -> Callable[[Endpoint], Endpoint]:  # type: ignore[override]
        return self._declare(["PUT"], path, allow, **options)

    def patch(self, path: str, *, allow: Allow, **options: Any) -> Callable[[Endpoint], Endpoint]:  # type: ignore[override]
        return self._declare(["PATCH"], path, allow, **options)

    def delete(self, path: str, *, allow: Allow, **options: Any) -> Callable[[Endpoint], Endpoint]:  # type: ignore[override]
        return self._declare(["DELETE"], path, allow, **options)

    def get_or_head(self, path: str, *, allow: Allow, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """For pages and probes; the API's own routes answer GET only."""
        return self._declare(["GET", "HEAD"], path, allow, **options)

    def _declare(
        self,
        methods: list[str],
        path: str,
        allow: Allow,
        *,
        body: BodyKind = "json",
        max_body_bytes: int = JSON_BODY_BYTES,
        shows_secret: bool = False,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        def declare(endpoint: Endpoint) -> Endpoint:
            self.add_api_route(path, endpoint, methods=methods, operation_id=endpoint.__name__, **options)
            route = self.routes[-1]
            assert isinstance(route, GuardedRoute)
            route.allow, route.body, route.max_body_bytes = allow, body, max_body_bytes
            route.shows_secret = shows_secret
            return endpoint

        return declare


def check_routes(routes: Sequence[BaseRoute]) -> None:
    """Raises UndeclaredPermission, naming every route without one, and for a name that two routes share."""
    faults: list[str] = []
    seen: dict[str, str] = {}
    for path, route in walk(routes):
        if not isinstance(route, GuardedRoute) or route.allow is None:
            faults.append(f"{path or repr(route)} does not declare who may use it")
            continue
        operation = route.operation_id or ""
        if operation in seen:
            faults.append(f"{path} and {seen[operation]} are both called {operation!r}")
        seen[operation] = path
    if faults:
        raise UndeclaredPermission("Refusing to start: " + "; ".join(faults) + ".")


def walk(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, BaseRoute]]:
    """Every route, with its whole path, through included routers and mounts. A mount of something that cannot be looked
    into comes out as itself."""
    for context in iter_route_contexts(routes):
        route, path = context.original_route, context.path or ""
        below = getattr(route, "routes", None)
        if below:
            yield from ((path + inner, found) for inner, found in walk(below))
        else:
            yield path, route


def origin_of(url: str) -> str:
    """As browsers write it: lower case, no user, no default port."""
    parts = urlsplit(url.lower())
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_default = parts.port in {None, {"http": 80, "https": 443}.get(parts.scheme)}
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


def _check_origin(request: Request, settings: Settings, *, by_cookie: bool) -> None:
    """A browser always says where an unsafe request comes from. With a cookie that is required; without one (signing
    in) it must not be another site, so that nobody is signed in to somebody else's account."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None:
        right = origin.lower() == origin_of(settings.console_url)
    elif site is not None:
        right = site in {"same-origin", "none"} if not by_cookie else site == "same-origin"
    else:
        right = not by_cookie
    if not right:
        raise CrossSite(
            "The request comes from another site than the console.",
            hint=f"The console is at {settings.console_url}. Programs send a key instead of a cookie.",
        )


def _check_content_type(request: Request, body: BodyKind) -> None:
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body == "json" and given != "application/json":
        raise UnsupportedMediaType("The body must be JSON.", hint="Send `Content-Type: application/json`.")
    if body == "raw" and given in FORM_TYPES:
        raise UnsupportedMediaType(
            "The body must be plain bytes.", hint="Send `Content-Type: application/octet-stream`."
        )


def _limited(request: Request, limit: int) -> Receive:
    receive, taken = request.receive, 0
    declared = request.headers.get("content-length", "")

    async def limited() -> Message:
        nonlocal taken
        if declared.isdecimal() and int(declared) > limit:
            raise body_too_large(limit)
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise body_too_large(limit)
        return message

    return limited


def body_too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {limit} bytes that this route takes.")
