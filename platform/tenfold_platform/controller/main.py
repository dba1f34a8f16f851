"""`tenfold controller`: makes actual replicas equal desired ones, prepares versions and releases, re-sends messages.

Any number may run. What one works on is leased by row; nothing is kept between rounds, so a restarted one goes on where
the rows say it was, and adopts what is running.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.scheduler import Handle, Scheduler
from tenfold_platform import tables
from tenfold_platform.clock import Clock, utc_now
from tenfold_platform.controller import compiling, releases, scaling, shipping, versions
from tenfold_platform.controller.arrivals import Arrivals
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.probe import Health
from tenfold_platform.controller.reconcile import Reconciler
from tenfold_platform.db import make_engine, make_sessions, transaction
from tenfold_platform.deployments import forgetting
from tenfold_platform.deployments.tables import LIVE_REPLICA_STATES, DeploymentTable, ReplicaState, ReplicaTable
from tenfold_platform.engine import dispatch
from tenfold_platform.environments import service as environments
from tenfold_platform.environments.folders import remove_orphans
from tenfold_platform.environments.service import OPEN_STATES
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.heartbeat import Heartbeat
from tenfold_platform.log import configure_logging
from tenfold_platform.logs import service as logs
from tenfold_platform.models import shadows, traffic
from tenfold_platform.models.tasks import list_unfetched
from tenfold_platform.secrets import service as secrets
from tenfold_platform.secrets.sealing import Keyring
from tenfold_platform.settings import Settings

log = logging.getLogger(__name__)

__all__ = ["Controller", "run", "tables"]  # tables: the whole schema must be known before the first query

LEASE = timedelta(seconds=15)
ROUND_SECONDS = 0.5
BUSY_ROUND_SECONDS = 0.05
HEALTHY_LOOK_SECONDS = 2.0
SCALING_SECONDS = 1.0
RESEND_AFTER = timedelta(seconds=2)
HOUSEKEEPING_SECONDS = 10.0
FORGETTING_SECONDS = 3600.0
COLLECT_SECONDS = 60.0
ZYGOTES = 8


class Controller:
    """Rounds over everything that is not as it should be. `run_round` is one of them; tests call it directly."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        scheduler: Scheduler,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        owner: str = "controller",
        workers: int = 8,
    ) -> None:
        self._sessions = sessions
        self._scheduler = scheduler
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._keyring = Keyring.of(settings)
        self._masks = Masks(sessions, self._keyring)
        self._arrivals = Arrivals(scheduler, self._arrived)
        self._reconciler = Reconciler(
            sessions,
            scheduler,
            ArtifactStore(settings.artifacts_dir),
            settings.workers_dir,
            clock,
            host=socket.gethostname(),
            keyring=self._keyring,
            masks=self._masks,
            started=self._arrivals.follow,
            compiles=settings.compile_models,
        )
        self._compiler = compiling.CompilerRun(
            sessions, scheduler, ArtifactStore(settings.artifacts_dir), settings.workers_dir
        )
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="controller")
        self._running: set[tuple[str, UUID]] = set()
        self._again: dict[tuple[str, UUID], Callable[[], Any]] = {}
        self._closed = False
        self._guard = threading.Lock()
        self._looked_at: dict[UUID, float] = {}
        self._sent_at: dict[UUID, float] = {}
        self._next_housekeeping = 0.0
        self._next_forgetting = 0.0
        self._next_scaling = 0.0
        self._next_collection = time.monotonic() + COLLECT_SECONDS
        self._wake = threading.Event()

    def run_round(self) -> None:
        """Hands every piece of work to the pool, one thread a piece; one still running from before is left alone."""
        if time.monotonic() >= self._next_housekeeping:
            self._next_housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS
            self._submit("housekeeping", UUID(int=0), self._keep_house)
        if time.monotonic() >= self._next_collection:
            self._next_collection = time.monotonic() + COLLECT_SECONDS
            self._submit("collection", UUID(int=0), self.collect)
        if time.monotonic() >= self._next_scaling:
            self._next_scaling = time.monotonic() + SCALING_SECONDS
            self._submit("scaling", UUID(int=0), self._scale)
        with transaction(self._sessions) as session:
            self._resend(session)
            unfinished = versions.list_unfinished(session)
            preparing = releases.list_preparing(session)
            uncompiled = compiling.list_unfinished(session) if self._settings.compile_models else []
            due = self._due_deployments(session)
            shippable = shipping.list_with_output(session, self._scheduler)
        for deployment_id in due:
            self._submit("deployment", deployment_id, partial(self._reconciler.reconcile, deployment_id))
        for version_id in unfinished:
            self._submit("version", version_id, partial(self._advance_version, version_id))
        for version_id in uncompiled:
            self._submit("compilation", version_id, partial(compiling.advance, self._compiler, version_id))
        for release_id in preparing:
            self._submit("release", release_id, partial(self._advance_release, release_id))
        for replica_id in shippable:
            self._submit("logs", replica_id, partial(self._ship_logs, replica_id))

    def collect(self) -> None:
        """Removes environments that nothing has used for a while, and folders that no environment needs."""
        kept_for = environments.kept_for(self._settings)
        if kept_for is not None:
            with transaction(self._sessions) as session:
                gone = environments.collect(session, unused_for=kept_for)
            for row in gone:
                log.info("environment %s was deleted: nothing has used it for %s", row.id, kept_for)
        remove_orphans(self._sessions, self._settings.environments_dir)

    def wait(self) -> None:
        """Until something changed, or the round's time is over."""
        self._wake.wait(ROUND_SECONDS)
        self._wake.clear()
        time.sleep(BUSY_ROUND_SECONDS)  # lets a burst of changes become one round

    def wake(self) -> None:
        self._wake.set()

    def look_at(self, deployment_id: UUID) -> None:
        """Something is known to have happened to it: a pass over it now, and another one after one that is under way.

        One that another controller leases is left to that one, which hears of it as well.
        """
        self._submit("deployment", deployment_id, partial(self._reconcile_own, deployment_id), again=True)

    def close(self) -> None:
        """Lets what runs finish; replicas go on running, to be adopted."""
        self._arrivals.close()
        self._compiler.closing.set()
        with self._guard:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        with transaction(self._sessions) as session:
            session.execute(
                update(DeploymentTable)
                .where(DeploymentTable.lease_owner == self._owner)
                .values(lease_owner=None, lease_until=None)
            )

    def _reconcile_own(self, deployment_id: UUID) -> bool:
        return self._reconciler.reconcile(deployment_id, owner=self._owner)

    def _arrived(self, deployment_id: UUID, handle: Handle, address: str, health: Health) -> None:
        if health.state == "ready":
            self._reconciler.has_arrived(deployment_id, UUID(handle.replica_id), address, health)
        self.look_at(deployment_id)

    def _scale(self) -> None:
        with transaction(self._sessions) as session:
            if not self._settings.compile_models:
                compiling.take_back(session)
            changed = scaling.apply(session, self._owner)
        for deployment_id in changed:
            self.look_at(deployment_id)

    def _advance_version(self, version_id: UUID) -> bool:
        return versions.advance(self._sessions, self._clock, self._masks, version_id)

    def _ship_logs(self, replica_id: UUID) -> None:
        """What was printed since the last round. It brings no round forward: a worker may print all the time."""
        for _ in range(shipping.PIECES_A_ROUND):
            if not shipping.ship_logs(self._sessions, self._scheduler, self._masks, replica_id):
                return

    def _advance_release(self, release_id: UUID) -> bool:
        return releases.advance(self._sessions, self._clock, self._settings.workers_dir, release_id)

    def _submit(self, kind: str, row_id: UUID, work: Callable[[], Any], *, again: bool = False) -> None:
        """`again`: when it is being done already, it is done once more afterwards."""
        key = (kind, row_id)
        with self._guard:
            if self._closed:
                return
            if key in self._running:
                if again:
                    self._again[key] = work
                return
            self._running.add(key)
            self._pool.submit(self._run, key, work)

    def _run(self, key: tuple[str, UUID], work: Callable[[], Any]) -> None:
        try:
            if work():
                self.wake()
        except Exception:
            log.exception("%s %s: this round failed; the next one tries again", *key)
        finally:
            with self._guard:
                self._running.discard(key)
                more = self._again.pop(key, None)
            if more is not None:
                self._submit(*key, more)

    def _due_deployments(self, session: Session) -> list[UUID]:
        """Leases deployments and returns those to look at: all that are not settled, the settled ones now and then."""
        expiring = or_(DeploymentTable.lease_until.is_(None), DeploymentTable.lease_until < func.now())
        mine_but_old = and_(
            DeploymentTable.lease_owner == self._owner, DeploymentTable.lease_until < func.now() + LEASE / 2
        )
        free = select(DeploymentTable.id).where(or_(expiring, mine_but_old)).with_for_update(skip_locked=True)
        session.execute(
            update(DeploymentTable)
            .where(DeploymentTable.id.in_(free))
            .values(
                lease_owner=self._owner,
                lease_until=func.now() + LEASE,
                fence=DeploymentTable.fence + case((DeploymentTable.lease_owner == self._owner, 0), else_=1),
            )
        )
        leased = session.execute(
            select(DeploymentTable.id, DeploymentTable.desired_replicas).where(
                DeploymentTable.lease_owner == self._owner
            )
        ).all()
        live = session.execute(
            select(ReplicaTable.deployment_id, ReplicaTable.state, ReplicaTable.draining_since).where(
                ReplicaTable.state.in_(LIVE_REPLICA_STATES)
            )
        ).all()
        states: dict[UUID, list[str]] = {}
        for deployment_id, state, draining_since in live:
            states.setdefault(deployment_id, []).append("outgoing" if draining_since else state)
        now = time.monotonic()
        due: list[UUID] = []
        for deployment_id, desired in leased:
            settled = states.get(deployment_id, []) == [ReplicaState.READY] * desired
            if settled and now - self._looked_at.get(deployment_id, 0.0) < HEALTHY_LOOK_SECONDS:
                continue
            if settled and desired == 0:
                continue
            self._looked_at[deployment_id] = now
            due.append(deployment_id)
        return due

    def _resend(self, session: Session) -> None:
        """Sends the message again for what is not done. A message that arrives twice, or too often, does nothing."""
        waiting = session.scalars(
            select(EnvironmentTable.id).where(
                EnvironmentTable.state.in_(OPEN_STATES),
                EnvironmentTable.created_at < func.now() - RESEND_AFTER,
                or_(EnvironmentTable.lease_until.is_(None), EnvironmentTable.lease_until < func.now()),
            )
        ).all()
        tasks = dict.fromkeys(waiting, "build_environment")
        tasks |= dict.fromkeys(list_unfetched(session, created_before=RESEND_AFTER), "fetch_data")
        now = time.monotonic()
        latest = now - RESEND_AFTER.total_seconds()
        self._sent_at = {row_id: at for row_id, at in self._sent_at.items() if row_id in tasks and at > latest}
        for row_id in tasks.keys() - self._sent_at.keys():
            self._sent_at[row_id] = now
            self._submit("resend", row_id, partial(dispatch.send, tasks[row_id], row_id))

    def _keep_house(self) -> None:
        """Each piece by itself: what is in the way of one is not in the way of the others."""
        pieces: list[Callable[[Session], Any]] = [
            logs.trim,
            scaling.forget_gone,
            lambda session: secrets.reseal_all(session, self._keyring),
            lambda session: self._masks.forget_others(shipping.list_shippable(session)),
        ]
        if time.monotonic() >= self._next_forgetting:
            self._next_forgetting = time.monotonic() + FORGETTING_SECONDS
            pieces += [
                lambda session: traffic.forget_old(session, self._clock()),
                lambda session: shadows.forget_old(session, self._clock()),
                lambda session: forgetting.forget_ended(session, self._clock()),
            ]
        steps: list[Callable[[], None]] = [self._reconciler.stop_strays]
        steps += [partial(self._tidy, piece) for piece in pieces]
        for step in steps:
            try:
                step()
            except Exception:
                log.exception("a piece of housekeeping failed; the next round tries again")

    def _tidy(self, piece: Callable[[Session], Any]) -> None:
        with transaction(self._sessions) as session:
            piece(session)


