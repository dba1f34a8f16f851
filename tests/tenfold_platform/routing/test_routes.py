"""Default deny: what a route must say before the server starts, and what a request must have before a route runs."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tenfold_platform.app import ROUTERS, create_app
from tenfold_platform.auth.permissions import Action, Role, Scope, actions_of, actions_of_scopes
from tenfold_platform.context import StreamCtx, WorkspaceCtx
from tenfold_platform.routing import (
    PUBLIC,
    GuardedRoute,
    Public,
    Router,
    UndeclaredPermission,
    check_routes,
    origin_of,
    walk,
)
from tenfold_platform.settings import Settings

NO_SUCH_ID = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Known:
    """One route of the real application."""

    path: str
    method: str
    allow: Any
    raw: bool
    has_body: bool

    def address(self, workspace: str) -> str:
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: _value(match[1], workspace), self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _value(parameter: str, workspace: str) -> str:
    match parameter:
        case "workspace":
            return workspace
        case "digest":
            return "0" * 64
        case "number":
            return "1"
        case name if name == "id" or name.endswith("_id"):
            return NO_SUCH_ID
        case _:
            return "nothing"


def known_routes() -> list[Known]:
    app = create_app(
        Settings.model_validate(
            {"database_url": "postgresql://h/d", "redis_url": "redis://h", "data_dir": "d", "signing_key": "0" * 64}
        )
    )
    return [
        Known(path, method, route.allow, route.body == "raw", route.body_field is not None)
        for path, route in walk(app.routes)
        if isinstance(route, GuardedRoute)
        for method in sorted(route.methods)
    ]


ROUTES = known_routes()
GUARDED = [route for route in ROUTES if not isinstance(route.allow, Public)]
BELOW_WORKSPACE = [route for route in GUARDED if "{workspace}" in route.path]


def test_there_is_something_to_walk():
    assert len(GUARDED) > 20
    assert {route.path.split("/")[1] for route in GUARDED} == {"api"}
    public = {str(route) for route in ROUTES if isinstance(route.allow, Public)}
    assert public == {
        "POST /api/v1/auth/redeem",
        "POST /api/v1/auth/sign-in",
        "GET /healthz",
        "HEAD /healthz",
        "GET /assets/{path:path}",
        "HEAD /assets/{path:path}",
        "GET /{path:path}",
        "HEAD /{path:path}",
    }


class TestARouteWithoutAPermission:
    """Stops the server from starting."""

    def plain(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/secret", lambda: "everything")
        return router

    def refused(self, settings: Settings, *routers: Any) -> str:
        with pytest.raises(UndeclaredPermission) as caught:
            create_app(settings, routers=routers)
        return str(caught.value)

    def test_of_a_plain_router(self, settings):
        assert "/api/v1/secret does not declare" in self.refused(settings, self.plain())

    def test_included_below_another_router(self, settings):
        router = Router(prefix="/a")
        router.include_router(self.plain(), prefix="/b")
        assert "/api/v1/a/b/secret does not declare" in self.refused(settings, router)

    def test_inside_a_mounted_application(self, settings):
        router = Router()
        router.routes.append(Mount("/m", app=Starlette(routes=[Route("/secret", lambda _: PlainTextResponse("all"))])))
        assert "/m/secret does not declare" in self.refused(settings, router)

    def test_a_mount_that_cannot_be_looked_into(self, settings):
        async def opaque(scope, receive, send):
            await PlainTextResponse("all")(scope, receive, send)

        router = Router()
        router.routes.append(Mount("/m", app=opaque))
        assert "does not declare" in self.refused(settings, router)

    def test_a_starlette_route_and_a_websocket(self, settings):
        router = Router()
        router.add_route("/plain", lambda _: PlainTextResponse("all"))

        async def socket(websocket):
            await websocket.accept()

        router.add_api_websocket_route("/socket", socket)
        said = self.refused(settings, router)
        assert "/api/v1/plain does not declare" in said
        assert "/api/v1/socket does not declare" in said

    def test_a_guarded_route_added_around_the_declaration(self, settings):
        router = Router()
        router.add_api_route("/secret", lambda: "everything", operation_id="secret")
        assert "/api/v1/secret does not declare" in self.refused(settings, router)

    def test_a_route_added_to_the_finished_application(self, settings):
        app = create_app(settings)
        app.get("/later")(lambda: "everything")
        with pytest.raises(UndeclaredPermission):
            check_routes(app.routes)

    def test_the_declaration_is_a_required_argument(self):
        with pytest.raises(TypeError):
            Router().get("/x")

    def test_two_routes_of_one_name(self, settings):
        router = Router()
        for path in ("/a", "/b"):

            @router.get(path, allow=PUBLIC)
            def twice() -> None: ...

        assert "both called 'twice'" in self.refused(settings, router)


def spellings(path: str) -> Iterator[str]:
    """Other ways to write an address, in the hope that somebody reads it differently."""
    yield path
    yield path + "?x=1&allow=PUBLIC&method=GET"
    yield path + "/"
    yield path + "//"
    yield "/" + path
    yield path.replace("/api/", "//api//", 1)
    yield path.replace("/api/", "/API/", 1)
    yield path.replace("/api/", "/%61pi/", 1)
    yield path.replace("/api/", "/x/../api/", 1)
    yield path.replace("/api/", "/x/%2e%2e/api/", 1)
    yield path.replace("/api/", "/assets/..%2fapi/", 1)
    yield path.replace("/api/", "/assets/%252e%252e/api/", 1)
    yield path.replace("/api/", "/./api/", 1)
    yield path.replace("/v1/", "/v1;x=1/", 1)
    yield path.replace("/", "\\")
    yield path + "%00"
    yield path + "%0a"
    yield path + ".json"
    yield path + "%3f"


OVERRIDES = {
    "X-HTTP-Method-Override": "GET",
    "X-Method-Override": "GET",
    "X-Original-URL": "/healthz",
    "X-Rewrite-URL": "/healthz",
    "X-Forwarded-Prefix": "/healthz",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-User": "admin",
    "Forwarded": "for=127.0.0.1",
}


async def raw_answer(app: FastAPI, method: str, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """As a server would pass it on: the path decoded once, nothing normalised by a client."""
    path, _, query = target.partition("?")
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in {"host": "localhost:7070", **headers}.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7070),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def raw(app, app_loop):
    def ask(method: str, target: str, **headers: str) -> tuple[int, bytes]:
        return asyncio.run_coroutine_threadsafe(raw_answer(app, method, target, headers), app_loop).result(60)

    return ask


def test_nobody_without_a_credential_gets_anything(raw, make_workspace, settings):
    """Every route, in every spelling, with every method: nothing but refusals and the studio's page."""
    make_workspace("acme")
    settings.studio_dir.mkdir()
    (settings.studio_dir / "index.html").write_text("the studio")
    answered = []
    for route in GUARDED:
        for target in spellings(route.address("acme")):
            for method in {route.method, "GET"}:
                status, body = raw(method, target)
                if status not in {401, 404} and not (status == 200 and body == b"the studio"):
                    answered.append((method, target, status))
        for method in ("HEAD", "POST", "OPTIONS", "TRACE", "PROPFIND", route.method.lower()):
            status, _ = raw(method, route.address("acme"))
            if status not in {401, 404}:
                answered.append((method, str(route), status))
        status, _ = raw(route.method, route.address("acme"), **OVERRIDES)
        assert status == 401, str(route)
    assert answered == []


