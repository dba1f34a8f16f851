"""The load of a workspace's models, put together of what gateways and the controller have written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable, LoadTable, ReplicaTable
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS
from tenfold_platform.models.tables import TrafficTable, VersionTable

NOTHING = {
    "requests_per_second": 0.0, "p95_seconds": None, "failed": 0, "refused": 0, "waiting": 0, "in_flight": 0,
    "ready_replicas": 0, "memory_bytes": None, "peak_memory_bytes": None, "cold_start_seconds": None,
}  # fmt: skip


@pytest.fixture
def load(world: Any) -> Any:
    def get() -> list[dict[str, Any]]:
        return list(world.get("/load")["lines"])

    return get


def deployment_of(session: Session, number: int = 1) -> DeploymentTable:
    query = select(DeploymentTable).join(VersionTable, VersionTable.id == DeploymentTable.version_id)
    return session.scalars(query.where(VersionTable.number == number)).one()


def test_a_workspace_in_which_nothing_runs(world: Any, sessions: sessionmaker[Session], load: Any) -> None:
    assert world.get("/load") == {"window_seconds": pytest.approx(330, abs=31), "queue_length": 100, "lines": []}
    world.create()
    with transaction(sessions) as session:
        session.execute(update(DeploymentTable).values(desired_replicas=0))
    assert load() == []


def test_a_version_that_starts_is_there_with_nothing_to_do(world: Any, load: Any) -> None:
    world.create()
    (line,) = load()
    assert line | NOTHING == line
    assert (line["model"], line["version"], line["status"], line["desired_replicas"]) == ("wine", 1, "starting", 1)
    assert line["memory_limit_bytes"] > 0


def test_what_it_does_and_needs(world: Any, sessions: sessionmaker[Session], load: Any, clock: Any) -> None:
    world.create()
    now = clock()
    buckets = [0] * (len(BOUNDS_SECONDS) + 1)
    buckets[10] = 60
    with transaction(sessions) as session:
        deployment = deployment_of(session)
        for minutes, requests in ((1, 40), (2, 20), (30, 1000)):
            at = (now - timedelta(minutes=minutes)).replace(second=0, microsecond=0)
            session.add(
                TrafficTable(
                    version_id=deployment.version_id,
                    minute=at,
                    requests=requests,
                    refused=2,
                    failed=1,
                    seconds=1.0,
                    buckets=buckets,
                )
            )
        for state, memory, peak in (("ready", 100, 300), ("ready", 200, 250), ("loading", None, None)):
            session.add(
                ReplicaTable(
                    deployment_id=deployment.id,
                    state=state,
                    memory_bytes=memory,
                    peak_memory_bytes=peak,
                    started_at=now,
                    ready_at=now + timedelta(seconds=2) if memory else None,
                )
            )
        said = datetime.now(UTC)
        for gateway, ago, waiting, in_flight in (("a", 0, 3, 1), ("b", 2, 4, 2), ("gone", 60, 50, 50)):
            at = said - timedelta(seconds=ago)
            session.add(
                LoadTable(deployment_id=deployment.id, gateway=gateway, at=at, waiting=waiting, in_flight=in_flight)
            )
    (line,) = load()
    seconds = world.get("/load")["window_seconds"]
    assert line["requests_per_second"] == pytest.approx(60 / seconds)
    assert BOUNDS_SECONDS[9] < line["p95_seconds"] <= BOUNDS_SECONDS[10]
    assert {name: line[name] for name in NOTHING if name not in ("requests_per_second", "p95_seconds")} == {
        "failed": 2, "refused": 4, "waiting": 7, "in_flight": 3, "ready_replicas": 2, "memory_bytes": 200,
        "peak_memory_bytes": 300, "cold_start_seconds": 2.0,
    }  # fmt: skip
    assert line["status"] == "running"


def test_one_that_was_called_of_late_or_sleeps_is_there_too(
    world: Any, sessions: sessionmaker[Session], load: Any, clock: Any
) -> None:
    for _ in range(3):
        world.create(dict(world.PACKAGE))
    with transaction(sessions) as session:
        session.execute(update(DeploymentTable).values(desired_replicas=0))
        deployment_of(session, 2).asleep_since = clock()
        version_id = deployment_of(session, 3).version_id
        session.add(
            TrafficTable(
                version_id=version_id, minute=clock().replace(second=0, microsecond=0), requests=1, buckets=[1]
            )
        )
    assert [(line["version"], line["status"]) for line in load()] == [(3, "stopped"), (2, "asleep")]


def test_other_workspaces_see_nothing_of_it(world: Any, make_workspace: Any, make_key: Any, as_key: Any) -> None:
    world.create()
    other = make_workspace("other")
    client = as_key(make_key(other, "deploy").text)
    assert client.get("/api/v1/workspaces/other/load").json()["lines"] == []
    assert client.get(f"{world.url}/load").status_code == 404
