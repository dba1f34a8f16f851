"""Calls for a model that sleeps: held until it is awake, none dropped; and what the controller is told of calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DemandTable, DeploymentTable
from tenfold_platform.gateway.pool import PoolLimits
from tenfold_platform.models.tables import AliasTable

PATH = "/v1/acme/models/churn/predict"


class FallsAsleep:
    """A deployment that sleeps, and a controller that brings its worker up whenever it hears that it is wanted."""

    def __init__(self, world: Any, database_url: str, version: Any, worker: Any) -> None:
        self.sessions: sessionmaker[Session] = world.sessions
        self._world, self._worker = world, worker
        self.deployment_id: UUID = world.deployment(version, desired=0)
        self.woken: list[UUID] = []
        self.change(min_replicas=0, asleep_since=func.now())
        self._listener = psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True)
        self._listener.execute("listen tenfold_wake")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._control)
        self._thread.start()

    def change(self, **values: Any) -> None:
        with transaction(self.sessions) as session:
            session.execute(update(DeploymentTable).where(DeploymentTable.id == self.deployment_id).values(**values))

    def desired(self) -> int:
        with self.sessions() as session:
            return session.get_one(DeploymentTable, self.deployment_id).desired_replicas

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)
        self._listener.close()

    def _control(self) -> None:
        while not self._stop.is_set():
            for heard in self._listener.notifies(timeout=0.1, stop_after=1):
                self.woken.append(UUID(heard.payload))
                if self._worker is not None:
                    self._world.replica(self.deployment_id, self._worker.address)


@pytest.fixture
def asleep(world: Any, workspace: Any, settings: Any) -> Iterator[Any]:
    made: list[FallsAsleep] = []

    def make(worker: Any, **options: Any) -> FallsAsleep:
        url = settings.database_url.get_secret_value()
        made.append(FallsAsleep(world, url, world.model(workspace, **options), worker))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_call_wakes_it_and_is_answered(serve, asleep, key, make_worker) -> None:
    sleeper = asleep(make_worker())
    with serve().client(key) as client:
        assert client.post(PATH, json={"a": 1}).json() == {"a": 1}
    assert sleeper.woken == [sleeper.deployment_id]
    assert sleeper.desired() == 1


def test_of_many_calls_none_is_dropped(serve, asleep, key, make_worker) -> None:
    asleep(make_worker())
    running = serve()

    def call(number: int) -> tuple[int, Any]:
        with running.client(key) as client:
            answer = client.post(PATH, json=number)
            return answer.status_code, answer.json()

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(call, range(20))) == [(200, number) for number in range(20)]


def test_calls_are_held_for_longer_than_those_of_a_model_that_should_be_there(serve, asleep, key, make_worker) -> None:
    sleeper = asleep(None)
    worker = make_worker()
    running = serve(limits=PoolLimits(hold_seconds=0.05))
    with running.client(key) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, PATH, json=1)
        running.wait_for(lambda _: sleeper.woken)
        running.wait_for(lambda gateway: not any(one.is_asleep for one in gateway.snapshot().versions.values()))
        time.sleep(0.2)  # longer than any other call would have been held
        sleeper._world.replica(sleeper.deployment_id, worker.address)
        assert answer.result(20).status_code == 200


def test_one_that_falls_asleep_under_a_call_is_woken_again(serve, asleep, world, key, make_worker) -> None:
    """The gateway's snapshot is a moment old: the replica it knows of has ended already."""
    sleeper, gone = asleep(make_worker()), make_worker()
    sleeper.change(desired_replicas=1, asleep_since=None)
    replica = world.replica(sleeper.deployment_id, gone.address)
    running = serve()
    with running.client(key) as client:
        assert client.post(PATH, json={}).status_code == 200
        gone.die()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.post, PATH, json={})
            running.wait_for(lambda gateway: gateway.pool.waiting)
            world.set_replica(replica, state="stopped")
            sleeper.change(desired_replicas=0, asleep_since=func.now())
            assert answer.result(20).status_code == 200


def test_one_that_fell_asleep_while_it_failed_is_woken(serve, asleep, key, make_worker) -> None:
    sleeper = asleep(make_worker())
    sleeper.change(unhealthy_reason="disk full", failures=8)
    with serve().client(key) as client:
        assert client.post(PATH, json={}).status_code == 200
    assert sleeper.woken == [sleeper.deployment_id]


