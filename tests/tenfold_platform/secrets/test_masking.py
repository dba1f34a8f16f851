"""Whatever a program does to a secret before it prints it, and wherever the output is cut: it does not show."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold_platform.secrets.masking import MASK, SHORTEST, Mask

TOKEN = 'hf_"Zq 8é/+%&=x\\y'
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json, not only ASCII": lambda value: json.dumps(value, ensure_ascii=False),
    "in a list in JSON": lambda value: json.dumps([{"token": value}]),
    "repr": repr,
    "url": lambda value: quote(value, safe=""),
    "form": quote_plus,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 after one": lambda value: base64.b64encode(b"u" + value.encode() + b":").decode(),
    "base64 after two": lambda value: base64.urlsafe_b64encode(b"us" + value.encode() + b":pw").decode(),
}

values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=SHORTEST, max_size=40).filter(
    lambda value: len(value.strip()) >= SHORTEST
)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_in_any_spelling_is_masked(spelling: str) -> None:
    text = f"before {SPELLINGS[spelling](TOKEN)} after"
    hidden = Mask([TOKEN]).hide_text(text)
    assert MASK.decode() in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert SPELLINGS[spelling](TOKEN).strip('"')[3:-3] not in hidden


@given(values, st.sampled_from(sorted(SPELLINGS)), anything, anything)
def test_no_secret_is_left_in_any_text(value: str, spelling: str, before: str, after: str) -> None:
    printed = SPELLINGS[spelling](value)
    hidden = Mask([value]).hide_text(before + printed + after)
    assert value not in hidden
    assert MASK.decode() in hidden


@given(values, st.lists(st.integers(0, 200), max_size=4), anything, anything)
def test_nor_when_the_output_comes_in_pieces(value: str, cuts: list[int], before: str, after: str) -> None:
    """As shipping does it: what may be the beginning of a secret waits for the next piece."""
    mask, output = Mask([value]), f"{before}{value}{after}".encode()
    edges = sorted({min(cut, len(output)) for cut in cuts} | {0, len(output)})
    shown = waiting = b""
    for start, end in itertools.pairwise(edges):
        piece = waiting + output[start:end]
        held = mask.held_back(piece) if end < len(output) else 0
        shown += mask.hide(piece[: len(piece) - held])
        waiting = piece[len(piece) - held :]
    assert value.encode() not in shown
    assert MASK in shown


def test_lines_of_a_longer_secret_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhki\n9w0BAQEFAASCBKcwggS\n-----END KEY-----\n"
    assert Mask([key]).hide_text("line: MIIEvQIBADANBgkqhki!") == "line: [secret]!"
    assert "9w0BAQ" not in Mask([key]).hide_text(key)


def test_what_is_too_short_to_be_told_from_a_word_is_left() -> None:
    assert Mask(["yes"]).hide_text("yes, yesterday") == "yes, yesterday"
    assert Mask([]).hide(b"\xff\x00 anything") == b"\xff\x00 anything"


def test_what_is_no_text_goes_through_unharmed() -> None:
    assert Mask([TOKEN]).hide(b"\xff\xfe" + TOKEN.encode() + b"\x80") == b"\xff\xfe" + MASK + b"\x80"


def test_of_two_secrets_of_which_one_begins_like_the_other_nothing_is_left() -> None:
    assert Mask(["password", "password-2"]).hide_text("it is password-2") == "it is [secret]"


def test_how_much_waits() -> None:
    mask = Mask(["abcdefgh"])
    held = {b"": 0, b"x": 0, b"xabc": 3, b"abcabcdefg": 7, b"abcdefgh.": 0, b"ababab": 2}
    assert {end: mask.held_back(end) for end in held} == held
