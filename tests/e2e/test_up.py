"""`tenfold up`: started, stopped, started again; one at a time; nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from .conftest import TENFOLD, Installation, wait_for

pytestmark = pytest.mark.e2e


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


def test_started_stopped_and_started_again_everything_is_there(new_installation: Callable[[], Installation]) -> None:
    installation = new_installation()
    installation.start()
    first_link = installation.said()
    assert "/sign-in#" in first_link
    assert installation.process is not None
    children = children_of(installation.process.pid)
    assert len(children) == 6
    profile = installation.profile
    with installation.api() as api:
        assert api.get("/models").json()["items"] == []

    second = subprocess.run(
        [TENFOLD, "up", "--data", installation.data], capture_output=True, text=True, env=installation.env, timeout=60
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert profile["url"] in second.stderr

    assert installation.stop() == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(profile["url"])

    installation.start()
    assert installation.profile == profile
    with installation.api() as api:
        assert api.get("/models").status_code == 200


def test_killed_outright_its_processes_end_and_the_next_start_works(
    new_installation: Callable[[], Installation],
) -> None:
    installation = new_installation()
    installation.start()
    assert installation.process is not None
    children = children_of(installation.process.pid)
    os.kill(installation.process.pid, signal.SIGKILL)
    installation.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 30)
    installation.start()
    with installation.api() as api:
        assert api.get("/models").status_code == 200


def test_status_and_logs_say_what_runs(installation: Installation) -> None:
    status = installation.tenfold("status").stdout
    for name in ("api", "gateway", "engine", "controller"):
        assert name in status
    assert "Uvicorn running" in installation.tenfold("logs", "api", "--lines", "100000").stdout


def test_files_with_secrets_are_for_their_owner_only(installation: Installation) -> None:
    for file in (
        installation.folder / "credentials.json",
        installation.data / "keys" / "signing.key",
        installation.data / "postgres" / "password",
        installation.data / "redis" / "password",
    ):
        assert file.stat().st_mode & 0o077 == 0, file


def test_no_secret_is_in_a_log(installation: Installation) -> None:
    secrets = [
        installation.profile["key"].split("_", 2)[2],
        (installation.data / "keys" / "signing.key").read_text().strip(),
        (installation.data / "postgres" / "password").read_text().strip(),
        (installation.data / "redis" / "password").read_text().strip(),
    ]
    with installation.api() as api:
        assert api.get("/models", params={"cursor": "x"}).status_code == 400
    for log in (installation.data / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log
