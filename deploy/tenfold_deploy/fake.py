"""A scheduler that starts nothing.

For tests of whoever uses one. It keeps the promises of the real ones, and fails on request.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tenfold_deploy.scheduler import (
    ExitStatus,
    Handle,
    LogChunk,
    Observation,
    ReplicaSpec,
    ReplicaState,
    SchedulerError,
)

_LEFT = ExitStatus(code=0)


@dataclass(frozen=True)
class Behaviour:
    """What becomes of one replica. Times are seconds from its start by the scheduler's clock; None means never."""

    start_error: str | None = None
    listens_after: float | None = 0.0
    exits_after: float | None = None
    exit: ExitStatus = _LEFT
    reason_code: str = "exited"
    reason: str = "It ended by itself, with exit code 0."
    stops_after: float | None = 0.0
    """Seconds from being asked to stop until it has ended; one that never does is killed when the grace is over."""


HEALTHY = Behaviour()
FAILS_TO_START = Behaviour(start_error="There is no Python there.")
HANGS_BEFORE_LISTENING = Behaviour(listens_after=None)
IGNORES_STOP = Behaviour(stops_after=None)


def starts_slowly(seconds: float) -> Behaviour:
    return Behaviour(listens_after=seconds)


def crashes_after(seconds: float, *, code: int = 1) -> Behaviour:
    reason = f"It ended by itself, with exit code {code}; the last lines of its log may say why."
    return Behaviour(exits_after=seconds, exit=ExitStatus(code=code), reason=reason)


def runs_out_of_memory_after(seconds: float) -> Behaviour:
    return Behaviour(
        exits_after=seconds,
        exit=ExitStatus(signal=9),
        reason_code="out_of_memory",
        reason="Out of memory: it used 600 MiB of 512 MiB.",
    )


@dataclass
class _Replica:
    spec: ReplicaSpec
    handle: Handle
    behaviour: Behaviour
    started_at: datetime
    stop_at: datetime | None = None
    killed: bool = False
    ended: Observation | None = None
    log: bytearray = field(default_factory=bytearray)


