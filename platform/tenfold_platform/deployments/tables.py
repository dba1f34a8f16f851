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
    desired_replicas: Mapped[int] = mapped_column(default=1)
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    retry_at: Mapped[datetime | None]
    unhealthy_reason: Mapped[str] = mapped_column(default="")
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)


class ReplicaTable(HasId, Base):
    __tablename__ = "replicas"
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
