from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, HasId


class RunState(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class RunTable(HasId, Base):
    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_workspace_recent", "workspace_id", "id"),
        Index("ix_runs_app_recent", "app_id", "id"),
    )
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    app_id: Mapped[UUID] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    release_id: Mapped[UUID] = mapped_column(ForeignKey("app_releases.id", ondelete="CASCADE"))
    worklet: Mapped[str]
    state: Mapped[str]
    trigger: Mapped[str]  # http | view
    caller: Mapped[str] = mapped_column(default="")  # key:<key id> | view:<view name> | user:<email>
    request_id: Mapped[str] = mapped_column(default="")
    input: Mapped[Any | None] = mapped_column(JSONB)
    output: Mapped[Any | None] = mapped_column(JSONB)
    error: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[float | None]


class StepTable(Base):
    __tablename__ = "run_steps"
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, default=1)
    kind: Mapped[str]
    state: Mapped[str]
    input: Mapped[Any | None] = mapped_column(JSONB)
    output: Mapped[Any | None] = mapped_column(JSONB)
    error: Mapped[dict[str, Any] | None]
    logs: Mapped[str] = mapped_column(default="")
    started_at: Mapped[datetime | None]
    duration_ms: Mapped[float | None]
