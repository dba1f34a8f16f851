"""What a version was made with and from, beside the words of its own package."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tenfold_platform.migrations import watch

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("environment_name", sa.Text(), nullable=True))
    op.add_column("model_versions", sa.Column("zoo_entry", sa.Text(), nullable=True))
    op.execute("""
        update model_versions set
            environment_name = config #>> '{model_metadata,tenfold,environment}',
            zoo_entry = config #>> '{model_metadata,tenfold,zoo}',
            config = config #- '{model_metadata,tenfold,environment}' #- '{model_metadata,tenfold,zoo}'
        where config #> '{model_metadata,tenfold}' ?| array['environment', 'zoo']
        """)
    watch.watch("model_versions")
