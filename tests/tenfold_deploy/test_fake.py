"""The fake scheduler fails as it is told to, by the clock it is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenfold_deploy import fake
from tenfold_deploy.fake import FakeScheduler
from tenfold_deploy.scheduler import ExitStatus, ReplicaSpec, ReplicaState, SchedulerError

START = datetime(2024, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> FakeScheduler:
    return FakeScheduler(clock)


def spec(replica_id: str = "r1") -> ReplicaSpec:
    return ReplicaSpec(replica_id, "model", "/fake/python", root="/fake/package", labels={"version": "v1"})


def test_a_healthy_replica_runs_until_it_is_stopped(scheduler: FakeScheduler, clock: Clock) -> None:
    handle = scheduler.start(spec())
    seen = scheduler.observe(handle)
    assert (seen.state, seen.address, seen.since) == (ReplicaState.RUNNING, "unix:/fake/r1", START)
    clock.advance(1000)
    assert scheduler.observe(handle).state is ReplicaState.RUNNING
    scheduler.stop(handle)
    ended = scheduler.observe(handle)
    assert (ended.state, ended.exit, ended.reason_code) == (ReplicaState.EXITED, ExitStatus(code=0), "stopped")
    assert ended.since == START + timedelta(seconds=1000)
    assert (scheduler.stopped, [started.replica_id for started in scheduler.started]) == (["r1"], ["r1"])


def test_scripts_apply_to_the_next_replicas_in_order(scheduler: FakeScheduler, clock: Clock) -> None:
    scheduler.script(
        fake.FAILS_TO_START, fake.HANGS_BEFORE_LISTENING, fake.crashes_after(5, code=3), fake.starts_slowly(2)
    )
    with pytest.raises(SchedulerError) as caught:
        scheduler.start(spec("a"))
    assert caught.value.code == "start_failed"
    handles = [scheduler.start(spec(name)) for name in "bcde"]
    assert [seen.state.value for seen in scheduler.observe_all(handles)] == [
        "starting",
        "running",
        "starting",
        "running",
    ]
    clock.advance(5)
    hanging, crashed, slow, healthy = scheduler.observe_all(handles)
    assert hanging.state is ReplicaState.STARTING
    assert (crashed.state, crashed.exit, crashed.since) == (
        ReplicaState.EXITED,
        ExitStatus(code=3),
        START + timedelta(seconds=5),
    )
    assert (slow.state, slow.since) == (ReplicaState.RUNNING, START + timedelta(seconds=2))
    assert healthy.state is ReplicaState.RUNNING
    assert scheduler.running() == ["b", "d", "e"]


def test_a_replica_that_ignores_stop_is_killed_after_the_grace(scheduler: FakeScheduler, clock: Clock) -> None:
    scheduler.script(fake.IGNORES_STOP)
    handle = scheduler.start(spec())
    scheduler.stop(handle, 10)
    clock.advance(9)
    assert scheduler.observe(handle).state is ReplicaState.RUNNING
    clock.advance(1)
    ended = scheduler.observe(handle)
    assert (ended.exit, ended.reason_code) == (ExitStatus(signal=9), "stopped")
    assert "killed because" in (ended.reason or "")


def test_lost_contact_is_unknown_and_changes_nothing(scheduler: FakeScheduler) -> None:
    one, two = scheduler.start(spec("one")), scheduler.start(spec("two"))
    scheduler.lose_contact("one")
    assert [seen.state.value for seen in scheduler.observe_all([one, two])] == ["unknown", "running"]
    scheduler.lose_contact()
    assert scheduler.observe(two).state is ReplicaState.UNKNOWN
    scheduler.regain_contact()
    assert [seen.state.value for seen in scheduler.observe_all([one, two])] == ["running", "running"]


def test_crashes_and_memory(scheduler: FakeScheduler, clock: Clock) -> None:
    handle = scheduler.start(spec())
    scheduler.crash("r1", signal=11)
    assert scheduler.observe(handle).exit == ExitStatus(signal=11)
    scheduler.script(fake.runs_out_of_memory_after(1))
    other = scheduler.start(spec("r2"))
    clock.advance(1)
    assert scheduler.observe(other).reason_code == "out_of_memory"


def test_logs_adoption_and_removal(scheduler: FakeScheduler) -> None:
    handle = scheduler.start(spec())
    scheduler.print("r1", "hello\nworld\n")
    assert scheduler.logs(handle, 0, 6).data == b"hello\n"
    assert scheduler.logs(handle, 6).next_offset == 12
    assert scheduler.logs(handle, -6).data == b"world\n"
    assert scheduler.adopt() == [handle]
    with pytest.raises(SchedulerError, match="has not ended"):
        scheduler.remove(handle)
    scheduler.crash("r1")
    scheduler.remove(handle)
    assert scheduler.adopt() == []
    assert (scheduler.observe(handle).state, scheduler.observe(handle).reason_code) == (ReplicaState.EXITED, "lost")
