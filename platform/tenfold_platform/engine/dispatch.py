"""Sending work to the engine. The message is a hint and may be lost: the row is the truth."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


def send_after_commit(session: Session, task: str, row_id: UUID) -> None:
    """Sends `task(row_id)` once the session's transaction is committed; nothing is sent if it rolls back."""

    def send_now(_: Session) -> None:
        send(task, row_id)

    event.listen(session, "after_commit", send_now, once=True)


def send(task: str, row_id: UUID) -> None:
    """Sends a message to the engine. A broker that is away is logged, never raised."""
    app = _celery()
    if app is None:
        return
    try:
        app.send_task(f"tenfold.{task}", args=[str(row_id)], ignore_result=True, retry=False)
    except Exception as error:
        log.warning("the message %s(%s) was not sent; the controller sends it again: %s", task, row_id, error)


_configured: list[str] = []


def configure(redis_url: str) -> None:
    """Names the broker for this process. Without it `send` does nothing, and the controller finds the rows."""
    _configured[:] = [redis_url]
    _celery.cache_clear()


@cache
def _celery() -> Any:
    if not _configured:
        return None
    from tenfold_platform.engine.celery_app import make_celery  # heavy, and only processes that send need it

    return make_celery(_configured[0])
