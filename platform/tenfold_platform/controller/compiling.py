"""Making the compiled form of a version, one small step a call. See models/compiling.py.

waiting -> tools -> converting -> building -> switching -> serving, and from each of them refused, with the reason. The
original serves meanwhile, and afterwards where it comes to nothing. It also comes back where the compiled form serves
and then keeps failing, where somebody asks for it (`models/compiling.serve_original`), and while compiling is off
(`take_back`).
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.archive import ArchiveError
from tenfold_deploy.environments import EnvironmentFailed, EnvironmentSpec
from tenfold_deploy.packages import PackageFile, materialise
from tenfold_deploy.scheduler import Handle, ReplicaSpec, Resources, Scheduler, SchedulerError
from tenfold_deploy.scheduler import ReplicaState as Process
from tenfold_platform.controller.plan import CRASH_LOOP_AFTER, is_crash_loop
from tenfold_platform.controller.probe import Health, probe, request
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import LIVE_REPLICA_STATES, DeploymentTable, ReplicaState, ReplicaTable
from tenfold_platform.environments import service as environments
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.errors import PlatformError
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.ids import new_id
from tenfold_platform.models import compiling, packing
from tenfold_platform.models.compiling import COMPILED, Compiler
from tenfold_platform.models.tables import CompilationState, CompilationTable, VersionState, VersionTable
from tenfold_runtime import msgpack
from tenfold_runtime.faults import Fault
from tenfold_runtime.frames import Frame, FrameError

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=20)  # of one try, which is over before
LOAD_SECONDS = 600.0
CONVERT_SECONDS = 600.0
POLL_SECONDS = 0.2
SPARE_BYTES = 1 << 30  # what converting needs beside the model
STOP_GRACE_SECONDS = 1.0
MOST_FILES = 10
MOST_REPORT = 10_000
MOST_TRIES = 2
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
BUILT = (EnvironmentState.READY, EnvironmentState.FAILED)


class CannotCompile(Exception):
    """Why there is no compiled form."""


class Closing(Exception):
    """The controller ends; the next one compiles."""


def unfinished() -> Select[UUID, datetime]:
    """Those with something to do now, those that another controller left in the middle, and those that serve and keep
    failing. What waits for an environment, or for its version to be started, is left alone meanwhile.
    """
    row = CompilationTable
    is_free = or_(row.lease_until.is_(None), row.lease_until < func.now())
    has_something = or_(
        row.state.in_((CompilationState.WAITING, CompilationState.CONVERTING)),
        and_(row.state == CompilationState.TOOLS, row.tools_id.in_(_built())),
        and_(row.state == CompilationState.BUILDING, row.environment_id.in_(_built())),
        and_(row.state == CompilationState.SWITCHING, DeploymentTable.desired_replicas > 0),
        and_(row.state == CompilationState.SERVING, DeploymentTable.failures >= CRASH_LOOP_AFTER),
    )
    return (
        select(row.version_id, row.created_at)
        .join(VersionTable, VersionTable.id == row.version_id)
        .join(DeploymentTable, DeploymentTable.version_id == row.version_id)
        .where(has_something, is_free)
        .where(VersionTable.state.in_((VersionState.READY, VersionState.FAILED)))
    )


def _built() -> Select[UUID]:
    return select(EnvironmentTable.id).where(EnvironmentTable.state.in_(BUILT))


def take_back(session: Session) -> None:
    """Compiling is off: compiled replicas become the original. What was proven is used again once it is on."""
    is_compiled = ReplicaTable.handle["labels"][COMPILED].astext.is_not(None)
    runs_compiled = (
        select(DeploymentTable.version_id)
        .join(ReplicaTable, ReplicaTable.deployment_id == DeploymentTable.id)
        .where(ReplicaTable.state.in_(LIVE_REPLICA_STATES), ReplicaTable.draining_since.is_(None), is_compiled)
    )
    query = (
        select(CompilationTable)
        .where(CompilationTable.state.in_(compiling.STARTS_COMPILED), CompilationTable.version_id.in_(runs_compiled))
        .with_for_update(skip_locked=True)
    )
    for row in session.scalars(query).all():
        log.info("version %s: compiling is off, so it is served as it was deployed", row.version_id)
        row.state = CompilationState.SWITCHING
        compiling.restart(session, row.version_id)


def advance(job: CompilerRun, version_id: UUID) -> bool:
    """Takes the next step of one version's compilation, if there is one now. True when something changed."""
    may_run = job.slot.acquire(blocking=False)
    try:
        return _advance(job, version_id, may_run=may_run)
    finally:
        if may_run:
            job.slot.release()