class FakeScheduler:
    """In memory, with an injected clock and scripted failures.

    `script(a, b)` decides what becomes of the next replicas started, in order; all others behave as `default`.
    `crash`, `lose_contact` and `print` act on replicas that run. `started` and `stopped` record what was asked for.
    """

    name = "fake"

    def __init__(
        self,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        default: Behaviour = HEALTHY,
        address: Callable[[ReplicaSpec], str] = lambda spec: f"unix:/fake/{spec.replica_id}",
    ) -> None:
        self.default = default
        self.started: list[ReplicaSpec] = []
        self.stopped: list[str] = []
        self._clock = clock
        self._address = address
        self._scripted: deque[Behaviour] = deque()
        self._replicas: dict[str, _Replica] = {}
        self._lost: set[str] = set()
        self._all_lost = False
        self._lock = threading.RLock()

    # What a scheduler does

    def start(self, spec: ReplicaSpec) -> Handle:
        with self._lock:
            if spec.replica_id in self._replicas:
                raise SchedulerError(
                    "replica_exists",
                    f"Replica {spec.replica_id} was started before.",
                    hint="Adopt it, or use a new id.",
                )
            behaviour = self._scripted.popleft() if self._scripted else self.default
            if behaviour.start_error is not None:
                raise SchedulerError("start_failed", behaviour.start_error)
            pack = {"pack": {"worker": f"of {spec.labels.get('workspace')}"}} if spec.packed else {}
            handle = Handle(self.name, spec.replica_id, {"address": self._address(spec), **pack}, dict(spec.labels))
            self._replicas[spec.replica_id] = _Replica(spec, handle, behaviour, self._clock())
            self.started.append(spec)
            return handle

    def stop(self, handle: Handle, grace_seconds: float = 10.0) -> None:
        with self._lock:
            replica = self._replicas.get(handle.replica_id)
            if replica is None or self._settle(replica).ended is not None:
                return
            self.stopped.append(handle.replica_id)
            takes = replica.behaviour.stops_after
            killed = takes is None or takes > grace_seconds
            stop_at = self._clock() + timedelta(seconds=grace_seconds if killed or takes is None else takes)
            if replica.stop_at is None or stop_at < replica.stop_at:
                replica.stop_at, replica.killed = stop_at, killed
            self._settle(replica)

    def observe(self, handle: Handle) -> Observation:
        with self._lock:
            if self._all_lost or handle.replica_id in self._lost:
                return Observation(ReplicaState.UNKNOWN, reason="It could not be looked at.", reason_code="unreachable")
            replica = self._replicas.get(handle.replica_id)
            if replica is None:
                gone = "There is no record of it."
                return Observation(ReplicaState.EXITED, exit=ExitStatus(), reason=gone, reason_code="lost")
            return self._settle(replica).ended or self._living(replica)

    def observe_all(self, handles: Sequence[Handle]) -> list[Observation]:
        return [self.observe(handle) for handle in handles]

    def logs(self, handle: Handle, offset: int = 0, limit: int = 65536) -> LogChunk:
        with self._lock:
            replica = self._replicas.get(handle.replica_id)
            log = bytes(replica.log) if replica is not None else b""
        start = max(0, len(log) + offset) if offset < 0 else offset
        data = log[start : start + limit]
        return LogChunk(data, start + len(data))

    def adopt(self) -> list[Handle]:
        with self._lock:
            return [replica.handle for replica in self._replicas.values()]

    def remove(self, handle: Handle) -> None:
        with self._lock:
            if self.observe(handle).state is not ReplicaState.EXITED:
                raise SchedulerError(
                    "still_running",
                    f"Replica {handle.replica_id} has not ended.",
                    hint="Stop it and observe its end first.",
                )
            self._replicas.pop(handle.replica_id, None)

    # What a test does to it

    def script(self, *behaviours: Behaviour) -> None:
        """The next replicas that are started behave so, in this order."""
        with self._lock:
            self._scripted.extend(behaviours)

    def crash(self, replica_id: str, *, code: int | None = 1, signal: int | None = None) -> None:
        """It ends now, by itself."""
        with self._lock:
            replica = self._replicas[replica_id]
            if self._settle(replica).ended is None:
                status = ExitStatus(None if signal is not None else code, signal)
                reason = (
                    f"It crashed with signal {signal}." if signal else f"It ended by itself, with exit code {code}."
                )
                replica.ended = Observation(
                    ReplicaState.EXITED,
                    exit=status,
                    reason=reason,
                    reason_code="crashed" if signal else "exited",
                    since=self._clock(),
                )

    def lose_contact(self, replica_id: str | None = None) -> None:
        """From now on the replica (or every one) is observed as unknown, though it goes on as before."""
        with self._lock:
            if replica_id is None:
                self._all_lost = True
            else:
                self._lost.add(replica_id)

    def regain_contact(self) -> None:
        with self._lock:
            self._all_lost = False
            self._lost.clear()

    def print(self, replica_id: str, text: str) -> None:
        """Adds to a replica's log."""
        with self._lock:
            self._replicas[replica_id].log += text.encode()

    def running(self) -> list[str]:
        """The ids of the replicas that have not ended, in the order in which they were started."""
        with self._lock:
            return [name for name, replica in self._replicas.items() if self._settle(replica).ended is None]

    def _settle(self, replica: _Replica) -> _Replica:
        """Lets what was due by now happen."""
        if replica.ended is not None:
            return replica
        now, behaviour = self._clock(), replica.behaviour
        exit_at = (
            None if behaviour.exits_after is None else replica.started_at + timedelta(seconds=behaviour.exits_after)
        )
        if exit_at is not None and exit_at <= now and (replica.stop_at is None or exit_at <= replica.stop_at):
            replica.ended = Observation(
                ReplicaState.EXITED,
                exit=behaviour.exit,
                reason=behaviour.reason,
                reason_code=behaviour.reason_code,
                since=exit_at,
            )
        elif replica.stop_at is not None and replica.stop_at <= now:
            replica.ended = _stopped(replica.stop_at, replica.killed)
        return replica

    def _living(self, replica: _Replica) -> Observation:
        wait = replica.behaviour.listens_after
        pid = 10_000 + list(self._replicas).index(replica.spec.replica_id)
        starting = Observation(ReplicaState.STARTING, pid=pid, since=replica.started_at)
        if wait is None or self._clock() < replica.started_at + timedelta(seconds=wait):
            return starting
        return replace(
            starting,
            state=ReplicaState.RUNNING,
            address=replica.handle.data["address"],
            since=replica.started_at + timedelta(seconds=wait),
        )


def _stopped(at: datetime, killed: bool) -> Observation:
    if killed:
        reason = "It was stopped, and killed because it did not finish in time."
        return Observation(
            ReplicaState.EXITED, exit=ExitStatus(signal=9), reason=reason, reason_code="stopped", since=at
        )
    return Observation(
        ReplicaState.EXITED, exit=ExitStatus(code=0), reason="It was stopped.", reason_code="stopped", since=at
    )
