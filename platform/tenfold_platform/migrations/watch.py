"""Triggers that tell the gateway what changed: one message a statement, with the table's name.

Columns that only record progress or use are left out: a heartbeat of one replica must not make every gateway reload.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import inspect

CHANNEL = "tenfold_changed"

IGNORED_COLUMNS: dict[str, frozenset[str]] = {
    "keys": frozenset({"last_used_at"}),
    "workspaces": frozenset(),
    "models": frozenset(
        {"description", "tags", "last_number", "updated_at", "min_replicas", "max_replicas", "idle_seconds"}
    ),
    "model_aliases": frozenset({"updated_at"}),
    "model_shadows": frozenset(),
    "model_versions": frozenset(
        {"stages", "hint", "warnings", "alias_wanted", "ready_at", "fetched", "environment_name", "zoo_entry"}
    ),
    "deployments": frozenset({"lease_owner", "lease_until", "fence"}),
    "replicas": frozenset({"handle", "log_offset", "memory_bytes", "peak_memory_bytes"}),
    "apps": frozenset({"description", "draft_revision", "last_number", "made_digest", "updated_at"}),
    "app_releases": frozenset({"stages", "hint", "note"}),
    "memberships": frozenset(),
}

CREATE_FUNCTION = f"""
create function tenfold_notify() returns trigger language plpgsql as $$
begin
    perform pg_notify('{CHANNEL}', tg_table_name);
    return null;
end
$$
"""


def create_function() -> None:
    op.execute(CREATE_FUNCTION)


def watch(table: str) -> None:
    """(Again) after the table's columns changed. Call it in the migration that changes them."""
    columns = [column["name"] for column in inspect(op.get_bind()).get_columns(table)]
    watched = ", ".join(f'"{name}"' for name in columns if name not in IGNORED_COLUMNS[table])
    op.execute(f'drop trigger if exists tenfold_changed on "{table}"')
    op.execute(
        f'create trigger tenfold_changed after insert or delete or truncate or update of {watched} on "{table}" '
        "for each statement execute function tenfold_notify()"
    )
