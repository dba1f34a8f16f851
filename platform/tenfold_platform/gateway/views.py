"""What a published view asks for: a token for its grant, its document, and its queries by name."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import orjson

from tenfold_platform.auth.tokens import Token, TokenError, TokenKind, is_link_key, issue, verify
from tenfold_platform.errors import InvalidInput, NotFound, Unauthenticated
from tenfold_platform.gateway.bundle import Bundle, Query, View
from tenfold_platform.gateway.calls import CALL_SECONDS
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import may_still_view, nothing_here
from tenfold_platform.gateway.http import API_HEADERS, JSON_TYPE, Request, WhileConnected, read_json, write_json
from tenfold_platform.gateway.snapshot import App, Release, Snapshot, Workspace
from tenfold_platform.gateway.worklets import live_release, predict_pinned, run_fault, run_worklet
from tenfold_worklets.types import check

SESSION_BODY_BYTES = 16 * 1024
_NOBODY = UUID(int=0)


async def open_session(gateway: Gateway, request: Request) -> None:
    """`POST /v1/views/session` {workspace, app, key? | open?}: trades a grant for a view token.

    A page whose view token is about to end may send that as its credential instead of a grant, and gets the next one.
    """
    asked = read_json(await request.body(SESSION_BODY_BYTES))
    if not isinstance(asked, dict):
        raise InvalidInput(
            "The body must be an object.", code="bad_input", hint="Send {workspace, app, key? or open?}."
        )
    await _answer(request, await gateway.look_up(lambda: _open(gateway, request, asked)))


async def get_document(gateway: Gateway, request: Request, workspace: str, app_name: str, name: str) -> None:
    """`GET /v1/{workspace}/apps/{app}/views/{view}`: the view as the page draws it."""
    app, release, _, view = await gateway.look_up(lambda: _viewed(gateway, request, workspace, app_name, name))
    request.target = f"{workspace}/{app.name}/{view.name}"
    head = orjson.dumps({"view": view.name, "release": release.number})
    body = head[:-1] + b',"document":' + view.document + b"}"
    await request.respond(200, [JSON_TYPE, *API_HEADERS], body)


async def run_query(
    gateway: Gateway, request: Request, workspace: str, app_name: str, view_name: str, query_name: str
) -> None:
    """`POST .../views/{view}/queries/{query}` {values}: runs what the live release says under that name."""
    app, release, bundle, view = await gateway.look_up(
        lambda: _viewed(gateway, request, workspace, app_name, view_name)
    )
    if (query := view.queries.get(query_name)) is None:
        raise nothing_here()
    request.target = f"{workspace}/{app.name}/{view.name}.{query.name}"
    values = _values(query, read_json(await request.body(gateway.max_body_bytes)))
    began = time.perf_counter()
    run_id: UUID | None = None
    async with WhileConnected(request):
        if query.kind == "worklet":
            run_id, data = await _run(gateway, request, app, release, bundle, view, query, values)
        else:
            data = await _predict(gateway, request, bundle, query, values)
    seconds = round(time.perf_counter() - began, 6)
    await _answer(request, {"data": data, "run": run_id, "seconds": seconds})


def no_such_app() -> NotFound:
    """The same whether the app is missing, not released, or not open to this grant."""
    return NotFound("This app is not available, or the link is not valid.", hint="Ask for a new link.")


async def _run(
    gateway: Gateway,
    request: Request,
    app: App,
    release: Release,
    bundle: Bundle,
    view: View,
    query: Query,
    values: dict[str, Any],
) -> tuple[UUID, Any]:
    plan = bundle.worklets.get(query.target)
    if plan is None:
        raise nothing_here()
    caller = f"view:{view.name}"
    run = await run_worklet(
        gateway, app, release, bundle, plan, values, request.id, "view", caller, deadline_seconds=query.timeout_seconds
    )
    if run.outcome.state != "succeeded":
        raise run_fault(run, tell_traceback=False)
    return run.id, run.outcome.output


async def _predict(gateway: Gateway, request: Request, bundle: Bundle, query: Query, values: dict[str, Any]) -> Any:
    return await predict_pinned(
        gateway.pool,
        gateway.snapshot,
        gateway.traffic,
        bundle,
        query.target,
        write_json(values),
        request_id=request.id,
        timeout_seconds=query.timeout_seconds or CALL_SECONDS,
    )


def _open(gateway: Gateway, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
    snapshot = gateway.snapshot()
    workspace = snapshot.workspaces.get(_text(asked, "workspace"))
    app = workspace.apps.get(_text(asked, "app")) if workspace is not None else None
    granted = _granted(gateway, request, snapshot, app, asked)
    if workspace is None or app is None or app.release is None or granted is None:
        raise no_such_app()
    _, bundle = live_release(app)
    return _session(workspace, app, bundle, *granted)


def _granted(
    gateway: Gateway, request: Request, snapshot: Snapshot, app: App | None, asked: dict[str, Any]
) -> tuple[str, Token] | None:
    """A new view token, if anything that was sent opens this app."""
    if opened := _text(asked, "open"):
        return _by_token(gateway, snapshot, app, opened, TokenKind.OPEN)
    if (credential := request.header(b"authorization")) is not None:
        return _by_token(gateway, snapshot, app, credential.partition(" ")[2].strip(), TokenKind.VIEW)
    return _as_visitor(gateway, app, _text(asked, "key"))


def _by_token(
    gateway: Gateway, snapshot: Snapshot, app: App | None, text: str, kind: TokenKind
) -> tuple[str, Token] | None:
    try:
        token = verify(gateway.signing_key, text, (kind,))
    except TokenError:
        return None
    if app is None or token.app_id != app.id or not may_still_view(app, token, snapshot):
        return None
    if kind is TokenKind.VIEW and token.role is not None and token.user_id is None:
        return None  # opened by a key: there is nobody whose membership could be asked again
    role = token.role or ("viewer" if kind is TokenKind.OPEN else None)
    return issue(
        gateway.signing_key,
        TokenKind.VIEW,
        workspace_id=app.workspace_id,
        name=token.name,
        user_id=token.user_id,
        role=role,
        app_id=app.id,
        link_generation=token.link_generation,
    )


def _as_visitor(gateway: Gateway, app: App | None, key: str) -> tuple[str, Token] | None:
    id, generation = (app.id, app.link_generation) if app is not None else (_NOBODY, 0)
    has_link = is_link_key(gateway.signing_key, key, id, generation)
    if app is None or not (app.access == "public" or (app.access == "link" and has_link)):
        return None
    return issue(
        gateway.signing_key,
        TokenKind.VIEW,
        workspace_id=app.workspace_id,
        name="visitor",
        app_id=app.id,
        link_generation=generation if has_link else None,
    )


def _session(workspace: Workspace, app: App, bundle: Bundle, text: str, token: Token) -> dict[str, Any]:
    views = [{"name": view.name, "title": view.title} for view in bundle.views.values()]
    home = bundle.home if bundle.home in bundle.views else next(iter(bundle.views), None)
    return {
        "token": text,
        "expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires_at)),
        "viewer": {"name": token.name, "role": token.role},
        "workspace": workspace.name,
        "app": {"name": app.name, "title": app.title or bundle.title},
        "views": views,
        "home": home,
    }


def _viewed(
    gateway: Gateway, request: Request, workspace: str, app_name: str, view_name: str
) -> tuple[App, Release, Bundle, View]:
    """What a view token is for. Raises NotFound for anything else, Unauthenticated when its grant has ended."""
    caller = gateway.authenticate(request)
    token = caller.token
    app = caller.workspace.apps.get(app_name) if caller.workspace.name == workspace else None
    if app is None or token is None or token.kind is not TokenKind.VIEW or token.app_id != app.id:
        raise nothing_here()
    if not may_still_view(app, token, gateway.snapshot()):
        raise Unauthenticated("Your access to this app has ended.", code="expired", hint="Ask for a new link.")
    release, bundle = live_release(app)
    if (view := bundle.views.get(view_name)) is None:
        raise nothing_here()
    return app, release, bundle, view


def _values(query: Query, body: Any) -> dict[str, Any]:
    """What the page sent, when it is what the query takes: a client adds no inputs of its own."""
    values = body.get("values", {}) if isinstance(body, dict) else None
    if not isinstance(values, dict):
        raise InvalidInput("The body must be {values: {...}}.", code="bad_input")
    if query.inputs is None:
        return values
    details = [
        {"path": name, "message": "is not an input of this query", "hint": ""}
        for name in values
        if name not in query.inputs
    ]
    for name, type in query.inputs.items():
        if type is not None and name in values:
            details += [
                {"path": problem.path, "message": problem.message, "hint": problem.hint or ""}
                for problem in check(values[name], type, name)
            ]
    if details:
        message = (
            f"{details[0]['path']} {details[0]['message']}"
            if len(details) == 1
            else f"{len(details)} values are wrong."
        )
        raise InvalidInput(message, code="bad_input", details=details)
    return values


def _text(asked: dict[str, Any], key: str) -> str:
    value = asked.get(key)
    return value if isinstance(value, str) else ""


async def _answer(request: Request, value: Any) -> None:
    await request.respond(200, [JSON_TYPE, *API_HEADERS], write_json(value))
