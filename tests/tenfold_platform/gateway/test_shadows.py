"""A sample of an alias's calls goes to a second version, and nobody who calls notices."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import select

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.differences import Said
from tenfold_platform.gateway.pool import Pool
from tenfold_platform.gateway.shadows import (
    KEPT_BYTES,
    KEPT_DIFFERENCES,
    MAX_BYTES,
    OUTCOMES,
    Sampled,
    ShadowLimits,
    Shadows,
)
from tenfold_platform.ids import new_id
from tenfold_platform.models.tables import (
    AliasTable,
    ModelTable,
    ShadowDifferenceTable,
    ShadowTable,
    ShadowTallyTable,
    TrafficTable,
    VersionTable,
)

PATH = "/v1/acme/models/churn/predict"

DOUBLES = """
class Model:
    def predict(self, inputs):
        if inputs == "boom":
            raise RuntimeError("it is broken")
        return {"twice": [{"value": 2.0 * x} for x in inputs["x"]], "by": "doubles"}
"""
NEARLY = """
class Model:
    def predict(self, inputs, request):
        assert request.headers["x-tenfold-shadow"] == "1"
        if inputs["x"] == [13]:
            raise RuntimeError("unlucky")
        off = [1e-9 if x < 100 else 1e-3 for x in inputs["x"]]
        return {"by": "doubles", "twice": [{"value": 2.0 * x * (1 + o)} for x, o in zip(inputs["x"], off)]}
