"""Small models that share a worker, on a running installation: one comes, one goes, one ends it for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sklearn.linear_model import LogisticRegression

import tenfold
from tenfold.client import Client
from tenfold.errors import TenfoldError
from tenfold.models import Model

from .conftest import Deploy, Installation, quiet, wait_for

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 240
ROWS = [[-2.0], [2.0]]
CRASHER = """
import os

class Model:
    def predict(self, inputs):
        if inputs["x"] < 0:
            os._exit(3)
        return {"twice": inputs["x"] * 2}
"""


@pytest.fixture
def fitted(client: Client) -> Iterator[Callable[[str, list[str]], Model]]:
    """`fitted(name, classes)`: a model of scikit-learn that shares a worker."""
    made: list[Model] = []

    def run(name: str, classes: list[str]) -> Model:
        estimator = LogisticRegression().fit([[0.0], [1.0]], classes)
        options: dict[str, Any] = {"client": client, "progress": quiet(), "app": False, "packed": True}
        made.append(tenfold.deploy(estimator, name, example=[[0.5]], **options))
        return made[-1]

    yield run
    for model in made:
        if any(one["name"] == model.name for one in client.models()):
            model.delete()


def version_of(model: Model) -> dict[str, Any]:
    told: dict[str, Any] = model.client.get("models", model.name, "versions", model.version or 0)
    return told


def ready(model: Model) -> list[dict[str, Any]]:
    return [one for one in version_of(model)["deployment"]["replicas"] if one["state"] == "ready"]


def shares_with(model: Model) -> list[int | None]:
    return [one["shares_worker_with"] for one in ready(model)]


def test_three_share_a_worker_and_none_is_disturbed_when_one_goes(
    fitted: Callable[[str, list[str]], Model], platform: Installation
) -> None:
    words = {f"packed-{word}": [f"not {word}", word] for word in ("red", "green", "blue")}
    models = {name: fitted(name, classes) for name, classes in words.items()}
    wait_for(lambda: all(shares_with(model) == [2] for model in models.values()), PATIENCE_SECONDS)
    for name, model in models.items():
        assert list(model.predict(ROWS)) == words[name], name
    assert "It shares its worker with 2 other models." in platform.tenfold("models", "show", "packed-red").stdout

    models.pop("packed-green").delete()
    for name, model in models.items():
        assert list(model.predict(ROWS[:1])) == [words[name][0]], name
    wait_for(lambda: all(shares_with(model) == [1] for model in models.values()), PATIENCE_SECONDS)
    for name, model in models.items():
        assert list(model.predict(ROWS[:1])) == [words[name][0]], name


def test_one_that_ends_the_worker_is_alone_from_then_on_and_the_others_answer_again(
    fitted: Callable[[str, list[str]], Model], deploy: Deploy, platform: Installation
) -> None:
    neighbour = fitted("packed-neighbour", ["no", "yes"])
    config = version_of(neighbour)["config"]
    same = f"python_version: '{config['python_version']}'\nrequirements: {config['requirements']}\n"
    culprit = deploy(CRASHER, "packed-culprit", same, app=False, packed=True)
    wait_for(lambda: shares_with(neighbour) == shares_with(culprit) == [1], PATIENCE_SECONDS)
    assert culprit.raw({"x": 4}) == {"twice": 8}

    headers = {"Authorization": f"Bearer {platform.profile['key']}"}
    crash = httpx.post(culprit.url, json={"x": -1}, headers=headers, timeout=60)
    assert crash.status_code == 503, crash.text
    wait_for(lambda: answers(neighbour, ROWS[:1]) == ["no"], PATIENCE_SECONDS)
    wait_for(lambda: ready(culprit) and ready(neighbour), PATIENCE_SECONDS)
    assert culprit.raw({"x": 4}) == {"twice": 8}
    for model in (culprit, neighbour):
        (replica,) = ready(model)
        assert replica["shares_worker_with"] is None
        assert replica["alone_because"].startswith("It was started after a failure.")

    crash = httpx.post(culprit.url, json={"x": -1}, headers=headers, timeout=60)
    assert crash.status_code == 503, crash.text
    assert list(neighbour.predict(ROWS[:1])) == ["no"]
    culprit.delete()


def answers(model: Model, rows: list[list[float]]) -> list[Any] | None:
    """None while nobody is there to answer."""
    try:
        return list(model.predict(rows))
    except TenfoldError:
        return None
