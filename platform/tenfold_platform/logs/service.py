"""Log lines in PostgreSQL, per subject and in order: builds and workers write, pages and `tenfold logs` follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from tenfold_platform.logs.tables import LogChunkTable

KEEP_CHUNKS = 5000
MAX_TEXT_BYTES = 16_384


def append(session: Session, subject: str, text: str, *, at: datetime | None = None) -> None:
    """Adds text (one or more lines) to a subject's log. NUL cannot be stored and is shown as its symbol."""
    clean = text.replace("\x00", "\u2400")
    pieces = [clean[start : start + MAX_TEXT_BYTES] for start in range(0, len(clean), MAX_TEXT_BYTES)]
    values = [{"subject": subject, "text": piece} | ({"at": at} if at else {}) for piece in pieces if piece]
    if values:
        session.execute(insert(LogChunkTable), values)


def list_chunks(session: Session, subjects: Sequence[str], *, after: int = 0, limit: int = 500) -> list[LogChunkTable]:
    """The oldest chunks after an id, at most `limit`."""
    query = (
        select(LogChunkTable)
        .where(LogChunkTable.subject.in_(subjects), LogChunkTable.id > after)
        .order_by(LogChunkTable.id)
        .limit(limit)
    )
    return list(session.scalars(query))


def last_chunks(session: Session, subject: str, count: int = 40) -> str:
    """The end of a log as one text, for reasons ("the last lines were …")."""
    query = (
        select(LogChunkTable.text)
        .where(LogChunkTable.subject == subject)
        .order_by(LogChunkTable.id.desc())
        .limit(count)
    )
    return "".join(reversed(list(session.scalars(query))))


def trim(session: Session, *, keep: int = KEEP_CHUNKS) -> int:
    """Drops the oldest chunks of every subject beyond `keep`."""
    rank = func.row_number().over(partition_by=LogChunkTable.subject, order_by=LogChunkTable.id.desc()).label("rank")
    ranked = select(LogChunkTable.id, rank).subquery()
    old = select(ranked.c.id).where(ranked.c.rank > keep)
    result = session.execute(delete(LogChunkTable).where(LogChunkTable.id.in_(old)))
    return int(getattr(result, "rowcount", 0) or 0)
