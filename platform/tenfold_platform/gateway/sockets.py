"""Websockets with a model: messages are passed on both ways, by each side no faster than the other reads."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog

from tenfold_platform.errors import Forbidden
from tenfold_platform.gateway import calls
from tenfold_platform.gateway.calls import CALL_SECONDS, WorkerFault
from tenfold_platform.gateway.context import Gateway
from tenfold_platform.gateway.credentials import BEARER_PROTOCOL, offered_protocols
from tenfold_platform.gateway.faults import BadAnswer, ClientGone, GatewayFault
from tenfold_platform.gateway.http import (
    SEND_SECONDS,
    Message,
    Receive,
    Request,
    Scope,
    Send,
    WhileConnected,
    as_seen_by_models,
)
from tenfold_platform.gateway.server import BoundedWebSocket
from tenfold_platform.gateway.snapshot import Version
from tenfold_platform.gateway.targets import Target, called_version
from tenfold_platform.gateway.traffic import BROKEN_OFF
from tenfold_platform.gateway.truss import MODEL_ERROR
from tenfold_platform.gateway.wire import Answer, Exchange

log = structlog.get_logger(__name__)

PATH = "/v1/websocket"  # as model servers know it
OUR_PROTOCOL = "tenfold"
FAREWELL_SECONDS = 10.0

SWITCHED = 101
_NORMAL, _FAILED, _TRY_LATER = 1000, 1011, 1013
_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_MAX_REASON_BYTES = 123


class Socket:
    """The client's end, once its handshake has been answered."""

    def __init__(self, connection: BoundedWebSocket, receive: Receive, send: Send) -> None:
        self.receive = receive
        self._connection = connection
        self._send = send

    async def send(self, message: Message) -> None:
        """Waits while the client is slow to read. Raises ClientGone when it has left, or does not read at all."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(message)
        except TimeoutError:
            self._connection.abort()
            raise ClientGone from None
        except OSError:
            raise ClientGone from None

    async def close(self, code: int, reason: str) -> None:
        with contextlib.suppress(ClientGone):
            await self.send({"type": "websocket.close", "code": _sendable(code), "reason": _short(reason)})


def handshake(scope: Scope, receive: Receive, send: Send) -> Request:
    """A websocket's handshake as a request: until it is accepted, it can be answered like any other."""

    async def refuse(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    scope["tenfold.receive"], scope["tenfold.send"] = receive, send
    return Request(scope, receive, refuse)


async def converse(gateway: Gateway, request: Request, target: Target) -> None:
    """Answers the handshake as the model does, then passes messages on until either side ends it."""
    _check_origin(gateway, request)
    _, version = await called_version(gateway, request, target)
    lane = calls.version_lane(gateway.pool, version, "beside")
    lane.check()
    connection: BoundedWebSocket = request.scope["tenfold.connection"]
    socket = Socket(connection, request.scope["tenfold.receive"], request.scope["tenfold.send"])
    connection.ping_every(version.transport.ping_interval_seconds, version.transport.ping_timeout_seconds)
    offered = [protocol for protocol in offered_protocols(request) if not protocol.startswith(BEARER_PROTOCOL)]
    header = _opening(request, [protocol for protocol in offered if protocol != OUR_PROTOCOL])
    await socket.receive()  # that it connects, which the server said before anything else
    async with WhileConnected(request):
        exchange, answer = await lane.call(header, b"", CALL_SECONDS)
    try:
        _check_accepted(answer)
        await _accept(request, socket, version, answer, offered)
        await _relay_as_one_call(gateway, request, socket, exchange)
    finally:
        exchange.cancel()


def _check_origin(gateway: Gateway, request: Request) -> None:
    """Pages send keys as a subprotocol, for want of a header. Only the console's pages may."""
    origin = request.header(b"origin")
    is_page = any(protocol.startswith(BEARER_PROTOCOL) for protocol in offered_protocols(request))
    if is_page and origin is not None and origin != gateway.console_origin:
        raise Forbidden(
            "Pages of other sites may not open this websocket.",
            code="cross_site",
            hint="Open it from a server of your own, with the key in the Authorization header.",
        )


def _opening(request: Request, protocols: list[str]) -> dict[str, Any]:
    http = as_seen_by_models(request, PATH)
    if protocols:
        http["headers"].append(("sec-websocket-protocol", ", ".join(protocols)))
    return {"op": "websocket", "request_id": request.id, "http": http}


def _check_accepted(answer: Answer) -> None:
    """Raises what to answer the handshake with instead, when the model did not accept it."""
    if not answer.ok:
        raise WorkerFault(answer)
    match answer.header.get("ws"):
        case "accept":
            return
        case "close":
            raise Forbidden("The model did not accept the websocket.", code="not_accepted")
    raise BadAnswer(f"a frame of the kind {answer.header.get('ws')!r}, where a websocket was to be accepted")


async def _accept(request: Request, socket: Socket, version: Version, answer: Answer, offered: list[str]) -> None:
    chosen = answer.header.get("subprotocol")
    if chosen not in offered:
        chosen = OUR_PROTOCOL if OUR_PROTOCOL in offered else None
    headers = [(b"x-tenfold-version", b"%d" % version.number), (b"x-request-id", request.id.encode())]
    of_model = calls.passed_on(answer.header.get("headers"))
    headers += [(name.encode(), value.encode()) for name, value in of_model.items()]
    await socket.send({"type": "websocket.accept", "subprotocol": chosen, "headers": headers})
    request.status = SWITCHED


async def _relay_as_one_call(gateway: Gateway, request: Request, socket: Socket, exchange: Exchange) -> None:
    """Counts the conversation when it is over, as long as its handshake took: the rest is for both sides to say."""
    seconds, status = time.perf_counter() - request.began, BROKEN_OFF
    version_id, request.version_id = request.version_id, None
    assert version_id is not None
    try:
        status = SWITCHED if await _relay(request, socket, exchange) else 500
    finally:
        gateway.traffic.note(version_id, status, seconds)


async def _relay(request: Request, socket: Socket, exchange: Exchange) -> bool:
    """Passes messages on until the end. Whether the model ended it well, or the client did."""
    listening = asyncio.create_task(_to_model(socket, exchange))
    speaking = asyncio.create_task(_to_client(socket, exchange))
    try:
        await asyncio.wait((listening, speaking), return_when=asyncio.FIRST_COMPLETED)
        if not speaking.done():  # the client has left, and the model was told
            await asyncio.wait((speaking,), timeout=FAREWELL_SECONDS)
            return True
        speaking.result()
    except ClientGone:
        return True
    except WorkerFault as fault:
        log.info("gateway.websocket_failed", request_id=request.id, code=fault.code)
        await socket.close(_FAILED, MODEL_ERROR)
        return False
    except GatewayFault as fault:
        await socket.close(_FAILED, fault.message)
        return False
    except asyncio.CancelledError:
        await socket.close(_TRY_LATER, "The gateway is shutting down.")
        raise
    finally:
        for task in (listening, speaking):
            task.cancel()
        await asyncio.gather(listening, speaking, return_exceptions=True)
    return True


async def _to_model(socket: Socket, exchange: Exchange) -> None:
    """Until the client leaves, which is told to the model."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            code, reason = message.get("code") or 1005, message.get("reason") or ""
            await exchange.send({"op": "ws", "ws": "close", "code": code, "reason": reason}, b"")
            return
        text = message.get("text")
        if text is not None:
            await exchange.send({"op": "ws", "ws": "text"}, text.encode())
        else:
            await exchange.send({"op": "ws", "ws": "bytes"}, message["bytes"])


async def _to_client(socket: Socket, exchange: Exchange) -> None:
    """Until the model ends it. Raises WorkerFault when it fails, a GatewayFault when its process does."""
    while True:
        part = await exchange.next(None)
        if not part.ok:
            raise WorkerFault(part)
        match part.header.get("ws"):
            case "text":
                await socket.send({"type": "websocket.send", "text": part.payload.decode("utf-8", "replace")})
            case "bytes":
                await socket.send({"type": "websocket.send", "bytes": part.payload})
        if not part.more:
            code = part.header.get("code")
            await socket.close(code if isinstance(code, int) else _NORMAL, str(part.header.get("reason") or ""))
            return


def _sendable(code: int) -> int:
    """Codes that only describe an ending, and unknown ones, may not be sent."""
    return code if code in _SENDABLE or 3000 <= code <= 4999 else _FAILED


def _short(reason: str) -> str:
    return reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore")
