"""A model that sleeps when nobody calls it, on a running installation: no call is dropped on its way down or up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
from sklearn.linear_model import LogisticRegression

import tenfold
from tenfold.client import Client
from tenfold.models import Model

from .conftest import Deploy, Installation, quiet, wait_for

pytestmark = pytest.mark.e2e

TIMES = 20
PATIENCE_SECONDS = 240
TWICE = """
class Model:
    def predict(self, inputs):
        return {"twice": inputs["x"] * 2}
"""
SLOW = """
import time

class Model:
    def predict(self, inputs):
        time.sleep(0.2)
        return {"twice": inputs["x"] * 2}
"""


@pytest.fixture
def deploy(deploy: Deploy) -> Deploy:
    return partial(deploy, app=False)


def replicas(model: Model) -> list[dict[str, Any]]:
    version = model.client.get("models", model.name, "versions", 1)
    found: list[dict[str, Any]] = version["deployment"]["replicas"]
    return found


def test_to_zero_and_back_under_light_load_nothing_is_dropped(
    installation: Installation, deploy: Callable[..., Model]
) -> None:
    """Pauses between calls are sometimes just long enough to fall asleep, and sometimes in the middle of it."""
    model = deploy(TWICE, "sleeper", scale_to_zero=1)
    headers = {"Authorization": f"Bearer {installation.profile['key']}"}
    deadline, calls = time.monotonic() + PATIENCE_SECONDS, 0
    with httpx.Client(headers=headers, timeout=60) as caller:
        while slept(installation) < TIMES:
            assert time.monotonic() < deadline, f"it slept {slept(installation)} times"
            answer = caller.post(model.url, json={"x": calls})
            assert (answer.status_code, answer.text) == (200, f'{{"twice":{2 * calls}}}'), answer.text
            calls += 1
            time.sleep(0.3 * (calls % 9))  # the load that is being tested
    assert calls >= TIMES


def test_a_crowd_at_the_door_of_a_sleeping_model_is_served(
    installation: Installation, deploy: Callable[..., Model]
) -> None:
    model = deploy(TWICE, "crowded", scale_to_zero=1)
    wait_for(lambda: model.status == "asleep", PATIENCE_SECONDS)
    headers = {"Authorization": f"Bearer {installation.profile['key']}"}
    with httpx.Client(headers=headers, timeout=60) as caller, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda x: caller.post(model.url, json={"x": x}), range(50)))
    assert [answer.json() for answer in answers] == [{"twice": 2 * x} for x in range(50)]
    assert model.status == "running"


def test_replicas_come_while_calls_wait_and_go_again(installation: Installation, deploy: Callable[..., Model]) -> None:
    model = deploy(SLOW, "busy", replicas=(1, 2))
    headers = {"Authorization": f"Bearer {installation.profile['key']}"}
    codes: set[int] = set()
    stop = threading.Event()

    def call_all_the_time() -> None:
        with httpx.Client(headers=headers, timeout=60) as caller:
            while not stop.is_set():
                codes.add(caller.post(model.url, json={"x": 1}).status_code)

    callers = [threading.Thread(target=call_all_the_time) for _ in range(8)]
    for caller in callers:
        caller.start()
    try:
        wait_for(lambda: ready_replicas(model) == 2, PATIENCE_SECONDS)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    wait_for(lambda: ready_replicas(model) == 1, PATIENCE_SECONDS)
    assert codes == {200}


def test_a_model_comes_back_from_a_fork_with_its_libraries_loaded(installation: Installation, client: Client) -> None:
    """Once a first worker has told which libraries that takes."""
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    model = tenfold.deploy(
        fitted, "forked", example=[[0.5]], client=client, progress=quiet(), app=False, scale_to_zero=1
    )
    headers = {"Authorization": f"Bearer {installation.profile['key']}"}
    try:
        with httpx.Client(headers=headers, timeout=60) as caller:

            def comes_back_forked() -> bool:
                wait_for(lambda: model.status == "asleep", PATIENCE_SECONDS)
                answer = caller.post(model.url, json={"inputs": [[1.0]]})
                assert answer.status_code == 200, answer.text
                return any(replica["forked"] and replica["state"] == "ready" for replica in replicas(model))

            wait_for(comes_back_forked, PATIENCE_SECONDS)
    finally:
        model.delete()


def ready_replicas(model: Model) -> int:
    version = model.client.get("models", model.name, "versions", model.version or 0)
    return sum(one["state"] == "ready" for one in version["deployment"]["replicas"])


def slept(installation: Installation) -> int:
    """How many replicas of the first test have ended: each time it slept, one did."""
    query = """
        select count(*) from replicas r join deployments d on d.id = r.deployment_id
        join model_versions v on v.id = d.version_id join models m on m.id = v.model_id
        where m.name = 'sleeper' and r.state = 'stopped'
    """
    with psycopg.connect(installation.database_url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
