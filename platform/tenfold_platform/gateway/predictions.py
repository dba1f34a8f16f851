"""Predictions that are answered later: accepted into PostgreSQL, carried out by some gateway's `Runner`.

The request is answered 202 once the row is committed. Answers are kept for a week.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import psycopg
import structlog

from tenfold_platform.errors import InvalidInput, PlatformError, TooLarge, Unavailable
from tenfold_platform.gateway import calls, queries
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import Caller, nothing_here
from tenfold_platform.gateway.database import Database, PgConnection
from tenfold_platform.gateway.http import API_HEADERS, JSON_TYPE, Header, Request, read_json, write_json
from tenfold_platform.gateway.snapshot import Model, Version
from tenfold_platform.gateway.targets import Target, called_model, called_version
from tenfold_platform.ids import new_id

log = structlog.get_logger(__name__)

DATABASE_SECONDS = 5.0
MAX_QUEUED = 10_000  # of one workspace
MAX_BODY_BYTES = 16 * 1024 * 1024

_RESPOND_ASYNC = re.compile(r"(?:^|,)\s*respond-async\s*(?:[,;]|$)", re.IGNORECASE)
_WITHOUT_EFFECT = ("priority", "max_time_in_queue_seconds", "inference_retry_config")
_WRAPPED = frozenset({"model_input", "webhook_endpoint", *_WITHOUT_EFFECT})

_BASETEN_STATES = {
    "queued": "QUEUED",
    "running": "IN_PROGRESS",
    "succeeded": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELED",
}


def asks_for_async(request: Request) -> bool:
    """Whether a header `Prefer` says `respond-async` (RFC 7240)."""
    return _RESPOND_ASYNC.search(",".join(request.headers_named(b"prefer"))) is not None


async def accept(gateway: Gateway, request: Request, caller: Caller, version: Version, target: Target) -> None:
    """`POST R/predict` with `Prefer: respond-async`: 202 once the prediction is sure to be carried out."""
    _refuse_if_hopeless(gateway, version)
    body = await _body(gateway, request)
    content_type = request.header(b"content-type") or "application/json"
    id = await _enqueue(gateway, request, caller, version, body, content_type, request.header(b"accept"))
    url = _url(gateway, target.workspace, version.model_name, id)
    said = {"id": id, "state": "queued", "url": url}
    headers: list[Header] = [
        (b"preference-applied", b"respond-async"),
        (b"location", url.encode()),
        (b"x-tenfold-version", b"%d" % version.number),
    ]
    await request.respond(202, [JSON_TYPE, *headers, *API_HEADERS], write_json(said))


async def accept_wrapped(gateway: Gateway, request: Request, target: Target) -> None:
    """Baseten's `async_predict`: the body is `{"model_input": ...}`."""
    caller, version = await called_version(gateway, request, target)
    _refuse_if_hopeless(gateway, version)
    asked = read_json(await _body(gateway, request))
    if not isinstance(asked, dict) or "model_input" not in asked:
        raise InvalidInput('The body must be {"model_input": ...}.', code="bad_input")
    if unknown := sorted(asked.keys() - _WRAPPED):
        raise InvalidInput(f"The body has an unknown field `{unknown[0]}`.", code="bad_input")
    if asked.get("webhook_endpoint"):
        message = "`webhook_endpoint` cannot be used: Tenfold does not send notifications yet."
        hint = "Leave it out, and ask for the prediction by its id: answers are kept for a week."
        raise InvalidInput(message, code="no_notifications", hint=hint)
    body = write_json(asked["model_input"])
    id = await _enqueue(gateway, request, caller, version, body, "application/json", "application/json")
    said = {
        "request_id": id,
        "id": id,
        "state": "queued",
        "url": _url(gateway, target.workspace, version.model_name, id),
    }
    headers: list[Header] = [(b"x-tenfold-version", b"%d" % version.number)]
    if ignored := [name for name in _WITHOUT_EFFECT if name in asked]:
        headers.append((b"x-tenfold-warning", f"without effect here: {', '.join(ignored)}".encode()))
    await request.respond(202, [JSON_TYPE, *headers, *API_HEADERS], write_json(said))


async def show(gateway: Gateway, request: Request, target: Target, id: str) -> None:
    """`GET R/predictions/{id}`: how far it is, and its answer."""
    model = await called_model(gateway, request, target)
    await _answer(gateway, request, target, model, await _find(gateway, model, _read_id(id), with_answer=True))


async def cancel(gateway: Gateway, request: Request, target: Target, id: str) -> None:
    """`DELETE R/predictions/{id}`: it is not begun any more, or stopped. One that has ended stays as it is."""
    model = await called_model(gateway, request, target)
    wanted = _read_id(id)
    async with _asked_of(gateway.database) as connection:
        await connection.execute(queries.CANCEL_PREDICTION, {"id": wanted, "model_id": model.id})
    await _answer(gateway, request, target, model, await _find(gateway, model, wanted, with_answer=True))


