"""Versions that ask to share a worker: when they may, and what the end of a shared worker says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.scheduler import ReplicaSpec
from tenfold_platform import stages
from tenfold_platform.controller import versions
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.probe import Health
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.models import packing
from tenfold_platform.models.tables import VersionTable

from .conftest import VersionWorld


class World(VersionWorld):
    def __init__(self, sessions: sessionmaker[Session], workspace_id: Any, clock: Any, tmp_path: Path) -> None:
        super().__init__(sessions, workspace_id, clock, tmp_path, config={"runtime": {"packed": True}})

    def prepare(self, **values: Any) -> None:
        """The version is new: it has to show that it works."""
        with transaction(self.sessions) as session:
            version = session.get_one(VersionTable, self.version_id)
            begun = stages.moved(stages.fresh(stages.VERSION_STAGES), "fetch", "skipped", self.clock())
            version.state, version.stages = "starting", begun
            for name, value in values.items():
                setattr(version, name, value)

    def advance(self) -> VersionTable:
        versions.advance(self.sessions, self.clock, Masks(self.sessions, self.keyring), self.version_id)
        return self.version()

    def restart(self) -> None:
        with transaction(self.sessions) as session:
            deployments.restart(session, session.get_one(DeploymentTable, self.deployment_id))

    def newest(self) -> ReplicaSpec:
        return self.scheduler.started[-1]

    def reasons(self) -> list[str | None]:
        version = self.version()
        return [packing.alone_because(version, row) for row in self.replicas()]


@pytest.fixture
def world(sessions: sessionmaker[Session], make_workspace: Callable[..., Any], clock: Any, tmp_path: Path) -> World:
    return World(sessions, make_workspace().id, clock, tmp_path)


def test_only_a_version_that_asks_for_it_shares_a_worker(world: World) -> None:
    world.passes()
    assert world.newest().packed
    assert packing.APART not in world.newest().labels
    with transaction(world.sessions) as session:
        session.get_one(VersionTable, world.version_id).config = {"runtime": {"packed": False}}
    world.restart()
    world.passes()
    assert not world.newest().packed
    assert packing.APART not in world.newest().labels
    assert world.reasons() == [None, None]


def test_after_a_failure_it_is_alone_until_it_has_run_well_for_a_while(world: World, clock: Any) -> None:
    world.passes()
    world.scheduler.crash(world.newest().replica_id)
    world.passes()
    assert [spec.packed for spec in world.scheduler.started] == [True, False]
    assert world.reasons() == [None, packing.AFTER_A_FAILURE]
    clock.advance(minutes=2)
    world.passes()
    assert [spec.packed for spec in world.scheduler.started] == [True, False]
    world.scheduler.crash(world.newest().replica_id)
    world.passes()
    assert not world.newest().packed
    clock.advance(minutes=2)
    world.passes()
    world.restart()
    world.passes()
    assert world.newest().packed


def test_one_that_somebody_starts_again_shares_at_once(world: World) -> None:
    world.passes()
    world.scheduler.crash(world.newest().replica_id)
    world.passes()
    world.restart()
    world.passes()
    assert [spec.packed for spec in world.scheduler.started] == [True, False, True]


def test_a_scheduler_that_shares_nothing_is_a_reason_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    start = world.scheduler.start

    def start_alone(spec: ReplicaSpec) -> Any:
        handle = start(spec)
        del handle.data["pack"]  # type: ignore[attr-defined]
        return handle

    monkeypatch.setattr(world.scheduler, "start", start_alone)
    world.passes(1)
    assert world.reasons() == [packing.NOBODY_SHARES]


class TestANewVersion:
    def test_that_fails_to_load_in_a_shared_worker_is_judged_by_how_it_loads_alone(self, world: World) -> None:
        world.prepare()
        world.health = Health("failed", reason="there is no module model")
        world.passes(2)
        assert world.advance().state == "starting"
        world.health = Health("ready")
        world.passes()
        assert world.advance().state == "ready"
        assert [spec.packed for spec in world.scheduler.started] == [True, False]

    def test_that_fails_to_load_alone_as_well_has_failed(self, world: World) -> None:
        world.prepare()
        world.health = Health("failed", reason="there is no such file")
        world.passes(2)
        assert world.advance().state == "starting"
        world.passes(2)
        version = world.advance()
        assert (version.state, version.reason) == ("failed", "there is no such file")

    def test_whose_worker_ends_during_the_example_is_judged_by_how_it_answers_alone(self, world: World) -> None:
        """Nobody listens at the fake's addresses: the call fails as if the process had just ended."""
        world.prepare(example={"inputs": [[1]]})
        world.passes()
        assert world.advance().state == "starting"
        world.scheduler.crash(world.newest().replica_id)
        world.passes()
        assert not world.newest().packed
        version = world.advance()
        assert version.state == "failed"
        assert version.reason.endswith(versions.PROCESS_ENDED)
