"""What an operator may scrape: that the page about it is complete, and that the numbers are true."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from tenfold_platform.db import transaction
from tenfold_platform.deployments.forgetting import forget_ended
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.gateway import metrics, model_metrics, queries
from tenfold_platform.gateway.pool import PoolLimits
from tenfold_platform.models.tables import ShadowTable

PATH = "/v1/acme/models/churn/predict"
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)

LABELS_OF_ALL: dict[str, set[str]] = {
    "tenfold_model_": {"workspace", "model", "version"},
    "tenfold_shadow_": {"workspace", "model", "version", "alias", "shadow"},
}

Labels = dict[str, str]


def scrape(client: Any) -> dict[str, list[tuple[Labels, float]]]:
    """Samples by name. The text must be readable, and each family told once."""
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert len({family.name for family in families}) == len(families)
    samples: dict[str, list[tuple[Labels, float]]] = {}
    for family in families:
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def value(samples: dict[str, list[tuple[Labels, float]]], name: str, **labels: str) -> float:
    wanted = {"workspace": "acme", "model": "churn", "version": "1", **labels}
    (found,) = [value for given, value in samples.get(name, []) if given == wanted]
    return found


@pytest.fixture
def always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_metrics, "READ_SECONDS", 0.0)


def test_the_page_lists_what_is_there_with_kind_and_labels(
    serve, world, workspace, key, make_worker, sessions, always_read
) -> None:
    def answer(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        reply.ok(payload, **({"state": "ready", "batches": {"1": 3, "4": 2}} if header["op"] == "health" else {}))

    version = world.served(workspace, make_worker(answer))
    with transaction(sessions) as session:
        deployment = session.query(DeploymentTable).filter_by(version_id=version.id).one()
        session.execute(update(ReplicaTable).values(memory_bytes=5, peak_memory_bytes=6, started_at=AT, ready_at=AT))
        session.add(ReplicaTable(deployment_id=deployment.id, state="failed"))
        tried = world.model(workspace, number=2, alias=None)
        shadow = {"alias": "production", "version_id": tried.id, "percent": 100.0, "tolerance": 0.0}
        session.add(ShadowTable(model_id=version.model_id, **shadow))
    running = serve()
    with running.client(key) as client:
        client.post(PATH, json={})
        running.wait_for(lambda gateway: gateway.shadows.totals)
        running.gateway.metrics.worker_error("timeout")
        running.gateway.metrics.run_ended("succeeded")
        text = client.get("/metrics").text
    there = {
        name: (family.type, frozenset(label for sample in family.samples for label in sample.labels) - {"le"})
        for family in text_string_to_metric_families(text)
        if not (name := family.name + ("_total" if family.type == "counter" else "")).endswith("_created")
    }
    assert there == listed(PAGE.read_text())


def listed(page: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The tables of the page: by name the kind, and all labels."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for line in page.splitlines():
        if row := re.match(r"\| `(tenfold_\w+)` \| (\w+) \|([^|]*)\|", line):
            name, kind, labels = row.groups()
            own = next((labels for beginning, labels in LABELS_OF_ALL.items() if name.startswith(beginning)), set())
            found[name] = (kind, frozenset(own | set(re.findall(r"`(\w+)`", labels))))
    return found


def test_calls_are_counted_by_version_and_status(serve, world, workspace, key, make_worker) -> None:
    def answer(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        reply.ok(payload) if payload != b'"no"' else reply.error(400, "bad_input", "no")

    world.served(workspace, make_worker(answer))
    world.served(workspace, make_worker(answer), number=2, alias="staging")
    with serve().client(key) as client:
        for body in ("yes", "yes", "no"):
            client.post(PATH, json=body)
        client.post("/v1/acme/models/churn@2/predict", json="yes")
        samples = scrape(client)
    assert value(samples, "tenfold_model_requests_total", status="200") == 2
    assert value(samples, "tenfold_model_requests_total", status="400") == 1
    assert value(samples, "tenfold_model_requests_total", status="200", version="2") == 1
    assert value(samples, "tenfold_model_request_seconds_count") == 3
    assert value(samples, "tenfold_model_request_seconds_bucket", le="+Inf") == 3
    assert 0 < value(samples, "tenfold_model_request_seconds_sum") < 60
    buckets = [value for labels, value in samples["tenfold_model_request_seconds_bucket"] if labels["version"] == "1"]
    assert buckets == sorted(buckets)


def test_what_waits_and_for_how_long(serve, world, workspace, key, make_worker) -> None:
    worker = make_worker(lambda worker, header, payload, reply: (worker.hold.wait(30), reply.ok()))
    world.served(workspace, worker)
    running = serve(limits=PoolLimits(queue_length=2))
    with running.client(key) as client:
        callers = [threading.Thread(target=client.post, args=(PATH,), kwargs={"json": 1}) for _ in range(4)]
        for caller in callers:
            caller.start()
        running.wait_for(lambda gateway: gateway.pool.waiting == 2)
        refused = client.post(PATH, json=1)
        held = scrape(client)
        worker.hold.set()
        for caller in callers:
            caller.join()
        after = scrape(client)
    assert refused.status_code == 429
    assert value(held, "tenfold_model_queue_length") == 2
    assert value(held, "tenfold_model_in_flight") == 2
    assert value(held, "tenfold_model_requests_total", status="429") == 1
    assert value(after, "tenfold_model_queue_length") == value(after, "tenfold_model_in_flight") == 0
    assert value(after, "tenfold_model_queue_seconds_count") == 4
    assert value(after, "tenfold_model_queue_seconds_bucket", le="0.0") == 2
    assert value(after, "tenfold_model_queue_seconds_sum") > 0


def test_what_the_controller_wrote_down(serve, world, workspace, key, make_worker, sessions, always_read) -> None:
    version = world.served(workspace, make_worker())
    with transaction(sessions) as session:
        deployment = session.query(DeploymentTable).filter_by(version_id=version.id).one()
        deployment.failures = 4
        session.execute(update(ReplicaTable).values(memory_bytes=100, peak_memory_bytes=300))
        for state, exit, seconds in (
            ("ready", None, 2), ("loading", None, None), ("stopped", {"reason": "stopped"}, 4),
            ("failed", {"reason": "out_of_memory"}, 6), ("failed", {"reason": None}, None),
            ("failed", {"reason": "something new"}, None),
        ):  # fmt: skip
            ready_at = None if seconds is None else AT + timedelta(seconds=seconds)
            session.add(
                ReplicaTable(
                    deployment_id=deployment.id,
                    state=state,
                    exit=exit,
                    started_at=AT,
                    ready_at=ready_at,
                    memory_bytes=50,
                    peak_memory_bytes=60,
                )
            )
    with serve().client(key) as client:
        samples = scrape(client)
        deployment_id = deployment.id
        with transaction(sessions) as session:
            session.execute(update(ReplicaTable).values(state="failed"))
            session.execute(
                update(DeploymentTable)
                .where(DeploymentTable.id == deployment_id)
                .values(unhealthy_reason="It crashed.")
            )
        crashing = scrape(client)
    states = {labels["state"]: count for labels, count in samples["tenfold_model_replicas"]}
    ends = {labels["reason"]: count for labels, count in samples["tenfold_model_replica_ends_total"]}
    assert states == {"pending": 0, "starting": 0, "loading": 1, "ready": 2, "draining": 0}
    assert ends == {"stopped": 1, "out_of_memory": 1, "not_ready": 1, "other": 1}
    assert value(samples, "tenfold_model_cold_start_seconds_count") == 3
    assert value(samples, "tenfold_model_cold_start_seconds_sum") == 12
    assert value(samples, "tenfold_model_memory_bytes") == 200
    assert value(samples, "tenfold_model_replica_memory_bytes") == 100
    assert value(samples, "tenfold_model_replica_memory_peak_bytes") == 300
    assert value(samples, "tenfold_model_failures_in_a_row") == 4
    assert value(samples, "tenfold_model_crash_loop") == 0
    assert value(crashing, "tenfold_model_crash_loop") == 1


def test_counts_stay_when_replicas_are_forgotten(
    serve, world, workspace, key, make_worker, sessions, always_read
) -> None:
    version = world.served(workspace, make_worker())
    with transaction(sessions) as session:
        deployment = session.query(DeploymentTable).filter_by(version_id=version.id).one()
        for number in range(30):
            session.add(
                ReplicaTable(
                    deployment_id=deployment.id,
                    state="failed" if number % 2 else "stopped",
                    started_at=AT,
                    ready_at=AT + timedelta(seconds=2) if number % 3 else None,
                    ended_at=AT + timedelta(seconds=number),
                )
            )
        session.flush()

    def told() -> tuple[Any, ...]:
        samples = scrape(client)
        ends = {labels["reason"]: count for labels, count in samples["tenfold_model_replica_ends_total"]}
        name = "tenfold_model_cold_start_seconds"
        return ends, value(samples, f"{name}_count"), value(samples, f"{name}_sum")

    def forgotten(after: timedelta) -> int:
        with transaction(sessions) as session:
            return forget_ended(session, AT + after)

    with serve().client(key) as client:
        before = told()
        assert before == ({"stopped": 15, "not_ready": 15}, 20, 40)
        assert [forgotten(timedelta(days=6)), forgotten(timedelta(days=7, seconds=5)), told()] == [0, 5, before]
        assert [forgotten(timedelta(days=8)), forgotten(timedelta(days=80)), told()] == [5, 0, before]
    with transaction(sessions) as session:
        kept = (
            session.query(ReplicaTable)
            .filter_by(deployment_id=deployment.id)
            .filter(ReplicaTable.ended_at.is_not(None))
        )
        assert sorted(replica.ended_at - AT for replica in kept) == [timedelta(seconds=n) for n in range(10, 30)]


def test_a_version_that_was_stopped_a_while_ago_has_nothing_to_tell(
    serve, world, workspace, key, make_worker, sessions, always_read
) -> None:
    version = world.served(workspace, make_worker())
    with transaction(sessions) as session:
        session.execute(
            update(DeploymentTable).where(DeploymentTable.version_id == version.id).values(desired_replicas=0)
        )
        session.execute(update(ReplicaTable).values(state="stopped", ended_at=datetime.now(UTC)))
    with serve().client(key) as client:
        assert value(scrape(client), "tenfold_model_replica_ends_total", reason="stopped") == 1
        with transaction(sessions) as session:
            session.execute(update(ReplicaTable).values(ended_at=datetime.now(UTC) - timedelta(hours=2)))
        assert not any(name.startswith("tenfold_model_") for name in scrape(client))


def test_batches_are_added_up_by_size(serve, world, workspace, key, make_worker) -> None:
    def answer(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        reply.ok(state="ready", batches={"1": 10, "2": 4, "32": 1})

    world.served(workspace, make_worker(answer))
    with serve().client(key) as client:
        samples = scrape(client)
    counts = {labels["le"]: count for labels, count in samples["tenfold_model_batch_size_bucket"]}
    assert counts == {"1.0": 10, "3.0": 14, "63.0": 15, "+Inf": 15}


def test_replicas_are_added_up_and_one_that_has_gone_still_counts(
    serve, world, workspace, key, make_worker, always_read
) -> None:
    ones = iter([{"since": 1.5, "batches": {"1": 10}}, {"since": 2.5, "batches": {"1": 3, "2": 1}},
                 {"since": 1.5, "batches": {"1": 11}}, {"since": 2.5, "batches": {"1": 4, "2": 1}}])  # fmt: skip

    def answer(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        reply.ok(state="ready", pid=7, **next(ones))

    world.served(workspace, make_worker(answer))
    with serve().client(key) as client:
        counts = [value(scrape(client), "tenfold_model_batch_size_bucket", le="+Inf") for _ in range(4)]
    assert counts == [10, 14, 15, 16]


@pytest.mark.parametrize(
    "batches",
    [
        {"abc": 1}, {"1": "x"}, {"1": None}, {"1" + "0" * 400: 1}, {"3": 1}, {"2048": 1}, {"-1": 1}, {"1": -5},
        {"1": True}, {"1": 1.5}, {"1": 10**30}, {"1": []}, [1], "x", {str(number): 1 for number in range(3, 20_000, 2)},
    ],
)  # fmt: skip
def test_what_a_worker_says_of_its_batches_need_not_be_true(
    serve, world, workspace, key, make_worker, batches: Any
) -> None:
    def answer(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        reply.ok(state="ready", batches=batches)

    world.served(workspace, make_worker(answer))
    with serve().client(key) as client:
        assert "tenfold_model_batch_size_bucket" not in scrape(client)


def test_the_text_is_written_where_no_call_waits_for_it(
    serve, world, workspace, key, make_worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def written(registry: Any) -> bytes:
        threads.append(threading.current_thread())
        return generate_latest(registry)

    monkeypatch.setattr(metrics, "generate_latest", written)
    world.served(workspace, make_worker())
    running = serve()
    with running.client(key) as client:
        client.post(PATH, json=1)
        assert value(scrape(client), "tenfold_model_requests_total", status="200") == 1
    assert "uvloop" in threads[0].name  # one of the loop's executor


def test_without_postgresql_the_gateway_tells_what_it_knows(
    serve, world, workspace, key, make_worker, monkeypatch: pytest.MonkeyPatch, always_read
) -> None:
    world.served(workspace, make_worker())
    running = serve()
    with running.client(key) as client:
        client.post(PATH, json=1)
        monkeypatch.setattr(queries, "MODEL_STATES", "select no_such_thing where %s = 1")
        samples = scrape(client)
    assert value(samples, "tenfold_model_requests_total", status="200") == 1
    assert "tenfold_model_replicas" not in samples


def test_versions_that_are_gone_are_told_no_more(serve, world, workspace, key, make_worker, sessions) -> None:
    version = world.served(workspace, make_worker())
    running = serve()
    with running.client(key) as client:
        client.post(PATH, json=1)
        assert value(scrape(client), "tenfold_model_requests_total", status="200") == 1
        with transaction(sessions) as session:
            session.delete(session.get_one(type(version), version.id))
        running.reload()
        assert running.gateway.traffic.totals == {}
        assert "tenfold_model_requests_total" not in scrape(client)


def test_how_long_queues_may_be_is_the_operators_to_say(serve, world, workspace, key, make_worker) -> None:
    worker = make_worker(lambda worker, header, payload, reply: (worker.hold.wait(30), reply.ok()))
    world.served(workspace, worker)
    running = serve(queue_length=1)
    with running.client(key) as client:
        callers = [threading.Thread(target=client.post, args=(PATH,), kwargs={"json": 1}) for _ in range(3)]
        for caller in callers:
            caller.start()
        running.wait_for(lambda gateway: gateway.pool.waiting == 1)
        refused = client.post(PATH, json=1)
        worker.hold.set()
        for caller in callers:
            caller.join()
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["Retry-After"]) >= 1
