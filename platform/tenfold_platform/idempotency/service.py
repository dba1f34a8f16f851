"""Doing a create once, however often its request is repeated with the same Idempotency-Key.

The row is inserted first, in the request's own transaction: a simultaneous repeat waits for it. It is remembered for a
day. An error leaves no row, so the request may be tried again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_platform.errors import Conflict, InvalidInput
from tenfold_platform.idempotency.tables import DoneRequestTable

REMEMBERED_FOR = timedelta(days=1)
KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True)
class RepeatableRequest:
    principal: str
    key: str
    fingerprint: str
    keeps_answer: bool  # False: the answer holds a secret


@dataclass(eq=False)
class AlreadyDone(Exception):
    """Carries the answer that was given then."""

    status: int
    answer: bytes = field(repr=False)


def repeatable(
    key: str, *, principal: str, method: str, address: str, body: bytes, keeps_answer: bool
) -> RepeatableRequest:
    if not KEY_PATTERN.fullmatch(key):
        raise InvalidInput("An Idempotency-Key is 1 to 200 printable characters without spaces.")
    parts = (method.encode(), address.encode(), hashlib.sha256(body).digest())
    return RepeatableRequest(principal, key, hashlib.sha256(b"\0".join(parts)).hexdigest(), keeps_answer)


def begin(session: Session, request: RepeatableRequest) -> None:
    """Raises AlreadyDone with the first answer, or Conflict when the key was used for something else."""
    _forget_old(session)
    inserted = session.execute(
        insert(DoneRequestTable)
        .values(principal=request.principal, key=request.key, fingerprint=request.fingerprint)
        .on_conflict_do_nothing()
        .returning(DoneRequestTable.key)
    ).one_or_none()
    if inserted is not None:
        return
    done = session.get_one(DoneRequestTable, (request.principal, request.key))
    if done.fingerprint != request.fingerprint:
        raise Conflict(
            "This Idempotency-Key was used for another request.",
            code="idempotency_key_reused",
            hint="Use a new key for each thing to be created.",
        )
    if done.status is None or done.answer is None:
        raise Conflict(
            "This was done already, and its answer held a secret that is not kept.",
            code="already_done",
            hint="If the answer was lost, remove what was made and make it again with a new Idempotency-Key.",
        )
    raise AlreadyDone(done.status, done.answer)


def _forget_old(session: Session) -> None:
    """A few at a time, and none that somebody else is deleting: nobody waits for this."""
    old = (
        select(DoneRequestTable.principal, DoneRequestTable.key)
        .where(DoneRequestTable.created_at < func.now() - REMEMBERED_FOR)
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    names = tuple_(DoneRequestTable.principal, DoneRequestTable.key)
    session.execute(delete(DoneRequestTable).where(names.in_(old)))


def finish(session: Session, request: RepeatableRequest, *, status: int, answer: bytes) -> None:
    if request.keeps_answer:
        done = session.get_one(DoneRequestTable, (request.principal, request.key))
        done.status, done.answer = status, answer
        session.flush()
