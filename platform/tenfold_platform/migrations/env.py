"""Run by Alembic for each command: always on the connection that `migrations.migrate` opened and locked."""

from alembic import context

from tenfold_platform.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
