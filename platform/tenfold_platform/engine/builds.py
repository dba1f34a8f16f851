"""Building one environment: claim the row, work outside the transaction, write the result under the fence.

A row that was ready before (it has a `python_path`) is repaired: its folder is made anew from the same lock. While that
goes on, and if it fails, what was there stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.environments import (
    EnvironmentFailed,
    EnvironmentSpec,
    Lock,
    Tools,
    build,
    compile_rest,
    disk_usage,
    installed,
    is_built,
    is_compiled,
    resolve,
)
from tenfold_platform.db import transaction
from tenfold_platform.environments import service as environments
from tenfold_platform.environments.folders import folder_of
from tenfold_platform.environments.service import OPEN_STATES, spec_of, subject
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.logs import service as logs

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
HEARTBEAT_SECONDS = 5.0
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Claim:
    environment_id: UUID
    workspace_id: UUID
    fence: int
    spec: EnvironmentSpec
    lock: Lock | None
    is_repair: bool


class LostLease(Exception):
    """Another engine took the row over; whatever we still do must not be written."""


def build_environment(
    sessions: sessionmaker[Session],
    environments_dir: Path,
    environment_id: UUID,
    owner: str,
    tools: Tools,
) -> None:
    """Takes one environment from pending to ready or failed. Does nothing when it is done or somebody else has it."""
    claim = _claim(sessions, environments_dir, environment_id, owner)
    if claim is None:
        return
    writer = LogWriter(sessions, subject(environment_id))
    with writer, _Heartbeat(sessions, claim, owner):
        try:
            try:
                _resolve_and_build(sessions, environments_dir, claim, writer.line, tools)
            except EnvironmentFailed as error:
                writer.line(f"failed: {error.message}" + (f"\n{error.hint}" if error.hint else ""))
                _failed(sessions, environments_dir, claim, error)
        except LostLease:
            log.warning("environment %s: the lease was lost; another engine goes on", environment_id)
    complete_bytecode(sessions, environments_dir, environment_id, tools)


def complete_bytecode(
    sessions: sessionmaker[Session], environments_dir: Path, environment_id: UUID, tools: Tools
) -> None:
    """Compiles what a build left for later, or what was built before there was any bytecode."""
    with transaction(sessions) as session:
        row = session.get(EnvironmentTable, environment_id)
        if row is None or row.lock_digest is None or row.state != EnvironmentState.READY:
            return
        destination = folder_of(environments_dir, row.workspace_id, row.lock_digest)
    if is_compiled(destination) or not compile_rest(destination, tools):
        return
    size = disk_usage(destination)
    with transaction(sessions) as session:
        session.execute(
            update(EnvironmentTable)
            .where(EnvironmentTable.id == environment_id, EnvironmentTable.state == EnvironmentState.READY)
            .values(size_bytes=size)
        )


def _resolve_and_build(
    sessions: sessionmaker[Session], environments_dir: Path, claim: Claim, on_log: Callable[[str], None], tools: Tools
) -> None:
    started = time.monotonic()
    lock = claim.lock
    if lock is None:
        lock = resolve(claim.spec, on_log=on_log, tools=tools)
        _update(
            sessions,
            claim,
            state=EnvironmentState.BUILDING,
            lock=lock.text,
            lock_digest=lock.digest,
            lock_python=lock.python_version,
        )
    destination = folder_of(environments_dir, claim.workspace_id, lock.digest)
    built = build(lock, destination, on_log=on_log, tools=tools, anew=claim.is_repair)
    packages = [{"name": name, "version": version} for name, version in installed(destination)]
    on_log(f"ready in {time.monotonic() - started:.1f} s")
    _finish(
        sessions,
        claim,
        state=EnvironmentState.READY,
        reason="",
        hint="",
        python_path=str(built.python),
        packages=packages,
        build_seconds=time.monotonic() - started,
        built_at=func.now(),
        size_bytes=disk_usage(destination),
    )


def _failed(sessions: sessionmaker[Session], environments_dir: Path, claim: Claim, error: EnvironmentFailed) -> None:
    """A repair that failed leaves an environment as ready as it was."""
    if claim.is_repair and _is_there(environments_dir, claim.workspace_id, claim.lock):
        reason = f"It could not be built again, and stays as it was: {error.message}"
        _finish(sessions, claim, state=EnvironmentState.READY, reason=reason, hint=error.hint or "")
    else:
        _finish(sessions, claim, state=EnvironmentState.FAILED, reason=error.message, hint=error.hint or "")


def _is_there(environments_dir: Path, workspace_id: UUID, lock: Lock | None) -> bool:
    try:
        return lock is not None and is_built(folder_of(environments_dir, workspace_id, lock.digest), lock)
    except (EnvironmentFailed, OSError, ValueError):
        return False


def _claim(sessions: sessionmaker[Session], environments_dir: Path, environment_id: UUID, owner: str) -> Claim | None:
    with transaction(sessions) as session:
        row = session.scalars(
            select(EnvironmentTable)
            .where(
                EnvironmentTable.id == environment_id,
                EnvironmentTable.state.in_(OPEN_STATES),
                or_(EnvironmentTable.lease_until.is_(None), EnvironmentTable.lease_until < func.now()),
            )
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if row is None:
            return None
        lock = Lock(row.lock) if row.lock else None
        is_repair = row.python_path is not None and lock is not None
        if row.attempts >= MAX_ATTEMPTS:
            is_there = is_repair and _is_there(environments_dir, row.workspace_id, lock)
            row.state = EnvironmentState.READY if is_there else EnvironmentState.FAILED
            row.reason = f"The build was started {row.attempts} times and never finished."
            row.hint = "The engine ended during each try: look at `tenfold logs engine`, then deploy again."
            return None
        row.attempts += 1
        row.fence += 1
        row.lease_owner = owner
        row.lease_until = func.now() + LEASE
        row.state = EnvironmentState.BUILDING if row.lock else EnvironmentState.RESOLVING
        return Claim(row.id, row.workspace_id, row.fence, spec_of(row), lock, is_repair)


def _update(sessions: sessionmaker[Session], claim: Claim, **values: object) -> None:
    with transaction(sessions) as session:
        result = session.execute(
            update(EnvironmentTable)
            .where(EnvironmentTable.id == claim.environment_id, EnvironmentTable.fence == claim.fence)
            .values(**values)
            .returning(EnvironmentTable.id)
        )
        if result.first() is None:
            raise LostLease


def _finish(sessions: sessionmaker[Session], claim: Claim, **values: object) -> None:
    """Writes how it ended. A name that waited for this environment goes over to it."""
    _update(sessions, claim, lease_owner=None, lease_until=None, **values)
    with transaction(sessions) as session:
        environments.settle_all(session, claim.workspace_id)


class LogWriter:
    """Collects lines and writes them a few times a second, so that a build's output is live but not a row a line."""

    def __init__(self, sessions: sessionmaker[Session], name: str, every_seconds: float = 0.25) -> None:
        self._sessions, self._name, self._every = sessions, name, every_seconds
        self._lines: list[str] = []
        self._guard = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    def line(self, text: str) -> None:
        with self._guard:
            self._lines.append(text.rstrip("\n") + "\n")

    def __enter__(self) -> LogWriter:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()
        self._flush()

    def _run(self) -> None:
        while not self._done.wait(self._every):
            self._flush()

    def _flush(self) -> None:
        with self._guard:
            text, self._lines = "".join(self._lines), []
        if not text:
            return
        try:
            with transaction(self._sessions) as session:
                logs.append(session, self._name, text)
        except Exception:
            log.exception("log lines of %s could not be written", self._name)


class _Heartbeat:
    """Keeps the lease while the work goes on."""

    def __init__(self, sessions: sessionmaker[Session], claim: Claim, owner: str) -> None:
        self._sessions, self._claim, self._owner = sessions, claim, owner
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-heartbeat", daemon=True)

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS):
            try:
                _update(self._sessions, self._claim, lease_until=func.now() + LEASE)
            except LostLease:
                return
            except Exception:
                log.exception("the lease of environment %s was not renewed", self._claim.environment_id)
