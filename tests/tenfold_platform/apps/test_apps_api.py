"""Apps over HTTP: drafts with all their problems at once, releases that pin, access and links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.apps import service
from tenfold_platform.apps.tables import AppTable, ReleaseState, ReleaseTable
from tenfold_platform.auth.tokens import TokenKind, is_link_key, verify
from tenfold_platform.db import transaction
from tenfold_platform.settings import Settings

FILES = {
    "app.yaml": "app: 1\nname: triage\ntitle: Triage\nhome: main\n",
    "worklets/sort.yaml": (
        "worklet: 1\nname: sort\ninput: {text: str}\noutput: {label: str}\nnodes:\n"
        "  clean:\n    pre: code/text.py:clean\n    in: {text: =input.text}\n"
        "return: {label: =clean}\ntriggers:\n  api: {http: true}\n"
    ),
    "code/text.py": "def clean(text: str) -> str:\n    return text.strip()\n",
    "views/main.yaml": (
        "view: 1\nname: main\ntitle: Sort\nqueries:\n  go: {worklet: sort, run: manual, in: {text: =text.value}}\n"
        "nodes:\n  text: {type: text-input, at: [page, body, a0], props: {label: Text}}\n"
        "  ok: {type: button, at: [page, body, a1], props: {label: Sort}, on: {click: [{run: go}]}}\n"
        "  out: {type: json, at: [page, body, a2], props: {value: =go.data, label: Result}}\n"
    ),
}


@pytest.fixture
def world(make_workspace: Callable[..., Any], make_key: Callable[..., Any], as_key: Callable[..., Any]) -> Any:
    class World:
        workspace = make_workspace("acme")
        client: httpx.Client = as_key(make_key(workspace, "deploy").text)
        url = "/api/v1/workspaces/acme/apps"

        def push(self, files: dict[str, str] = FILES, name: str = "triage", **more: Any) -> httpx.Response:
            body = {"files": [{"path": path, "content": text} for path, text in files.items()], **more}
            return self.client.put(f"{self.url}/{name}/draft", json=body)

        def release(self) -> httpx.Response:
            return self.client.post(f"{self.url}/triage/releases", json={"note": "first"})

        def get(self, path: str = "") -> Any:
            answer = self.client.get(f"{self.url}{path}")
            assert answer.status_code == 200, answer.text
            return answer.json()

    return World()


def make_live(sessions: sessionmaker[Session], number: int) -> None:
    """What the controller would do once code and pool were ready."""
    with transaction(sessions) as session:
        release = session.scalars(select(ReleaseTable).where(ReleaseTable.number == number)).one()
        release.state = ReleaseState.READY
        session.flush()
        service.make_live(session, release)


def test_a_push_makes_the_app_and_says_what_changed(world: Any) -> None:
    pushed = world.push().json()
    assert pushed["revision"] == 1
    assert pushed["changed"] == sorted(FILES)
    changed = {**FILES, "code/text.py": "def clean(text: str) -> str:\n    return text.lower()\n"}
    assert world.push(changed).json() == {
        "revision": 2, "changed": ["code/text.py"], "problems": [], "warnings": [],
    }  # fmt: skip
    draft = world.get("/triage/draft")
    assert {file["path"]: file["content"] for file in draft["files"]} == changed


def test_pushing_the_same_again_changes_nothing(world: Any) -> None:
    world.push()
    assert world.push().json()["changed"] == []
    assert world.get("/triage/draft")["revision"] == 1


def test_all_problems_of_all_files_are_reported_at_once_and_nothing_is_saved(world: Any) -> None:
    broken = {
        **FILES,
        "worklets/sort.yaml": FILES["worklets/sort.yaml"].replace("=input.text", "=input.txt"),
        "views/main.yaml": FILES["views/main.yaml"].replace("type: button", "type: buton"),
        "code/text.py": "def clean(text:\n",
    }
    answer = world.push(broken)
    assert answer.status_code == 422
    paths = " ".join(detail["path"] for detail in answer.json()["error"]["details"])
    for file in ("worklets/sort.yaml", "views/main.yaml", "code/text.py"):
        assert file in paths
    assert world.client.get(f"{world.url}/triage").status_code == 404


@pytest.mark.parametrize("content", ["not base64", "caf\u00e9"])
def test_content_that_is_not_base64_is_refused(world: Any, content: str) -> None:
    body = {"files": [{"path": "code/a.bin", "content": content, "encoding": "base64"}]}
    answer = world.client.put(f"{world.url}/triage/draft", json=body)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "The content of code/a.bin is not base64.")


def test_check_says_the_same_and_saves_nothing(world: Any) -> None:
    body = {"files": [{"path": "app.yaml", "content": "app: 1\nname: other\n"}]}
    answer = world.client.post(f"{world.url}/triage/check", json=body)
    assert answer.status_code == 200
    assert answer.json()["problems"]
    assert world.get()["items"] == []


def test_a_draft_that_moved_on_is_not_overwritten(world: Any) -> None:
    world.push()
    world.push({**FILES, "README.md": "hello"}, revision=1)
    answer = world.push(FILES, revision=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "draft_moved")
    assert any(file["path"] == "README.md" for file in world.get("/triage/draft")["files"])


def test_a_release_pins_environment_and_code_and_waits_for_its_pool(
    world: Any, sessions: sessionmaker[Session]
) -> None:
    world.push()
    answer = world.release()
    assert answer.status_code == 201, answer.text
    release = answer.json()
    assert (release["number"], release["state"], release["live"]) == (1, "preparing", False)
    with sessions() as session:
        bundle = session.scalars(select(ReleaseTable)).one().bundle
    assert list(bundle["environments"]) == ["default"]
    assert bundle["code_digest"]
    assert bundle["views"]["main"]["queries"]["go"]["target"] == "sort"
    assert "sort" not in str(bundle["views"]["main"]["document"]["queries"])


def test_a_release_is_not_changed_by_a_later_push_and_can_be_gone_back_to(
    world: Any, sessions: sessionmaker[Session]
) -> None:
    world.push()
    world.release()
    world.push({**FILES, "code/text.py": FILES["code/text.py"].replace("strip", "lower")})
    world.release()
    diff = world.get("/triage/releases/2/diff")
    assert [(file["path"], file["change"]) for file in diff["files"]] == [("code/text.py", "changed")]
    assert "+    return text.lower()" in diff["files"][0]["diff"]
    make_live(sessions, 1)
    make_live(sessions, 2)
    answer = world.client.put(f"{world.url}/triage/live", json={"release": 1})
    assert answer.json()["live_release"] == 1


def test_a_release_that_is_not_ready_cannot_go_live(world: Any) -> None:
    world.push()
    world.release()
    answer = world.client.put(f"{world.url}/triage/live", json={"release": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "release_not_ready")


def test_a_model_that_is_not_there_is_said_on_save(world: Any) -> None:
    with_model = FILES["worklets/sort.yaml"].replace("return:", "  score:\n    model: sorter\n    in: =clean\nreturn:")
    answer = world.push({**FILES, "worklets/sort.yaml": with_model})
    assert answer.status_code == 422
    problems = answer.json()["error"]["details"]
    assert any(p["path"].startswith("worklets/sort.yaml") and "sorter" in p["message"] for p in problems)


def test_the_page_of_an_app_shows_its_graph_views_and_endpoint(world: Any) -> None:
    world.push()
    world.release()
    app = world.get("/triage")
    (worklet,) = app["worklets"]
    assert worklet["endpoint"].endswith("/v1/acme/apps/triage/worklets/sort")
    assert [node["id"] for node in worklet["graph"]["nodes"]] == ["input", "clean", "return"]
    assert [port["name"] for port in worklet["input"]] == ["text"]
    assert [view["name"] for view in app["views"]] == ["main"]
    assert app["draft_changed"] is False


def test_a_worklet_without_an_http_trigger_has_no_endpoint(world: Any) -> None:
    inner = FILES["worklets/sort.yaml"].replace("triggers:\n  api: {http: true}\n", "")
    world.push({**FILES, "worklets/sort.yaml": inner})
    world.release()
    (worklet,) = world.get("/triage")["worklets"]
    assert (worklet["name"], worklet["endpoint"]) == ("sort", None)


def test_a_share_link_opens_one_app_and_can_be_revoked(
    world: Any, sessions: sessionmaker[Session], settings: Settings
) -> None:
    world.push()
    world.release()
    assert "#" not in world.get("/triage")["url"]
    first = world.client.put(f"{world.url}/triage/access", json={"access": "link"}).json()["url"]
    key = first.partition("#k=")[2]
    with sessions() as session:
        app = session.scalars(select(AppTable)).one()
        assert is_link_key(settings.signing_key.get_secret_value(), key, app.id, app.link_generation)
    second = world.client.post(f"{world.url}/triage/link/rotate").json()["url"]
    assert second.partition("#k=")[2] != key


def test_a_member_opens_a_view_with_a_token_in_the_fragment(
    world: Any, sessions: sessionmaker[Session], settings: Settings
) -> None:
    world.push()
    world.release()
    assert world.client.post(f"{world.url}/triage/views/main/open").status_code == 404
    make_live(sessions, 1)
    url = world.client.post(f"{world.url}/triage/views/main/open").json()["url"]
    address, _, token = url.partition("#t=")
    assert address.endswith("/acme/triage/main")
    opened = verify(settings.signing_key.get_secret_value(), token, [TokenKind.OPEN])
    assert opened.workspace_id == world.workspace.id
    assert opened.role == "viewer"  # without one it would pass for a visitor's


def test_another_workspaces_app_looks_like_a_missing_one(
    world: Any, make_workspace: Callable[..., Any], make_key: Callable[..., Any], as_key: Callable[..., Any]
) -> None:
    world.push()
    stranger = as_key(make_key(make_workspace("other"), "admin").text)
    for path in ("triage", "missing"):
        answer = stranger.get(f"{world.url}/{path}")
        assert answer.status_code == 404
    bodies = [stranger.get(f"{world.url}/{path}").json()["error"] for path in ("triage", "missing")]
    assert {body["message"] for body in bodies} == {bodies[0]["message"]}


def test_a_release_pins_what_is_under_a_named_environment_or_says_that_the_name_is_missing(
    world: Any, sessions: sessionmaker[Session]
) -> None:
    world.push({**FILES, "app.yaml": FILES["app.yaml"] + "environment: nlp\n"})
    refused = world.release().json()["error"]
    assert refused["code"] == "invalid_document"
    (problem,) = refused["details"]
    assert (problem["path"], problem["code"]) == ("app.yaml:environments.default", "unknown_environment")
    assert "There is no environment named nlp" in problem["message"]
    named = "/api/v1/workspaces/acme/named-environments/nlp"
    environment = world.client.put(named, json={"requirements": ["pandas"]}).json()["environment"]
    assert world.release().status_code == 201
    with sessions() as session:
        release = session.scalars(select(ReleaseTable)).one()
    assert release.bundle["environments"] == {"default": environment["id"]}
    used_by = world.client.get(f"/api/v1/workspaces/acme/environments/{environment['id']}").json()["apps"]
    assert used_by == [{"app": "triage", "release": 1}]
