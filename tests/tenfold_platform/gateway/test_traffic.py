"""Calls counted by version and minute: all of them, once, also while PostgreSQL is away."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS, Traffic
from tenfold_platform.models.tables import TrafficTable
from tenfold_platform.settings import Settings

PATH = "/v1/acme/models/churn/predict"


@pytest.fixture
def rows(sessions) -> Callable[[], list[TrafficTable]]:
    def read() -> list[TrafficTable]:
        with sessions() as session:
            return session.query(TrafficTable).order_by(TrafficTable.minute).all()

    return read


@pytest.fixture
def with_traffic(settings: Settings) -> Callable[[Callable[[Callable[..., Traffic]], Awaitable[None]]], None]:
    """Runs a test's coroutine with a way to make counters on the real database."""

    async def run(test: Callable[[Callable[..., Traffic]], Awaitable[None]]) -> None:
        databases: list[Database] = []

        def make(url: str | None = None, **options: Any) -> Traffic:
            database = Database(url or settings.database_url.get_secret_value(), application_name="test")
            databases.append(database)
            return Traffic(database, **options)

        try:
            await test(make)
        finally:
            for database in databases:
                await database.close()

    return lambda test: asyncio.run(run(test))


def test_bounds_are_in_order_and_even_in_proportion() -> None:
    ratios = [after / before for before, after in itertools.pairwise(BOUNDS_SECONDS)]
    assert BOUNDS_SECONDS[0] <= 0.0005
    assert BOUNDS_SECONDS[-1] > 180
    assert all(1.49 < ratio < 1.51 for ratio in ratios)


def test_each_call_is_in_its_minute_its_bucket_and_its_sum(with_traffic, world, workspace, rows) -> None:
    version = world.model(workspace)
    clock = [120.0]

    async def count(make: Callable[..., Traffic]) -> None:
        traffic = make(now=lambda: clock[0])
        traffic.note(version.id, 200, 0.0004)
        traffic.note(version.id, 200, BOUNDS_SECONDS[3])
        traffic.note(version.id, 404, 0.01)
        traffic.note(version.id, 499, 0.01)
        await traffic.flush()
        traffic.note(version.id, 503, 10_000.0)
        clock[0] = 180.0
        traffic.note(version.id, 0, 0.0004)
        await traffic.flush()
        await traffic.flush()

    with_traffic(count)
    first, second = rows()
    assert (first.requests, first.refused, first.failed) == (5, 2, 1)
    assert first.seconds == pytest.approx(0.0004 + BOUNDS_SECONDS[3] + 0.02 + 10_000)
    assert len(first.buckets) == len(BOUNDS_SECONDS) + 1
    assert sum(first.buckets) == 5
    assert (first.buckets[0], first.buckets[3], first.buckets[-1]) == (1, 1, 1)
    assert (second.requests, second.failed, second.buckets[0]) == (1, 1, 1)
    assert (second.minute - first.minute).total_seconds() == 60


def test_several_gateways_add_up(with_traffic, world, workspace, rows) -> None:
    versions: list[UUID] = [world.model(workspace, number=number, alias=None).id for number in range(1, 21)]

    async def count(make: Callable[..., Traffic]) -> None:
        gateways = [make(now=lambda: 60.0) for _ in range(4)]
        for _ in range(10):
            for gateway in gateways:
                for version in versions:
                    gateway.note(version, 200, 0.001)
            await asyncio.gather(*(gateway.flush() for gateway in gateways))

    with_traffic(count)
    assert [row.requests for row in rows()] == [40] * 20
    assert all(sum(row.buckets) == 40 for row in rows())


def test_a_version_that_is_deleted_meanwhile_holds_nothing_up(with_traffic, world, workspace, rows) -> None:
    version = world.model(workspace)

    async def count(make: Callable[..., Traffic]) -> None:
        traffic = make()
        traffic.note(uuid4(), 200, 0.001)
        traffic.note(version.id, 200, 0.001)
        await traffic.flush()

    with_traffic(count)
    assert [(row.version_id, row.requests) for row in rows()] == [(version.id, 1)]


def test_what_is_counted_while_postgresql_is_asked_is_kept_too(with_traffic, world, workspace, rows) -> None:
    version = world.model(workspace)

    async def count(make: Callable[..., Traffic]) -> None:
        traffic = make("postgresql://nobody@127.0.0.1:9/nothing", now=lambda: 60.0)
        total = traffic.total(version.id)
        total.note(200, 0.001)
        flush = asyncio.create_task(traffic.flush())
        await asyncio.sleep(0)  # it has taken what there was
        total.note(200, 0.001)
        with pytest.raises(psycopg.Error):
            await flush
        total.note(503, 0.001)
        traffic._database = make()._database
        await traffic.flush()
        total.note(200, 0.001)
        await traffic.flush()
        assert total.statuses == {200: 3, 503: 1}

    with_traffic(count)
    assert [(row.requests, row.failed, sum(row.buckets)) for row in rows()] == [(4, 1, 4)]


