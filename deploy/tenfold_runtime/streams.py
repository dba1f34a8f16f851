"""Standard output and error of user code.

Written through line by line, and kept per step where a step is being recorded.
"""

from __future__ import annotations

import contextlib
import contextvars
import faulthandler
import fcntl
import io
import logging
import os
import sys
import threading
from typing import Any, Dict, Iterator, List, Optional, TextIO

STEP_LOG_BYTES = 64 * 1024
_SAFE_DESCRIPTOR = 64

_LINE_CHARACTERS = 64 * 1024

_recording: "contextvars.ContextVar[Optional[StepLog]]" = contextvars.ContextVar("tenfold_step_log", default=None)
_speaker: "contextvars.ContextVar[Optional[Speaker]]" = contextvars.ContextVar("tenfold_speaker", default=None)


_own: List[TextIO] = []


class Speaker:
    """Who prints, where several models share a worker and its log: each of its lines begins with `[[name]] `."""

    def __init__(self, name: str) -> None:
        self._mark = f"[[{name}]] "
        self._begun: Dict[TextIO, str] = {}
        self._lock = threading.Lock()

    def begin(self) -> None:
        """From here on it is the one who prints in this context, and in tasks and threads that are started in it."""
        _speaker.set(self)

    def lines(self, stream: TextIO, text: str) -> str:
        """What can be written now: whole lines. The rest waits for its end, as others may print before that."""
        with self._lock:
            whole, newline, rest = (self._begun.pop(stream, "") + text).rpartition("\n")
            if len(rest) > _LINE_CHARACTERS:
                whole, newline, rest = whole + newline + rest, "\n", ""
            if rest:
                self._begun[stream] = rest
        return "".join(f"{self._mark}{line}\n" for line in whole.split("\n")) if newline else ""

    def end(self) -> None:
        """Writes what waits for the end of its line."""
        for stream in list(self._begun):
            stream.write("\n")


def fresh_context() -> contextvars.Context:
    """A context with nothing in it but who prints."""
    context = contextvars.Context()
    speaker = _speaker.get()
    if speaker is not None:
        context.run(speaker.begin)
    return context


class StepLog:
    """What one step printed: the first 64 KiB, and a note of how much more there was."""

    def __init__(self, limit: int = STEP_LOG_BYTES) -> None:
        self._limit = limit
        self._parts: List[str] = []
        self._kept = 0
        self._dropped = 0
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        size = len(text.encode("utf-8", "replace"))
        with self._lock:
            room = self._limit - self._kept
            if size <= room:
                self._parts.append(text)
                self._kept += size
                return
            kept = text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
            if kept:
                self._parts.append(kept)
            self._kept = self._limit
            self._dropped += size - room

    def text(self) -> str:
        with self._lock:
            text = "".join(self._parts)
            if not self._dropped:
                return text
            newline = "" if text.endswith("\n") else "\n"
            return f"{text}{newline}[{self._dropped} more bytes of output were not kept]\n"


@contextlib.contextmanager
def recorded(log: Optional[StepLog] = None) -> Iterator[StepLog]:
    """While this lasts, what the current thread or task prints is also kept in the log (a new one, or one to go on
    with).
    """
    log = log or StepLog()
    token = _recording.set(log)
    try:
        yield log
    finally:
        _recording.reset(token)


def install() -> None:
    """Puts the worker's own streams in the place of sys.stdout and sys.stderr.

    They write to copies of the descriptors: user code that closes 1 or 2 loses neither its prints nor, worse, gets
    them sent into a socket that took the number over.
    """
    faulthandler.enable(file=os.fdopen(_duplicate(2), "w"), all_threads=False)
    sys.stdout = sys.__stdout__ = _Stream(_duplicate(1))  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _Stream(_duplicate(2))  # type: ignore[misc]
    _own.append(sys.stderr)


def show_logging(*, debug: bool) -> None:
    """Lets what user code says through `logging` be seen, as a Truss server does."""
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)


def report(text: str) -> None:
    """Writes to the log what the worker itself has to say, whatever user code has made of sys.stderr."""
    for stream in _own or [sys.stderr]:
        stream.write(text if text.endswith("\n") else f"{text}\n")


def keep_descriptors() -> None:
    """Makes 0, 1 and 2 open again where user code has closed them, so that nothing new gets these numbers."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def out_of_the_way(descriptor: int) -> int:
    """A copy of a descriptor above those that user code is likely to close by number."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _SAFE_DESCRIPTOR)


def _duplicate(descriptor: int) -> int:
    try:
        return out_of_the_way(descriptor)
    except OSError:  # started with it closed
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


class _Stream(io.TextIOWrapper):
    def __init__(self, descriptor: int) -> None:
        raw = os.fdopen(descriptor, "wb", buffering=64 * 1024)
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        log = _recording.get()
        if log is not None and isinstance(text, str):
            log.write(text)
        speaker = _speaker.get()
        try:
            if speaker is None or not isinstance(text, str):
                return super().write(text)
            super().write(speaker.lines(self, text))
            return len(text)
        except (
            OSError,
            ValueError,
        ):  # nobody reads any more, or user code closed the stream; printing must not fail for it
            if not isinstance(text, str):
                raise
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().flush()

    def close(self) -> None:
        self.flush()

    def __reduce__(self) -> Any:
        raise TypeError("A standard stream cannot be pickled.")
