"""The gateway as a process of its own, real workers, and a PostgreSQL that goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from tenfold_platform.settings import Settings
from tenfold_platform.up.embedded import free_port
from tenfold_platform.up.postgres import EmbeddedPostgres

from ...waiting import wait_for

ROOT = Path(__file__).parents[3]
PATH = "/v1/acme/models/churn/predict"

pytestmark = pytest.mark.slow

SCORE = """
worklet: 1
name: score
input: {n: int}
nodes:
  rate: {model: churn, in: {n: =input.n}}
return: {rate: =rate}
triggers: {api: {http: true}}
"""

MODEL = """
import os, time

class Model:
    def predict(self, inputs):
        if inputs == "die":
            os.kill(os.getpid(), 9)
        if inputs == "sleep":
            time.sleep(30)
        if inputs == "raise":
            raise ValueError("no such thing")
        if inputs == "stream":
            return (f"part {n} " for n in range(3))
        return {"twice": inputs * 2}
"""


@dataclass
class Child:
    process: subprocess.Popen[bytes]
    url: str

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_gateway(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], Child]]:
    """`tenfold gateway`, as it is started on a server."""
    children: list[Child] = []

    def start() -> Child:
        port = free_port()
        environment = os.environ | {
            "TENFOLD_DATABASE_URL": settings.database_url.get_secret_value(),
            "TENFOLD_REDIS_URL": settings.redis_url.get_secret_value(),
            "TENFOLD_DATA_DIR": str(settings.data_dir),
            "TENFOLD_SIGNING_KEY": settings.signing_key.get_secret_value(),
            "TENFOLD_GATEWAY_PORT": str(port),
        }
        log = (tmp_path / f"gateway-{port}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "tenfold_platform", "gateway"], env=environment, stdout=log, stderr=log
        )
        log.close()
        child = Child(process, f"http://127.0.0.1:{port}")
        children.append(child)
        wait_for(lambda: answers(child.url), 20)
        return child

    yield start
    for child in children:
        child.kill()


@pytest.fixture
def real_worker(sockets_dir: Path, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """A model in `tenfold_runtime`. Returns its address; started again at the same one when called again."""
    package = tmp_path / "package"
    (package / "model").mkdir(parents=True)
    (package / "config.yaml").write_text("")
    (package / "model" / "model.py").write_text(MODEL)
    socket_path = sockets_dir / "model.sock"
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        arguments = ["--kind", "model", "--root", str(package), "--digest", "0" * 64, "--listen", f"unix:{socket_path}"]
        environment = {"PYTHONPATH": str(ROOT / "deploy"), "PATH": os.environ["PATH"]}
        log = (tmp_path / "worker.log").open("ab")
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tenfold_runtime", *arguments], env=environment, stdout=log, stderr=log
            )
        )
        log.close()
        wait_for(socket_path.exists, 20)
        return f"unix:{socket_path}"

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_real_worker_answers_raises_streams_and_dies(serve, world, workspace, make_key, real_worker) -> None:
    version = world.model(workspace)
    world.replica(world.deployment(version), real_worker())
    with serve().client(make_key(workspace, "deploy").text) as client:
        good = client.post(PATH, json=21)
        raised = client.post(PATH, json="raise")
        bad = client.post(PATH, content=b"{")
        stream = client.post(PATH, json="stream")
        gathered = client.post(PATH, json="stream", headers={"Accept": "application/json"})
        died = client.post(PATH, json="die")
        restart = threading.Timer(0.3, real_worker)
        restart.start()
        again = client.post(PATH, json=4)
        restart.join()
    assert (good.status_code, good.json()) == (200, {"twice": 42})
    assert "worker;dur=" in good.headers["Server-Timing"]
    assert (raised.status_code, raised.json()["error"]["code"]) == (500, "user_error")
    assert "no such thing" in raised.json()["error"]["message"]
    assert "model.py" in json.dumps(raised.json()["error"]["details"])
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "bad_input")
    assert stream.text == "part 0 part 1 part 2 "
    assert "part 2" in gathered.text
    assert (died.status_code, died.json()["error"]["code"]) == (503, "worker_lost")
    assert (again.status_code, again.json()) == (200, {"twice": 8})


def test_the_runs_of_a_killed_gateway_are_in_the_history_of_the_next(
    start_gateway, world, workspace, key, make_worker, bundle_of, database_url: str, settings
) -> None:
    version = world.served(workspace, make_worker())
    world.app(workspace, bundle_of(SCORE, models={"churn@production": version}))
    first = start_gateway()
    runs: set[str] = set()
    with psycopg.connect(database_url) as blocker, first.client(key) as client:
        blocker.execute("lock table runs in access exclusive mode")
        for n in range(20):
            answer = client.post("/v1/acme/apps/shop/worklets/score", json={"n": n})
            assert answer.status_code == 200
            runs.add(answer.headers["X-Tenfold-Run"])
        first.kill()
    start_gateway()
    wait_for(lambda: count(database_url) == 20, 20)
    with psycopg.connect(database_url) as connection:
        stored = connection.execute(
            "select r.id, count(s.path) from runs r join run_steps s on s.run_id = r.id group by 1"
        )
        assert {str(id): steps for id, steps in stored} == dict.fromkeys(runs, 1)


def test_a_prediction_of_a_killed_gateway_is_carried_out_by_another(
    start_gateway, world, workspace, key, make_worker
) -> None:
    """Accepted and begun by one that is killed: the other begins it again when the lease has run out, and once."""
    worker = make_worker(lambda worker, header, payload, reply: None)
    world.served(workspace, worker)
    first = start_gateway()
    with first.client(key) as client:
        accepted = client.post(PATH, json={"n": 1}, headers={"Prefer": "respond-async"})
        assert accepted.status_code == 202
    wait_for(lambda: len(worker.requests) == 1, 20)
    second = start_gateway()
    worker.behaviour = lambda worker, header, payload, reply: reply.ok(payload)
    first.kill()
    where = f"/v1/acme/models/churn/predictions/{accepted.json()['id']}"
    with second.client(key) as client:
        assert client.get(where).json()["state"] == "running"
        wait_for(lambda: client.get(where).json()["state"] != "running", 60)
        found = client.get(where).json()
        time.sleep(1)
        assert client.get(where).json() == found
    assert (found["state"], found["output"], found["attempts"]) == ("succeeded", {"n": 1}, 2)
    assert len(worker.requests) == 2


def test_told_to_stop_it_finishes_what_is_in_flight(
    start_gateway, world, workspace, key, make_worker, bundle_of, database_url: str
) -> None:
    worker = make_worker(lambda worker, header, payload, reply: (worker.hold.wait(10), reply.ok(b"{}")))
    version = world.served(workspace, worker)
    world.app(workspace, bundle_of(SCORE, models={"churn@production": version}))
    gateway = start_gateway()
    answers_got: list[httpx.Response] = []

    def call() -> None:
        with gateway.client(key) as client:
            answers_got.append(client.post("/v1/acme/apps/shop/worklets/score", json={"n": 1}))

    caller = threading.Thread(target=call)
    caller.start()
    wait_for(lambda: len(worker.requests) == 1, 10)
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not answers(gateway.url), 10)
    assert gateway.process.poll() is None
    worker.hold.set()
    caller.join(10)
    assert answers_got[0].status_code == 200
    assert gateway.process.wait(15) == 0
    assert count(database_url) == 1


def test_two_gateways_share_a_spool_folder(
    start_gateway, world, workspace, key, make_worker, bundle_of, database_url: str
) -> None:
    version = world.served(workspace, make_worker())
    world.app(workspace, bundle_of(SCORE, models={"churn@production": version}))
    gateways = [start_gateway(), start_gateway()]
    for _ in range(10):
        for gateway in gateways:
            with gateway.client(key) as client:
                assert client.post("/v1/acme/apps/shop/worklets/score", json={"n": 1}).status_code == 200
    wait_for(lambda: count(database_url) == 20, 15)


def test_a_taken_port_is_said_in_words(settings: Settings, serve) -> None:
    from tenfold_platform.gateway.main import run

    taken = serve()
    with pytest.raises(SystemExit, match=rf"cannot listen on 127.0.0.1:{taken.port}"):
        run(settings.model_copy(update={"gateway_port": taken.port}))


@pytest.fixture
def own_postgres(open_dir: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(open_dir / "postgres", free_port())
    server.start()
    yield server
    server.stop()


def test_without_postgresql_what_is_known_goes_on(
    settings: Settings,
    serve,
    world,
    workspace,
    key,
    make_worker,
    bundle_of,
    own_postgres: EmbeddedPostgres,
    database_url,
) -> None:
    """The database of this test is copied to a server that can be stopped."""
    version = world.served(workspace, make_worker())
    world.app(workspace, bundle_of(SCORE, models={"churn@production": version}))
    own_url = move_database(database_url, own_postgres)
    running = serve(database_url=SecretStr(own_url))
    with running.client(key) as client:
        assert client.post(PATH, json={}).status_code == 200
        own_postgres.stop()
        running.wait_for(lambda gateway: gateway.loader.problem, seconds=15)
        assert client.get("/healthz").json()["status"] == "degraded"
        assert client.get("/healthz").status_code == 200
        assert client.post(PATH, json={}).status_code == 200
        run = client.post("/v1/acme/apps/shop/worklets/score", json={"n": 1})
        assert run.status_code == 200
        own_postgres.start()
        running.wait_for(lambda gateway: not gateway.loader.problem, seconds=15)
        running.wait_for(lambda gateway: gateway.spool.pending_bytes == 0, seconds=15)
    assert count(own_url) == 1


def move_database(url: str, server: EmbeddedPostgres) -> str:
    """Makes the tables on another server and copies their rows."""
    from tenfold_platform import tables
    from tenfold_platform.migrations import migrate

    target = f"{server.url.rpartition('/')[0]}/postgres"
    migrate(target)
    with psycopg.connect(url) as source, psycopg.connect(target) as copy:
        copy.execute("set session_replication_role = replica")
        for table in tables.metadata.sorted_tables:
            rows: list[Any] = []
            with source.cursor().copy(f'copy "{table.name}" to stdout') as reading:
                rows.extend(reading)
            with copy.cursor().copy(f'copy "{table.name}" from stdin') as writing:
                for row in rows:
                    writing.write(row)
    return target


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from runs").fetchone()
    assert row is not None
    return int(row[0])


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
