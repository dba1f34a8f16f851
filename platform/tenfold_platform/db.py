"""PostgreSQL: the declarative base, engines, and the one-transaction-per-request session."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from sqlalchemy import BigInteger, DateTime, Engine, MetaData, Text, Uuid, create_engine, event, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from tenfold_platform.ids import new_id

LONG_UNUSED_SECONDS = 60.0
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table. A row class is a *table*, never a "model": that word is the customer's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(Text),
        list[int]: ARRAY(BigInteger),
        str: Text,
        int: BigInteger,
        UUID: Uuid,
    }


Id = Annotated[UUID, mapped_column(primary_key=True, default=new_id)]
CreatedAt = Annotated[datetime, mapped_column(server_default=func.now())]


class HasId:
    id: Mapped[Id]
    created_at: Mapped[CreatedAt]


def make_engine(url: str, *, pool_size: int = 10, application_name: str = "tenfold") -> Engine:
    """An engine for `postgresql://` or `postgresql+psycopg://` URLs."""
    if url.startswith("postgresql://"):
        url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=5,
        connect_args={
            "connect_timeout": 5,
            "application_name": application_name,
            "options": "-c lock_timeout=10s",  # waiting for a row ends in an error, not in a pile of requests
        },
    )
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _refuse_dead)
    return engine


def _note_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _refuse_dead(connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _: Any) -> None:
    """As `pool_pre_ping`, without a round trip each time: a server that ends a connection says so, unasked. Only one
    that nobody has used for long is asked: what lies between may have forgotten it.
    """
    if connection.closed or _has_unread(connection.fileno()):
        raise DisconnectionError("PostgreSQL has ended the connection.")
    if time.monotonic() - record.info.get("used_at", math.inf) > LONG_UNUSED_SECONDS:
        try:
            connection.execute("select 1")
            connection.rollback()
        except psycopg.Error as error:
            raise DisconnectionError("PostgreSQL does not answer on the connection.") from error


def _has_unread(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """One unit of work: committed at the end, rolled back on any error."""
    with sessions() as session, session.begin():
        yield session
