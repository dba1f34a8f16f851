from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, HasId


class EnvironmentState(StrEnum):
    PENDING = "pending"
    RESOLVING = "resolving"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


class EnvironmentTable(HasId, Base):
    """A Python version and requirements, the lock they resolved to, and whether it is built."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("workspace_id", "spec_digest"),)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    spec_digest: Mapped[str]
    python_version: Mapped[str | None]  # as asked for
    requirements: Mapped[list[str]]
    constraints: Mapped[list[str]] = mapped_column(default=list)
    implied: Mapped[list[str]] = mapped_column(default=list)  # come along where requirements allow them
    state: Mapped[str] = mapped_column(default=EnvironmentState.PENDING)
    reason: Mapped[str] = mapped_column(default="")
    hint: Mapped[str] = mapped_column(default="")
    lock: Mapped[str | None]
    lock_digest: Mapped[str | None] = mapped_column(index=True)
    lock_python: Mapped[str | None]  # as resolved
    python_path: Mapped[str | None]
    packages: Mapped[list[Any]] = mapped_column(default=list)  # [{name, version}]
    build_seconds: Mapped[float | None]
    built_at: Mapped[datetime | None]
    size_bytes: Mapped[int | None]  # on disk
    wanted_at: Mapped[datetime] = mapped_column(server_default=func.now())  # last asked for by a deploy or a release
    attempts: Mapped[int] = mapped_column(default=0)
    # who builds it now
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)


class NamedEnvironmentTable(HasId, Base):
    """A list of requirements under a name ("nlp"), shared by apps and models. Editing it makes a new environment."""

    __tablename__ = "named_environments"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    python_version: Mapped[str | None]
    requirements: Mapped[list[str]]
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_by: Mapped[str] = mapped_column(default="")
