from __future__ import annotations

import base64
import json
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold_platform.auth.tokens import (
    Token,
    TokenError,
    TokenKind,
    is_link_key,
    issue,
    link_key,
    sign,
    verify,
)

KEY = "a" * 64
OTHER_KEY = "b" * 64
WORKSPACE = UUID("01900000-0000-7000-8000-000000000001")
APP = UUID("01900000-0000-7000-8000-000000000002")
USER = UUID("01900000-0000-7000-8000-000000000003")
NOW = 1_800_000_000


def make(kind: TokenKind = TokenKind.CONSOLE) -> tuple[str, Token]:
    return issue(
        KEY, kind, workspace_id=WORKSPACE, name="ada@example.org", user_id=USER, role="admin", app_id=APP, now=NOW
    )


def fault_of(text: str, kinds: set[TokenKind], *, key: str = KEY, now: float = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        verify(key, text, kinds, now=now)
    return caught.value.code


@pytest.mark.parametrize("kind", list(TokenKind))
def test_a_token_says_afterwards_what_was_signed(kind: TokenKind) -> None:
    text, token = make(kind)
    assert verify(KEY, text, {kind}, now=NOW) == token
    assert verify(KEY, text, set(TokenKind), now=NOW) == token


def test_lifetimes_differ_by_kind() -> None:
    lifetimes = {kind: make(kind)[1].expires_at - NOW for kind in TokenKind}
    assert lifetimes == {TokenKind.CONSOLE: 600, TokenKind.VIEW: 3600, TokenKind.OPEN: 120}


def test_a_token_ends_at_its_expiry() -> None:
    text, token = make()
    assert verify(KEY, text, {TokenKind.CONSOLE}, now=token.expires_at - 1) == token
    assert fault_of(text, {TokenKind.CONSOLE}, now=token.expires_at) == "expired"


@pytest.mark.parametrize("kind", list(TokenKind))
def test_a_token_of_one_kind_never_passes_for_another(kind: TokenKind) -> None:
    text, _ = make(kind)
    assert fault_of(text, set(TokenKind) - {kind}) == "forged"


def test_a_payload_that_claims_another_kind_is_refused_even_under_the_right_mac() -> None:
    text, token = make(TokenKind.VIEW)
    payload = base64.urlsafe_b64encode(json.dumps({"k": "console"}).encode()).rstrip(b"=").decode()
    assert fault_of(f"tft.{payload}.{text.split('.')[2]}", {TokenKind.VIEW, TokenKind.CONSOLE}) == "forged"
    assert sign(KEY, replace(token, kind=TokenKind.CONSOLE)) != text


def test_another_installation_cannot_make_one() -> None:
    text, _ = make()
    assert fault_of(text, {TokenKind.CONSOLE}, key=OTHER_KEY) == "forged"


def test_every_changed_character_is_noticed() -> None:
    text, _ = make()
    for index, character in enumerate(text):
        changed = text[:index] + ("A" if character != "A" else "B") + text[index + 1 :]
        with pytest.raises(TokenError):
            verify(KEY, changed, set(TokenKind), now=NOW)


@given(st.text(max_size=200) | st.text(alphabet="tf.AZaz09-_=", max_size=200))
def test_noise_is_refused_and_nothing_else_happens(noise: str) -> None:
    for text in (noise, "tft." + noise, f"tft.{noise}.{noise}"):
        with pytest.raises(TokenError):
            verify(KEY, text, set(TokenKind), now=NOW)


def test_an_endless_token_is_refused_unread() -> None:
    assert fault_of("tft." + "A" * 5000 + ".AAAA", set(TokenKind)) == "malformed"


def test_a_share_link_has_one_key_per_app_and_generation() -> None:
    key = link_key(KEY, APP, 1)
    assert len(key) == 32
    assert is_link_key(KEY, key, APP, 1)
    assert not is_link_key(KEY, key, APP, 2)
    assert not is_link_key(KEY, key, WORKSPACE, 1)
    assert not is_link_key(OTHER_KEY, key, APP, 1)
    assert not is_link_key(KEY, "", APP, 1)
    assert not is_link_key(KEY, "é\ud800", APP, 1)
