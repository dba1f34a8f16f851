"""A model's websocket: the environment's own starlette class, driven by frames.

What the caller sends arrives as frames with the op `ws`, and what the model sends leaves as parts of the answer.
"""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Dict

from tenfold_runtime import streams
from tenfold_runtime.answers import Answer, Closed, header_fields
from tenfold_runtime.channels import Channel
from tenfold_runtime.faults import Fault, load_failed, user_fault
from tenfold_runtime.requests import Call, Message, starlette
from tenfold_runtime.threads import keep

FAILED = "Internal Server Error (in model/chainlet)."  # Truss's words, which its clients know
_NORMAL, _SERVER_ERROR = 1000, 1011


class Conversation:
    """One websocket, from its opening to its end. Lives on the loop of user code."""

    def __init__(self, call: Call, channel: Channel) -> None:
        self._call = call
        self._channel = channel
        self._closing: "asyncio.Future[Closed]" = asyncio.get_running_loop().create_future()
        self._denial: Dict[str, Any] = {}
        self._body = b""
        self._connected = False

    async def hold(self, function: Callable[[Any], Awaitable[Any]]) -> Answer:
        """Runs the user's method over it, until it ends or closes. Raises Fault when it was never accepted."""
        socket = make_socket_class()(self._scope(), self._receive, self._send)
        if not _accepts_itself(function):
            await socket.accept()
        running = asyncio.ensure_future(function(socket))
        try:
            await asyncio.wait({running, self._closing}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if not running.done():  # it has closed, and tidies up
            keep(running)
            return self._closing.result()
        if running.cancelled():
            raise asyncio.CancelledError
        failure = running.exception()
        return await self._finished(socket) if failure is None else self._failed(failure)

    async def _finished(self, socket: Any) -> Answer:
        if self._denial:
            raise self._denied()
        if self._closing.done():
            return self._closing.result()
        if not self._channel.has_ended:
            await socket.begin()
        return Closed(code=_NORMAL)

    def _failed(self, error: BaseException) -> Answer:
        if type(error).__name__ == "WebSocketDisconnect" or (isinstance(error, OSError) and self._channel.has_ended):
            return Closed(code=_NORMAL)
        fault = user_fault(error)
        if fault.traceback:
            streams.report(fault.traceback)
        if not self._channel.accepted:
            raise fault
        return self._closing.result() if self._closing.done() else Closed(code=_SERVER_ERROR, reason=FAILED)

    def _scope(self) -> Dict[str, Any]:
        scope = self._call.scope("websocket")
        wanted = self._call.header("sec-websocket-protocol")
        scope["subprotocols"] = [name.strip() for name in wanted.split(",") if name.strip()]
        scope["extensions"] = {"websocket.http.response": {}}
        return scope

    async def _receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        return await self._channel.receive()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            await self._accept(message)
        elif kind == "websocket.close":
            self._close(int(message.get("code") or _NORMAL), str(message.get("reason") or ""))
        elif kind == "websocket.http.response.start":
            self._denial = {"status": int(message["status"]), "headers": header_fields(message.get("headers") or ())}
        elif kind == "websocket.http.response.body":
            self._body += message.get("body") or b""
        elif message.get("bytes") is not None:
            await self._channel.send({"ws": "bytes"}, bytes(message["bytes"]))
        else:
            await self._channel.send({"ws": "text"}, str(message.get("text") or "").encode("utf-8", "replace"))

    def _close(self, code: int, reason: str) -> None:
        if not self._channel.accepted:  # starlette's way of refusing
            self._denial = {"status": 403, "headers": {}}
            self._body = reason.encode("utf-8", "replace")
        elif not self._closing.done():
            self._closing.set_result(Closed(code=code, reason=reason))

    async def _accept(self, message: Message) -> None:
        fields: Dict[str, Any] = {"ws": "accept"}
        if message.get("subprotocol"):
            fields["subprotocol"] = str(message["subprotocol"])
        headers = header_fields(message.get("headers") or ())
        if headers:
            fields["headers"] = headers
        await self._channel.send(fields)
        self._channel.accepted = True

    def _denied(self) -> Fault:
        text = self._body.decode("utf-8", "replace") or "The model refused the websocket."
        return Fault(
            "http", text, status=self._denial["status"], source="input", detail=text, headers=self._denial["headers"]
        )


def make_socket_class() -> Any:
    """starlette's WebSocket, which accepts by itself where user code sends or receives before it has accepted.

    Raises Fault `load_failed` where the environment has no starlette.
    """
    module = starlette("websockets")
    if module is None:
        raise load_failed(
            "The model has a websocket, and its environment has no starlette to make it of.",
            hint="Add `starlette` (or `fastapi`) to requirements in config.yaml.",
        )

    class WebSocket(module.WebSocket):  # type: ignore[misc, name-defined, unused-ignore]
        async def begin(self) -> None:
            if self.application_state == module.WebSocketState.CONNECTING:
                await super().accept()

        async def accept(self, *arguments: Any, **named: Any) -> None:
            if self.application_state == module.WebSocketState.CONNECTING:
                await super().accept(*arguments, **named)

        async def receive_text(self) -> Any:
            await self.begin()
            return await super().receive_text()

        async def receive_bytes(self) -> Any:
            await self.begin()
            return await super().receive_bytes()

        async def receive_json(self, *arguments: Any, **named: Any) -> Any:
            await self.begin()
            return await super().receive_json(*arguments, **named)

        async def send_text(self, data: str) -> None:
            await self.begin()
            await super().send_text(data)

        async def send_bytes(self, data: bytes) -> None:
            await self.begin()
            await super().send_bytes(data)

        async def send_json(self, *arguments: Any, **named: Any) -> None:
            await self.begin()
            await super().send_json(*arguments, **named)

    return WebSocket


def _accepts_itself(function: Callable[..., Any]) -> bool:
    """Whether a method calls `accept` on its websocket.

    Truss accepts before it calls the method, so a method written for it does not.
    """
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and bool({"accept", "send_denial_response"} & set(code.co_names))