def _advance(job: CompilerRun, version_id: UUID, *, may_run: bool) -> bool:
    with transaction(job.sessions) as session:
        row = _locked(session, version_id)
        version = session.get(VersionTable, version_id)
        compiler = Compiler.of(version.config) if version else None
        if row is None or version is None or compiler is None:
            return False
        before = row.state
        try:
            _step(session, row, version, compiler)
        except (CannotCompile, EnvironmentFailed) as error:
            compiling.give_up(session, row, str(error))
        changed = row.state != before
        if row.state == CompilationState.CONVERTING and row.tries >= MOST_TRIES:
            compiling.give_up(session, row, f"The compiler was started {MOST_TRIES} times, and never came to an end.")
        is_to_run = row.state == CompilationState.CONVERTING and may_run and not job.closing.is_set()
        if is_to_run:
            row.worker_id, row.lease_until, row.tries = new_id(), func.now() + LEASE, row.tries + 1
            session.flush()
            worker_id = row.worker_id
            tools = session.get_one(EnvironmentTable, row.tools_id)
    if not is_to_run:
        return changed
    job.run(version, compiler, tools, worker_id)
    return True


def _locked(session: Session, version_id: UUID) -> CompilationTable | None:
    query = (
        select(CompilationTable)
        .where(CompilationTable.version_id == version_id, CompilationTable.state != CompilationState.REFUSED)
        .where(or_(CompilationTable.lease_until.is_(None), CompilationTable.lease_until < func.now()))
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).one_or_none()


def _step(session: Session, row: CompilationTable, version: VersionTable, compiler: Compiler) -> None:
    match CompilationState(row.state):
        case CompilationState.WAITING if version.state == VersionState.FAILED:
            raise CannotCompile("The version failed.")
        case CompilationState.WAITING:
            own = session.get_one(EnvironmentTable, version.environment_id)
            row.tools_id = _wanted(session, version, compiling.tools_spec(own, compiler))
            row.state = CompilationState.TOOLS
        case CompilationState.TOOLS if _is_built(session, row.tools_id, "The compiler's packages cannot be had"):
            row.state = CompilationState.CONVERTING
        case CompilationState.BUILDING if _is_built(session, row.environment_id, "Its packages cannot be had"):
            row.state, row.tools_id = CompilationState.SWITCHING, None
            session.flush()
            compiling.restart(session, version.id)
        case CompilationState.SWITCHING:
            _follow(session, row, version)
        case CompilationState.SERVING:
            _check_serving(session, version)
        case _:
            pass


def _wanted(session: Session, version: VersionTable, spec: EnvironmentSpec) -> UUID:
    return environments.get_or_create(session, version.workspace_id, spec).id


def _is_built(session: Session, environment_id: UUID | None, otherwise: str) -> bool:
    environment = session.get_one(EnvironmentTable, environment_id)
    if environment.state == EnvironmentState.FAILED:
        raise CannotCompile(f"{otherwise}: {environment.reason}")
    return environment.state == EnvironmentState.READY


def _follow(session: Session, row: CompilationTable, version: VersionTable) -> None:
    """Until a compiled replica is ready, or one has failed. What was started before the switch says nothing."""
    deployment = deployments.of_version(session, version.id)
    replicas = deployments.list_replicas(session, deployment.id, ended=1)
    staying = [one for one in replicas if one.state == ReplicaState.READY and one.draining_since is None]
    failed = [one for one in replicas if one.state == ReplicaState.FAILED and one.created_at >= row.updated_at]
    for one in failed:
        if packing.shares_worker(one):  # it is started again, alone
            continue
        if _is_compiled(one.handle) or not one.handle:
            raise CannotCompile(f"The compiled form does not start: {one.reason}")
    if any(_is_compiled(one.handle) for one in staying):
        row.state = CompilationState.SERVING
    elif staying:  # started by a look from before the switch
        compiling.restart(session, version.id)


