"""The Open Inference Protocol, version 2, over HTTP: `/v1/{workspace}/v2/...`, the base address that clients take.

https://github.com/kserve/open-inference-protocol, with binary tensors and the repository's index as Triton has them.
Bodies pass through unparsed: the worker reads them (`tenfold_runtime.inference`). Versions are numbers or aliases.
Errors are `{"error": message}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version as installed_version
from typing import Any

import orjson

from tenfold_platform.auth.permissions import Action
from tenfold_platform.errors import InvalidInput, PlatformError
from tenfold_platform.gateway import calls
from tenfold_platform.gateway.calls import Prediction, WorkerFault
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import Caller, own_workspace
from tenfold_platform.gateway.faults import BadAnswer
from tenfold_platform.gateway.http import (
    API_HEADERS,
    JSON_TYPE,
    Header,
    Request,
    WhileConnected,
    as_seen_by_models,
    read_json,
    write_json,
)
from tenfold_platform.gateway.predict import respond
from tenfold_platform.gateway.routes import ANY, Method, Route, RouteKind
from tenfold_platform.gateway.shadows import marked
from tenfold_platform.gateway.snapshot import Version, Workspace
from tenfold_platform.gateway.targets import Target, called_version
from tenfold_platform.gateway.wire import Answer

PROBE_SECONDS = 5.0
METADATA_SECONDS = 60.0  # the example may have to be predicted for it
EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration")
PREFIX = "v2"

JSON_LENGTH = b"inference-header-content-length"
_ENCODINGS = ("gzip", "deflate")

Handler = Callable[[Gateway, Request, Target], Awaitable[None]]


def inference_routes(gateway: Gateway) -> list[Route]:
    def at(method: Method, path: tuple[str, ...], kind: RouteKind, handler: Callable[..., Awaitable[None]]) -> Route:
        async def answer(request: Request, *arguments: str) -> None:
            await handler(gateway, request, *arguments)

        return Route(method, ("v1", ANY, PREFIX, *path), kind, answer, error_response)

    def of_model(method: Method, path: tuple[str, ...], kind: RouteKind, handler: Handler) -> list[Route]:
        async def answer(
            gateway: Gateway, request: Request, workspace: str, model: str, ref: str | None = None
        ) -> None:
            await handler(gateway, request, Target(workspace, model, ref))

        return [
            at(method, ("models", ANY, *path), kind, answer),
            at(method, ("models", ANY, "versions", ANY, *path), kind, answer),
        ]

    return [
        *of_model("POST", ("infer",), "predict", infer),
        *of_model("GET", ("ready",), "probe", ready),
        *of_model("GET", ("config",), "probe", config),
        *of_model("GET", (), "probe", metadata),
        at("GET", (), "probe", server_metadata),
        at("GET", ("health", "live"), "probe", server_live),
        at("GET", ("health", "ready"), "probe", server_ready),
        at("POST", ("repository", "index"), "probe", repository_index),
    ]


# Inference


async def infer(gateway: Gateway, request: Request, target: Target) -> None:
    caller, version = await called_version(gateway, request, target)
    encoding = _encoding(request)
    lane = calls.version_lane(gateway.pool, version)
    lane.check()
    body = await request.body(gateway.max_body_bytes)
    header = frame_header(version, request.header_bytes(JSON_LENGTH)) | {"request_id": request.id}
    if lane.reads_requests:
        header["http"] = as_seen_by_models(request, path_of(version))
    if encoding is not None:
        header |= {"encoding": encoding, "inflated_limit": gateway.max_body_bytes}
    sampled = None
    if (shadow := request.shadow) is not None and gateway.shadows.picks(shadow, version):
        http = marked(as_seen_by_models(request, path_of(version)))
        frame = header | {"version": str(shadow.version.number), "http": http}
        sampled = gateway.shadows.sample(shadow, version, frame, body)
    async with WhileConnected(request):
        try:
            exchange, answer = await lane.call(header, body, calls.CALL_SECONDS)
            if not answer.ok:
                raise WorkerFault(answer)
        except PlatformError as error:
            if sampled is not None:
                gateway.shadows.failed(sampled, error)
            error.headers["X-Tenfold-Version"] = str(version.number)
            if isinstance(error, WorkerFault) and caller.may_see_faults:
                raise error.with_traceback_told() from None
            raise
    prediction = Prediction(exchange, answer)
    if sampled is not None:
        sampled.answered(prediction)
    await respond(request, prediction, version, prediction.content_type, *answer_headers(answer))
    if sampled is not None:
        gateway.shadows.follow(sampled)


def path_of(version: Version) -> str:
    """As model servers know it."""
    return f"/v2/models/{version.model_name}/infer"


def frame_header(version: Version, json_length: bytes | None) -> dict[str, Any]:
    """What a worker is told of a request. `json_length` is where binary tensors begin in the body, as the caller says.

    Raises InvalidInput when that is no number. None: the body is all JSON.
    """
    header: dict[str, Any] = {
        "op": "infer",
        "model": version.model_name,
        "version": str(version.number),
    }
    if json_length is not None:
        if not json_length.isdigit():
            given = json_length.decode("latin-1")
            raise InvalidInput(f"Inference-Header-Content-Length is {given!r}, which is no number of bytes.")
        header["json_length"] = int(json_length)
    return header


def answer_headers(answer: Answer) -> list[Header]:
    length = answer.header.get("json_length")
    return [(JSON_LENGTH, b"%d" % length)] if isinstance(length, int) else []


def _encoding(request: Request) -> str | None:
    given = (request.header(b"content-encoding") or "identity").strip().lower()
    if given == "identity":
        return None
    if given not in _ENCODINGS:
        hint = f"Send it as {' or '.join(_ENCODINGS)}, or as it is."
        raise PlatformError(f"The body is encoded as {given}.", code="bad_encoding", status=415, hint=hint)
    return given


# Models


async def ready(gateway: Gateway, request: Request, target: Target) -> None:
    """Whether the model answers: its own `is_healthy` decides where it has one. One that sleeps wakes for a call."""
    _, version = await called_version(gateway, request, target)
    request.version_id = None
    if not version.is_asleep:
        lane = calls.version_lane(gateway.pool, version, "ask")
        lane.check()
        async with WhileConnected(request):
            health = (await calls.ask(lane, {"op": "health"}, timeout_seconds=PROBE_SECONDS)).header
        if health.get("state") != "ready" or health.get("healthy") is False or health.get("stopping"):
            raise PlatformError("The model is not ready.", code="not_ready", status=503)
    await _answer(request, {"name": version.model_name, "ready": True})


async def metadata(gateway: Gateway, request: Request, target: Target) -> None:
    version, described = await _described(gateway, request, target)
    said = {"name": version.model_name, "versions": _versions(gateway, version), **described}
    await _answer(request, said)


async def config(gateway: Gateway, request: Request, target: Target) -> None:
    """As much of Triton's model configuration as there is: clients look for inputs and outputs in it."""
    version, described = await _described(gateway, request, target)
    said = {
        "name": version.model_name,
        "platform": described.get("platform"),
        "backend": "python",
        "max_batch_size": 0,
        "input": [_configured(one) for one in _tensors(described, "inputs")],
        "output": [_configured(one) for one in _tensors(described, "outputs")],
    }
    await _answer(request, said)


