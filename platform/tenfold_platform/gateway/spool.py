"""Finished runs on their way to PostgreSQL: noted in a file before the answer goes out, inserted in batches behind it.

The file survives the process, not the machine: one `write` per run, no fsync. Each process has its own segments and
holds a lock on them; a segment whose lock can be had was left behind by a process that died, and whoever finds it
first flushes it. Inserting twice is harmless: rows have their ids from here, and the first insert wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psycopg
import structlog

from tenfold_platform.errors import PlatformError
from tenfold_platform.gateway import queries
from tenfold_platform.gateway.database import Database

log = structlog.get_logger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
BATCH_RECORDS = 200
BATCH_BYTES = 4 * 1024 * 1024
_READ_BYTES = 1024 * 1024
REJECTED = "rejected.jsonl"
REJECTED_BYTES = 16 * 1024 * 1024


class SpoolFull(PlatformError):
    """Nothing is run that could not be recorded."""

    status, code = 507, "history_full"


@dataclass(slots=True)
class Segment:
    """One locked file. Bytes before `flushed` are in PostgreSQL; bytes from `size` on do not exist yet."""

    path: Path
    fd: int
    size: int = 0
    flushed: int = 0

    def close(self, *, remove: bool) -> None:
        if remove:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        os.close(self.fd)


class Spool:
    """`append` notes one record; `run` carries them over. One event loop, one process."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        *,
        max_bytes: int = 512 * 1024 * 1024,
        segment_bytes: int = SEGMENT_BYTES,
        flush_seconds: float = 0.1,
        retry_seconds: float = 1.0,
        recover_seconds: float = 10.0,
    ) -> None:
        self._folder = folder
        self._database = database
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._flush_seconds = flush_seconds
        self._retry_seconds = retry_seconds
        self._recover_seconds = recover_seconds
        self._segments: deque[Segment] = deque()
        self._current: Segment | None = None
        self._appended = asyncio.Event()
        self._flushing = asyncio.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def pending_bytes(self) -> int:
        return sum(segment.size - segment.flushed for segment in self._segments)

    def check(self) -> None:
        """Raises SpoolFull when a run that began now could not be recorded."""
        if self.pending_bytes >= self._max_bytes:
            raise SpoolFull(
                "The run history is full, because PostgreSQL has not taken it for a while.",
                hint="See `tenfold status`. Runs are accepted again as soon as PostgreSQL takes them.",
                headers={"Retry-After": "10"},
            )

    def append(self, record: bytes) -> None:
        """Notes one record, a line of JSON: it is in the kernel's hands when this returns. Raises SpoolFull."""
        try:
            segment = self._writable(len(record) + 1)
            _write_line(segment, record + b"\n")
        except OSError as error:
            raise SpoolFull(
                f"The run could not be recorded: {error.strerror}.", hint="Free some disk space."
            ) from error
        self._appended.set()

    async def run(self) -> None:
        """Flushes what comes and what others left, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._flush_forever())
            tasks.create_task(self._recover_forever())

    async def flush(self) -> None:
        """Everything noted so far is in PostgreSQL when this returns. Raises psycopg.Error or OSError."""
        async with self._flushing:
            while batch := self._next_batch():
                segment, records, end = batch
                await self._insert(records)
                segment.flushed = end
                self._recycle(segment)

    async def close(self, seconds: float = 3.0) -> None:
        """A last flush; what PostgreSQL does not take stays in the files for the next process."""
        with contextlib.suppress(psycopg.Error, OSError):
            async with asyncio.timeout(seconds):
                await self.flush()
        for segment in self._segments:
            segment.close(remove=segment.flushed == segment.size)
        self._segments.clear()
        self._current = None

    def recover(self) -> int:
        """Takes over the segments of processes that are gone. Returns how many there were."""
        taken = 0
        for path in sorted(self._folder.glob("*.spool")):
            if any(segment.path == path for segment in self._segments):
                continue
            if (segment := _take(path)) is not None:
                self._segments.appendleft(segment)
                taken += 1
        if taken:
            log.info("gateway.spool_recovered", segments=taken)
            self._appended.set()
        return taken

    async def _flush_forever(self) -> None:
        while True:
            await self._appended.wait()
            self._appended.clear()
            try:
                await self.flush()
                await asyncio.sleep(self._flush_seconds)
            except (psycopg.Error, OSError) as error:
                log.warning("gateway.spool_waits", problem=str(error).strip(), bytes=self.pending_bytes)
                self._appended.set()
                await asyncio.sleep(self._retry_seconds)

    async def _recover_forever(self) -> None:
        while True:
            self.recover()
            await asyncio.sleep(self._recover_seconds)

    def _writable(self, size: int) -> Segment:
        """The segment to append to: the current one, or a new one when that has grown large."""
        if self._current is None or (self._current.size and self._current.size + size > self._segment_bytes):
            self._current = self._create()
            self._segments.append(self._current)
        return self._current

    def _create(self) -> Segment:
        """Locked before it has its name, so that nobody takes it for one that was left behind."""
        name = f"{os.getpid()}-{uuid.uuid4().hex}"
        hidden = self._folder / f".{name}"
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path = self._folder / f"{name}.spool"
            hidden.rename(path)
        except OSError:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        return Segment(path, fd)

    def _next_batch(self) -> tuple[Segment, list[dict[str, Any]], int] | None:
        """The oldest unflushed records of one segment, and where the segment is flushed to with them."""
        for segment in list(self._segments):
            if segment.flushed >= segment.size:
                self._recycle(segment)
                continue
            lines, end = _read_lines(segment)
            return segment, [record for line in lines if (record := _parse(line)) is not None], end
        return None

    def _recycle(self, segment: Segment) -> None:
        """A wholly flushed segment is emptied when it is the current one, and removed otherwise."""
        if segment.flushed < segment.size:
            return
        if segment is self._current:
            if segment.size:
                os.ftruncate(segment.fd, 0)
                segment.size = segment.flushed = 0
            return
        self._segments.remove(segment)
        segment.close(remove=True)

    async def _insert(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        try:
            await self._insert_together(records)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
            if len(records) == 1:
                self._reject(records[0], error)
                return
            for record in records:  # one of them is at fault: it must not hold up the others
                await self._insert([record])

    async def _insert_together(self, records: list[dict[str, Any]]) -> None:
        runs = [record["run"] for record in records]
        steps = [{"run_id": record["run"]["id"], **step} for record in records for step in record["steps"]]
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(queries.INSERT_RUNS, [orjson.dumps(runs).decode()])
            if steps:
                await connection.execute(queries.INSERT_STEPS, [orjson.dumps(steps).decode()])

    def _reject(self, record: dict[str, Any], error: Exception) -> None:
        log.error("gateway.run_rejected", run=record["run"].get("id"), problem=str(error).strip())
        path = self._folder / REJECTED
        with contextlib.suppress(OSError):
            if not path.exists() or path.stat().st_size < REJECTED_BYTES:
                with path.open("ab") as file:
                    file.write(orjson.dumps(record) + b"\n")


def no_nul(value: Any) -> Any:
    """The value without NUL characters, which PostgreSQL's JSON cannot hold."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case list():
            return [no_nul(item) for item in value]
        case dict():
            return {no_nul(key): no_nul(item) for key, item in value.items()}
    return value