def run(settings: Settings) -> None:
    """Rounds until SIGTERM, woken by PostgreSQL's notifications. Replicas keep running when it ends."""
    configure_logging("controller")
    database_url = settings.database_url.get_secret_value()
    dispatch.configure(settings.redis_url.get_secret_value())
    sessions = make_sessions(make_engine(database_url, pool_size=12, application_name="tenfold controller"))
    owner = f"controller:{socket.gethostname()}:{os.getpid()}"
    scheduler = LocalScheduler(settings.workers_dir, isolation=settings.find_isolation(), zygotes=ZYGOTES)
    controller = Controller(sessions, scheduler, settings, owner=owner)
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        controller.wake()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    listener = threading.Thread(target=_listen, args=(database_url, controller, stopping), daemon=True)
    listener.start()
    with Heartbeat(database_url, "controller"):
        while not stopping.is_set():
            try:
                controller.run_round()
            except Exception:
                log.exception("a round failed; trying again")
                stopping.wait(1.0)
            controller.wait()
        controller.close()


def _listen(database_url: str, controller: Controller, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("listen tenfold_changed")
                connection.execute("listen tenfold_wake")
                while not stopping.is_set():
                    for heard in connection.notifies(timeout=1.0, stop_after=1):
                        if heard.channel == "tenfold_wake":
                            controller.look_at(UUID(heard.payload))
                        else:
                            controller.wake()
        except psycopg.Error as error:
            log.warning("not listening for changes, rounds go on every %s s: %s", ROUND_SECONDS, error)
            stopping.wait(1.0)