def test_what_postgresql_does_not_take_is_kept_within_bounds(with_traffic, settings, world, workspace, rows) -> None:
    version = world.model(workspace)
    minute = [0]

    async def count(make: Callable[..., Traffic]) -> None:
        away = make("postgresql://nobody@127.0.0.1:9/nothing", now=lambda: minute[0] * 60.0, max_cells=3)
        for minute[0] in (1, 2, 2, 3):
            away.note(version.id, 200, 0.001)
            with pytest.raises(psycopg.Error):
                await away.flush()
        minute[0] = 4
        away.note(version.id, 200, 0.001)
        assert away.dropped == 1
        minute[0] = 3
        away.note(version.id, 200, 0.001)
        away._database = make()._database
        await away.flush()

    with_traffic(count)
    assert [row.requests for row in rows()] == [1, 2, 2]


def test_under_load_every_call_is_counted_once(serve, world, workspace, key, make_worker, rows) -> None:
    def answer(worker, header, payload, reply):
        if payload == b"1":
            reply.error(400, "bad_input", "no")
        elif payload == b"2":
            reply.error(500, "user_error", "no")
        else:
            reply.ok(b"1")

    version = world.served(workspace, make_worker(answer), runtime={"predict_concurrency": 8})
    running = serve()

    def call(number: int) -> None:
        with running.client(key) as client:
            for each in range(50):
                client.post(PATH, json=(number + each) % 3)
                if each % 10 == 0:
                    running.count()

    callers = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    running.count()
    found = rows()
    assert {row.version_id for row in found} == {version.id}
    assert [sum(getattr(row, name) for row in found) for name in ("requests", "refused", "failed")] == [300, 100, 100]
    assert sum(sum(row.buckets) for row in found) == 300


def test_calls_by_worklets_and_refusals_count_and_probes_do_not(
    serve, world, workspace, key, make_worker, bundle_of, rows
) -> None:
    def answer(worker, header, payload, reply):
        if header["op"] == "health":
            reply.frame({"ok": True, "state": "ready"})
        else:
            reply.ok(b"1")

    version = world.served(workspace, make_worker(answer))
    world.app(
        workspace,
        bundle_of(
            "worklet: 1\nname: ask\ninput: {n: int}\nnodes:\n  rate: {model: churn, in: {n: =input.n}}\n"
            "return: {rate: =rate}\ntriggers: {api: {http: true}}\n",
            models={"churn@production": version},
        ),
    )
    running = serve(max_body_bytes=100)
    with running.client(key) as client:
        assert client.post("/v1/acme/apps/shop/worklets/ask", json={"n": 1}).json() == {"rate": 1}
        assert client.post(PATH, content=b" " * 200).status_code == 413
        assert client.post("/v1/acme/models/churn/v1/embeddings", json={}).status_code == 200
        assert client.get("/v1/acme/models/churn/v1/models/model").status_code == 200
        assert client.get("/v1/acme/models/churn").status_code == 200
        assert client.post("/v1/acme/models/churn@9/predict", json={}).status_code == 404
    running.count()
    found = rows()
    assert (sum(row.requests for row in found), sum(row.refused for row in found)) == (3, 1)


def test_a_stream_that_breaks_off_has_failed(serve, world, workspace, key, make_worker, rows) -> None:
    def break_off(worker, header, payload, reply):
        reply.ok(b"one ", content_type="text/plain", more=True)
        reply.error(500, "user_error", "no", source="user", more=False)

    world.served(workspace, make_worker(break_off))
    running = serve()
    with running.client(key) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(PATH, json={})
        scraped = client.get("/metrics").text
    running.count()
    assert [(row.requests, row.failed) for row in rows()] == [(1, 1)]
    assert 'tenfold_gateway_requests_total{kind="predict",status="0",target="acme/churn"} 1.0' in scraped


def test_a_websocket_that_is_cut_off_has_failed_and_took_its_handshake(
    serve, world, workspace, key, make_worker, rows
) -> None:
    def accept(worker, header, payload, reply):
        reply.frame({"ok": True, "more": True, "ws": "accept"})

    world.served(workspace, make_worker(accept))
    running = serve()
    began = time.monotonic()
    with running.websocket("/v1/acme/models/churn/v1/websocket", key):
        handshake_seconds = time.monotonic() - began
        time.sleep(handshake_seconds + 0.1)
        for task in list(running.server.server_state.tasks):  # as the server does when its time to drain is over
            running.loop.call_soon_threadsafe(task.cancel)
        running.wait_for(lambda gateway: gateway.pool.in_flight == 0)
    running.wait_for(lambda _: not running.server.server_state.tasks)
    running.count()
    (row,) = rows()
    assert (row.requests, row.failed) == (1, 1)
    assert row.seconds <= handshake_seconds


def test_the_last_counts_are_written_when_the_gateway_stops(serve, world, workspace, key, make_worker, rows) -> None:
    world.served(workspace, make_worker())
    running = serve()
    with httpx.Client(base_url=running.url, headers={"X-Api-Key": key}, timeout=20) as client:
        client.post(PATH, json={})
    running.server.should_exit = True
    running.wait_for(lambda _: sum(row.requests for row in rows()) == 1, 20)
