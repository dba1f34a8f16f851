"""A worker that serves several small models: those that a folder says, each at an address of its own.

The folder is written by whoever started the worker, which only reads it. Of each member it holds

- `<name>.json`  `{"number": 3, "root": "...", "listen": "unix:...", "digest": "...", "environment": {...}}`
- `<name>.stop`  when it is to have ended, once that is asked for: `{"until": 1700000000.5}`, in seconds since 1970

The worker makes itself true to the folder when it starts, when it is asked to `look` over its own address, and every
two seconds. Beside its own socket it writes `<number>.ended` when nothing of a member is left to wait for, and
`outdated` when it should get no more members: one has left code behind that still runs, or there have been none for a
while and it is about to end. Whoever adds a member looks for `outdated` after that, so that none is added in vain.
Lines that a member prints begin with `[[<number>]] ` in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import os
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional

from tenfold_runtime import imports, streams
from tenfold_runtime.answers import Answer, Output
from tenfold_runtime.batching import Entry, Reply
from tenfold_runtime.faults import trimmed_traceback
from tenfold_runtime.frames import Address, Frame, parse_address
from tenfold_runtime.model import ModelHost
from tenfold_runtime.server import Server, on_termination

_LOOK_SECONDS = 2.0
_IDLE_SECONDS = 60.0
_LEAVE_SECONDS = 2.0
_GRACE_SECONDS = 86400.0  # how long stopping may take is said when it is asked for


class Pack:
    """The host of the worker's own address, and the servers of its members."""

    kind = "pack"
    reads_requests = False
    places = None

    def __init__(self, folder: Path, address: Address, max_payload: int, told_imports: Optional[str]) -> None:
        self.max_payload = max_payload
        self.told_imports = told_imports
        self.run_folder = Path(address.path).parent
        self._folder = folder
        self._members: Dict[str, Member] = {}
        self._wake = asyncio.Event()
        self._busy_at = time.monotonic()
        self._server = Server(
            self, address, digest=None, max_payload=max_payload, grace_seconds=_GRACE_SECONDS, sharing=self.size
        )

    async def serve(self) -> None:
        """Runs until it is stopped, or has had no members for a while."""
        streams.show_logging(debug=False)
        loop = asyncio.get_running_loop()
        on_termination(loop, self._terminate)
        serving = loop.create_task(self._server.serve())
        while not self._server.stopping:
            self._follow_folder()
            self._end_if_idle()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)
            self._wake.clear()
        for member in self._members.values():
            member.stop(time.time() + _GRACE_SECONDS)
        await asyncio.gather(serving, *(member.over.wait() for member in self._members.values()))

    def size(self) -> int:
        """How many members there are that have not ended."""
        return sum(not member.over.is_set() for member in self._members.values())

    def become_outdated(self) -> None:
        _touch(self.run_folder / "outdated")

    # What its own server asks

    async def health(self) -> Dict[str, Any]:
        return {"state": "ready", "members": self.size()}

    async def loaded(self) -> None:
        return

    def operations(self) -> Mapping[str, Callable[[Frame, Output], Awaitable[Answer]]]:
        return {"look": self.look}

    async def look(self, *_: object) -> Answer:
        """The folder has changed."""
        self._wake.set()
        return Answer(b"", "text/plain")

    def submit(self, frame: Frame, reply: Reply) -> Optional[Entry]:  # noqa: ARG002 (as every host has it)
        return None

    def close(self) -> None:
        """Its own server has stopped: `serve` lets its members go."""
        self._wake.set()

    # What the folder says

    def _follow_folder(self) -> None:
        wanted = {path.stem: path for path in self._folder.glob("*.json")}
        for name, path in wanted.items():
            if name not in self._members:
                self._add(name, path)
        for name, member in list(self._members.items()):
            if name not in wanted:
                member.stop(0)
                if member.over.is_set():
                    del self._members[name]
            else:
                until = (_read(self._folder / f"{name}.stop") or {}).get("until")
                if until is not None:
                    member.stop(until)

    def _add(self, name: str, path: Path) -> None:
        told = _read(path)
        if told is not None:
            self._members[name] = Member(self, told)

    def _end_if_idle(self) -> None:
        now = time.monotonic()
        if self.size():
            self._busy_at = now
        elif now - self._busy_at > _IDLE_SECONDS:
            self.become_outdated()
            self._follow_folder()
            if not self.size():
                self._server.begin_stopping(0)
                self._wake.set()

    def _terminate(self) -> None:
        if self._server.stopping:
            for member in self._members.values():
                member.stop(0)
        self._server.terminate()
        self._wake.set()


class Member:
    """One model of the pack. Everything of it happens in a context in which it is known who prints."""

    def __init__(self, pack: Pack, told: Mapping[str, Any]) -> None:
        number = int(told["number"])
        self.over = asyncio.Event()
        self._pack = pack
        self._loop = asyncio.get_running_loop()
        self._module = f"tenfold_member_{number}"
        self._ended = pack.run_folder / f"{number}.ended"
        self._told = told
        self._server: Optional[Server] = None
        self._until: Optional[float] = None
        self._speaker = streams.Speaker(str(number))
        context = contextvars.copy_context()
        context.run(self._speaker.begin)
        self._task = context.run(self._loop.create_task, self._live())

    def stop(self, until: float) -> None:
        """Lets what is in flight finish until then, in seconds since 1970. An earlier time counts, a later one not."""
        if self._until is not None and self._until <= until:
            return
        is_first, self._until = self._until is None, until
        seconds = max(0.0, until - time.time())
        if self._server is None:  # before its first step, which looks at the time
            return
        if is_first:
            self._server.begin_stopping(seconds)
        else:
            self._loop.call_later(seconds, self._server.hurry)

    async def _live(self) -> None:
        try:
            if self._until is None:
                await self._serve()
        except Exception as error:
            streams.report(trimmed_traceback(error))
        self._speaker.end()
        self._server = None
        gc.collect()
        _touch(self._ended)
        self.over.set()
        await self._look_for_leftovers()

    async def _serve(self) -> None:
        told = self._told
        address = parse_address(told["listen"])
        host = ModelHost(Path(told["root"]), None, told.get("environment"), self._loop, self._module)
        try:
            self._server = Server(
                host,
                address,
                digest=told.get("digest"),
                max_payload=self._pack.max_payload,
                grace_seconds=_GRACE_SECONDS,
                sharing=self._pack.size,
            )
            telling = self._loop.create_task(self._tell_imports(host))
            await self._server.serve()
            telling.cancel()
        finally:
            host.close()

    async def _tell_imports(self, host: ModelHost) -> None:
        path = self._pack.told_imports
        await host.loaded()
        if path is not None and (await host.health())["state"] == "ready":
            imports.tell(path)

    async def _look_for_leftovers(self) -> None:
        """A thread of it that goes on is in the way of the others for good: it takes their turns, and its memory."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        while _is_running(self._module):
            if time.monotonic() > deadline:
                self._pack.become_outdated()
                return
            await asyncio.sleep(_LEAVE_SECONDS / 20)
        gc.collect()


def _is_running(module: str) -> bool:
    """Whether a function of a member's package is under way in a thread."""
    for top in sys._current_frames().values():
        frame: Optional[FrameType] = top
        while frame is not None:
            if str(frame.f_globals.get("__name__", "")).startswith(f"{module}."):
                return True
            frame = frame.f_back
    return False


def _read(path: Path) -> Optional[Dict[str, Any]]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
