"""Stateless credentials, signed with the installation's key: tokens and the keys of share links.

A token is `tft.<payload>.<mac>`, both parts base64url without padding. The payload is JSON:
`{"k": kind, "w": workspace id, "u": user id or null, "n": who, "r": role or null, "a": app id or null,
"g": link generation or null, "i": issued, "x": expiry}`. The mac is HMAC-SHA256 under a key derived for that kind
alone, so that a token of one kind can never pass for another.

    TokenError(code, message)
      malformed    not a token at all
      forged       the signature is not ours, or the token is of another kind than was asked for
      expired
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

PREFIX = "tft."
MAX_TOKEN_CHARS = 4096

TokenFault = Literal["malformed", "forged", "expired"]


class TokenKind(StrEnum):
    CONSOLE = "console"  # the studio calls the data plane of one workspace as its signed-in user
    VIEW = "view"  # a view page runs the queries of one app
    OPEN = "open"  # the console hands a member over to a view page, which trades it for a view token


LIFETIME_SECONDS: dict[TokenKind, int] = {
    TokenKind.CONSOLE: 10 * 60,
    TokenKind.VIEW: 60 * 60,
    TokenKind.OPEN: 2 * 60,
}


class TokenError(Exception):
    def __init__(self, code: TokenFault, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says. `link_generation` is set on a view token got with a share link: rotating the link ends it."""

    kind: TokenKind
    workspace_id: UUID
    name: str
    issued_at: int
    expires_at: int
    user_id: UUID | None = None
    role: str | None = None
    app_id: UUID | None = None
    link_generation: int | None = None


def issue(
    signing_key: str,
    kind: TokenKind,
    *,
    workspace_id: UUID,
    name: str,
    user_id: UUID | None = None,
    role: str | None = None,
    app_id: UUID | None = None,
    link_generation: int | None = None,
    lifetime_seconds: int | None = None,
    now: float | None = None,
) -> tuple[str, Token]:
    """Makes a token, living as long as its kind does unless told otherwise. Returns its text and what it says."""
    issued_at = int(time.time() if now is None else now)
    expires_at = issued_at + (LIFETIME_SECONDS[kind] if lifetime_seconds is None else lifetime_seconds)
    token = Token(kind, workspace_id, name, issued_at, expires_at, user_id, role, app_id, link_generation)
    return sign(signing_key, token), token


def sign(signing_key: str, token: Token) -> str:
    payload = _encode(json.dumps(_to_json(token), separators=(",", ":")).encode())
    return f"{PREFIX}{payload}.{_encode(_mac(signing_key, token.kind, payload))}"


def verify(signing_key: str, text: str, kinds: Collection[TokenKind], *, now: float | None = None) -> Token:
    """The token that `text` is. Raises TokenError unless it is ours, of one of these kinds, and not expired.

    Nothing in the payload is looked at before its signature has been found right.
    """
    payload, mac = _split(text)
    for kind in kinds:
        if hmac.compare_digest(_mac(signing_key, kind, payload), mac):
            token = _from_json(payload)
            break
    else:
        raise TokenError("forged", "The token was not made here, or not for this use.")
    if token.kind != kind:
        raise TokenError("forged", "The token was made for another use.")
    if token.expires_at <= (time.time() if now is None else now):
        raise TokenError("expired", "The token has expired.")
    return token


def link_key(signing_key: str, app_id: UUID, link_generation: int) -> str:
    """The secret in an app's share link. Raising the app's link generation revokes it."""
    message = f"link:{app_id}:{link_generation}".encode()
    return _encode(hmac.digest(signing_key.encode(), message, "sha256"))[:32]


def is_link_key(signing_key: str, given: str, app_id: UUID, link_generation: int) -> bool:
    return hmac.compare_digest(
        link_key(signing_key, app_id, link_generation).encode(), given.encode("utf-8", "replace")
    )


def _mac(signing_key: str, kind: TokenKind, payload: str) -> bytes:
    key = hmac.digest(signing_key.encode(), f"token:{kind.value}".encode(), "sha256")
    return hmac.new(key, payload.encode("ascii"), hashlib.sha256).digest()


def _split(text: str) -> tuple[str, bytes]:
    parts = text.split(".")
    if len(text) > MAX_TOKEN_CHARS or len(parts) != 3 or parts[0] + "." != PREFIX or not text.isascii():
        raise TokenError("malformed", "This is not a token.")
    return parts[1], _decode(parts[2])


def _to_json(token: Token) -> dict[str, Any]:
    return {
        "k": token.kind.value,
        "w": str(token.workspace_id),
        "u": None if token.user_id is None else str(token.user_id),
        "n": token.name,
        "r": token.role,
        "a": None if token.app_id is None else str(token.app_id),
        "g": token.link_generation,
        "i": token.issued_at,
        "x": token.expires_at,
    }


def _from_json(payload: str) -> Token:
    try:
        said = json.loads(_decode(payload))
        return Token(
            kind=TokenKind(said["k"]),
            workspace_id=UUID(said["w"]),
            name=str(said["n"]),
            issued_at=int(said["i"]),
            expires_at=int(said["x"]),
            user_id=None if said["u"] is None else UUID(said["u"]),
            role=said["r"],
            app_id=None if said["a"] is None else UUID(said["a"]),
            link_generation=said["g"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise TokenError("malformed", "The token's contents cannot be read.") from error


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """Strict: only the alphabet, and only the one spelling that `_encode` writes, so that a token has a single form."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TokenError("malformed", "This is not a token.") from error
    if _encode(data) != text:
        raise TokenError("malformed", "This is not a token.")
    return data