def test_one_that_was_stopped_is_not_started_by_calls(serve, asleep, key) -> None:
    sleeper = asleep(None)
    sleeper.change(asleep_since=None)
    with serve().client(key) as client:
        answer = client.post(PATH, json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopped")
    assert sleeper.woken == []


def test_probes_say_that_it_is_there_and_wake_nothing(serve, asleep, key) -> None:
    sleeper = asleep(None)
    with serve().client(key) as client:
        paths = ("", "/v1/models/model", "/v1/models/model/loaded")
        answers = [client.get(f"/v1/acme/models/churn{path}").status_code for path in paths]
    assert answers == [200, 200, 503]
    assert sleeper.woken == []


def test_a_prediction_that_is_answered_later_wakes_it(serve, asleep, key, make_worker) -> None:
    asleep(make_worker())
    with serve().client(key) as client:
        accepted = client.post(PATH, json={"a": 1}, headers={"Prefer": "respond-async"})
        assert accepted.status_code == 202
        deadline = time.monotonic() + 30
        while (told := client.get(httpx.URL(accepted.json()["url"]).path).json())["state"] != "succeeded":
            assert time.monotonic() < deadline, told
            time.sleep(0.02)
    assert told["output"] == {"a": 1}


def test_a_canary_that_sleeps_gets_its_share(serve, asleep, world, workspace, key, make_worker) -> None:
    main = world.served(workspace, make_worker())
    sleeper = asleep(make_worker(), number=2, alias=None)
    with transaction(world.sessions) as session:
        version_id = session.get_one(DeploymentTable, sleeper.deployment_id).version_id
        alias = session.get_one(AliasTable, (main.model_id, "production"))
        alias.canary_version_id, alias.canary_percent = version_id, 100.0
    with serve().client(key) as client:
        assert client.post(PATH, json={}).headers["X-Tenfold-Version"] == "2"


class TestDemand:
    """What is reported of deployments that may be scaled."""

    def test_calls_are_noted_and_idle_deployments_are_not(self, serve, world, workspace, key, make_worker) -> None:
        version = world.served(workspace, make_worker())
        world.served(workspace, make_worker(), name="fixed")
        with transaction(world.sessions) as session:
            of_version = DeploymentTable.version_id == version.id
            session.execute(update(DeploymentTable).where(of_version).values(max_replicas=2))
        running = serve()
        with running.client(key) as client:
            assert client.post(PATH, json={}).status_code == 200
            assert client.post("/v1/acme/models/fixed/predict", json={}).status_code == 200
        running.wait_for(lambda _: self.noted(world))
        (row,) = self.noted(world)
        with world.sessions() as session:
            assert session.get_one(DeploymentTable, row.deployment_id).version_id == version.id
        assert row.queued_since is None

    @pytest.fixture
    def held(self, world, workspace, make_worker) -> Callable[[int], Any]:
        """A worker that answers when it is let go, of a model that may have so many."""

        def when_let_go(worker: Any, header: Any, payload: bytes, reply: Any) -> None:
            worker.hold.wait(30)
            reply.ok()

        def make(most: int) -> Any:
            worker = make_worker(when_let_go)
            world.served(workspace, worker)
            with transaction(world.sessions) as session:
                session.execute(update(DeploymentTable).values(max_replicas=most))
            return worker

        return make

    def test_those_that_wait_are_told_with_since_when(self, serve, world, key, held) -> None:
        worker = held(4)
        running = serve()
        with running.client(key) as client, ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(client.post, PATH, json={}) for _ in range(6)]
            running.wait_for(lambda _: any(row.queued_since and row.load >= 6 for row in self.noted(world)))
            worker.hold.set()
            assert {call.result(30).status_code for call in calls} == {200}
        running.wait_for(lambda _: all(row.queued_since is None for row in self.noted(world)))

    def test_a_call_that_waits_at_the_replica_waits(self, serve, world, key, held) -> None:
        """A replica of one place is handed two calls, and works on one."""
        worker = held(2)
        running = serve()
        with running.client(key) as client, ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(client.post, PATH, json={}) for _ in range(2)]
            running.wait_for(lambda _: any(row.queued_since for row in self.noted(world)))
            assert (running.gateway.pool.waiting, running.gateway.pool.in_flight) == (0, 2)
            worker.hold.set()
            assert {call.result(30).status_code for call in calls} == {200}
        running.wait_for(lambda _: all(row.queued_since is None for row in self.noted(world)))

    @staticmethod
    def noted(world: Any) -> list[DemandTable]:
        with world.sessions() as session:
            return list(session.scalars(select(DemandTable)))
