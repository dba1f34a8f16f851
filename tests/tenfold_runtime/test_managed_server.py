"""`docker_server`: a server that the package brings, run as a process, with calls passed on to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tenfold_runtime.frames import Decoder, Frame, encode, parse_address

SERVER = """
    import http.server, json, os, sys, time
    print("the server starts in", os.path.basename(os.getcwd()), flush=True)
    ready_at = time.time() + 0.5

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/metrics":
                return self.answer(200, b"served_total 3\\n", "text/plain")
            if self.path == "/health" and time.time() < ready_at:
                return self.answer(503, b"not yet")
            self.answer(200 if self.path == "/health" else 404, b"ok")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if body == b'"stream"':
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for part in (b"data: 1\\n\\n", b"data: 2\\n\\n"):
                    self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part))
                    self.wfile.flush()
                    time.sleep(0.05)
                self.wfile.write(b"0\\r\\n\\r\\n")
                return
            if body == b'"die"':
                os._exit(3)
            status = 422 if body == b'"bad"' else 200
            told = [self.path, self.headers["content-type"], self.headers["x-mine"], body.decode("latin-1")]
            self.answer(status, json.dumps(told).encode(), "application/json", {"x-model": "a"})

        def answer(self, status, body, kind="text/plain", more={}):
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args): ...

    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CONFIG = """
    docker_server:
      start_command: python /app/data/app.py 8321
      server_port: 8321
      predict_endpoint: /custom/predict
      readiness_endpoint: /health
      liveness_endpoint: /health
"""


def start(workers: Any, config: str = CONFIG, server: str = SERVER) -> Any:
    return workers.truss("", config, files={"data/app.py": textwrap.dedent(server)})


def test_it_is_ready_when_its_server_is_and_passes_predictions_on(workers) -> None:
    worker = start(workers)
    client = worker.ready()
    health = client.health()
    assert (health["state"], health["healthy"]) == ("ready", True), health
    assert "predict" in health["methods"]
    assert "the server starts in package" in worker.log()
    http = {"path": "/v1/models/model:predict", "query": "q=1", "headers": [["x-mine", "yes"], ["host", "a"]]}
    answer = client.request("predict", b'{"a": 1}', content_type="application/json", http=http)
    assert answer.json() == ["/custom/predict?q=1", "application/json", "yes", '{"a": 1}']
    assert answer.header["headers"]["x-model"] == "a"
    assert client.request("predict", b'"bad"', content_type="application/json").header["status"] == 422
    assert client.request("metrics").payload == b"served_total 3\n"
    assert client.request("schema").json()["truss"] is None


def test_openai_paths_and_binary_bodies_and_streams(workers) -> None:
    client = start(workers).ready()
    chat = client.request("method", b"{}", method="chat_completions", content_type="application/json")
    assert chat.json()[0] == "/v1/chat/completions"
    assert client.request("method", b"{}", method="embeddings").json()[0] == "/v1/embeddings"
    assert client.request("method", b"{}", method="else").header["code"] == "no_such_method"
    assert (
        client.request("predict", b"\x93", content_type="application/msgpack").json()[1] == "application/octet-stream"
    )
    frames = list(client.stream("predict", b'"stream"', content_type="application/json"))
    assert frames[0].header["content_type"] == "text/event-stream"
    assert [frame.payload for frame in frames] == [b"data: 1\n\n", b"data: 2\n\n", b""]


def test_two_replicas_have_ports_of_their_own(workers) -> None:
    clients = [start(workers).ready() for _ in range(2)]
    assert [client.request("predict", b"1").header["status"] for client in clients] == [200, 200]


def test_a_server_that_cannot_start_fails_the_load_with_what_it_said(workers) -> None:
    health = start(workers, server="print('no weights here')\nraise SystemExit(4)").ready().health()
    assert health["state"] == "failed"
    assert "exit code 4" in health["error"]["message"]
    assert "no weights here" in health["error"]["message"]


def test_without_a_command_it_says_that_it_needs_a_container(workers) -> None:
    config = CONFIG.replace("start_command: python /app/data/app.py 8321", "no_build: true")
    health = start(workers, config).ready().health()
    assert "needs a container" in health["error"]["message"]


def test_a_port_in_the_code_is_used_and_one_that_is_taken_is_named(workers, unused_port) -> None:
    port = unused_port()
    fixed = SERVER.replace("int(sys.argv[1])", str(port))
    config = CONFIG.replace("app.py 8321", "app.py").replace("8321", str(port))
    client = start(workers, config, fixed).ready()
    assert client.request("predict", b"1").header["status"] == 200
    error = start(workers, config, fixed).ready().health()["error"]
    assert f"Port {port} is in use" in error["message"]
    assert "$PORT" in error["hint"]


def test_when_the_server_ends_the_worker_ends_and_the_other_way_round(workers) -> None:
    worker = start(workers)
    answer = worker.ready().request("predict", b'"die"', content_type="application/json")
    assert answer.header["code"] == "user_error"
    assert worker.process.wait(20) == 1
    worker = start(workers)
    client = worker.ready()
    (child,) = _children(worker.process.pid)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 0
    deadline = time.monotonic() + 20
    while _lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client.close()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += map(int, file.read().split())
    return found


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_that_takes_long_to_say_how_it_is(workers) -> None:
    slow = SERVER.replace('if self.path == "/metrics":', 'time.sleep(0.6)\n            if self.path == "/metrics":')
    health = start(workers, server=slow).ready().health()
    assert (health["state"], health["healthy"]) == ("ready", True)


