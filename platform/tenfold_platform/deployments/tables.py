from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, HasId


class DeploymentKind(StrEnum):
    MODEL = "model"  # one model version
    CODE = "code"  # app code of one (workspace, environment)


class ReplicaState(StrEnum):
    PENDING = "pending"  # recorded, not asked for yet
    STARTING = "starting"  # the process (or pod) was asked for
    LOADING = "loading"  # it answers, load() runs
    READY = "ready"
    DRAINING = "draining"  # takes no new requests
    STOPPED = "stopped"  # ended because we wanted it
    FAILED = "failed"  # ended, or load failed, because of itself


LIVE_REPLICA_STATES = (
    ReplicaState.PENDING,
    ReplicaState.STARTING,
    ReplicaState.LOADING,
    ReplicaState.READY,
    ReplicaState.DRAINING,
)


class DeploymentTable(HasId, Base):
    """Desired state: so many replicas of this. The controller makes it true."""

    __tablename__ = "deployments"
    __table_args__ = (
        Index(
            "uq_deployments_code_environment",
            "environment_id",
            unique=True,
            postgresql_where=text("kind = 'code'"),
        ),
    )
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    version_id: Mapped[UUID | None] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"), unique=True)
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id"))
    desired_replicas: Mapped[int] = mapped_column(default=1)  # now; 0: stopped, or asleep
    min_replicas: Mapped[int] = mapped_column(default=1)  # 0: it may sleep
    max_replicas: Mapped[int] = mapped_column(default=1)
    idle_seconds: Mapped[int] = mapped_column(default=300)  # without a call, before it sleeps
    asleep_since: Mapped[datetime | None]  # nobody stopped it: the next call wakes it
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    retry_at: Mapped[datetime | None]
    unhealthy_reason: Mapped[str] = mapped_column(default="")
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)


class DemandTable(Base):
    """What one gateway last saw of a deployment that may be scaled. See `gateway/demand.py`."""

    __tablename__ = "deployment_demand"
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True)
    gateway: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    used_at: Mapped[datetime]  # the last call: when it was under way
    load: Mapped[float]  # most calls at once of the last while, in replicas that they fill
    queued_since: Mapped[datetime | None]  # since when calls wait, without a break


class LoadTable(Base):
    """How many calls of a deployment one gateway has now, for the load page. See `gateway/load.py`."""

    __tablename__ = "deployment_load"
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True)
    gateway: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    waiting: Mapped[int]
    in_flight: Mapped[int]


class ReplicaTable(HasId, Base):
    """Those that ended are forgotten after a while, see `forgetting`."""

    __tablename__ = "replicas"
    __table_args__ = (
        Index(
            "ix_replicas_live",
            "deployment_id",
            postgresql_where=text("state in ('pending', 'starting', 'loading', 'ready', 'draining')"),
        ),
    )
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(default=ReplicaState.PENDING)
    reason: Mapped[str] = mapped_column(default="")
    address: Mapped[str | None]  # unix:PATH or tcp:HOST:PORT, where frames are spoken
    handle: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the scheduler's
    host: Mapped[str] = mapped_column(default="")
    started_at: Mapped[datetime | None]
    ready_at: Mapped[datetime | None]
    draining_since: Mapped[datetime | None]  # set while still ready: it goes once another took its place
    ended_at: Mapped[datetime | None]
    load_seconds: Mapped[float | None]
    memory_bytes: Mapped[int | None]  # as last measured
    peak_memory_bytes: Mapped[int | None]
    exit: Mapped[dict[str, Any] | None]  # {code, signal, reason}
    log_offset: Mapped[int] = mapped_column(default=0)  # how much of its log is in log_chunks


class ReplicaEndsTable(Base):
    """The replicas of a deployment that ended and were forgotten: what metrics go on counting."""

    __tablename__ = "replica_ends"
    deployment_id: Mapped[UUID] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    replicas: Mapped[int]
    cold_starts: Mapped[int]  # of them, those that could answer once
    cold_start_seconds: Mapped[float]
