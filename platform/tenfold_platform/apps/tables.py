from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, HasId


class Access(StrEnum):
    """Who may open an app's views."""

    WORKSPACE = "workspace"  # members, from the studio
    LINK = "link"  # whoever has the share link
    PUBLIC = "public"  # whoever has the address


class ReleaseState(StrEnum):
    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"


class AppTable(HasId, Base):
    __tablename__ = "apps"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    title: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    access: Mapped[str] = mapped_column(default=Access.WORKSPACE)
    link_generation: Mapped[int] = mapped_column(default=1)  # a share link is derived from it: raising it revokes
    draft_revision: Mapped[int] = mapped_column(default=0)
    last_number: Mapped[int] = mapped_column(default=0)
    live_release_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("app_releases.id", use_alter=True, ondelete="SET NULL")
    )
    # a ready-made app follows its model for as long as nobody has edited its draft
    made_for_model_id: Mapped[UUID | None] = mapped_column(ForeignKey("models.id", ondelete="SET NULL"), index=True)
    made_digest: Mapped[str | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class AppFileTable(Base):
    """The draft: one row a file."""

    __tablename__ = "app_files"
    app_id: Mapped[UUID] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes]
    digest: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    updated_by: Mapped[str] = mapped_column(default="")


class ReleaseTable(HasId, Base):
    """Immutable, and pins everything. `bundle` is what the gateway runs from (see apps/bundle.py)."""

    __tablename__ = "app_releases"
    __table_args__ = (UniqueConstraint("app_id", "number"),)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    app_id: Mapped[UUID] = mapped_column(ForeignKey("apps.id", ondelete="CASCADE"))
    number: Mapped[int]
    note: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(default=ReleaseState.PREPARING)
    reason: Mapped[str] = mapped_column(default="")
    hint: Mapped[str] = mapped_column(default="")
    stages: Mapped[list[Any]] = mapped_column(default=list)
    bundle: Mapped[dict[str, Any]]
    code_digest: Mapped[str | None]  # of code/ and packages/; None when there are none
    go_live: Mapped[bool] = mapped_column(default=True)  # becomes the live release once ready
    created_by: Mapped[str] = mapped_column(default="")
    ready_at: Mapped[datetime | None]


class ReleaseFileTable(Base):
    __tablename__ = "app_release_files"
    release_id: Mapped[UUID] = mapped_column(ForeignKey("app_releases.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes]
    digest: Mapped[str]
