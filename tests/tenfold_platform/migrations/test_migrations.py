"""The migrated schema is the one that the tables describe, and says when something changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from tenfold_platform import migrations
from tenfold_platform.db import make_engine
from tenfold_platform.migrations import MigrationError, migrate, newest_revision
from tenfold_platform.migrations.watch import CHANNEL, IGNORED_COLUMNS
from tenfold_platform.tables import metadata


def revision_of(url: str) -> str:
    with psycopg.connect(url) as connection:
        return connection.execute("select version_num from alembic_version").fetchone()[0]


def test_an_empty_database_becomes_what_the_tables_say(empty_database_url):
    migrate(empty_database_url)
    engine = make_engine(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": metadata}
        )
        assert compare_metadata(context, metadata) == []
        assert revision_of(empty_database_url) == newest_revision()
    engine.dispose()


def test_constraints_are_named_as_the_tables_name_them(engine):
    """Which the comparison above does not look at for primary keys and foreign keys."""
    found = inspect(engine)
    for table in metadata.tables.values():
        keys = {constraint["name"]: constraint["options"] for constraint in found.get_foreign_keys(table.name)}
        wanted = {
            constraint.name: {"ondelete": constraint.ondelete} if constraint.ondelete else {}
            for constraint in table.foreign_key_constraints
        }
        assert keys == wanted
        assert found.get_pk_constraint(table.name)["name"] == table.primary_key.name


def test_again_is_nothing(database_url):
    migrate(database_url)
    assert revision_of(database_url) == newest_revision()


def test_several_at_once(empty_database_url):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [empty_database_url] * 4))
    assert revision_of(empty_database_url) == newest_revision()


def test_a_database_of_a_newer_version_is_left_alone(database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(MigrationError, match="newer Tenfold"):
        migrate(database_url)
    assert revision_of(database_url) == "9999"


def test_it_waits_for_another_migration_only_so_long(database_url, monkeypatch):
    monkeypatch.setattr(migrations, "WAIT_FOR_OTHERS", "50ms")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (migrations._MIGRATION_LOCK,))
        with pytest.raises(MigrationError, match="Another process"):
            migrate(database_url)


class TestTriggers:
    """One message for each statement that changed what the gateway goes by."""

    @pytest.fixture
    def heard(self, database_url):
        with psycopg.connect(database_url, autocommit=True) as listener:
            listener.execute(f"listen {CHANNEL}")

            def hear() -> list[str]:
                return [notify.payload for notify in listener.notifies(timeout=0.2)]

            yield hear

    def test_watch_every_column_but_those_left_out(self, engine):
        query = text(
            """
            select c.relname, array_agg(a.attname) from pg_trigger t join pg_class c on c.oid = t.tgrelid
            join pg_attribute a on a.attrelid = c.oid and a.attnum = any (t.tgattr::int2[])
            where t.tgname = 'tenfold_changed' group by 1
            """
        )
        with engine.connect() as connection:
            watched = {table: set(columns) for table, columns in connection.execute(query)}
        assert watched == {
            name: {column.name for column in metadata.tables[name].columns} - ignored
            for name, ignored in IGNORED_COLUMNS.items()
        }
        for name, ignored in IGNORED_COLUMNS.items():
            assert ignored <= set(metadata.tables[name].columns.keys())

    def test_tell_once_a_statement(self, heard, make_workspace, make_key, sessions):
        workspace = make_workspace("acme")
        make_key(workspace, "read")
        make_key(workspace, "read")
        assert heard() == ["workspaces", "keys", "keys"]
        with sessions.begin() as session:
            session.execute(text("update keys set revoked_at = now()"))
        assert heard() == ["keys"]

    def test_keep_quiet_about_uses_and_heartbeats(self, heard, make_workspace, make_key, sessions):
        make_key(make_workspace("acme"), "read")
        heard()
        with sessions.begin() as session:
            session.execute(text("update keys set last_used_at = now()"))
            session.execute(text("update deployments set lease_until = now(), fence = fence + 1"))
            session.execute(text("update replicas set log_offset = 1, memory_bytes = 2"))
        assert heard() == []

    def test_tell_of_a_cascade(self, heard, make_workspace, make_key, sessions):
        make_key(make_workspace("acme"), "read")
        heard()
        with sessions.begin() as session:
            session.execute(text("delete from workspaces"))
        assert "keys" in heard()
