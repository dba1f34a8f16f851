"""Who is calling: a key, a signed-in user's console token, or a published view's token."""

from __future__ import annotations

import hmac
import re
import time
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from tenfold_platform.auth.permissions import Action
from tenfold_platform.auth.tokens import PREFIX, Token, TokenError, TokenKind, verify
from tenfold_platform.errors import Forbidden, NotFound, Unauthenticated
from tenfold_platform.gateway.http import WEBSOCKET, Request
from tenfold_platform.gateway.snapshot import App, Key, Member, Snapshot, Workspace, hash_secret

_KEY = re.compile(r"tf_([a-z0-9]{12})_([A-Za-z0-9_-]{43})\Z")
_NO_HASH = bytes(32)
BEARER_PROTOCOL = "tenfold.bearer."


@dataclass(frozen=True, slots=True)
class Caller:
    """`label` is what runs record: `key:<key id>`, `user:<email>` or `view:<view>`."""

    kind: Literal["key", "user", "visitor"]
    workspace: Workspace
    label: str
    actions: frozenset[Action] = field(default_factory=frozenset)
    key: Key | None = None
    token: Token | None = None

    def require(self, action: Action) -> None:
        if action not in self.actions:
            raise Forbidden(
                f"This needs the right {action.value}, which this credential does not have.",
                hint="Use a key with a wider scope." if self.key else "Ask an admin of the workspace for another role.",
            )

    @property
    def may_see_faults(self) -> bool:
        """Tracebacks show code, so they are for those who may read it."""
        return may_see_faults(self.actions)


def may_see_faults(actions: frozenset[Action]) -> bool:
    return Action.RUNS_READ in actions or Action.MODELS_WRITE in actions


def authenticate(request: Request, snapshot: Snapshot, signing_key: str) -> Caller:
    """Raises Unauthenticated unless the request carries exactly one credential, and a good one."""
    credential = _credential(request)
    if credential.startswith(PREFIX):
        return _by_token(credential, snapshot, signing_key)
    return _by_key(credential, snapshot)


def own_workspace(caller: Caller, name: str) -> Workspace:
    """The workspace in the path, when it is the caller's. Nobody can tell a foreign one from a missing one.

    A visitor of a view sees nothing of the workspace but its app's views, so for visitors there is none.
    """
    if caller.workspace.name != name or caller.kind == "visitor":
        raise nothing_here()
    return caller.workspace


def may_still_view(app: App, token: Token, snapshot: Snapshot) -> bool:
    """Whether the grant behind a view token still stands: memberships end, links are rotated, access changes."""
    if (
        token.role is not None
    ):  # from the workspace itself: by a member, or by a key, which opens as nobody in particular
        return token.user_id is None or _member(snapshot, token) is not None
    if app.access == "public":
        return True
    return app.access == "link" and token.link_generation == app.link_generation


def nothing_here() -> NotFound:
    """One body for every missing, foreign and unknown thing."""
    return NotFound(
        "There is nothing at this address for this credential.",
        hint="Check the workspace, the name, and the version or alias.",
    )


def offered_protocols(request: Request) -> list[str]:
    """The subprotocols that a websocket's client offers, credentials among them."""
    return [
        protocol.strip()
        for header in request.headers_named(b"sec-websocket-protocol")
        for protocol in header.split(",")
        if protocol.strip()
    ]


def _credential(request: Request) -> str:
    given = request.headers_named(b"authorization")
    keys = request.headers_named(b"x-api-key")
    if request.method == WEBSOCKET:
        keys += [
            protocol.removeprefix(BEARER_PROTOCOL)
            for protocol in offered_protocols(request)
            if protocol.startswith(BEARER_PROTOCOL)
        ]
    if len(given) + len(keys) > 1:
        raise _unauthenticated("The request carries more than one credential.")
    if keys:
        return keys[0].strip()
    if not given:
        raise _unauthenticated("The request carries no credential.")
    scheme, _, credential = given[0].partition(" ")
    if scheme.lower() not in ("bearer", "api-key") or not credential:
        raise _unauthenticated("The Authorization header is not of a known form.")
    return credential.strip()


def find_key(credential: str, snapshot: Snapshot) -> Key | None:
    """The key, when it is one and good."""
    match = _KEY.match(credential)
    if match is None:
        return None
    key = snapshot.key(match[1])
    right = key.secret_hash if key is not None else _NO_HASH
    is_right = hmac.compare_digest(hash_secret(match[2]), right)
    if key is None or not is_right or (key.expires_at is not None and key.expires_at <= time.time()):
        return None
    return key


def _by_key(credential: str, snapshot: Snapshot) -> Caller:
    key = find_key(credential, snapshot)
    if key is None:
        raise _unauthenticated("The key is not valid.")
    workspace = _workspace(snapshot, key.workspace_id)
    return Caller("key", workspace, f"key:{key.key_id}", key.actions, key=key)


def _by_token(credential: str, snapshot: Snapshot, signing_key: str) -> Caller:
    try:
        token = verify(signing_key, credential, (TokenKind.CONSOLE, TokenKind.VIEW))
    except TokenError as error:
        raise _unauthenticated(error.message, expired=error.code == "expired") from None
    workspace = _workspace(snapshot, token.workspace_id)
    if token.kind is TokenKind.VIEW:
        return Caller("visitor", workspace, "view", token=token)
    member = _member(snapshot, token)
    if member is None:
        raise _unauthenticated("The user is no longer a member of the workspace.")
    return Caller("user", workspace, f"user:{member.email}", member.actions, token=token)


def _member(snapshot: Snapshot, token: Token) -> Member | None:
    return _workspace(snapshot, token.workspace_id).members.get(token.user_id) if token.user_id else None


def _workspace(snapshot: Snapshot, id: UUID) -> Workspace:
    if (workspace := snapshot.workspaces_by_id.get(id)) is None:
        raise _unauthenticated("The credential's workspace is gone.")
    return workspace


def _unauthenticated(message: str, *, expired: bool = False) -> Unauthenticated:
    return Unauthenticated(
        message,
        code="expired" if expired else None,
        hint="Send `Authorization: Bearer <key>` with a key from the Keys page, or `tenfold login`.",
    )
