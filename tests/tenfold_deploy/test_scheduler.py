"""What every scheduler promises, asked of each of them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenfold_deploy.fake import FakeScheduler
from tenfold_deploy.local import LocalScheduler
from tenfold_deploy.scheduler import (
    Handle,
    Observation,
    ReplicaSpec,
    ReplicaState,
    Scheduler,
    SchedulerError,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tf-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(params=["local", "fake"])
def scheduler(request: pytest.FixtureRequest, folder: Path) -> Iterator[Scheduler]:
    made: Scheduler = LocalScheduler(folder / "state") if request.param == "local" else FakeScheduler()
    yield made
    for handle in made.adopt():
        made.stop(handle, 0)
        _wait(made, handle, lambda seen: seen.state is ReplicaState.EXITED)


@pytest.fixture
def spec(folder: Path) -> Callable[[], ReplicaSpec]:
    root = folder / "package"
    (root / "model").mkdir(parents=True)
    (root / "model" / "model.py").write_text("class Model:\n    def predict(self, x): return x")
    python = os.path.join(sys.base_prefix, "bin", "python3")
    return lambda: ReplicaSpec(str(uuid.uuid4()), "model", python, root=str(root), labels={"version": "v1"})


def _wait(scheduler: Scheduler, handle: Handle, condition: Callable[[Observation], bool]) -> Observation:
    deadline = time.monotonic() + 20
    while not condition(seen := scheduler.observe(handle)):
        assert time.monotonic() < deadline, seen
        time.sleep(0.005)
    return seen


def test_the_life_of_a_replica(scheduler: Scheduler, spec: Callable[[], ReplicaSpec]) -> None:
    wanted = spec()
    handle = scheduler.start(wanted)
    assert (handle.scheduler, handle.replica_id, handle.labels) == (
        scheduler.name,
        wanted.replica_id,
        {"version": "v1"},
    )
    running = _wait(scheduler, handle, lambda seen: seen.state is not ReplicaState.STARTING)
    assert running.state is ReplicaState.RUNNING
    assert running.address is not None
    assert running.pid is not None
    assert running.since is not None
    assert (running.exit, running.reason, running.reason_code) == (None, None, None)
    scheduler.stop(handle)
    scheduler.stop(handle)
    ended = _wait(scheduler, handle, lambda seen: seen.state is ReplicaState.EXITED)
    assert (ended.address, ended.pid, ended.reason_code) == (None, None, "stopped")
    assert ended.exit is not None
    assert scheduler.observe(handle) == ended
    scheduler.stop(handle)


def test_a_handle_survives_json_and_works_for_whoever_holds_it(
    scheduler: Scheduler, spec: Callable[[], ReplicaSpec]
) -> None:
    handle = scheduler.start(spec())
    again = Handle.from_json(json.loads(json.dumps(handle.to_json())))
    assert again == handle
    assert scheduler.adopt() == [handle]
    scheduler.stop(again, 0)
    assert _wait(scheduler, again, lambda seen: seen.state is ReplicaState.EXITED).reason_code == "stopped"


def test_starting_twice_and_removing_too_early_are_refused(
    scheduler: Scheduler, spec: Callable[[], ReplicaSpec]
) -> None:
    wanted = spec()
    handle = scheduler.start(wanted)
    with pytest.raises(SchedulerError) as caught:
        scheduler.start(wanted)
    assert caught.value.code == "replica_exists"
    with pytest.raises(SchedulerError) as caught:
        scheduler.remove(handle)
    assert caught.value.code == "still_running"
    scheduler.stop(handle, 0)
    _wait(scheduler, handle, lambda seen: seen.state is ReplicaState.EXITED)
    scheduler.remove(handle)
    assert scheduler.adopt() == []
    assert scheduler.observe(handle).state is ReplicaState.EXITED
    scheduler.remove(handle)


def test_many_are_observed_in_the_order_given(scheduler: Scheduler, spec: Callable[[], ReplicaSpec]) -> None:
    handles = [scheduler.start(spec()) for _ in range(3)]
    scheduler.stop(handles[1], 0)
    _wait(scheduler, handles[1], lambda seen: seen.state is ReplicaState.EXITED)
    ended = [seen.state is ReplicaState.EXITED for seen in scheduler.observe_all(handles)]
    assert ended == [False, True, False]


def test_a_secret_is_not_in_the_text_of_a_spec() -> None:
    text = repr(ReplicaSpec("r", "model", "python", secrets={"key": "s3cret"}))
    assert "s3cret" not in text
