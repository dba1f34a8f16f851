"""Who shares a worker with how many, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.models.tables import ModelTable, VersionTable

PACKED = b"requirements: []\nmodel_metadata: {tenfold: {}}\nruntime: {packed: true}\n"
ISOLATION = {"level": "none", "network": "open", "missing": []}


class Packs:
    """Models, packed or not, and replicas of them as a scheduler would have started them."""

    def __init__(self, world: Any, sessions: sessionmaker[Session]) -> None:
        self._world, self._sessions = world, sessions

    def deploy(self, name: str, config: bytes = PACKED) -> None:
        answer = self._world.create({**self._world.PACKAGE, "config.yaml": config}, name=name)
        assert answer.status_code == 201, answer.text

    def start(self, name: str, pack: Mapping[str, str] | None, **values: Any) -> None:
        data = {"address": "unix:/fake"} | ({"pack": dict(pack)} if pack else {})
        handle = {"scheduler": "fake", "replica_id": "x", "data": data, "labels": {}, "isolation": ISOLATION}
        query = (
            select(DeploymentTable.id)
            .join(VersionTable, VersionTable.id == DeploymentTable.version_id)
            .join(ModelTable, ModelTable.id == VersionTable.model_id)
            .where(ModelTable.name == name)
        )
        told = {"state": "ready", "handle": handle, "host": "here", **values}
        with transaction(self._sessions) as session:
            session.add(ReplicaTable(deployment_id=session.scalars(query).one(), **told))

    def told(self, name: str) -> list[tuple[int | None, str | None]]:
        replicas = self._world.get(f"/models/{name}/versions/1")["deployment"]["replicas"]
        return [(one["shares_worker_with"], one["alone_because"]) for one in replicas]


@pytest.fixture
def packs(world: Any, sessions: sessionmaker[Session]) -> Packs:
    return Packs(world, sessions)


def test_those_in_one_worker_are_counted_on_its_machine_and_while_they_live(packs: Packs) -> None:
    names = ("one", "two", "three", "elsewhere", "before", "other")
    for name in names:
        packs.deploy(name)
    for name in ("one", "two", "three"):
        packs.start(name, {"worker": "a"}, state="loading" if name == "three" else "ready")
    packs.start("other", {"worker": "b"})
    packs.start("elsewhere", {"worker": "a"}, host="there")
    packs.start("before", {"worker": "a"}, state="stopped", ended_at=datetime.now(UTC))
    assert {name: packs.told(name) for name in names} == {
        "one": [(2, None)],
        "two": [(2, None)],
        "three": [(2, None)],
        "elsewhere": [(0, None)],
        "before": [(None, None)],
        "other": [(0, None)],
    }


def test_one_that_is_alone_says_why(packs: Packs) -> None:
    packs.deploy("own")
    packs.start("own", {"alone": "Its package has modules of its own."})
    packs.start("own", None, handle={}, state="pending")
    assert sorted(packs.told("own"), key=str) == [
        (None, "Its package has modules of its own."),
        (None, None),
    ]


def test_one_that_did_not_ask_has_nothing_to_say(packs: Packs) -> None:
    packs.deploy("plain", b"requirements: []\nmodel_metadata: {tenfold: {}}\n")
    packs.start("plain", None)
    assert packs.told("plain") == [(None, None)]
