"""The databases that tests get: lent again only when they are as a clone would be."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tenfold_platform.up.postgres import EmbeddedPostgres

from ..databases import LOANS, Databases


@pytest.fixture
def own(postgres_server: EmbeddedPostgres, databases: Databases) -> Iterator[Databases]:
    """Nobody else's, of the same template."""
    assert databases is not None
    own = Databases(postgres_server)
    yield own
    own.close()


def use(databases: Databases, *statements: str) -> str:
    """Its address."""
    with databases.lend() as url, psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)
    return url


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute("select count(*) from workspaces").fetchone()[0]


WORKSPACE = "insert into workspaces (id, name, title) values (gen_random_uuid(), 'acme', 'Acme')"


def test_what_a_test_wrote_is_gone(own: Databases) -> None:
    first = use(own, WORKSPACE)
    with own.lend() as second:
        assert (second, count(second)) == (first, 0)


def test_two_at_once_are_two(own: Databases) -> None:
    with own.lend() as one, own.lend() as other:
        assert one != other


@pytest.mark.parametrize(
    "statement",
    [
        "create table more (id int)",
        "alter table workspaces add column more text",
        "alter table workspaces alter column title drop not null",
        "drop index ix_keys_workspace_id",
        "create function more() returns int language sql as 'select 1'",
        "create schema more",
        "update alembic_version set version_num = 'other'",
        "delete from alembic_version",
        "select lo_create(0)",
    ],
)
def test_one_that_is_not_as_it_was_is_dropped(own: Databases, statement: str) -> None:
    changed = use(own, statement)
    with own.lend() as next_one:
        assert next_one != changed
    with pytest.raises(psycopg.OperationalError):
        count(changed)


def test_whoever_stays_connected_is_not_in_the_next_tests_way(own: Databases) -> None:
    with own.lend() as url:
        left = psycopg.connect(url)
        left.execute("select pg_advisory_lock(1)")
    with own.lend() as next_one:
        assert next_one != url
    with pytest.raises(psycopg.OperationalError):
        left.execute("select 1")
    left.close()


def test_none_is_lent_for_ever(own: Databases) -> None:
    assert len({use(own) for _ in range(LOANS + 1)}) == 2
