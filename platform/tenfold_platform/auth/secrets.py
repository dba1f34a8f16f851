"""Random secrets, their stored forms, and passwords."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import threading
from dataclasses import dataclass, field
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

KEY_ID_ALPHABET = string.ascii_lowercase + string.digits
KEY_PATTERN = re.compile(r"tf_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}")

_hasher = PasswordHasher()  # argon2id, the library's current recommendation
_few_at_once = threading.BoundedSemaphore(4)  # each takes 64 MiB


@dataclass(frozen=True)
class NewKey:
    key_id: str
    text: str = field(repr=False)
    secret_hash: str = field(repr=False)


def new_key() -> NewKey:
    """`tf_<key_id>_<secret>`: the text is shown once, the hash is kept."""
    key_id = "".join(secrets.choice(KEY_ID_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    return NewKey(key_id, f"tf_{key_id}_{secret}", hash_secret(secret))


def split_key(text: str) -> tuple[str, str] | None:
    """(key_id, secret) of something that is written like a key."""
    match = KEY_PATTERN.fullmatch(text)
    return (match[1], match[2]) if match else None


def new_token() -> str:
    """256 random bits, for cookies and one-time links."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """SHA-256: 256 random bits need no salt and no stretching."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_secret(secret: str, stored_hash: str) -> bool:
    return hmac.compare_digest(hash_secret(secret).encode(), stored_hash.encode())


def hash_password(password: str) -> str:
    with _few_at_once:
        return _hasher.hash(password)


def is_password(password: str, stored_hash: str | None) -> bool:
    """Takes as long for a user without a password (or no user at all) as for a wrong password."""
    nobodys_hash = _nobodys_hash()  # also for who is somebody: the first time it takes as long for everybody
    try:
        with _few_at_once:
            right = _hasher.verify(stored_hash or nobodys_hash, password)
    except (VerificationError, InvalidHashError):
        return False
    return right and stored_hash is not None


@cache
def _nobodys_hash() -> str:
    return hash_password(secrets.token_urlsafe(16))
