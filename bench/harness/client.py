"""The client, in a process of its own: raw sockets, keep-alive, no HTTP library to measure.

`Client.ask` sends the same request on so many connections for so many seconds, each again as soon as its answer is
there. The process reads one order per line and answers one line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Call:
    """One request: a POST with a body that lies in a file."""

    url: str
    body: Path
    headers: dict[str, str] = field(default_factory=dict)

    def request(self) -> bytes:
        address, body = urlsplit(self.url), self.body.read_bytes()
        lines = [f"POST {address.path} HTTP/1.1", f"Host: {address.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()] + [f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass(frozen=True)
class Result:
    """What some callers saw. Times in milliseconds; `requests` are those with a good answer."""

    p50: float
    p99: float
    rps: float
    requests: int
    errors: int


class Client:
    """The process. To be used as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)

    def ask(self, call: Call, callers: int, seconds: float) -> Result:
        """Blocks until all answers are there, or `PATIENCE_SECONDS` later."""
        assert self._process.stdin
        assert self._process.stdout
        order = asdict(call) | {"body": str(call.body), "callers": callers, "seconds": seconds}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Result(**json.loads(self._process.stdout.readline()))


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, until: float) -> None:
        self.request, self.until = request, until
        self.times: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's class
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        if self.began >= self.until:
            self.transport.close()
            return
        self.is_waiting = True
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or not is_whole(head, body):
            return
        if head.startswith(b"HTTP/1.1 200"):
            self.times.append(time.perf_counter() - self.began)
        else:
            self.errors += 1
        self.buffer = b""
        self.is_waiting = False
        self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.errors += self.is_waiting
        if not self.done.done():
            self.done.set_result(None)


def is_whole(head: bytes, body: bytes) -> bool:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n")  # chunked: no answer measured here has these bytes inside


async def call(request: bytes, host: str, port: int, callers: int, seconds: float) -> Result:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    all_callers = [Caller(request, began + seconds) for _ in range(callers)]
    connected = []
    for caller in all_callers:
        try:
            await loop.create_connection(lambda caller=caller: caller, host, port)  # type: ignore[misc]
            connected.append(caller)
        except OSError:
            caller.errors += 1
    if connected:
        await asyncio.wait([caller.done for caller in connected], timeout=seconds + PATIENCE_SECONDS)
    took = time.perf_counter() - began
    for caller in connected:
        caller.transport.abort()
    errors = sum(caller.errors + (not caller.done.done()) for caller in all_callers if caller in connected)
    errors += callers - len(connected)
    return summary([value for caller in all_callers for value in caller.times], took, errors)


def summary(times: list[float], seconds: float, errors: int) -> Result:
    times.sort()
    if not times:
        return Result(float("nan"), float("nan"), 0.0, 0, errors)
    return Result(
        p50=times[len(times) // 2] * 1000,
        p99=times[min(len(times) - 1, int(len(times) * 0.99))] * 1000,
        rps=len(times) / seconds,
        requests=len(times),
        errors=errors,
    )


def main() -> None:
    import uvloop

    gc.disable()  # nothing here makes cycles that matter, and a pause would be taken for the server's
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        request = Call(order["url"], Path(order["body"]), order["headers"]).request()
        address = urlsplit(order["url"])
        asking = call(request, address.hostname or "", address.port or 80, order["callers"], order["seconds"])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(asking)
        print(json.dumps(asdict(result)), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
