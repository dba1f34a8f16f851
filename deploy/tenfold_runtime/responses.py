"""Response objects of the environment's own starlette (FastAPI's are the same): their status, headers and body."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Dict, Optional

from tenfold_runtime.answers import BYTES, Answer, Output, header_fields
from tenfold_runtime.requests import Call, Message
from tenfold_runtime.threads import keep

_NOT_PASSED_ON = ("content-type", "content-length", "transfer-encoding", "connection")


def is_response(value: Any) -> bool:
    """Whether user code returned a response of starlette's instead of a value."""
    module = sys.modules.get("starlette.responses")
    kind = getattr(module, "Response", None)
    return kind is not None and isinstance(value, kind)


async def respond(response: Any, call: Call, output: Output) -> Answer:
    """Runs a response as a server would: its body is the answer, or the parts of a stream.

    What it has to do afterwards (`background`) goes on after the answer.
    """
    head = Answer()
    body = b""
    streaming = False

    async def send(message: Message) -> None:
        nonlocal head, body, streaming
        if message["type"] == "http.response.start":
            head = _head(message)
        elif message["type"] == "http.response.body":
            data = bytes(message.get("body") or b"")
            streaming = streaming or bool(message.get("more_body"))
            if streaming:
                await output.send_raw(data, head)
            else:
                body = data

    background: Optional[Any] = getattr(response, "background", None)
    if background is not None:
        response.background = None
    await response(call.scope(), call.receive, send)
    if background is not None:
        keep(asyncio.ensure_future(background()))
    return head if streaming else Answer(body, head.content_type, status=head.status, headers=head.headers)


def _head(message: Message) -> Answer:
    headers: Dict[str, str] = header_fields(message.get("headers") or ())
    content_type = headers.get("content-type") or BYTES
    passed_on = {name: value for name, value in headers.items() if name not in _NOT_PASSED_ON}
    return Answer(b"", content_type, status=int(message["status"]), headers=passed_on)
