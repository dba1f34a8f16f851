"""Secrets over HTTP, and what a stolen database holds of them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.environments import EnvironmentSpec
from tenfold_platform import log
from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.environments import service as environments
from tenfold_platform.models.tables import ModelTable, VersionTable
from tenfold_platform.secrets import service
from tenfold_platform.secrets.sealing import CannotOpen, Key, Keyring
from tenfold_platform.secrets.tables import SecretTable
from tenfold_platform.settings import Settings

PLANTED = "planted-7f3a9c-value"
Clients = Callable[[str], httpx.Client]


@pytest.fixture
def workspace(make_workspace: Callable[..., Any]) -> Any:
    return make_workspace("acme")


@pytest.fixture
def client(workspace: Any, make_key: Callable[..., Any], as_key: Clients) -> httpx.Client:
    client = as_key(make_key(workspace, "deploy").text)
    client.base_url = client.base_url.join("/api/v1/workspaces/acme/")
    return client


def test_set_listed_set_again_and_deleted(client: httpx.Client) -> None:
    made = client.put("secrets/HF_TOKEN", json={"value": PLANTED, "description": "for the hub"})
    assert made.status_code == 200
    assert made.json()["name"] == "HF_TOKEN"
    again = client.put("secrets/HF_TOKEN", json={"value": "another"}).json()
    assert again["description"] == "for the hub"
    assert again["updated_at"] >= made.json()["updated_at"]
    listed = client.get("secrets").json()["items"]
    assert [(one["name"], one["updated_by"], one["used_by"]) for one in listed] == [("HF_TOKEN", "a key", [])]
    assert client.delete("secrets/HF_TOKEN").status_code == 204
    assert client.delete("secrets/HF_TOKEN").status_code == 404
    assert client.get("secrets").json()["items"] == []


@pytest.mark.parametrize("body", [{"value": 7}, {"value": [PLANTED]}, {"value": PLANTED, "more": 1}, {"value": ""}, {}])
def test_a_wrong_body_is_refused_without_repeating_it(client: httpx.Client, body: dict[str, Any]) -> None:
    refused = client.put("secrets/A", json=body)
    assert refused.status_code == 400
    assert PLANTED not in refused.text


@pytest.mark.parametrize("name", ["a%20b", "..", "a%2Fb", ".hidden", "%F0%9F%98%80", "x" * 300])
def test_a_name_that_could_not_be_a_files(client: httpx.Client, name: str) -> None:
    assert client.put(f"secrets/{name}", json={"value": "v"}).status_code in (400, 404)


@pytest.mark.parametrize("value", ["nought\x00inside", "é" * 40_000])
def test_a_value_that_cannot_be_kept(client: httpx.Client, value: str) -> None:
    refused = client.put("secrets/A", json={"value": value}).json()["error"]
    assert refused["code"] == "bad_secret"
    assert value[:4] not in json.dumps(refused, ensure_ascii=False)


def test_who_may(make_user: Callable[..., Any], as_user: Callable[..., httpx.Client], workspace: Any) -> None:
    answers = {}
    for role in ("admin", "editor", "operator", "viewer"):
        person = as_user(make_user(workspace, role))
        put = person.put("/api/v1/workspaces/acme/secrets/A", json={"value": "v"})
        answers[role] = (put.status_code, person.get("/api/v1/workspaces/acme/secrets").status_code)
    assert answers == {"admin": (200, 200), "editor": (200, 200), "operator": (403, 200), "viewer": (403, 200)}


def test_another_workspace_has_secrets_of_its_own(
    client: httpx.Client,
    sessions: sessionmaker[Session],
    settings: Settings,
    make_workspace: Callable[..., Any],
    workspace: Any,
) -> None:
    client.put("secrets/A", json={"value": PLANTED})
    other = make_workspace("other")
    with sessions() as session:
        assert service.missing(session, other.id, ["A"]) == ["A"]
        assert service.missing(session, workspace.id, ["B", "A", "B"]) == ["B"]


def test_no_key_no_secret(client: httpx.Client, app: Any) -> None:
    app.state.services.settings.secrets_key = None
    refused = client.put("secrets/A", json={"value": "v"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "secrets_key_missing")


def test_running_versions_that_declare_it_are_named(
    client: httpx.Client, sessions: sessionmaker[Session], workspace: Any
) -> None:
    with transaction(sessions) as session:
        environment = environments.get_or_create(session, workspace.id, EnvironmentSpec(None, ()))
        model = ModelTable(workspace_id=workspace.id, name="hub")
        session.add(model)
        session.flush()
        for number, running, names in ((1, 0, ["A"]), (2, 1, ["A", "B"]), (3, 1, [])):
            version = VersionTable(
                workspace_id=workspace.id,
                model_id=model.id,
                number=number,
                package_digest="0" * 64,
                files=[],
                size_bytes=0,
                config={"secrets": dict.fromkeys(names)},
                memory_bytes=1,
                environment_id=environment.id,
            )
            session.add(version)
            session.flush()
            session.add(
                DeploymentTable(
                    workspace_id=workspace.id,
                    kind="model",
                    version_id=version.id,
                    environment_id=environment.id,
                    desired_replicas=running,
                )
            )
    answer = client.put("secrets/A", json={"value": "v"}).json()
    assert answer["used_by"] == [{"model": "hub", "version": 2}]


def test_every_answer_and_every_log_line_is_free_of_the_value(client: httpx.Client) -> None:
    written = io.StringIO()
    log.configure_logging("test", stream=written)
    answers = [
        client.put("secrets/A", json={"value": PLANTED}),
        client.put("secrets/A", json={"value": PLANTED, "description": "again"}),
        client.put("secrets/A", json={"value": PLANTED, "wrong": True}),
        client.put("secrets/a b", json={"value": PLANTED}),
        client.put("secrets/A", content=json.dumps({"value": PLANTED}), headers={"Content-Type": "text/plain"}),
        client.get("secrets"),
        client.get("secrets/A"),
        client.get("models"),
        client.delete("secrets/A"),
    ]
    assert PLANTED not in "".join(answer.text + str(answer.headers) for answer in answers)
    assert PLANTED not in written.getvalue()


def test_a_dump_of_the_database_alone_yields_nothing(
    client: httpx.Client, sessions: sessionmaker[Session], settings: Settings
) -> None:
    client.put("secrets/A", json={"value": PLANTED})
    with sessions() as session:
        tables = session.scalars(text("select tablename from pg_tables where schemaname = 'public'")).all()
        dumped = "".join(
            str(row) for table in tables for row in session.execute(text(f'select t::text from "{table}" t'))
        )
    assert "acme" in dumped
    raw = PLANTED.encode()
    assert settings.secrets_key is not None
    key = settings.secrets_key.get_secret_value()
    for spelling in (PLANTED, raw.hex(), base64.b64encode(raw).decode()[:-4], key, key.upper()):
        assert spelling not in dumped


def test_a_row_that_is_moved_in_the_database_does_not_open(
    client: httpx.Client, sessions: sessionmaker[Session], settings: Settings, workspace: Any
) -> None:
    client.put("secrets/A", json={"value": PLANTED})
    ring = Keyring.of(settings)
    with transaction(sessions) as session:
        session.execute(text("update secrets set name = 'B'"))
    with sessions() as session, pytest.raises(CannotOpen, match="The secret B"):
        service.open_declared(session, ring, workspace.id, ["B"])


def test_exactly_the_declared_ones_are_opened(
    client: httpx.Client, sessions: sessionmaker[Session], settings: Settings, workspace: Any
) -> None:
    for name in ("A", "B", "C"):
        client.put(f"secrets/{name}", json={"value": f"value of {name}"})
    with sessions() as session:
        opened = service.open_declared(session, Keyring.of(settings), workspace.id, ["C", "A", "D", "C"])
    assert (opened.values, opened.missing) == ({"A": "value of A", "C": "value of C"}, ("D",))
    assert "value of" not in repr(opened)


def test_a_new_key_takes_the_place_of_the_old_one(
    client: httpx.Client, sessions: sessionmaker[Session], settings: Settings, workspace: Any
) -> None:
    client.put("secrets/A", json={"value": PLANTED})
    old, new = Keyring.of(settings).keys[0], Key(b"n" * 32)
    with transaction(sessions) as session:
        assert service.reseal_all(session, Keyring([old])) == 0
        assert service.reseal_all(session, Keyring([new, old])) == 1
        assert service.reseal_all(session, Keyring([new, old])) == 0
    with sessions() as session:
        assert service.open_declared(session, Keyring([new]), workspace.id, ["A"]).values == {"A": PLANTED}
        before = session.get_one(SecretTable, (workspace.id, "A")).sealed
    with transaction(sessions) as session:  # one sealed with a key that is gone keeps nobody from anything
        assert service.reseal_all(session, Keyring([Key(b"x" * 32), old])) == 0
    with sessions() as session:
        assert session.get_one(SecretTable, (workspace.id, "A")).sealed == before