def test_it_can_be_stopped_while_it_is_being_built(workers) -> None:
    worker = start(workers, CONFIG + "    build_commands: ['echo $$ > pid; exec sleep 600']\n")
    written = worker.folder / "package" / "pid"
    worker.wait_until(lambda: written.exists() and written.read_text().endswith("\n"))
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 0
    os.kill(int(written.read_text()), signal.SIGKILL)


def test_the_configuration_the_server_finds_is_its_own(workers) -> None:
    worker = start(workers)
    worker.ready()
    written = json.loads((worker.folder / "package" / ".tenfold" / "config.json").read_text())
    assert written["docker_server"]["predict_endpoint"] == "/custom/predict"


SOCKETS = """
import asyncio, sys
from http import HTTPStatus
from websockets.asyncio.server import serve

def check(connection, request):
    if request.path == "/health":
        return connection.respond(HTTPStatus.OK, "ok")
    if "refuse" in request.path:
        return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "not now")

async def talk(connection):
    await connection.send(connection.subprotocol or "none")
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as you wish")
        await connection.send(message)

async def main():
    async with serve(talk, "127.0.0.1", int(sys.argv[1]), process_request=check, subprotocols=["chat"], max_size=None):
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


@pytest.fixture
def opened() -> Iterator[Callable[..., Iterator[Frame]]]:
    """Opens a websocket; what is returned sends, and gives the frames that come."""
    sockets: list[socket.socket] = []

    def opened(worker: Any, **http: Any) -> Any:
        worker.ready()
        caller = parse_address(worker.address).connect(20)
        sockets.append(caller)
        decoder = Decoder()

        def frames() -> Iterator[Frame]:
            while data := caller.recv(65536):
                yield from decoder.feed(data)

        def say(ws: str, payload: bytes = b"", **fields: Any) -> None:
            caller.sendall(encode({"op": "ws", "id": 1, "ws": ws, **fields}, payload))

        caller.sendall(encode({"op": "websocket", "id": 1, "http": http}))
        return say, frames()

    yield opened
    for caller in sockets:
        caller.close()


def test_websockets_are_passed_on_both_ways(workers, opened) -> None:
    worker = start(workers, server=SOCKETS)
    say, frames = opened(worker, headers=[["sec-websocket-protocol", "other, chat"]])
    assert next(frames).header["subprotocol"] == "chat"
    assert next(frames).payload == b"chat"
    for message in (b"x", b"y" * 300, b"z" * 200_000):
        say("bytes", message)
        answer = next(frames)
        assert (answer.header["ws"], answer.payload) == ("bytes", message)
    say("text", "é".encode())
    assert (answer := next(frames)).payload == "é".encode()
    assert answer.header["ws"] == "text"
    say("text", b"close")
    last = next(frames).header
    assert (last["ws"], last["more"], last["code"], last["reason"]) == ("close", False, 4001, "as you wish")


MUTE = (
    SOCKETS.replace("import asyncio, sys", "import asyncio, socket, sys")
    .replace('connection.send(connection.subprotocol or "none")', "asyncio.sleep(3600)")
    .replace('serve(talk, "127.0.0.1", int(sys.argv[1])', "serve(talk, sock=listener, max_queue=1")
    .replace(
        "async def main():",
        """async def main():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    listener.bind(("127.0.0.1", int(sys.argv[1])))""",
    )
)


def test_a_caller_is_let_go_though_the_server_reads_nothing(workers, opened) -> None:
    worker = start(workers, server=MUTE)
    say, frames = opened(worker, headers=[["sec-websocket-protocol", "chat"]])
    assert next(frames).header["ws"] == "accept"
    for _ in range(15):  # no more than the worker takes in
        say("bytes", b"x" * 1_000_000)
    say("close", op="cancel", cancel=1)
    assert next(frames).header["code"] == "cancelled"
    client = worker.client()
    worker.wait_until(lambda: client.health()["in_flight"] == 0)


def test_a_caller_that_is_gone_before_it_is_accepted_is_gone_for_the_server_too(workers, opened) -> None:
    talk = """async def talk(connection):
    try: await connection.wait_closed()
    finally: print("left with", connection.close_code, flush=True)
"""
    worker = start(workers, server=SOCKETS.replace("async def talk(connection):\n", talk))
    worker.ready()
    opening = {"op": "websocket", "id": 1, "http": {"headers": [["sec-websocket-protocol", "chat"]]}}
    with parse_address(worker.address).connect(20) as caller:
        caller.sendall(encode(opening) + encode({"op": "ws", "id": 1, "ws": "close", "code": 1000}))
        worker.wait_until(lambda: "left with 1001" in worker.log())


def test_a_caller_that_leaves_and_a_server_that_refuses(workers, opened) -> None:
    worker = start(workers, server=SOCKETS)
    say, frames = opened(worker, headers=[["sec-websocket-protocol", "chat"]])
    assert [next(frames).header["ws"] for _ in range(2)] == ["accept", "text"]
    say("close", code=4002, reason="bye")
    assert next(frames).header["ws"] == "close"
    worker.wait_until(lambda: "received 4002 (private use) bye" in worker.log())
    refusing = start(workers, CONFIG.replace("/custom/predict", "/refuse"), SOCKETS)
    refused = next(opened(refusing)[1]).header
    assert (refused["ok"], refused["status"], refused["message"]) == (False, 429, "not now")
