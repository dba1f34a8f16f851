"""The PostgreSQL and Redis that came along: started, stopped, killed, and started again."""

from __future__ import annotations

import os
import signal
import stat
import subprocess

import psycopg
import pytest
import redis

from tenfold_platform.up.embedded import EmbeddedServerError, free_port, password_in
from tenfold_platform.up.postgres import EmbeddedPostgres, closed_folder_above
from tenfold_platform.up.redis import EmbeddedRedis


@pytest.fixture
def postgres(open_dir):
    server = EmbeddedPostgres(open_dir / "postgres", free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(open_dir):
    server = EmbeddedRedis(open_dir / "redis", free_port())
    server.start()
    yield server
    server.stop()


def ask(server, query):
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchone() if cursor.description else None


@pytest.mark.slow
class TestPostgres:
    def test_listens_on_loopback_only_and_wants_the_password(self, postgres):
        query = "select current_setting('listen_addresses'), current_setting('unix_socket_directories')"
        assert ask(postgres, query) == ("127.0.0.1", "")
        for wrong in ("", ":wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(f"postgresql://tenfold{wrong}@127.0.0.1:{postgres.port}/tenfold")

    def test_sorts_by_code_point_whatever_the_machines_locale(self, postgres):
        assert ask(postgres, "select array_agg(x order by x) from unnest(array['b', 'B', 'a', 'ä', 'Z']) x") == (
            ["B", "Z", "a", "b", "ä"],
        )
        assert ask(postgres, "select upper('ä'), current_setting('server_encoding')") == ("Ä", "UTF8")

    def test_never_runs_as_root_and_shows_no_password(self, postgres):
        assert os.stat(f"/proc/{postgres.pid}").st_uid != 0
        with open(f"/proc/{postgres.pid}/cmdline", "rb") as file:
            assert postgres.password.encode() not in file.read()
        assert stat.S_IMODE((postgres.folder / "password").stat().st_mode) == 0o600
        assert stat.S_IMODE(postgres.data_dir.stat().st_mode) == 0o700
        assert postgres.password not in (postgres.folder / "log").read_text()
        assert sorted(path.name for path in postgres.folder.iterdir() if not path.name.startswith("program")) == [
            "data",
            "log",
            "password",
        ]

    def test_a_kill_loses_nothing_that_was_committed(self, postgres):
        ask(postgres, "create table kept (word text)")
        ask(postgres, "insert into kept values ('this')")
        os.kill(postgres.pid, signal.SIGKILL)
        postgres.stop()
        postgres.start()
        assert ask(postgres, "select word from kept") == ("this",)

    def test_a_server_left_behind_by_a_dead_supervisor_is_replaced(self, postgres):
        """Another start on the same folder ends the old server first, and goes on with its data."""
        ask(postgres, "create table kept (word text)")
        successor = EmbeddedPostgres(postgres.folder, free_port())
        successor.start()
        try:
            assert postgres._process.wait(10) == 0
            assert ask(successor, "select count(*) from kept") == (0,)
        finally:
            successor.stop()

    def test_a_first_start_that_was_interrupted_is_begun_again(self, open_dir):
        server = EmbeddedPostgres(open_dir / "postgres", free_port())
        half_done = server.folder / "data.new"
        half_done.mkdir(parents=True)
        (half_done / "PG_VERSION").write_text("18")
        server.start()
        server.stop()
        assert not half_done.exists()

    def test_a_supervisor_may_spawn_it_itself(self, open_dir):
        server = EmbeddedPostgres(open_dir / "postgres", free_port())
        server.prepare()
        assert not server.is_ready()
        process = subprocess.Popen(
            server.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **server.popen_kwargs,
        )
        server.wait_ready()
        assert ask(server, "select 1") == (1,)
        process.send_signal(server.stop_signal)
        assert process.wait(30) == 0

    def test_says_why_it_did_not_start(self, postgres, open_dir):
        second = EmbeddedPostgres(open_dir / "second", postgres.port)
        with pytest.raises(EmbeddedServerError, match="could not bind"):
            second.start()


def test_a_data_folder_that_nobody_can_enter_is_refused_with_a_way_out(open_dir, monkeypatch):
    closed = open_dir / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert closed_folder_above(closed / "data" / "postgres" / "data") == closed
    server = EmbeddedPostgres(closed / "data" / "postgres", free_port())
    with pytest.raises(EmbeddedServerError, match=rf"cannot enter {closed}.*Choose a data folder outside"):
        server.prepare()


class TestRedis:
    def test_wants_the_password(self, valkey):
        with redis.Redis(port=valkey.port) as client, pytest.raises(redis.AuthenticationError):
            client.ping()

    def test_a_kill_loses_nothing_older_than_a_second(self, valkey):
        with redis.Redis.from_url(valkey.url) as client:
            client.set("kept", "this")
            client.execute_command("waitaof", 1, 0, 3000)
        os.kill(valkey.pid, signal.SIGKILL)
        valkey.stop()
        valkey.start()
        with redis.Redis.from_url(valkey.url) as client:
            assert client.get("kept") == b"this"

    def test_shows_no_password(self, valkey):
        with open(f"/proc/{valkey.pid}/cmdline", "rb") as file:
            assert valkey.password.encode() not in file.read()
        for name in ("password", "redis.conf"):
            assert stat.S_IMODE((valkey.folder / name).stat().st_mode) == 0o600


def test_a_password_is_made_once(tmp_path):
    first, second = password_in(tmp_path / "password"), password_in(tmp_path / "password")
    assert first == second
    assert len(first) >= 32
    assert password_in(tmp_path / "another") != first