async def _described(gateway: Gateway, request: Request, target: Target) -> tuple[Version, dict[str, Any]]:
    """The model's platform, inputs and outputs, as its worker tells them. One that sleeps is woken."""
    _, version = await called_version(gateway, request, target)
    request.version_id = None
    lane = calls.version_lane(gateway.pool, version, "ask")
    lane.check()
    async with WhileConnected(request):
        exchange, answer = await lane.call({"op": "infer_metadata"}, b"", METADATA_SECONDS)
    if answer.more:
        exchange.cancel()
    return version, _object_of(answer)


def _object_of(answer: Answer) -> dict[str, Any]:
    if not answer.ok:
        raise WorkerFault(answer)
    try:
        value = orjson.loads(answer.payload)
    except orjson.JSONDecodeError as error:
        raise BadAnswer(f"its JSON cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise BadAnswer("an object was due")
    return value


def _versions(gateway: Gateway, version: Version) -> list[str]:
    """The model's versions that can be called, and the one that was asked for."""
    workspace = gateway.snapshot().workspaces_by_id[version.workspace_id]
    model = workspace.models.get(version.model_name)
    numbers = {version.number}
    if model is not None:
        numbers |= {one.number for one in model.versions.values() if one.is_callable or one.is_asleep}
    return [str(number) for number in sorted(numbers)]


def _tensors(described: dict[str, Any], which: str) -> list[Any]:
    tensors = described.get(which, [])
    if not isinstance(tensors, list):
        raise BadAnswer(f"its {which} are no list")
    return tensors


def _configured(tensor: Any) -> dict[str, Any]:
    if not isinstance(tensor, dict) or not tensor.keys() >= {"name", "datatype", "shape"}:
        raise BadAnswer("an input or output without name, datatype or shape")
    datatype = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": tensor["shape"]}


# The server, which is a workspace


async def server_live(gateway: Gateway, request: Request, workspace: str) -> None:
    await _workspace(gateway, request, workspace)
    await _answer(request, {"live": True})


async def server_ready(gateway: Gateway, request: Request, workspace: str) -> None:
    """Whether calls are taken. A model tells itself whether it is ready: one that is broken stops no other."""
    await _workspace(gateway, request, workspace)
    await _answer(request, {"ready": True})


async def server_metadata(gateway: Gateway, request: Request, workspace: str) -> None:
    await _workspace(gateway, request, workspace)
    await _answer(request, {"name": "tenfold", "version": installed_version("tenfold"), "extensions": EXTENSIONS})


async def repository_index(gateway: Gateway, request: Request, workspace: str) -> None:
    """Every version of every model, or with `{"ready": true}` those that can be called."""
    own = await _workspace(gateway, request, workspace)
    body = await request.body(gateway.max_body_bytes)
    asked = read_json(body) if body.strip() else {}
    only_ready = isinstance(asked, dict) and asked.get("ready") is True
    entries = [
        {"name": name, "version": str(number), "state": state, "reason": reason}
        for name, model in sorted(own.models.items())
        for number, version in sorted(model.versions.items())
        for state, reason in [_state_of(version)]
        if state == "READY" or not only_ready
    ]
    await _answer(request, entries)


def _state_of(version: Version) -> tuple[str, str]:
    """As Triton's index has it: READY, LOADING or UNAVAILABLE, and why."""
    deployment = version.deployment
    if version.is_callable or version.is_asleep:
        return "READY", ""
    if version.state == "failed":
        return "UNAVAILABLE", version.reason or "It could not be prepared."
    if deployment is None:
        is_coming = version.state in ("pending", "building", "starting")
        return ("LOADING", "") if is_coming else ("UNAVAILABLE", "It has never been started.")
    if deployment.desired_replicas < 1:
        return "UNAVAILABLE", "It is stopped."
    if deployment.unhealthy_reason:
        return "UNAVAILABLE", deployment.unhealthy_reason
    return "LOADING", ""


async def _workspace(gateway: Gateway, request: Request, name: str) -> Workspace:
    """The caller's own. Raises Unauthenticated, NotFound or Forbidden."""

    def find() -> tuple[Caller, Workspace]:
        caller = gateway.authenticate(request)
        return caller, own_workspace(caller, name)

    caller, own = await gateway.look_up(find)
    caller.require(Action.MODELS_PREDICT)
    return own


async def _answer(request: Request, value: Any) -> None:
    await request.respond(200, [JSON_TYPE, *API_HEADERS], orjson.dumps(value))


# Errors


def error_response(error: PlatformError, request_id: str) -> tuple[int, list[Header], bytes]:  # noqa: ARG001  a header
    """`{"error": message}`, with everything that is known in the message."""
    headers = [JSON_TYPE, *API_HEADERS, *((k.lower().encode(), v.encode()) for k, v in error.headers.items())]
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="tenfold"'))
    return error.status, headers, write_json({"error": _message(error)})


def _message(error: PlatformError) -> str:
    lines = [f"{error.message} {error.hint}".strip()]
    for detail in error.details:
        where = detail.get("field") or detail.get("path")
        if where and detail.get("message"):
            lines.append(f"`{where}`: {detail['message']}")
        elif "traceback" in detail:
            lines.append(str(detail["traceback"]))
    return "\n".join(lines)