def _check_serving(session: Session, version: VersionTable) -> None:
    deployment = deployments.of_version(session, version.id)
    if not is_crash_loop(deployment.failures):
        return
    latest = deployments.list_replicas(session, deployment.id, ended=1)[-1:]
    failed = [one for one in latest if one.state == ReplicaState.FAILED]
    if failed and (_is_compiled(failed[0].handle) or not failed[0].handle):
        raise CannotCompile(f"The compiled form keeps failing: {failed[0].reason}")


def _is_compiled(handle: dict[str, Any]) -> bool:
    return COMPILED in (handle.get("labels") or {})


# --- running the compiler


@dataclass(frozen=True)
class CompilerRun:
    """Starts a version's compiler in a worker, and writes down what it says. One at a time: it keeps a core busy.

    Once `closing` is set, a compiler that runs is stopped, and its try counts for nothing.
    """

    sessions: sessionmaker[Session]
    scheduler: Scheduler
    store: ArtifactStore
    workers_dir: Path
    probe: Callable[[str], Health] = probe
    ask: Callable[..., Frame] = request
    slot: threading.Semaphore = field(default_factory=threading.Semaphore, repr=False)
    closing: threading.Event = field(default_factory=threading.Event, repr=False)

    def run(self, version: VersionTable, compiler: Compiler, tools: EnvironmentTable, worker_id: UUID) -> None:
        """Blocks for as long as it takes, and takes the row to building or refused; back where it was when closing."""
        try:
            answer = self._answer(version, compiler, tools, worker_id)
            made = self._stored(version, answer)
        except Closing:
            self._finish(version.id, worker_id, _forget_try)
            return
        except (CannotCompile, ArchiveError, SchedulerError, PlatformError, OSError, FrameError, ValueError) as error:
            reason = _plain(_text(error))
            self._finish(version.id, worker_id, lambda session, row: compiling.give_up(session, row, reason))
            return

        def build(session: Session, row: CompilationTable) -> None:
            for entry, stored in made:
                files.record_blob(session, version.workspace_id, stored)
                row.files = [*row.files, entry]
            row.report, row.reason = answer["report"], ""
            try:
                row.environment_id = _wanted(session, version, compiling.twin_spec(tools, compiler))
            except EnvironmentFailed as error:
                compiling.give_up(session, row, str(error))
                return
            row.state = CompilationState.BUILDING

        self._finish(version.id, worker_id, build)

    def _finish(self, version_id: UUID, worker_id: UUID, write: Callable[[Session, CompilationTable], None]) -> None:
        with transaction(self.sessions) as session:
            row = session.get(CompilationTable, version_id, with_for_update=True)
            if row is None or row.worker_id != worker_id:
                return  # deleted, or another controller does it again
            row.worker_id = row.lease_until = None
            write(session, row)

    def _answer(
        self, version: VersionTable, compiler: Compiler, tools: EnvironmentTable, worker_id: UUID
    ) -> dict[str, Any]:
        handle = self.scheduler.start(self._spec(version, compiler, tools, worker_id))
        try:
            address = self._loaded(handle)
            frame = self._asked(address)
        except TimeoutError:
            raise CannotCompile(f"Compiling took longer than {CONVERT_SECONDS:g} s.") from None
        except (OSError, FrameError):
            ended = self.scheduler.observe(handle)
            raise CannotCompile(f"The compiler ended: {ended.reason or 'it cannot be reached'}") from None
        finally:
            self.scheduler.stop(handle, STOP_GRACE_SECONDS)
        if not frame.header.get("ok"):
            raise CannotCompile(f"The compiler failed: {frame.header.get('message') or frame.header.get('code')}")
        try:
            return _checked(msgpack.decode(bytes(frame.payload)))
        except Fault as fault:
            raise CannotCompile(f"The compiler's answer cannot be read: {fault.message}") from None

    def _asked(self, address: str) -> Frame:
        """The compiler's answer. Raises what asking does, or Closing: the request ends when its worker is stopped."""
        answered: Future[Frame] = Future()

        def ask() -> None:
            try:
                answered.set_result(
                    self.ask(
                        address,
                        "predict",
                        b"null",
                        timeout_seconds=CONVERT_SECONDS,
                        content_type="application/json",
                        accept=msgpack.CONTENT_TYPE,
                    )
                )
            except Exception as error:
                answered.set_exception(error)

        threading.Thread(target=ask, name="compiler", daemon=True).start()
        while not wait([answered], POLL_SECONDS).done:
            if self.closing.is_set():
                raise Closing
        return answered.result()

    def _spec(self, version: VersionTable, compiler: Compiler, tools: EnvironmentTable, worker_id: UUID) -> ReplicaSpec:
        folder, config = compiling.compiler_package(version, compiler)
        root = self.workers_dir / "packages" / str(version.workspace_id) / folder
        if not root.exists():
            entries = [*version.files, *version.fetched]
            materialise([_package_file(self.store, entry) for entry in entries], root, worker_config=config)
        return ReplicaSpec(
            replica_id=str(worker_id),
            kind="model",
            python=tools.python_path or "",
            root=str(root),
            environment_variables=version.config.get("environment_variables") or {},
            resources=Resources(memory_bytes=version.memory_bytes + SPARE_BYTES),
            labels={"workspace": str(version.workspace_id), "compiles": str(version.id)},
        )

    def _loaded(self, handle: Handle) -> str:
        """Where it listens, once it has loaded the model."""
        deadline = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < deadline:
            seen = self.scheduler.observe(handle)
            if seen.state == Process.EXITED:
                raise CannotCompile(f"The compiler ended: {seen.reason}")
            if seen.state == Process.RUNNING and seen.address:
                health = self.probe(seen.address)
                if health.state == "ready":
                    return seen.address
                if health.state == "failed":
                    raise CannotCompile(f"The compiler cannot load the model: {health.reason}")
            if self.closing.wait(POLL_SECONDS):
                raise Closing
        raise CannotCompile(f"The compiler did not load the model within {LOAD_SECONDS:g} s.")

    def _stored(self, version: VersionTable, answer: dict[str, Any]) -> list[tuple[dict[str, Any], Any]]:
        made = []
        for name, content in answer["files"].items():
            stored = self.store.put_bytes(content)
            path = compiling.data_path(version, name)
            entry = {"path": path, "digest": stored.digest, "size": stored.size_bytes, "executable": False}
            made.append((entry, stored))
        return made


