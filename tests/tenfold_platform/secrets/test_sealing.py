"""Sealed values: opened with the right key, in the right place, as they were; and with nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tenfold_platform.ids import new_id
from tenfold_platform.secrets.sealing import CannotOpen, Key, Keyring, NoSecretsKey
from tenfold_platform.settings import Settings

OLD, NEW = Key(b"o" * 32), Key(b"n" * 32)
RING = Keyring([OLD])
HERE, THERE = new_id(), new_id()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_value_comes_out_as_it_went_in(value: str) -> None:
    assert RING.open(HERE, "A", RING.seal(HERE, "A", value)) == value


def test_equal_values_look_different_and_show_nothing() -> None:
    first, second = RING.seal(HERE, "A", "the value"), RING.seal(HERE, "A", "the value")
    assert first != second
    assert b"value" not in first
    assert OLD.value not in first


@pytest.mark.parametrize(("workspace", "name"), [(THERE, "A"), (HERE, "B")])
def test_a_value_moved_elsewhere_does_not_open(workspace: object, name: str) -> None:
    sealed = RING.seal(HERE, "A", "the value")
    with pytest.raises(CannotOpen, match=f"The secret {name} cannot be opened"):
        RING.open(workspace, name, sealed)  # type: ignore[arg-type]


def test_any_changed_byte_is_noticed() -> None:
    sealed = RING.seal(HERE, "A", "v")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(CannotOpen):
            RING.open(HERE, "A", bytes(changed))
    for cut in (b"", sealed[:1], sealed[:40], sealed[:-1]):
        with pytest.raises(CannotOpen):
            RING.open(HERE, "A", cut)


def test_another_key_opens_nothing_and_says_which_is_missing() -> None:
    with pytest.raises(CannotOpen, match=OLD.id.hex()):
        Keyring([NEW]).open(HERE, "A", RING.seal(HERE, "A", "v"))


def test_a_new_key_takes_over_step_by_step() -> None:
    sealed = RING.seal(HERE, "A", "the value")
    both = Keyring([NEW, OLD])
    assert both.open(HERE, "A", sealed) == "the value"
    assert not both.is_current(sealed)
    resealed = both.reseal(HERE, "A", sealed)
    assert both.is_current(resealed)
    assert Keyring([NEW]).open(HERE, "A", resealed) == "the value"
    with pytest.raises(CannotOpen):
        RING.open(HERE, "A", resealed)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(NoSecretsKey, match="no key for secrets"):
        Keyring([]).seal(HERE, "A", "v")


def test_keys_never_show_in_their_own_words() -> None:
    assert repr(OLD) == "Key()"
    assert "6f6f" not in repr(RING)


def settings(secrets_key: str) -> Settings:
    return Settings.model_validate(
        {
            "database_url": "postgresql://h/d",
            "redis_url": "redis://h",
            "data_dir": "d",
            "signing_key": "0" * 64,
            "secrets_key": secrets_key,
        }
    )


def test_the_keyring_of_an_installation() -> None:
    made = settings(f"{'AA' * 32}, {'bb' * 32}")
    assert Keyring.of(made) == Keyring([Key(b"\xaa" * 32), Key(b"\xbb" * 32)])
    assert Keyring.of(settings("cc" * 32).model_copy(update={"secrets_key": None})) == Keyring([])


@pytest.mark.parametrize("text", ["short", "aa" * 31, "zz" * 32, f"{'aa' * 32},"])
def test_a_key_that_is_none_stops_the_start_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValidationError, match="32 bytes in hex") as caught:
        settings(text)
    assert len(text) < 10 or text not in str(caught.value)
