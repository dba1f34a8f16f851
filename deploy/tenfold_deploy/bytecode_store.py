"""The store of bytecode: what one environment had compiled is there for all others with the same source texts.

A folder with a file per source text and kind of Python, named for the digest of both, beside the wheels in uv's cache.
What compiles (`bytecode.py`, in a sandbox) may read it; only this process writes to it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenfold_deploy import bytecode

FOLDER: Final = "tenfold-bytecode"
_KEPT_SECONDS: Final = 30 * 86400
_DAY_SECONDS: Final = 86400


@dataclass(frozen=True)
class BytecodeStore:
    """May be used by any number of threads and processes at a time. That its files are gone is no error."""

    folder: Path

    def receive(self, results: int, deadline: float) -> None:
        """Takes what is compiled from the descriptor `results` until its end, or until the time is over."""
        data = bytearray()
        for chunk in _chunks(results, deadline):
            data += chunk
            for key, code in bytecode.decoded(data):
                with contextlib.suppress(OSError):  # the next one compiles it again
                    self._put(key, code) if code else self._touch(key)

    def drop_unused(self) -> None:
        """Removes what no build needed for 30 days. Looks once a day."""
        looked = self.folder / "looked-through"
        now = time.time()
        with contextlib.suppress(OSError):
            if looked.exists() and looked.stat().st_mtime > now - _DAY_SECONDS:
                return
            looked.touch()
            for place in self.folder.glob("??/*"):
                with contextlib.suppress(FileNotFoundError):
                    if place.stat().st_mtime < now - _KEPT_SECONDS:
                        place.unlink()

    def _put(self, key: bytes, code: bytes) -> None:
        place = bytecode.entry_path(str(self.folder), key)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        partial = f"{place}.{os.getpid()}-{time.monotonic_ns()}"
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                file.write(bytecode.entry_of(code))
            os.replace(partial, place)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise

    def _touch(self, key: bytes) -> None:
        """An entry's time is when it was last of use, to the day."""
        place = bytecode.entry_path(str(self.folder), key)
        if os.stat(place).st_mtime < time.time() - _DAY_SECONDS:
            os.utime(place)


def open_store(cache: Path) -> BytecodeStore:
    """The store in uv's cache folder. Where there cannot be one, it stays empty."""
    store = BytecodeStore(cache.absolute() / FOLDER)
    with contextlib.suppress(OSError):
        store.folder.mkdir(parents=True, exist_ok=True)
    return store


def _chunks(descriptor: int, deadline: float) -> Iterator[bytes]:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                return
            yield chunk
