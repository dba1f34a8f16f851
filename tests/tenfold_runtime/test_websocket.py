"""A model's websocket over frames: opening, messages both ways, closing, and everything that goes wrong."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tenfold_runtime.frames import Decoder, Frame, encode, parse_address


class Caller:
    """The platform's side of one websocket."""

    def __init__(self, address: str, **http: Any) -> None:
        self._socket = parse_address(address).connect(20)
        self._decoder = Decoder()
        self._frames: Iterator[Frame] = self._read()
        self.say({"op": "websocket", "id": 7, "http": {"path": "/v1/websocket", "headers": [], **http}})

    def say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self._socket.sendall(encode(header, payload))

    def send(self, message: str | bytes) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        self.say({"op": "ws", "id": 7, "ws": kind}, message.encode() if isinstance(message, str) else message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.say({"op": "ws", "id": 7, "ws": "close", "code": code, "reason": reason})

    def next(self) -> Frame:
        return next(self._frames)

    def hang_up(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self) -> Iterator[Frame]:
        while data := self._socket.recv(65536):
            yield from self._decoder.feed(data)


@pytest.fixture
def opened() -> Iterator[Any]:
    callers: list[Caller] = []

    def opened(worker: Any, **http: Any) -> Caller:
        worker.ready()
        callers.append(Caller(worker.address, **http))
        return callers[-1]

    yield opened
    for caller in callers:
        caller._socket.close()


def model(body: str) -> str:
    lines = "\n".join(f"        {line}" for line in body.strip("\n").splitlines())
    return (
        "import asyncio, fastapi\nfrom fastapi import WebSocketDisconnect\nfrom starlette.responses import Response\n"
        f"class Model:\n    async def websocket(self, websocket: fastapi.WebSocket):\n{lines}\n"
    )


ECHO = """
async for message in websocket.iter_text():
    await websocket.send_text(message + " pong")
print("the caller left", flush=True)
"""


def test_messages_go_both_ways_until_the_caller_leaves(workers, opened) -> None:
    worker = workers.truss(model(ECHO), "runtime: {transport: {kind: websocket}}")
    caller = opened(worker)
    assert worker.client().health()["methods"] == ["websocket"]
    accepted = caller.next().header
    assert (accepted["ok"], accepted["more"], accepted["ws"]) == (True, True, "accept")
    for text in ("ping", "é", ""):
        caller.send(text)
        answer = caller.next()
        assert (answer.header["ws"], answer.payload.decode()) == ("text", f"{text} pong")
    caller.close()
    last = caller.next().header
    assert (last["ok"], last["more"], last["ws"], last["code"]) == (True, False, "close", 1000)
    worker.wait_until(lambda: "the caller left" in worker.log())
    assert worker.client().health()["in_flight"] == 0


def test_json_and_bytes_and_the_handshake_of_the_caller(workers, opened) -> None:
    source = model("""
await websocket.send_json([websocket.query_params["q"], websocket.headers["x-mine"], websocket.url.path])
data = await websocket.receive_bytes()
await websocket.send_bytes(data[::-1])
await websocket.send_json({"got": await websocket.receive_json()})
await websocket.close(4000, "enough")
""")
    caller = opened(workers.truss(source), query="q=1", headers=[["x-mine", "yes"], ["host", "models.example"]])
    assert caller.next().header["ws"] == "accept"
    assert json.loads(caller.next().payload) == ["1", "yes", "/v1/websocket"]
    caller.send(b"\x00\xff\x01")
    assert (frame := caller.next()).payload == b"\x01\xff\x00"
    assert frame.header["ws"] == "bytes"
    caller.send('{"a": 1}')
    assert json.loads(caller.next().payload) == {"got": {"a": 1}}
    last = caller.next().header
    assert (last["ws"], last["code"], last["reason"]) == ("close", 4000, "enough")


def test_a_model_that_accepts_itself_chooses_subprotocol_and_headers(workers, opened) -> None:
    source = model("""
await websocket.accept("graphql-ws" if "graphql-ws" in websocket.scope["subprotocols"] else None, [(b"x-a", b"1")])
await websocket.send_text("hello")
""")
    caller = opened(workers.truss(source), headers=[["sec-websocket-protocol", "other, graphql-ws"]])
    accepted = caller.next().header
    assert (accepted["subprotocol"], accepted["headers"]) == ("graphql-ws", {"x-a": "1"})
    assert caller.next().payload == b"hello"
    assert caller.next().header["code"] == 1000


REFUSALS = {
    "closes": ("await websocket.close(1008, 'not you')\nif False: await websocket.accept()", 403, "not you"),
    "answers": (
        "await websocket.send_denial_response(Response('no entry', 429, {'retry-after': '5'}))",
        429,
        "no entry",
    ),
    "raises": (
        "if websocket.headers.get('x-key') is None: raise fastapi.HTTPException(401, 'no key')\n"
        "await websocket.accept()",
        401,
        "no key",
    ),
    "fails": ("1 / 0\nawait websocket.accept()", 500, "ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_a_refusal_before_it_is_accepted_answers_the_handshake(workers, opened, how: str) -> None:
    body, status, message = REFUSALS[how]
    refused = opened(workers.truss(model(body))).next().header
    assert (refused["ok"], refused["more"], refused["status"], refused["message"]) == (False, False, status, message)


def test_a_failure_afterwards_closes_with_1011_and_is_in_the_log(workers, opened) -> None:
    worker = workers.truss(model("await websocket.receive_text()\nraise ValueError('the model broke')"))
    caller = opened(worker)
    caller.next()
    caller.send("go")
    last = caller.next().header
    assert (last["ws"], last["code"]) == ("close", 1011)
    assert last["reason"] == "Internal Server Error (in model/chainlet)."
    assert "ValueError: the model broke" in worker.log()
    assert "tenfold_runtime" not in worker.log().partition("Traceback")[2]


@pytest.mark.parametrize("how", ["close", "cancel", "hang up"])
def test_a_caller_that_leaves_is_a_disconnect_for_the_model(workers, opened, how: str) -> None:
    source = model("""
try:
    while True:
        await websocket.receive_text()
except WebSocketDisconnect as left:
    print(f"left with {left.code}", flush=True)
    raise
""")
    worker = workers.truss(source)
    caller = opened(worker)
    caller.next()
    match how:
        case "close":
            caller.close(4321, "bye")
        case "cancel":
            caller.say({"op": "cancel", "cancel": 7})
        case _:
            caller.hang_up()
    expected = "left with 4321" if how == "close" else "left with 1006"
    worker.wait_until(lambda: expected in worker.log())
    worker.wait_until(lambda: worker.client().health()["in_flight"] == 0)


def test_what_is_done_after_closing_holds_up_nobody(workers, opened) -> None:
    source = model("""
await websocket.close(1000)
await asyncio.sleep(0.5)
print("tidied up", flush=True)
""")
    worker = workers.truss(source)
    caller = opened(worker)
    assert [caller.next().header["ws"] for _ in range(2)] == ["accept", "close"]
    worker.wait_until(lambda: "tidied up" in worker.log())


def test_what_is_done_after_closing_is_kept_to_its_end(workers, opened) -> None:
    source = model("""
import gc, threading, weakref
loop = asyncio.get_running_loop()
await websocket.close(1000)
waited_for = loop.create_future()
found = weakref.ref(waited_for)
def go_on():
    gc.collect()
    if found() is not None: loop.call_soon_threadsafe(found().set_result, None)
threading.Timer(0.3, go_on).start()
await waited_for
print("tidied up", flush=True)
1 / 0
""")
    worker = workers.truss(source)
    caller = opened(worker)
    assert [caller.next().header["ws"] for _ in range(2)] == ["accept", "close"]
    worker.wait_until(lambda: "tidied up" in worker.log())
    worker.wait_until(lambda: "ZeroDivisionError" in worker.log())


def test_unread_messages_stop_the_reading_and_none_is_lost(workers, opened) -> None:
    source = model("""
import os
while not os.path.exists("go"):
    await asyncio.sleep(0.02)
count = 0
while count < 3000:
    assert (await websocket.receive_bytes())[:4] == count.to_bytes(4, "big")
    count += 1
await websocket.send_text(str(count))
""")
    worker = workers.truss(source)
    caller = opened(worker)
    caller.next()
    frames = (encode({"op": "ws", "id": 7, "ws": "bytes"}, n.to_bytes(4, "big") + b"x" * 20_000) for n in range(3000))
    everything = memoryview(b"".join(frames))
    caller._socket.settimeout(3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(everything):
            sent += caller._socket.send(everything[sent : sent + 65536])
    assert 15_000_000 < sent < 40_000_000  # what may wait in the worker, and in the kernel's buffers
    assert worker.client().health()["rss_bytes"] < 250_000_000
    (worker.folder / "package" / "go").touch()
    caller._socket.settimeout(30)
    caller._socket.sendall(everything[sent:])
    assert caller.next().payload == b"3000"


def test_a_model_without_one_says_so(workers, opened) -> None:
    refused = opened(workers.truss("class Model:\n    def predict(self, inputs): ...")).next().header
    assert (refused["status"], refused["code"]) == (404, "no_such_method")


def test_a_model_of_websockets_has_no_predict(workers) -> None:
    client = workers.truss(model("pass")).ready()
    assert client.request("predict", b"1").header["code"] == "no_such_method"
    assert client.request("schema").json() == {"inputs": None, "outputs": None, "truss": None}


def test_without_starlette_the_load_says_what_to_add(workers) -> None:
    source = "class Model:\n    async def websocket(self, websocket): ..."
    health = workers.truss(source, python=workers.bare_python).ready().health()
    assert health["state"] == "failed"
    assert "starlette" in health["error"]["message"]
    assert "requirements" in health["error"]["hint"]