"""


@dataclass
class Shadowing:
    """A gateway with a model whose production is shadowed."""

    running: Any
    primary: VersionTable
    shadow: VersionTable
    sessions: Any

    def total(self, outcome: str | None = None) -> int:
        tallies = list(self.running.gateway.shadows.totals.values())
        names = OUTCOMES if outcome is None else (outcome,)
        return sum(tally.counts[name] for tally in tallies for name in names)

    def counted(self, total: int) -> dict[str, int]:
        """What so many sampled calls came to, as the database has it."""
        self.running.wait_for(lambda _: self.total() >= total)
        self.flush()
        with self.sessions() as session:
            rows = session.scalars(select(ShadowTallyTable)).all()
            counts = {name: sum(getattr(row, name) for row in rows) for name in OUTCOMES}
        assert sum(counts.values()) == total
        return {name: count for name, count in counts.items() if count}

    def flush(self) -> None:
        coroutine = self.running.gateway.shadows.flush()
        asyncio.run_coroutine_threadsafe(coroutine, self.running.loop).result(10)

    def differences(self) -> list[ShadowDifferenceTable]:
        with self.sessions() as session:
            return list(session.scalars(select(ShadowDifferenceTable).order_by(ShadowDifferenceTable.at)))


@pytest.fixture
def shadow(world, sessions) -> Callable[..., ShadowTable]:
    def make(primary: VersionTable, shadow: VersionTable, percent: float = 100.0, alias: str = "production") -> Any:
        with transaction(sessions) as session:
            row = ShadowTable(
                model_id=primary.model_id, alias=alias, version_id=shadow.id, percent=percent, tolerance=1e-6
            )
            session.add(row)
        return row

    return make


@pytest.fixture
def shadowed(serve, world, workspace, shadow, sessions) -> Callable[..., Shadowing]:
    def make(primary: Any, second: Any, *, percent: float = 100.0, **options: Any) -> Shadowing:
        first = world.served(workspace, primary, number=1, runtime={"predict_concurrency": 8})
        tried = world.served(workspace, second, number=2, alias=None, runtime={"predict_concurrency": 8})
        shadow(first, tried, percent)
        return Shadowing(serve(**options), first, tried, sessions)

    return make


def answering(value: Any, **header: Any) -> Any:
    def behaviour(worker, given, payload, reply):
        reply.ok(json.dumps(value).encode(), **header)

    return behaviour


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://elsewhere.test"}], ids=["short way", "long way"])
def test_real_models_are_compared_behind_the_answers(start_model, shadowed, key, headers) -> None:
    at = shadowed(start_model(DOUBLES), start_model(NEARLY))
    inputs = [[1, 2], [0.5], [100], [13], [3, 4, 500]]
    with at.running.client(key, headers=headers) as client:
        for number, x in enumerate(inputs):
            answer = client.post(PATH, json={"x": x}, headers={"X-Request-Id": f"request-{number}"})
            assert answer.json() == {"twice": [{"value": 2.0 * one} for one in x], "by": "doubles"}
            assert answer.headers["X-Tenfold-Version"] == "1"
            at.running.wait_for(lambda _, done=number + 1: at.total() == done)
        assert client.post(PATH, json="boom").status_code == 500
    assert at.counted(6) == {"equal": 2, "different": 2, "shadow_failed": 1, "primary_failed": 1}
    found = [(row.request_id, row.outcome, row.path, row.primary_status, row.shadow_status) for row in at.differences()]
    assert found == [
        ("request-2", "different", "twice[0].value", 200, 200),
        ("request-3", "shadow_failed", "status", 200, 500),
        ("request-4", "different", "twice[2].value", 200, 200),
    ]
    row = at.differences()[0]
    assert json.loads(row.request) == {"x": [100]}
    assert json.loads(row.primary_answer)["twice"] == [{"value": 200.0}]
    assert json.loads(row.shadow_answer)["twice"] == [{"value": pytest.approx(200.2)}]


def test_calls_of_other_protocols_are_compared_too(shadowed, make_worker, key) -> None:
    def infer(version: str, value: float) -> Any:
        def behaviour(worker, header, payload, reply):
            told = {"model_name": "churn", "model_version": header.get("version", version), "outputs": [value]}
            reply.ok(json.dumps(told).encode())

        return behaviour

    second = make_worker(infer("2", 1.0))
    at = shadowed(make_worker(infer("1", 1.0)), second)
    with at.running.client(key) as client:
        for path in ("/v1/acme/v2/models/churn/infer", "/v1/acme/models/churn/production/predict", f"{PATH}"):
            assert client.post(path, json={}).status_code == 200
            done = at.total() + 1
            at.running.wait_for(lambda _, done=done: at.total() >= done or at.running.gateway.shadows.running == 0)
    assert at.counted(3) == {"equal": 1, "different": 2}  # only of an Open Inference answer the version is no part
    assert {row.path for row in at.differences()} == {"model_version"}
    ops = [header["op"] for header, _ in second.requests]
    assert ops == ["infer", "predict", "predict"]
    assert all(["x-tenfold-shadow", "1"] in header["http"]["headers"] for header, _ in second.requests)


def test_what_is_no_json_in_one_piece_is_left_alone(shadowed, make_worker, key) -> None:
    def stream(worker, header, payload, reply):
        reply.frame({"ok": True, "status": 200, "content_type": "text/plain", "more": True}, b"a")
        reply.frame({"ok": True, "more": False}, b"b")

    second = make_worker()
    at = shadowed(make_worker(stream), second)
    with at.running.client(key) as client:
        assert client.post(PATH, content=b"x", headers={"Content-Type": "text/csv"}).text == "ab"
        assert client.post("/v1/acme/models/churn/v1/embeddings", json={}).status_code == 200
        assert client.post(f"{PATH}", json={}).text == "ab"  # only afterwards it is known to be a stream
        assert client.post("/v1/acme/models/churn@1/predict", json={}).text == "ab"
        large = b'"' + b"x" * MAX_BYTES + b'"'
        assert client.post(PATH, content=large, headers={"Content-Type": "application/json"}).text == "ab"
    assert at.counted(2) == {"dropped": 2}
    assert second.requests == []


def test_a_hanging_shadow_costs_its_callers_nothing_and_no_more_than_so_much_memory(shadowed, make_worker, key) -> None:
    def hang(worker, header, payload, reply):
        worker.hold.wait(60)
        reply.ok(b"1")

    at = shadowed(make_worker(answering(1)), make_worker(hang))
    with at.running.client(key) as client:
        for _ in range(60):
            assert client.post(PATH, json={}).content == b"1"
    shadows = at.running.gateway.shadows
    at.running.wait_for(lambda _: at.total("dropped") + shadows.running == 60)  # one may be dropped and not yet gone
    assert 1 <= shadows.running <= ShadowLimits().in_flight
    assert at.total("equal") == 0


@pytest.mark.parametrize("how", ["dead", "stopped", "failed"])
def test_a_shadow_that_cannot_answer_is_only_counted(shadowed, make_worker, key, world, how, sessions) -> None:
    second = make_worker(answering(1))
    at = shadowed(make_worker(answering(1)), second)
    if how == "dead":
        second.die()
    else:
        with transaction(sessions) as session:
            row = session.scalars(select(DeploymentTable).where(DeploymentTable.version_id == at.shadow.id)).one()
            row.desired_replicas = 0
            session.get_one(VersionTable, at.shadow.id).state = "failed" if how == "failed" else "ready"
            world_replicas = f"delete from replicas where deployment_id = '{row.id}'"
            session.connection().exec_driver_sql(world_replicas)
        at.running.reload()
    with at.running.client(key) as client:
        assert [client.post(PATH, json={}).status_code for _ in range(3)] == [200] * 3
    at.running.wait_for(lambda _: at.total() >= (2 if how == "dead" else 3))
    if how != "dead":
        assert at.counted(3) == {"dropped": 3}


def test_what_the_caller_did_wrong_is_compared_by_its_kind(shadowed, make_worker, key) -> None:
    def refuse(code: str) -> Any:
        def behaviour(worker, header, payload, reply):
            status = 422 if payload == b"{}" else 400
            reply.error(status, code if payload == b"[]" else "bad_input", f"in the words of {code}")

        return behaviour

    at = shadowed(make_worker(refuse("one")), make_worker(refuse("two")))
    with at.running.client(key) as client:
        assert client.post(PATH, json={}).status_code == 422
        at.running.wait_for(lambda _: at.total() == 1)
        assert client.post(PATH, json=[]).status_code == 400
    assert at.counted(2) == {"equal": 1, "different": 1}
    assert [row.path for row in at.differences()] == ["error.code"]


def test_chance_decides_which_calls(shadowed, make_worker, key) -> None:
    second = make_worker(answering(1))
    at = shadowed(make_worker(answering(1)), second, percent=25)
    chances: Iterator[float] = iter([0.1, 0.25, 0.9, 0.24])
    at.running.gateway.shadows.chance = lambda: 1.0
    with at.running.client(key) as client:
        client.post(PATH, json={})  # a call that finds no connection to its worker asks twice
        at.running.gateway.shadows.chance = lambda: next(chances)
        for _ in range(4):
            client.post(PATH, json={})
            at.running.wait_for(lambda gateway: gateway.shadows.running == 0)
    assert at.counted(2) == {"equal": 2}


def test_a_canary_that_is_the_shadow_is_not_compared_with_itself(shadowed, make_worker, key, sessions) -> None:
    second = make_worker(answering(1))
    at = shadowed(make_worker(answering(1)), second)
    with transaction(sessions) as session:
        alias = session.get_one(AliasTable, (at.primary.model_id, "production"))
        alias.canary_version_id, alias.canary_percent = at.shadow.id, 50.0
    at.running.reload()
    chances = iter([0.1, 0.9, 0.1, 0.9])
    at.running.gateway.chance = lambda: next(chances)
    with at.running.client(key) as client:
        answered = [client.post(PATH, json={}).headers["X-Tenfold-Version"] for _ in range(4)]
    assert answered == ["2", "1", "2", "1"]
    assert at.counted(2) == {"equal": 2}
    assert len(second.requests) == 4


def test_a_sleeping_shadow_is_woken_by_the_first_call(
    serve, world, workspace, shadow, make_worker, key, sessions
) -> None:
    first = world.served(workspace, make_worker(answering(1)), number=1)
    tried = world.model(workspace, number=2, alias=None)
    deployment = world.deployment(tried, desired=0)
    with transaction(sessions) as session:
        row = session.get_one(DeploymentTable, deployment)
        row.min_replicas, row.asleep_since = 0, row.created_at
    shadow(first, tried)
    at = Shadowing(serve(), first, tried, sessions)

    def is_awake(_: Any) -> bool:
        with sessions() as session:
            return session.get_one(DeploymentTable, deployment).desired_replicas == 1

    with at.running.client(key) as client:
        assert [client.post(PATH, json={}).status_code for _ in range(3)] == [200] * 3
        at.running.wait_for(is_awake)
        world.replica(deployment, make_worker(answering(1)).address)
    assert at.counted(3) == {"equal": 1, "dropped": 2}  # while it wakes, one call waits for it


def test_its_calls_are_in_metrics_of_their_own(shadowed, make_worker, key, sessions) -> None:
    at = shadowed(make_worker(answering(1)), make_worker(answering(2)))
    with at.running.client(key) as client:
        client.post(PATH, json={})
        at.counted(1)
        at.running.count()
        told = client.get("/metrics").text
    labels = 'alias="production",model="churn",outcome="different",shadow="2",version="1",workspace="acme"'
    assert f"tenfold_shadow_calls_total{{{labels}}} 1.0" in told
    assert 'tenfold_shadow_seconds_count{alias="production",by="shadow"' in told
    assert "tenfold_gateway_shadow_calls_running 0.0" in told
    with sessions() as session:
        assert [row.version_id for row in session.scalars(select(TrafficTable))] == [at.primary.id]


def test_callers_cannot_pretend_to_be_a_shadow(shadowed, make_worker, key) -> None:
    first = make_worker(answering(1))
    at = shadowed(first, make_worker(answering(1)), percent=1)
    at.running.gateway.shadows.chance = lambda: 0.99
    with at.running.client(key) as client:
        client.post(PATH, json={}, headers={"X-Tenfold-Shadow": "1"})
    ((header, _),) = first.requests
    assert "x-tenfold-shadow" not in dict(header["http"]["headers"])


def test_a_gateway_that_stops_drops_what_is_under_way_and_writes_the_rest(shadowed, make_worker, key, sessions) -> None:
    held = threading.Event()

    def hang(worker, header, payload, reply):
        held.set()
        worker.hold.wait(60)

    at = shadowed(make_worker(answering(1)), make_worker(hang))
    with at.running.client(key) as client:
        client.post(PATH, json={})
    assert held.wait(20)
    at.running.server.should_exit = True

    def written() -> list[int]:
        with sessions() as session:
            return list(session.scalars(select(ShadowTallyTable.dropped)))

    deadline = time.monotonic() + 30
    while written() != [1]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# What is kept, without a gateway around it


@pytest.fixture
def with_shadows(settings) -> Callable[[Any], None]:
    """Runs a test's coroutine with a way to make what a gateway has, on the real database."""

    async def run(test: Any) -> None:
        databases: list[Database] = []

        def make(url: str | None = None, **options: Any) -> Shadows:
            database = Database(url or settings.database_url.get_secret_value(), application_name="test")
            databases.append(database)
            return Shadows(database, Pool(), ShadowLimits(**options))

        try:
            await test(make)
        finally:
            for database in databases:
                await database.close()

    return lambda test: asyncio.run(run(test))


