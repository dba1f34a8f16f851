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
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.scheduler import Handle, Scheduler
from tenfold_platform import tables
from tenfold_platform.clock import Clock, utc_now
from tenfold_platform.controller import compiling, releases, scaling, shipping, versions
from tenfold_platform.controller.agenda import RESEND_AFTER, Agenda
from tenfold_platform.controller.arrivals import Arrivals
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.probe import Health
from tenfold_platform.controller.reconcile import Reconciler
from tenfold_platform.db import make_engine, make_sessions, transaction
from tenfold_platform.deployments import forgetting
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.engine import dispatch
from tenfold_platform.environments import service as environments
from tenfold_platform.environments.folders import remove_orphans
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.heartbeat import Heartbeat
from tenfold_platform.log import configure_logging
from tenfold_platform.logs import service as logs
from tenfold_platform.models import shadows, traffic
from tenfold_platform.secrets import service as secrets
from tenfold_platform.secrets.sealing import Keyring
from tenfold_platform.settings import Settings

log = logging.getLogger(__name__)

__all__ = ["Controller", "run", "tables"]  # tables: the whole schema must be known before the first query

ROUND_SECONDS = 0.5
BUSY_ROUND_SECONDS = 0.05
SCALING_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
HOUSEKEEPING_SECONDS = 10.0
FORGETTING_SECONDS = 3600.0
COLLECT_SECONDS = 60.0
ZYGOTES = 8


@dataclass(frozen=True)
class Failing:
    """A piece of work that raised so often without a break, and is left alone until then (by the monotonic clock)."""

    count: int
    until: float


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
        self._failing: dict[tuple[str, UUID], Failing] = {}
        self._guard = threading.Lock()
        self._agenda = Agenda(owner, compiles=settings.compile_models)
        self._advance: Mapping[str, Callable[[UUID], bool]] = {
            "version": self._advance_version,
            "release": self._advance_release,
            "compilation": partial(compiling.advance, self._compiler),
        }
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
            unfinished = self._agenda.work(session)
            due = self._agenda.due_deployments(session)
            shippable = shipping.list_with_output(session, self._scheduler)
        for deployment_id in due:
            self._submit("deployment", deployment_id, partial(self._reconciler.reconcile, deployment_id))
        for kind, row_id in unfinished:
            if kind in self._advance:
                self._submit(kind, row_id, partial(self._advance[kind], row_id))
        self._resend({row_id: kind for kind, row_id in unfinished if kind not in self._advance})
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
            failing = self._failing.get(key)
            if failing is not None and not again and time.monotonic() < failing.until:
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
            self._failing.pop(key, None)
        except Exception:
            log.exception("%s %s: failed; tried again in %g s", *key, self._pause_after_failure(key))
        finally:
            with self._guard:
                self._running.discard(key)
                more = self._again.pop(key, None)
            if more is not None:
                self._submit(*key, more)

    def _pause_after_failure(self, key: tuple[str, UUID]) -> float:
        """For how long it is left alone now, in seconds: longer with every failure."""
        now = time.monotonic()
        with self._guard:
            failures = self._failing[key].count + 1 if key in self._failing else 1
            pause = min(ROUND_SECONDS * 2.0**failures, LONGEST_PAUSE_SECONDS)
            lately = {
                one: failing for one, failing in self._failing.items() if now - failing.until < FORGETTING_SECONDS
            }
            self._failing = {**lately, key: Failing(failures, now + pause)}
        return pause

    def _resend(self, tasks: Mapping[UUID, str]) -> None:
        """Sends the message again for what is not done. A message that arrives twice, or too often, does nothing."""
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
