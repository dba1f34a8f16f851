"""Secrets over HTTP: names and dates come out, values never do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import Response

from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import Page, PageParams, WorkspaceCtx
from tenfold_platform.paging import paginate
from tenfold_platform.routing import Router
from tenfold_platform.secrets import service
from tenfold_platform.secrets.schemas import Secret, SecretName, SecretUse, SetSecret
from tenfold_platform.secrets.sealing import Keyring
from tenfold_platform.secrets.service import Use
from tenfold_platform.secrets.tables import SecretTable

router = Router(prefix="/workspaces/{workspace}/secrets", tags=["secrets"])


@router.get("", allow=Action.MODELS_READ)
def list_secrets(ctx: WorkspaceCtx, page: PageParams) -> Page[Secret]:
    rows, cursor = paginate(ctx.session, service.secrets_of(ctx.workspace.id), page, by=SecretTable.name)
    uses = service.running_uses(ctx.session, ctx.workspace.id)
    return Page(items=[_secret(row, uses) for row in rows], next_cursor=cursor)


@router.put("/{name}", allow=Action.SECRETS_MANAGE)
def put_secret(ctx: WorkspaceCtx, name: SecretName, body: SetSecret) -> Secret:
    """Sets it, or sets it anew. A running model gets the value at its next start."""
    row = service.put(
        ctx.session,
        Keyring.of(ctx.settings),
        ctx.workspace.id,
        name,
        body.value.get_secret_value(),
        description=body.description,
        updated_by=ctx.principal.name,
    )
    return _secret(row, service.running_uses(ctx.session, ctx.workspace.id))


@router.delete("/{name}", allow=Action.SECRETS_MANAGE, status_code=204)
def delete_secret(ctx: WorkspaceCtx, name: SecretName) -> Response:
    service.delete(ctx.session, ctx.workspace.id, name)
    return Response(status_code=204)


def _secret(row: SecretTable, uses: Mapping[str, Sequence[Use]]) -> Secret:
    return Secret(
        name=row.name,
        description=row.description,
        created_at=row.created_at,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
        used_by=[SecretUse(model=use.model, version=use.version) for use in uses.get(row.name, ())],
    )
