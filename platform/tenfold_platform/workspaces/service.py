"""Workspaces and who belongs to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tenfold_platform.auth import keys
from tenfold_platform.auth.permissions import INSTALLATION_ACTIONS, Role, actions_of
from tenfold_platform.auth.service import INVITATION_LIFETIME, issue_sign_in_link
from tenfold_platform.auth.tables import SignInLinkTable, UserTable
from tenfold_platform.errors import Conflict, InvalidInput, NotFound
from tenfold_platform.paging import PageRequest, paginate
from tenfold_platform.settings import Settings
from tenfold_platform.workspaces.tables import MembershipTable, WorkspaceTable

# the first segments of the addresses of views: what the gateway keeps for itself
RESERVED_NAMES = frozenset({"api", "assets", "healthz", "metrics", "sign-in", "v1", "view-assets"})


@dataclass(frozen=True)
class Membership:
    user: UserTable
    membership: MembershipTable
    pending: bool


def create_workspace(session: Session, *, name: str, title: str, creator: UUID) -> WorkspaceTable:
    """Its creator is its first admin."""
    if name in RESERVED_NAMES:
        raise InvalidInput(
            f"{name!r} cannot be a workspace's name.", details=[{"path": "name", "message": "is reserved"}]
        )
    made = session.scalar(
        insert(WorkspaceTable)
        .values(name=name, title=title)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(WorkspaceTable)
    )
    if made is None:
        raise Conflict(f"There is a workspace {name!r} already.", code="name_taken")
    session.add(MembershipTable(workspace_id=made.id, user_id=creator, role=Role.ADMIN))
    session.flush()
    return cast(WorkspaceTable, made)


def list_members(session: Session, workspace_id: UUID, page: PageRequest) -> tuple[list[Membership], str | None]:
    query = (
        select(UserTable)
        .join(MembershipTable, MembershipTable.user_id == UserTable.id)
        .where(MembershipTable.workspace_id == workspace_id)
    )
    users, cursor = paginate(session, query, page, by=UserTable.email)
    return _memberships(session, workspace_id, users), cursor


def get_member(session: Session, workspace_id: UUID, user_id: UUID) -> Membership:
    user = session.get(UserTable, user_id)
    found = _memberships(session, workspace_id, [user]) if user is not None else []
    if not found:
        raise NotFound("There is no such member.")
    return found[0]


def add_member(
    session: Session, settings: Settings, workspace: WorkspaceTable, *, email: str, role: Role, now: datetime
) -> tuple[Membership, str | None]:
    """The link is only for somebody whose account exists for nothing but this workspace and who never signed in: a link
    to any other account would hand that account to whoever invites."""
    _lock(session, workspace.id)
    user = session.scalar(select(UserTable).where(UserTable.email == email))
    if user is None:
        user = UserTable(email=email)
        session.add(user)
        session.flush()
    member = session.get(MembershipTable, (workspace.id, user.id))
    if member is None:
        member = MembershipTable(workspace_id=workspace.id, user_id=user.id, role=role)
        session.add(member)
        session.flush()
        session.refresh(member)
    elif not _is_pending(session, user.id):
        raise Conflict(f"{email} is a member already.", hint="Change their role instead.")
    else:
        member.role = role
    url = None
    if _is_pending(session, user.id) and _belongs_only_here(session, user.id, workspace.id):
        url = issue_sign_in_link(session, settings, user, now=now, lifetime=INVITATION_LIFETIME)
    return get_member(session, workspace.id, user.id), url


def change_role(session: Session, workspace_id: UUID, user_id: UUID, role: Role, now: datetime) -> Membership:
    _lock(session, workspace_id)
    member = get_member(session, workspace_id, user_id)
    if role is not Role.ADMIN:
        _check_an_admin_stays(session, workspace_id, user_id)
    member.membership.role = role
    allowed = actions_of(role) | (INSTALLATION_ACTIONS if member.user.is_operator else frozenset())
    keys.revoke_beyond(session, workspace_id, user_id, allowed, now)
    session.flush()
    return member


def remove_member(session: Session, workspace_id: UUID, user_id: UUID, now: datetime) -> None:
    _lock(session, workspace_id)
    member = get_member(session, workspace_id, user_id)
    _check_an_admin_stays(session, workspace_id, user_id)
    keys.revoke_beyond(session, workspace_id, user_id, None, now)
    session.delete(member.membership)
    session.flush()


def _memberships(session: Session, workspace_id: UUID, users: Iterable[UserTable]) -> list[Membership]:
    by_id = {user.id: user for user in users}
    rows = session.scalars(
        select(MembershipTable).where(MembershipTable.workspace_id == workspace_id, MembershipTable.user_id.in_(by_id))
    )
    members = {row.user_id: row for row in rows}
    pending = set(_pending(session, by_id))
    return [Membership(user, members[id_], id_ in pending) for id_, user in by_id.items() if id_ in members]


def _pending(session: Session, user_ids: Iterable[UUID]) -> Iterable[UUID]:
    redeemed = select(SignInLinkTable.id).where(
        SignInLinkTable.user_id == UserTable.id, SignInLinkTable.used_at.is_not(None)
    )
    has_been_here = or_(UserTable.password_hash.is_not(None), UserTable.is_operator, redeemed.exists())
    return session.scalars(select(UserTable.id).where(UserTable.id.in_(list(user_ids)), ~has_been_here))


def _is_pending(session: Session, user_id: UUID) -> bool:
    return user_id in set(_pending(session, [user_id]))


def _belongs_only_here(session: Session, user_id: UUID, workspace_id: UUID) -> bool:
    elsewhere = select(MembershipTable.user_id).where(
        MembershipTable.user_id == user_id, MembershipTable.workspace_id != workspace_id
    )
    return not session.scalar(select(elsewhere.exists()))


def _check_an_admin_stays(session: Session, workspace_id: UUID, without: UUID) -> None:
    others = select(MembershipTable.user_id).where(
        MembershipTable.workspace_id == workspace_id,
        MembershipTable.role == Role.ADMIN,
        MembershipTable.user_id != without,
    )
    if not session.scalar(select(others.exists())):
        raise Conflict("A workspace needs an admin: this is the last one.", hint="Make somebody else an admin first.")


def _lock(session: Session, workspace_id: UUID) -> None:
    """Changes of members wait for each other: two admins could otherwise remove one another."""
    session.execute(select(WorkspaceTable.id).where(WorkspaceTable.id == workspace_id).with_for_update())
