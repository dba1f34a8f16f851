"""The request as user code sees it: an object of the environment's own starlette where it has one, else a small
stand-in with the same names.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import threading
import types
import urllib.parse
from typing import Any, AsyncIterator, Dict, Iterator, List, Mapping, Optional, Tuple

from tenfold_runtime import msgpack
from tenfold_runtime.encoding import decode_body

Scope = Dict[str, Any]
Message = Dict[str, Any]

_DEFAULT_PATH = "/v1/models/model:predict"


class Call:
    """One call on its way through a model's methods: what came with it, and whether its caller is still there."""

    def __init__(self, header: Mapping[str, Any], payload: bytes) -> None:
        http = header.get("http")
        self.http: Mapping[str, Any] = http if isinstance(http, dict) else {}
        self.payload = payload
        self.content_type = str(header.get("content_type") or "application/json")
        self.accept = str(header.get("accept") or self.header("accept")).strip().lower()
        self._disconnected = False
        self._event: Optional[threading.Event] = None  # of those who watch it; most calls have none
        self._waiting: List[Tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]] = []
        self._lock = threading.Lock()
        self._request: Any = None

    def body(self) -> Any:
        """The body as user code gets it. Raises Fault `bad_input`."""
        if self.content_type.startswith(msgpack.CONTENT_TYPE):
            return msgpack.decode(self.payload)
        return decode_body(self.payload, self.content_type)

    def encode(self, result: Any) -> Any:  # noqa: ARG002 (protocols of their own look at it)
        """The answer, where the call has a protocol of its own; None: it is JSON or msgpack."""
        return None

    @property
    def size(self) -> int:
        """The most bytes that its body is once it is unpacked."""
        return len(self.payload)

    @property
    def takes_responses(self) -> bool:
        """Whether a response object of the model's is an answer to it."""
        return True

    @property
    def wants_binary(self) -> bool:
        return self.accept.startswith(msgpack.CONTENT_TYPE)

    @property
    def gathers(self) -> bool:
        """Whether a stream becomes one value: for those who accept JSON and nothing else.

        But not for OpenAI's clients, which say so and expect a stream.
        """
        return self.accept == "application/json" and "openai" not in self.header("user-agent").lower()

    @property
    def request(self) -> Any:
        """The caller's request, made when it is first asked for. Its body has been read already."""
        if self._request is None:
            self._request = _make_request(self)
        return self._request

    def header(self, name: str) -> str:
        return next((str(value) for key, value in self.http.get("headers") or () if str(key).lower() == name), "")

    def disconnect(self) -> None:
        """The caller has gone: `is_disconnected` says so from now on."""
        with self._lock:
            self._disconnected = True
            if self._event is not None:
                self._event.set()
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            with contextlib.suppress(RuntimeError):  # a loop of the user's own that has ended
                loop.call_soon_threadsafe(settle, future)

    @property
    def is_disconnected(self) -> bool:
        return self._disconnected

    @contextlib.contextmanager
    def watch_disconnect(self) -> Iterator[threading.Event]:
        """An event that is set when the caller goes. Truss gives it as `request.state.watch_disconnect`."""
        with self._lock:
            if self._event is None:
                self._event = threading.Event()
            if self._disconnected:
                self._event.set()
        yield self._event

    async def until_disconnected(self) -> None:
        loop = asyncio.get_running_loop()
        future: "asyncio.Future[None]" = loop.create_future()
        with self._lock:
            if self._disconnected:
                return
            self._waiting.append((loop, future))
        try:
            await future
        finally:
            with self._lock:
                if (loop, future) in self._waiting:
                    self._waiting.remove((loop, future))

    async def receive(self) -> Message:
        """What an ASGI server would tell next. The body has been handed over before."""
        await self.until_disconnected()
        return {"type": "http.disconnect"}

    def scope(self, kind: str = "http") -> Scope:
        headers = [(str(key).lower(), str(value)) for key, value in self.http.get("headers") or ()]
        if kind == "http" and not any(key == "content-type" for key, _ in headers):
            headers.append(("content-type", self.content_type))
        path = str(self.http.get("path") or _DEFAULT_PATH)
        scope: Scope = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws",
            "path": urllib.parse.unquote(path),
            "raw_path": _latin(path),
            "root_path": "",
            "query_string": _latin(str(self.http.get("query") or "")),
            "headers": [
                (key.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for key, value in headers
            ],
            "client": None,
            "server": ("model", 80),
            "state": {"watch_disconnect": self.watch_disconnect},
        }
        if kind == "http":
            scope["method"] = str(self.http.get("method") or "POST").upper()
        return scope


class Request:
    """The stand-in, for environments without starlette."""

    def __init__(self, call: Call) -> None:
        scope = call.scope()
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = Headers(scope["headers"])
        self.query_params: Dict[str, str] = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), True))
        self.state = types.SimpleNamespace(**scope["state"])
        self._call = call

    async def body(self) -> bytes:
        return self._call.payload

    async def json(self) -> Any:
        return json.loads(self._call.payload)

    async def stream(self) -> AsyncIterator[bytes]:
        yield self._call.payload

    async def is_disconnected(self) -> bool:
        return self._call.is_disconnected


class Headers(Mapping[str, str]):
    """Header fields by name, in any case."""

    def __init__(self, raw: List[Tuple[bytes, bytes]]) -> None:
        self._values = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def is_request_type(annotation: Any) -> bool:
    """Whether an annotation is starlette's Request (which is FastAPI's as well), or a class made from it."""
    if not isinstance(annotation, type):
        return False
    return any(kind.__name__ == "Request" and kind.__module__.startswith("starlette.") for kind in annotation.__mro__)


def starlette(module: str) -> Any:
    """A module of the environment's starlette, or None."""
    try:
        return importlib.import_module(f"starlette.{module}")
    except ImportError:
        return None


def _make_request(call: Call) -> Any:
    module = starlette("requests")
    if module is None:
        return Request(call)
    begun = False

    async def receive() -> Message:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "http.request", "body": call.payload, "more_body": False}
        return await call.receive()

    request = module.Request(call.scope(), receive)
    _run_to_its_end(request.body())  # which keeps it, so that user code may ask for it in any way, as often as it likes
    return request


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _run_to_its_end(coroutine: Any) -> None:
    """For a coroutine that waits for nothing."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
