"""Rows as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from tenfold_platform.environments import service
from tenfold_platform.environments.schemas import (
    AppUse,
    Environment,
    EnvironmentItem,
    ModelUse,
    NamedEnvironment,
    UsedBy,
)
from tenfold_platform.environments.service import Uses
from tenfold_platform.environments.tables import EnvironmentTable, NamedEnvironmentTable
from tenfold_platform.models.present import environment as summary


def items(session: Session, workspace_id: UUID, rows: Sequence[EnvironmentTable]) -> list[EnvironmentItem]:
    uses = service.uses_of(session, workspace_id, [row.id for row in rows])
    return [_item(row, uses[row.id]) for row in rows]


def detail(session: Session, row: EnvironmentTable) -> Environment:
    uses = service.uses_of(session, row.workspace_id, [row.id])[row.id]
    return Environment(
        **_item(row, uses).model_dump(),
        lock=row.lock,
        constraints=row.constraints,
        models=[ModelUse(model=name, version=number) for name, number in uses.models],
        apps=[AppUse(app=name, release=number) for name, number in uses.apps],
    )


def named(session: Session, row: NamedEnvironmentTable) -> NamedEnvironment:
    """Settles the name first, so that what is shown is what a deploy would get."""
    coming = service.settle(session, row)
    present = service.get(session, row.workspace_id, row.environment_id)
    shown = items(session, row.workspace_id, [present, *([coming] if coming else [])])
    return NamedEnvironment(
        name=row.name,
        description=row.description,
        python_version=row.python_version,
        requirements=row.requirements,
        environment=shown[0],
        coming=shown[1] if coming else None,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def _item(row: EnvironmentTable, uses: Uses) -> EnvironmentItem:
    return EnvironmentItem(
        **summary(row).model_dump(),
        names=list(uses.names),
        used_by=UsedBy(models=len(uses.models), apps=len(uses.apps)),
        size_bytes=row.size_bytes,
        built_at=row.built_at,
        wanted_at=row.wanted_at,
    )
