"""Every table, imported in one place so that Alembic and tests see the whole schema."""

from tenfold_platform.apps import tables as apps
from tenfold_platform.auth import tables as auth
from tenfold_platform.db import Base
from tenfold_platform.deployments import tables as deployments
from tenfold_platform.environments import tables as environments
from tenfold_platform.files import tables as files
from tenfold_platform.idempotency import tables as idempotency
from tenfold_platform.logs import tables as logs
from tenfold_platform.models import tables as models
from tenfold_platform.runs import tables as runs
from tenfold_platform.secrets import tables as secrets
from tenfold_platform.workspaces import tables as workspaces

metadata = Base.metadata

__all__ = [
    "apps",
    "auth",
    "deployments",
    "environments",
    "files",
    "idempotency",
    "logs",
    "metadata",
    "models",
    "runs",
    "secrets",
    "workspaces",
]
