"""What workers print, carried into the log without the secrets that they were started with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.fake import FakeScheduler
from tenfold_deploy.scheduler import ReplicaSpec
from tenfold_platform.controller.masks import Masks
from tenfold_platform.controller.shipping import CHUNK_BYTES, list_shippable, list_with_output, ship_logs
from tenfold_platform.db import transaction
from tenfold_platform.deployments.service import log_subject
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.ids import new_id
from tenfold_platform.logs.tables import LogChunkTable
from tenfold_platform.secrets.sealing import Keyring

TOKEN = "hf_abcdefghijklmnop"


class World:
    def __init__(self, sessions: sessionmaker[Session], workspace_id: Any, clock: Any) -> None:
        self.sessions = sessions
        self.scheduler = FakeScheduler(clock)
        self.masks = Masks(sessions, Keyring([]))
        self.replica_id = new_id()
        self.masks.remember(self.replica_id, [TOKEN])
        handle = self.scheduler.start(ReplicaSpec(str(self.replica_id), "model", "/py"))
        environment = EnvironmentTable(id=new_id(), workspace_id=workspace_id, spec_digest="x", requirements=[])
        deployment = DeploymentTable(
            id=new_id(), workspace_id=workspace_id, kind="code", environment_id=environment.id, desired_replicas=1
        )
        self.deployment_id = deployment.id
        with transaction(sessions) as session:
            session.add(environment)
            session.flush()
            session.add(deployment)
            session.flush()
            session.add(
                ReplicaTable(
                    id=self.replica_id, deployment_id=deployment.id, state="ready", handle=handle.to_json(), host="h"
                )
            )

    def print(self, data: bytes) -> None:
        self.scheduler.print(str(self.replica_id), data.decode())

    def ship(self) -> bool:
        return ship_logs(self.sessions, self.scheduler, self.masks, self.replica_id)

    def has_output(self) -> bool:
        with transaction(self.sessions) as session:
            return list_with_output(session, self.scheduler) == [self.replica_id]

    def ended(self) -> None:
        with transaction(self.sessions) as session:
            session.get_one(ReplicaTable, self.replica_id).state = "stopped"

    def log(self) -> str:
        with self.sessions() as session:
            query = select(LogChunkTable.text).where(LogChunkTable.subject == log_subject(self.deployment_id))
            return "".join(session.scalars(query.order_by(LogChunkTable.id)))


@pytest.fixture
def world(sessions: sessionmaker[Session], make_workspace: Callable[..., Any], clock: Any) -> World:
    return World(sessions, make_workspace().id, clock)


def test_what_is_printed_is_carried_once(world: World) -> None:
    assert not world.has_output()
    world.print(b"one\n")
    assert world.has_output()
    assert world.ship()
    assert not world.has_output()
    assert not world.ship()
    world.print(b"two\n")
    assert world.ship()
    assert world.log() == "one\ntwo\n"


def test_a_printed_secret_is_masked(world: World) -> None:
    world.print(f"the token is {TOKEN}!\n".encode())
    world.ship()
    assert world.log() == "the token is [secret]!\n"


def test_a_secret_that_is_printed_in_two_halves_is_masked(world: World) -> None:
    world.print(b"token: " + TOKEN[:9].encode())
    world.ship()
    assert world.log() == "token: "
    assert not world.ship()
    world.print(TOKEN[9:].encode() + b"\n")
    world.ship()
    assert world.log() == "token: [secret]\n"


def test_what_only_looked_like_a_beginning_comes_with_the_end_of_the_worker(world: World) -> None:
    world.print(b"goodbye hf_")
    world.ship()
    world.ended()
    world.ship()
    assert world.log() == "goodbye hf_"


def test_a_secret_across_the_border_of_two_pieces(world: World) -> None:
    filler = b"x" * (CHUNK_BYTES - 10)
    world.print(filler + TOKEN.encode() + b"\n")
    world.ended()
    while world.ship():
        pass
    assert world.log() == filler.decode() + "[secret]\n"


def test_a_flood_is_counted_and_neither_side_of_the_gap_shows_half_a_secret(world: World) -> None:
    line = f"token={TOKEN} ".encode() * 5000 + b"\n"
    world.print(line * 6 + b"the end\n")
    while world.ship():
        pass
    said = world.log()
    assert "bytes of output were left out" in said
    assert said.endswith("the end\n")
    assert TOKEN not in said
    assert TOKEN[-8:] not in said
    assert TOKEN[:12] not in said


def test_after_a_restart_of_the_controller_the_values_of_now_are_masked(
    world: World, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.masks = Masks(sessions, Keyring([]))
    monkeypatch.setattr(world.masks, "_values_of_now", lambda _: ["the value of now"])
    world.print(b"the value of now\n")
    world.ship()
    assert world.log() == "[secret]\n"


def test_masks_of_replicas_that_are_gone_are_forgotten(world: World, sessions: sessionmaker[Session]) -> None:
    gone = new_id()
    world.masks.remember(gone, ["something secret"])
    with sessions() as session:
        world.masks.forget_others(list_shippable(session))
    assert world.masks.hide(world.replica_id, TOKEN) == "[secret]"
    assert world.masks.hide(gone, "something secret") == "something secret"
