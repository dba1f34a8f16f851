"""People: one-time links, signing in, sessions, profiles; and the first start of an installation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.auth import keys
from tenfold_platform.auth.access import SESSION_LIFETIME
from tenfold_platform.auth.limits import Limit, RateLimiter
from tenfold_platform.auth.permissions import Role, Scope
from tenfold_platform.auth.secrets import TOKEN_PATTERN, hash_password, hash_secret, is_password, new_token
from tenfold_platform.auth.tables import SessionTable, SignInLinkTable, UserTable
from tenfold_platform.clock import Clock, utc_now
from tenfold_platform.db import transaction
from tenfold_platform.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from tenfold_platform.settings import Settings
from tenfold_platform.workspaces.tables import MembershipTable, WorkspaceTable

DEFAULT_WORKSPACE = "default"
FIRST_ADMIN_EMAIL = "admin@localhost"
LOCAL_KEY_NAME = "this machine"
LOCAL_KEY_SCOPES = (Scope.DEPLOY, Scope.SYSTEM)

FIRST_ADMIN_LINK_LIFETIME = timedelta(days=1)
SIGN_IN_LINK_LIFETIME = timedelta(minutes=15)
INVITATION_LIFETIME = timedelta(days=7)

# of attempts to sign in, per quarter of an hour
FROM_ONE_ADDRESS = Limit("sign-in-address", attempts=60, seconds=900)
FOR_ONE_EMAIL = Limit("sign-in-email", attempts=50, seconds=900)
FOR_ONE_EMAIL_FROM_ONE_ADDRESS = Limit("sign-in-email-address", attempts=10, seconds=900)
LINKS_FROM_ONE_ADDRESS = Limit("redeem-address", attempts=100, seconds=900)

_BOOTSTRAP_LOCK = 7_303_014  # any number that nothing else here takes as an advisory lock


class BadLink(Unauthenticated):
    code = "bad_link"


class BadPassword(Unauthenticated):
    code = "bad_password"


@dataclass(frozen=True)
class SignedIn:
    user: UserTable
    token: str = field(repr=False)  # for the cookie


@dataclass(frozen=True)
class Bootstrap:
    first_admin_link: str | None = field(repr=False)
    local_key: str | None = field(repr=False)


def bootstrap(
    sessions: sessionmaker[Session], settings: Settings, *, want_local_key: bool = False, clock: Clock = utc_now
) -> Bootstrap:
    """Safe to run at every start, by several processes at once.

    Makes the workspace `default`; while nobody has an account, a one-time link for the first admin; and, when asked, a
    key for the SDK on this machine (which replaces the one made before).
    """
    now = clock()
    with transaction(sessions) as session:
        session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _BOOTSTRAP_LOCK})
        workspace = session.scalar(select(WorkspaceTable).where(WorkspaceTable.name == DEFAULT_WORKSPACE))
        if workspace is None:
            workspace = WorkspaceTable(name=DEFAULT_WORKSPACE, title="Default")
            session.add(workspace)
            session.flush()
        link = None
        if not _anybody_has_an_account(session):
            link = _issue_link(session, settings, None, now, FIRST_ADMIN_LINK_LIFETIME)
        key = _replace_local_key(session, workspace.id, now) if want_local_key else None
    return Bootstrap(first_admin_link=link, local_key=key)


def issue_sign_in_link(
    session: Session,
    settings: Settings,
    user: UserTable,
    *,
    now: datetime | None = None,
    lifetime: timedelta = SIGN_IN_LINK_LIFETIME,
) -> str:
    """A one-time link with which `user` signs in.

    Hand it only to whoever may act for that user: the machine's owner, or the invited person.
    """
    return _issue_link(session, settings, user.id, now or utc_now(), lifetime)


def find_first_operator(session: Session) -> UserTable | None:
    """Whom `tenfold sign-in-link` on the server's own machine signs in."""
    return session.scalar(
        select(UserTable)
        .where(UserTable.is_operator, UserTable.disabled_at.is_(None))
        .order_by(UserTable.created_at, UserTable.id)
        .limit(1)
    )


def redeem(session: Session, token: str, now: datetime) -> SignedIn:
    """Each link works once: the row's lock decides among simultaneous tries."""
    link = None
    if TOKEN_PATTERN.fullmatch(token):
        link = session.scalar(
            select(SignInLinkTable).where(SignInLinkTable.token_hash == hash_secret(token)).with_for_update()
        )
    if link is None or link.used_at is not None or link.expires_at <= now:
        raise _bad_link()
    link.used_at = now
    user = _make_first_admin(session) if link.user_id is None else session.get_one(UserTable, link.user_id)
    if user.disabled_at is not None:
        raise _bad_link()
    return _start_session(session, user, now)


