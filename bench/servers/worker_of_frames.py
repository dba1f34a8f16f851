"""A worker that does nothing: answers every frame with the same few bytes. `python worker_of_frames.py SOCKET`"""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Any, cast

import orjson
import uvloop

LENGTHS = struct.Struct(">II")
ANSWER = b'{"predictions":[0],"probabilities":[[1.0,0.0]],"classes":[0,1]}'
OK = {"ok": True, "status": 200, "content_type": "application/json", "seconds": 0.0}
TOLD = {"places": 64, "reads_requests": False}  # with the first answer, as workers do that make batches
HEALTH = {"ok": True, "state": "ready", "kind": "model", "places": 64, "occupied": 0, "in_flight": 0, "protocol": 1}


class Worker(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = b""
        self.has_told = False

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        start = 0
        while len(self.buffer) - start >= 8:
            header, payload = LENGTHS.unpack_from(self.buffer, start)
            end = start + 8 + header + payload
            if len(self.buffer) < end:
                break
            self.answer(orjson.loads(self.buffer[start + 8 : start + 8 + header]))
            start = end
        self.buffer = self.buffer[start:]

    def answer(self, request: dict[str, Any]) -> None:
        if request["op"] == "cancel":
            return
        is_health = request["op"] == "health"
        told = HEALTH if is_health else OK if self.has_told else OK | TOLD
        self.has_told = self.has_told or not is_health
        head = orjson.dumps({"id": request["id"], **told})
        body = b"" if is_health else ANSWER
        self.transport.write(LENGTHS.pack(len(head), len(body)) + head + body)


async def main(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Worker, path)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
