"""What the gateway makes of connections that mix good requests with every kind of nonsense.

Each good request must get its own answer, in order, whatever surrounds it; nothing that is hidden in another request's
body, or behind a line that cannot be read, may ever be carried out; and the process must neither fall nor grow.

`TENFOLD_FUZZ_CASES` connections are made (2000), from the seed `TENFOLD_FUZZ_SEED` (a new one each time, but in CI).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tenfold_platform.gateway import server
from tenfold_platform.gateway.server import BoundedProtocol
from tenfold_platform.settings import Settings
from tenfold_platform.up.embedded import free_port

from ...waiting import wait_for

PATH = "/v1/acme/models/churn/predict"
CASES = int(os.environ.get("TENFOLD_FUZZ_CASES", "2000"))
SEED = int(
    os.environ.get("TENFOLD_FUZZ_SEED", "1" if "CI" in os.environ else str(random.SystemRandom().getrandbits(32)))
)
AT_ONCE = 24
PATIENCE_SECONDS = 60
ENDLESS = 1_200_000  # bytes: what is without an end is noticed once a read brings nothing else
GROWTH_BYTES = 48 * 1024 * 1024  # of a process that keeps nothing, allocators being what they are
FORBIDDEN = "forbidden"
FAULTS = ("Traceback", "request_failed", "Exception in")  # of the gateway, as its log has them

Bad = Callable[["Maker", bytes], bytes]


@dataclass(frozen=True)
class Expected:
    """The answer to one good request. A `body` of None may be anything."""

    id: str
    method: str
    status: int
    body: bytes | None = None


@dataclass
class Case:
    """What one connection sends, and what must come back.

    `ends`: "open" (the connection lives on), "closed" (the last good request asked for its end, what follows is
    nobody's), "refused" (nothing after the good ones can be read) or "cut" (the client leaves somewhere in the middle).
    """

    data: bytes = b""
    expected: list[Expected] = field(default_factory=list)
    ends: str = "open"
    story: list[str] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)  # where one packet ends and the next begins
    pause: float = 0.0  # between packets
    leaves: str = "close"  # of a client that cuts: close, half-close, reset


@dataclass(frozen=True)
class Answer:
    status: int
    id: str | None
    body: bytes


class Maker:
    """Makes cases from a seed."""

    def __init__(self, seed: int, key: str) -> None:
        self.random = random.Random(seed)
        self.key = key
        self.count = 0

    def case(self) -> Case:
        case, chance = Case(), self.random
        for _ in range(chance.randint(0, 4)):
            self._good(case)
        ending = chance.choices(("open", "closed", "refused", "cut"), (3, 1, 5, 2))[0]
        case.ends = ending
        if ending in ("open", "cut"):
            self._good(case)
        elif ending == "closed":
            self._last(case)
        else:
            name, bad = chance.choice(list(BAD.items()))
            case.story.append(name)
            case.data += bad(self, self.hidden()) + self.hidden() * chance.randint(0, 2)
        if ending == "cut":
            case.data = case.data[: chance.randrange(len(case.data))]
            case.leaves = chance.choice(("close", "half-close", "reset"))
        self._split(case)
        return case

    def new_id(self, kind: str = "wanted") -> str:
        self.count += 1
        return f"{kind}-{self.count}-{self.random.getrandbits(32):08x}"

    def hidden(self) -> bytes:
        """A request that is good in itself, and must never be taken for one."""
        return self.predict(self.new_id(FORBIDDEN), b'"hidden"')

    def head(self, id: str, *lines: str, start: str = f"POST {PATH} HTTP/1.1", key: str | None = None) -> bytes:
        spelled = self.random.choice(("Host", "host", "HOST"))
        all_lines = [start, f"{spelled}: x", f"Authorization: Bearer {key or self.key}", f"X-Request-Id: {id}", *lines]
        return "\r\n".join([*all_lines, "", ""]).encode("latin-1")

    def predict(self, id: str, body: bytes, *lines: str) -> bytes:
        return self.head(id, f"Content-Length: {len(body)}", *lines) + body

    def chunked(self, body: bytes) -> bytes:
        """A body in chunks of any size, with extensions and trailers that mean nothing."""
        chance, parts = self.random, []
        while body:
            size = chance.randint(1, min(len(body), chance.choice((1, 7, 100, 70_000))))
            extension = chance.choice((b"", b"", b";a", b";a=b", b';a="b c"'))
            parts.append(chance.choice((b"%x", b"%X", b"000%x")) % size + extension + b"\r\n" + body[:size] + b"\r\n")
            body = body[size:]
        trailers = chance.choice(
            (b"", b"", b"X-Sum: 1\r\n", b"Authorization: Bearer nobody\r\nExpect: 100-continue\r\n")
        )
        return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"

    def _good(self, case: Case) -> None:
        id, chance = self.new_id(), self.random
        body = b'"%s"' % id.encode()
        if chance.random() < 0.05:
            body = b'"' + b"x" * chance.randint(30_000, 300_000) + b'"'
        kind = chance.choice(
            ("length", "length", "chunked", "chunked", "get", "head", "get-body", "nobody", "nobody-chunked", "nowhere",
             "options", "absolute", "upgrade", "upgrade-chunked", "expect", "line-ends", "many", "long")
        )  # fmt: skip
        case.story.append(kind)
        te = chance.choice(("Transfer-Encoding: chunked", "transfer-encoding:CHUNKED", "Transfer-Encoding:\tChunked "))
        upgrade = chance.choice(("Connection: Upgrade", "Connection: keep-alive, upgrade")), "Upgrade: h2c"
        method, status, answer = "POST", 200, body
        match kind:
            case "length":
                data = self.predict(id, body)
            case "chunked":
                data = self.head(id, te) + self.chunked(body)
            case "get" | "head":
                method = kind.upper()
                data, answer = self.head(id, start=f"{method} /healthz HTTP/1.1"), None
            case "get-body":
                method, hidden = "GET", self.hidden()
                data = self.head(id, f"Content-Length: {len(hidden)}", start="GET /healthz HTTP/1.1") + hidden
                answer = None
            case "nobody":
                hidden = self.hidden()
                data, status, answer = self.head(id, f"Content-Length: {len(hidden)}", key="nobody") + hidden, 401, None
            case "nobody-chunked":
                data, status, answer = self.head(id, te, key="nobody") + self.chunked(self.hidden()), 401, None
            case "nowhere":
                data, status, answer = self.predict(id, body).replace(b"/churn/", b"/nobody/"), 404, None
            case "options":
                method = "OPTIONS"
                data, status, answer = self.head(id, start=f"OPTIONS {PATH} HTTP/1.1"), 404, None
            case "absolute":
                data = self.predict(id, body).replace(b"POST /", b"POST http://elsewhere/", 1)
            case "upgrade":
                data = self.predict(id, body, *upgrade)
            case "upgrade-chunked":
                data = self.head(id, *upgrade, te) + self.chunked(body)
            case "expect":
                data = self.predict(id, body, "Expect: 100-continue")
            case "line-ends":
                data = b"\r\n" * chance.randint(1, 3) + self.predict(id, body)
            case "many":
                data = self.predict(id, body, *(f"X-{n}: {n}" for n in range(90)))
            case _:
                data = self.predict(id, body, "X-Long: " + "y" * chance.randint(5_000, 20_000))
        case.data += data
        case.expected.append(Expected(id, method, status, answer))

    def _last(self, case: Case) -> None:
        """A good request after which nothing more is to be read."""
        id = self.new_id()
        body = b'"%s"' % id.encode()
        kind = self.random.choice(("close", "old", "trailer"))
        case.story.append(kind)
        if kind == "close":
            data = self.predict(id, body, "Connection: close")
        elif kind == "old":
            data = self.predict(id, body, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        else:
            chunks = self.chunked(body).rpartition(b"\r\n0\r\n")[0]
            data = self.head(id, "Transfer-Encoding: chunked") + chunks + b"\r\n0\r\nConnection: close\r\n\r\n"
        case.data += data + self.hidden() * self.random.randint(0, 2)
        case.expected.append(Expected(id, "POST", 200, body))

    def _split(self, case: Case) -> None:
        chance, size = self.random, len(case.data)
        kind = chance.choices(("whole", "few", "bytes", "slow"), (4, 4, 1, 1))[0]
        if size < 2 or kind == "whole":
            return
        if kind == "bytes":
            begin = chance.randrange(size)
            case.cuts = list(range(max(begin, 1), min(begin + 200, size)))
        else:
            case.cuts = sorted({chance.randrange(1, size) for _ in range(chance.randint(1, 8))})
        case.pause = 0.003 if kind == "slow" else 0.0


def _head_with(*lines: str) -> Bad:
    """A request whose head is no good, with something hidden behind it."""
    return lambda make, hidden: make.head(make.new_id(FORBIDDEN), *lines) + hidden


def _sized(*lines: str) -> Bad:
    """As `_head_with`; `{size}` is the length of what is hidden."""
    return lambda make, hidden: (
        make.head(make.new_id(FORBIDDEN), *(line.format(size=len(hidden)) for line in lines)) + hidden
    )


def _chunks(chunks: bytes) -> Bad:
    """A good head, and a body in chunks that are none."""
    return lambda make, hidden: (
        make.head(make.new_id(FORBIDDEN), "Transfer-Encoding: chunked") + chunks.replace(b"HIDDEN", hidden) + hidden
    )


def _start(line: str) -> Bad:
    return lambda make, hidden: make.head(make.new_id(FORBIDDEN), "Content-Length: 0", start=line) + hidden


def _instead(old: bytes, new: bytes) -> Bad:
    return lambda make, hidden: make.predict(make.new_id(FORBIDDEN), b"1").replace(old, new, 1) + hidden


BAD: dict[str, Bad] = {
    "length and chunks": _head_with("Content-Length: 5", "Transfer-Encoding: chunked", "\r\n0"),
    "chunks and length": _sized("Transfer-Encoding: chunked", "Content-Length: {size}"),
    "length twice": _sized("Content-Length: {size}", "Content-Length: {size}"),
    "two lengths": _sized("Content-Length: 0", "Content-Length: {size}"),
    "list of lengths": _sized("Content-Length: {size}, {size}"),
    "length with plus": _sized("Content-Length: +{size}"),
    "length in hex": _head_with("Content-Length: 0x10"),
    "negative length": _head_with("Content-Length: -1"),
    "no length": _head_with("Content-Length: "),
    "length with a letter": _head_with("Content-Length: 1a"),
    "length beyond numbers": _head_with("Content-Length: 99999999999999999999999"),
    "length folded": _head_with("Content-Length:\r\n 5"),
    "unknown encoding": _head_with("Transfer-Encoding: xchunked"),
    "identity": _head_with("Transfer-Encoding: identity"),
    "chunked, then identity": _head_with("Transfer-Encoding: chunked, identity"),
    "gzip, then chunked": _head_with("Transfer-Encoding: gzip, chunked"),
    "chunked twice": _head_with("Transfer-Encoding: chunked, chunked"),
    "two encodings": _head_with("Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
    "two chunked": _head_with("Transfer-Encoding: chunked", "transfer-encoding: chunked"),
    "quoted encoding": _head_with('Transfer-Encoding: "chunked"'),
    "encoding behind a tab of another kind": _head_with("Transfer-Encoding: \x0bchunked"),
    "encoding with nul": _head_with("Transfer-Encoding: chunked\x00"),
    "encoding before a space and a colon": _head_with("Transfer-Encoding : chunked"),
    "encoding folded": _head_with("Transfer-Encoding:\r\n chunked"),
    "folded": _head_with("X-A: b\r\n c"),
    "space in front": _instead(b"\r\nAuth", b"\r\n Auth"),
    "no colon": _head_with("nothing"),
    "no name": _head_with(": nothing"),
    "a bracket in a name": _head_with("X(A: b"),
    "nul": _head_with("X-A: b\x00c"),
    "bare line feed": _instead(b"\r\n", b"\n"),
    "bare line feed later": _instead(b"Bearer", b"Bearer\n"),
    "bare carriage return": _head_with("X-A: b\rX-C: d"),
    "no host": lambda make, hidden: b"POST %s HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % PATH.encode() + hidden,
    "two hosts": _head_with("Host: y"),
    "two types": _head_with("Content-Type: application/json", "Content-Type: text/plain"),
    "a long header": _head_with("X-A: " + "b" * 70_000),
    "a longer header": lambda make, hidden: (
        make.head(make.new_id(FORBIDDEN))[:-2] + b"X-A: " + b"b" * 400_000 + b"\r\n\r\n" + hidden
    ),
    "many headers": _head_with(*(f"X-{n}: y" for n in range(150))),
    "a long path": _start(f"POST {PATH}?{'x' * 70_000} HTTP/1.1"),
    "a path that is none": _start("POST /caf\xe9 HTTP/1.1"),
    "no path": _start("POST http://x HTTP/1.1"),
    "two spaces too many": _start(f"POST {PATH} x HTTP/1.1"),
    "an unknown method": _start(f"SMUGGLE {PATH} HTTP/1.1"),
    "a method in lower case": _start(f"post {PATH} HTTP/1.1"),
    "HTTP 2": _start(f"POST {PATH} HTTP/2.0"),
    "HTTP 1.2": _start(f"POST {PATH} HTTP/1.2"),
    "HTTP 0.9": lambda make, hidden: b"GET /healthz\r\n\r\n" + hidden,
    "the preface of HTTP 2": lambda make, hidden: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
    "a tunnel": _start("CONNECT localhost:80 HTTP/1.1"),
    "a tunnel to a path": _start(f"CONNECT {PATH} HTTP/1.1"),
    "TLS": lambda make, hidden: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + make.random.randbytes(500) + hidden,
    "noise": lambda make, hidden: b"\x00" + make.random.randbytes(make.random.randint(1, 2000)) + hidden,
    "a chunk of 0x": _chunks(b"0x5\r\nHIDDEN"),
    "a chunk with plus": _chunks(b"+5\r\nHIDDEN"),
    "a negative chunk": _chunks(b"-1\r\nHIDDEN"),
    "a chunk without size": _chunks(b"\r\nHIDDEN"),
    "a chunk with a space": _chunks(b"5 \r\n12345\r\n0\r\n\r\n"),
    "a chunk beyond numbers": _chunks(b"fffffffffffffffff\r\nHIDDEN"),
    "a chunk that is longer": _chunks(b"3\r\n12345\r\n0\r\n\r\n"),
    "a chunk with a line feed": _chunks(b"5\n12345\n0\n\n"),
    "an extension with a line feed": _chunks(b"5;a\n12345\r\n0\r\n\r\n"),
    "an extension without end": _chunks(b"5;" + b"a" * ENDLESS),
    "a size without end": _chunks(b"0" * ENDLESS + b"5\r\n12345\r\n0\r\n\r\n"),
    "a length in a trailer": _chunks(b"1\r\n1\r\n0\r\nContent-Length: 500\r\n\r\n"),
    "chunks in a trailer": _chunks(b"1\r\n1\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "a trailer without end": _chunks(b"1\r\n1\r\n0\r\nX-A: " + b"b" * ENDLESS),
    "trailers without end": _chunks(b"1\r\n1\r\n0\r\n" + b"X-A: b\r\n" * 50_000),
}


def parse(data: bytes, methods: list[str]) -> tuple[list[Answer], bytes]:
    """The answers in what a connection said, and what is left over."""
    answers: list[Answer] = []
    while True:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            return answers, data
        first, *lines = head.split(b"\r\n")
        assert first.startswith(b"HTTP/1.1 "), first
        status = int(first.split(b" ")[1])
        if status == 100:
            data = rest
            continue
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        method = methods[len(answers)] if len(answers) < len(methods) else "POST"
        length = 0 if method == "HEAD" else int(headers[b"content-length"])
        if len(rest) < length:
            return answers, data
        id = headers.get(b"x-request-id")
        answers.append(Answer(status, id.decode() if id else None, rest[:length]))
        data = rest[length:]


async def play(case: Case, port: int) -> tuple[list[Answer], bytes]:
    """One connection: what came back, once everything did that must."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    methods = [expected.method for expected in case.expected]
    received = b""

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            for begin, end in zip([0, *case.cuts], [*case.cuts, len(case.data)], strict=True):
                writer.write(case.data[begin:end])
                await writer.drain()
                await asyncio.sleep(case.pause)
        if case.ends == "cut":
            _leave(case, writer, sock)

    sending = asyncio.create_task(send())
    try:
        while case.ends != "open" or len(parse(received, methods)[0]) < len(methods):
            try:
                part = await reader.read(1 << 20)
            except (ConnectionError, OSError):
                assert case.ends == "cut", "the connection was reset"
                break
            if not part:
                break
            received += part
        await sending
    finally:
        sending.cancel()
        writer.close()
    return parse(received, methods)


def _leave(case: Case, writer: asyncio.StreamWriter, sock: socket.socket) -> None:
    if case.leaves == "half-close" and writer.can_write_eof():
        with contextlib.suppress(OSError):
            writer.write_eof()
        return
    if case.leaves == "reset":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort() if case.leaves == "reset" else writer.close()


def judge(case: Case, answers: list[Answer], left_over: bytes) -> None:
    for expected, answer in zip(case.expected, answers, strict=False):
        assert answer.id == expected.id, f"expected the answer to {expected}, got {answer}"
        assert answer.status == expected.status, f"expected {expected}, got {answer}"
        assert expected.body is None or answer.body == expected.body, f"expected {expected}, got {answer}"
    if case.ends == "cut":
        assert len(answers) <= len(case.expected) + 1
        return
    assert not left_over, f"half an answer: {left_over[:200]!r}"
    assert len(answers) >= len(case.expected), f"{len(case.expected) - len(answers)} answers are missing"
    further = answers[len(case.expected) :]
    assert len(further) <= (case.ends == "refused"), f"answers that nobody asked for: {further}"
    assert all(answer.status >= 400 for answer in further), further


@pytest.fixture
def gateway(settings: Settings, tmp_path: Path) -> Iterator[tuple[int, int, Path]]:
    """`tenfold gateway` in a process of its own: its port, its process id, its log."""
    port, log = free_port(), tmp_path / "gateway.log"
    environment = os.environ | settings.as_environment() | {"TENFOLD_GATEWAY_PORT": str(port)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tenfold_platform", "gateway"], env=environment, stdout=file, stderr=file
        )
    wait_for(lambda: _is_up(port))
    yield port, process.pid, log
    alive = process.poll() is None
    process.kill()
    process.wait()
    assert alive, log.read_text()


@pytest.mark.slow
def test_every_good_request_gets_its_own_answer_whatever_surrounds_it(
    gateway, world, workspace, key, make_worker
) -> None:
    port, pid, log = gateway
    worker = make_worker()
    world.served(workspace, worker, runtime={"predict_concurrency": 64})
    wait_for(lambda: httpx.post(f"http://127.0.0.1:{port}{PATH}", json=1, headers=bearer(key)).status_code == 200)
    sys.stdout.write(f"TENFOLD_FUZZ_SEED={SEED} TENFOLD_FUZZ_CASES={CASES}\n")
    maker, wanted = Maker(SEED, key), Counter[str]()
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))

    async def one(turns: asyncio.Semaphore) -> None:
        async with turns:
            case = maker.case()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    answers, left_over = await play(case, port)
                judge(case, answers, left_over)
            except (AssertionError, TimeoutError) as error:
                told = f"seed {SEED}, {case.ends} {case.leaves}: {case.story}, cut at {case.cuts}\n{case.data[:3000]!r}"
                raise AssertionError(f"{error or 'no answer in time'}\n{told}") from error
            if case.ends != "cut":
                wanted.update(one.id for one in case.expected if one.status == 200 and one.method == "POST")

    async def run(count: int) -> None:
        turns = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(one(turns))

    asyncio.run(run(CASES // 4))
    before = rss_bytes(pid)
    asyncio.run(run(CASES - CASES // 4))
    grown = rss_bytes(pid) - before

    seen = Counter(header["request_id"] for header, _ in worker.requests if header["op"] == "predict")
    assert [id for id in seen if id.startswith(FORBIDDEN)] == []
    assert [id for id, times in seen.items() if times > 1] == []
    assert wanted.keys() - seen.keys() == set()
    assert [line for line in log.read_text().splitlines() if any(fault in line for fault in FAULTS)] == []
    kept = AT_ONCE + 8  # idle connections to the worker
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= descriptors + kept)
    assert grown < GROWTH_BYTES, f"{CASES} connections made the gateway {grown / 2**20:.1f} MiB larger"


class TestConnection:
    """What the above has found, one by one."""

    def test_a_body_after_a_wish_for_another_protocol_is_no_request(self, serve, served, key) -> None:
        running = serve()
        maker = Maker(0, key)
        hidden = maker.hidden()
        wish = maker.predict("wanted-1", hidden, "Connection: Upgrade", "Upgrade: h2c").removesuffix(hidden)
        with running.raw() as connection:
            connection.sendall(wish)
            running.wait_for(lambda gateway: gateway.pool is not None)
            connection.sendall(hidden + maker.predict("wanted-2", b"2"))
            answers = read_answers(connection, 2)
        assert [(one.id, one.body) for one in answers] == [("wanted-1", hidden), ("wanted-2", b"2")]

    def test_a_long_body_behind_half_a_head_is_no_long_head(self, serve, served, key) -> None:
        body = b'"' + b"x" * 500_000 + b'"'
        request = Maker(0, key).predict("wanted-1", body)
        running = serve()
        with running.raw() as connection:
            connection.sendall(request[:30])
            running.wait_for(lambda _: any(one._header_bytes for one in running.server.server_state.connections))
            connection.sendall(request[30:])
            (answer,) = read_answers(connection, 1)
        assert (answer.status, answer.body) == (200, body)

    def test_a_trailer_is_no_header(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker()
        world.served(workspace, worker)
        head = Maker(0, key).head("wanted-1", "Transfer-Encoding: chunked")
        with serve().raw() as connection:
            connection.sendall(head + b"1\r\n1\r\n0\r\nAuthorization: Bearer x\r\nX-Request-Id: trailer-1\r\n\r\n")
            (answer,) = read_answers(connection, 1)
        assert (answer.status, answer.id) == (200, "wanted-1")

    @pytest.mark.parametrize(
        "what", ["GET /caf\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n b", "x" * 99_999]
    )
    def test_what_follows_a_request_that_takes_long_does_not_take_its_answer(
        self, serve, world, workspace, key, make_worker, what: str
    ) -> None:
        worker = make_worker(hold_then_echo)
        world.served(workspace, worker)
        running = serve()
        with running.raw() as connection:
            connection.sendall(Maker(0, key).predict("wanted-1", b"1"))
            running.wait_for(lambda _: worker.requests)
            connection.sendall(what.encode("latin-1"))
            worker.hold.set()
            (answer,) = read_answers(connection, 1)
            assert rest_of(connection) == b""
        assert (answer.status, answer.id) == (200, "wanted-1")

    def test_half_a_request_does_not_hurry_the_one_before(
        self, serve, world, workspace, key, make_worker, monkeypatch
    ) -> None:
        monkeypatch.setattr(BoundedProtocol, "header_seconds", 0.1)
        worker = make_worker(hold_then_echo)
        world.served(workspace, worker)
        running = serve()
        maker = Maker(0, key)
        with running.raw() as connection:
            connection.sendall(maker.predict("wanted-1", b"1") + maker.predict("wanted-2", b"2")[:50])
            running.wait_for(lambda _: worker.requests)
            time.sleep(0.5)  # more than a head may take
            worker.hold.set()
            (answer,) = read_answers(connection, 1)
            assert rest_of(connection).startswith(b"HTTP/1.1 408")
        assert (answer.status, answer.id) == (200, "wanted-1")

    def test_a_body_that_cannot_be_read_does_not_take_the_answer_before(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        worker = make_worker(hold_then_echo)
        world.served(workspace, worker)
        running = serve()
        maker = Maker(0, key)
        with running.raw() as connection:
            connection.sendall(maker.predict("wanted-1", b"1"))
            running.wait_for(lambda _: worker.requests)
            connection.sendall(maker.head("wanted-2", "Transfer-Encoding: chunked") + b"zz\r\n")
            worker.hold.set()
            answers = read_answers(connection, 2)
            assert rest_of(connection) == b""
        assert [(one.status, one.id) for one in answers] == [(200, "wanted-1"), (400, None)]
        assert len(worker.requests) == 1

    def test_a_second_request_may_take_its_time_to_send_its_body(self, serve, served, key, monkeypatch) -> None:
        monkeypatch.setattr(server, "UNREAD_BODY_SECONDS", 0.1)
        maker = Maker(0, key)
        with serve().raw() as connection:
            second = maker.predict("wanted-2", b"22")
            connection.sendall(maker.predict("wanted-1", b"1") + second[:-1])
            read_answers(connection, 1)
            time.sleep(0.5)  # more than an unread body may take
            connection.sendall(second[-1:])
            (answer,) = read_answers(connection, 1)
        assert (answer.status, answer.id) == (200, "wanted-2")

    @pytest.mark.parametrize("late", [b"\r\n", b"body"])
    def test_a_connection_that_asks_nothing_more_ends(self, serve, served, key, monkeypatch, late: bytes) -> None:
        """A line end, or the rest of a body whose request has its answer, begins no wait without end."""
        monkeypatch.setattr(BoundedProtocol, "header_seconds", 0.3)
        monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 1)
        lines = ("Content-Length: 4",) if late == b"body" else ()
        with serve().raw() as connection:
            connection.sendall(Maker(0, key).head("wanted-1", *lines, start="GET /healthz HTTP/1.1"))
            read_answers(connection, 1)
            connection.sendall(late)
            connection.settimeout(20)
            rest_of(connection)

    def test_an_answer_is_not_lost_behind_what_is_still_being_sent(self, serve, served, key) -> None:
        """To close a connection with data unread resets it, and takes the answers back."""
        with serve().raw() as connection:
            sender = threading.Thread(target=_send_all, args=(connection, b"\x00" * 3_000_000))
            connection.sendall(Maker(0, key).predict("wanted-1", b"1"))
            sender.start()
            time.sleep(0.2)
            answers, _ = parse(rest_of(connection), ["POST"])
            sender.join()
        assert answers[0].status == 200

    def test_an_old_client_is_not_told_to_go_on(self, serve, served, key) -> None:
        old = Maker(0, key).predict("wanted-1", b"1", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        with serve().raw() as connection:
            connection.sendall(old)
            assert rest_of(connection).startswith(b"HTTP/1.1 200")

    def test_who_waits_to_be_told_to_go_on_and_is_not_starts_anew(self, serve, served, key) -> None:
        """The body may come, or not: what came next could be either."""
        hidden = Maker(0, key).hidden()
        head = Maker(0, "nobody").head("wanted-1", f"Content-Length: {len(hidden)}", "Expect: 100-continue")
        with serve().raw() as connection:
            connection.sendall(head)
            (answer,) = read_answers(connection, 1)
            connection.sendall(hidden)
            assert rest_of(connection) == b""
        assert answer.status == 401


@pytest.fixture
def served(world, workspace, make_worker) -> Any:
    return world.served(workspace, make_worker())


def hold_then_echo(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    worker.hold.wait(PATIENCE_SECONDS)
    reply.ok(payload)


def read_answers(connection: socket.socket, count: int) -> list[Answer]:
    """The next so many answers. Nothing may come behind them."""
    data = b""
    while True:
        answers, left_over = parse(data, [])
        if len(answers) >= count:
            assert (len(answers), left_over) == (count, b"")
            return answers
        part = connection.recv(65536)
        assert part, f"the connection ended after {data!r}"
        data += part


def rest_of(connection: socket.socket) -> bytes:
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


def _send_all(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
