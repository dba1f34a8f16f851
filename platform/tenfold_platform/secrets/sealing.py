"""Envelope encryption of single values: each has a data key of its own, and that is sealed by a key kept elsewhere.

A sealed value is bytes, in order:

    1    form, 1 now
    8    which key sealed the data key
    12   nonce of the data key
    48   the data key, sealed (32 and a tag of 16)
    12   nonce of the value
    ...  the value, sealed

Both are AES-256-GCM with the workspace's id and the secret's name as associated data: a row that is moved to another
name or workspace does not open. Another key takes over by sealing the data key again; the value stays as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenfold_platform.errors import Unavailable
from tenfold_platform.settings import Settings

FORM = b"\x01"
KEY_ID_BYTES = 8
NONCE_BYTES = 12
KEY_BYTES = 32
TAG_BYTES = 16
_WRAPPED = slice(1 + KEY_ID_BYTES, 1 + KEY_ID_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES)


class NoSecretsKey(Unavailable):
    code = "secrets_key_missing"


class CannotOpen(Unavailable):
    code = "secret_cannot_be_opened"


@dataclass(frozen=True)
class Key:
    value: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """Tells keys apart, and nothing about them."""
        return hashlib.sha256(b"tenfold secrets key\0" + self.value).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True)
class Keyring:
    """The keys of an installation: the first seals, every one opens. Empty in a process that handles no secrets."""

    keys: Sequence[Key]

    @classmethod
    def of(cls, settings: Settings) -> Keyring:
        text = settings.secrets_key.get_secret_value() if settings.secrets_key else ""
        return cls([Key(bytes.fromhex(part)) for part in text.split(",") if part])

    def seal(self, workspace_id: UUID, name: str, value: str) -> bytes:
        """Raises NoSecretsKey."""
        bound = _bound_to(workspace_id, name)
        data_key, nonce = os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES)
        sealed = AESGCM(data_key).encrypt(nonce, value.encode(), bound)
        return self._wrap(data_key, bound) + nonce + sealed

    def open(self, workspace_id: UUID, name: str, sealed: bytes) -> str:
        """Raises CannotOpen: the key is not among these, or the row is not what was sealed."""
        bound = _bound_to(workspace_id, name)
        data_key = self._unwrap(name, sealed, bound)
        rest = sealed[_WRAPPED.stop :]
        try:
            return AESGCM(data_key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], bound).decode()
        except (InvalidTag, ValueError):
            raise _not_what_was_sealed(name) from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the first key."""
        return sealed[1 : 1 + KEY_ID_BYTES] == self._first().id

    def reseal(self, workspace_id: UUID, name: str, sealed: bytes) -> bytes:
        """The same value, its data key under the first key. Raises CannotOpen."""
        bound = _bound_to(workspace_id, name)
        return self._wrap(self._unwrap(name, sealed, bound), bound) + sealed[_WRAPPED.stop :]

    def _first(self) -> Key:
        if not self.keys:
            raise NoSecretsKey(
                "This installation has no key for secrets.",
                hint="Set TENFOLD_SECRETS_KEY for the api, the engine and the controller: 32 random bytes in hex.",
            )
        return self.keys[0]

    def _wrap(self, data_key: bytes, bound: bytes) -> bytes:
        key, nonce = self._first(), os.urandom(NONCE_BYTES)
        return FORM + key.id + nonce + AESGCM(key.value).encrypt(nonce, data_key, bound)

    def _unwrap(self, name: str, sealed: bytes, bound: bytes) -> bytes:
        if sealed[:1] != FORM:
            raise _not_what_was_sealed(name)
        key_id, wrapped = sealed[1 : 1 + KEY_ID_BYTES], sealed[_WRAPPED]
        key = next((key for key in self.keys if key.id == key_id), None)
        if key is None:
            raise CannotOpen(
                f"The secret {name} was sealed with another key ({key_id.hex()}) than this installation has.",
                hint="Put that key back (TENFOLD_SECRETS_KEY, or keys/secrets.key), or set the secret again.",
            )
        try:
            return AESGCM(key.value).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise _not_what_was_sealed(name) from None


def _bound_to(workspace_id: UUID, name: str) -> bytes:
    return b"tenfold secret 1\0" + workspace_id.bytes + name.encode()


def _not_what_was_sealed(name: str) -> CannotOpen:
    return CannotOpen(
        f"The secret {name} cannot be opened: its row is damaged, or was moved from another place.",
        hint="Set it again.",
    )
