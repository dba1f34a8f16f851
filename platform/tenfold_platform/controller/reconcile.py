"""Making one deployment true: look, decide (`plan`), act. Each step is recorded before it is done."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.archive import ArchiveError
from tenfold_deploy.environments import is_compiled
from tenfold_deploy.packages import PackageFile, materialise
from tenfold_deploy.scheduler import Handle, Observation, ReplicaSpec, Resources, Scheduler, SchedulerError
from tenfold_deploy.scheduler import ReplicaState as Process
from tenfold_platform.clock import Clock
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.plan import (
    Action,
    Create,
    Desired,
    Drain,
    ForgiveFailures,
    NowFailed,
    NowLoading,
    NowReady,
    NowStarting,
    NowStopped,
    ProcessState,
    Seen,
    Start,
    Stop,
    backoff,
    is_crash_loop,
    plan,
)
from tenfold_platform.controller.probe import Health, probe
from tenfold_platform.db import transaction
from tenfold_platform.deployments.service import log_subject
from tenfold_platform.deployments.tables import (
    LIVE_REPLICA_STATES,
    DeploymentTable,
    ReplicaState,
    ReplicaTable,
)
from tenfold_platform.engine import dispatch
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.errors import PlatformError
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.ids import new_id
from tenfold_platform.logs import service as logs
from tenfold_platform.models import compiling, packing
from tenfold_platform.models import service as models
from tenfold_platform.models.compiling import COMPILED, Twin
from tenfold_platform.models.tables import AliasTable, VersionState, VersionTable
from tenfold_platform.secrets import service as secrets
from tenfold_platform.secrets.sealing import Keyring

log = logging.getLogger(__name__)

STOP_GRACE_SECONDS = 10.0
KEEP_ENDED_FOR = timedelta(minutes=2)
DEFAULT_LOAD_TIMEOUT = timedelta(minutes=10)
WORTH_NOTING = 0.02  # of a replica's memory, up or down
MISSING_SECRET = "secret_missing"  # noqa: S105 (a warning's code)
BLAMELESS = ("stopped", "lost", "machine_restarted")  # it was told to, or the machine ended under it
PROCESS_STATES: dict[Process, ProcessState] = {
    Process.STARTING: "starting",
    Process.RUNNING: "running",
    Process.EXITED: "exited",
    Process.UNKNOWN: "unknown",
}


@dataclass
class Beginning:
    """What the next replica starts with, beside its version: `twin` is what it starts from in the version's place,
    `problem` why it cannot start.
    """

    twin: Twin | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] | None = None
    problem: PlatformError | None = None


@dataclass
class Look:
    """What one pass found: the rows, and for each replica its process and its worker's health."""

    deployment: DeploymentTable
    environment: EnvironmentTable
    version: VersionTable | None
    replicas: list[ReplicaTable]
    observations: dict[UUID, Observation] = field(default_factory=dict)
    health: dict[UUID, Health] = field(default_factory=dict)
    beginning: Beginning = field(default_factory=Beginning)


_WHAT_IT_RUNS = (
    select(DeploymentTable, EnvironmentTable, VersionTable)
    .join(EnvironmentTable, EnvironmentTable.id == DeploymentTable.environment_id)
    .outerjoin(VersionTable, VersionTable.id == DeploymentTable.version_id)
    .where(DeploymentTable.id == bindparam("id"))
)
_LIVE_REPLICAS = (
    select(ReplicaTable)
    .where(ReplicaTable.deployment_id == bindparam("id"), ReplicaTable.state.in_(LIVE_REPLICA_STATES))
    .order_by(ReplicaTable.id)
)


