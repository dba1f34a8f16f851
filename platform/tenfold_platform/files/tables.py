from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base, CreatedAt


class BlobTable(Base):
    """A file that a workspace has uploaded, by content. Bytes lie in the artifact store, shared between workspaces;
    the row is per workspace, so that nobody learns what others have."""

    __tablename__ = "blobs"
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)  # sha256, hex
    size_bytes: Mapped[int]
    created_at: Mapped[CreatedAt]