def test_unknown_path_wrong_method_and_foreign_workspace_look_exactly_alike(
    make_workspace, make_user, make_key, as_user, as_key
):
    mine, _ = make_workspace("mine"), make_workspace("theirs")
    for client in (as_user(make_user(mine, "admin")), as_key(make_key(mine, "admin").text)):
        bodies = set()
        for method, path in (
            ("GET", "/api/v1/nothing/at/all"),
            ("PATCH", "/api/v1/workspaces/mine"),
            ("GET", "/api/v1/workspaces/theirs"),
            ("GET", "/api/v1/workspaces/missing"),
            ("GET", "/api/v1/workspaces/theirs/models"),
            ("GET", "/api/v1/workspaces/missing/models"),
            ("POST", "/api/v1/workspaces/theirs/keys"),
            ("GET", "/api"),
            ("GET", "/API/v1/auth/session"),
            ("DELETE", "/"),
        ):
            answer = client.request(method, path, headers={"X-Request-Id": "always-the-same"})
            bodies.add((answer.status_code, answer.content, tuple(sorted(answer.headers.items()))))
        assert len(bodies) == 1
        assert bodies.pop()[0] == 404


PRINCIPALS = [
    "anonymous",
    *(f"user:{role}" for role in Role),
    "foreign user:admin",
    *(f"key:{scope}" for scope in Scope),
    "foreign key:admin",
    "operator without a workspace",
]


