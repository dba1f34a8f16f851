"""Websockets between clients and models: the handshake, messages both ways, endings, and who reads too slowly."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tenfold_platform.gateway import sockets

R = "/v1/acme/models/churn"
PATH = R + "/v1/websocket"


def accept(reply: Any, **header: Any) -> None:
    reply.frame({"ok": True, "more": True, "ws": "accept", **header})


def say(reply: Any, text: str) -> None:
    reply.frame({"ok": True, "more": True, "ws": "text"}, text.encode())


def close(reply: Any, code: int = 1000, reason: str = "") -> None:
    reply.frame({"ok": True, "more": False, "ws": "close", "code": code, "reason": reason})


def echo(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    """Sends everything back until the client leaves, and notes how it left."""
    accept(reply)
    while True:
        said, body = reply.next()
        if said["ws"] == "close":
            worker.left = (said["code"], said["reason"])
            close(reply)
            return
        reply.frame({"ok": True, "more": True, "ws": said["ws"]}, body)


def opening(key: str) -> bytes:
    """A handshake, for those who go on by hand."""
    return (
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Authorization: Bearer {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def nothing_is_under_way(gateway: Any) -> bool:
    return bool(gateway.pool.in_flight == 0)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/websocket", "/websocket", "/sync/v1/websocket", "/production/websocket",
        "/production/sync/v1/websocket", "/environments/production/websocket", "/deployment/1/websocket",
    ],
)  # fmt: skip
def test_messages_go_both_ways_on_every_address(serve, world, workspace, key, make_worker, path: str) -> None:
    worker = make_worker(echo)
    world.served(workspace, worker)
    running = serve()
    with running.websocket(R + path + "?room=1", key) as socket:
        assert socket.response.headers["X-Tenfold-Version"] == "1"
        for message in ("hello", "", "ä" * 1000, b"", bytes(range(256)) * 100):
            socket.send(message)
            assert socket.recv(20) == message
        socket.close(4001, "enough")
    running.wait_for(lambda _: getattr(worker, "left", None) == (4001, "enough"))
    running.wait_for(nothing_is_under_way)
    header, _ = worker.requests[0]
    assert (header["op"], header["http"]["path"], header["http"]["query"]) == ("websocket", "/v1/websocket", "room=1")
    assert key not in json.dumps(header)


class TestTheHandshake:
    @pytest.fixture
    def running(self, serve, world, workspace, key, make_worker) -> Any:
        world.served(workspace, make_worker(echo))
        return serve()

    @pytest.mark.parametrize(
        ("path", "with_key", "status"),
        [
            (PATH, False, 401),
            ("/v1/acme/models/nope/websocket", True, 404),
            ("/v1/acme/models/churn@7/websocket", True, 404),
            ("/v1/acme/models/churn/nope", True, 404),
            ("/nope", True, 404),
        ],
    )
    def test_is_refused_with_a_response(self, running, key, path: str, with_key: bool, status: int) -> None:
        with pytest.raises(InvalidStatus) as refused, running.websocket(path, key if with_key else None):
            pass
        assert refused.value.response.status_code == status
        assert "error" in json.loads(refused.value.response.body)

    def test_takes_a_key_as_a_subprotocol_from_the_consoles_pages_only(self, running, key, settings) -> None:
        protocols = ["tenfold", f"tenfold.bearer.{key}"]
        with running.websocket(PATH, subprotocols=protocols, origin=settings.console_url) as socket:
            assert socket.subprotocol == "tenfold"
            socket.send("hello")
            assert socket.recv(20) == "hello"
        with (
            pytest.raises(InvalidStatus) as refused,
            running.websocket(PATH, subprotocols=protocols, origin="https://evil.example"),
        ):
            pass
        assert refused.value.response.status_code == 403
        with running.websocket(PATH, key, origin="https://not-a-page.example"):
            pass  # pages cannot send that header: this is a program

    def test_of_two_credentials_is_none(self, running, key) -> None:
        with (
            pytest.raises(InvalidStatus) as refused,
            running.websocket(PATH, key, subprotocols=["tenfold", f"tenfold.bearer.{key}"]),
        ):
            pass
        assert refused.value.response.status_code == 401

    def test_that_cannot_be_read_is_an_answer_and_no_wait(self, running) -> None:
        head = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        with running.raw() as connection:
            connection.sendall((head + f"X-Long: {'a' * 9000}\r\n\r\n").encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 431")
        with running.raw() as connection:
            connection.sendall((head + "Sec-WebSocket-Version: 12\r\n\r\n").encode())
            assert connection.recv(1000).startswith((b"HTTP/1.1 426", b"HTTP/1.1 400"))

    def test_in_the_middle_of_an_answer_ends_the_connection_after_it(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        worker = make_worker(lambda worker, header, payload, reply: (worker.hold.wait(10), reply.ok(b"[1]")))
        world.served(workspace, worker)
        running = serve()
        with running.raw() as connection:
            post = (
                f"POST {R}/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 2\r\n\r\n{{}}"
            )
            connection.sendall(post.encode())
            running.wait_for(lambda _: len(worker.requests) == 1)
            connection.sendall(opening(key))
            worker.hold.set()
            answer = b""
            while part := connection.recv(10_000):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"[1]")

    def test_is_the_models_to_refuse(self, serve, world, workspace, key, make_worker) -> None:
        def refuse(worker, header, payload, reply):
            reply.error(404, "no_such_method", "The model has no `websocket`.", source="input")

        world.served(workspace, make_worker(refuse))
        with pytest.raises(InvalidStatus) as refused, serve().websocket(PATH, key):
            pass
        answer = refused.value.response
        assert (answer.status_code, json.loads(answer.body)) == (404, {"error": "The model has no `websocket`."})
        assert answer.headers["X-BASETEN-ERROR-CODE"] == "700"

    def test_the_model_chooses_the_subprotocol_and_sets_headers(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        def choose(worker, header, payload, reply):
            accept(reply, subprotocol="chat.v2", headers={"X-Room": "7", "Set-Cookie": "a=b"})
            reply.next()
            close(reply)

        worker = make_worker(choose)
        world.served(workspace, worker)
        protocols = ["tenfold", f"tenfold.bearer.{key}", "chat.v1", "chat.v2"]
        with serve().websocket(PATH, subprotocols=protocols) as socket:
            assert socket.subprotocol == "chat.v2"
            assert socket.response.headers["X-Room"] == "7"
            assert "Set-Cookie" not in socket.response.headers
        assert ["sec-websocket-protocol", "chat.v1, chat.v2"] in worker.requests[0][0]["http"]["headers"]

    def test_of_somebody_who_left_meanwhile_is_cancelled(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        world.served(workspace, worker)
        running = serve()
        connection = running.raw()
        connection.sendall(opening(key))
        running.wait_for(lambda _: len(worker.requests) == 1)
        connection.close()
        running.wait_for(lambda _: len(worker.cancelled) == 1)
        running.wait_for(nothing_is_under_way)


class TestEndings:
    def ended(self, serve: Any, world: Any, workspace: Any, key: str, worker: Any) -> tuple[int, str]:
        world.served(workspace, worker)
        with serve().websocket(PATH, key) as socket:
            socket.send("go")
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(20)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason

    @pytest.mark.parametrize(
        ("code", "reason", "told"),
        [
            (1000, "", (1000, "")),
            (4242, "done", (4242, "done")),
            (1001, "é" * 200, (1001, "é" * 61)),
            (1005, "no code at all", (1011, "no code at all")),
            (99999, "", (1011, "")),
        ],
    )
    def test_the_models_code_and_reason_are_told(
        self, serve, world, workspace, key, make_worker, code: int, reason: str, told: tuple[int, str]
    ) -> None:
        def bye(worker, header, payload, reply):
            accept(reply)
            reply.next()
            close(reply, code, reason)

        assert self.ended(serve, world, workspace, key, make_worker(bye)) == told

    def test_a_model_that_raises_is_told_without_its_words(self, serve, world, workspace, key, make_worker) -> None:
        def fail(worker, header, payload, reply):
            accept(reply)
            reply.next()
            reply.error(500, "user_error", "ValueError: secret", source="user", traceback="secret", more=False)

        ended = self.ended(serve, world, workspace, key, make_worker(fail))
        assert ended == (1011, "Internal Server Error (in model/chainlet).")

    def test_a_process_that_dies_is_told(self, serve, world, workspace, key, make_worker) -> None:
        def die(worker, header, payload, reply):
            accept(reply)
            reply.next()
            worker.die()

        ended = self.ended(serve, world, workspace, key, make_worker(die))
        assert ended == (1011, "The model's process ended while answering.")

    def test_a_client_that_vanishes_is_told_to_the_model(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(echo)
        world.served(workspace, worker)
        running = serve()
        with running.websocket(PATH, key) as socket:
            socket.send("hello")
            socket.recv(20)
            socket.socket.close()
            running.wait_for(lambda _: getattr(worker, "left", (0, ""))[0] in (1005, 1006), 20)
        running.wait_for(nothing_is_under_way)

    def test_a_model_that_does_not_mind_the_clients_end_is_cancelled(
        self, serve, world, workspace, key, make_worker, monkeypatch
    ) -> None:
        monkeypatch.setattr(sockets, "FAREWELL_SECONDS", 0.1)

        def ignore(worker, header, payload, reply):
            accept(reply)
            worker.hold.wait(20)

        worker = make_worker(ignore)
        world.served(workspace, worker)
        running = serve()
        with running.websocket(PATH, key):
            pass
        running.wait_for(lambda _: len(worker.cancelled) == 1, 20)
        running.wait_for(nothing_is_under_way)

    def test_a_message_over_the_limit_ends_it(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(echo)
        world.served(workspace, worker)
        running = serve(max_body_bytes=1000)
        with running.websocket(PATH, key) as socket:
            socket.send("a" * 1000)
            assert socket.recv(20) == "a" * 1000
            socket.send("a" * 1001)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(20)
        assert closed.value.rcvd.code == 1009
        running.wait_for(lambda _: getattr(worker, "left", (0, ""))[0] == 1009)

    def test_a_gateway_that_stops_says_that_it_will_be_back(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(echo)
        world.served(workspace, worker)
        running = serve()
        with running.websocket(PATH, key) as socket:
            socket.send("hello")
            socket.recv(20)
            running.server.should_exit = True
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(20)
        assert closed.value.rcvd.code == 1012
        running.wait_for(lambda _: getattr(worker, "left", (0, ""))[0] == 1012)

    def test_a_package_says_how_often_to_ping(self, serve, world, workspace, key, make_worker) -> None:
        transport = {"kind": "websocket", "ping_interval_seconds": 0.05, "ping_timeout_seconds": 0.2}
        worker = make_worker(echo)
        world.served(workspace, worker, runtime={"transport": transport})
        running = serve()
        connection = running.raw()
        connection.sendall(opening(key))
        received = b""
        while part := connection.recv(1000):  # a client that never answers a ping
            received += part
        connection.close()
        assert received.startswith(b"HTTP/1.1 101")
        assert b"\x89\x04" in received
        assert b"keepalive ping timeout" in received
        running.wait_for(nothing_is_under_way, 20)


class TestSlowReaders:
    @pytest.fixture
    def chunk(self) -> bytes:
        return bytes(100_000)

    def test_a_client_that_does_not_read_holds_the_model_and_nobody_else(
        self, serve, world, workspace, key, make_worker, chunk: bytes
    ) -> None:
        sent: list[int] = []

        def flood(worker, header, payload, reply):
            if header["op"] != "websocket":
                reply.ok(b"1")
                return
            accept(reply)
            reply.next()
            for number in range(400):
                reply.frame({"ok": True, "more": True, "ws": "bytes"}, chunk)
                sent.append(number)
            close(reply)

        world.served(workspace, make_worker(flood))
        running = serve()
        with running.raw() as connection, running.client(key) as client:
            connection.sendall(opening(key))
            assert connection.recv(1000).startswith(b"HTTP/1.1 101")
            connection.sendall(b"\x81\x80\x00\x00\x00\x00")  # an empty text: go
            running.wait_for(lambda _: len(sent) > 5, 20)
            stalled_at = -1
            while stalled_at != len(sent):
                stalled_at = len(sent)
                time.sleep(0.3)
            assert stalled_at < 300
            assert client.post(R + "/predict", json={}).status_code == 200
            received = 0
            while received < 400 * len(chunk):
                received += len(connection.recv(1_000_000))
            running.wait_for(lambda _: len(sent) == 400)

    def test_a_model_that_does_not_read_holds_the_client(
        self, serve, world, workspace, key, make_worker, chunk: bytes
    ) -> None:
        began = threading.Event()

        def deaf(worker, header, payload, reply):
            accept(reply)
            began.set()

        worker = make_worker(deaf)
        world.served(workspace, worker)
        receive = worker._receive

        def slowly(header, payload, reply):
            if header["op"] == "ws":
                worker.hold.wait(30)
            receive(header, payload, reply)

        worker._receive = slowly
        running = serve()
        sent: list[int] = []
        with running.websocket(PATH, key) as socket:
            assert began.wait(20)

            def send() -> None:
                for number in range(400):
                    socket.send(chunk)
                    sent.append(number)

            sender = threading.Thread(target=send)
            sender.start()
            stalled_at = -1
            while stalled_at != len(sent):
                stalled_at = len(sent)
                time.sleep(0.3)
            assert stalled_at < 300
            worker.hold.set()
            sender.join(30)
            assert len(sent) == 400
