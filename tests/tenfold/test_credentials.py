from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tenfold.client import connect
from tenfold.credentials import Profile, find_profile, read_profiles, remove_profile, save_profile
from tenfold.errors import NotSignedIn


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TENFOLD_URL", "TENFOLD_KEY", "TENFOLD_WORKSPACE", "TENFOLD_GATEWAY_URL", "TENFOLD_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "home" / "credentials.json"
    monkeypatch.setenv("TENFOLD_CREDENTIALS", str(file))
    return file


def test_nothing_known_says_how_to_begin() -> None:
    with pytest.raises(NotSignedIn, match="There are no Tenfold credentials") as raised:
        connect()
    assert "`tenfold up`" in raised.value.hint
    assert "`tenfold login URL`" in raised.value.hint


def test_the_environment_comes_before_the_file(file: Path) -> None:
    save_profile(file, "local", Profile("http://a.test", "k1"))
    given = {"TENFOLD_URL": "http://b.test/", "TENFOLD_KEY": "k2", "TENFOLD_WORKSPACE": "team"}
    assert find_profile(environ=given) == Profile("http://b.test", "k2", "team")
    assert find_profile(environ={}) == Profile("http://a.test", "k1")


def test_half_an_environment_is_refused() -> None:
    with pytest.raises(NotSignedIn, match="TENFOLD_URL is set and TENFOLD_KEY is not"):
        find_profile(environ={"TENFOLD_URL": "http://b.test"})


def test_profiles_are_kept_side_by_side(file: Path) -> None:
    save_profile(file, "local", Profile("http://a.test", "k1", "default", "http://g.test", "/data"))
    save_profile(file, "work", Profile("http://b.test", "k2"))
    assert find_profile(environ={}).url == "http://b.test"
    assert find_profile("local", environ={}).data_dir == "/data"
    assert find_profile(environ={"TENFOLD_PROFILE": "local"}).url == "http://a.test"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(NotSignedIn, match="no profile 'home'"):
        find_profile("home", environ={})


def test_signing_out_leaves_the_others(file: Path) -> None:
    save_profile(file, "local", Profile("http://a.test", "k1"))
    save_profile(file, "work", Profile("http://b.test", "k2"))
    assert remove_profile(file, "work") is True
    assert remove_profile(file, "work") is False
    assert find_profile(environ={}).url == "http://a.test"


def test_a_broken_file_is_no_file(file: Path) -> None:
    file.parent.mkdir(parents=True)
    for text in ("{", "[]", json.dumps({"profiles": {"a": {"url": "x"}}})):
        file.write_text(text)
        assert read_profiles(file) == {}


def test_url_and_key_come_together() -> None:
    with pytest.raises(NotSignedIn, match="both url and key"):
        connect("http://a.test")