class Reconciler:
    """Brings deployments to what is desired, one pass at a time. It keeps nothing between passes.

    `started` is told of each process that was asked for, with its deployment. `compiles`: versions that have a compiled
    form start from it.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        scheduler: Scheduler,
        store: ArtifactStore,
        workers_dir: Path,
        clock: Clock,
        *,
        host: str,
        keyring: Keyring,
        masks: Masks,
        probe: Callable[[str], Health] = probe,
        started: Callable[[UUID, Handle], None] = lambda *_: None,
        compiles: bool = True,
    ) -> None:
        self._sessions = sessions
        self._scheduler = scheduler
        self._store = store
        self._workers_dir = workers_dir
        self._clock = clock
        self._host = host
        self._keyring = keyring
        self._masks = masks
        self._probe = probe
        self._started = started
        self._compiles = compiles

    def reconcile(self, deployment_id: UUID, *, owner: str | None = None) -> bool:
        """One pass over one deployment. True when something changed (look again soon).

        `owner`: only if that one leases it.
        """
        look = self._look(deployment_id, owner)
        if look is None:
            return False
        actions = plan(self._desired(look), [self._seen(look, row) for row in look.replicas], self._clock())
        for action in actions:
            self._act(look, action)
        self._note_measurements(look)
        return bool(actions)

    def has_arrived(self, deployment_id: UUID, replica_id: UUID, address: str, health: Health) -> None:
        """Records that a replica on its way up is ready, without a pass: calls wait for it. What else follows from it
        is for the next pass, as is a replica that was stopped meanwhile.
        """
        on_its_way = ReplicaTable.state.in_((ReplicaState.STARTING, ReplicaState.LOADING))
        peak = max(health.peak_memory_bytes or 0, health.memory_bytes or 0)
        with transaction(self._sessions) as session:
            became = session.scalar(
                update(ReplicaTable)
                .where(ReplicaTable.id == replica_id, on_its_way)
                .values(
                    state=ReplicaState.READY,
                    address=address,
                    ready_at=self._clock(),
                    load_seconds=health.load_seconds,
                    memory_bytes=health.memory_bytes,
                    peak_memory_bytes=func.greatest(ReplicaTable.peak_memory_bytes, peak or None),
                    reason="",
                )
                .returning(ReplicaTable.id)
            )
            unhealthy = (DeploymentTable.id == deployment_id, DeploymentTable.unhealthy_reason != "")
            if became is not None:
                session.execute(update(DeploymentTable).where(*unhealthy).values(unhealthy_reason=""))

    def stop_strays(self) -> None:
        """Stops replicas that run here without a row: their deployment was deleted."""
        handles = self._scheduler.adopt()
        with transaction(self._sessions) as session:
            known = set(session.scalars(select(ReplicaTable.id).where(ReplicaTable.state.in_(LIVE_REPLICA_STATES))))
            known |= compiling.workers(session)
            just_ended = set(
                session.scalars(select(ReplicaTable.id).where(ReplicaTable.ended_at > self._clock() - KEEP_ENDED_FOR))
            )
        for handle, observation in zip(handles, self._scheduler.observe_all(handles), strict=True):
            if UUID(handle.replica_id) in known:
                continue
            try:
                if observation.state == Process.EXITED:
                    if UUID(handle.replica_id) not in just_ended:  # its last words are still being carried away
                        self._scheduler.remove(handle)
                elif observation.state != Process.UNKNOWN:
                    self._scheduler.stop(handle, STOP_GRACE_SECONDS)
            except Exception:
                log.exception("replica %s cannot be cleared away; the others are", handle.replica_id)

    # --- looking

    def _look(self, deployment_id: UUID, owner: str | None = None) -> Look | None:
        with transaction(self._sessions) as session:
            found = session.execute(_WHAT_IT_RUNS, {"id": deployment_id}).one_or_none()
            if found is None or owner not in (None, found[0].lease_owner):
                return None
            replicas = session.scalars(_LIVE_REPLICAS, {"id": deployment_id}).all()
            look = Look(*found, list(replicas))
        handles = [self._handle(row) for row in look.replicas]
        for row, observation in zip(look.replicas, self._scheduler.observe_all(handles), strict=True):
            look.observations[row.id] = observation
            if observation.state == Process.RUNNING and observation.address:
                look.health[row.id] = self._probe(observation.address)
        return look

    def _handle(self, row: ReplicaTable) -> Handle:
        """The stored handle; for a row whose start was not recorded yet, the handle that its start would have."""
        if row.handle:
            return Handle.from_json(row.handle)
        for handle in self._scheduler.adopt():
            if handle.replica_id == str(row.id):
                return handle
        return Handle(self._scheduler.name, str(row.id))

    def _seen(self, look: Look, row: ReplicaTable) -> Seen:
        observation = look.observations[row.id]
        process = PROCESS_STATES[observation.state]
        if row.state == ReplicaState.PENDING and not row.handle and process in ("exited", "unknown"):
            process = "none"
        health = look.health.get(row.id, Health("unknown"))
        return Seen(
            replica_id=row.id,
            state=ReplicaState(row.state),
            process=process,
            health=health.state,
            in_flight=health.in_flight,
            started_at=row.started_at,
            ready_at=row.ready_at,
            draining_since=row.draining_since,
            reason=self._masks.hide(row.id, health.reason or observation.reason or ""),
            blameless=observation.reason_code in BLAMELESS,
            outgoing=row.draining_since is not None and row.state != ReplicaState.DRAINING,
        )

    def _desired(self, look: Look) -> Desired:
        return Desired(
            replicas=look.deployment.desired_replicas,
            # also while what is built is built again: its folder is there until the new one takes its place
            startable=bool(look.environment.python_path) and look.environment.state != EnvironmentState.FAILED,
            failures=look.deployment.failures,
            retry_at=look.deployment.retry_at,
            load_timeout=_load_timeout(look.version),
        )

    # --- acting

    def _act(self, look: Look, action: Action) -> None:
        match action:
            case Create():
                self._create(look)
            case Start(replica_id):
                with transaction(self._sessions) as session:
                    look.beginning = self._begin(session, look)
                self._start(look, replica_id)
            case NowStarting(replica_id):
                handle = self._handle(next(row for row in look.replicas if row.id == replica_id))
                self._write(replica_id, state=ReplicaState.STARTING, handle=handle.to_json(), started_at=self._clock())
            case NowLoading(replica_id):
                address = look.observations[replica_id].address
                self._write(
                    replica_id, ReplicaTable.state == ReplicaState.STARTING, state=ReplicaState.LOADING, address=address
                )
            case NowReady(replica_id):
                self._now_ready(look, replica_id)
            case NowFailed(replica_id, reason, stop):
                self._now_failed(look, replica_id, reason, stop=stop)
            case Drain(replica_id):
                self._write(replica_id, state=ReplicaState.DRAINING, draining_since=self._clock())
            case Stop(replica_id):
                self._stop(look, replica_id)
            case NowStopped(replica_id):
                self._write(
                    replica_id,
                    state=ReplicaState.STOPPED,
                    ended_at=self._clock(),
                    exit=_exit(look.observations[replica_id]),
                )
            case ForgiveFailures():
                with transaction(self._sessions) as session:
                    deployment = session.get_one(DeploymentTable, look.deployment.id, with_for_update=True)
                    deployment.failures, deployment.retry_at = 0, None

    def _create(self, look: Look) -> None:
        row = ReplicaTable(id=new_id(), deployment_id=look.deployment.id, state=ReplicaState.PENDING, host=self._host)
        with transaction(self._sessions) as session:
            look.beginning = self._begin(session, look)
            session.add(row)
        look.replicas.append(row)
        self._start(look, row.id)

    def _start(self, look: Look, replica_id: UUID) -> None:
        try:
            if look.beginning.problem is not None:
                raise look.beginning.problem
            spec, asked_at = self._spec(look, replica_id), self._clock()
            handle = self._scheduler.start(spec)
        except ArchiveError as error:
            reason = f"The package could not be laid out: {error.message}. {error.hint or ''}".rstrip()
            self._now_failed(look, replica_id, reason, stop=False)
            return
        except (SchedulerError, PlatformError, OSError) as error:
            self._now_failed(look, replica_id, f"The worker could not be started: {error}", stop=False)
            return
        self._write(replica_id, state=ReplicaState.STARTING, handle=handle.to_json(), started_at=asked_at)
        self._started(look.deployment.id, handle)
        if not is_compiled(Path(look.environment.python_path or "").parent.parent):
            dispatch.send("compile_environment", look.environment.id)

    def _spec(self, look: Look, replica_id: UUID) -> ReplicaSpec:
        python = look.environment.python_path or ""
        workspace = str(look.deployment.workspace_id)
        labels = {"workspace": workspace, "deployment": str(look.deployment.id)}
        if look.version is None:
            code_root = code_root_of(self._workers_dir, look.deployment.workspace_id)
            code_root.mkdir(parents=True, exist_ok=True)
            return ReplicaSpec(
                replica_id=str(replica_id), kind="code", python=python, code_root=str(code_root), labels=labels
            )
        version = look.version
        twin = look.beginning.twin
        root = self._workers_dir / "packages" / workspace / (twin.folder if twin else _folder_name(version))
        if not root.exists():
            self._lay_out(version, root, twin)
        self._masks.remember(replica_id, look.beginning.secrets.values())
        is_packed = packing.may_share(version, look.deployment)
        apart = {packing.APART: "yes"} if packing.wants_packing(version) and not is_packed else {}
        return ReplicaSpec(
            replica_id=str(replica_id),
            kind="model",
            python=twin.python if twin else python,
            root=str(root),
            digest=version.package_digest,
            environment_variables=version.config.get("environment_variables") or {},
            secrets=look.beginning.secrets,
            environment=look.beginning.environment,
            resources=Resources(memory_bytes=version.memory_bytes, cpu=_cpu(version, look.deployment.max_replicas)),
            labels=labels | {"version": str(version.id)} | ({COMPILED: "yes"} if twin else {}) | apart,
            packed=is_packed,
        )

    def _lay_out(self, version: VersionTable, root: Path, twin: Twin | None) -> None:
        """The package's own files and those fetched for it. Which of its own they are is checked with each version."""
        entries = twin.files if twin else (*version.files, *version.fetched)
        files = [
            PackageFile(
                entry["path"],
                entry["digest"],
                entry.get("executable", False),
                partial(self._store.open, entry["digest"]),
            )
            for entry in entries
        ]
        digest = None if twin or version.fetched else version.package_digest
        materialise(files, root, worker_config=twin.config if twin else version.config, digest=digest)

    def _begin(self, session: Session, look: Look) -> Beginning:
        """Nobody changes which form the version's replicas start from until this transaction is over: who changes it
        must know of this replica.
        """
        version = look.version
        if version is None:
            return Beginning()
        beginning = Beginning(
            compiling.twin_of(session, version, is_on=self._compiles),
            environment=self._environment_of(session, version),
        )
        try:
            beginning.secrets = self._open_secrets(session, look, version)
        except PlatformError as error:
            beginning.problem = error
        return beginning

    def _open_secrets(self, session: Session, look: Look, version: VersionTable) -> dict[str, str]:
        """The secrets that the version declares, and no other. What is missing is said: on the version, and in its log.

        Raises PlatformError for one that is there and cannot be opened.
        """
        names = secrets.declared(version)
        opened = secrets.open_declared(session, self._keyring, version.workspace_id, names)
        others = [warning for warning in version.warnings if warning.get("code") != MISSING_SECRET]
        warnings = [*others, *map(_missing_secret, opened.missing)]
        if warnings != version.warnings:
            session.get_one(VersionTable, version.id, with_for_update=True).warnings = warnings
        for name in opened.missing:
            text = f"[tenfold] the secret {name} is declared and not set: tenfold secrets set {name}\n"
            logs.append(session, log_subject(look.deployment.id), text)
        return dict(opened.values)

    def _environment_of(self, session: Session, version: VersionTable) -> dict[str, str] | None:
        """What Truss calls a model's environment: the alias that the version has, or gets when it is ready."""
        query = select(AliasTable.name).where(
            or_(AliasTable.version_id == version.id, AliasTable.canary_version_id == version.id)
        )
        names = set(session.scalars(query))
        if version.alias_wanted and version.state != VersionState.READY:
            names.add(version.alias_wanted)
        first = min(names, key=lambda name: (name != models.PRODUCTION, name), default=None)
        return {"name": first} if first else None

    def _now_ready(self, look: Look, replica_id: UUID) -> None:
        health = look.health[replica_id]
        before = next(row for row in look.replicas if row.id == replica_id)
        self._write(
            replica_id,
            state=ReplicaState.READY,
            address=look.observations[replica_id].address,
            ready_at=self._clock(),
            load_seconds=health.load_seconds,
            memory_bytes=health.memory_bytes,
            peak_memory_bytes=_higher(before.peak_memory_bytes, health),
            reason="",
        )
        with transaction(self._sessions) as session:
            session.get_one(DeploymentTable, look.deployment.id, with_for_update=True).unhealthy_reason = ""

    def _now_failed(self, look: Look, replica_id: UUID, reason: str, *, stop: bool) -> None:
        observation = look.observations.get(replica_id)
        now = self._clock()
        with transaction(self._sessions) as session:
            row = session.get_one(ReplicaTable, replica_id)
            row.state, row.reason, row.ended_at = ReplicaState.FAILED, reason, now
            row.exit = _exit(observation) if observation else None
            deployment = session.get_one(DeploymentTable, look.deployment.id, with_for_update=True)
            deployment.failures += 1
            deployment.retry_at = now + backoff(deployment.failures)
            if is_crash_loop(deployment.failures) or row.ready_at is None:
                deployment.unhealthy_reason = reason
            logs.append(session, log_subject(deployment.id), f"[tenfold] {reason}\n")
        if stop:
            self._scheduler.stop(self._handle(row), 1.0)

    def _stop(self, look: Look, replica_id: UUID) -> None:
        row = next(row for row in look.replicas if row.id == replica_id)
        self._scheduler.stop(self._handle(row), STOP_GRACE_SECONDS)

    def _write(self, replica_id: UUID, *conditions: ColumnElement[bool], **values: Any) -> None:
        """Nothing where the row is gone, or is not as the conditions say any more."""
        with transaction(self._sessions) as session:
            session.execute(update(ReplicaTable).where(ReplicaTable.id == replica_id, *conditions).values(**values))

    def _note_measurements(self, look: Look) -> None:
        """Keeps what each replica uses now and the most it used; writes only when one of them moved by a little."""
        for row in look.replicas:
            health = look.health.get(row.id)
            if health is None or not health.memory_bytes or row.state == ReplicaState.STARTING:
                continue
            peak = _higher(row.peak_memory_bytes, health)
            if _moved(row.memory_bytes, health.memory_bytes) or _moved(row.peak_memory_bytes, peak):
                self._write(row.id, memory_bytes=health.memory_bytes, peak_memory_bytes=peak)


