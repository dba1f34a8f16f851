"""The short way of a prediction: what takes it, what does not, and that nobody can tell them apart."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.tenfold_platform.gateway.conftest import Running

from tenfold_platform.auth.tables import KeyTable
from tenfold_platform.db import transaction
from tenfold_platform.gateway.server import BoundedProtocol
from tenfold_platform.models.tables import AliasTable

PATH = "/v1/acme/models/churn/predict"


def plain(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    """As a worker does that puts calls together."""
    reply.ok(payload, places=64, reads_requests=False)


def request(key: str, body: bytes, *lines: str, path: str = PATH) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Caller:
    """One connection that is kept open."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""

    def ask(self, data: bytes) -> tuple[int, bytes]:
        self._connection.sendall(data)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        while b"\r\n\r\n" not in self._data:
            self._read()
        head, _, rest = self._data.partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        length = int(found[1]) if found else 0
        self._data = rest
        while len(self._data) < length:
            self._read()
        body, self._data = self._data[:length], self._data[length:]
        return int(head.split()[1]), body

    def _read(self) -> None:
        part = self._connection.recv(1 << 16)
        assert part, "the connection has ended"
        self._data += part


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the HTTP parser was given to read."""
    seen: list[bytes] = []
    feed = BoundedProtocol._feed

    def noting(self: BoundedProtocol, data: bytes) -> None:
        seen.append(data)
        feed(self, data)

    monkeypatch.setattr(BoundedProtocol, "_feed", noting)
    return seen


@pytest.fixture
def connect(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[Any, Caller]]]:
    """A gateway, and a connection to it. All that are opened are closed in the end."""
    opened: list[socket.socket] = []
    open_one = Running.raw

    def raw(self: Running) -> socket.socket:
        opened.append(open_one(self))
        return opened[-1]

    monkeypatch.setattr(Running, "raw", raw)

    def start() -> tuple[Any, Caller]:
        running = serve()
        return running, Caller(running.raw())

    yield start
    for connection in opened:
        connection.close()


def warm(caller: Caller, key: str) -> None:
    """The first call opens the connection to the worker, the second is the first of which the head is kept."""
    for _ in range(2):
        assert caller.ask(request(key, b"[0]"))[0] == 200


def test_a_head_is_read_once_whatever_the_length_of_bodies(world, workspace, key, make_worker, connect, fed) -> None:
    worker = make_worker(plain)
    world.served(workspace, worker)
    _, caller = connect()
    warm(caller, key)
    fed.clear()
    bodies = [b"[%d]" % 7**power for power in range(40)]
    assert [caller.ask(request(key, body)) for body in bodies] == [(200, body) for body in bodies]
    assert len(fed) <= 2  # of a snapshot that was read again meanwhile
    assert len({header["request_id"] for header, _ in worker.requests}) == 42
    assert all("http" not in header for header, _ in worker.requests[2:])


@pytest.mark.parametrize(
    "line", ["X-Other: 1", "Accept: application/json", "Content-Type: text/plain", "X-Request-Id: request-7"]
)
def test_another_header_is_another_head(world, workspace, key, make_worker, connect, fed, line: str) -> None:
    worker = make_worker(plain)
    world.served(workspace, worker)
    _, caller = connect()
    warm(caller, key)
    fed.clear()
    assert caller.ask(request(key, b"[1]", line)) == (200, b"[1]")
    assert len(fed) == 1
    name, _, value = line.lower().partition(": ")
    header = worker.requests[-1][0]
    if name in ("accept", "content-type", "x-request-id"):
        assert header[{"x-request-id": "request_id"}.get(name, name.replace("-", "_"))] == value


def test_calls_whose_own_id_is_no_good_get_one_each(world, workspace, key, make_worker, connect, fed) -> None:
    worker = make_worker(plain)
    world.served(workspace, worker)
    _, caller = connect()
    warm(caller, key)
    fed.clear()
    for _ in range(3):
        assert caller.ask(request(key, b"[1]", "X-Request-Id: no good"))[0] == 200
    assert len(fed) <= 2
    assert len({header["request_id"] for header, _ in worker.requests[2:]}) == 3


def test_a_model_that_looks_at_requests_is_told_of_each(world, workspace, key, make_worker, connect, fed) -> None:
    worker = make_worker()
    world.served(workspace, worker)
    _, caller = connect()
    warm(caller, key)
    for body in (b"[1]", b"[12345]"):
        assert caller.ask(request(key, body))[0] == 200
        headers = dict(worker.requests[-1][0]["http"]["headers"])
        assert headers["content-length"] == str(len(body))
    assert len(fed) == 4


def test_a_key_that_was_taken_back_is_refused_at_once(world, workspace, key, make_worker, connect, sessions) -> None:
    world.served(workspace, make_worker(plain))
    running, caller = connect()
    warm(caller, key)
    with transaction(sessions) as session:
        session.execute(update(KeyTable).values(revoked_at=datetime.now(UTC)))
    running.reload()
    assert caller.ask(request(key, b"[1]"))[0] == 401


def test_a_key_that_runs_out_is_refused(world, workspace, key, make_worker, connect, sessions) -> None:
    world.served(workspace, make_worker(plain))
    with transaction(sessions) as session:
        session.execute(update(KeyTable).values(expires_at=datetime.now(UTC) + timedelta(seconds=4)))
    _, caller = connect()
    warm(caller, key)
    deadline = time.monotonic() + 60
    while (status := caller.ask(request(key, b"[1]"))[0]) == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert status == 401


def test_the_next_call_goes_to_the_new_version(world, workspace, key, make_worker, connect, sessions) -> None:
    workers = [make_worker(lambda *told, n=number: told[3].ok(b"%d" % n, reads_requests=False)) for number in (1, 2)]
    world.served(workspace, workers[0], number=1)
    running, caller = connect()
    warm(caller, key)
    version = world.served(workspace, workers[1], number=2, alias=None)
    with transaction(sessions) as session:
        session.execute(update(AliasTable).values(version_id=getattr(version, "id", version)))
    running.reload()
    assert caller.ask(request(key, b"[1]")) == (200, b"2")


def test_a_known_head_goes_the_long_way_when_no_connection_is_open(
    world, workspace, key, make_worker, connect, fed
) -> None:
    """The length in its headers is then that of this request, not of the one that was read."""
    worker = make_worker(plain)
    world.served(workspace, worker)
    running, caller = connect()
    warm(caller, key)
    fed.clear()
    worker.die()
    worker.restart()
    running.wait_for(lambda gateway: all(not lane.in_flight for lane in gateway.pool.predicting().values()))
    body = b"[%s]" % (b"1," * 500 + b"1")
    deadline = time.monotonic() + 60
    while (answer := caller.ask(request(key, body)))[0] == 503:  # until it is seen that the old connections ended
        assert time.monotonic() < deadline
    assert answer == (200, body)


def test_what_is_behind_a_request_is_the_parsers(world, workspace, key, make_worker, connect, fed) -> None:
    world.served(workspace, make_worker(plain))
    _, caller = connect()
    warm(caller, key)
    fed.clear()
    assert caller.ask(request(key, b"[1]") + request(key, b"[2]")) == (200, b"[1]")
    assert caller.answer() == (200, b"[2]")
    assert len(fed) == 1


@pytest.fixture
def warmed(world, workspace, key, connect):
    """A gateway, a connection to it over which this worker has answered before, and its caller."""

    def begin(worker):
        world.served(workspace, worker)
        running, _ = connect()
        connection = running.raw()
        caller = Caller(connection)
        warm(caller, key)
        return running, connection, caller

    return begin


def test_a_request_in_pieces_is_the_parsers(key, make_worker, fed, warmed) -> None:
    _, connection, caller = warmed(make_worker(plain))
    fed.clear()
    whole = request(key, b"[1, 2, 3]")
    for piece in (whole[:10], whole[10:-4], whole[-4:]):
        connection.sendall(piece)
        time.sleep(0.05)
    assert caller.answer() == (200, b"[1, 2, 3]")
    assert len(fed) == 3


def test_a_body_that_looks_like_a_known_request_is_a_body(key, make_worker, warmed) -> None:
    """Its head came with a call that was answered before the body came: the connection only seems to be idle."""
    worker = make_worker(plain)
    _, connection, caller = warmed(worker)
    inner = request(key, b"[0]")
    outer = request(key, inner)
    connection.sendall(request(key, b"[1]") + outer[: -len(inner)])
    assert caller.answer() == (200, b"[1]")
    connection.sendall(inner)
    assert caller.answer() == (200, inner)
    assert caller.ask(request(key, b"[2]")) == (200, b"[2]")
    assert [payload for _, payload in worker.requests[2:]] == [b"[1]", inner, b"[2]"]


def test_a_header_that_looks_like_a_known_request_is_a_header(key, make_worker, warmed) -> None:
    worker = make_worker(plain)
    _, connection, caller = warmed(worker)
    connection.sendall(request(key, b"[1]") + b"POST /nowhere HTTP/1.1\r\nX-Other: ")
    assert caller.answer() == (200, b"[1]")
    assert caller.ask(request(key, b"[2]"))[0] == 404
    assert caller.ask(request(key, b"[3]")) == (200, b"[3]")
    assert [payload for _, payload in worker.requests[2:]] == [b"[1]", b"[3]"]


@pytest.mark.parametrize("between", [b"\r\n", b"\r\n\r\n"])
def test_empty_lines_between_calls_change_nothing(key, make_worker, warmed, between: bytes) -> None:
    _, connection, caller = warmed(make_worker(plain))
    for number in range(3):
        connection.sendall(between)
        assert caller.ask(request(key, b"[%d]" % number)) == (200, b"[%d]" % number)


def test_a_second_call_on_a_connection_that_still_waits_is_answered_after_it(key, make_worker, warmed) -> None:
    def behave(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        if payload == b"[1]":
            worker.hold.wait(30)
        reply.ok(payload, places=64, reads_requests=False)

    worker = make_worker(behave)
    running, connection, caller = warmed(worker)
    connection.sendall(request(key, b"[1]"))
    running.wait_for(lambda gateway: gateway.pool.in_flight == 1)
    connection.sendall(request(key, b"[2]"))
    worker.hold.set()
    assert [caller.answer(), caller.answer()] == [(200, b"[1]"), (200, b"[2]")]


def test_who_leaves_ends_the_work(world, workspace, key, make_worker, connect) -> None:
    def behave(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        if payload == b"[1]":
            worker.hold.wait(30)
        reply.ok(payload, places=64, reads_requests=False)

    worker = make_worker(behave)
    world.served(workspace, worker)
    running, caller = connect()
    warm(caller, key)
    connection = running.raw()
    connection.sendall(request(key, b"[1]"))
    running.wait_for(lambda gateway: gateway.pool.in_flight == 1)
    connection.close()
    running.wait_for(lambda gateway: gateway.pool.in_flight == 0)
    assert len(worker.cancelled) == 1


def test_who_was_answered_keeps_no_body_in_memory(
    world, workspace, key, make_worker, connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be thousands of idle connections, each after a large upload."""
    answered: list[Any] = []
    answer = BoundedProtocol.answer

    def noting(self: BoundedProtocol, cycle: Any, *data: bytes) -> None:
        answered.append(cycle)
        answer(self, cycle, *data)

    monkeypatch.setattr(BoundedProtocol, "answer", noting)
    world.served(workspace, make_worker(plain))
    _, caller = connect()
    warm(caller, key)
    body = b"[%s]" % (b"1," * 500_000 + b"1")
    for _ in range(2):
        assert caller.ask(request(key, body)) == (200, body)
    assert len(answered) >= 2
    assert all(cycle.body() == b"" for cycle in answered)


