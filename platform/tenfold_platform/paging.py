"""Lists a page at a time: what a caller asks for, the cursor that says where it was, and the query for it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tenfold_platform.errors import InvalidInput

Row = TypeVar("Row")


@dataclass(frozen=True)
class PageRequest:
    cursor: str | None
    limit: int

    def after(self) -> list[Any] | None:
        """What the cursor holds; None on the first page."""
        return None if self.cursor is None else decode_cursor(self.cursor)


def encode_cursor(*values: str | int | UUID | datetime) -> str:
    plain = [
        value.isoformat() if isinstance(value, datetime) else value if isinstance(value, int) else str(value)
        for value in values
    ]
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str | int) for value in values):
        raise bad_cursor()
    return values


def bad_cursor() -> InvalidInput:
    return InvalidInput(
        "The cursor is not one that this list gave out.",
        details=[{"path": "cursor", "message": "not a cursor of this list", "hint": "Leave it out to begin again."}],
    )


def paginate(
    session: Session,
    query: Select[Row],
    page: PageRequest,
    *,
    by: InstrumentedAttribute[Any],
    descending: bool = False,
) -> tuple[list[Row], str | None]:
    """One page of `query` in the order of one unique column (an id, or a name within its workspace)."""
    after = page.after()
    if after is not None:
        value = _cursor_value(after, by)
        query = query.where(by < value if descending else by > value)
    query = query.order_by(by.desc() if descending else by.asc()).limit(page.limit + 1)
    rows = list(session.scalars(query))
    if len(rows) <= page.limit:
        return rows, None
    rows = rows[: page.limit]
    return rows, encode_cursor(getattr(rows[-1], by.key))


def _cursor_value(after: list[Any], by: InstrumentedAttribute[Any]) -> Any:
    kind = by.type.python_type
    try:
        (value,) = after
        return datetime.fromisoformat(value) if kind is datetime else kind(value)
    except (ValueError, TypeError, AttributeError):
        raise bad_cursor() from None
