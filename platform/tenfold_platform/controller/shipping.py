"""Carrying what workers print into `log_chunks`, at a bounded rate: a flood is counted, not stored.

Secrets are masked on the way, also one that is cut in two by the end of a piece: its beginning waits for the rest.
"""

from __future__ import annotations

import logging
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.scheduler import Handle, Scheduler
from tenfold_platform.controller.masks import Masks
from tenfold_platform.db import transaction
from tenfold_platform.deployments.service import log_subject
from tenfold_platform.deployments.tables import LIVE_REPLICA_STATES, ReplicaTable
from tenfold_platform.logs import service as logs

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
CATCH_UP_BYTES = 256 * 1024  # behind by more than this, the middle is dropped
PIECES_A_ROUND = CATCH_UP_BYTES // CHUNK_BYTES + 1


def ship_logs(sessions: sessionmaker[Session], scheduler: Scheduler, masks: Masks, replica_id: UUID) -> bool:
    """Carries the next piece of one replica's output. True when there was some."""
    mask = masks.of(replica_id)
    with transaction(sessions) as session:
        replica = session.scalars(
            select(ReplicaTable).where(ReplicaTable.id == replica_id).with_for_update(skip_locked=True)
        ).one_or_none()
        if replica is None or not replica.handle:
            return False
        handle = Handle.from_json(replica.handle)
        chunk = scheduler.logs(handle, replica.log_offset, CHUNK_BYTES)
        if not chunk.data:
            return False
        data, next_offset, dropped = chunk.data, chunk.next_offset, 0
        if len(chunk.data) == CHUNK_BYTES:
            end = scheduler.logs(handle, -CHUNK_BYTES, CHUNK_BYTES)
            behind = end.next_offset - chunk.next_offset
            if behind > CATCH_UP_BYTES:
                dropped = behind - len(end.data)
        output = b""
        if dropped:
            # neither side of the gap may show one half of a value
            output = mask.hide(data[: len(data) - mask.held_back(data)])
            output += f"\n[tenfold] {dropped:,} bytes of output were left out\n".encode()
            data, next_offset = end.data.partition(b"\n")[2], end.next_offset
        more_may_come = replica.state in LIVE_REPLICA_STATES or len(chunk.data) == CHUNK_BYTES
        waiting = mask.held_back(data) if more_may_come else 0
        if waiting >= CHUNK_BYTES:
            waiting = 0
        output += mask.hide(data[: len(data) - waiting])
        if not output:
            return False
        logs.append(session, log_subject(replica.deployment_id), output.decode("utf-8", "replace"))
        replica.log_offset = next_offset - waiting
        return True


def list_shippable(session: Session) -> list[UUID]:
    """Replicas that run here, and those that ended within the last minute: their last words are still to be read."""
    return list(session.scalars(select(ReplicaTable.id).where(_is_shippable())))


def list_with_output(session: Session, scheduler: Scheduler) -> list[UUID]:
    """Those of them that have printed something since."""
    rows = session.execute(_SHIPPABLE).all()
    return [
        row.id for row in rows if row.handle and scheduler.logs(Handle.from_json(row.handle), row.log_offset, 1).data
    ]


def _is_shippable() -> ColumnElement[bool]:
    recently = func.now() - text("interval '1 minute'")
    return or_(ReplicaTable.state.in_(LIVE_REPLICA_STATES), ReplicaTable.ended_at > recently)


_SHIPPABLE = select(ReplicaTable.id, ReplicaTable.handle, ReplicaTable.log_offset).where(_is_shippable())
