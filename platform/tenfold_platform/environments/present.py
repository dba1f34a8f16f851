"""Rows as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return named_items(session, row.workspace_id, [row])[0]


def named_items(session: Session, workspace_id: UUID, rows: Sequence[NamedEnvironmentTable]) -> list[NamedEnvironment]:
    """Settles the names first, so that what is shown is what a deploy would get."""
    coming = {row.id: service.settle(session, row) for row in rows}
    present = [service.get(session, workspace_id, row.environment_id) for row in rows]
    to_come = [environment for environment in coming.values() if environment is not None]
    shown = {item.id: item for item in items(session, workspace_id, [*present, *to_come])}
    return [_named(row, shown, coming[row.id]) for row in rows]


def _named(
    row: NamedEnvironmentTable, shown: Mapping[UUID, EnvironmentItem], coming: EnvironmentTable | None
) -> NamedEnvironment:
    return NamedEnvironment(
        name=row.name,
        description=row.description,
        python_version=row.python_version,
        requirements=row.requirements,
        environment=shown[row.environment_id],
        coming=shown[coming.id] if coming else None,
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
