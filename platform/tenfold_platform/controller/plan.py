"""What to do about one deployment, decided without touching anything: desired state and what was seen in, actions out.

desired 1, none live            -> Create (unless it must wait after failures)
pending, no process             -> Start
starting, worker answers        -> NowLoading / NowReady
loading too long                -> NowFailed (load timed out) + Stop
process ended by itself         -> NowFailed
more live than desired          -> Drain the newest surplus, then Stop when nothing is in flight
asked to be replaced            -> Create another; Drain the old one once that is ready
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from tenfold_platform.deployments.tables import ReplicaState

HealthState = Literal["loading", "ready", "failed", "unreachable", "unknown"]
ProcessState = Literal["none", "starting", "running", "exited", "unknown"]

CRASH_LOOP_AFTER = 3
LOAD_IS_LATE = "load() did not return"
DRAIN_AT_LEAST = timedelta(seconds=1)
DRAIN_AT_MOST = timedelta(seconds=30)
BACKOFF_BASE_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0
STABLE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True)
class Seen:
    """One replica: its row, its process, and what its worker says of itself."""

    replica_id: UUID
    state: ReplicaState
    process: ProcessState
    health: HealthState = "unknown"
    in_flight: int = 0
    started_at: datetime | None = None
    ready_at: datetime | None = None
    draining_since: datetime | None = None
    reason: str = ""  # why it ended, or why load failed
    blameless: bool = False  # it ended because it was told to, or because the machine did
    outgoing: bool = False  # to be replaced: it goes when another is ready in its place


@dataclass(frozen=True)
class Desired:
    replicas: int
    startable: bool  # environment built, package at hand
    failures: int
    retry_at: datetime | None
    load_timeout: timedelta


@dataclass(frozen=True)
class Create:
    """Record a new replica."""


@dataclass(frozen=True)
class Start:
    replica_id: UUID


@dataclass(frozen=True)
class NowStarting:
    """The row said pending, but its process is there: an earlier controller started it and died before it wrote so."""

    replica_id: UUID


@dataclass(frozen=True)
class NowLoading:
    replica_id: UUID


@dataclass(frozen=True)
class NowReady:
    replica_id: UUID


@dataclass(frozen=True)
class NowFailed:
    replica_id: UUID
    reason: str
    stop: bool  # its process is still there


@dataclass(frozen=True)
class Drain:
    replica_id: UUID


@dataclass(frozen=True)
class Stop:
    replica_id: UUID


@dataclass(frozen=True)
class NowStopped:
    replica_id: UUID


@dataclass(frozen=True)
class ForgiveFailures:
    """It has run for a while: the next failure starts counting from zero."""


Action = Create | Start | NowStarting | NowLoading | NowReady | NowFailed | Drain | Stop | NowStopped | ForgiveFailures

OCCUPYING = (ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY)


def plan(desired: Desired, replicas: Sequence[Seen], now: datetime) -> list[Action]:
    """The actions that bring a deployment closer to what is desired. Empty when all is well."""
    actions: list[Action] = []
    for replica in replicas:
        actions += _advance(desired, replica, now)
    failed = {action.replica_id for action in actions if isinstance(action, NowFailed)}
    ended = failed | {action.replica_id for action in actions if isinstance(action, NowStopped)}
    occupying = [r for r in replicas if r.state in OCCUPYING and r.replica_id not in ended]
    actions += _fewer(desired, occupying)
    if not failed:
        actions += _more(desired, occupying, now)
    if desired.failures and any(_is_stable(replica, now) for replica in occupying if not replica.outgoing):
        actions.append(ForgiveFailures())
    return actions


def backoff(failures: int) -> timedelta:
    """How long to wait before the next try, after so many failures in a row."""
    if failures <= 1:
        return timedelta(0)
    return timedelta(seconds=min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** (failures - 2)))


def is_crash_loop(failures: int) -> bool:
    return failures >= CRASH_LOOP_AFTER


def _advance(desired: Desired, replica: Seen, now: datetime) -> list[Action]:
    if replica.process == "exited":
        return [_ended(replica)]
    match replica.state:
        case ReplicaState.PENDING:
            if replica.process in ("starting", "running"):
                return [NowStarting(replica.replica_id)]
            wanted = desired.replicas > 0 and desired.startable and replica.process == "none"
            return [Start(replica.replica_id)] if wanted else []
        case ReplicaState.STARTING | ReplicaState.LOADING:
            return _come_up(desired, replica, now)
        case ReplicaState.DRAINING:
            return _drained(replica, now)
        case _:
            return []


def _ended(replica: Seen) -> Action:
    if replica.state == ReplicaState.DRAINING or replica.blameless:
        return NowStopped(replica.replica_id)
    return NowFailed(replica.replica_id, replica.reason or "The process ended.", stop=False)


def _come_up(desired: Desired, replica: Seen, now: datetime) -> list[Action]:
    if replica.health == "ready":
        return [NowReady(replica.replica_id)]
    if replica.health == "failed":
        return [NowFailed(replica.replica_id, replica.reason, stop=True)]
    if replica.started_at is not None and now - replica.started_at > desired.load_timeout:
        seconds = desired.load_timeout.total_seconds()
        doing = LOAD_IS_LATE if replica.health == "loading" else "The worker did not answer"
        return [NowFailed(replica.replica_id, f"{doing} within {seconds:g} s.", stop=True)]
    if replica.health == "loading" and replica.state == ReplicaState.STARTING:
        return [NowLoading(replica.replica_id)]
    return []


def _drained(replica: Seen, now: datetime) -> list[Action]:
    waited = now - replica.draining_since if replica.draining_since else DRAIN_AT_MOST
    idle = replica.in_flight == 0 and replica.health != "unknown"
    if waited >= DRAIN_AT_MOST or (idle and waited >= DRAIN_AT_LEAST):
        return [Stop(replica.replica_id)]
    return []


def _fewer(desired: Desired, occupying: Sequence[Seen]) -> list[Action]:
    staying = [replica for replica in occupying if not replica.outgoing]
    in_place = sum(replica.state == ReplicaState.READY for replica in staying)
    # of those to be replaced, only what already serves is worth keeping, and only until its place is taken
    kept = max(0, desired.replicas - in_place)
    outgoing = [replica for replica in occupying if replica.outgoing]
    serving = sorted((r for r in outgoing if r.state == ReplicaState.READY), key=lambda r: r.replica_id.int)
    gone = [r for r in outgoing if r.state != ReplicaState.READY] + serving[kept:]
    surplus = max(0, len(staying) - desired.replicas)
    least_useful_first = sorted(staying, key=lambda r: (r.state == ReplicaState.READY, -r.replica_id.int))
    return [Drain(replica.replica_id) for replica in [*gone, *least_useful_first[:surplus]]]


def _more(desired: Desired, occupying: Sequence[Seen], now: datetime) -> list[Action]:
    if not desired.startable or (desired.retry_at is not None and now < desired.retry_at):
        return []
    staying = sum(not replica.outgoing for replica in occupying)
    return [Create() for _ in range(desired.replicas - staying)]


def _is_stable(replica: Seen, now: datetime) -> bool:
    return (
        replica.state == ReplicaState.READY and replica.ready_at is not None and now - replica.ready_at >= STABLE_AFTER
    )
