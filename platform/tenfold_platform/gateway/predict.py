"""`POST /v1/{workspace}/models/{model}[@ref]/predict`: body and answer pass through as they are."""

from __future__ import annotations

import re
import time
from typing import Any

from tenfold_platform.auth.permissions import Action
from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway import calls
from tenfold_platform.gateway.calls import Prediction, WorkerFault
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import Caller, nothing_here, own_workspace
from tenfold_platform.gateway.faults import ClientGone
from tenfold_platform.gateway.http import API_HEADERS, Header, Request, WhileConnected
from tenfold_platform.gateway.snapshot import PRODUCTION, Version

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
_REF = re.compile(r"[a-z][a-z0-9-]{0,62}\Z|[1-9][0-9]{0,9}\Z")
_OURS = ("x-tenfold", "x-request-id", "x-content-type", "x-frame", "x-forwarded", "x-accel", "x-sendfile", "x-lighttpd")
_PASSED_ON = frozenset({"content-disposition", "content-language", "etag", "retry-after"})


async def predict(gateway: Gateway, request: Request, workspace: str, name: str) -> None:
    caller, version = await gateway.look_up(lambda: _callable(gateway, request, workspace, name))
    caller.require(Action.MODELS_PREDICT)
    request.target = f"{workspace}/{version.model_name}"
    lane = calls.version_lane(gateway.pool, version)
    lane.check()
    body = await request.body(gateway.max_body_bytes)
    content_type = request.header(b"content-type") or "application/json"
    async with WhileConnected(request):
        try:
            prediction = await calls.predict(
                lane, body, content_type=content_type, accept=request.header(b"accept"), request_id=request.id
            )
        except WorkerFault as fault:
            raise _told(fault, version, caller) from None
        except PlatformError as error:
            error.headers["X-Tenfold-Version"] = str(version.number)
            raise
        if prediction.answer.more:
            await _stream(request, prediction, version)
            return
    status = prediction.answer.header.get("status")
    await request.respond(
        status if isinstance(status, int) and 200 <= status <= 599 else 200,
        _headers(request, prediction, version),
        prediction.answer.payload,
    )


def _callable(gateway: Gateway, request: Request, workspace: str, name: str) -> tuple[Caller, Version]:
    caller = gateway.authenticate(request)
    return caller, find_version(caller, workspace, name)


def find_version(caller: Caller, workspace: str, name: str) -> Version:
    """The version that `model` or `model@ref` means, in the caller's own workspace. Raises NotFound."""
    own = own_workspace(caller, workspace)
    model_name, at, ref = name.partition("@")
    if not _NAME.match(model_name) or (at and not _REF.match(ref)):
        raise nothing_here()
    model = own.models.get(model_name)
    version = model.find(ref or PRODUCTION) if model is not None else None
    if version is None:
        raise nothing_here()
    return version


def _told(fault: WorkerFault, version: Version, caller: Caller) -> WorkerFault:
    fault.headers["X-Tenfold-Version"] = str(version.number)
    return fault.with_traceback_told() if caller.may_see_faults else fault


async def _stream(request: Request, prediction: Prediction, version: Version) -> None:
    """Passes parts on as they come. A stream that breaks off ends the connection, so that nobody takes it for whole."""
    exchange = prediction.exchange
    try:
        await request.start(200, _headers(request, prediction, version))
        await request.send_part(prediction.answer.payload, more=True)
        while True:
            part = await exchange.next(version.streaming_read_seconds)
            if part.header.get("ok") is False:
                raise WorkerFault(part)
            await request.send_part(part.payload, more=part.more)
            if not part.more:
                return
    except ClientGone:
        exchange.cancel()
        raise
    finally:
        exchange.cancel()


def _headers(request: Request, prediction: Prediction, version: Version) -> list[Header]:
    total = time.perf_counter() - request.began
    worker = prediction.seconds
    timing = f"worker;dur={worker * 1000:.3f}, gateway;dur={max(total - worker, 0) * 1000:.3f}"
    headers: list[Header] = [
        (b"content-type", prediction.content_type.encode("ascii")),
        (b"x-tenfold-version", b"%d" % version.number),
        (b"server-timing", timing.encode()),
        *API_HEADERS,
    ]
    answer = prediction.answer.header
    if warnings := answer.get("warnings"):
        headers.append((b"x-tenfold-warning", _one_line("; ".join(map(str, warnings)))))
    if isinstance(extra := answer.get("headers"), dict):
        headers += _passed_on(extra)
    return headers


def _passed_on(given: dict[str, Any]) -> list[Header]:
    """The model's own headers that cannot change what the response is, or speak for the platform."""
    passed: list[Header] = []
    for name, value in given.items():
        lower = str(name).lower()
        is_own = lower.startswith("x-") and not lower.startswith(_OURS)
        if (is_own or lower in _PASSED_ON) and re.fullmatch(r"[a-z0-9-]{1,64}", lower):
            passed.append((lower.encode(), _one_line(str(value))))
    return passed


def _one_line(text: str) -> bytes:
    return "".join(c if c.isprintable() else " " for c in text)[:1000].encode("ascii", "replace")