@pytest.mark.parametrize("leaves", [False, True])
def test_calls_wait_their_turn(world, workspace, key, make_worker, connect, leaves: bool) -> None:
    """One place and one more: of four callers two wait in the gateway, and one of them may lose patience."""

    def behave(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        if payload != b"[0]":
            worker.hold.wait(30)
        reply.ok(payload, reads_requests=False)

    worker = make_worker(behave)
    world.served(workspace, worker)
    running, caller = connect()
    warm(caller, key)
    connections = [running.raw() for _ in range(4)]
    for number, connection in enumerate(connections):
        connection.sendall(request(key, b"[%d]" % (number + 1)))
        running.wait_for(lambda gateway, n=number: gateway.pool.in_flight + gateway.pool.waiting == n + 1)
    if leaves:
        connections.pop().close()
        running.wait_for(lambda gateway: gateway.pool.waiting == 1)
    worker.hold.set()
    answers = [Caller(connection).answer() for connection in connections]
    assert answers == [(200, b"[%d]" % (number + 1)) for number in range(len(connections))]
    running.wait_for(lambda gateway: gateway.pool.in_flight + gateway.pool.waiting == 0)


def test_a_stream_comes_part_by_part(world, workspace, key, make_worker, connect) -> None:
    def behave(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        if payload == b"[0]":
            reply.ok(payload, reads_requests=False)
            return
        for part in (b"a", b"b"):
            reply.ok(part, more=True, content_type="text/plain")
        worker.hold.wait(30)
        reply.ok(b"c", more=False)

    worker = make_worker(behave)
    world.served(workspace, worker)
    running, caller = connect()
    warm(caller, key)
    with running.client(key) as client, client.stream("POST", PATH, json=[1]) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain")
        parts = answer.iter_raw()
        assert next(parts) in (b"a", b"ab")
        worker.hold.set()
        assert b"".join(parts).endswith(b"c")


def test_a_fault_of_the_model_is_told_as_ever(world, workspace, key, make_worker, connect) -> None:
    def behave(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        if payload == b"[0]":
            reply.ok(payload, reads_requests=False)
        else:
            reply.error(422, "bad_input", "No.", source="input")

    world.served(workspace, make_worker(behave))
    running, caller = connect()
    warm(caller, key)
    with running.client(key) as client:
        answer = client.post(PATH, json=[1])
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")
    assert answer.headers["X-Tenfold-Version"] == "1"


def test_many_at_once_get_their_own_answers(world, workspace, key, make_worker, connect) -> None:
    world.served(workspace, make_worker(plain))
    running, caller = connect()
    warm(caller, key)
    wrong: list[Any] = []

    def ask(number: int) -> None:
        mine = Caller(running.raw())
        for turn in range(50):
            body = b"[%d, %d]" % (number, 10**turn)
            if mine.ask(request(key, body)) != (200, body):
                wrong.append((number, turn))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    running.wait_for(lambda gateway: gateway.pool.in_flight == 0)