def sign_in(
    session: Session, limiter: RateLimiter, *, email: str, password: str, address: str, now: datetime
) -> SignedIn:
    """The same answer, after the same work, whether the email or the password was wrong."""
    limiter.check(FROM_ONE_ADDRESS, address)
    limiter.check(FOR_ONE_EMAIL_FROM_ONE_ADDRESS, f"{hash_secret(email)}:{address}")
    limiter.check(FOR_ONE_EMAIL, hash_secret(email))
    user = session.scalar(select(UserTable).where(UserTable.email == email))
    right = is_password(password, user.password_hash if user is not None else None)
    if user is None or not right or user.disabled_at is not None:
        raise BadPassword("The email or the password is wrong.")
    return _start_session(session, user, now)


def sign_out(session: Session, session_id: UUID) -> None:
    session.execute(delete(SessionTable).where(SessionTable.id == session_id))


def get_user(session: Session, user_id: UUID) -> UserTable:
    user = session.get(UserTable, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def list_workspaces_of(session: Session, user_id: UUID) -> list[tuple[WorkspaceTable, Role]]:
    rows = session.execute(
        select(WorkspaceTable, MembershipTable.role)
        .join(MembershipTable, MembershipTable.workspace_id == WorkspaceTable.id)
        .where(MembershipTable.user_id == user_id)
        .order_by(WorkspaceTable.name)
    )
    return [(workspace, Role(role)) for workspace, role in rows]


def change_profile(
    session: Session,
    user: UserTable,
    *,
    session_id: UUID | None,
    now: datetime,
    name: str | None = None,
    email: str | None = None,
    password: str | None = None,
    current_password: str | None = None,
) -> None:
    """A new email or password needs the current password, if there is one. A new password ends every other session."""
    changes_credentials = password is not None or (email is not None and email != user.email)
    if (
        changes_credentials
        and user.password_hash is not None
        and not is_password(current_password or "", user.password_hash)
    ):
        raise InvalidInput(
            "The current password is wrong.", details=[{"path": "current_password", "message": "is wrong or missing"}]
        )
    if name is not None:
        user.name = name
    if password is not None:
        user.password_hash = hash_password(password)
        _end_other_sessions(session, user.id, session_id, now)
    if email is not None:
        user.email = email
    try:
        session.flush()
    except IntegrityError:
        raise Conflict("Somebody else here has that email.") from None


def _anybody_has_an_account(session: Session) -> bool:
    return bool(session.scalar(select(select(UserTable.id).exists())))


def _make_first_admin(session: Session) -> UserTable:
    """Several first-admin links may be out (one for each start); one of them wins, the others die."""
    session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _BOOTSTRAP_LOCK})
    if _anybody_has_an_account(session):
        raise _bad_link()
    user = UserTable(email=FIRST_ADMIN_EMAIL, name="Admin", is_operator=True)
    session.add(user)
    session.flush()
    for workspace_id in session.scalars(select(WorkspaceTable.id)):
        session.add(MembershipTable(workspace_id=workspace_id, user_id=user.id, role=Role.ADMIN))
    return user


def _issue_link(session: Session, settings: Settings, user_id: UUID | None, now: datetime, lifetime: timedelta) -> str:
    token = new_token()
    session.execute(delete(SignInLinkTable).where(SignInLinkTable.expires_at <= now, SignInLinkTable.used_at.is_(None)))
    session.add(SignInLinkTable(token_hash=hash_secret(token), user_id=user_id, expires_at=now + lifetime))
    session.flush()
    # in the fragment: it is never sent to a server, and so never logged by one
    return f"{settings.console_url.rstrip('/')}/sign-in#{token}"


def _start_session(session: Session, user: UserTable, now: datetime) -> SignedIn:
    token = new_token()
    session.execute(delete(SessionTable).where(SessionTable.user_id == user.id, SessionTable.expires_at <= now))
    session.add(
        SessionTable(token_hash=hash_secret(token), user_id=user.id, expires_at=now + SESSION_LIFETIME, seen_at=now)
    )
    session.flush()
    return SignedIn(user, token)


def _end_other_sessions(session: Session, user_id: UUID, session_id: UUID | None, now: datetime) -> None:
    others = delete(SessionTable).where(SessionTable.user_id == user_id)
    if session_id is not None:
        others = others.where(SessionTable.id != session_id)
    session.execute(others)
    session.execute(
        update(SignInLinkTable)
        .where(SignInLinkTable.user_id == user_id, SignInLinkTable.used_at.is_(None))
        .values(used_at=now)
    )


def _replace_local_key(session: Session, workspace_id: UUID, now: datetime) -> str:
    keys.revoke_named(session, workspace_id, LOCAL_KEY_NAME, now)
    _, shown = keys.create_key(session, workspace_id, name=LOCAL_KEY_NAME, scopes=LOCAL_KEY_SCOPES)
    return shown


def _bad_link() -> BadLink:
    return BadLink(
        "The link is not valid any more.",
        hint="Each link works once. Ask for a new one, or run `tenfold sign-in-link`.",
    )