def _write_line(segment: Segment, line: bytes) -> None:
    """All of it or nothing: a full disk must not leave half a line for the next record to run into."""
    view = memoryview(line)
    written = 0
    try:
        while written < len(line):
            written += os.write(segment.fd, view[written:])
    except OSError:
        os.ftruncate(segment.fd, segment.size)
        raise
    segment.size += len(line)


def _take(path: Path) -> Segment | None:
    """A segment that nobody holds, locked; None when somebody does, or when it has just gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:
            raise FileNotFoundError(path)
    except OSError:
        os.close(fd)
        return None
    return Segment(path, fd, size=os.fstat(fd).st_size)


def _read_lines(segment: Segment) -> tuple[list[bytes], int]:
    """Some whole lines from where the segment is flushed to, and where they end. A torn last line counts as read."""
    data = b""
    while True:
        chunk = os.pread(segment.fd, _READ_BYTES, segment.flushed + len(data))
        data += chunk
        end = data.rfind(b"\n") + 1
        if not chunk or (end and (len(data) >= BATCH_BYTES or data.count(b"\n") >= BATCH_RECORDS)):
            break
    if not end:
        return [], segment.size
    lines = data[:end].split(b"\n")[:-1][:BATCH_RECORDS]
    return lines, segment.flushed + sum(len(line) + 1 for line in lines)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        log.error("gateway.spool_line_unreadable", bytes=len(line))
        return None
    return record if isinstance(record, dict) and isinstance(record.get("run"), dict) else None
