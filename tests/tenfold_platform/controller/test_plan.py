"""The reconciler's decisions, as plain values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold_platform.controller import plan as planning
from tenfold_platform.controller.plan import (
    Create,
    Desired,
    Drain,
    ForgiveFailures,
    NowFailed,
    NowLoading,
    NowReady,
    NowStarting,
    NowStopped,
    Seen,
    Start,
    Stop,
    backoff,
    plan,
)
from tenfold_platform.deployments.tables import ReplicaState as State

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ONE, TWO = UUID(int=1), UUID(int=2)


def desired(**changes: Any) -> Desired:
    values: dict[str, Any] = {
        "replicas": 1,
        "startable": True,
        "failures": 0,
        "retry_at": None,
        "load_timeout": timedelta(seconds=60),
    }
    return Desired(**(values | changes))


def seen(state: State, process: str = "running", replica_id: UUID = ONE, **changes: Any) -> Seen:
    return Seen(replica_id, state, process, **changes)  # type: ignore[arg-type]


def test_nothing_runs_and_one_is_wanted() -> None:
    assert plan(desired(), [], NOW) == [Create()]


def test_nothing_is_created_before_the_environment_is_built() -> None:
    assert plan(desired(startable=False), [], NOW) == []


def test_a_recorded_replica_without_a_process_is_started() -> None:
    assert plan(desired(), [seen(State.PENDING, "none")], NOW) == [Start(ONE)]


def test_a_recorded_replica_whose_process_is_there_was_started_by_an_earlier_controller() -> None:
    assert plan(desired(), [seen(State.PENDING, "running")], NOW) == [NowStarting(ONE)]


@pytest.mark.parametrize(
    ("state", "health", "actions"),
    [
        (State.STARTING, "unreachable", []),
        (State.STARTING, "loading", [NowLoading(ONE)]),
        (State.STARTING, "ready", [NowReady(ONE)]),
        (State.LOADING, "loading", []),
        (State.LOADING, "unreachable", []),
        (State.LOADING, "ready", [NowReady(ONE)]),
        (State.READY, "unreachable", []),
        (State.READY, "ready", []),
    ],
)
def test_coming_up(state: State, health: Any, actions: list[object]) -> None:
    assert plan(desired(), [seen(state, health=health, started_at=NOW)], NOW) == actions


def test_a_load_that_fails_is_reported_with_its_reason_and_its_process_stopped() -> None:
    replica = seen(State.LOADING, health="failed", reason="no weights", started_at=NOW)
    assert plan(desired(), [replica], NOW) == [NowFailed(ONE, "no weights", stop=True)]


def test_a_load_that_never_returns_is_given_up() -> None:
    replica = seen(State.LOADING, health="loading", started_at=NOW - timedelta(seconds=61))
    assert plan(desired(), [replica], NOW) == [NowFailed(ONE, "load() did not return within 60 s.", stop=True)]


def test_a_process_that_ended_by_itself_has_failed_and_is_not_replaced_in_the_same_pass() -> None:
    assert plan(desired(), [seen(State.READY, "exited", reason="killed")], NOW) == [
        NowFailed(ONE, "killed", stop=False)
    ]


def test_a_process_that_was_told_to_stop_did_not_fail_and_is_replaced() -> None:
    assert plan(desired(), [seen(State.READY, "exited", blameless=True)], NOW) == [NowStopped(ONE), Create()]


def test_unreachable_never_means_failed() -> None:
    for state in (State.STARTING, State.LOADING, State.READY):
        assert plan(desired(), [seen(state, "unknown", started_at=NOW)], NOW) == []


def test_after_failures_the_next_try_waits() -> None:
    later = NOW + timedelta(seconds=5)
    assert plan(desired(failures=2, retry_at=later), [], NOW) == []
    assert plan(desired(failures=2, retry_at=later), [], later) == [Create()]


def test_backoff_grows_to_a_cap() -> None:
    assert [backoff(n).total_seconds() for n in (1, 2, 3, 4, 20)] == [0, 1, 2, 4, 60]


def test_a_replica_that_ran_for_a_minute_is_forgiven() -> None:
    replica = seen(State.READY, health="ready", ready_at=NOW - timedelta(seconds=60))
    assert plan(desired(failures=2), [replica], NOW) == [ForgiveFailures()]


def test_one_to_be_replaced_forgives_nothing_its_successor_did() -> None:
    old = seen(State.READY, health="ready", ready_at=NOW - timedelta(hours=1), outgoing=True)
    assert plan(desired(failures=2, retry_at=NOW + timedelta(seconds=1)), [old], NOW) == []


def test_one_too_many_is_drained_the_newest_and_least_ready_first() -> None:
    replicas = [seen(State.READY, health="ready"), seen(State.LOADING, replica_id=TWO, health="loading")]
    assert Drain(TWO) in plan(desired(), replicas, NOW)
    assert Drain(ONE) not in plan(desired(), replicas, NOW)


def test_draining_waits_for_what_is_in_flight_but_not_for_ever() -> None:
    def draining(seconds: float, in_flight: int) -> list[planning.Action]:
        since = NOW - timedelta(seconds=seconds)
        replica = seen(State.DRAINING, health="ready", in_flight=in_flight, draining_since=since)
        return plan(desired(replicas=0), [replica], NOW)

    assert draining(0.5, 0) == []
    assert draining(2, 3) == []
    assert draining(2, 0) == [Stop(ONE)]
    assert draining(31, 3) == [Stop(ONE)]


def test_a_drained_process_has_stopped() -> None:
    assert plan(desired(replicas=0), [seen(State.DRAINING, "exited")], NOW) == [NowStopped(ONE)]


def test_one_to_be_replaced_goes_only_when_another_is_ready() -> None:
    old = seen(State.READY, health="ready", outgoing=True)
    assert plan(desired(), [old], NOW) == [Create()]
    assert plan(desired(), [old, seen(State.LOADING, replica_id=TWO, health="loading")], NOW) == []
    assert plan(desired(), [old, seen(State.READY, replica_id=TWO, health="ready")], NOW) == [Drain(ONE)]


def test_one_to_be_replaced_stays_while_the_new_one_does_not_come_up() -> None:
    old, failing = seen(State.READY, health="ready", outgoing=True), seen(State.LOADING, "exited", replica_id=TWO)
    assert plan(desired(), [old, failing], NOW) == [NowFailed(TWO, "The process ended.", stop=False)]
    assert plan(desired(failures=3, retry_at=NOW + timedelta(seconds=2)), [old], NOW) == []


def test_one_to_be_replaced_that_serves_nobody_yet_goes_at_once() -> None:
    old = seen(State.LOADING, health="loading", outgoing=True)
    assert plan(desired(), [old], NOW) == [Drain(ONE), Create()]


def test_one_to_be_replaced_goes_when_none_is_wanted() -> None:
    assert plan(desired(replicas=0), [seen(State.READY, health="ready", outgoing=True)], NOW) == [Drain(ONE)]


states = st.sampled_from([State.PENDING, State.STARTING, State.LOADING, State.READY, State.DRAINING])
replicas_seen = st.builds(
    Seen,
    replica_id=st.uuids(),
    state=states,
    process=st.sampled_from(["none", "starting", "running", "exited", "unknown"]),
    health=st.sampled_from(["loading", "ready", "failed", "unreachable", "unknown"]),
    in_flight=st.integers(0, 3),
    started_at=st.just(NOW),
    blameless=st.booleans(),
)


@given(st.integers(0, 4), st.lists(replicas_seen, max_size=6, unique_by=lambda r: r.replica_id), st.booleans())
def test_any_situation_leads_to_as_many_replicas_as_wanted_and_each_gets_one_order_of_a_kind(
    wanted: int, replicas: list[Seen], startable: bool
) -> None:
    actions = plan(desired(replicas=wanted, startable=startable), replicas, NOW)
    ended = {a.replica_id for a in actions if isinstance(a, NowFailed | NowStopped)}
    drained = [a.replica_id for a in actions if isinstance(a, Drain)]
    created = sum(isinstance(a, Create) for a in actions)
    occupying = [r for r in replicas if r.state in planning.OCCUPYING and r.replica_id not in ended]
    after = len(occupying) - len(drained) + created
    assert len(set(drained)) == len(drained)
    assert after <= max(wanted, len(occupying))
    if startable and not any(isinstance(a, NowFailed) for a in actions):
        assert after == wanted
    for replica in replicas:
        if replica.process == "unknown":
            assert replica.replica_id not in ended or replica.health == "failed"


@given(
    st.integers(1, 4),
    st.lists(replicas_seen, max_size=6, unique_by=lambda r: r.replica_id),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_a_restart_never_takes_away_what_serves_before_it_is_replaced(
    wanted: int, replicas: list[Seen], outgoing: list[bool]
) -> None:
    replicas = [replace(replica, outgoing=old) for replica, old in zip(replicas, outgoing, strict=False)]
    actions = plan(desired(replicas=wanted), replicas, NOW)
    ended = {a.replica_id for a in actions if isinstance(a, NowFailed | NowStopped)}
    drained = {a.replica_id for a in actions if isinstance(a, Drain)}
    serving = [r for r in replicas if r.state == State.READY and r.replica_id not in ended]
    assert len([r for r in serving if r.replica_id not in drained]) >= min(wanted, len(serving))
    if not any(isinstance(a, NowFailed) for a in actions):
        new = [r for r in replicas if r.state in planning.OCCUPYING and not r.outgoing and r.replica_id not in ended]
        created = sum(isinstance(a, Create) for a in actions)
        assert len([r for r in new if r.replica_id not in drained]) + created == wanted