@dataclass(frozen=True)
class Named:
    id: Any


@dataclass(frozen=True)
class Pair:
    id: Any
    version: Any = None
    tolerance: float = 0.0


def seen(shadows: Shadows, shadow_id: Any, version_id: Any, number: int = 0, body: bytes = b"{}") -> None:
    sampled = Sampled(Pair(shadow_id), Named(version_id), {"request_id": f"request-{number}", "op": "predict"}, body)  # type: ignore[arg-type]
    shadows._note(sampled, "different", (0.001, 0.002))
    shadows._record(sampled, "different", "$", Said(200, "x", b"1\x00"), Said(200, "x", b"y" * (2 * KEPT_BYTES)))


def test_only_the_newest_differences_are_kept_and_their_beginnings(
    with_shadows, world, workspace, shadow, sessions
) -> None:
    first, tried = world.model(workspace), world.model(workspace, number=2, alias=None)
    row = shadow(first, tried)

    async def count(make: Any) -> None:
        gateways = [make(), make()]
        for number in range(2 * KEPT_DIFFERENCES):
            seen(gateways[number % 2], row.id, first.id, number)
        await asyncio.gather(*(gateway.flush() for gateway in gateways))
        seen(gateways[0], row.id, first.id, 1000)
        await gateways[0].flush()
        await gateways[0].flush()

    with_shadows(count)
    with sessions() as session:
        kept = session.scalars(select(ShadowDifferenceTable).order_by(ShadowDifferenceTable.at)).all()
        tally = session.scalars(select(ShadowTallyTable)).one()
    assert len(kept) == KEPT_DIFFERENCES
    assert kept[-1].request_id == "request-1000"
    assert {int(one.request_id.partition("-")[2]) for one in kept[:-1]} == set(range(51, 100))
    assert (kept[0].primary_answer, kept[0].shadow_answer) == ("1\ufffd", "y" * KEPT_BYTES + "…")
    assert tally.different == 2 * KEPT_DIFFERENCES + 1
    assert sum(tally.shadow_buckets) == sum(tally.primary_buckets) == tally.different
    assert tally.shadow_seconds == pytest.approx(0.002 * tally.different)


