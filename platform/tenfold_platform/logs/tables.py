from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, func
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base


class LogChunkTable(Base):
    """Lines that an environment's build or a replica wrote, in order."""

    __tablename__ = "log_chunks"
    __table_args__ = (Index("ix_log_chunks_subject_id", "subject", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    subject: Mapped[str]  # environment:<id> | version:<id> | deployment:<id>
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    text: Mapped[str]


class ProcessTable(Base):
    """A platform process's heartbeat, for `tenfold status`."""

    __tablename__ = "processes"
    kind: Mapped[str] = mapped_column(primary_key=True)  # api | gateway | engine | controller
    host: Mapped[str] = mapped_column(primary_key=True)
    pid: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
