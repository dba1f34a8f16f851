"""What every scheduler promises.

A scheduler starts, stops, observes and reads logs; how many replicas there should be is not its business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

WorkerKind = Literal["model", "code"]
Level = Literal["strict", "reduced", "none"]
Network = Literal["none", "open"]


class ReplicaState(StrEnum):
    STARTING = "starting"
    """The worker's process exists or is about to; nothing listens at its address yet."""
    RUNNING = "running"
    """The worker listens at its address. Whether it has loaded its model is what `health` over frames tells."""
    EXITED = "exited"
    """It ended; `exit` and `reason` say how. A replica never leaves this state."""
    UNKNOWN = "unknown"
    """It could not be reached or looked at. This never means that it failed: observe again later."""


class SchedulerError(Exception):
    """A scheduler could not do what it was asked. `code` is stable, `hint` says what to do about it."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Resources:
    """What one replica may use. `None` means: whatever the machine has."""

    memory_bytes: int | None = None
    cpu: float | None = None


@dataclass(frozen=True)
class ReplicaSpec:
    """One worker to start. `root` is a model's package folder; `code_root` holds one folder per bundle digest.

    `secrets` reach user code only as the model's `secrets` argument; they are never part of a handle or of the
    environment. `environment` is what a model's constructor and `setup_environment` get: such as
    `{"name": "production"}`.

    `packed`: it may share a worker with other packed replicas of its workspace that are alike in environment, variables
    and resources; these bound the worker as a whole. Its handle says what came of it, in `data["pack"]`:
    `{"worker": PACK_ID}`, or `{"alone": SENTENCE}` with the reason why it has a worker of its own.
    """

    replica_id: str
    kind: WorkerKind
    python: str
    root: str | None = None
    code_root: str | None = None
    digest: str | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment: Mapping[str, Any] | None = None
    resources: Resources = Resources()
    labels: Mapping[str, str] = field(default_factory=dict)
    packed: bool = False


@dataclass(frozen=True)
class Isolation:
    """How well user code is kept from the machine that it runs on.

    `strict`: namespaces of its own. `reduced`: rules of the kernel for an ordinary process. `none`: a process like any
    other. `network` is what it reaches of the machine's network. `missing` says, in sentences for the operator, what
    keeps the machine from a better level and what to do about it.
    """

    level: Level = "none"
    network: Network = "open"
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"level": self.level, "network": self.network, "missing": list(self.missing)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Isolation:
        given = value or {}
        return cls(given.get("level", "none"), given.get("network", "open"), tuple(given.get("missing", ())))


@dataclass(frozen=True)
class Handle:
    """Names one started replica, across restarts of whoever started it.

    `data` belongs to the scheduler that made it.
    """

    scheduler: str
    replica_id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    isolation: Isolation = Isolation()

    def to_json(self) -> dict[str, Any]:
        return {
            "scheduler": self.scheduler,
            "replica_id": self.replica_id,
            "data": dict(self.data),
            "labels": dict(self.labels),
            "isolation": self.isolation.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Handle:
        return cls(
            value["scheduler"],
            value["replica_id"],
            dict(value["data"]),
            dict(value.get("labels") or {}),
            Isolation.from_json(value.get("isolation")),
        )


@dataclass(frozen=True)
class ExitStatus:
    """How a worker ended: its exit code, or the signal that ended it."""

    code: int | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Observation:
    """What one look at a replica saw. `address` is where the worker listens (`unix:PATH` or `tcp:HOST:PORT`).

    `reason` is a sentence for people and `reason_code` its stable name (`out_of_memory`, `exited`, `killed`, `stopped`,
    `start_failed`, `lost`, ...); both are set when the state is exited or unknown. `since` is when the state began,
    as far as known.
    """

    state: ReplicaState
    address: str | None = None
    pid: int | None = None
    exit: ExitStatus | None = None
    reason: str | None = None
    reason_code: str | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class LogChunk:
    """A piece of a worker's output. Ask again from `next_offset`; bytes that rotation has dropped are passed over."""

    data: bytes
    next_offset: int


class Scheduler(Protocol):
    """Starts and stops single workers.

    Every method may be called from any thread and returns without waiting for user code.
    """

    name: str

    def start(self, spec: ReplicaSpec) -> Handle:
        """Starts one replica and returns as soon as its process exists.

        Raises SchedulerError: `replica_exists` when this replica id was started before (adopt it), `start_failed`
        otherwise.
        """
        ...

    def stop(self, handle: Handle, grace_seconds: float = 10.0) -> None:
        """Asks a replica to finish what is in flight, and ends it after the grace.

        Returns at once; stopping twice is fine.
        """
        ...

    def observe(self, handle: Handle) -> Observation:
        """Looks at one replica. Never raises for a replica that is gone: that is an exited one."""
        ...

    def observe_all(self, handles: Sequence[Handle]) -> list[Observation]:
        """Looks at many at once, in the order given."""
        ...

    def logs(self, handle: Handle, offset: int = 0, limit: int = 65536) -> LogChunk:
        """The worker's output from a byte offset on, also after it ended. A negative offset counts from the end."""
        ...

    def adopt(self) -> list[Handle]:
        """Every replica that this scheduler still has a record of, running or ended, e.g.

        after the caller was restarted.
        """
        ...

    def remove(self, handle: Handle) -> None:
        """Forgets an ended replica and its logs. Raises SchedulerError `still_running` when it has not ended."""
        ...