def test_while_postgresql_is_away_a_bounded_amount_is_kept(
    with_shadows, settings, world, workspace, shadow, sessions
) -> None:
    first, tried = world.model(workspace), world.model(workspace, number=2, alias=None)
    row = shadow(first, tried)

    async def count(make: Any) -> None:
        away = make("postgresql://nobody@127.0.0.1:9/nothing", pending_differences=3, pending_tallies=2)
        for number in range(5):
            seen(away, row.id, first.id, number)
            with pytest.raises(psycopg.Error):
                await away.flush()
        for _ in range(3):
            seen(away, new_id(), new_id())
        seen(away, row.id, first.id, 5)
        away._database = make()._database
        await away.flush()

    with_shadows(count)
    with sessions() as session:
        assert session.scalars(select(ShadowTallyTable.different)).all() == [6]
        assert session.scalars(select(ShadowDifferenceTable.request_id)).all() == ["request-5"]


def test_what_is_deleted_meanwhile_holds_nothing_up(with_shadows, world, workspace, shadow, sessions) -> None:
    first, tried = world.model(workspace), world.model(workspace, number=2, alias=None)
    row = shadow(first, tried)

    async def count(make: Any) -> None:
        shadows = make()
        seen(shadows, new_id(), first.id)
        seen(shadows, row.id, new_id())
        seen(shadows, row.id, first.id)
        await shadows.flush()

    with_shadows(count)
    with sessions() as session:
        assert session.scalars(select(ShadowTallyTable.version_id)).all() == [first.id]
    with transaction(sessions) as session:
        session.delete(session.get_one(ModelTable, first.model_id))
    with sessions() as session:
        assert session.scalars(select(ShadowDifferenceTable)).all() == []


def test_a_shadow_begins_and_ends_without_a_restart(
    serve, world, workspace, shadow, make_worker, key, sessions
) -> None:
    second = make_worker(answering(1))
    first = world.served(workspace, make_worker(answering(1)), number=1)
    tried = world.served(workspace, second, number=2, alias=None)
    running = serve()

    def shadows(gateway: Any) -> Any:
        return gateway.snapshot().workspaces["acme"].models["churn"].shadows

    with running.client(key) as client:
        assert isinstance(client, httpx.Client)
        client.post(PATH, json={})
        row = shadow(first, tried)
        running.wait_for(shadows)
        client.post(PATH, json={})
        running.wait_for(lambda _: len(second.requests) == 1)
        with transaction(sessions) as session:
            session.delete(session.get_one(ShadowTable, row.id))
        running.wait_for(lambda gateway: not shadows(gateway))
        client.post(PATH, json={})
        running.wait_for(lambda gateway: gateway.shadows.running == 0)
    assert len(second.requests) == 1
