"""The messages of one websocket, on their way between the worker's loop and the one that user code runs on."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Callable, Deque, Dict, Optional, Tuple

from tenfold_runtime.frames import Frame
from tenfold_runtime.requests import Message, settle

_GONE = 1006
_MOST_UNREAD_BYTES = 16 * 1024 * 1024
_MOST_UNREAD_MESSAGES = 1024
_WAIT_SECONDS = 0.01


class Channel:
    """The two ways of one websocket, between the worker's loop and the one that user code runs on.

    `send(header fields, payload)` and `hold(stop reading)` may be called from any thread; `is_behind()` tells that
    the caller does not read what it is sent.
    """

    def __init__(
        self,
        send: Callable[[Dict[str, Any], bytes], None],
        hold: Callable[[bool], None],
        is_behind: Callable[[], bool],
    ) -> None:
        self._send = send
        self._hold = hold
        self._is_behind = is_behind
        self._unread: Deque[Message] = deque()
        self._bytes = 0
        self._ended: Optional[Message] = None
        self._holding = False
        self._lock = threading.Lock()
        self._waiting: Optional[Tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]] = None
        self.accepted = False

    # The worker's side

    def feed(self, frame: Frame) -> None:
        """A frame from the caller: a message, or the end."""
        kind = frame.header.get("ws")
        if kind == "close":
            code = frame.header.get("code")
            self.end(code if isinstance(code, int) else _GONE, str(frame.header.get("reason") or ""))
        elif kind == "text":
            self._put({"type": "websocket.receive", "text": frame.payload.decode("utf-8", "replace")}, frame.payload)
        else:
            self._put({"type": "websocket.receive", "bytes": frame.payload}, frame.payload)

    def end(self, code: int = _GONE, reason: str = "") -> None:
        """Nothing comes from the caller any more, and nothing reaches it."""
        with self._lock:
            if self._ended is None:
                self._ended = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._wake()

    @property
    def has_ended(self) -> bool:
        return self._ended is not None

    # The side of user code

    async def receive(self) -> Message:
        while True:
            with self._lock:
                if self._unread:
                    return self._take()
                if self._ended is not None:
                    return self._ended
                loop = asyncio.get_running_loop()
                future: "asyncio.Future[None]" = loop.create_future()
                self._waiting = (loop, future)
            await future

    async def send(self, fields: Dict[str, Any], payload: bytes = b"") -> None:
        while self._is_behind() and not self.has_ended:  # noqa: ASYNC110 (nothing tells when a buffer has room)
            await asyncio.sleep(_WAIT_SECONDS)
        if self.has_ended:
            raise OSError("the caller has closed the websocket")  # starlette makes WebSocketDisconnect of it
        self._send(fields, payload)

    def _put(self, message: Message, payload: bytes) -> None:
        with self._lock:
            if self._ended is not None:
                return
            self._unread.append(message)
            self._bytes += len(payload)
            if not self._holding and self._is_full(1):
                self._holding = True
                self._hold(True)
        self._wake()

    def _take(self) -> Message:
        message = self._unread.popleft()
        self._bytes -= len(message.get("bytes") or message.get("text", "").encode("utf-8"))
        if self._holding and not self._is_full(2):
            self._holding = False
            self._hold(False)
        return message

    def _is_full(self, parts: int) -> bool:
        return self._bytes > _MOST_UNREAD_BYTES // parts or len(self._unread) > _MOST_UNREAD_MESSAGES // parts

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            loop, future = waiting
            loop.call_soon_threadsafe(settle, future)
