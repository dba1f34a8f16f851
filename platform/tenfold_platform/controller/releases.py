"""Preparing an app release: environments, code, a pool that answers, every function found; then it goes live."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.archive import check_path
from tenfold_platform import stages
from tenfold_platform.apps import service as apps
from tenfold_platform.apps.bundle import code_targets
from tenfold_platform.apps.tables import ReleaseFileTable, ReleaseState, ReleaseTable
from tenfold_platform.clock import Clock
from tenfold_platform.controller.probe import request
from tenfold_platform.controller.reconcile import code_root_of
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import ReplicaState, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.errors import PlatformError
from tenfold_runtime.frames import FrameError

log = logging.getLogger(__name__)

DESCRIBE_TIMEOUT_SECONDS = 60.0


def preparing() -> Select[UUID, datetime]:
    return select(ReleaseTable.id, ReleaseTable.created_at).where(ReleaseTable.state == ReleaseState.PREPARING)


def advance(sessions: sessionmaker[Session], clock: Clock, workers_dir: Path, release_id: UUID) -> bool:
    """Takes the next step of one release, if there is one now. True when something changed."""
    with transaction(sessions) as session:
        release = _locked(session, release_id)
        if release is None:
            return False
        pools = _pools(session, release, clock())
        changed = session.is_modified(release)
    if pools is None:
        return changed
    if release.code_digest:
        _lay_out_code(sessions, release, code_root_of(workers_dir, release.workspace_id))
    problems = _missing_functions(release, pools)
    with transaction(sessions) as session:
        locked = _locked(session, release_id)
        if locked is None:
            return False
        if problems:
            _fail(locked, " ".join(problems), "Correct the code, push and release again.", clock())
            return True
    try:
        with transaction(sessions) as session:
            locked = _locked(session, release_id)
            if locked is not None:
                _go_live(session, locked, clock())
    except PlatformError as error:
        with transaction(sessions) as session:
            locked = _locked(session, release_id)
            if locked is not None:
                _fail(locked, error.message, error.hint, clock())
    return True


def _locked(session: Session, release_id: UUID) -> ReleaseTable | None:
    return session.scalars(
        select(ReleaseTable)
        .where(ReleaseTable.id == release_id, ReleaseTable.state == ReleaseState.PREPARING)
        .with_for_update(skip_locked=True)
    ).one_or_none()


def _pools(session: Session, release: ReleaseTable, now: datetime) -> dict[str, str] | None:
    """The address of a ready code worker per environment name; None while one is not there yet, or after a failure."""
    names: dict[str, str] = release.bundle["environments"]
    for environment_id in names.values():
        environment = session.get_one(EnvironmentTable, UUID(environment_id))
        if environment.state == EnvironmentState.FAILED:
            _fail(release, environment.reason, environment.hint, now)
            return None
        if environment.state != EnvironmentState.READY:
            release.stages = stages.moved(release.stages, "environment", "running", now, environment.state)
            return None
    if stages.state_of(release.stages, "environment") in stages.OPEN:
        release.stages = stages.moved(release.stages, "environment", "done", now)
        release.stages = stages.moved(release.stages, "code", "running", now)
    addresses: dict[str, str] = {}
    for name, environment_id in names.items():
        replica = _pool_replica(session, release, UUID(environment_id), now)
        if replica is None:
            return None
        addresses[name] = replica.address or ""
    return addresses


def _pool_replica(session: Session, release: ReleaseTable, environment_id: UUID, now: datetime) -> ReplicaTable | None:
    pool = deployments.ensure_code_pool(session, release.workspace_id, environment_id)
    replicas = deployments.list_replicas(session, pool.id, ended=1)
    ready = next((replica for replica in replicas if replica.state == ReplicaState.READY), None)
    if ready is None and pool.unhealthy_reason:
        _fail(release, f"The app's code could not be started: {pool.unhealthy_reason}", "See the log.", now)
    return ready


def _lay_out_code(sessions: sessionmaker[Session], release: ReleaseTable, root: Path) -> None:
    """Writes `code/` and `packages/` below `<root>/<digest>`, whole or not at all."""
    destination = root / str(release.code_digest)
    if destination.exists():
        return
    with transaction(sessions) as session:
        rows = session.execute(
            select(ReleaseFileTable.path, ReleaseFileTable.content).where(ReleaseFileTable.release_id == release.id)
        ).all()
    write_tree(((path, content) for path, content in rows if path.startswith(apps.CODE_FOLDERS)), destination)


def write_tree(files: Iterable[tuple[str, bytes]], destination: Path) -> None:
    """Lays files out in a folder that appears complete. Of two writers of the same tree, one wins; both are content."""
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for path, content in files:
        target = temporary / check_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    try:
        temporary.rename(destination)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not destination.exists():
            raise


def _missing_functions(release: ReleaseTable, pools: dict[str, str]) -> list[str]:
    """Asks a worker of each environment whether it finds every function that the worklets name."""
    problems: list[str] = []
    for environment, targets in code_targets(release.bundle).items():
        problems += _describe(pools[environment], str(release.code_digest), targets)
    return problems


def _describe(address: str, digest: str, targets: list[str]) -> list[str]:
    try:
        frame = request(
            address, "describe", b"", timeout_seconds=DESCRIBE_TIMEOUT_SECONDS, code=digest, targets=targets
        )
    except TimeoutError:
        return [f"Importing the app's code did not finish within {DESCRIBE_TIMEOUT_SECONDS:g} s."]
    except (OSError, FrameError):
        return ["The worker ended while it imported the app's code."]
    if not frame.header.get("ok"):
        return [str(frame.header.get("message"))]
    found: list[dict[str, Any]] = json.loads(frame.payload)["functions"]
    return [f"{function['target']}: {_message(function.get('error'))}." for function in found if not function["ok"]]


def _message(error: Any) -> str:
    text = error.get("message") if isinstance(error, dict) else error
    return str(text or "was not found").rstrip(".")


def _go_live(session: Session, release: ReleaseTable, now: datetime) -> None:
    for name in ("environment", "code", "start"):
        if stages.state_of(release.stages, name) in stages.OPEN:
            release.stages = stages.moved(release.stages, name, "done", now)
    release.state, release.ready_at = ReleaseState.READY, now
    session.flush()
    if release.go_live:
        apps.make_live(session, release)
    release.stages = stages.moved(release.stages, "live", "done" if release.go_live else "skipped", now)


def _fail(release: ReleaseTable, reason: str, hint: str, now: datetime) -> None:
    release.state, release.reason, release.hint = ReleaseState.FAILED, reason, hint
    release.stages = stages.failed_at(release.stages, now, reason)
