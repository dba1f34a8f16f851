"""What a Truss model server answers at its own paths, and Baseten at its, so that their clients work unchanged.

Errors are `{"error": message}` with the headers `X-BASETEN-ERROR-SOURCE` and `X-BASETEN-ERROR-CODE`: 700 for what the
caller did wrong, 600 for what the model did, 500 for what the server did. Tracebacks stay in the log.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from tenfold_platform.errors import NotFound, PlatformError
from tenfold_platform.gateway import calls, mlflow
from tenfold_platform.gateway.calls import Method, WorkerFault
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.http import (
    API_HEADERS,
    JSON_TYPE,
    Header,
    Request,
    WhileConnected,
    as_seen_by_models,
    write_json,
)
from tenfold_platform.gateway.pool import Lane
from tenfold_platform.gateway.predict import respond
from tenfold_platform.gateway.shadows import predict_frame
from tenfold_platform.gateway.targets import Target, called_version
from tenfold_platform.gateway.wire import Answer

MODEL_ERROR = "Internal Server Error (in model/chainlet)."
PROBE_SECONDS = 5.0

_SOURCE = (b"x-baseten-error-source", b"04")
_SERVER, _MODEL, _CALLER = 500, 600, 700

_BINARY = "application/octet-stream"
_MSGPACK = "application/msgpack"
_JSON = "application/json"

PATHS_OF_METHODS: dict[Method, str] = {
    "chat_completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}


# Calls


async def predict(gateway: Gateway, request: Request, target: Target) -> None:
    """JSON in and out; `application/octet-stream` is msgpack with arrays, both ways."""
    await _call(gateway, request, target, calls.PREDICT_PATH)


async def call_method(gateway: Gateway, request: Request, target: Target, method: Method) -> None:
    """One of the methods beside `predict`. They run beside it as well, and take none of its places."""
    await _call(gateway, request, target, PATHS_OF_METHODS[method], method)


async def invoke(gateway: Gateway, request: Request, target: Target) -> None:
    """SageMaker's and MLflow's address of predict. Tables may come as CSV."""
    await _call(gateway, request, target, "/invocations")


async def _call(gateway: Gateway, request: Request, target: Target, path: str, method: Method | None = None) -> None:
    _, version = await called_version(gateway, request, target)
    lane = calls.version_lane(gateway.pool, version, "predict" if method is None else "beside")
    lane.check()
    body = await request.body(gateway.max_body_bytes)
    media_type = calls.media_type(request.header(b"content-type") or _JSON)
    if media_type == mlflow.CSV and version.text_columns is not None:
        body = await asyncio.to_thread(mlflow.rows_of_csv, body, version.text_columns)
    is_binary = media_type == _BINARY
    sampled = None
    shadow = None if method is not None or is_binary else request.shadow
    if shadow is not None and gateway.shadows.picks(shadow, version):
        sampled = gateway.shadows.sample(shadow, version, predict_frame(request, path, _JSON), body)
    async with WhileConnected(request):
        try:
            prediction = await calls.predict(
                lane,
                body,
                content_type=_MSGPACK if is_binary else _JSON,
                accept=_MSGPACK if is_binary else request.header(b"accept"),
                request_id=request.id,
                http=as_seen_by_models(request, path),
                method=method,
            )
        except PlatformError as error:
            if sampled is not None:
                gateway.shadows.failed(sampled, error)
            error.headers["X-Tenfold-Version"] = str(version.number)
            raise
        if sampled is not None:
            sampled.answered(prediction)
        of_errors = _error_headers(_CALLER) if prediction.status >= 300 else []
        given = prediction.content_type
        await respond(request, prediction, version, _BINARY if given == _MSGPACK else given, *of_errors)
    if sampled is not None:
        gateway.shadows.follow(sampled)


# Probes


async def alive(gateway: Gateway, request: Request, target: Target) -> None:
    """Whether there is a process of the model, be it still loading. After a failed load there is none that counts."""
    _, version = await called_version(gateway, request, target)
    request.version_id = None
    deployment = version.deployment
    is_alive = deployment is not None and (
        version.is_callable
        or version.is_asleep  # it wakes when it is called
        or (not deployment.failures and any(replica.state == "loading" for replica in deployment.replicas))
    )
    if not is_alive:
        lane = calls.version_lane(gateway.pool, version, "ask")
        lane.refuse_if_hopeless()
        raise lane.not_ready()
    await _answer(request, b"true")


async def ready(gateway: Gateway, request: Request, target: Target) -> None:
    """Whether the model answers: its own `is_healthy` decides where it has one. One that sleeps wakes for a call."""
    _, version = await called_version(gateway, request, target)
    if version.is_asleep:
        request.version_id = None
        await _answer(request, b"{}")
        return
    answer = await _ask(gateway, request, target, {"op": "health"})
    state, is_healthy = answer.header.get("state"), answer.header.get("healthy")
    if state != "ready" or is_healthy is False or answer.header.get("stopping"):
        raise _not_ready(answer)
    await _answer(request, b"{}")


async def loaded(gateway: Gateway, request: Request, target: Target) -> None:
    answer = await _ask(gateway, request, target, {"op": "health"})
    if answer.header.get("state") != "ready":
        raise _not_ready(answer)
    await _answer(request, b"{}")


async def schema(gateway: Gateway, request: Request, target: Target) -> None:
    """The JSON Schemas of an annotated model's input and output."""
    answer = await _ask(gateway, request, target, {"op": "schema"})
    found = orjson.loads(answer.payload or b"null")
    described = found.get("truss") if isinstance(found, dict) else None
    if not described:
        raise NotFound("No schema found", hint="Annotate what the model's first method takes and its last one gives.")
    await _answer(request, write_json(described))


