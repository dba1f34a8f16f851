"""How many replicas a model may have, when it sleeps, and what gateways see of its load."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from tenfold_platform.migrations import watch

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("models", "deployments"):
        for name, default in (("min_replicas", "1"), ("max_replicas", "1"), ("idle_seconds", "300")):
            op.add_column(table, sa.Column(name, sa.BigInteger(), server_default=default, nullable=False))
            op.alter_column(table, name, server_default=None)
    op.add_column("deployments", sa.Column("asleep_since", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "deployment_demand",
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("load", sa.Double(), nullable=False),
        sa.Column("queued_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_deployment_demand_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("deployment_id", "gateway", name=op.f("pk_deployment_demand")),
    )
    op.create_table(
        "model_compilations",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("files", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("tools_id", sa.Uuid(), nullable=True),
        sa.Column("environment_id", sa.Uuid(), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_model_compilations_environment_id_environments")
        ),
        sa.ForeignKeyConstraint(
            ["tools_id"], ["environments.id"], name=op.f("fk_model_compilations_tools_id_environments")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_versions.id"],
            name=op.f("fk_model_compilations_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_model_compilations")),
    )
    op.create_table(
        "deployment_load",
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("in_flight", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_deployment_load_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("deployment_id", "gateway", name=op.f("pk_deployment_load")),
    )
    _create_replica_ends()
    _create_shadows()
    watch.watch("models")
    watch.watch("deployments")
    watch.watch("model_shadows")


def _create_replica_ends() -> None:
    op.create_index(
        "ix_replicas_live",
        "replicas",
        ["deployment_id"],
        postgresql_where=sa.text("state in ('pending', 'starting', 'loading', 'ready', 'draining')"),
    )
    op.create_table(
        "replica_ends",
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("replicas", sa.BigInteger(), nullable=False),
        sa.Column("cold_starts", sa.BigInteger(), nullable=False),
        sa.Column("cold_start_seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_replica_ends_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("deployment_id", "reason", name=op.f("pk_replica_ends")),
    )


def _create_shadows() -> None:
    op.create_table(
        "model_shadows",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("percent", sa.Double(), nullable=False),
        sa.Column("tolerance", sa.Double(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id", "alias"],
            ["model_aliases.model_id", "model_aliases.name"],
            name=op.f("fk_model_shadows_model_id_alias_model_aliases"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_versions.id"],
            name=op.f("fk_model_shadows_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_shadows")),
        sa.UniqueConstraint("model_id", "alias", name=op.f("uq_model_shadows_model_id_alias")),
    )
    op.create_index(op.f("ix_model_shadows_version_id"), "model_shadows", ["version_id"])
    op.create_table(
        "shadow_tallies",
        sa.Column("shadow_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("equal", "different", "primary_failed", "shadow_failed", "dropped")
        ),
        *(sa.Column(f"{who}_seconds", sa.Double(), nullable=False) for who in ("primary", "shadow")),
        *(
            sa.Column(f"{who}_buckets", postgresql.ARRAY(sa.BigInteger()), nullable=False)
            for who in ("primary", "shadow")
        ),
        *_of_a_shadow_and_a_version("shadow_tallies"),
        sa.PrimaryKeyConstraint("shadow_id", "version_id", name=op.f("pk_shadow_tallies")),
    )
    op.create_table(
        "shadow_differences",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shadow_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("outcome", "request_id", "path", "request")),
        *(
            column
            for who in ("primary", "shadow")
            for column in (
                sa.Column(f"{who}_status", sa.BigInteger(), nullable=False),
                sa.Column(f"{who}_answer", sa.Text(), nullable=False),
            )
        ),
        *_of_a_shadow_and_a_version("shadow_differences"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_differences")),
    )
    for column in ("shadow_id", "version_id", "at"):
        op.create_index(op.f(f"ix_shadow_differences_{column}"), "shadow_differences", [column])


def _of_a_shadow_and_a_version(table: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint(
            [column], [f"{meant}.id"], name=op.f(f"fk_{table}_{column}_{meant}"), ondelete="CASCADE"
        )
        for column, meant in (("shadow_id", "model_shadows"), ("version_id", "model_versions"))
    ]