def expected(route: Known, principal: str, own: bool) -> set[int]:
    """What an outsider may conclude from the status. A set, where what comes after permission decides."""
    kind, _, what = principal.removeprefix("foreign ").partition(":")
    if principal == "anonymous":
        return {401}
    if not own or principal.startswith(("foreign", "operator")):
        return {404}
    actions = actions_of(what) if kind == "user" else actions_of_scopes([what])
    if kind == "key" and route.path.endswith("/console-token"):
        return {403}
    return {200, 201, 204, 400, 404, 409, 415, 422} if route.allow in actions else {403}


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_the_matrix_of_routes_and_principals(
    principal, make_workspace, make_user, make_key, as_user, as_key, client, sessions
):
    """Every route below a workspace x this principal x {own, foreign, missing}."""
    own, foreign = make_workspace("own"), make_workspace("foreign")
    kind, _, what = principal.removeprefix("foreign ").partition(":")
    home = foreign if principal.startswith("foreign") else own
    if principal == "anonymous":
        asking = client
    elif principal.startswith("operator"):
        asking = as_user(make_user(is_operator=True))
    elif kind == "user":
        make_user(home, "admin")  # so that leaving is allowed
        asking = as_user(make_user(home, what))
    else:
        asking = as_key(make_key(home, what).text)
    wrong = []
    for route, workspace in itertools.product(BELOW_WORKSPACE, ("own", "foreign", "missing")):
        if principal.startswith("foreign") and workspace == "foreign":
            continue  # their own, to them
        answer = asking.request(route.method, route.address(workspace))
        if answer.status_code not in expected(route, principal, own=workspace == "own"):
            wrong.append(f"{route} in {workspace}: {answer.status_code} {answer.text[:200]}")
    assert wrong == []


@pytest.mark.parametrize(
    ("principal", "status"),
    [("anonymous", 401), ("admin", 403), ("operator", 200), ("key:admin", 403), ("key:system", 200)],
)
def test_the_installations_own_state_is_for_operators(
    principal, status, make_workspace, make_user, make_key, as_user, as_key, client
):
    workspace = make_workspace("acme")
    asking = {
        "anonymous": lambda: client,
        "admin": lambda: as_user(make_user(workspace, "admin")),
        "operator": lambda: as_user(make_user(is_operator=True)),
        "key:admin": lambda: as_key(make_key(workspace, "admin").text),
        "key:system": lambda: as_key(make_key(workspace, "system").text),
    }[principal]()
    assert asking.get("/api/v1/system/status").status_code == status