async def show_as_baseten(gateway: Gateway, request: Request, target: Target, id: str) -> None:
    """`GET R/async_request/{id}`, which tells how far it is and not the answer: `url` has that."""
    model = await called_model(gateway, request, target)
    row = await _find(gateway, model, _read_id(id), with_answer=False)
    error = row["error"]
    said = {
        "request_id": row["id"],
        "model_id": model.name,
        "deployment_id": str(row["version"]),
        "status": _BASETEN_STATES[row["state"]],
        "webhook_status": "NO_WEBHOOK_PROVIDED",
        "created_at": row["created_at"],
        "status_at": row["finished_at"] or row["started_at"] or row["created_at"],
        "errors": [] if error is None else [{"code": error["code"], "message": error["message"]}],
        "url": _url(gateway, target.workspace, model.name, row["id"]),
    }
    await request.respond(200, [JSON_TYPE, *API_HEADERS], write_json(said))


async def _body(gateway: Gateway, request: Request) -> bytes:
    """Raises as `Request.body` does."""
    limit = min(gateway.max_body_bytes, MAX_BODY_BYTES)
    try:
        return await request.body(limit)
    except TooLarge as error:
        if limit == MAX_BODY_BYTES:  # which no setting changes
            error.hint = "Larger bodies are only taken by calls that wait for their answer."
        raise


def _refuse_if_hopeless(gateway: Gateway, version: Version) -> None:
    """Raises NotReady when nothing would carry it out: what is only starting is waited for."""
    if version.deployment is not None or version.state == "failed":
        calls.version_lane(gateway.pool, version).refuse_if_hopeless()
    elif version.state not in ("pending", "building", "starting"):
        calls.version_lane(gateway.pool, version)


async def _enqueue(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    version: Version,
    body: bytes,
    content_type: str,
    accept: str | None,
) -> UUID:
    """Commits it. Raises Unavailable when PostgreSQL does not take it, and 429 when enough are waiting already."""
    request.version_id = None  # its traffic is counted when it is carried out
    id = new_id()
    values = {
        "id": id,
        "workspace_id": version.workspace_id,
        "version_id": version.id,
        "content_type": content_type,
        "body": body,
        "accept": accept,
        "request_id": request.id,
        "caller": caller.label,
        "limit": MAX_QUEUED,
    }
    async with _asked_of(gateway.database) as connection:
        cursor = await connection.execute(queries.ACCEPT_PREDICTION, values)
        is_accepted = await cursor.fetchone() is not None
    if is_accepted and version.deployment is not None:
        gateway.pool.wake(version.deployment)
    if not is_accepted:
        raise PlatformError(
            f"{MAX_QUEUED} predictions of this workspace wait already.",
            code="queue_full",
            status=429,
            hint="Wait until some are done, or cancel them.",
            headers={"Retry-After": "10"},
        )
    gateway.runner.wake()
    return id


def _read_id(id: str) -> UUID:
    """Raises NotFound."""
    try:
        return UUID(id)
    except ValueError:
        raise nothing_here() from None


async def _find(gateway: Gateway, model: Model, id: UUID, *, with_answer: bool) -> dict[str, Any]:
    """The row. Raises NotFound when the model has no such prediction (any more)."""
    values = {"id": id, "model_id": model.id, "with_answer": with_answer}
    async with _asked_of(gateway.database) as connection:
        cursor = await connection.execute(queries.FIND_PREDICTION, values)
        row = await cursor.fetchone()
    if row is None:
        raise nothing_here()
    return row


async def _answer(gateway: Gateway, request: Request, target: Target, model: Model, row: dict[str, Any]) -> None:
    said = {
        "id": row["id"],
        "state": row["state"],
        "version": row["version"],
        "url": _url(gateway, target.workspace, model.name, row["id"]),
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "attempts": row["attempts"],
        "status": row["status"],
        "content_type": row["answer_type"],
        "output": _output(row["answer"], row["answer_type"]),
        "error": row["error"],
    }
    await request.respond(200, [JSON_TYPE, *API_HEADERS], orjson.dumps(said))


def _output(answer: bytes | None, content_type: str | None) -> Any:
    """JSON as it is, text as a text, everything else as a file."""
    if answer is None or content_type is None:
        return None
    kind = calls.media_type(content_type)
    if calls.is_json(kind):
        return orjson.Fragment(answer)
    if kind.startswith("text/") or kind == "application/x-ndjson":
        return answer.decode("utf-8", "replace")
    data = base64.b64encode(answer).decode("ascii")
    return {"name": "output", "type": kind, "size": len(answer), "data": data}


def _url(gateway: Gateway, workspace: str, model: str, id: UUID) -> str:
    return f"{gateway.own_url}/v1/{workspace}/models/{model}/predictions/{id}"


@contextlib.asynccontextmanager
async def _asked_of(database: Database) -> AsyncIterator[PgConnection]:
    """PostgreSQL, or Unavailable when it does not answer soon. NotFound for what was deleted a moment ago."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS), database.connection() as connection:
            yield connection
    except psycopg.IntegrityError:
        raise nothing_here() from None
    except (psycopg.Error, OSError) as error:
        log.warning("gateway.predictions_unavailable", problem=str(error).strip())
        raise Unavailable(
            "PostgreSQL does not answer, which keeps predictions.",
            hint="Try again in a moment.",
            headers={"Retry-After": "2"},
        ) from None
