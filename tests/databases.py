"""Databases for tests: a migrated one for each test, emptied afterwards and lent again.

A clone, made and dropped, costs PostgreSQL two checkpoints and hundreds of files; to delete a few rows costs next to
nothing. What is lent again is as good as a clone: a database is dropped when somebody is still connected to it after a
test, when a test has changed its schema or a row that migrating left there, and, for the sake of dead rows, after LOANS
tests.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tenfold_platform.migrations import migrate
from tenfold_platform.up.postgres import EmbeddedPostgres

TEMPLATE = "tenfold_template"
LOANS = 50
LEAVING_SECONDS = 0.5  # who hangs up is seen by PostgreSQL a moment later
FIRST_OWN_OID = 16384  # below are PostgreSQL's own

# every change of a schema leaves a younger row in one of these, or takes one away
CATALOGS = {
    "pg_class": "oid",
    "pg_attribute": "attrelid",
    "pg_attrdef": "oid",
    "pg_constraint": "oid",
    "pg_index": "indexrelid",
    "pg_trigger": "oid",
    "pg_rewrite": "oid",
    "pg_policy": "oid",
    "pg_proc": "oid",
    "pg_type": "oid",
    "pg_namespace": "oid",
    "pg_depend": "objid",
    "pg_extension": "oid",
    "pg_event_trigger": "oid",
    "pg_publication": "oid",
    "pg_largeobject_metadata": "oid",
}
YOUNGEST = "select '{0}', count(*), max(xmin::text::bigint) from {0}"
OTHERS = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
TABLES = "select quote_ident(relname) from pg_stat_user_tables order by 1"
SEQUENCES = "select format('%I.%I', schemaname, sequencename) from pg_sequences order by 1"

numbers = itertools.count(1)


class Databases:
    """Of one server."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._free: list[_Database] = []

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The address of a migrated database that nobody else has, with nothing in it."""
        database = self._free.pop() if self._free else self._clone()
        try:
            yield self.url(database.name)
        finally:
            if database.is_clean_again():
                self._free.append(database)
            else:
                database.connection.close()
                self._drop(database.name)

    @contextmanager
    def lend_empty(self) -> Iterator[str]:
        """The address of one without a table."""
        name = self._create("template1")
        try:
            yield self.url(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        for database in self._free:
            database.connection.close()

    def url(self, name: str) -> str:
        return f"{self._server.url.rpartition('/')[0]}/{name}"

    def make_template(self) -> None:
        self._administer("create database {}", TEMPLATE)
        migrate(self.url(TEMPLATE))

    def _clone(self) -> _Database:
        name = self._create(TEMPLATE)
        connection = psycopg.connect(
            self.url(name),
            autocommit=True,
            application_name="tests: cleaning",
            options="-c session_replication_role=replica -c lock_timeout=2s",  # foreign keys are not looked at
        )
        return _Database(name, connection)

    def _create(self, template: str) -> str:
        name = f"test_{next(numbers)}"
        self._administer("create database {} template {} strategy file_copy", name, template)
        return name

    def _drop(self, name: str) -> None:
        self._administer("drop database {} with (force)", name)

    def _administer(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@dataclass
class _Database:
    """A clone, and the connection that cleans it."""

    name: str
    connection: psycopg.Connection[Any]
    loans: int = 0

    def __post_init__(self) -> None:
        tables = self._column(TABLES)
        kept = [table for table in tables if self._column(f"select 1 from {table} limit 1")]
        emptied = [f"delete from {table}" for table in tables if table not in kept]
        set_back = [self._set_back(sequence) for sequence in self._column(SEQUENCES)]
        self._clean = "; ".join([*emptied, *set_back])
        own = [f"{YOUNGEST.format(catalog)} where {oid} >= {FIRST_OWN_OID}" for catalog, oid in CATALOGS.items()]
        settings = "select 'settings', count(*), 0 from pg_db_role_setting"
        self._look = " union all ".join([*own, *map(YOUNGEST.format, kept), settings])
        self._fresh = self._state()

    def is_clean_again(self) -> bool:
        """Empties it. False when it is not what it was when it was cloned."""
        self.loans += 1
        if self.loans == LOANS:
            return False
        try:
            if not self._is_left():
                return False
            self.connection.execute(self._clean)
            return self._state() == self._fresh
        except psycopg.Error:  # the test has ended our connection too, or has done away with a table
            return False

    def _is_left(self) -> bool:
        deadline = time.monotonic() + LEAVING_SECONDS
        while self._column(OTHERS) != [0]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def _set_back(self, sequence: str) -> str:
        ((value, is_called),) = self.connection.execute(f"select last_value, is_called from {sequence}")
        return f"select setval('{sequence}', {value}, {is_called})"

    def _state(self) -> list[Any]:
        return self.connection.execute(self._look).fetchall()

    def _column(self, query: str) -> list[Any]:
        return [row[0] for row in self.connection.execute(query)]
