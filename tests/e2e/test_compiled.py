"""A version goes over to its compiled form while it is called, and no call fails; or stays, and says why."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

import tenfold

from ..installation import Installation, running
from ..waiting import wait_for

pytestmark = pytest.mark.e2e

PATIENCE = 420.0  # three environments are built, and a loaded machine takes its time


@pytest.fixture(scope="module")
def compiling() -> Iterator[Installation]:
    with running(TENFOLD_COMPILE_MODELS="true") as installation:
        yield installation


@pytest.fixture(scope="module")
def client(compiling: Installation) -> Iterator[tenfold.Client]:
    profile = compiling.profile
    with tenfold.connect(profile["url"], profile["key"]) as client:
        yield client


def ended(compiling: Installation, name: str) -> dict[str, Any]:
    """The version, once it is known whether it is served compiled."""

    def look() -> dict[str, Any] | None:
        with compiling.api() as api:
            version: dict[str, Any] = api.get(f"/models/{name}/versions/1").raise_for_status().json()
        return version if version["compiled"]["state"] in ("serving", "refused") else None

    found: dict[str, Any] = wait_for(look, PATIENCE, every=1.0)
    return found


def test_a_forest_goes_over_to_its_compiled_form_without_a_failed_call(
    compiling: Installation, client: tenfold.Client
) -> None:
    wine = load_wine(as_frame=True)
    forest = RandomForestClassifier(50, random_state=0).fit(wine.data, wine.target_names[wine.target])
    model = tenfold.deploy(forest, "compiled-forest", example=wine.data.iloc[:3], app=False, client=client)
    before = model.predict_proba(wine.data)
    answers: list[tuple[int, str]] = []
    stopping = threading.Event()

    def call() -> None:
        url = f"{compiling.gateway}/v1/default/models/compiled-forest/predict"
        row = {"inputs": wine.data.iloc[:1].values.tolist()}
        with httpx.Client(headers={"Authorization": f"Bearer {compiling.profile['key']}"}, timeout=60) as http:
            while not stopping.is_set():
                answer = http.post(url, json=row)
                answers.append((answer.status_code, answer.text))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        version = ended(compiling, "compiled-forest")
        served = len(answers)
        wait_for(lambda: len(answers) > served + 20, 60)
    finally:
        stopping.set()
        caller.join()
    assert version["compiled"]["state"] == "serving", version["compiled"]["reason"]
    assert version["compiled"]["report"]["largest_difference"] == 0.0
    assert {status for status, _ in answers} == {200}
    assert len({text for _, text in answers}) == 1  # byte for byte the same, before and after
    assert model.predict_proba(wine.data).tolist() == before.tolist()
    (replica,) = [one for one in version["deployment"]["replicas"] if one["state"] == "ready"]
    original = max(one["memory_bytes"] or 0 for one in version["deployment"]["replicas"] if one["state"] != "ready")
    assert replica["memory_bytes"] < original
    model.serve_original()
    assert "asked for the original" in ended(compiling, "compiled-forest")["compiled"]["says"]

    def is_original() -> bool:
        with compiling.api() as api:
            told = api.get("/models/compiled-forest/versions/1").raise_for_status().json()["deployment"]["replicas"]
        return [one["id"] for one in told if one["state"] == "ready"] not in ([], [replica["id"]])

    wait_for(is_original, PATIENCE, every=1.0)
    assert model.predict_proba(wine.data).tolist() == before.tolist()


def test_off_with_one_word(compiling: Installation, client: tenfold.Client) -> None:
    wine = load_wine(as_frame=True)
    forest = RandomForestClassifier(5, random_state=0).fit(wine.data, wine.target)
    tenfold.deploy(forest, "as-it-is", example=wine.data.iloc[:3], app=False, compile="off", client=client)
    compiled = ended(compiling, "as-it-is")["compiled"]
    assert (compiled["state"], compiled["reason"]) == ("refused", 'It was deployed with compile="off".')
