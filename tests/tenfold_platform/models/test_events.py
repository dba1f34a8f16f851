"""A version's events: everything that a page shows of it is told when it changes, and only then put together."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.logs import service as logs
from tenfold_platform.models import events
from tenfold_platform.models.tables import AliasTable, VersionTable
from tenfold_platform.settings import Settings

SECONDS = 30.0

Change = Callable[[Session, VersionTable], Any]


def fail_environment(session: Session, version: VersionTable) -> None:
    session.get_one(EnvironmentTable, version.environment_id).reason = "no such package"


def add_replica(session: Session, version: VersionTable) -> None:
    deployment = session.scalars(select(DeploymentTable)).one()
    session.add(ReplicaTable(deployment_id=deployment.id, state="loading"))


def stop(session: Session, version: VersionTable) -> None:
    session.scalars(select(DeploymentTable)).one().desired_replicas = 0


def promote(session: Session, version: VersionTable) -> None:
    session.add(AliasTable(model_id=version.model_id, name="production", version_id=version.id))


CHANGES: dict[str, tuple[Change, Callable[[Any], Any], Any]] = {
    "the version": (lambda _, version: setattr(version, "hint", "Wait."), lambda told: told["hint"], "Wait."),
    "its environment": (fail_environment, lambda told: told["environment"]["reason"], "no such package"),
    "a replica": (add_replica, lambda told: [one["state"] for one in told["deployment"]["replicas"]], ["loading"]),
    "its deployment": (stop, lambda told: told["deployment"]["desired_replicas"], 0),
    "an alias": (promote, lambda told: told["aliases"], ["production"]),
}


@pytest.fixture
def version(world: Any, sessions: sessionmaker[Session]) -> VersionTable:
    assert world.create().is_success
    with sessions() as session:
        return session.scalars(select(VersionTable)).one()


@pytest.fixture
def watch(
    world: Any, version: VersionTable, settings: Settings, sessions: sessionmaker[Session]
) -> Callable[[], AsyncIterator[bytes]]:
    ctx: Any = SimpleNamespace(
        settings=settings, sessions=sessions, workspace=world.workspace, still_allowed=lambda: True
    )
    return lambda: events.version_events(ctx, version.model_id, version.id, after=0, follow=True)


async def next_event(told: AsyncIterator[bytes]) -> tuple[str, Any]:
    async with asyncio.timeout(SECONDS):
        async for event in told:
            lines = dict(line.split(": ", 1) for line in event.decode().strip().splitlines())
            if "event" in lines:
                return lines["event"], json.loads(lines["data"])
    raise AssertionError("the events have ended")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_what_is_shown_is_told(
    watch: Callable[[], AsyncIterator[bytes]], version: VersionTable, sessions: sessionmaker[Session], name: str
) -> None:
    change, shown, value = CHANGES[name]

    async def run() -> None:
        told = watch()
        kind, first = await next_event(told)
        assert kind == "version"
        assert shown(first) != value
        with transaction(sessions) as session:
            change(session, session.get_one(VersionTable, version.id))
        kind, second = await next_event(told)
        assert (kind, shown(second)) == ("version", value)

    asyncio.run(run())


def test_a_log_of_any_length_is_told_in_order(
    watch: Callable[[], AsyncIterator[bytes]], version: VersionTable, sessions: sessionmaker[Session]
) -> None:
    lines = [f"line {number}\n" for number in range(events.LINES + 10)]

    async def run() -> None:
        told = watch()
        await next_event(told)
        with transaction(sessions) as session:
            for line in lines:
                logs.append(session, f"environment:{version.environment_id}", line)
        found = [await next_event(told) for _ in lines]
        assert [(kind, one["text"]) for kind, one in found] == [("log", line) for line in lines]

    asyncio.run(run())


def test_what_has_not_changed_is_not_put_together_again(
    watch: Callable[[], AsyncIterator[bytes]],
    version: VersionTable,
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[events.Look] = []
    look = events._look
    enough = threading.Event()

    def counted(*arguments: Any) -> events.Look:
        looks.append(look(*arguments))
        if len(looks) == 5:
            enough.set()
        return looks[-1]

    monkeypatch.setattr(events, "_look", counted)
    monkeypatch.setattr(events, "POLL_SECONDS", 0.01)

    async def run() -> None:
        told = watch()
        await next_event(told)
        waiting = asyncio.ensure_future(next_event(told))
        assert await asyncio.to_thread(enough.wait, SECONDS)
        assert all(one.version is None for one in looks[1:])
        with transaction(sessions) as session:
            session.get_one(VersionTable, version.id).hint = "Wait."
        assert (await waiting)[1]["hint"] == "Wait."

    asyncio.run(run())
