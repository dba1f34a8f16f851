"""`POST /v1/{workspace}/models/{model}[@ref]/predict`: body and answer pass through as they are."""

from __future__ import annotations

import time

from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway import calls, predictions
from tenfold_platform.gateway.calls import Prediction, WorkerFault
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import Caller
from tenfold_platform.gateway.http import (
    API_HEADERS,
    WITHOUT_BODY,
    Header,
    Request,
    WhileConnected,
    as_seen_by_models,
)
from tenfold_platform.gateway.shadows import predict_frame
from tenfold_platform.gateway.snapshot import Version
from tenfold_platform.gateway.targets import Target, called_version
from tenfold_platform.gateway.wire import Answer


async def predict(gateway: Gateway, request: Request, workspace: str, name: str) -> None:
    target = Target(workspace, name)
    caller, version = await called_version(gateway, request, target)
    if request.header(b"prefer") is not None and predictions.asks_for_async(request):
        await predictions.accept(gateway, request, caller, version, target)
        return
    lane = calls.version_lane(gateway.pool, version)
    lane.check()
    body = await request.body(gateway.max_body_bytes)
    content_type = request.header(b"content-type") or "application/json"
    sampled = None
    if request.shadow is not None and gateway.shadows.picks(request.shadow, version):
        frame = predict_frame(request, calls.PREDICT_PATH, content_type)
        sampled = gateway.shadows.sample(request.shadow, version, frame, body)
    async with WhileConnected(request):
        try:
            prediction = await calls.predict(
                lane,
                body,
                content_type=content_type,
                accept=request.header(b"accept"),
                request_id=request.id,
                http=as_seen_by_models(request, calls.PREDICT_PATH) if lane.reads_requests else None,
            )
        except PlatformError as error:
            if sampled is not None:
                gateway.shadows.failed(sampled, error)
            raise _told(error, version, caller) from None
        if sampled is not None:
            sampled.answered(prediction)
        await respond(request, prediction, version, prediction.content_type)
    if sampled is not None:
        gateway.shadows.follow(sampled)


async def respond(request: Request, prediction: Prediction, version: Version, content_type: str, *more: Header) -> None:
    """The answer as it comes: whole, or part by part."""
    status = prediction.status
    headers = _headers(request, prediction, version, content_type)
    headers += more
    if prediction.answer.more and status not in WITHOUT_BODY:
        await _stream(request, prediction, version, status, headers)
    else:
        prediction.exchange.cancel()  # what else a 204 or 304 would have said
        await request.respond(status, headers, prediction.answer.payload)


def _told(error: PlatformError, version: Version, caller: Caller) -> PlatformError:
    error.headers["X-Tenfold-Version"] = str(version.number)
    if isinstance(error, WorkerFault) and caller.may_see_faults:
        return error.with_traceback_told()
    return error


async def _stream(
    request: Request, prediction: Prediction, version: Version, status: int, headers: list[Header]
) -> None:
    """Passes parts on as they come. A stream that breaks off ends the connection, so that nobody takes it for whole."""
    exchange = prediction.exchange
    try:
        await request.start(status, headers)
        await request.send_part(prediction.answer.payload, more=True)
        while True:
            part = await exchange.next(version.streaming_read_seconds)
            if part.header.get("ok") is False:
                raise WorkerFault(part)
            await request.send_part(part.payload, more=part.more)
            if not part.more:
                return
    finally:
        exchange.cancel()


def _headers(request: Request, prediction: Prediction, version: Version, content_type: str) -> list[Header]:
    total = time.perf_counter() - request.began
    worker = prediction.seconds
    timing = f"worker;dur={worker * 1000:.3f}, gateway;dur={max(total - worker, 0) * 1000:.3f}"
    headers: list[Header] = [
        (b"content-type", content_type.encode("ascii")),
        (b"x-tenfold-version", b"%d" % version.number),
        (b"server-timing", timing.encode()),
        *API_HEADERS,
    ]
    return headers + own_headers(prediction.answer)


def own_headers(answer: Answer) -> list[Header]:
    """What the model has to say beside its answer."""
    headers: list[Header] = []
    if warnings := answer.header.get("warnings"):
        headers.append((b"x-tenfold-warning", calls.one_line("; ".join(map(str, warnings))).encode()))
    if extra := answer.header.get("headers"):
        headers += [(name.encode(), value.encode()) for name, value in calls.passed_on(extra).items()]
    return headers
