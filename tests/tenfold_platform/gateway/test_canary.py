"""A share of an alias's calls goes to another version, as long as that one can answer."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tenfold_platform.gateway.snapshot import Alias, Deployment, Model, Replica, Transport, Version
from tenfold_platform.models.tables import AliasTable, TrafficTable

PATH = "/v1/acme/models/churn"


def make_version(number: int, *states: str) -> Version:
    replicas = tuple(Replica(uuid4(), state, "", "unix:/s" if state == "ready" else None) for state in states)  # type: ignore[arg-type]
    return Version(
        id=uuid4(), model_id=uuid4(), model_name="churn", workspace_id=uuid4(), workspace_name="acme", number=number,
        state="ready", reason="", hint="", streaming_read_seconds=60, text_columns=None, transport=Transport(),
        deployment=Deployment(uuid4(), "model", 1, 0, "", None, replicas),
    )  # fmt: skip


def make_model(alias: Alias) -> Model:
    versions = [alias.version, *([alias.canary] if alias.canary else [])]
    return Model(uuid4(), "churn", {"production": alias}, {version.number: version for version in versions})


@pytest.mark.parametrize(
    ("percent", "chance", "number"),
    [(25, 0.0, 2), (25, 0.2499, 2), (25, 0.25, 1), (25, 0.9, 1), (0, 0.0, 1), (100, 0.999999, 2)],
)
def test_the_chance_decides(percent: float, chance: float, number: int) -> None:
    model = make_model(Alias(make_version(1, "ready"), make_version(2, "ready"), percent))
    found = model.find("production", lambda: chance)
    assert found is not None
    assert found.number == number


def test_over_many_calls_the_share_is_as_asked_for() -> None:
    model = make_model(Alias(make_version(1, "ready"), make_version(2, "ready"), 10))
    chance = random.Random(7).random
    counted = Counter(version.number for _ in range(10_000) if (version := model.find("production", chance)))
    assert counted.total() == 10_000
    assert 900 < counted[2] < 1100


@pytest.mark.parametrize("states", [(), ("loading",), ("starting", "pending")])
def test_a_canary_that_cannot_answer_gets_nothing(states: tuple[str, ...]) -> None:
    model = make_model(Alias(make_version(1), make_version(2, *states), 100))
    assert model.find("production", lambda: 0.0) == model.versions[1]
    without = replace(model.versions[2], deployment=None)
    assert make_model(Alias(make_version(1), without, 100)).find("production", lambda: 0.0).number == 1  # type: ignore[union-attr]


def test_a_number_means_itself() -> None:
    model = make_model(Alias(make_version(1, "ready"), make_version(2, "ready"), 100))
    assert model.find("1", lambda: 0.0) == model.versions[1]


def test_development_is_the_newest_version_unless_it_is_an_alias() -> None:
    first, second = make_version(1), make_version(2)
    model = Model(uuid4(), "churn", {}, {1: first, 2: second})
    assert model.find("development", random.random) == second
    assert replace(model, aliases={"development": Alias(first)}).find("development", random.random) == first
    assert Model(uuid4(), "churn", {}, {}).find("development", random.random) is None


def test_calls_are_split_and_say_who_answered(serve, world, workspace, key, make_worker) -> None:
    first, second = make_worker(), make_worker()
    main = world.served(workspace, first, number=1)
    canary = world.served(workspace, second, number=2, alias=None)
    with world.sessions.begin() as session:
        session.merge(
            AliasTable(
                model_id=main.model_id, name="production", version_id=main.id,
                canary_version_id=canary.id, canary_percent=50.0,
            )
        )  # fmt: skip
    running = serve()
    chances = itertools.cycle([0.1, 0.9])
    running.gateway.chance = lambda: next(chances)
    with running.client(key) as client:

        def answered(path: str) -> Any:
            return client.post(PATH + path, json={}).headers["X-Tenfold-Version"]

        assert [answered("/predict") for _ in range(4)] == ["2", "1", "2", "1"]
        assert [answered("/v1/embeddings") for _ in range(2)] == ["2", "1"]
        assert [answered("/production/predict") for _ in range(2)] == ["2", "1"]
        assert [answered("@1/predict"), answered("@2/predict")] == ["1", "2"]
    running.count()
    with world.sessions() as session:
        counted = Counter({main.number: 0, canary.number: 0})
        for row in session.query(TrafficTable):
            counted[main.number if row.version_id == main.id else canary.number] += row.requests
    assert counted == {1: 5, 2: 5}
