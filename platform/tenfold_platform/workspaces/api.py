from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from tenfold_platform.auth import tokens
from tenfold_platform.auth.permissions import Action, Role
from tenfold_platform.auth.service import list_workspaces_of
from tenfold_platform.context import Page, PageParams, UserCtx, WorkspaceCtx
from tenfold_platform.errors import Forbidden
from tenfold_platform.routing import SIGNED_IN, Router
from tenfold_platform.workspaces import service
from tenfold_platform.workspaces.schemas import (
    AddedMember,
    AddMemberBody,
    ChangeMemberBody,
    ConsoleToken,
    CreateWorkspaceBody,
    Member,
    Workspace,
)
from tenfold_platform.workspaces.tables import WorkspaceTable

router = Router(prefix="/workspaces", tags=["workspaces"])


@router.get("", allow=SIGNED_IN)
def list_workspaces(ctx: UserCtx) -> Page[Workspace]:
    """Those that you belong to, all on one page."""
    mine = list_workspaces_of(ctx.session, ctx.principal.id)
    return Page(items=[_workspace(workspace, role) for workspace, role in mine])


@router.post("", allow=Action.SYSTEM_MANAGE, status_code=201)
def create_workspace(ctx: UserCtx, body: CreateWorkspaceBody) -> Workspace:
    made = service.create_workspace(ctx.session, name=body.name, title=body.title, creator=ctx.principal.id)
    return _workspace(made, Role.ADMIN)


@router.get("/{workspace}", allow=Action.WORKSPACE_READ)
def get_workspace(ctx: WorkspaceCtx) -> Workspace:
    return _workspace(ctx.workspace, ctx.principal.role)


@router.get("/{workspace}/members", allow=Action.WORKSPACE_READ)
def list_members(ctx: WorkspaceCtx, page: PageParams) -> Page[Member]:
    members, cursor = service.list_members(ctx.session, ctx.workspace.id, page)
    return Page(items=[_member(member) for member in members], next_cursor=cursor)


@router.post("/{workspace}/members", allow=Action.MEMBERS_MANAGE, status_code=201, shows_secret=True)
def add_member(ctx: WorkspaceCtx, body: AddMemberBody) -> AddedMember:
    """For somebody new, `sign_in_url` is a one-time link to hand to them."""
    member, url = service.add_member(
        ctx.session, ctx.settings, ctx.workspace, email=body.email, role=body.role, now=ctx.now
    )
    return AddedMember(member=_member(member), sign_in_url=url)


@router.patch("/{workspace}/members/{user_id}", allow=Action.MEMBERS_MANAGE)
def change_member(ctx: WorkspaceCtx, user_id: UUID, body: ChangeMemberBody) -> Member:
    return _member(service.change_role(ctx.session, ctx.workspace.id, user_id, body.role, ctx.now))


@router.delete("/{workspace}/members/{user_id}", allow=Action.MEMBERS_MANAGE, status_code=204)
def remove_member(ctx: WorkspaceCtx, user_id: UUID) -> None:
    service.remove_member(ctx.session, ctx.workspace.id, user_id, ctx.now)


@router.post("/{workspace}/console-token", allow=Action.WORKSPACE_READ)
def create_console_token(ctx: WorkspaceCtx) -> ConsoleToken:
    """For the studio: it calls this workspace's data plane as you, for a few minutes."""
    if ctx.principal.kind != "user" or ctx.principal.role is None:
        raise Forbidden("Console tokens are for people who are signed in.", hint="Send the key to the gateway itself.")
    text, token = tokens.issue(
        ctx.settings.signing_key.get_secret_value(),
        tokens.TokenKind.CONSOLE,
        workspace_id=ctx.workspace.id,
        name=ctx.principal.name,
        user_id=ctx.principal.id,
        role=ctx.principal.role.value,
        now=ctx.now.timestamp(),
    )
    return ConsoleToken(
        token=text,
        expires_at=datetime.fromtimestamp(token.expires_at, UTC),
        gateway_url=ctx.settings.gateway_url,
    )


def _workspace(workspace: WorkspaceTable, role: Role | None) -> Workspace:
    return Workspace(
        id=workspace.id, name=workspace.name, title=workspace.title, role=role, created_at=workspace.created_at
    )


def _member(member: service.Membership) -> Member:
    return Member(
        user_id=member.user.id,
        email=member.user.email,
        name=member.user.name,
        role=Role(member.membership.role),
        created_at=member.membership.created_at,
        pending=member.pending,
    )
