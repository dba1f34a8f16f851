"""The triage example: an app folder, pushed, called by a service, looked at in the studio."""

from __future__ import annotations

import sys
from typing import Any

import httpx
import pytest

from .conftest import ROOT, Installation, wait_for

pytestmark = pytest.mark.e2e

FOLDER = ROOT / "examples" / "triage"


@pytest.fixture(scope="module")
def endpoint(installation: Installation) -> str:
    installation.run(sys.executable, FOLDER / "model.py")
    said = installation.tenfold("app", "push", FOLDER).stdout
    assert "triage" in said
    with installation.api() as api:
        app = wait_for(lambda: _live(api.get("/apps/triage").json()), 60)
    (worklet,) = app["worklets"]
    return str(worklet["endpoint"])


def _live(app: dict[str, Any]) -> dict[str, Any] | None:
    return app if app.get("live_release") else None


def call(endpoint: str, body: Any, key: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(endpoint, json=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def foreign_key(installation: Installation) -> str:
    """Of another workspace, made by the operator in the studio's API."""
    with httpx.Client(base_url=installation.profile["url"], headers={"Origin": installation.profile["url"]}) as browser:
        token = installation.sign_in_link.partition("#")[2]
        assert browser.post("/api/v1/auth/redeem", json={"token": token}).status_code == 200
        made = browser.post("/api/v1/workspaces", json={"name": "elsewhere", "title": "Elsewhere"})
        assert made.status_code in (200, 201), made.text
        key = browser.post("/api/v1/workspaces/elsewhere/keys", json={"name": "k", "scopes": ["admin"]})
        assert key.status_code in (200, 201), key.text
        return str(key.json()["key"])


def test_a_service_gets_its_answer(endpoint: str, installation: Installation) -> None:
    key = installation.profile["key"]
    sure = call(endpoint, {"text": "I was charged twice on my invoice, please refund the payment"}, key)
    assert sure.status_code == 200, sure.text
    unsure = call(endpoint, {"text": "hm"}, key)
    assert unsure.status_code == 200, unsure.text
    assert sure.json() != unsure.json()


def test_without_a_key_401_and_with_anothers_the_same_404_as_for_a_missing_app(
    endpoint: str, installation: Installation, foreign_key: str
) -> None:
    body = {"text": "hello"}
    assert call(endpoint, body, None).status_code == 401
    assert call(endpoint, body, installation.profile["key"][:-1] + "!").status_code == 401
    foreign = call(endpoint, body, foreign_key)
    missing = call(endpoint.replace("/apps/triage/", "/apps/no-such-app/"), body, installation.profile["key"])
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert _without_request_id(foreign) == _without_request_id(missing)


def _without_request_id(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error | {"request_id": ""}


def test_a_wrong_field_is_a_400_that_names_it(endpoint: str, installation: Installation) -> None:
    key = installation.profile["key"]
    for body, field in (({"txt": "hello"}, "txt"), ({"text": 5}, "text"), ({}, "text")):
        answer = call(endpoint, body, key)
        assert answer.status_code == 400
        assert field in {detail["path"] for detail in answer.json()["error"]["details"]}


def test_the_run_shows_each_step_with_its_time(endpoint: str, installation: Installation) -> None:
    answer = call(endpoint, {"text": "the app crashes when I log in"}, installation.profile["key"])
    run_id = answer.headers["X-Tenfold-Run"]
    with installation.api() as api:

        def recorded() -> Any:
            found = api.get(f"/runs/{run_id}")
            return found.json() if found.status_code == 200 else None

        run = wait_for(recorded, 10)
    assert run["state"] == "succeeded"
    assert run["output"] == answer.json()
    kinds = {step["kind"] for step in run["steps"]}
    assert kinds >= {"pre", "model", "branch", "post"}
    done = [step for step in run["steps"] if step["state"] == "succeeded"]
    assert all(step["duration_ms"] is not None for step in done)
    assert all(step["input"] is not None for step in done if step["kind"] in ("pre", "model", "post"))


def test_its_openapi_document_describes_the_endpoint(endpoint: str, installation: Installation) -> None:
    url = endpoint.partition("/worklets/")[0] + "/openapi.json"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {installation.profile['key']}"})
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    path = endpoint.removeprefix(installation.gateway)
    assert "post" in document["paths"][path]


def test_pulled_again_it_is_the_same_folder(installation: Installation, endpoint: str, tmp_path: Any) -> None:
    installation.tenfold("app", "pull", "triage", tmp_path / "triage")
    for file in ("app.yaml", "worklets/route.yaml"):
        assert (tmp_path / "triage" / file).read_text() == (FOLDER / file).read_text()
