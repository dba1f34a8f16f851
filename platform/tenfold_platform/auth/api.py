from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version
from uuid import UUID

from fastapi import Response

from tenfold_platform.auth import keys, service
from tenfold_platform.auth.cookies import delete_session_cookie, set_session_cookie
from tenfold_platform.auth.permissions import Action
from tenfold_platform.auth.schemas import (
    CreatedKey,
    CreateKeyBody,
    Key,
    KeyInfo,
    KeyName,
    ProfileBody,
    RedeemBody,
    SessionInfo,
    SessionWorkspace,
    SignedInUser,
    SignInBody,
    User,
)
from tenfold_platform.auth.tables import KeyTable, UserTable
from tenfold_platform.context import Page, PageParams, PublicContext, PublicCtx, UserCtx, WorkspaceCtx
from tenfold_platform.routing import PUBLIC, SIGNED_IN, WITH_KEY, Router
from tenfold_platform.workspaces.tables import WorkspaceTable

router = Router(prefix="/auth", tags=["auth"])
keys_router = Router(prefix="/workspaces/{workspace}/keys", tags=["keys"])


@router.post("/redeem", allow=PUBLIC)
def redeem_link(ctx: PublicCtx, body: RedeemBody, response: Response) -> SignedInUser:
    """Sign in with a one-time link."""
    ctx.limiter.check(service.LINKS_FROM_ONE_ADDRESS, _address(ctx))
    return _signed_in(ctx, service.redeem(ctx.session, body.token, ctx.now), response)


@router.post("/sign-in", allow=PUBLIC)
def sign_in(ctx: PublicCtx, body: SignInBody, response: Response) -> SignedInUser:
    signed_in = service.sign_in(
        ctx.session,
        ctx.limiter,
        email=body.email,
        password=body.password.get_secret_value(),
        address=_address(ctx),
        now=ctx.now,
    )
    return _signed_in(ctx, signed_in, response)


@router.post("/sign-out", allow=SIGNED_IN, status_code=204)
def sign_out(ctx: UserCtx, response: Response) -> None:
    assert ctx.session_id is not None
    service.sign_out(ctx.session, ctx.session_id)
    delete_session_cookie(response, ctx.settings)


@router.get("/session", allow=SIGNED_IN)
def get_session(ctx: UserCtx) -> SessionInfo:
    """Who is signed in, and where they may go."""
    return SessionInfo(
        user=_user(service.get_user(ctx.session, ctx.principal.id)),
        workspaces=[
            SessionWorkspace(name=workspace.name, title=workspace.title, role=role)
            for workspace, role in service.list_workspaces_of(ctx.session, ctx.principal.id)
        ],
        gateway_url=ctx.settings.gateway_url,
        console_url=ctx.settings.console_url,
        version=version("tenfold"),
    )


@router.put("/profile", allow=SIGNED_IN)
def put_profile(ctx: UserCtx, body: ProfileBody) -> SignedInUser:
    user = service.get_user(ctx.session, ctx.principal.id)
    service.change_profile(
        ctx.session,
        user,
        session_id=ctx.session_id,
        now=ctx.now,
        name=body.name,
        email=body.email,
        password=body.password.get_secret_value() if body.password else None,
        current_password=body.current_password.get_secret_value() if body.current_password else None,
    )
    return SignedInUser(user=_user(user))


@router.get("/key", allow=WITH_KEY)
def get_key(ctx: UserCtx) -> KeyInfo:
    """What the key of this request is and where it belongs: for `tenfold login`."""
    key = ctx.session.get_one(KeyTable, ctx.principal.id)
    return KeyInfo(
        key=KeyName(key_id=key.key_id, name=key.name, scopes=key.scopes),
        workspace=ctx.session.get_one(WorkspaceTable, key.workspace_id).name,
        gateway_url=ctx.settings.gateway_url,
        console_url=ctx.settings.console_url,
        version=version("tenfold"),
    )


@keys_router.get("", allow=Action.KEYS_MANAGE)
def list_keys(ctx: WorkspaceCtx, page: PageParams) -> Page[Key]:
    rows, cursor = keys.list_keys(ctx.session, ctx.workspace.id, ctx.principal, page)
    emails = keys.creators_of(ctx.session, rows)
    return Page(items=[_key(row, emails) for row in rows], next_cursor=cursor)


@keys_router.post("", allow=Action.KEYS_MANAGE, status_code=201, shows_secret=True)
def create_key(ctx: WorkspaceCtx, body: CreateKeyBody) -> CreatedKey:
    """The answer is the only time that the key itself is shown."""
    keys.check_scopes(ctx.principal, body.scopes)
    row, shown = keys.create_key(
        ctx.session,
        ctx.workspace.id,
        name=body.name,
        scopes=body.scopes,
        created_by=ctx.principal.id if ctx.principal.kind == "user" else None,
        expires_at=ctx.now + timedelta(days=body.expires_in_days) if body.expires_in_days else None,
    )
    return CreatedKey(**_key(row, keys.creators_of(ctx.session, [row])).model_dump(), key=shown)


@keys_router.delete("/{id}", allow=Action.KEYS_MANAGE, status_code=204)
def revoke_key(ctx: WorkspaceCtx, id: UUID) -> None:
    """Takes effect everywhere within a second."""
    keys.revoke_key(ctx.session, ctx.workspace.id, ctx.principal, id, ctx.now)


def _signed_in(ctx: PublicContext, signed_in: service.SignedIn, response: Response) -> SignedInUser:
    set_session_cookie(response, ctx.settings, signed_in.token)
    return SignedInUser(user=_user(signed_in.user))


def _address(ctx: PublicContext) -> str:
    return ctx.request.client.host if ctx.request.client else "unknown"


def _user(user: UserTable) -> User:
    return User(
        id=user.id,
        email=user.email,
        name=user.name,
        has_password=user.password_hash is not None,
        is_operator=user.is_operator,
    )


def _key(row: KeyTable, emails: dict[UUID, str]) -> Key:
    return Key(
        id=row.id,
        key_id=row.key_id,
        name=row.name,
        scopes=row.scopes,
        created_at=row.created_at,
        created_by=emails.get(row.created_by) if row.created_by else None,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
