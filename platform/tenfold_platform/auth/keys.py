"""Keys of a workspace. Nobody can make a key that may do more than they may themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tenfold_platform.auth.permissions import Action, Scope, actions_of_scopes
from tenfold_platform.auth.principal import Principal
from tenfold_platform.auth.secrets import new_key
from tenfold_platform.auth.tables import KeyTable, UserTable
from tenfold_platform.errors import Forbidden, NotFound
from tenfold_platform.paging import PageRequest, paginate


def create_key(
    session: Session,
    workspace_id: UUID,
    *,
    name: str,
    scopes: Sequence[Scope],
    created_by: UUID | None = None,
    expires_at: datetime | None = None,
) -> tuple[KeyTable, str]:
    """The row, and the key itself: it can never be shown again."""
    made = new_key()
    key = KeyTable(
        workspace_id=workspace_id,
        key_id=made.key_id,
        secret_hash=made.secret_hash,
        name=name,
        scopes=sorted({scope.value for scope in scopes}),
        created_by=created_by,
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    session.refresh(key)
    return key, made.text


def check_scopes(principal: Principal, scopes: Iterable[Scope]) -> None:
    """Raises Forbidden for a scope that gives more than the principal has."""
    too_much = [scope.value for scope in scopes if not actions_of_scopes([scope]) <= principal.actions]
    if too_much:
        raise Forbidden(
            f"You cannot give a key the scope {', '.join(too_much)}: it may do more than you may.",
            hint="Choose a narrower scope, or ask an admin of the workspace.",
        )


def list_keys(
    session: Session, workspace_id: UUID, principal: Principal, page: PageRequest
) -> tuple[list[KeyTable], str | None]:
    """Newest first: all for those who manage members, one's own for the others."""
    query = select(KeyTable).where(KeyTable.workspace_id == workspace_id)
    if not principal.may(Action.MEMBERS_MANAGE):
        query = query.where(KeyTable.created_by == _maker(principal))
    return paginate(session, query, page, by=KeyTable.id, descending=True)


def revoke_key(session: Session, workspace_id: UUID, principal: Principal, id_: UUID, now: datetime) -> None:
    query = select(KeyTable).where(KeyTable.workspace_id == workspace_id, KeyTable.id == id_).with_for_update()
    key = session.scalar(query)
    if key is None or not (principal.may(Action.MEMBERS_MANAGE) or key.created_by == _maker(principal)):
        raise NotFound("There is no such key.")
    if key.revoked_at is None:
        key.revoked_at = now


def revoke_named(session: Session, workspace_id: UUID, name: str, now: datetime) -> None:
    """Those that the installation made itself under this name."""
    session.execute(
        update(KeyTable)
        .where(
            KeyTable.workspace_id == workspace_id,
            KeyTable.name == name,
            KeyTable.created_by.is_(None),
            KeyTable.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )


def revoke_beyond(
    session: Session, workspace_id: UUID, user_id: UUID, allowed: frozenset[Action] | None, now: datetime
) -> None:
    """After a member got a narrower role (or None: left), their keys must not reach further than they do."""
    theirs = session.scalars(
        select(KeyTable).where(
            KeyTable.workspace_id == workspace_id, KeyTable.created_by == user_id, KeyTable.revoked_at.is_(None)
        )
    )
    for key in theirs:
        if allowed is None or not actions_of_scopes(key.scopes) <= allowed:
            key.revoked_at = now


def creators_of(session: Session, keys: Iterable[KeyTable]) -> dict[UUID, str]:
    """Emails of those who made them."""
    ids = {key.created_by for key in keys if key.created_by is not None}
    rows = session.execute(select(UserTable.id, UserTable.email).where(UserTable.id.in_(ids)))
    return {id_: email for id_, email in rows}


def _maker(principal: Principal) -> UUID | None:
    """A key's own keys belong to nobody: only those who manage members see them."""
    return principal.id if principal.kind == "user" else None
