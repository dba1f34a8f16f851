"""The steps to a version's compiled form: real rows, a scheduler that misbehaves, a compiler that a test plays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.controller import compiling
from tenfold_platform.controller.plan import Create
from tenfold_platform.controller.probe import Health
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.models import compiling as compilations
from tenfold_platform.models.tables import CompilationTable, VersionTable
from tenfold_runtime import msgpack
from tenfold_runtime.frames import Frame

from .conftest import VersionWorld

COMPILER = {
    "file": "_compiling.py",
    "class": "Compiler",
    "twin": "_compiled.py",
    "requires": ["converter>=1"],
    "keeps": ["small"],
}
PROVEN = {"state": "proven", "reason": "", "report": {"rows": 500}, "files": {"graph": b"0101"}}


class World(VersionWorld):
    def __init__(self, sessions: sessionmaker[Session], workspace_id: Any, clock: Any, tmp_path: Path) -> None:
        super().__init__(
            sessions,
            workspace_id,
            clock,
            tmp_path,
            config={"data_dir": "data", "model_metadata": {"tenfold": {"compiler": COMPILER}}},
            files={"data/weights": b"weights"},
            requirements=["big"],
            python_path="/big/python",
            lock_python="3.11",
            packages=[{"name": "big", "version": "2"}, {"name": "small", "version": "1.5"}],
        )
        self.answer = PROVEN
        self.job = compiling.CompilerRun(
            sessions, self.scheduler, self.store, self.workers, probe=lambda _: self.health, ask=self._ask
        )
        with transaction(sessions) as session:
            compilations.begin(session, session.get_one(VersionTable, self.version_id))

    def _ask(self, *_: Any, **__: Any) -> Frame:
        return Frame({"ok": True}, msgpack.encode(self.answer))

    def advance(self) -> CompilationTable:
        compiling.advance(self.job, self.version_id)
        return self.row()

    def row(self) -> CompilationTable:
        with self.sessions() as session:
            return session.get_one(CompilationTable, self.version_id)

    def build(self, environment_id: Any, packages: dict[str, str], **values: Any) -> None:
        """What the engine does."""
        with transaction(self.sessions) as session:
            row = session.get_one(EnvironmentTable, environment_id)
            row.state, row.python_path, row.lock_python = "ready", "/built/python", "3.11"
            row.packages = [{"name": name, "version": version} for name, version in packages.items()]
            for name, value in values.items():
                setattr(row, name, value)

    def to_switching(self) -> None:
        self.passes()
        self.build(self.advance().tools_id, {"big": "2", "small": "1.5", "converter": "1.1"})
        self.advance()
        self.build(self.advance().environment_id if self.row().state == "converting" else self.row().environment_id, {})
        self.advance()


@pytest.fixture
def world(sessions: sessionmaker[Session], clock: Any, tmp_path: Path, make_workspace: Callable[..., Any]) -> World:
    return World(sessions, make_workspace().id, clock, tmp_path)


def test_a_version_goes_over_to_what_its_compiler_made(world: World) -> None:
    world.to_switching()
    assert world.row().state == "switching"
    world.passes()
    assert world.advance().state == "serving"
    spec = world.scheduler.started[-1]
    assert (spec.python, spec.labels["compiled"]) == ("/built/python", "yes")
    assert spec.root is not None
    assert (Path(spec.root) / "data" / "graph").read_bytes() == b"0101"
    assert not (Path(spec.root) / "data" / "weights").exists()
    assert world.row().report == {"rows": 500}
    with world.sessions() as session:
        twin = session.get_one(EnvironmentTable, world.row().environment_id)
    assert twin.requirements == ["small==1.5"]


def test_the_compiler_runs_beside_every_package_of_the_model(world: World) -> None:
    with world.sessions() as session:
        tools = session.get_one(EnvironmentTable, world.advance().tools_id)
    assert tools.requirements == ["big==2", "converter>=1", "small==1.5"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({**PROVEN, "state": "refused", "reason": "They differ."}, "They differ."),
        ("nonsense", "something else than a report"),
        ({**PROVEN, "files": {"../graph": b""}}, "cannot be taken"),
        ({**PROVEN, "report": {"rows": float("nan")}}, "report cannot be read"),
    ],
)
def test_what_is_not_proven_is_refused_and_the_original_stays(world: World, answer: Any, reason: str) -> None:
    world.answer = answer
    world.passes()
    world.build(world.advance().tools_id, {"big": "2"})
    row = world.advance()
    assert (row.state, row.worker_id, row.tools_id) == ("refused", None, None)
    assert reason in row.reason
    world.passes()
    assert [spec.python for spec in world.scheduler.started if "compiles" not in spec.labels] == ["/big/python"]


def test_packages_of_the_compiler_that_cannot_be_had_are_a_reason(world: World) -> None:
    world.build(world.advance().tools_id, {}, state="failed", reason="there is no converter")
    row = world.advance()
    assert row.state == "refused"
    assert "there is no converter" in row.reason


def test_a_compiled_replica_that_fails_gives_way_to_the_original(world: World) -> None:
    world.to_switching()
    world.health = Health("failed", reason="no such graph")
    world.passes(2)
    row = world.advance()
    assert row.state == "refused"
    assert "no such graph" in row.reason
    world.health = Health("ready")
    world.passes(6)
    assert world.scheduler.started[-1].python == "/big/python"


def test_a_packed_version_stays_packed_and_what_ends_in_a_shared_worker_is_tried_alone(world: World) -> None:
    with transaction(world.sessions) as session:
        version = session.get_one(VersionTable, world.version_id)
        version.config = version.config | {"runtime": {"packed": True}}
    world.to_switching()
    world.passes(1)
    spec = world.scheduler.started[-1]
    assert (spec.python, spec.packed) == ("/built/python", True)
    world.scheduler.crash(spec.replica_id)
    world.passes(1)
    assert world.advance().state == "switching"
    world.passes()
    assert world.advance().state == "serving"
    spec = world.scheduler.started[-1]
    assert (spec.python, spec.packed) == ("/built/python", False)


def test_of_what_was_started_before_the_switch_no_failure_counts(world: World) -> None:
    world.passes()
    with transaction(world.sessions) as session:
        session.add(ReplicaTable(deployment_id=world.deployment_id, state="failed", reason="disk full, last week"))
    world.to_switching()
    world.passes(1)
    assert world.advance().state == "switching"
    world.passes()
    assert world.advance().state == "serving"


class TestWhatWaits:
    """Rounds leave alone what has nothing to do now."""

    def listed(self, world: World) -> list[Any]:
        with world.sessions() as session:
            return list(session.scalars(compiling.unfinished()))

    def test_for_an_environment(self, world: World) -> None:
        world.passes()
        assert self.listed(world) == [world.version_id]
        tools = world.advance().tools_id
        assert self.listed(world) == []
        world.build(tools, {"big": "2", "small": "1.5"})
        assert self.listed(world) == [world.version_id]
        world.advance()
        assert (world.row().state, self.listed(world)) == ("building", [])
        world.build(world.row().environment_id, {})
        assert self.listed(world) == [world.version_id]

    def test_for_a_version_that_is_stopped(self, world: World) -> None:
        world.to_switching()
        with transaction(world.sessions) as session:
            deployments.stop(session.get_one(DeploymentTable, world.deployment_id))
        assert self.listed(world) == []
        with transaction(world.sessions) as session:
            deployments.start(session.get_one(DeploymentTable, world.deployment_id))
        world.passes(6)
        assert self.listed(world) == [world.version_id]
        assert world.advance().state == "serving"
        assert self.listed(world) == []


class TestTheCompilersAnswer:
    def converted(self, world: World) -> CompilationTable:
        world.passes()
        world.build(world.advance().tools_id, {"big": "2", "small": "1"})
        return world.advance()

    @pytest.mark.parametrize(
        "answer",
        [
            {**PROVEN, "report": {"rows": "a\x00b"}},
            {**PROVEN, "state": "refused", "reason": "a\x00b\ud800"},
            {**PROVEN, "report": {"rows": "\ud800"}},
            {**PROVEN, "files": {"a\x00b": b"x"}},
            {**PROVEN, "files": {"x" * 300: b"x"}},
        ],
    )
    def test_texts_that_no_database_takes(self, world: World, answer: Any) -> None:
        def ask(*_: Any, **__: Any) -> Frame:
            return Frame({"ok": True}, b"")

        world.job = replace(world.job, ask=ask)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiling.msgpack, "decode", lambda _: answer)
            row = self.converted(world)
        assert (row.state, row.worker_id, row.lease_until) == ("refused", None, None)
        assert row.reason
        assert "\0" not in row.reason

    def test_that_is_no_message(self, world: World) -> None:
        world.job = replace(world.job, ask=lambda *_, **__: Frame({"ok": True}, b"\xc1garbage"))
        row = self.converted(world)
        assert (row.state, row.lease_until) == ("refused", None)
        assert "cannot be read" in row.reason

    def test_that_never_comes_is_waited_for_twice(self, world: World) -> None:
        world.passes()
        world.build(world.advance().tools_id, {"big": "2", "small": "1"})

        def killed(*_: Any, **__: Any) -> Frame:
            raise KeyboardInterrupt

        for _ in range(compiling.MOST_TRIES):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(compiling.CompilerRun, "run", killed)
                with pytest.raises(KeyboardInterrupt):
                    world.advance()
            with transaction(world.sessions) as session:
                session.get_one(CompilationTable, world.version_id).lease_until = func.now()
        row = world.advance()
        assert row.state == "refused"
        assert "2 times" in row.reason

    def test_a_step_that_fails_gives_its_place_back(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.passes()
        world.build(world.advance().tools_id, {"big": "2", "small": "1"})
        with monkeypatch.context() as patch:
            patch.setattr(compiling, "new_id", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                world.advance()
        assert world.advance().state == "building"


@pytest.mark.parametrize("during", ["load", "answer"])
def test_a_controller_that_ends_waits_for_no_compiler(world: World, during: str) -> None:
    world.passes()
    world.build(world.advance().tools_id, {"big": "2", "small": "1"})
    begun, never = threading.Event(), threading.Event()

    def ask(*_: Any, **__: Any) -> Frame:
        begun.set()
        never.wait(60)
        return Frame({"ok": True}, msgpack.encode(PROVEN))

    def health(_: str) -> Health:
        begun.set()
        return Health("loading")

    probe = health if during == "load" else world.job.probe
    job = replace(world.job, ask=ask, probe=probe, closing=threading.Event())
    compiler = threading.Thread(target=compiling.advance, args=(job, world.version_id))
    compiler.start()
    assert begun.wait(60)
    job.closing.set()
    compiler.join(60)
    assert not compiler.is_alive()
    never.set()
    row = world.row()
    assert (row.state, row.worker_id, row.lease_until, row.tries) == ("converting", None, None, 0)
    assert compiling.advance(job, world.version_id) is False
    assert world.advance().state == "building"


class TestTakenBack:
    @pytest.fixture
    def serving(self, world: World) -> World:
        world.to_switching()
        world.passes()
        assert world.advance().state == "serving"
        return world

    def pythons(self, world: World) -> list[str]:
        """Of the replicas that stay."""
        with world.sessions() as session:
            replicas = deployments.list_replicas(session, world.deployment_id, ended=0)
            ids = {str(one.id) for one in replicas if one.state == "ready" and one.draining_since is None}
        return [spec.python for spec in world.scheduler.started if spec.replica_id in ids]

    def test_because_somebody_asks_for_the_original(self, serving: World) -> None:
        with transaction(serving.sessions) as session:
            compilations.serve_original(session, serving.version_id, "ada asked for the original.")
        serving.passes(6)
        assert self.pythons(serving) == ["/big/python"]
        row = serving.row()
        assert (row.state, row.reason, row.environment_id) == ("refused", "ada asked for the original.", None)

    def test_while_a_replica_is_about_to_be_started(self, serving: World) -> None:
        """The controller has looked, and somebody asks for the original before it acts."""
        look = serving.reconciler._look(serving.deployment_id)
        assert look is not None
        with transaction(serving.sessions) as session:
            compilations.serve_original(session, serving.version_id, "ada asked for the original.")
        serving.reconciler._act(look, Create())
        assert serving.scheduler.started[-1].python == "/big/python"

    def test_before_it_serves(self, world: World) -> None:
        world.passes()
        world.advance()
        with transaction(world.sessions) as session:
            compilations.serve_original(session, world.version_id, "ada asked for the original.")
        assert world.advance().state == "refused"
        assert self.pythons(world) == ["/big/python"]

    def test_because_it_keeps_failing(self, serving: World, clock: Any) -> None:
        serving.health = Health("failed", reason="no such graph")
        with transaction(serving.sessions) as session:
            deployments.restart(session, session.get_one(DeploymentTable, serving.deployment_id))
        for _ in range(12):
            serving.passes(2)
            clock.advance(minutes=2)
        row = serving.advance()
        assert row.state == "refused"
        assert row.reason == "The compiled form keeps failing: no such graph"
        serving.health = Health("ready")
        serving.passes(6)
        assert self.pythons(serving) == ["/big/python"]

    def test_while_compiling_is_off(self, serving: World) -> None:
        serving.reconciler._compiles = False
        with transaction(serving.sessions) as session:
            compiling.take_back(session)
        serving.passes(6)
        assert (serving.row().state, self.pythons(serving)) == ("switching", ["/big/python"])
        serving.reconciler._compiles = True
        serving.advance()
        serving.passes(6)
        assert (serving.advance().state, self.pythons(serving)) == ("serving", ["/built/python"])

    def test_what_it_says(self, serving: World) -> None:
        row = serving.row()
        assert compilations.says(row, is_on=True, is_stopped=False).startswith("Yes: equal on 500 rows")
        assert "switched off" in compilations.says(row, is_on=False, is_stopped=False)
        row.state = "switching"
        assert "next start" in compilations.says(row, is_on=True, is_stopped=True)
        assert "being replaced" in compilations.says(row, is_on=True, is_stopped=False)
