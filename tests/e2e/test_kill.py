"""kill -9 of each process in turn while requests run: the model answers again, and no run that got a 2xx is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from ..installation import TLS
from .conftest import Installation, wait_for
from .test_hostile_models import GOOD, deploy

pytestmark = pytest.mark.e2e

APP = {
    "app.yaml": "app: 1\nname: doubler\n",
    "worklets/double.yaml": (
        "worklet: 1\nname: double\ninput: {x: int}\noutput: {twice: int}\nnodes:\n"
        "  prepare:\n    pre: code/steps.py:prepare\n    in: {x: =input.x}\n"
        "  score:\n    model: doubler\n    in: {x: =prepare}\n"
        "return: {twice: =score.twice}\ntriggers:\n  api: {http: true}\n"
    ),
    "code/steps.py": "def prepare(x: int) -> int:\n    return x\n",
}


def worker_pids(installation: Installation) -> dict[str, int]:
    """Each live worker process by its deployment's kind."""
    with psycopg.connect(installation.database_url) as connection:
        rows = connection.execute(
            "select d.kind, (r.handle->'data'->>'worker_pid')::int from replicas r"
            " join deployments d on d.id = r.deployment_id where r.state = 'ready'"
        ).fetchall()
    return {f"{kind} worker": pid for kind, pid in rows}


def server_pids(installation: Installation) -> dict[str, int]:
    """PostgreSQL and Redis, by the command line of the supervisor's children."""
    assert installation.process is not None
    found: dict[str, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == installation.process.pid:
            for name in (b"postgres", b"valkey", b"redis"):
                if name in command.split(b"\0")[0]:
                    found["PostgreSQL" if name == b"postgres" else "Redis"] = int(entry.name)
    return found


def test_each_process_killed_in_turn(new_installation: Callable[[], Installation]) -> None:
    installation = new_installation()
    installation.start()
    assert deploy(installation, "doubler", GOOD)["state"] == "ready"
    _release_app(installation)
    url = f"{installation.gateway}/v1/default/apps/doubler/worklets/double"
    headers = {"Authorization": f"Bearer {installation.profile['key']}"}
    answered: list[str] = []
    wrong: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                answer = httpx.post(url, json={"x": number}, headers=headers, timeout=30, verify=TLS)
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                answered.append(answer.headers["X-Tenfold-Run"])
                if answer.json() != {"twice": number * 2}:
                    wrong.append(answer.text)
            elif answer.status_code < 500:
                wrong.append(answer.text)
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        wait_for(lambda: len(answered) > 10, 60)
        killed: list[str] = []
        for name in ("api", "gateway", "engine", "controller", "PostgreSQL", "Redis", "model worker", "code worker"):
            pid = {**_try_pids(installation), **server_pids(installation), **worker_pids(installation)}[name]
            os.kill(pid, signal.SIGKILL)
            killed.append(name)
            before = len(answered)
            wait_for(lambda pid=pid: not _is_running(pid), 10)
            wait_for(lambda before=before: len(answered) > before + 10, 60)
            wait_for(lambda: _all_back(installation), 60)
    finally:
        stop.set()
        asking.join()
    assert len(killed) == 8
    assert wrong == []
    wait_for(lambda: _recorded(installation) >= set(answered), 20)


def _try_pids(installation: Installation) -> dict[str, int]:
    return wait_for(lambda: pids if len(pids := installation.pids()) == 4 else None, 30)  # type: ignore[no-any-return]


def _is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def _all_back(installation: Installation) -> bool:
    try:
        with installation.api() as api:
            healthy = api.get("/models").status_code == 200
        return healthy and len(installation.pids()) == 4 and len(worker_pids(installation)) == 2
    except (httpx.HTTPError, psycopg.Error, OSError):
        return False


def _recorded(installation: Installation) -> set[str]:
    with psycopg.connect(installation.database_url) as connection:
        return {str(row[0]) for row in connection.execute("select id from runs where state = 'succeeded'")}


def _release_app(installation: Installation) -> None:
    with installation.api() as api:
        body = {"files": [{"path": path, "content": text} for path, text in APP.items()]}
        pushed = api.put("/apps/doubler/draft", json=body)
        assert pushed.status_code == 200, pushed.text
        assert api.post("/apps/doubler/releases", json={}).status_code == 201
        wait_for(lambda: api.get("/apps/doubler").json()["live_release"] == 1, 60)
