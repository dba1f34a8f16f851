"""The database's schema, step by step: `migrate(database_url)` brings it to the newest."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from tenfold_platform.db import make_engine

_MIGRATION_LOCK = 7_303_013  # any number that nothing else here takes as an advisory lock
WAIT_FOR_OTHERS = "120s"
WAIT_FOR_TABLES = "10s"


class MigrationError(RuntimeError):
    pass


def migrate(database_url: str, revision: str = "head") -> None:
    """Safe to run at every start, by several processes at once: the first one works, the others wait and find it done.

    A step that cannot get its table locks within ten seconds fails instead of holding up every query behind it.
    """
    engine = make_engine(database_url, pool_size=1, application_name="tenfold-migrate")
    try:
        with engine.connect() as connection:
            _migrate(connection, revision)
    finally:
        engine.dispose()


def newest_revision() -> str:
    return ScriptDirectory.from_config(_config(None)).get_current_head() or ""


def draft(engine: Engine, message: str) -> None:
    """For developers: writes the next step's file from what the tables now say. Read it and clean it up."""
    with engine.connect() as connection:
        command.revision(_config(connection), message, autogenerate=True)


def _migrate(connection: Connection, revision: str) -> None:
    _set_lock_timeout(connection, WAIT_FOR_OTHERS)
    try:
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    except OperationalError as error:
        raise MigrationError(f"Another process has been migrating the database for {WAIT_FOR_OTHERS}.") from error
    connection.commit()
    try:
        _set_lock_timeout(connection, WAIT_FOR_TABLES)
        connection.commit()
        command.upgrade(_config(connection), revision)
    except CommandError as error:
        raise MigrationError(
            f"The database cannot be migrated: {error}. It may have been written by a newer Tenfold: install that one."
        ) from error
    finally:
        connection.rollback()
        connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
        connection.commit()


def _set_lock_timeout(connection: Connection, timeout: str) -> None:
    connection.execute(text("select set_config('lock_timeout', :timeout, false)"), {"timeout": timeout})


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
