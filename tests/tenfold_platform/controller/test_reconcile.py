"""The reconciler with real rows and a scheduler that misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy import fake
from tenfold_deploy.fake import FakeScheduler
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.probe import Health
from tenfold_platform.controller.reconcile import Reconciler
from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.ids import new_id
from tenfold_platform.secrets.sealing import Key, Keyring


class World:
    """One code deployment, a fake scheduler, and workers whose health a test decides."""

    def __init__(self, sessions: sessionmaker[Session], clock: Any, tmp_path: Path, workspace_id: Any) -> None:
        self.sessions = sessions
        self.clock = clock
        self.scheduler = FakeScheduler(clock)
        self.health = Health("ready", load_seconds=0.5, memory_bytes=1000)
        environment = EnvironmentTable(
            id=new_id(), workspace_id=workspace_id, spec_digest="x", requirements=[], state="ready", python_path="/py"
        )
        self.deployment = DeploymentTable(
            id=new_id(), workspace_id=workspace_id, kind="code", environment_id=environment.id, desired_replicas=1
        )
        with transaction(sessions) as session:
            session.add(environment)
            session.flush()
            session.add(self.deployment)
        self.tmp_path = tmp_path
        self.keyring = Keyring([Key(b"k" * 32)])
        self.reconciler = self.new_reconciler()

    def new_reconciler(self) -> Reconciler:
        """As after a restart: nothing is remembered but rows and processes."""
        return Reconciler(
            self.sessions,
            self.scheduler,
            ArtifactStore(self.tmp_path / "artifacts"),
            self.tmp_path / "workers",
            self.clock,
            host="here",
            keyring=self.keyring,
            masks=Masks(self.sessions, self.keyring),
            probe=lambda _: self.health,
        )

    def passes(self, count: int = 4) -> None:
        for _ in range(count):
            self.reconciler.reconcile(self.deployment.id)

    def replicas(self) -> list[ReplicaTable]:
        with self.sessions() as session:
            return list(session.scalars(select(ReplicaTable).order_by(ReplicaTable.id)))

    def states(self) -> list[str]:
        return [replica.state for replica in self.replicas()]

    def row(self) -> DeploymentTable:
        with self.sessions() as session:
            return session.get_one(DeploymentTable, self.deployment.id)

    def want(self, replicas: int) -> None:
        with transaction(self.sessions) as session:
            session.get_one(DeploymentTable, self.deployment.id).desired_replicas = replicas


@pytest.fixture
def world(sessions: sessionmaker[Session], clock: Any, tmp_path: Path, make_workspace: Callable[..., Any]) -> World:
    return World(sessions, clock, tmp_path, make_workspace().id)


def test_one_replica_comes_up_and_is_measured(world: World) -> None:
    world.passes()
    (replica,) = world.replicas()
    assert replica.state == "ready"
    assert replica.address is not None
    assert (replica.load_seconds, replica.memory_bytes) == (0.5, 1000)
    assert len(world.scheduler.started) == 1


def arrived(world: World, state: str) -> ReplicaTable:
    """A replica in that state, after it was told to be ready."""
    world.health = Health("loading")
    world.passes()
    (replica,) = world.replicas()
    with transaction(world.sessions) as session:
        session.get_one(ReplicaTable, replica.id).state = state
        session.get_one(DeploymentTable, world.deployment.id).unhealthy_reason = "It crashed."
    health = Health("ready", load_seconds=0.5, memory_bytes=1000, peak_memory_bytes=3000)
    world.reconciler.has_arrived(world.deployment.id, replica.id, "unix:/here", health)
    return world.replicas()[0]


@pytest.mark.parametrize("state", ["starting", "loading"])
def test_one_that_has_arrived_is_ready_without_a_pass(world: World, state: str) -> None:
    replica = arrived(world, state)
    assert (replica.state, replica.address, replica.ready_at) == ("ready", "unix:/here", world.clock())
    assert (replica.load_seconds, replica.memory_bytes, replica.peak_memory_bytes) == (0.5, 1000, 3000)
    assert world.row().unhealthy_reason == ""


@pytest.mark.parametrize("state", ["draining", "stopped", "failed"])
def test_one_that_has_arrived_too_late_stays_as_it_is(world: World, state: str) -> None:
    replica = arrived(world, state)
    assert (replica.state, replica.ready_at) == (state, None)
    assert world.row().unhealthy_reason == "It crashed."


def test_only_the_one_that_leases_a_deployment_looks_at_it_unasked(world: World) -> None:
    with transaction(world.sessions) as session:
        session.get_one(DeploymentTable, world.deployment.id).lease_owner = "another"
    assert not world.reconciler.reconcile(world.deployment.id, owner="me")
    assert world.replicas() == []
    assert world.reconciler.reconcile(world.deployment.id, owner="another")
    assert len(world.replicas()) == 1


def test_an_environment_without_bytecode_is_compiled_when_it_is_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, UUID]] = []
    monkeypatch.setattr("tenfold_platform.engine.dispatch.send", lambda *message: sent.append(message))
    world.passes()
    assert sent == [("compile_environment", world.row().environment_id)]


def test_a_restarted_controller_adopts_what_runs(world: World) -> None:
    world.passes()
    world.reconciler = world.new_reconciler()
    world.passes()
    assert world.states() == ["ready"]
    assert len(world.scheduler.started) == 1


def test_a_controller_that_died_between_start_and_record_starts_nothing_twice(world: World) -> None:
    world.passes()
    with transaction(world.sessions) as session:
        row = session.scalars(select(ReplicaTable)).one()
        row.state, row.handle, row.address = "pending", {}, None
    world.reconciler = world.new_reconciler()
    world.passes()
    assert world.states() == ["ready"]
    assert len(world.scheduler.started) == 1


def test_losing_contact_changes_nothing(world: World) -> None:
    world.passes()
    world.scheduler.lose_contact()
    world.passes()
    assert world.states() == ["ready"]
    assert len(world.scheduler.started) == 1


def test_a_crash_is_recorded_and_replaced(world: World) -> None:
    world.passes()
    world.scheduler.crash(world.scheduler.started[0].replica_id)
    world.passes()
    assert world.states() == ["failed", "ready"]
    assert world.row().failures == 1


def test_a_crash_loop_is_unhealthy_and_waits_longer_each_time(world: World) -> None:
    world.scheduler.default = fake.crashes_after(0)
    world.health = Health("unreachable")
    for _ in range(12):
        world.passes(2)
        world.clock.advance(seconds=1)
    row = world.row()
    assert row.failures >= 3
    assert "exit code 1" in row.unhealthy_reason
    assert row.retry_at is not None
    assert len(world.scheduler.started) < 8


def test_failing_to_start_says_why(world: World) -> None:
    world.scheduler.script(fake.FAILS_TO_START)
    world.passes(1)
    (replica,) = world.replicas()
    assert replica.state == "failed"
    assert "There is no Python there." in replica.reason


def test_a_load_that_hangs_is_given_up_with_its_own_words(world: World) -> None:
    world.health = Health("loading")
    world.passes()
    assert world.states() == ["loading"]
    world.clock.advance(minutes=11)
    world.passes(1)
    assert world.replicas()[0].reason == "load() did not return within 600 s."
    assert world.scheduler.stopped == [world.scheduler.started[0].replica_id]


def test_scaling_to_zero_drains_then_stops(world: World) -> None:
    world.passes()
    world.want(0)
    world.passes(1)
    assert world.states() == ["draining"]
    world.clock.advance(seconds=2)
    world.passes(3)
    assert world.states() == ["stopped"]
    assert world.row().failures == 0


def test_a_replica_without_a_row_is_stopped_then_forgotten(world: World) -> None:
    world.passes()
    with transaction(world.sessions) as session:
        session.delete(session.get_one(DeploymentTable, world.deployment.id))
    world.reconciler.stop_strays()
    assert world.scheduler.stopped == [world.scheduler.started[0].replica_id]
    world.reconciler.stop_strays()
    assert world.scheduler.adopt() == []


def test_one_that_cannot_be_cleared_away_is_in_no_other_ones_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.want(3)
    world.passes()
    with transaction(world.sessions) as session:
        session.delete(session.get_one(DeploymentTable, world.deployment.id))
    stuck, *others = [spec.replica_id for spec in world.scheduler.started]
    stop = world.scheduler.stop

    def stop_others(handle: Any, grace_seconds: float) -> None:
        if handle.replica_id == stuck:
            raise RecursionError("as shutil.rmtree does")
        stop(handle, grace_seconds)

    monkeypatch.setattr(world.scheduler, "stop", stop_others)
    world.reconciler.stop_strays()
    assert sorted(world.scheduler.stopped) == sorted(others)
