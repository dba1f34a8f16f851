"""How many replicas a model has, over HTTP: the setting of the model, and what becomes of its versions."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.models.tables import VersionTable


@pytest.fixture
def scale(world: Any) -> Any:
    world.create()

    def patch(**body: Any) -> httpx.Response:
        return world.client.patch(f"{world.url}/models/wine", json=body)

    return patch


def rows(sessions: sessionmaker[Session]) -> list[tuple[int, int, int, int]]:
    """Of each version: at least, at most, idle seconds, and how many are wanted now."""
    columns = (
        DeploymentTable.min_replicas, DeploymentTable.max_replicas, DeploymentTable.idle_seconds,
        DeploymentTable.desired_replicas,
    )  # fmt: skip
    with sessions() as session:
        query = select(*columns).join(VersionTable, VersionTable.id == DeploymentTable.version_id)
        return [tuple(row) for row in session.execute(query.order_by(VersionTable.number))]  # type: ignore[misc]


def test_one_replica_always_unless_somebody_says_otherwise(scale: Any, sessions: sessionmaker[Session]) -> None:
    assert scale().json()["scaling"] == {"min": 1, "max": 1, "idle_seconds": 300}
    assert rows(sessions) == [(1, 1, 300, 1)]


def test_it_holds_for_versions_that_run_and_for_those_to_come(
    scale: Any, world: Any, sessions: sessionmaker[Session]
) -> None:
    answer = scale(replicas={"min": 2, "max": 4}, idle_seconds=60)
    assert answer.json()["scaling"] == {"min": 2, "max": 4, "idle_seconds": 60}
    world.create()
    assert rows(sessions) == [(2, 4, 60, 2), (2, 4, 60, 2)]


def test_what_is_not_said_stays_as_far_as_it_can(scale: Any) -> None:
    assert scale(replicas={"max": 3}).json()["scaling"] == {"min": 1, "max": 3, "idle_seconds": 300}
    assert scale(replicas={"min": 5}).json()["scaling"] == {"min": 5, "max": 5, "idle_seconds": 300}
    assert scale(replicas={"max": 2}).json()["scaling"] == {"min": 2, "max": 2, "idle_seconds": 300}
    assert scale(replicas={"min": 0}).json()["scaling"] == {"min": 0, "max": 2, "idle_seconds": 300}
    assert scale(description="good").json()["scaling"] == {"min": 0, "max": 2, "idle_seconds": 300}


def test_a_new_version_of_a_model_that_may_sleep_starts_once(
    scale: Any, world: Any, sessions: sessionmaker[Session]
) -> None:
    scale(replicas={"min": 0})
    world.create()
    assert rows(sessions) == [(0, 1, 300, 1), (0, 1, 300, 1)]


def test_one_that_sleeps_is_woken_when_it_may_not_any_more(
    scale: Any, world: Any, sessions: sessionmaker[Session]
) -> None:
    world.make_ready(1)
    scale(replicas={"min": 0})
    with transaction(sessions) as session:
        session.execute(update(DeploymentTable).values(desired_replicas=0, asleep_since=func.now()))
    deployment = world.get("/models/wine/versions/1")["deployment"]
    assert (deployment["status"], deployment["desired_replicas"]) == ("asleep", 0)
    assert deployment["asleep_since"] is not None
    scale(replicas={"min": 1})
    deployment = world.get("/models/wine/versions/1")["deployment"]
    assert (deployment["status"], deployment["desired_replicas"], deployment["asleep_since"]) == ("starting", 1, None)


def test_one_that_was_stopped_stays_stopped(scale: Any, world: Any) -> None:
    world.client.post(f"{world.url}/models/wine/versions/1/stop")
    scale(replicas={"min": 2})
    deployment = world.get("/models/wine/versions/1")["deployment"]
    assert (deployment["status"], deployment["desired_replicas"]) == ("stopped", 0)
    world.client.post(f"{world.url}/models/wine/versions/1/start")
    assert world.get("/models/wine/versions/1")["deployment"]["desired_replicas"] == 2


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"replicas": {"min": 3, "max": 2}}, "replicas"),
        ({"replicas": {"min": -1}}, "replicas.min"),
        ({"replicas": {"max": 0}}, "replicas.max"),
        ({"replicas": {"max": 1000}}, "replicas.max"),
        ({"replicas": {"most": 2}}, "replicas.most"),
        ({"idle_seconds": 0}, "idle_seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(scale: Any, body: Any, path: str) -> None:
    answer = scale(**body)
    assert answer.status_code == 400
    assert [detail["path"] for detail in answer.json()["error"]["details"]] == [path]
