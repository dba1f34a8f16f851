"""Calls to workers, told in the platform's own words: which lane, which frame, what its answer means."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway.faults import BadAnswer, NotReady
from tenfold_platform.gateway.pool import Lane, Pool, Use, lane_of
from tenfold_platform.gateway.snapshot import Snapshot, Version
from tenfold_platform.gateway.wire import Answer, Exchange

CALL_SECONDS = 60.0
PREDICT_PATH = "/v1/models/model:predict"  # as model servers know it
_JSON = "application/json"

Method = Literal["chat_completions", "completions", "embeddings", "messages", "responses"]

_OURS = (
    "x-tenfold", "x-request-id", "x-content-type", "x-frame", "x-forwarded",
    "x-accel", "x-envoy", "x-litespeed", "x-lighttpd", "x-reproxy", "x-sendfile",  # proxies obey these
)  # fmt: skip
_PASSED_ON = frozenset({"content-disposition", "content-language", "etag", "retry-after"})

GetSnapshot = Callable[[], Snapshot]


class WorkerFault(PlatformError):
    """A worker answered that it could not: the user's code raised or refused its input, or the worker failed."""

    def __init__(self, answer: Answer) -> None:
        header = answer.header
        status = header.get("status")
        super().__init__(
            str(header.get("message") or "The worker gave no reason."),
            code=str(header.get("code") or "worker_error"),
            hint=str(header.get("hint") or ""),
            details=_details(header.get("details")),
            status=status if isinstance(status, int) and 400 <= status <= 599 else 500,
            headers=({"Retry-After": "5"} if status == 503 else {}) | passed_on(header.get("headers")),
        )
        self.detail = header.get("detail")  # of an HTTPException, as it was raised
        self.source = str(header.get("source") or "worker")
        traceback = header.get("traceback")
        self.traceback = traceback if isinstance(traceback, str) else None
        if self.source == "user" and self.status >= 500 and not self.hint:
            self.hint = "The model's log has the traceback."

    def with_traceback_told(self) -> WorkerFault:
        """For callers who may see the code behind it."""
        if self.traceback:
            self.details = [*self.details, {"traceback": self.traceback}]
        return self


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction's first answer. A stream's further parts are read from the exchange."""

    exchange: Exchange
    answer: Answer

    @property
    def content_type(self) -> str:
        return content_type_of(self.answer)

    @property
    def status(self) -> int:
        return status_of(self.answer)

    @property
    def seconds(self) -> float:
        return seconds_of(self.answer)


def content_type_of(answer: Answer) -> str:
    value = answer.header.get("content_type")
    return value if isinstance(value, str) and value.isprintable() and value.isascii() else "application/octet-stream"


def status_of(answer: Answer) -> int:
    value = answer.header.get("status")
    return value if isinstance(value, int) and 200 <= value <= 599 else 200


def seconds_of(answer: Answer) -> float:
    """That the worker took."""
    value = answer.header.get("seconds")
    return float(value) if isinstance(value, (int, float)) else 0.0


def version_lane(pool: Pool, version: Version, use: Use = "predict") -> Lane:
    """Where a version's calls go.

    Raises NotReady when the version cannot run at all.
    """
    if version.state == "failed":
        message = f"Version {version.number} could not be prepared" + (f": {version.reason}" if version.reason else ".")
        raise NotReady("failed", message, hint=version.hint or "Its page shows the build log.", retry_after_seconds=60)
    if version.deployment is None and version.state in ("pending", "building"):
        raise NotReady(
            "not_ready", f"Version {version.number} is still being built.", hint="Its page shows how far it is."
        )
    return lane_of(pool, version.deployment, use)


async def predict(
    lane: Lane,
    body: bytes,
    *,
    content_type: str,
    accept: str | None = None,
    request_id: str,
    http: dict[str, Any] | None = None,
    method: Method | None = None,
    timeout_seconds: float = CALL_SECONDS,
) -> Prediction:
    """One prediction, or one call of a method beside `predict`. `http`: the caller's request, for models that read it.

    Raises WorkerFault for what the worker says, a GatewayFault when none could be asked.
    """
    header: dict[str, Any] = {"op": "predict", "content_type": content_type, "request_id": request_id}
    if accept is not None:
        header["accept"] = accept
    if http is not None:
        header["http"] = http
    if method is not None:
        header["op"], header["method"] = "method", method
    exchange, answer = await lane.call(header, body, timeout_seconds)
    if not answer.ok:
        raise WorkerFault(answer)
    return Prediction(exchange, answer)


async def predict_json(lane: Lane, body: bytes, *, request_id: str, timeout_seconds: float) -> Any:
    """One prediction as a JSON value, for worklets and views: streams gathered, text as a text, bytes as a file."""
    prediction = await predict(
        lane, body, content_type=_JSON, accept=_JSON, request_id=request_id, timeout_seconds=timeout_seconds
    )
    payload = await whole(prediction, timeout_seconds)
    kind = media_type(prediction.content_type)
    if is_json(kind):
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise BadAnswer(f"its JSON cannot be read ({error})") from None
    if kind.startswith("text/") or kind == "application/x-ndjson":
        return payload.decode("utf-8", "replace")
    data = base64.b64encode(payload).decode("ascii")
    return {"name": "output", "type": kind, "size": len(payload), "data": data}


async def call_code(
    lane: Lane, header: dict[str, Any], values: bytes, *, timeout_seconds: float
) -> list[dict[str, Any]]:
    """One `call` frame: what each step came to. Raises as `predict` does."""
    exchange, answer = await lane.call(header, values, timeout_seconds)
    if answer.more:
        exchange.cancel()
        raise BadAnswer("a stream, where one value was due")
    if not answer.ok:
        raise WorkerFault(answer)
    try:
        results = orjson.loads(answer.payload)["results"]
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise BadAnswer(f"its results cannot be read ({error})") from None
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise BadAnswer("its results are not a list of objects")
    return results


async def ask(lane: Lane, header: dict[str, Any], *, timeout_seconds: float) -> Answer:
    """A question about the model, on the lane for those. Raises as `predict` does, NotReady without waiting.

    A model that sleeps is woken to tell its schema, but not to tell how it is.
    """
    is_worth_waking = lane.deployment.min_replicas < 1 and header["op"] == "schema"
    if not lane.is_reachable and not is_worth_waking:
        raise lane.not_ready()
    exchange, answer = await lane.call(header, b"", timeout_seconds)
    if answer.more:
        exchange.cancel()
        raise BadAnswer("a stream, where one value was due")
    if not answer.ok:
        raise WorkerFault(answer)
    return answer


async def whole(prediction: Prediction, timeout_seconds: float, *, max_bytes: int | None = None) -> bytes:
    """All of an answer, the parts of a stream joined. Raises as `predict` does, BadAnswer when it is too large."""
    parts, more = [prediction.answer.payload], prediction.answer.more
    size = len(parts[0])
    try:
        while more and (max_bytes is None or size <= max_bytes):
            answer = await prediction.exchange.next(timeout_seconds)
            if answer.header.get("ok") is False:
                raise WorkerFault(answer)
            parts.append(answer.payload)
            size += len(answer.payload)
            more = answer.more
    finally:
        prediction.exchange.cancel()
    if max_bytes is not None and size > max_bytes:
        raise BadAnswer(f"more than {max_bytes} bytes")
    return b"".join(parts)


def is_json(content_type: str) -> bool:
    kind = media_type(content_type)
    return kind == _JSON or kind.endswith("+json")


def media_type(content_type: str) -> str:
    """Without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def passed_on(given: Any) -> dict[str, str]:
    """The model's own headers that cannot change what the response is, or speak for the platform."""
    passed: dict[str, str] = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        lower = str(name).lower()
        is_own = lower.startswith("x-") and not lower.startswith(_OURS)
        if (is_own or lower in _PASSED_ON) and re.fullmatch(r"[a-z0-9-]{1,64}", lower):
            passed[lower] = one_line(str(value))
    return passed


def one_line(text: str) -> str:
    """As a header can carry it."""
    plain = "".join(c if c.isprintable() else " " for c in text)[:1000]
    return plain.encode("ascii", "replace").decode("ascii")


def _details(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, list):
        return [item if isinstance(item, dict) else {"message": item} for item in given]
    return [] if given is None else [given if isinstance(given, dict) else {"message": given}]