def code_root_of(workers_dir: Path, workspace_id: UUID) -> Path:
    """Where code bundles of a workspace are laid out, one folder a digest."""
    return workers_dir / "code" / str(workspace_id)


def _folder_name(version: VersionTable) -> str:
    """Where a version's package is laid out: shared by versions with the same files and the same fetched ones."""
    if not version.fetched:
        return version.package_digest
    fetched = sorted(f"{entry['path']}\0{entry['digest']}" for entry in version.fetched)
    return hashlib.sha256("\n".join([version.package_digest, *fetched]).encode()).hexdigest()


def _cpu(version: VersionTable, replicas: int) -> float | None:
    """Cores, from "2", 0.5 or "500m"; the package's reader has checked it. Unsaid, replicas share the machine's."""
    given = (version.config.get("resources") or {}).get("cpu")
    if given is None:
        return None if replicas < 2 else max(1, (os.cpu_count() or 1) // replicas)
    text = str(given)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _missing_secret(name: str) -> dict[str, Any]:
    return {
        "path": f"secrets.{name}",
        "message": "is declared and not set",
        "hint": f"Set it, then restart the version: tenfold secrets set {name}",
        "code": MISSING_SECRET,
        "line": None,
        "column": None,
    }


def _higher(before: int | None, health: Health) -> int | None:
    measured = [one for one in (before, health.memory_bytes, health.peak_memory_bytes) if one is not None]
    return max(measured, default=None)


def _moved(before: int | None, now: int | None) -> bool:
    return now is not None and abs(now - (before or 0)) > (before or 0) * WORTH_NOTING


def _load_timeout(version: VersionTable | None) -> timedelta:
    checks = ((version.config.get("runtime") or {}).get("health_checks") or {}) if version else {}
    seconds = checks.get("startup_threshold_seconds")
    return timedelta(seconds=float(seconds)) if seconds else DEFAULT_LOAD_TIMEOUT


def _exit(observation: Observation) -> dict[str, Any]:
    status = observation.exit
    return {
        "code": status.code if status else None,
        "signal": status.signal if status else None,
        "reason": observation.reason_code,
    }