def _package_file(store: ArtifactStore, entry: dict[str, Any]) -> PackageFile:
    digest = entry["digest"]
    return PackageFile(entry["path"], digest, entry.get("executable", False), partial(store.open, digest))


def _forget_try(_: Session, row: CompilationTable) -> None:
    row.tries -= 1


def _checked(answer: Any) -> dict[str, Any]:
    """What the compiler answered: user code did, so nothing about it is taken for granted."""
    if not isinstance(answer, dict) or not isinstance(answer.get("report"), dict):
        raise CannotCompile("The compiler answered something else than a report.")
    if answer.get("state") != "proven":
        raise CannotCompile(str(answer.get("reason") or "The compiler does not say why."))
    made = answer.get("files")
    if not isinstance(made, dict) or not 0 < len(made) <= MOST_FILES:
        raise CannotCompile("The compiler made no files.")
    for name, content in made.items():
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name) or not isinstance(content, bytes):
            raise CannotCompile(f"The compiler made a file {str(name)[:100]!r}, which cannot be taken.")
    try:
        told = json.dumps(answer["report"], allow_nan=False, ensure_ascii=False)
        told.encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        told = ""
    if not 0 < len(told) <= MOST_REPORT or r"\u0000" in told:  # PostgreSQL has no NUL in a text
        raise CannotCompile("The compiler's report cannot be read.")
    return answer


def _text(error: Exception) -> str:
    return getattr(error, "message", None) or str(error) or type(error).__name__


def _plain(reason: str) -> str:
    """As PostgreSQL takes it: user code wrote it."""
    return reason.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[: compiling.MAX_REASON]
