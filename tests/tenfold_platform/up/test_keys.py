"""The keys that the first start makes, and which processes get them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenfold_platform.settings import Settings
from tenfold_platform.up import supervisor
from tenfold_platform.up.children import Program
from tenfold_platform.up.folder import DataFolder


def test_each_key_is_made_once_for_the_owners_eyes_only(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with folder:
        made = (folder.signing_key(), folder.secrets_key())
    with folder:
        assert (folder.signing_key(), folder.secrets_key()) == made
    assert made[0] != made[1]
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in made)
    for name in ("signing", "secrets"):
        assert (folder.path / "keys" / f"{name}.key").stat().st_mode & 0o077 == 0


def test_a_new_line_above_the_old_one_is_the_key_from_then_on(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data") as folder:
        old = folder.secrets_key()
        (folder.path / "keys" / "secrets.key").write_text(f"# newest first\n{'ab' * 32}\n\n{old}\n")
        assert folder.secrets_key() == f"{'ab' * 32},{old}"


def test_only_the_processes_that_seal_and_open_get_the_key(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, dict[str, str]] = {}

    class NoChild:
        def __init__(self, program: Program, log_file: Path) -> None:
            given[program.name] = program.popen_kwargs["env"]

        def start(self) -> None:
            pass

    monkeypatch.setattr(supervisor, "Child", NoChild)
    starting = supervisor.Supervisor(supervisor.Options(tmp_path / "data"))
    for name in supervisor.PROCESSES:
        starting._start_process(name, settings)
    assert settings.secrets_key is not None
    key = settings.secrets_key.get_secret_value()
    assert {name for name, environment in given.items() if key in environment.values()} == {
        "api",
        "controller",
        "engine",
    }
    assert {environment["TENFOLD_SIGNING_KEY"] for environment in given.values()} == {"5e" * 32}
