"""The short way of a prediction: from a connection's parser to a worker's socket and back, with no task and no ASGI.

Most requests are alike: a whole body, a good key, a version that can answer, an answer in one piece. These take this
way. It turns nobody away: whatever is not like that goes the long way instead, through `GatewayApp`, as if there were
no other. Only once a worker has the request there is no going back, and what comes of it is answered from here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tenfold_platform.auth.permissions import Action
from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway import calls, http, inference
from tenfold_platform.gateway.calls import Prediction, WorkerFault
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import find_key, may_see_faults
from tenfold_platform.gateway.faults import GatewayFault, TimedOut, WorkerLost
from tenfold_platform.gateway.http import (
    API_HEADERS,
    WITHOUT_BODY,
    ErrorResponse,
    Header,
    Request,
    WhileConnected,
    error_response,
    new_id,
    request_id,
    seen_by_models,
)
from tenfold_platform.gateway.pool import Endpoint, Lane, Waiter
from tenfold_platform.gateway.predict import own_headers, respond
from tenfold_platform.gateway.server import BoundedProtocol, ShortCycle
from tenfold_platform.gateway.snapshot import Key, Snapshot, Version
from tenfold_platform.gateway.targets import Target, find_model
from tenfold_platform.gateway.wire import Answer, Connection, Exchange

MAX_KNOWN_BYTES = 8192
LOOK_SECONDS = 1.0  # how late a deadline may be noticed
_CLIENT_GONE = 499
_JOIN_BELOW_BYTES = 256 * 1024

_LENGTH, _LOWER_LENGTH = b"\r\nContent-Length: ", b"\r\ncontent-length: "

# What asks for more than a prediction, or for more care.
_UNUSUAL = frozenset(
    {b"content-encoding", b"expect", b"origin", b"prefer", b"transfer-encoding", b"upgrade", b"x-api-key"}
)


class App(Protocol):
    """The long way, for an answer that turned out to be a stream."""

    async def carry_out(self, request: Request, work: Callable[[Request], Awaitable[None]]) -> None: ...


@dataclass(frozen=True, slots=True)
class Way:
    """What an address means in one snapshot."""

    kind: Literal["predict", "infer"]
    target: str
    version: Version
    lane: Lane
    error_response: ErrorResponse
    lines: bytes  # of every answer that is no error


class Known:
    """What follows from a request's head, for as long as the snapshot holds in which it was found out.

    `frame`: its frame's header up to the request's id. `begin_again` tells of other data whether it is a whole request
    with the head that was learnt, but for the length of its body.
    """

    __slots__ = (
        "_direct", "_first_lines", "_given", "_length", "_newest", "_prefix", "_snapshot", "_suffix", "calls", "frame",
        "headers", "keep_alive", "key", "request_id", "total", "url", "way",
    )  # fmt: skip

    def __init__(self, direct: Direct, url: bytes, headers: list[Header], way: Way, key: Key) -> None:
        given = dict(headers)
        self._direct = direct
        self._snapshot = direct.gateway.loader.snapshot
        self._prefix = self._suffix = b""
        self._given: tuple[Any, Any, bytes] | None = None
        self._first_lines = 0, b""  # of an answer that has what was given
        self._newest, self._length = b"", 0  # the head as it came last, with the length of its body, and that of both
        self.url = url
        self.headers = headers
        self.way = way
        self.key = key
        self.request_id = request_id(given.get(b"x-request-id"))
        self.frame = _frame(way, given)
        self.keep_alive = True
        self.calls = direct.gateway.metrics.calls("predict", way.target)
        self.total = direct.gateway.traffic.total(way.version.id)

    def learn(self, data: bytes) -> bool:
        """Whether `data`, which begins with the request, is nothing else: only then can it be told again."""
        end = data.find(b"\r\n\r\n", 0, MAX_KNOWN_BYTES) + 4
        start = data.find(_LENGTH, 0, end)
        if start < 0:
            start = data.find(_LOWER_LENGTH, 0, end)
        if start < 0 or self.way.lane.reads_requests:  # a model that looks at requests sees the length too
            return False
        start += len(_LENGTH)
        stop = data.find(b"\r\n", start)
        digits = data[start:stop]
        if not digits.isdigit() or len(digits) > 9 or end + int(digits) != len(data):
            return False
        self._prefix, self._suffix = data[:start], data[stop:end]
        return True

    def begin_again(self, connection: BoundedProtocol, data: bytes) -> Call | None:
        """The call of a request that need not be read, its body with it; None for all other data."""
        if not (len(data) == self._length and data.startswith(self._newest)) and not self._learn_length(data):
            return None
        direct, key = self._direct, self.key
        gateway, now = direct.gateway, time.time()
        if gateway.loader.snapshot is not self._snapshot or self.way.lane.reads_requests:
            return None
        if key.expires_at is not None and key.expires_at <= now:
            return None
        gateway.used_keys[key.id] = now
        call = Call(direct, connection, self)
        call.parts.append(data[len(self._newest) :])
        call.keep_alive = self.keep_alive
        call.more_body = False
        return call

    def first_lines(self, answer: Answer, default_lines: bytes) -> tuple[int, bytes]:
        """The status of an answer that is no error, and the lines it begins with: often those of the one before."""
        header = answer.header
        given = (header.get("status"), header.get("content_type"), default_lines)
        if given == self._given:
            return self._first_lines
        status, content_type = calls.status_of(answer), calls.content_type_of(answer)
        first = b"%b%bcontent-type: %b\r\n" % (STATUS_LINE[status], default_lines, content_type.encode("ascii"))
        lines = first + self.way.lines
        if given[:2] == (status, content_type) and len(lines) <= MAX_KNOWN_BYTES:
            self._given, self._first_lines = given, (status, lines)
        return status, lines

    def _learn_length(self, data: bytes) -> bool:
        """Whether `data` is a whole request with this head and a body of another length, which is not too long."""
        prefix, suffix = self._prefix, self._suffix
        start = len(prefix)
        stop = data.find(b"\r\n", start, start + 10)
        if stop <= start or not data.startswith(prefix) or not data.startswith(suffix, stop):
            return False
        digits, end = data[start:stop], stop + len(suffix)
        if not digits.isdigit() or end + int(digits) != len(data):
            return False
        if len(data) - end > self._direct.gateway.max_body_bytes:
            return False
        self._newest, self._length = data[:end], len(data)
        return True


class Direct:
    """Decides who takes the short way, and keeps the time of those who do."""

    def __init__(self, gateway: Gateway, app: App) -> None:
        self.gateway = gateway
        self.app = app
        self._snapshot: Snapshot | None = None
        self._ways: dict[bytes, Way] = {}
        self.receiving: dict[Call, float] = {}  # since when; the oldest first, as in the other
        self.running: dict[Call, float] = {}
        self.timer: asyncio.TimerHandle | None = None

    def admit(self, connection: BoundedProtocol, url: bytes, headers: list[Header]) -> Call | None:
        """The call that this POST begins, its body to come; None when it has to go the long way."""
        snapshot = self.gateway.loader.snapshot
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._ways.clear()
        way = self._ways.get(url) or self._find(url)
        if way is None:
            return None
        given = dict(headers)
        if len(given) != len(headers) or not _UNUSUAL.isdisjoint(given):
            return None
        length = given.get(b"content-length")
        if length is None or int(length) > self.gateway.max_body_bytes:
            return None
        if not given.get(inference.JSON_LENGTH, b"0").isdigit():
            return None
        key = self._key(given.get(b"authorization"), way)
        if key is None or not way.lane.is_open:
            return None
        call = Call(self, connection, Known(self, url, headers, way, key))
        self.receiving[call] = call.began
        self.watch()
        return call

    def watch(self) -> None:
        """Something has begun that may take too long."""
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self.timer = None
        now = time.perf_counter()
        for call, since in list(self.receiving.items()):
            if now < since + http.BODY_GRACE_SECONDS:
                break
            call.go_long_way()
        for call, since in list(self.running.items()):
            if now < since + calls.CALL_SECONDS:
                break
            call.expire()
        if self.receiving or self.running:
            self.watch()

    def _find(self, url: bytes) -> Way | None:
        """Of addresses that are spelled in the plainest way, so that there are no more of them than versions."""
        snapshot = self._snapshot
        found = _parse(url)
        if snapshot is None or found is None:
            return None
        kind, target = found
        workspace = snapshot.workspaces.get(target.workspace)
        if workspace is None:
            return None
        try:
            model, ref = find_model(workspace, target)
            version = model.only_version(ref)
            if version is None:
                return None
            lane = calls.version_lane(self.gateway.pool, version)
        except PlatformError:
            return None
        shape = inference.error_response if kind == "infer" else error_response
        name = f"{target.workspace}/{version.model_name}"
        lines = _lines([(b"x-tenfold-version", b"%d" % version.number), *API_HEADERS])
        way = self._ways[url] = Way(kind, name, version, lane, shape, lines)
        return way

    def _key(self, credential: bytes | None, way: Way) -> Key | None:
        if credential is None or credential[:7].lower() != b"bearer " or self._snapshot is None:
            return None
        key = find_key(credential[7:].decode("latin-1").strip(), self._snapshot)
        if key is None or key.workspace_id != way.version.workspace_id or Action.MODELS_PREDICT not in key.actions:
            return None
        self.gateway.used_keys[key.id] = time.time()
        return key


class Call(ShortCycle):
    """One request on the short way, from its head to its answer. It takes what a worker answers."""

    known: Known
    id = 0  # of its frame
    _waiter: Waiter | None = None
    _endpoint: Endpoint | None = None
    _worker: Connection | None = None  # that the call is with

    def __init__(self, direct: Direct, connection: BoundedProtocol, known: Known) -> None:
        self.began = time.perf_counter()
        self.parts: list[bytes] = []
        self.known = known
        self._way = known.way
        self._direct = direct
        self._connection = connection
        self._id = known.request_id or new_id()

    def begin(self) -> None:
        """The body is there."""
        direct = self._direct
        if direct.receiving:
            direct.receiving.pop(self, None)
        direct.running[self] = self.began
        if direct.timer is None:
            direct.watch()
        lane = self._way.lane
        endpoint = lane.take()
        if endpoint is not None:
            self._send(endpoint, 0.0)
        elif lane.is_open:
            self._wait()
        else:
            self.go_long_way()

    def _wait(self) -> None:
        now = time.monotonic()
        waiter = Waiter(now, now + calls.CALL_SECONDS, self._granted, self._refused)
        try:
            self._way.lane.wait(waiter)
        except GatewayFault:
            self.go_long_way()
        else:
            self._waiter = waiter

    def lost(self) -> None:
        """The client has gone, or its request has become unreadable."""
        self._forget()
        if self._waiter is not None:
            self._way.lane.waits.note(self._leave_queue())
        if self._worker is not None:
            self._exchange().cancel()
        self._note(_CLIENT_GONE, time.perf_counter() - self.began)

    def expire(self) -> None:
        if self._worker is not None:  # a lane keeps the time of those who wait in it
            self._exchange().cancel()
            self._fail(TimedOut(calls.CALL_SECONDS))

    def go_long_way(self) -> None:
        self._forget()
        self._connection.go_long_way(self)

    def _granted(self, endpoint: Endpoint) -> None:
        self._send(endpoint, self._leave_queue())

    def _refused(self, fault: GatewayFault) -> None:
        self._way.lane.waits.note(self._leave_queue())
        self._fail(fault)

    def _leave_queue(self) -> float:
        """For how many seconds it was in the queue."""
        waiter, self._waiter = self._waiter, None
        assert waiter is not None
        self._way.lane.withdraw(waiter)
        return time.monotonic() - waiter.since

    def _send(self, endpoint: Endpoint, waited: float) -> None:
        lane = self._way.lane
        worker = endpoint.idle_connection()
        if worker is None:
            lane.release(endpoint)
            self.go_long_way()
            return
        if waited:
            lane.waits.note(waited)
        else:
            lane.waits.counts[0] += 1
        self._endpoint, self._worker = endpoint, worker
        worker.ask(self._header(), self.body(), self)

    def _exchange(self) -> Exchange:
        """What is still to come of it."""
        worker, endpoint, self._worker = self._worker, self._endpoint, None
        assert worker is not None
        assert endpoint is not None
        return worker.go_on(self, partial(self._way.lane.ended, endpoint, worker))

    def _header(self) -> bytes:
        """All of the frame's header but the number and the brace at its end."""
        frame = self.known.frame + self._id + b'"'
        way = self._way
        if not way.lane.reads_requests:
            return frame
        path = calls.PREDICT_PATH if way.kind == "predict" else inference.path_of(way.version)
        return frame + b',"http":' + orjson.dumps(seen_by_models("POST", path, b"", self.known.headers))

    def arrived(self, answer: Answer) -> None:
        lane, endpoint, worker = self._way.lane, self._endpoint, self._worker
        assert endpoint is not None
        assert worker is not None
        header = answer.header
        if header.get("more") is True:
            lane.accepts(endpoint, answer)
            self._stream(answer, self._exchange())
            return
        self._worker = None
        endpoint.put_back(worker, reusable=True)
        lane.release(endpoint)
        if not lane.accepts(endpoint, answer):
            self.go_long_way()
        elif header.get("ok") is True:
            self._answer(answer)
        else:
            self._fail(self._told(WorkerFault(answer)))

    def failed(self, failure: Exception) -> None:
        lane, endpoint, worker = self._way.lane, self._endpoint, self._worker
        assert endpoint is not None
        assert worker is not None
        self._worker = None
        lane.ended(endpoint, worker, reusable=False)
        if isinstance(failure, WorkerLost):
            lane.suspect(endpoint)
        self._fail(failure)

    def _told(self, fault: WorkerFault) -> WorkerFault:
        fault.headers["X-Tenfold-Version"] = str(self._way.version.number)
        return fault.with_traceback_told() if may_see_faults(self.known.key.actions) else fault

    def _answer(self, answer: Answer) -> None:
        header, seconds, worker = answer.header, time.perf_counter() - self.began, calls.seconds_of(answer)
        status, lines = self.known.first_lines(answer, self._connection.default_lines())
        if self._way.kind == "infer" or "headers" in header or "warnings" in header:
            lines += _lines(self._more_headers(answer))
        gateway = seconds - worker
        timing = _TIMING % (worker * 1000, gateway * 1000 if gateway > 0 else 0)
        self._write(status, lines, timing, answer.payload, seconds)

    def _more_headers(self, answer: Answer) -> list[Header]:
        headers = own_headers(answer)
        return headers if self._way.kind == "predict" else headers + inference.answer_headers(answer)

    def _stream(self, answer: Answer, exchange: Exchange) -> None:
        """Sends the first part and those that follow, which takes a task."""
        self._forget()
        prediction = Prediction(exchange, answer)
        more = inference.answer_headers(answer) if self._way.kind == "infer" else ()

        async def work(request: Request) -> None:
            async with WhileConnected(request):
                await respond(request, prediction, self._way.version, prediction.content_type, *more)

        async def go_on(scope: Any, receive: Any, send: Any) -> None:
            request = Request(scope, receive, send)
            request.id, request.began = self._id.decode(), self.began
            request.kind, request.target, request.version_id = "predict", self._way.target, self._way.version.id
            request.error_response = self._way.error_response
            try:
                await self._direct.app.carry_out(request, work)
            finally:
                exchange.cancel()

        self._connection.go_long_way(self, go_on)

    def _fail(self, error: Exception) -> None:
        told = error if isinstance(error, PlatformError) else PlatformError("Something went wrong in the gateway.")
        if not isinstance(told, WorkerFault):
            told.headers["X-Tenfold-Version"] = str(self._way.version.number)
        if told.status >= 500 and told.code != "internal":
            self._direct.gateway.metrics.worker_error(told.code)
        status, headers, body = self._way.error_response(told, self._id.decode())
        lines = STATUS_LINE[status] + self._connection.default_lines() + _lines(headers)
        self._write(status, lines, b"", body, time.perf_counter() - self.began)

    def _write(self, status: int, lines: bytes, timing: bytes, body: bytes, seconds: float) -> None:
        self._forget()
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        if status in WITHOUT_BODY:
            self._connection.answer(self, b"%b%bx-request-id: %b\r\n\r\n" % (lines, timing, self._id))
        elif len(body) > _JOIN_BELOW_BYTES:
            self._connection.answer(self, _WHOLE % (lines, timing, len(body), self._id, b""), body)
        else:
            self._connection.answer(self, _WHOLE % (lines, timing, len(body), self._id, body))
        self._note(status, seconds)

    def _forget(self) -> None:
        direct = self._direct
        direct.running.pop(self, None)
        if direct.receiving:
            direct.receiving.pop(self, None)

    def _note(self, status: int, seconds: float) -> None:
        self.known.calls.note(status, seconds)
        self.known.total.note(status, seconds)


