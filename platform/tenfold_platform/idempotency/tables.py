from __future__ import annotations

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from tenfold_platform.db import Base


class DoneRequestTable(Base):
    """A create that was done, under the Idempotency-Key that its caller gave: written in the same transaction."""

    __tablename__ = "done_requests"
    principal: Mapped[str] = mapped_column(primary_key=True)  # user:<id> | key:<id>
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]  # of the method, the address and the body
    status: Mapped[int | None]
    answer: Mapped[bytes | None]  # None: it held a secret, which is not kept
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
