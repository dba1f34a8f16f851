"""How many replicas there should be: decided from what gateways saw, read from rows, written back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, update
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.controller import scaling
from tenfold_platform.controller.scaling import Bounds, Seen, target
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import DemandTable, DeploymentTable, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.ids import new_id
from tenfold_platform.migrations.watch import CHANNEL
from tenfold_platform.models.tables import ModelTable, PredictionTable, VersionTable

OWNER = "this controller"


def seen(load: float = 0.0, queued: float | None = None, idle: float = 1.0) -> Seen:
    return Seen(load, queued, idle)


class TestTarget:
    def test_calls_that_wait_for_a_while_get_more_as_many_as_they_fill(self) -> None:
        bounds = Bounds(1, 8, 300)
        assert target(bounds, 1, 1, seen(1.5, queued=2.5)) == 2
        assert target(bounds, 1, 1, seen(5.2, queued=2.5)) == 6
        assert target(bounds, 1, 1, seen(50.0, queued=2.5)) == 8

    def test_calls_that_wait_for_a_moment_do_not(self) -> None:
        assert target(Bounds(1, 8, 300), 1, 1, seen(5.0, queued=0.5)) == 1

    def test_while_one_comes_up_no_other_is_asked_for(self) -> None:
        assert target(Bounds(1, 8, 300), 2, 1, seen(9.0, queued=60.0)) == 2

    def test_one_that_never_comes_up_holds_no_other(self) -> None:
        bounds = Bounds(1, 4, 300)
        assert target(bounds, 2, 1, Seen(0.0, None, 1.0)) == 2
        assert target(bounds, 2, 1, Seen(0.0, None, 1.0, is_failing=True)) == 1
        assert target(bounds, 2, 1, Seen(0.0, None, 1.0, newest_seconds=scaling.SETTLING_SECONDS)) == 1
        assert target(bounds, 2, 1, Seen(5.0, 60.0, 1.0, is_failing=True)) == 2  # which asks for no further one

    def test_what_would_fit_into_fewer_loses_one_at_a_time(self) -> None:
        bounds = Bounds(1, 8, 300)
        assert target(bounds, 4, 4, seen(0.5)) == 3
        assert target(bounds, 4, 4, seen(2.6)) == 4
        assert target(bounds, 1, 1, seen(0.0, idle=9999)) == 1

    def test_nobody_called_for_long_enough(self) -> None:
        bounds = Bounds(0, 3, 300)
        assert target(bounds, 1, 1, seen(idle=299)) == 1
        assert target(bounds, 2, 2, seen(idle=300)) == 0
        assert target(bounds, 1, 0, seen(idle=300)) == 0

    def test_nobody_sleeps_while_calls_wait(self) -> None:
        assert target(Bounds(0, 1, 1), 1, 1, seen(1.0, queued=0.1, idle=5)) == 1

    def test_what_is_stopped_or_asleep_is_left_so(self) -> None:
        assert target(Bounds(0, 3, 300), 0, 0, seen(5.0, queued=10.0)) == 0

    @given(
        st.integers(0, 4),
        st.integers(1, 8),
        st.integers(0, 9),
        st.integers(0, 9),
        st.floats(0, 100),
        st.one_of(st.none(), st.floats(0, 100)),
        st.floats(0, 1000),
    )
    def test_it_stays_within_its_bounds(
        self, least: int, most: int, desired: int, ready: int, load: float, queued: float | None, idle: float
    ) -> None:
        bounds = Bounds(min(least, most), most, 300)
        wanted = target(bounds, desired, ready, Seen(load, queued, idle))
        if desired == 0:
            assert wanted == 0
        elif wanted == 0:
            assert bounds.min == 0
            assert idle >= 300
        else:
            assert max(1, bounds.min) <= wanted <= bounds.max


class World:
    """One ready version with a ready replica, leased by this controller."""

    def __init__(self, sessions: sessionmaker[Session], workspace_id: UUID) -> None:
        self.sessions = sessions
        self.workspace_id = workspace_id
        environment = EnvironmentTable(
            id=new_id(), workspace_id=workspace_id, spec_digest="x", requirements=[], state="ready", python_path="/py"
        )
        with transaction(sessions) as session:
            model = ModelTable(workspace_id=workspace_id, name="churn", min_replicas=0, max_replicas=4, idle_seconds=60)
            session.add_all([environment, model])
            session.flush()
            version = VersionTable(
                workspace_id=workspace_id, model_id=model.id, number=1, package_digest="0" * 64, files=[],
                size_bytes=0, memory_bytes=0, config={}, environment_id=environment.id, state="ready",
            )  # fmt: skip
            session.add(version)
            session.flush()
            self.version_id = version.id
            deployment = deployments.create_for_version(session, version)
            deployment.lease_owner = OWNER
            session.flush()
            self.deployment_id = deployment.id
        self.replica()

    def replica(self, **changes: Any) -> None:
        values: dict[str, Any] = {"state": "ready", "ready_at": func.now() - timedelta(hours=1)}
        with transaction(self.sessions) as session:
            session.add(ReplicaTable(deployment_id=self.deployment_id, **(values | changes)))

    def demand(
        self, gateway: str, *, used: float, load: float = 0.0, queued: float | None = None, at: float = 0
    ) -> None:
        def ago(seconds: float | None) -> Any:
            return None if seconds is None else func.now() - timedelta(seconds=seconds)

        with transaction(self.sessions) as session:
            session.merge(
                DemandTable(
                    deployment_id=self.deployment_id, gateway=gateway, at=ago(at), used_at=ago(used), load=load,
                    queued_since=ago(queued),
                )
            )  # fmt: skip

    def change(self, **values: Any) -> None:
        with transaction(self.sessions) as session:
            session.execute(update(DeploymentTable).values(**values))

    def applied(self) -> DeploymentTable:
        with transaction(self.sessions) as session:
            scaling.apply(session, OWNER)
        with self.sessions() as session:
            return session.get_one(DeploymentTable, self.deployment_id)


@pytest.fixture
def world(sessions: sessionmaker[Session], make_workspace: Callable[..., Any]) -> World:
    return World(sessions, make_workspace().id)


def test_one_that_nobody_calls_goes_to_sleep(world: World) -> None:
    row = world.applied()
    assert row.desired_replicas == 0
    assert row.asleep_since is not None


def test_a_call_at_any_gateway_keeps_it_awake(world: World) -> None:
    world.demand("one", used=3600, at=3600)
    world.demand("two", used=59)
    assert world.applied().desired_replicas == 1
    world.demand("two", used=61)
    assert world.applied().desired_replicas == 0


def test_one_that_just_came_up_is_not_idle_yet(world: World) -> None:
    world.replica(ready_at=func.now())
    assert world.applied().desired_replicas == 1


def test_one_that_still_loads_is_not_idle(world: World) -> None:
    long_ago = func.now() - timedelta(minutes=8)
    with transaction(world.sessions) as session:
        session.execute(update(ReplicaTable).values(state="loading", ready_at=None, created_at=long_ago))
    world.demand("one", used=400, at=1)
    assert world.applied().desired_replicas == 1


def test_one_that_never_comes_up_is_given_up_when_its_load_is_gone(world: World) -> None:
    world.change(min_replicas=1, max_replicas=2, desired_replicas=2, failures=3)
    world.replica(state="failed", ready_at=None)
    assert world.applied().desired_replicas == 1


def test_what_sleeps_has_no_failures_and_wakes_without_any(world: World) -> None:
    failing = {"unhealthy_reason": "disk full", "failures": 8, "retry_at": func.now() + timedelta(hours=1)}
    world.change(**failing)
    asleep = world.applied()
    assert asleep.asleep_since is not None
    assert (asleep.unhealthy_reason, asleep.failures, asleep.retry_at) == ("", 0, None)
    world.change(**failing)
    with transaction(world.sessions) as session:
        session.add(
            PredictionTable(workspace_id=world.workspace_id, version_id=world.version_id, content_type="", body=b"")
        )
    woken = world.applied()
    assert (woken.desired_replicas, woken.unhealthy_reason, woken.failures, woken.retry_at) == (1, "", 0, None)


def test_one_that_is_still_being_prepared_is_left_alone(world: World) -> None:
    with transaction(world.sessions) as session:
        session.get_one(VersionTable, world.version_id).state = "starting"
    assert world.applied().desired_replicas == 1


def test_what_another_controller_leases_is_left_to_it(world: World) -> None:
    world.change(lease_owner="another")
    assert world.applied().desired_replicas == 1


def test_a_prediction_that_waits_keeps_it_awake_and_wakes_it(world: World) -> None:
    with transaction(world.sessions) as session:
        session.add(
            PredictionTable(workspace_id=world.workspace_id, version_id=world.version_id, content_type="", body=b"")
        )
    assert world.applied().desired_replicas == 1
    world.change(desired_replicas=0, asleep_since=func.now())
    row = world.applied()
    assert (row.desired_replicas, row.asleep_since) == (1, None)


def test_the_load_of_all_gateways_counts_and_of_none_that_is_gone(world: World) -> None:
    world.demand("one", used=0, load=1.5, queued=5)
    world.demand("two", used=0, load=1.2)
    world.demand("gone", used=0, load=50, queued=50, at=11)
    assert world.applied().desired_replicas == 3


def test_one_that_is_stopped_stays_so(world: World) -> None:
    world.change(desired_replicas=0)
    world.demand("one", used=0, load=5, queued=10)
    row = world.applied()
    assert (row.desired_replicas, row.asleep_since) == (0, None)


def test_gateways_hear_of_no_change_while_there_is_none(world: World, database_url: str) -> None:
    assert world.applied().asleep_since is not None
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as gateway:
        gateway.execute(f"listen {CHANNEL}")
        world.applied()
        gateway.execute("select pg_notify(%s, 'last')", [CHANNEL])
        assert [heard.payload for heard in gateway.notifies(timeout=20, stop_after=1)] == ["last"]
