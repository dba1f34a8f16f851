"""Replicas on their way up, each followed closely, so that nobody waits for the next round once it can answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from uuid import UUID

from tenfold_deploy.scheduler import Handle, Observation, ReplicaState, Scheduler
from tenfold_platform.controller.probe import Health, probe

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.003
LONGEST_PAUSE_SECONDS = 0.2
WAIT_SECONDS = 5.0
AT_ONCE = 32

Arrived = Callable[[UUID, Handle, str, Health], None]
"""Told of the deployment, the replica, its address, and how it is: `ready`, or why not."""


class Arrivals:
    """`follow` returns at once; `arrived` is told of a replica that has loaded, failed or ended.

    It only ever brings a look at the deployment forward: a replica that is followed by nobody, or for longer than a
    minute, is found by the controller's rounds.
    """

    def __init__(self, scheduler: Scheduler, arrived: Arrived) -> None:
        self._scheduler = scheduler
        self._arrived = arrived
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._closed = threading.Event()

    def follow(self, deployment_id: UUID, handle: Handle) -> None:
        if self._closed.is_set() or not self._places.acquire(blocking=False):
            return
        threading.Thread(target=self._follow, args=(deployment_id, handle), name="arrival", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _follow(self, deployment_id: UUID, handle: Handle) -> None:
        deadline, pause = time.monotonic() + FOLLOW_SECONDS, FIRST_PAUSE_SECONDS
        try:
            while not self._closed.wait(pause) and time.monotonic() < deadline:
                seen = self._scheduler.observe(handle)
                health = _health(seen)
                if health is not None:
                    self._arrived(deployment_id, handle, seen.address or "", health)
                    return
                pause = min(pause * 1.1, LONGEST_PAUSE_SECONDS)
        except Exception:
            log.exception("replica %s is not followed any more; rounds find it", handle.replica_id)
        finally:
            self._places.release()


def _health(observation: Observation) -> Health | None:
    """None while it is on its way."""
    if observation.state is ReplicaState.EXITED:
        return Health("unreachable")
    if observation.state is not ReplicaState.RUNNING or not observation.address:
        return None
    health = probe(observation.address, wait_seconds=WAIT_SECONDS)
    return health if health.state in ("ready", "failed") else None
