"""An HTTP server that does nothing: answers every POST with the same few bytes. `python upstream_of_http.py SOCKET`"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop
from worker_of_frames import ANSWER

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
) + ANSWER  # fmt: skip


class Upstream(asyncio.Protocol):
    """One connection, with one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(body) >= int(head[at:].split(b"\r\n", 1)[0]):
            self.buffer = b""
            self.transport.write(RESPONSE)


async def main(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Upstream, path)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