def test_permission_comes_before_the_body(client, make_workspace, make_user, as_user):
    """Who may not, learns nothing about what is wrong with the body, and cannot make us read it."""
    viewer = as_user(make_user(make_workspace("acme"), "viewer"))
    for asking, status in ((client, 401), (viewer, 403)):
        for body in (b"{", b"[" * 100_000, b"x" * 3_000_000):
            answer = asking.post(
                "/api/v1/workspaces/acme/keys", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == status


class TestErrors:
    """One shape for all of them."""

    @pytest.fixture
    def admin(self, make_workspace, make_user, as_user):
        return as_user(make_user(make_workspace("acme"), "admin"))

    def test_a_wrong_field_says_where_and_what(self, admin):
        answer = admin.post(
            "/api/v1/workspaces/acme/keys",
            json={"scopes": ["read", "everything"], "colour": "red"},
            headers={"X-Request-Id": "request-0001"},
        )
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["request_id"] == answer.headers["x-request-id"] == "request-0001"
        assert {key: error[key] for key in ("code", "hint")} == {"code": "invalid_input", "hint": ""}
        assert {detail["path"] for detail in error["details"]} == {"name", "scopes[1]", "colour"}

    def test_a_body_that_is_not_json(self, admin):
        answer = admin.post(
            "/api/v1/workspaces/acme/keys", content=b'{"name": ', headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")

    def test_a_body_that_does_not_say_it_is_json(self, admin):
        answer = admin.post("/api/v1/workspaces/acme/keys", content=b"{}", headers={"Content-Type": "text/plain"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")

    @pytest.mark.parametrize("declared", [True, False])
    def test_too_large_a_body(self, admin, declared):
        chunks = [b'{"name": "', b"x" * 2_000_000, b'"}']
        content = b"".join(chunks) if declared else iter(chunks)
        answer = admin.post(
            "/api/v1/workspaces/acme/keys", content=content, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    def test_very_deep_json(self, admin):
        answer = admin.post(
            "/api/v1/workspaces/acme/keys",
            content=b'{"name": ' + b"[" * 400_000 + b"]" * 400_000 + b"}",
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")

    @pytest.mark.parametrize(
        "query", ["cursor=nonsense", "cursor=W10", "cursor=WzFd", "limit=0", "limit=201", "limit=x"]
    )
    def test_a_wrong_page(self, admin, query):
        answer = admin.get(f"/api/v1/workspaces/acme/keys?{query}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")

    def test_text_that_postgresql_cannot_hold(self, admin):
        """A zero character is not allowed in its texts: whose fault that is must be clear."""
        for path in ("/api/v1/workspaces/acme%00", "/api/v1/workspaces/acme/models/a%00b"):
            assert admin.get(path).status_code == 404
        answer = admin.post("/api/v1/workspaces/acme/keys", json={"name": "a\0b", "scopes": ["read"]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")

    def test_an_unexpected_error_says_nothing_of_the_inside(self, settings, engine, call, capsys):
        router = Router()

        @router.get("/broken", allow=PUBLIC)
        def broken() -> None:
            raise RuntimeError("the password is hunter2")

        answer = call(app=create_app(settings, engine=engine, routers=[router])).get("/api/v1/broken")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert "hunter2" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_a_database_that_is_away(self, settings, call, make_workspace, make_key):
        key = make_key(make_workspace("acme"), "read")
        nowhere = settings.model_copy(
            update={"database_url": type(settings.database_url)("postgresql://127.0.0.1:9/x")}
        )
        answer = call(app=create_app(nowhere), headers={"X-Api-Key": key.text}).get("/api/v1/workspaces/acme")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "2"


class TestTransactions:
    """One request is one transaction, and its end is part of the answer."""

    @pytest.fixture
    def ask(self, settings, engine, call, make_workspace, make_key):
        key = make_key(make_workspace("acme"), "admin")
        with engine.begin() as connection:
            connection.execute(text("create table notes (word text unique deferrable initially deferred)"))

        def make(route):
            router = Router(prefix="/workspaces/{workspace}")
            router.get("/try", allow=Action.WORKSPACE_READ)(route)
            app = create_app(settings, engine=engine, routers=[router])
            return call(app=app, headers={"X-Api-Key": key.text}).get("/api/v1/workspaces/acme/try")

        return make

    @pytest.fixture
    def notes(self, engine):
        def read():
            with engine.begin() as connection:
                return connection.execute(text("select word from notes")).scalars().all()

        return read

    def test_a_failed_commit_is_never_a_success(self, ask, notes):
        def write_twice(ctx: WorkspaceCtx) -> dict[str, bool]:
            for _ in range(2):
                ctx.session.execute(text("insert into notes values ('same')"))
            return {"saved": True}

        answer = ask(write_twice)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert notes() == []

    def test_what_was_written_is_there_when_the_answer_arrives(self, ask, notes):
        def write(ctx: WorkspaceCtx) -> dict[str, bool]:
            ctx.session.execute(text("insert into notes values ('once')"))
            return {"saved": True}

        assert ask(write).json() == {"saved": True}
        assert notes() == ["once"]

    def test_an_error_takes_everything_back(self, ask, notes):
        def write_and_fail(ctx: WorkspaceCtx) -> None:
            ctx.session.execute(text("insert into notes values ('once')"))
            ctx.session.flush()
            raise RuntimeError

        assert ask(write_and_fail).status_code == 500
        assert notes() == []

    def test_more_requests_than_threads_waiting_for_one_lock(self, settings, engine, call, make_workspace, make_key):
        """The one that has the lock must still get the threads it needs to finish."""
        key = make_key(make_workspace("acme"), "admin")
        router = Router(prefix="/workspaces/{workspace}")

        @router.get("/try", allow=Action.WORKSPACE_READ)
        def take_turns(ctx: WorkspaceCtx) -> dict[str, bool]:
            ctx.session.execute(text("select pg_advisory_xact_lock(1)"))
            return {"done": True}

        client = call(app=create_app(settings, engine=engine, routers=[router]), headers={"X-Api-Key": key.text})
        with ThreadPoolExecutor(80) as pool:
            answers = list(pool.map(lambda _: client.get("/api/v1/workspaces/acme/try").json(), range(80)))
        assert answers == [{"done": True}] * 80

    def test_a_stream_holds_no_session(self, ask, engine):
        def stream(ctx: StreamCtx) -> dict[str, int]:
            return {"checked_out": engine.pool.checkedout(), "allowed": ctx.still_allowed()}

        assert ask(stream).json() == {"checked_out": 0, "allowed": True}


def test_every_answer_carries_a_request_id_and_the_headers_of_caution(client):
    for path in ("/api/v1/auth/session", "/api/v1/nothing", "/healthz", "/a//b"):
        headers = client.get(path).headers
        assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("given", ["short", "x" * 65, "line\\nbreak", "spaces are out", "<script>alert(1)"])
def test_a_strange_request_id_is_replaced(client, given):
    assert client.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"] != given


def test_operation_ids_are_the_functions_names():
    names = [route.operation_id for router in ROUTERS for route in router.routes if isinstance(route, GuardedRoute)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) for name in names)


def test_the_description_of_the_api_is_for_those_who_are_signed_in(
    client, make_workspace, make_user, make_key, as_user, as_key
):
    assert client.get("/api/v1/openapi.json").status_code == 401
    workspace = make_workspace("acme")
    document = as_key(make_key(workspace, "predict").text).get("/api/v1/openapi.json").json()
    assert document == as_user(make_user(workspace, "viewer")).get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["paths"]["/api/v1/workspaces/{workspace}/keys"]["post"]["operationId"] == "create_key"
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert client.get(path).status_code == 404


def test_a_request_does_not_see_another_ones_principal(make_workspace, make_user, as_user):
    """Two users of one application, in turns."""
    first, second = (as_user(make_user(make_workspace(name), "admin", email=f"{name}@example.com")) for name in "ab")
    for _ in range(3):
        assert first.get("/api/v1/auth/session").json()["user"]["email"] == "a@example.com"
        assert second.get("/api/v1/auth/session").json()["user"]["email"] == "b@example.com"


def test_quoting_a_workspaces_name_reaches_the_same_check(make_workspace, make_key, as_key):
    client = as_key(make_key(make_workspace("acme"), "read").text)
    assert client.get("/api/v1/workspaces/" + quote("acme").replace("a", "%61")).status_code == 200
    assert client.get("/api/v1/workspaces/acme%2Fmodels").status_code == 200  # the route that it spells, with its check
    assert client.get("/api/v1/workspaces/ACME").status_code == 404


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost:7070", "http://localhost:7070"),
        ("https://Tenfold.Example.com:443/console/", "https://tenfold.example.com"),
        ("http://user@host:80", "http://host"),
        ("http://[::1]:7070/", "http://[::1]:7070"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url, origin):
    assert origin_of(url) == origin