def _lines(headers: list[Header]) -> bytes:
    """Raises ValueError for what would be more than one line."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("A header holds a line break.")
    return lines


_TIMING = b"server-timing: worker;dur=%.3f, gateway;dur=%.3f\r\n"
_WHOLE = b"%b%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b"


def _frame(way: Way, given: dict[bytes, bytes]) -> bytes:
    header: dict[str, Any]
    if way.kind == "predict":
        kind = given.get(b"content-type")
        header = {"op": "predict", "content_type": "application/json" if kind is None else kind.decode("latin-1")}
        if (accept := given.get(b"accept")) is not None:
            header["accept"] = accept.decode("latin-1")
    else:
        header = inference.frame_header(way.version, given.get(inference.JSON_LENGTH))
    return orjson.dumps(header)[:-1] + b',"request_id":"'


def _parse(url: bytes) -> tuple[Literal["predict", "infer"], Target] | None:
    """`/v1/W/models/M/predict`, `/v1/W/v2/models/M/infer` and `/v1/W/v2/models/M/versions/V/infer`."""
    if not url.isascii() or b"%" in url or b"?" in url:
        return None
    match url.decode("ascii").split("/"):
        case ["", "v1", workspace, "models", model, "predict"]:
            return "predict", Target(workspace, model)
        case ["", "v1", workspace, "v2", "models", model, "infer"]:
            return "infer", Target(workspace, model)
        case ["", "v1", workspace, "v2", "models", model, "versions", ref, "infer"]:
            return "infer", Target(workspace, model, ref)
    return None
