"""What a model's worker is started with: its secrets and no others, its share of the machine, its name, its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.scheduler import ReplicaSpec
from tenfold_platform.controller.probe import Health
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.logs import service as logs
from tenfold_platform.models.tables import AliasTable, VersionTable
from tenfold_platform.secrets import service as secrets
from tenfold_platform.secrets.sealing import Key

from .conftest import VersionWorld


class World(VersionWorld):
    def __init__(self, sessions: sessionmaker[Session], workspace_id: Any, clock: Any, tmp_path: Path) -> None:
        super().__init__(sessions, workspace_id, clock, tmp_path, config={"model_class_name": "Model"})

    def change(self, **values: Any) -> None:
        with transaction(self.sessions) as session:
            version = session.get_one(VersionTable, self.version_id)
            for name, value in values.items():
                setattr(version, name, value)

    def set_secret(self, name: str, value: str) -> None:
        with transaction(self.sessions) as session:
            secrets.put(session, self.keyring, self.workspace_id, name, value, description=None, updated_by="somebody")

    def alias(self, name: str, **canary: Any) -> None:
        with transaction(self.sessions) as session:
            session.add(AliasTable(model_id=self.model_id, name=name, version_id=self.version_id, **canary))

    def start(self, passes: int = 3) -> ReplicaSpec:
        self.passes(passes)
        return self.scheduler.started[-1]

    def restart(self) -> None:
        with transaction(self.sessions) as session:
            deployments.restart(session, session.get_one(DeploymentTable, self.deployment_id))

    def states(self) -> list[str]:
        return [row.state for row in self.replicas()]

    def log(self) -> str:
        with self.sessions() as session:
            subject = deployments.log_subject(self.deployment_id)
            return "".join(chunk.text for chunk in logs.list_chunks(session, [subject]))


@pytest.fixture
def world(sessions: sessionmaker[Session], make_workspace: Callable[..., Any], clock: Any, tmp_path: Path) -> World:
    return World(sessions, make_workspace().id, clock, tmp_path)


def test_a_model_gets_exactly_the_secrets_it_declares(world: World) -> None:
    world.set_secret("A", "value of A")
    world.set_secret("B", "value of B")
    world.change(config={"secrets": {"A": None}})
    spec = world.start()
    assert spec.secrets == {"A": "value of A"}
    assert "value of" not in repr(spec)
    assert "value of" not in json.dumps([row.handle for row in world.replicas()])
    assert spec.environment_variables == {}


def test_a_declared_secret_that_nobody_set_is_said_and_stops_nothing(world: World) -> None:
    world.change(config={"secrets": {"A": None, "B": None}}, warnings=[{"path": "x", "message": "another"}])
    world.set_secret("B", "value of B")
    assert world.start().secrets == {"B": "value of B"}
    another, missing = world.version().warnings
    assert another == {"path": "x", "message": "another"}
    assert (missing["path"], missing["code"]) == ("secrets.A", "secret_missing")
    assert "the secret A is declared and not set: tenfold secrets set A" in world.log()
    world.set_secret("A", "value of A")
    world.restart()
    world.passes(1)
    assert world.scheduler.started[-1].secrets == {"A": "value of A", "B": "value of B"}
    assert world.version().warnings == [another]


def test_a_secret_that_cannot_be_opened_fails_the_start_with_the_reason(world: World) -> None:
    world.set_secret("A", "value of A")
    world.change(config={"secrets": {"A": None}})
    world.keyring.keys[:] = [Key(b"x" * 32)]  # type: ignore[index]
    world.passes(1)
    assert world.scheduler.started == []
    (replica,) = world.replicas()
    assert "The secret A was sealed with another key" in replica.reason
    assert "value of" not in world.log()


def test_what_a_worker_says_of_its_end_does_not_show_a_secret(world: World) -> None:
    world.set_secret("A", "value-of-A")
    world.change(config={"secrets": {"A": None}})
    world.health = Health("failed", reason="ConnectionError: https://user:value-of-A@host refused")
    world.passes(3)
    assert world.replicas()[0].reason == "ConnectionError: https://user:[secret]@host refused"
    assert "value-of-A" not in world.log()


@pytest.mark.parametrize(("given", "cores"), [("2", 2.0), (3, 3.0), ("500m", 0.5), (0.5, 0.5), (None, None)])
def test_the_share_of_the_machine(world: World, given: Any, cores: float | None) -> None:
    world.change(config={"resources": {"cpu": given}})
    resources = world.start().resources
    assert (resources.cpu, resources.memory_bytes) == (cores, 1 << 30)


def test_the_name_of_the_environment_is_the_alias(world: World) -> None:
    assert world.start().environment is None
    world.alias("staging")
    world.alias("blue")
    world.restart()
    world.passes(1)
    assert world.scheduler.started[-1].environment == {"name": "blue"}
    world.alias("production")
    world.restart()
    world.passes(1)
    assert world.scheduler.started[-1].environment == {"name": "production"}


def test_a_version_in_preparation_is_told_the_alias_that_it_will_get(world: World) -> None:
    world.change(state="starting", alias_wanted="staging")
    assert world.start().environment == {"name": "staging"}


def test_fetched_files_lie_beside_the_packages_own(world: World) -> None:
    assert Path(world.start().root or "").name == world.version().package_digest
    stored = world.store.put_bytes(b"weights")
    fetched = {"path": "data/w.bin", "digest": stored.digest, "size": 7, "url": "https://example.com/w.bin"}
    world.change(fetched=[fetched])
    world.restart()
    world.passes(1)
    spec = world.scheduler.started[-1]
    root = Path(spec.root or "")
    assert spec.digest == world.version().package_digest != root.name
    assert (root / "data/w.bin").read_bytes() == b"weights"
    assert (root / "model/model.py").read_bytes() == b"class Model: ..."
    other = world.store.put_bytes(b"changed since")
    world.change(fetched=[{**fetched, "digest": other.digest}])
    world.restart()
    world.passes(1)
    assert (Path(world.scheduler.started[-1].root or "") / "data/w.bin").read_bytes() == b"changed since"


def test_a_package_that_cannot_be_laid_out_fails_with_the_reason_and_waits_longer_each_time(world: World) -> None:
    stored = world.store.put_bytes(b"weights")
    fetched = {"path": "model/Model.py", "digest": stored.digest, "size": 7, "url": "https://example.com/w.bin"}
    world.change(fetched=[fetched])
    world.passes(10)
    assert world.states() == ["failed", "failed"]
    world.clock.advance(seconds=1)
    world.passes(10)
    assert world.states() == ["failed", "failed", "failed"]
    reason = world.replicas()[0].reason
    assert reason.startswith("The package could not be laid out: ")
    assert "model/Model.py" in reason
    assert reason in world.log()
    assert world.scheduler.started == []


def test_memory_is_followed_and_its_peak_kept(world: World) -> None:
    world.start()
    for used in (5000, 2000, 2010):
        world.health = Health("ready", memory_bytes=used)
        world.passes(1)
    (replica,) = world.replicas()
    assert (replica.memory_bytes, replica.peak_memory_bytes) == (2000, 5000)
    world.health = Health("ready", memory_bytes=3000, peak_memory_bytes=9000)
    world.passes(1)
    (replica,) = world.replicas()
    assert (replica.memory_bytes, replica.peak_memory_bytes) == (3000, 9000)


def test_a_restart_replaces_what_serves_only_when_its_successor_is_ready(world: World) -> None:
    world.start()
    world.restart()
    world.health = Health("loading")
    world.passes(1)
    assert world.states() == ["ready", "pending"] or world.states() == ["ready", "starting"]
    world.passes(2)
    assert world.states() == ["ready", "loading"]
    world.health = Health("ready")
    world.passes(1)
    assert world.states() == ["ready", "ready"]
    world.passes(1)
    assert world.states() == ["draining", "ready"]
    world.clock.advance(seconds=2)
    world.passes(3)
    assert world.states() == ["stopped", "ready"]
    assert len(world.scheduler.started) == 2


def test_a_restart_that_does_not_come_up_leaves_what_serves(world: World) -> None:
    world.start()
    world.restart()
    world.passes(1)
    world.health = Health("failed", reason="load() raised")
    for _ in range(4):
        world.passes(2)
        world.clock.advance(seconds=70)
    assert world.states()[0] == "ready"
    assert "failed" in world.states()[1:]
    assert set(world.states()[1:]) <= {"failed", "starting"}
    with world.sessions() as session:
        assert session.get_one(DeploymentTable, world.deployment_id).unhealthy_reason == "load() raised"


def test_a_restart_of_one_that_is_stopped_starts_it(world: World) -> None:
    with transaction(world.sessions) as session:
        deployments.stop(session.get_one(DeploymentTable, world.deployment_id))
    world.passes(3)
    assert world.states() == []
    world.restart()
    world.passes(3)
    assert world.states() == ["ready"]


def test_an_environment_that_is_built_again_keeps_nobody_from_starting(world: World) -> None:
    with transaction(world.sessions) as session:
        session.scalars(select(EnvironmentTable)).one().state = "building"
    world.passes(3)
    assert world.states() == ["ready"]