async def metrics(gateway: Gateway, request: Request, target: Target) -> None:
    """What the model counts itself, with prometheus_client, in the process of one of its replicas."""
    answer = await _ask(gateway, request, target, {"op": "metrics"})
    given = answer.header.get("content_type")
    content_type = given if isinstance(given, str) and given.startswith("text/") and given.isascii() else "text/plain"
    await request.respond(200, [(b"content-type", content_type.encode()), *API_HEADERS], answer.payload)


async def _ask(gateway: Gateway, request: Request, target: Target, header: dict[str, Any]) -> Answer:
    """One replica's answer to a question, or NotReady at once. No part of the model's traffic."""
    _, version = await called_version(gateway, request, target)
    request.version_id = None
    lane: Lane = calls.version_lane(gateway.pool, version, "ask")
    lane.check()
    async with WhileConnected(request):
        return await calls.ask(lane, header, timeout_seconds=PROBE_SECONDS)


def _not_ready(answer: Answer) -> PlatformError:
    said = answer.header.get("error")
    why = f" {said['message']}" if isinstance(said, dict) and said.get("message") else ""
    return PlatformError(f"Model with name model is not ready.{why}", code="not_ready", status=503)


async def _answer(request: Request, body: bytes) -> None:
    await request.respond(200, [JSON_TYPE, *API_HEADERS], body)


# Errors


def error_response(error: PlatformError, request_id: str) -> tuple[int, list[Header], bytes]:  # noqa: ARG001  a header
    """An error as Truss's own clients read it."""
    said, code = _told(error)
    headers = [JSON_TYPE, *API_HEADERS, *_error_headers(code)]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="tenfold"'))
    return error.status, headers, write_json({"error": said})


def _told(error: PlatformError) -> tuple[Any, int]:
    if isinstance(error, WorkerFault):
        if error.detail is not None:  # an HTTPException that the model raised
            return error.detail, _MODEL
        match error.code:
            case "user_error":
                return MODEL_ERROR, _MODEL
            case "bad_input" | "no_such_method":
                return _with_fields(error), _CALLER
            case "bad_output" | "worker_error":
                return error.message, _SERVER
        return error.message, _MODEL
    if error.status < 500:
        return _with_fields(error), _CALLER
    return error.message, _SERVER if error.code == "internal" else _MODEL


def _with_fields(error: PlatformError) -> str:
    """The message, and below it every field that is wrong."""
    named = [
        f"  `{where}`: {detail['message']}"
        for detail in error.details
        if (where := detail.get("field") or detail.get("path")) and detail.get("message")
    ]
    return "\n".join([error.message, *named]) if len(named) > 1 else error.message


def _error_headers(code: int) -> list[Header]:
    return [_SOURCE, (b"x-baseten-error-code", b"%d" % code)]
