"""The controller's rounds: what is in nobody's way, and what hurries nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.fake import FakeScheduler
from tenfold_platform.controller import main
from tenfold_platform.controller.main import Controller
from tenfold_platform.controller.shipping import CHUNK_BYTES
from tenfold_platform.db import transaction
from tenfold_platform.deployments.service import log_subject
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.ids import new_id
from tenfold_platform.logs.tables import LogChunkTable
from tenfold_platform.settings import Settings


class Watched(Controller):
    """Counts how often it was asked for another round at once."""

    woken = 0

    def wake(self) -> None:
        self.woken += 1
        super().wake()


class World:
    """A controller with one thread for its work, a fake scheduler, and no engine: `sent` is what it would be told."""

    def __init__(self, sessions: sessionmaker[Session], workspace_id: UUID, clock: Any, settings: Settings) -> None:
        self.sessions, self.workspace_id = sessions, workspace_id
        self.sent: list[tuple[str, UUID]] = []
        self.scheduler = FakeScheduler(clock)
        self.controller = Watched(sessions, self.scheduler, settings, clock=clock, workers=1)

    def send(self, task: str, row_id: UUID) -> None:
        self.sent.append((task, row_id))

    def environment(self, state: str) -> UUID:
        environment_id = new_id()
        with transaction(self.sessions) as session:
            environment = EnvironmentTable(
                id=environment_id,
                workspace_id=self.workspace_id,
                spec_digest=str(environment_id),
                requirements=[],
                state=state,
                python_path="/py",
                created_at=func.now() - timedelta(hours=1),
            )
            session.add(environment)
        return environment_id

    def change(self, environment_id: UUID, state: str) -> None:
        with transaction(self.sessions) as session:
            session.get_one(EnvironmentTable, environment_id).state = state

    def deployment(self) -> UUID:
        deployment = DeploymentTable(
            id=new_id(),
            workspace_id=self.workspace_id,
            kind="code",
            environment_id=self.environment("ready"),
            desired_replicas=1,
        )
        with transaction(self.sessions) as session:
            session.add(deployment)
        return deployment.id

    def rounds_until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline
            self.controller.run_round()
            time.sleep(0.02)

    def log(self, deployment_id: UUID) -> str:
        with self.sessions() as session:
            query = select(LogChunkTable.text).where(LogChunkTable.subject == log_subject(deployment_id))
            return "".join(session.scalars(query.order_by(LogChunkTable.id)))


@pytest.fixture
def world(
    sessions: sessionmaker[Session],
    make_workspace: Callable[..., Any],
    clock: Any,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    world = World(sessions, make_workspace().id, clock, settings)
    monkeypatch.setattr(main.dispatch, "send", world.send)
    yield world
    world.controller.close()


def test_what_waits_for_the_engine_holds_up_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "RESEND_AFTER", timedelta(seconds=20))
    waiting = [("build_environment", world.environment("pending")) for _ in range(3)]
    world.deployment()
    world.rounds_until(lambda: world.scheduler.started)
    world.rounds_until(lambda: len(world.sent) >= len(waiting))
    assert sorted(one for one in world.sent if one[0] == "build_environment") == sorted(waiting)


def test_housekeeping_that_fails_keeps_no_other_from_its_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RecursionError

    done: list[str] = []
    monkeypatch.setattr(world.controller._reconciler, "stop_strays", fails)
    monkeypatch.setattr(main.logs, "trim", fails)
    monkeypatch.setattr(main.scaling, "forget_gone", lambda _: done.append("demand"))
    monkeypatch.setattr(main.traffic, "forget_old", lambda *_: done.append("traffic"))
    world.rounds_until(lambda: done == ["demand", "traffic"])


def test_a_message_is_sent_again_only_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "RESEND_AFTER", timedelta(seconds=60))
    message = ("build_environment", world.environment("pending"))
    for _ in range(5):
        world.controller.run_round()
    world.rounds_until(lambda: world.sent == [message])
    monkeypatch.setattr(main, "RESEND_AFTER", timedelta(0))
    world.rounds_until(lambda: len(world.sent) > 1)
    assert set(world.sent) == {message}


def test_what_waits_anew_is_sent_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "RESEND_AFTER", timedelta(seconds=60))
    environment = world.environment("pending")
    world.rounds_until(lambda: len(world.sent) == 1)
    world.change(environment, "ready")
    world.controller.run_round()
    world.change(environment, "pending")
    world.rounds_until(lambda: len(world.sent) == 2)


def test_what_a_worker_prints_is_carried_and_brings_no_round_forward(world: World) -> None:
    deployment_id = world.deployment()
    world.rounds_until(lambda: world.scheduler.started)
    world.rounds_until(lambda: not world.controller._running)
    before = world.controller.woken
    written = "a line of output\n" * (3 * CHUNK_BYTES // 17)
    world.scheduler.print(world.scheduler.started[0].replica_id, written)
    world.controller.run_round()
    deadline = time.monotonic() + 15
    while world.log(deployment_id) != written:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert world.controller.woken == before


def test_what_keeps_failing_is_tried_less_and_less_often(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    def fail() -> bool:
        tries.append(now[0])
        raise ConnectionError("no")

    now = [100.0]
    monkeypatch.setattr(main.time, "monotonic", lambda: now[0])
    controller, row_id = world.controller, UUID(int=7)

    def submit(**options: bool) -> None:
        controller._submit("thing", row_id, fail, **options)
        controller._pool.submit(lambda: None).result(20)  # the only thread has come to it

    for _ in range(50):
        submit()
        now[0] += 1.0
    assert tries == [100.0, 101.0, 103.0, 107.0, 115.0, 125.0, 135.0, 145.0]
    before = len(tries)
    submit(again=True)  # somebody says that it is another matter now
    assert len(tries) == before + 1
