from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, HasId


class UserTable(HasId, Base):
    __tablename__ = "users"
    email: Mapped[str] = mapped_column(unique=True)  # stored in lower case
    name: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str | None]  # argon2id; None: signs in by link only
    is_operator: Mapped[bool] = mapped_column(default=False)  # may administer the installation
    disabled_at: Mapped[datetime | None]


class SignInLinkTable(HasId, Base):
    """One-time links. `user_id` None is the first admin, who does not exist yet."""

    __tablename__ = "sign_in_links"
    token_hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SessionTable(HasId, Base):
    __tablename__ = "sessions"
    token_hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime]
    seen_at: Mapped[datetime | None]


class KeyTable(HasId, Base):
    """An API key `tf_<key_id>_<secret>`. Only SHA-256 of the secret is kept: 256 random bits need no salt."""

    __tablename__ = "keys"
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    key_id: Mapped[str] = mapped_column(unique=True)
    secret_hash: Mapped[str]
    name: Mapped[str]
    scopes: Mapped[list[str]]
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
