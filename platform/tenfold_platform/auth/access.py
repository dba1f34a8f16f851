"""The one place that decides who may pass: a credential, a permission, a workspace's name -> Access, or an error.

Another workspace looks exactly like a missing one: the same 404 that an unknown path gets. A member (or a key of this
very workspace) without the right gets a 403.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tenfold_platform.auth.permissions import INSTALLATION_ACTIONS, Action, Role, actions_of, actions_of_scopes
from tenfold_platform.auth.principal import Principal, missing_right
from tenfold_platform.auth.secrets import TOKEN_PATTERN, hash_secret, is_secret, split_key
from tenfold_platform.auth.tables import KeyTable, SessionTable, UserTable
from tenfold_platform.errors import Forbidden, NotFound, Unauthenticated
from tenfold_platform.workspaces.tables import MembershipTable, WorkspaceTable

SESSION_LIFETIME = timedelta(days=14)
SESSION_RENEWED_AFTER = timedelta(hours=1)
_UNSYNCED = {"synchronize_session": False}
KEY_USE_NOTED_AFTER = timedelta(minutes=1)


@dataclass(frozen=True)
class Public:
    """Anybody."""


@dataclass(frozen=True)
class SignedIn:
    """Any valid credential of these kinds; the route itself limits what is shown to what is theirs."""

    kinds: tuple[Literal["user", "key"], ...] = ("user",)


PUBLIC = Public()
SIGNED_IN = SignedIn(("user",))  # a person in the console
WITH_KEY = SignedIn(("key",))
ANY_CREDENTIAL = SignedIn(("user", "key"))

Allow = Action | Public | SignedIn


@dataclass(frozen=True)
class Credential:
    kind: Literal["cookie", "key"]
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Admission:
    principal: Principal
    workspace: WorkspaceTable | None
    session_id: UUID | None = None
    renewed: bool = False  # the sign-in session was extended: so must be its cookie


def nothing_here() -> NotFound:
    """For an unknown path, a wrong method, and what belongs to somebody else: they must not be told apart."""
    return NotFound("There is nothing here, or it is not yours to see.")


def find_credential(headers: Mapping[str, str], cookies: Mapping[str, str], cookie_name: str) -> Credential | None:
    """A header wins over the cookie, and never falls back to it."""
    authorization, api_key = headers.get("authorization"), headers.get("x-api-key")
    if authorization is not None:
        scheme, _, text = authorization.partition(" ")
        return Credential("key", text.strip() if scheme.lower() in {"bearer", "api-key"} else "")
    if api_key is not None:
        return Credential("key", api_key.strip())
    cookie = cookies.get(cookie_name)
    return Credential("cookie", cookie) if cookie is not None else None


def admit(
    session: Session, credential: Credential | None, allow: Action | SignedIn, workspace_name: str | None, now: datetime
) -> Admission:
    """Raises Unauthenticated, NotFound (no such workspace for this principal) or Forbidden."""
    if credential is None:
        raise Unauthenticated("You are not signed in.", hint="Sign in, or send a key: `Authorization: Bearer tf_...`.")
    if credential.kind == "key":
        admission = _admit_key(session, credential.text, workspace_name, now)
    else:
        admission = _admit_user(session, credential.text, workspace_name, now)
    _authorise(admission.principal, allow)
    return admission


def _authorise(principal: Principal, allow: Action | SignedIn) -> None:
    match allow:
        case SignedIn(kinds=kinds):
            if principal.kind not in kinds:
                raise Forbidden(
                    "A key cannot do this: it is for people who are signed in."
                    if principal.kind == "key"
                    else "This is for keys only."
                )
        case Action():
            if not principal.may(allow):
                raise missing_right(principal, allow)


def _admit_key(session: Session, text: str, workspace_name: str | None, now: datetime) -> Admission:
    parts = split_key(text)
    if parts is None:
        raise _bad_key()
    key_id, secret = parts
    key = session.scalar(select(KeyTable).where(KeyTable.key_id == key_id))
    if key is None or not is_secret(secret, key.secret_hash):
        raise _bad_key()
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise _bad_key()
    workspace = session.get_one(WorkspaceTable, key.workspace_id)
    if workspace_name is not None and workspace.name != workspace_name:
        raise nothing_here()
    if key.last_used_at is None or now - key.last_used_at >= KEY_USE_NOTED_AFTER:
        _note(session, KeyTable, key.id, last_used_at=now)
    principal = Principal(kind="key", id=key.id, name=key.name, actions=actions_of_scopes(key.scopes))
    return Admission(principal=principal, workspace=workspace)


def _admit_user(session: Session, token: str, workspace_name: str | None, now: datetime) -> Admission:
    row, user = find_session(session, token, now)
    actions = INSTALLATION_ACTIONS if user.is_operator else frozenset[Action]()
    workspace, role = None, None
    if workspace_name is not None:
        workspace, role = _membership(session, user.id, workspace_name)
        actions |= actions_of(role)
    renewed = row.seen_at is None or now - row.seen_at >= SESSION_RENEWED_AFTER
    if renewed:
        _note(session, SessionTable, row.id, seen_at=now, expires_at=now + SESSION_LIFETIME)
    principal = Principal(
        kind="user", id=user.id, name=user.email, actions=actions, is_operator=user.is_operator, role=role
    )
    return Admission(principal=principal, workspace=workspace, session_id=row.id, renewed=renewed)


def _note(session: Session, table: type[KeyTable | SessionTable], id_: UUID, **values: datetime) -> None:
    """Of many requests at once, one notes it; none waits for a row that is being changed."""
    free = select(table.id).where(table.id == id_).with_for_update(skip_locked=True)
    session.execute(update(table).where(table.id.in_(free)).values(values), execution_options=_UNSYNCED)


def find_session(session: Session, token: str, now: datetime) -> tuple[SessionTable, UserTable]:
    if not TOKEN_PATTERN.fullmatch(token):
        raise _bad_session()
    found = session.execute(
        select(SessionTable, UserTable)
        .join(UserTable, UserTable.id == SessionTable.user_id)
        .where(SessionTable.token_hash == hash_secret(token))
    ).one_or_none()
    if found is None:
        raise _bad_session()
    row, user = found
    if row.expires_at <= now or user.disabled_at is not None:
        raise _bad_session()
    return row, user


def _membership(session: Session, user_id: UUID, workspace_name: str) -> tuple[WorkspaceTable, Role]:
    found = session.execute(
        select(WorkspaceTable, MembershipTable.role)
        .join(MembershipTable, MembershipTable.workspace_id == WorkspaceTable.id)
        .where(WorkspaceTable.name == workspace_name, MembershipTable.user_id == user_id)
    ).one_or_none()
    if found is None:
        raise nothing_here()
    workspace, role = found
    return workspace, Role(role)


def _bad_key() -> Unauthenticated:
    """One answer for a key that never was, is not written right, was revoked, or has expired."""
    return Unauthenticated(
        "The key is not valid.", hint="It may be mistyped, revoked or expired. Make a new one in the console."
    )


def _bad_session() -> Unauthenticated:
    return Unauthenticated("You are not signed in.", hint="Sign in again.")
