"""A package that brings its own server (`docker_server`): the worker starts it as a process, and passes calls on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Awaitable, Callable, Deque, Dict, Mapping, Optional

from tenfold_runtime import build, http_client, msgpack, places, socket_client, streams
from tenfold_runtime.answers import BYTES, Answer, Closed, Output
from tenfold_runtime.channels import Channel
from tenfold_runtime.faults import Fault, load_failed
from tenfold_runtime.frames import Frame
from tenfold_runtime.methods import OPENAI_METHODS
from tenfold_runtime.package import enter, read_config
from tenfold_runtime.requests import Call
from tenfold_runtime.threads import Threads

_POLL_SECONDS = 0.1
_PROBE_SECONDS = 5.0
_HEALTH_CHECK_SECONDS = 0.4
_FAREWELL_SECONDS = 2.0
_LAST_LINES = 20
_PATHS = {
    "chat_completions": "/v1/chat/completions",
    **{name: f"/v1/{name}" for name in OPENAI_METHODS if name != "chat_completions"},
}


class ServerHost:
    """Runs the package's server and answers for it. Lives on the worker's event loop."""

    kind = "model"
    reads_requests = True
    places = None

    def __init__(self, root: Path, secrets_folder: Optional[Path], loop: asyncio.AbstractEventLoop) -> None:
        self._root = root
        self._secrets_folder = secrets_folder
        self._loop = loop
        self._threads = Threads(loop, limit=1)
        self._settings: Mapping[str, Any] = {}
        self._places = 1
        self._port = 0
        self._server: Optional[subprocess.Popen[bytes]] = None
        self._last: Deque[str] = deque(maxlen=_LAST_LINES)
        self._failure: Optional[Fault] = None
        self._ready = False
        self._closing = False
        self._occupied = 0
        self._since = time.time()
        self._load_seconds: Optional[float] = None
        self._loading = loop.create_task(self._load())
        self._health_check: Optional["asyncio.Task[None]"] = None
        self._healthy = True

    def submit(self, *_: object) -> None:
        """Putting calls together is its server's own business."""

    async def loaded(self) -> None:
        await asyncio.wait([self._loading])

    async def health(self) -> Dict[str, Any]:
        state = "failed" if self._failure is not None else "ready" if self._ready else "loading"
        fields: Dict[str, Any] = {"state": state, "since": self._since}
        if self._load_seconds is not None:
            fields["load_seconds"] = round(self._load_seconds, 6)
        if self._failure is not None:
            fields["error"] = self._failure.to_json()
        if self._ready:
            fields.update(
                places=self._places, occupied=self._occupied, methods=["predict", *OPENAI_METHODS, "websocket"]
            )
            fields["healthy"] = await self._ask_server()
        return fields

    def operations(self) -> Mapping[str, Callable[[Frame, Output], Awaitable[Answer]]]:
        return {
            "predict": self.predict,
            "method": self.method,
            "websocket": self.websocket,
            "schema": self.schema,
            "metrics": self.metrics,
        }

    async def predict(self, frame: Frame, output: Output) -> Answer:
        return await self._passed_on(frame, output, str(self._settings.get("predict_endpoint")))

    async def method(self, frame: Frame, output: Output) -> Answer:
        path = _PATHS.get(str(frame.header.get("method")))
        if path is None:
            known = ", ".join(OPENAI_METHODS)
            raise Fault("no_such_method", f"The method is one of {known}.", status=404, source="input")
        return await self._passed_on(frame, output, path)

    async def websocket(self, frame: Frame, output: Output) -> Answer:
        """Passes messages on both ways until either side ends it."""
        self._check_ready()
        channel, call = output.channel, Call(frame.header, frame.payload)
        assert channel is not None
        query = str(call.http.get("query") or "")
        path = str(self._settings["predict_endpoint"])
        try:
            socket_ = await socket_client.connect(self._port, f"{path}?{query}" if query else path, _given(call))
        except socket_client.Refused as refused:
            raise Fault("http", refused.text, status=refused.status, source="input", detail=refused.text) from None
        except (OSError, http_client.BadReply) as error:
            raise _unreachable(error) from None
        protocol = socket_.headers.get("sec-websocket-protocol")
        try:
            await channel.send({"ws": "accept", **({"subprotocol": protocol} if protocol else {})})
            return await _relayed(channel, socket_)
        finally:
            socket_.close(1001, "")

    async def schema(self, *_: object) -> Answer:
        self._check_ready()
        return Answer.of({"inputs": None, "outputs": None, "truss": None})

    async def metrics(self, *_: object) -> Answer:
        self._check_ready()
        try:
            reply = await http_client.request(self._port, "GET", "/metrics")
        except (OSError, http_client.BadReply) as error:
            raise _unreachable(error) from None
        with contextlib.closing(reply):
            body = await reply.body()
            content_type = reply.headers.get("content-type", "text/plain")
            return Answer(body if reply.status == 200 else b"", content_type)

    def close(self) -> None:
        """Ends the server with everything that it has started."""
        self._closing = True
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)

    # Starting

    async def _load(self) -> None:
        started = time.perf_counter()
        try:
            command = await self._threads.run(self._prepare)
            self._start(command)
            while not await self._answers():
                self._check_running()
                await asyncio.sleep(_POLL_SECONDS)
        except asyncio.CancelledError:
            raise
        except Fault as fault:
            self._failure = fault.again()
            self.close()
        except Exception as error:
            self._failure = load_failed(f"The package's server could not be started: {error}")
            self.close()
        else:
            self._ready = True
        self._since = time.time()
        self._load_seconds = time.perf_counter() - started

    def _prepare(self) -> str:
        config = read_config(self._root)
        self._settings = config["docker_server"]
        self._places = max(1, int(config["runtime"]["predict_concurrency"]))
        enter(self._root, config)
        build.run_once(self._root, config)
        places.prepare(self._root, config, self._secrets_folder)
        command = self._settings.get("start_command")
        if not command:
            raise load_failed(
                "The package says no start_command: it runs its image as it is, which needs a container.",
                hint="Put the server's code into the package, and its command under docker_server.",
            )
        wanted = int(self._settings["server_port"])
        command, self._port = _with_free_port(places.in_package(str(command), self._root, config), wanted)
        return command

    def _start(self, command: str) -> None:
        streams.report(f"[server] {command}")
        self._server = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=self._root,
            env={**os.environ, "PORT": str(self._port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._copy_output, args=(self._server,), name="tenfold-server", daemon=True).start()

    def _copy_output(self, server: "subprocess.Popen[bytes]") -> None:
        assert server.stdout is not None
        for line in server.stdout:
            text = line.decode("utf-8", "replace").rstrip("\n")
            self._last.append(text)
            streams.report(text)
        code = server.wait()
        if self._ready and not self._closing:
            streams.report(f"[server] it ended with exit code {code}, and the worker with it")
            asyncio.run_coroutine_threadsafe(self._give_up(), self._loop)

    async def _give_up(self) -> None:
        """Ends the worker, so that whoever watches over it starts both again.

        Who waits for an answer is told first.
        """
        self._failure = load_failed("The package's server has ended.", hint="Its log may say why.")
        for _ in range(round(_FAREWELL_SECONDS / _POLL_SECONDS)):
            await asyncio.sleep(_POLL_SECONDS)
            if self._occupied == 0:
                break
        await asyncio.sleep(_POLL_SECONDS)  # for what is still on its way to the callers
        os._exit(1)

    def _check_running(self) -> None:
        code = self._server.poll() if self._server is not None else None
        if code is None:
            return
        shown = "\n".join(self._last) or "(it printed nothing)"
        raise load_failed(
            f"The package's server ended with exit code {code} before it was ready. Its last output:\n{shown}",
            hint="Its command runs in the package's folder, in the model's environment, not in an image.",
        )

    async def _ask_server(self) -> bool:
        """What the server says of its health, or said last when it takes long to say it."""
        if self._health_check is None or self._health_check.done():
            self._health_check = asyncio.ensure_future(self._check_health())
        await asyncio.wait([self._health_check], timeout=_HEALTH_CHECK_SECONDS)
        return self._healthy

    async def _check_health(self) -> None:
        self._healthy = await self._answers()

    async def _answers(self) -> bool:
        try:
            return await asyncio.wait_for(self._probe(), _PROBE_SECONDS)
        except (OSError, asyncio.TimeoutError, http_client.BadReply):
            return False

    async def _probe(self) -> bool:
        reply = await http_client.request(self._port, "GET", str(self._settings["readiness_endpoint"]))
        reply.close()
        return 200 <= reply.status < 300

    # Passing on

    def _check_ready(self) -> None:
        if self._failure is not None:
            raise self._failure.again()
        if not self._ready:
            raise Fault("not_ready", "The server is still starting.", status=503, hint="Try again in a moment.")

    async def _passed_on(self, frame: Frame, output: Output, path: str) -> Answer:
        self._check_ready()
        call = Call(frame.header, frame.payload)
        query = str(call.http.get("query") or "")
        method = str(call.http.get("method") or "POST")
        target = f"{path}?{query}" if query else path
        self._occupied += 1
        try:
            reply = await http_client.request(self._port, method, target, _headers(call), call.payload)
            with contextlib.closing(reply):
                return await _answer(reply, output)
        except (OSError, http_client.BadReply) as error:
            raise _unreachable(error) from None
        finally:
            self._occupied -= 1


def has_own_server(root: Path) -> bool:
    """Whether a package brings a server. What is wrong with its configuration is said when it is loaded."""
    try:
        return bool(read_config(root)["docker_server"])
    except Exception:
        return False


async def _answer(reply: http_client.Reply, output: Output) -> Answer:
    head = Answer(content_type=reply.headers.get("content-type", BYTES), status=reply.status, headers=reply.passed_on())
    if not reply.is_stream:
        return Answer(await reply.body(), head.content_type, status=head.status, headers=head.headers)
    async for part in reply.parts():
        await output.send_raw(part, head)
    return head


async def _relayed(channel: Channel, socket_: socket_client.Socket) -> Answer:
    speaking = asyncio.ensure_future(_to_server(channel, socket_))
    listening = asyncio.ensure_future(_to_caller(channel, socket_))
    try:
        await asyncio.wait({speaking, listening}, return_when=asyncio.FIRST_COMPLETED)
        return listening.result() if listening.done() else Closed(code=1000)
    except (OSError, http_client.BadReply) as error:
        streams.report(f"[server] a websocket broke: {error}")
        return Closed(code=1011, reason="The package's server failed.")
    finally:
        for task in (speaking, listening):
            task.cancel()
        await asyncio.gather(speaking, listening, return_exceptions=True)


async def _to_server(channel: Channel, socket_: socket_client.Socket) -> None:
    """Until the caller leaves, which is told to the server."""
    while True:
        message = await channel.receive()
        if message["type"] == "websocket.disconnect":
            socket_.close(int(message["code"]), str(message["reason"]))
            return
        text = message.get("text")
        if text is not None:
            await socket_.send(socket_client.TEXT, text.encode("utf-8"))
        else:
            await socket_.send(socket_client.BINARY, message["bytes"])


async def _to_caller(channel: Channel, socket_: socket_client.Socket) -> Answer:
    """Until the server closes."""
    while True:
        try:
            kind, message = await socket_.receive()
        except socket_client.Ended as ended:
            return Closed(code=1000 if ended.code == 1005 else ended.code, reason=ended.reason)
        await channel.send({"ws": "text" if kind == socket_client.TEXT else "bytes"}, message)


def _given(call: Call) -> "list[tuple[str, str]]":
    return [(str(name).lower(), str(value)) for name, value in call.http.get("headers") or ()]


def _headers(call: Call) -> "list[tuple[str, str]]":
    given = _given(call)
    content_type = BYTES if call.content_type.startswith(msgpack.CONTENT_TYPE) else call.content_type
    kept = [(name, value) for name, value in given if name not in ("content-type", "accept")]
    accept = [("accept", BYTES if call.wants_binary else call.accept)] if call.accept else []
    return [*kept, ("content-type", content_type), *accept]


def _with_free_port(command: str, wanted: int) -> "tuple[str, int]":
    """The command and the port it will listen on.

    Replicas of one model share this machine's ports: a command that names its port gets a free one instead. A server
    whose code fixes the port can run once.
    """
    pattern = re.compile(rf"(?<![\w.]){wanted}(?![\w.])")
    with socket.socket() as probe:
        if pattern.search(command) or re.search(r"\$\{?PORT\b", command):
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            return pattern.sub(str(port), command), port
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise load_failed(
                f"Port {wanted} is in use on this machine.",
                hint="Name the port in start_command (such as `--port 8000`, or `--port $PORT`): each replica then "
                "gets one of its own.",
            ) from None
    return command, wanted


def _unreachable(error: Exception) -> Fault:
    return Fault(
        "user_error", f"The package's server did not answer: {error}.", source="user", hint="Its log may say why."
    )
