"""The state of the installation, health, heartbeats, and the description of the API."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version

import psycopg
import pytest

from tenfold_platform import openapi
from tenfold_platform.heartbeat import Heartbeat

from ...waiting import wait_for


@pytest.fixture
def operator(make_user, as_user):
    return as_user(make_user(is_operator=True))


def test_status(operator, database_url, settings):
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into processes (kind, host, pid, seen_at) values ('api', 'here', 1, now()), "
            "('gateway', 'here', 2, now() - interval '11 seconds')"
        )
    status = operator.get("/api/v1/system/status").json()
    assert [(row["kind"], row["pid"], row["alive"]) for row in status["processes"]] == [
        ("api", 1, True),
        ("gateway", 2, False),
    ]
    assert status["database"]["ok"]
    assert status["database"]["size_bytes"] > 1_000_000
    assert (status["version"], status["redis"], status["isolation"], status["data_dir"]) == (
        version("tenfold"),
        {"ok": True},
        settings.find_isolation().to_json(),
        str(settings.data_dir),
    )


def test_health_is_for_everybody_and_says_little(client):
    assert client.get("/healthz").json() == {"ok": True}
    assert client.head("/healthz").status_code == 200


def processes(database_url):
    with psycopg.connect(database_url) as connection:
        return connection.execute("select kind, host, pid, seen_at > started_at from processes").fetchall()


class TestHeartbeat:
    def test_beats_and_leaves(self, database_url):
        with Heartbeat(database_url, "engine", beat_seconds=0.01):
            me = ("engine", socket.gethostname(), os.getpid())
            wait_for(lambda: processes(database_url) == [(*me, True)])
        assert processes(database_url) == []

    def test_of_a_reused_process_number_starts_anew_and_the_long_gone_are_forgotten(self, database_url):
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "insert into processes values ('api', %s, %s, now() - interval '1 day', now() - interval '1 minute'), "
                "('gateway', 'gone', 7, now() - interval '1 day', now() - interval '2 hours')",
                (socket.gethostname(), os.getpid()),
            )

        def started_now():
            with psycopg.connect(database_url) as connection:
                return connection.execute(
                    "select kind from processes where started_at > now() - interval '1 minute'"
                ).fetchall() == [("api",)]

        with Heartbeat(database_url, "api", beat_seconds=0.01):
            wait_for(started_now)
            assert len(processes(database_url)) == 1

    def test_goes_on_after_an_outage(self, database_url):
        with Heartbeat(database_url, "api", beat_seconds=0.01):
            wait_for(lambda: processes(database_url))
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where application_name = 'tenfold-api-heartbeat'"
                )
                connection.execute("delete from processes")
            wait_for(lambda: processes(database_url))

    def test_needs_no_orm(self):
        """So that the gateway can use it."""
        code = "import sys, tenfold_platform.heartbeat; print('sqlalchemy' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestTheDescription:
    def test_is_the_same_every_time_and_knows_nothing_of_this_machine(self, monkeypatch, tmp_path):
        monkeypatch.setenv("TENFOLD_CONSOLE_URL", "https://secret.example")
        monkeypatch.setenv("TENFOLD_DATA_DIR", str(tmp_path))
        first = openapi.render()
        assert first == openapi.render()
        assert "secret.example" not in first
        assert str(tmp_path) not in first

    def test_names_every_operation_once(self):
        document = json.loads(openapi.render())
        names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
        assert len(names) == len(set(names)) > 20
        assert all(path.startswith("/api/v1/") for path in document["paths"])

    def test_says_who_may_and_what_errors_look_like(self):
        paths = json.loads(openapi.render())["paths"]
        create_key = paths["/api/v1/workspaces/{workspace}/keys"]["post"]
        assert create_key["x-permission"] == "keys.manage"
        assert create_key["security"] == [{"key": []}, {"session": []}]
        assert set(create_key["responses"]) == {"201", "default"}
        assert paths["/api/v1/auth/sign-in"]["post"]["security"] == []
        assert paths["/api/v1/auth/key"]["get"]["security"] == [{"key": []}]
        assert "HTTPValidationError" not in openapi.render()

    def test_is_written_where_it_is_told(self, tmp_path):
        openapi.main([str(tmp_path / "openapi.json")])
        assert (tmp_path / "openapi.json").read_text() == openapi.render()
