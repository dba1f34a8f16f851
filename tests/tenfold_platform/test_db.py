"""Connections to PostgreSQL: who takes one gets one that is alive."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform import db
from tenfold_platform.db import transaction


def backend(sessions: sessionmaker[Session]) -> int:
    with transaction(sessions) as session:
        return int(session.scalar(text("select pg_backend_pid()")) or 0)


def end(database_url: str, pid: int) -> None:
    """Ends a backend as a restart of PostgreSQL does, and waits until it is gone."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute("select pg_terminate_backend(%s, 20000)", [pid]).fetchone() == (True,)


def test_a_connection_is_used_again(sessions: sessionmaker[Session]) -> None:
    assert backend(sessions) == backend(sessions)


def test_one_that_the_server_has_ended_is_replaced_before_it_is_used(
    sessions: sessionmaker[Session], database_url: str
) -> None:
    first = backend(sessions)
    end(database_url, first)
    assert backend(sessions) not in (0, first)


def test_one_that_was_not_used_for_long_is_asked_first(
    sessions: sessionmaker[Session], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies between may have dropped it without a word: then it looks alive, and does not answer."""
    first = backend(sessions)
    monkeypatch.setattr(db, "LONG_UNUSED_SECONDS", -1.0)
    asked: list[str] = []
    execute = psycopg.Connection.execute

    def silent(connection: psycopg.Connection[object], query: str, *rest: object) -> object:
        asked.append(query)
        if len(asked) == 1:
            raise psycopg.OperationalError("the connection timed out")
        return execute(connection, query, *rest)  # type: ignore[call-overload]

    monkeypatch.setattr(psycopg.Connection, "execute", silent)
    assert backend(sessions) != first
    assert asked[0] == "select 1"
    engine.dispose()
