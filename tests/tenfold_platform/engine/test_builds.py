"""Building environments under a lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.environments import Built, EnvironmentFailed, EnvironmentSpec, Lock, Tools
from tenfold_platform.db import transaction
from tenfold_platform.engine import builds
from tenfold_platform.engine.builds import build_environment
from tenfold_platform.environments import service
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.logs import service as logs

LOCK = Lock("# tenfold lock 1: python 3.11 test\nleft-pad==1.0\n")


class World:
    def __init__(self, sessions: sessionmaker[Session], workspace_id: Any, folder: Path) -> None:
        self.sessions, self.folder = sessions, folder
        with transaction(sessions) as session:
            spec = EnvironmentSpec("3.11", ("left-pad==1.0",))
            self.id = service.get_or_create(session, workspace_id, spec).id

    def build(self) -> None:
        build_environment(self.sessions, self.folder, self.id, "engine:test", Tools())

    def row(self) -> EnvironmentTable:
        with self.sessions() as session:
            return session.get_one(EnvironmentTable, self.id)

    def log(self) -> str:
        with self.sessions() as session:
            return "".join(chunk.text for chunk in logs.list_chunks(session, [service.subject(self.id)]))

    def change(self, **values: Any) -> None:
        with transaction(self.sessions) as session:
            row = session.get_one(EnvironmentTable, self.id)
            for name, value in values.items():
                setattr(row, name, value)


@pytest.fixture
def world(
    sessions: sessionmaker[Session],
    make_workspace: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """Resolving and building succeed at once; a test that wants otherwise says so."""

    def resolve(spec: EnvironmentSpec, *, on_log: Callable[[str], None], tools: Tools) -> Lock:
        on_log(f"resolving {', '.join(spec.requirements)}")
        return LOCK

    def build(lock: Lock, destination: Path, *, on_log: Callable[[str], None], tools: Tools, anew: bool) -> Built:
        destination.mkdir(parents=True, exist_ok=True)
        return Built(destination / "bin" / "python", 0.1, reused=False)

    monkeypatch.setattr(builds, "resolve", resolve)
    monkeypatch.setattr(builds, "build", build)
    monkeypatch.setattr(builds, "installed", lambda _: [("left-pad", "1.0")])
    return World(sessions, make_workspace().id, tmp_path)


def test_an_environment_is_resolved_built_and_described(world: World) -> None:
    world.build()
    row = world.row()
    assert row.state == EnvironmentState.READY
    assert (row.lock, row.lock_digest, row.lock_python) == (LOCK.text, LOCK.digest, "3.11")
    assert row.packages == [{"name": "left-pad", "version": "1.0"}]
    assert row.python_path is not None
    assert LOCK.digest in row.python_path
    assert (row.lease_owner, row.lease_until) == (None, None)
    assert "resolving left-pad==1.0" in world.log()


def test_a_second_message_does_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.build()
    built_at = world.row().built_at
    world.build()
    assert world.row().built_at == built_at
    assert world.row().attempts == 1


def test_what_a_build_left_uncompiled_is_compiled_after_it_and_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_rest(destination: Path, tools: Tools) -> bool:
        assert world.row().state == EnvironmentState.READY
        assert world.row().lease_owner is None
        (destination / "bytecode").write_bytes(b"x" * 1_000_000)
        return True

    monkeypatch.setattr(builds, "compile_rest", compile_rest)
    world.build()
    assert (world.row().size_bytes or 0) >= 1_000_000

    def no_reason(*_: Any) -> bool:
        pytest.fail("it is compiled")

    monkeypatch.setattr(builds, "is_compiled", lambda _: True)
    monkeypatch.setattr(builds, "compile_rest", no_reason)
    builds.complete_bytecode(world.sessions, world.folder, world.id, Tools())


def test_what_somebody_else_holds_is_left_alone(world: World) -> None:
    world.change(state="building", lease_owner="engine:other", lease_until=func.now() + timedelta(seconds=20))
    world.build()
    assert world.row().state == "building"


def test_an_expired_lease_is_taken_over_and_goes_on_from_the_lock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(
        state="building",
        lock=LOCK.text,
        lock_digest=LOCK.digest,
        lease_owner="engine:dead",
        lease_until=func.now() - timedelta(seconds=1),
        fence=7,
    )
    monkeypatch.setattr(builds, "resolve", lambda *_, **__: pytest.fail("it was resolved before"))
    world.build()
    assert (world.row().state, world.row().fence) == ("ready", 8)


def test_a_late_writer_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_build(lock: Lock, destination: Path, **_: Any) -> Built:
        world.change(fence=99, lease_owner="engine:other", state="building")  # taken over in the meantime
        return Built(destination / "bin" / "python", 9.0, reused=False)

    monkeypatch.setattr(builds, "build", slow_build)
    world.build()
    row = world.row()
    assert (row.state, row.lease_owner, row.fence) == ("building", "engine:other", 99)


def test_a_failed_build_says_which_requirement_and_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Lock:
        raise EnvironmentFailed("version_not_found", "left-pad has no version 1.0", "It has 2.0.")

    monkeypatch.setattr(builds, "resolve", fail)
    world.build()
    row = world.row()
    assert (row.state, row.reason, row.hint) == ("failed", "left-pad has no version 1.0", "It has 2.0.")
    assert "failed: left-pad has no version 1.0" in world.log()


def test_asked_for_again_a_failed_one_is_tried_again(world: World, sessions: sessionmaker[Session]) -> None:
    world.change(state="failed", reason="no network", attempts=3)
    with transaction(sessions) as session:
        row = session.scalars(select(EnvironmentTable)).one()
        service.get_or_create(session, row.workspace_id, service.spec_of(row))
    world.build()
    assert world.row().state == "ready"


def test_one_that_never_finishes_is_given_up(world: World) -> None:
    for _ in range(builds.MAX_ATTEMPTS):
        world.change(state="building", lease_until=func.now() - timedelta(seconds=1), attempts=builds.MAX_ATTEMPTS)
    world.build()
    assert world.row().state == "failed"
    assert "never finished" in world.row().reason


@pytest.mark.parametrize("is_there", [True, False])
def test_a_repair_that_never_finishes_is_ready_only_if_it_is_still_there(
    is_there: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.build()
    monkeypatch.setattr(builds, "is_built", lambda *_: is_there)
    world.change(state="pending", attempts=builds.MAX_ATTEMPTS, lease_until=None)
    world.build()
    assert world.row().state == ("ready" if is_there else "failed")
    assert "never finished" in world.row().reason
