from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, CreatedAt, HasId


class WorkspaceTable(HasId, Base):
    __tablename__ = "workspaces"
    name: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str] = mapped_column(default="")


class MembershipTable(Base):
    __tablename__ = "memberships"
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str]  # Role
    created_at: Mapped[CreatedAt]
