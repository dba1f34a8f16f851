from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, CreatedAt, HasId


class VersionState(StrEnum):
    """How far a version's preparation is. Whether it runs now is its deployment's business."""

    PENDING = "pending"
    BUILDING = "building"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class ModelTable(HasId, Base):
    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    tags: Mapped[list[str]] = mapped_column(default=list)
    last_number: Mapped[int] = mapped_column(default=0)
    min_replicas: Mapped[int] = mapped_column(default=1)  # of each version that runs: see DeploymentTable
    max_replicas: Mapped[int] = mapped_column(default=1)
    idle_seconds: Mapped[int] = mapped_column(default=300)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class VersionTable(HasId, Base):
    """Immutable: a package, an environment, resources. Only its preparation's progress changes."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model_id", "number"),)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    number: Mapped[int]
    package_digest: Mapped[str]
    files: Mapped[list[Any]]  # [{path, digest, size, executable}]
    size_bytes: Mapped[int]
    fetched: Mapped[list[Any]] = mapped_column(default=list)  # external data: [{path, digest, size, url}]
    config: Mapped[dict[str, Any]]  # the normalised config.yaml
    memory_bytes: Mapped[int]  # what a replica may use at most
    framework: Mapped[str] = mapped_column(default="custom")
    schema: Mapped[dict[str, Any]] = mapped_column(default=dict)  # ModelSchema
    example: Mapped[Any | None] = mapped_column(JSONB)
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id"))
    environment_name: Mapped[str | None]  # the named environment that it was made with
    zoo_entry: Mapped[str | None]  # the entry that its package came from
    alias_wanted: Mapped[str | None]  # set once the version is ready
    state: Mapped[str] = mapped_column(default=VersionState.PENDING)
    reason: Mapped[str] = mapped_column(default="")
    hint: Mapped[str] = mapped_column(default="")
    stages: Mapped[list[Any]] = mapped_column(default=list)  # [{name, state, seconds, detail}]
    created_by: Mapped[str] = mapped_column(default="")
    ready_at: Mapped[datetime | None]


class CompilationState(StrEnum):
    """How far a version's compiled form is. Until `switching`, and once refused, its replicas are the original."""

    WAITING = "waiting"  # for the version to be ready
    TOOLS = "tools"  # an environment with the converter is being built
    CONVERTING = "converting"
    BUILDING = "building"  # the environment of the compiled form
    SWITCHING = "switching"  # replicas are being replaced by compiled ones
    SERVING = "serving"
    REFUSED = "refused"


class CompilationTable(Base):
    """The compiled form of one version, where its package brings a compiler. See models/compiling.py."""

    __tablename__ = "model_compilations"
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(default=CompilationState.WAITING)
    reason: Mapped[str] = mapped_column(default="")  # why it was refused
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)  # of the proof
    files: Mapped[list[Any]] = mapped_column(default=list)  # [{path, digest, size, executable}]
    tools_id: Mapped[UUID | None] = mapped_column(ForeignKey("environments.id"))  # where the compiler runs
    environment_id: Mapped[UUID | None] = mapped_column(ForeignKey("environments.id"))  # where its result does
    worker_id: Mapped[UUID | None]  # the compiler's process, while it runs
    lease_until: Mapped[datetime | None]  # until when a controller is at it
    tries: Mapped[int] = mapped_column(default=0)  # how often the compiler was started
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class AliasTable(Base):
    """A name for a version. With a canary, that share of its calls goes to another version."""

    __tablename__ = "model_aliases"
    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"))
    canary_version_id: Mapped[UUID | None] = mapped_column(ForeignKey("model_versions.id", ondelete="SET NULL"))
    canary_percent: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class ShadowTable(HasId, Base):
    """A sample of an alias's calls goes to another version as well, whose answers nobody gets. See gateway/shadows.py.

    Another version, or another tolerance, is another shadow: what was counted and kept belongs to one of them.
    """

    __tablename__ = "model_shadows"
    __table_args__ = (
        ForeignKeyConstraint(
            ["model_id", "alias"], ["model_aliases.model_id", "model_aliases.name"], ondelete="CASCADE"
        ),
        UniqueConstraint("model_id", "alias"),
    )
    model_id: Mapped[UUID]
    alias: Mapped[str]
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"), index=True)
    percent: Mapped[float]
    tolerance: Mapped[float]  # of two numbers that count as equal, as a share of the larger


class ShadowTallyTable(Base):
    """What the comparisons of a shadow with one version came to. Gateways add to it every few seconds."""

    __tablename__ = "shadow_tallies"
    shadow_id: Mapped[UUID] = mapped_column(ForeignKey("model_shadows.id", ondelete="CASCADE"), primary_key=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"), primary_key=True)
    equal: Mapped[int] = mapped_column(default=0)
    different: Mapped[int] = mapped_column(default=0)
    primary_failed: Mapped[int] = mapped_column(default=0)
    shadow_failed: Mapped[int] = mapped_column(default=0)
    dropped: Mapped[int] = mapped_column(default=0)
    primary_seconds: Mapped[float] = mapped_column(default=0.0)  # of the compared calls, as in model_traffic
    primary_buckets: Mapped[list[int]] = mapped_column(default=list)
    shadow_seconds: Mapped[float] = mapped_column(default=0.0)
    shadow_buckets: Mapped[list[int]] = mapped_column(default=list)


class ShadowDifferenceTable(Base):
    """One call that a shadow answered otherwise, or failed to answer. The newest few are kept, for a while."""

    __tablename__ = "shadow_differences"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    shadow_id: Mapped[UUID] = mapped_column(ForeignKey("model_shadows.id", ondelete="CASCADE"), index=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    outcome: Mapped[str]  # different | shadow_failed
    request_id: Mapped[str]
    path: Mapped[str]  # of the first difference in the answers
    request: Mapped[str]  # this and the answers: the beginning, if they are long
    primary_status: Mapped[int]
    primary_answer: Mapped[str]
    shadow_status: Mapped[int]
    shadow_answer: Mapped[str]


class TrafficTable(Base):
    """What the calls of one version came to in one minute. Gateways add to it every few seconds."""

    __tablename__ = "model_traffic"
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"), primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)  # answered 4xx: the caller's fault
    failed: Mapped[int] = mapped_column(default=0)  # answered 5xx
    seconds: Mapped[float] = mapped_column(default=0.0)  # the sum of their durations
    buckets: Mapped[list[int]] = mapped_column(default=list)  # calls by duration, see gateway/traffic.py


class PredictionState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PredictionTable(HasId, Base):
    """An asynchronous prediction: accepted before it was answered, carried out by whichever gateway leases it."""

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_queue", "state", "id"),)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(default=PredictionState.QUEUED)
    content_type: Mapped[str]
    body: Mapped[bytes]
    accept: Mapped[str | None]
    request_id: Mapped[str] = mapped_column(default="")
    caller: Mapped[str] = mapped_column(default="")
    status: Mapped[int | None]  # the HTTP status that a synchronous call would have had
    answer: Mapped[bytes | None]
    answer_type: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]  # {code, message, hint, ...} as the API's errors are
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
