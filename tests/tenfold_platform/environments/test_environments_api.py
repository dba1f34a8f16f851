"""Environments over HTTP: who uses them, building them again, removing them, and their names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy import environments as builder
from tenfold_deploy.environments import EnvironmentSpec, Interpreter
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.controller.main import Controller
from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.environments import service
from tenfold_platform.environments.folders import remove_orphans
from tenfold_platform.environments.tables import NamedEnvironmentTable
from tenfold_platform.errors import NotFound
from tenfold_platform.logs.tables import LogChunkTable


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def names(*requirements: str, **more: Any) -> dict[str, Any]:
    return {"requirements": list(requirements), **more}


# --- looking


def test_a_list_says_state_size_and_who_uses_each(client: httpx.Client, world: Any) -> None:
    by_model, by_app, idle = world.make("a"), world.make("b"), world.make("c")
    waiting = world.make("d", build=False)
    world.use_by_model(by_model)
    world.use_by_app(by_app)
    client.put("named-environments/nlp", json=names("b"))
    listed = {UUID(one["id"]): one for one in client.get("environments").json()["items"]}
    assert {one: listed[one]["used_by"] for one in listed} == {
        by_model: {"models": 1, "apps": 0},
        by_app: {"models": 0, "apps": 1},
        idle: {"models": 0, "apps": 0},
        waiting: {"models": 0, "apps": 0},
    }
    assert (listed[by_app]["names"], listed[idle]["names"]) == (["nlp"], [])
    assert listed[idle]["size_bytes"] > 0
    assert listed[waiting]["state"] == "pending"
    assert [UUID(one["id"]) for one in client.get("environments?state=pending").json()["items"]] == [waiting]
    assert {UUID(one["id"]) for one in client.get("environments?unused=true").json()["items"]} == {idle, waiting}
    assert client.get("environments?state=lost").status_code == 400


def test_a_release_uses_an_environment_once_whatever_it_calls_it(client: httpx.Client, world: Any) -> None:
    environment, other = world.make("a"), world.make("b")
    app_id = world.use_by_app(environment)
    with transaction(world.sessions) as session:
        release = session.scalars(select(ReleaseTable).where(ReleaseTable.app_id == app_id)).one()
        pinned = {"default": str(environment), "more": str(environment), "heavy": str(other)}
        release.bundle = {**release.bundle, "environments": pinned}
    listed = {UUID(one["id"]): one["used_by"]["apps"] for one in client.get("environments").json()["items"]}
    assert listed == {environment: 1, other: 1}
    assert client.get("environments?unused=true").json()["items"] == []


def test_one_has_its_lock_and_names_its_users(client: httpx.Client, world: Any) -> None:
    environment = world.make("a==1.0")
    world.use_by_model(environment, "hub", 3)
    world.use_by_app(environment, "desk")
    shown = client.get(f"environments/{environment}").json()
    assert shown["lock"].endswith("a==1.0\n")
    assert shown["models"] == [{"model": "hub", "version": 3}]
    assert shown["apps"] == [{"app": "desk", "release": 1}]
    assert shown["packages"] == [{"name": "a", "version": "1.0"}]


def test_the_log_says_which_requirement_failed_and_what_to_do(client: httpx.Client, world: Any) -> None:
    world.failing = "There is no a==9 on the package index"
    environment = world.make("a==9")
    shown = client.get(f"environments/{environment}").json()
    assert (shown["state"], shown["reason"], shown["hint"]) == ("failed", world.failing, "Loosen it.")
    text = "".join(line["text"] for line in client.get(f"environments/{environment}/logs").json()["items"])
    assert f"failed: {world.failing}\nLoosen it.\n" in text


# --- building again


def test_a_failed_one_is_tried_again_with_versions_chosen_anew(client: httpx.Client, world: Any) -> None:
    world.failing = "no"
    environment = world.make("a")
    world.change(environment, lock="# tenfold lock 1: python 3.11 test\na==0.1\n", lock_digest="old")
    world.failing = None
    assert client.post(f"environments/{environment}/rebuild").json()["state"] == "pending"
    world.run_engine()
    assert world.row(environment).state == "ready"
    assert "a==1.0" in world.row(environment).lock


def test_a_ready_one_is_made_anew_from_the_same_lock(client: httpx.Client, world: Any) -> None:
    environment = world.make("a")
    before = world.row(environment)
    world.newest = 2
    assert client.post(f"environments/{environment}/rebuild", json={}).status_code == 200
    assert world.row(environment).python_path == before.python_path  # workers can start from it meanwhile
    world.run_engine()
    after = world.row(environment)
    assert (after.state, after.lock, after.python_path) == ("ready", before.lock, before.python_path)
    assert world.built == [(before.lock_digest, False), (before.lock_digest, True)]


def test_one_that_cannot_be_made_anew_stays_as_it_was(client: httpx.Client, world: Any) -> None:
    environment = world.make("a")
    client.post(f"environments/{environment}/rebuild")
    world.failing = "The package index cannot be reached"
    world.run_engine()
    row = world.row(environment)
    assert row.state == "ready"
    assert row.reason == "It could not be built again, and stays as it was: The package index cannot be reached"
    world.failing = None
    client.post(f"environments/{environment}/rebuild")
    world.run_engine()
    assert (world.row(environment).state, world.row(environment).reason) == ("ready", "")


def test_a_damaged_one_that_cannot_be_made_anew_has_failed(client: httpx.Client, world: Any) -> None:
    environment = world.make("a")
    (world.folder(environment) / "tenfold-environment.json").write_text("damaged")
    client.post(f"environments/{environment}/rebuild")
    world.failing = "no"
    world.run_engine()
    assert (world.row(environment).state, world.row(environment).reason) == ("failed", "no")


# --- removing


def test_what_is_used_is_not_deleted_and_says_by_what(client: httpx.Client, world: Any) -> None:
    environment = world.make("a")
    world.use_by_model(environment, "hub", 3)
    world.use_by_app(environment, "desk")
    client.put("named-environments/nlp", json=names("a"))
    refused = client.delete(f"environments/{environment}")
    assert error_of(refused) == (409, "environment_in_use")
    message = refused.json()["error"]["message"]
    for user in ("the name nlp", "version 3 of hub", "release 1 of the app desk"):
        assert user in message


def test_what_nothing_uses_is_deleted_with_its_log_and_its_folder(client: httpx.Client, world: Any) -> None:
    environment = world.make("a")
    folder = world.folder(environment)
    assert client.delete(f"environments/{environment}").status_code == 204
    assert client.get(f"environments/{environment}").status_code == 404
    with world.sessions() as session:
        assert session.scalars(select(LogChunkTable)).all() == []
    assert remove_orphans(world.sessions, world.settings.environments_dir) == [folder]
    assert not folder.exists()


def test_a_pool_of_app_code_that_no_release_names_goes_with_its_environment(client: httpx.Client, world: Any) -> None:
    environment = world.make("a")
    app_id = world.use_by_app(environment)
    assert error_of(client.delete(f"environments/{environment}")) == (409, "environment_in_use")
    with transaction(world.sessions) as session:
        session.delete(session.get_one(AppTable, app_id))
    assert client.delete(f"environments/{environment}").status_code == 204
    with world.sessions() as session:
        assert session.scalars(select(DeploymentTable)).all() == []


def test_a_folder_stays_while_any_row_has_its_lock(client: httpx.Client, world: Any) -> None:
    one, same = world.make("a"), world.make("a>=0")
    world.change(same, lock_digest=world.row(one).lock_digest)
    folder = world.folder(one)
    client.delete(f"environments/{one}")
    remove_orphans(world.sessions, world.settings.environments_dir)
    assert folder.exists()
    client.delete(f"environments/{same}")
    remove_orphans(world.sessions, world.settings.environments_dir)
    assert not folder.exists()


def test_what_a_broken_off_build_left_goes_and_what_is_no_environment_stays(world: Any) -> None:
    folder = world.folder(world.make("a"))
    rest = folder.with_name(f".{folder.name}.building-abc")
    orphan = folder.with_name(".0123.removed-1-2")
    foreign = world.settings.environments_dir / "notes"
    for made in (rest, orphan, foreign):
        made.mkdir()
    remove_orphans(world.sessions, world.settings.environments_dir)
    assert [rest.exists(), orphan.exists(), foreign.exists(), folder.exists()] == [False, False, True, True]


def test_collecting_lists_first_and_then_deletes_what_nothing_uses(client: httpx.Client, world: Any) -> None:
    used, idle, building = world.make("a"), world.make("b"), world.make("c", build=False)
    world.failing = "no"
    failed = world.make("d")
    world.change(building, state="building")
    world.use_by_model(used)
    told = client.post("environments/collect", json={"dry_run": True}).json()
    assert {UUID(item["id"]) for item in told["items"]} == {idle, failed}
    assert told["size_bytes"] == world.row(idle).size_bytes
    assert world.ids() == {used, idle, failed, building}
    done = client.post("environments/collect").json()
    assert {UUID(item["id"]) for item in done["items"]} == {idle, failed}
    assert world.ids() == {used, building}
    assert client.post("environments/collect").json()["items"] == []


def test_collecting_can_leave_what_was_asked_for_lately(client: httpx.Client, world: Any) -> None:
    old, new = world.make("a"), world.make("b")
    world.change(old, wanted_at=func.now() - timedelta(days=8))
    done = client.post("environments/collect", json={"unused_days": 7}).json()
    assert [UUID(item["id"]) for item in done["items"]] == [old]
    assert world.ids() == {new}


def test_asking_for_one_again_keeps_it(world: Any) -> None:
    environment = world.make("a")
    world.change(environment, wanted_at=func.now() - timedelta(days=8))
    world.make("a")
    with transaction(world.sessions) as session:
        assert service.collect(session, unused_for=timedelta(days=7)) == []


def test_one_that_is_asked_for_at_this_moment_is_not_collected(world: Any) -> None:
    environment = world.make("a")
    with transaction(world.sessions) as asking:
        service.get_or_create(asking, world.workspace_id, EnvironmentSpec(None, ("a",)))
        with transaction(world.sessions) as collecting:
            assert service.collect(collecting, unused_for=timedelta(0)) == []
    assert world.ids() == {environment}


def test_the_controller_collects_after_the_days_of_the_setting(world: Any, make_workspace: Callable[..., Any]) -> None:
    old, new = world.make("a"), world.make("b")
    folder = world.folder(old)
    world.change(old, wanted_at=func.now() - timedelta(days=15))
    kept = world.settings.model_copy(update={"environments_kept_days": 0})
    for settings, left in ((kept, {old, new}), (world.settings, {new})):
        controller = Controller(world.sessions, _NoScheduler(), settings)  # type: ignore[arg-type]
        controller.collect()
        controller.close()
        assert world.ids() == left
    assert not folder.exists()


class _NoScheduler:
    """Collecting has nothing to do with workers."""


# --- names


def test_a_name_is_made_edited_and_deleted(client: httpx.Client, world: Any) -> None:
    made = client.put("named-environments/nlp", json=names("a  # why", "", description="texts")).json()
    assert (made["environment"]["state"], made["coming"]) == ("pending", None)
    world.run_engine()
    first = client.get("named-environments/nlp").json()
    assert (first["requirements"], first["description"], first["updated_by"]) == (["a  # why", ""], "texts", "a key")
    assert (first["environment"]["state"], first["environment"]["names"]) == ("ready", ["nlp"])

    edited = client.put("named-environments/nlp", json=names("a", "b")).json()
    assert edited["environment"]["id"] == first["environment"]["id"]
    assert edited["coming"]["state"] == "pending"
    assert edited["description"] == "texts"
    world.run_engine()
    after = client.get("named-environments/nlp").json()
    assert after["coming"] is None
    assert after["environment"]["requirements"] == ["a", "b"]
    assert [one["name"] for one in client.get("named-environments").json()["items"]] == ["nlp"]

    assert client.delete("named-environments/nlp").status_code == 204
    assert error_of(client.get("named-environments/nlp")) == (404, "unknown_environment")
    assert world.ids() == {UUID(first["environment"]["id"]), UUID(after["environment"]["id"])}


def test_an_edit_whose_build_fails_leaves_the_name_where_it_was(client: httpx.Client, world: Any) -> None:
    client.put("named-environments/nlp", json=names("a"))
    world.run_engine()
    world.failing = "There is no b on the package index"
    client.put("named-environments/nlp", json=names("b"))
    world.run_engine()
    shown = client.get("named-environments/nlp").json()
    assert shown["environment"]["requirements"] == ["a"]
    assert (shown["coming"]["state"], shown["coming"]["reason"]) == ("failed", world.failing)
    client.post("environments/collect")  # the reason is not lost with what nothing points at
    assert client.get("named-environments/nlp").json()["coming"]["state"] == "failed"
    back = client.put("named-environments/nlp", json=names("a")).json()
    assert (back["environment"]["requirements"], back["coming"]) == (["a"], None)


def test_a_first_build_that_failed_gives_way_to_the_next_edit(client: httpx.Client, world: Any) -> None:
    world.failing = "no"
    client.put("named-environments/nlp", json=names("a"))
    world.run_engine()
    world.failing = None
    edited = client.put("named-environments/nlp", json=names("b")).json()
    assert edited["environment"]["requirements"] == ["b"]


def test_the_engine_moves_a_name_without_anybody_looking(client: httpx.Client, world: Any) -> None:
    client.put("named-environments/nlp", json=names("a"))
    client.put("named-environments/nlp", json=names("b"))
    world.run_engine()
    with world.sessions() as session:
        pointed = session.scalars(select(NamedEnvironmentTable.environment_id)).one()
    assert world.row(pointed).requirements == ["b"]


def test_only_an_edit_says_that_it_was_edited(client: httpx.Client, world: Any) -> None:
    client.put("named-environments/nlp", json=names("a"))
    edited = client.put("named-environments/nlp", json=names("b")).json()
    world.run_engine()
    after = client.get("named-environments/nlp").json()
    assert (after["environment"]["requirements"], after["coming"]) == (["b"], None)
    assert after["updated_at"] == edited["updated_at"]


def test_a_list_of_names_reads_the_releases_once(client: httpx.Client, world: Any, engine: Engine) -> None:
    world.use_by_app(world.make("a"), "desk")
    for name in ("one", "two", "three"):
        client.put(f"named-environments/{name}", json=names(name))
    client.put("named-environments/nlp", json=names("a"))
    client.put("named-environments/three", json=names("three", "more"))
    read: list[str] = []

    def note(*given: Any) -> None:
        read.append(given[2])

    event.listen(engine, "before_cursor_execute", note)
    listed = client.get("named-environments").json()["items"]
    event.remove(engine, "before_cursor_execute", note)
    assert [(one["name"], one["environment"]["used_by"]["apps"]) for one in listed] == [
        ("nlp", 1),
        ("one", 0),
        ("three", 0),
        ("two", 0),
    ]
    assert [one["coming"] is not None for one in listed] == [False, False, True, False]
    assert sum("app_releases" in statement for statement in read) == 1


def test_every_wrong_requirement_is_named_at_once(client: httpx.Client) -> None:
    refused = client.put("named-environments/nlp", json=names("a", "-r x", "/etc/passwd", python_version="4"))
    assert error_of(refused) == (400, "bad_requirement")
    paths = [detail["path"] for detail in refused.json()["error"]["details"]]
    assert paths == ["python_version", "requirements[1]", "requirements[2]"]
    assert client.put("named-environments/Not%20a%20name", json=names("a")).status_code == 400


def test_what_a_model_or_an_app_gets_for_a_name(client: httpx.Client, world: Any) -> None:
    client.put("named-environments/nlp", json=names("a"))
    world.run_engine()
    client.put("named-environments/nlp", json=names("b"))
    with transaction(world.sessions) as session:
        assert service.named(session, world.workspace_id, "nlp").requirements == ["a"]
    world.run_engine()
    with transaction(world.sessions) as session:
        assert service.named(session, world.workspace_id, "nlp").requirements == ["b"]
        with pytest.raises(NotFound, match="There is no environment named other"):
            service.named(session, world.workspace_id, "other")


def test_an_upgrade_makes_another_environment_and_the_name_follows(client: httpx.Client, world: Any) -> None:
    client.put("named-environments/nlp", json=names("a"))
    world.run_engine()
    before = client.get("named-environments/nlp").json()["environment"]
    world.use_by_model(UUID(before["id"]))
    world.newest = 2
    coming = client.post(f"environments/{before['id']}/rebuild", json={"upgrade": True}).json()
    assert (coming["id"] != before["id"], coming["state"]) == (True, "pending")
    assert client.get("named-environments/nlp").json()["environment"]["id"] == before["id"]
    world.run_engine()
    after = client.get("named-environments/nlp").json()["environment"]
    assert after["id"] == coming["id"]
    assert "a==2.0" in world.row(UUID(after["id"])).lock
    assert "a==1.0" in world.row(UUID(before["id"])).lock
    assert world.make("a") == UUID(after["id"])  # who asks for the same from now on gets the newer one


def test_only_what_has_a_name_can_be_upgraded(client: httpx.Client, world: Any) -> None:
    refused = client.post(f"environments/{world.make('a')}/rebuild", json={"upgrade": True})
    assert error_of(refused) == (409, "environment_not_named")


def test_other_workspaces_see_nothing(
    client: httpx.Client,
    world: Any,
    make_workspace: Callable[..., Any],
    make_key: Callable[..., Any],
    as_key: Callable[[str], httpx.Client],
) -> None:
    environment = world.make("a")
    client.put("named-environments/nlp", json=names("a"))
    other = as_key(make_key(make_workspace("other"), "admin").text)
    other.base_url = other.base_url.join("/api/v1/workspaces/other/")
    for method, path in (
        ("GET", f"environments/{environment}"),
        ("GET", f"environments/{environment}/logs"),
        ("POST", f"environments/{environment}/rebuild"),
        ("DELETE", f"environments/{environment}"),
        ("GET", "named-environments/nlp"),
        ("DELETE", "named-environments/nlp"),
    ):
        assert other.request(method, path).status_code == 404, path
    assert other.post("environments/collect").json()["items"] == []
    assert world.ids() == {environment}


# --- the machine


def test_python_versions_say_where_they_come_from(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    own = builder.own_python_version()
    path = builder.find_python(None).path
    there = [Interpreter(path, f"{own}.7"), Interpreter(path, "3.9.1")]
    monkeypatch.setattr(builder, "python_versions", lambda _: there)
    monkeypatch.setattr(builder, "installable_pythons", lambda _: ["3.9.25", "3.99.2"])
    assert client.get("python-versions").json() == [
        {"version": "3.9", "full": "3.9.1", "source": "machine", "is_default": False},
        {"version": own, "full": f"{own}.7", "source": "machine", "is_default": True},
        {"version": "3.99", "full": "3.99.2", "source": "download", "is_default": False},
    ]


def test_the_wheel_cache_is_measured_and_emptied(
    client: httpx.Client,
    world: Any,
    make_user: Callable[..., Any],
    as_user: Callable[..., httpx.Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    monkeypatch.delenv("UV_NO_CACHE", raising=False)
    wheels = world.settings.wheels_dir
    address = f"{world.settings.console_url}/api/v1/system/wheel-cache"
    assert client.get(address).json() == {"path": str(wheels), "size_bytes": 0}
    (wheels / "archive-v0" / "one").mkdir(parents=True)
    (wheels / "archive-v0" / "one" / "file").write_bytes(b"x" * 100_000)
    size = client.get(address).json()["size_bytes"]
    assert size >= 100_000
    assert client.post(f"{address}/prune").status_code == 403  # a key may look only
    operator = as_user(make_user(is_operator=True))
    done = operator.post(f"{address}/prune", json={"everything": True}).json()
    assert done["freed_bytes"] >= 100_000
    assert not (wheels / "archive-v0" / "one" / "file").exists()


@pytest.mark.parametrize("sessions_at_once", [4])
def test_collecting_and_asking_at_once_end_well(
    world: Any, sessions: sessionmaker[Session], sessions_at_once: int
) -> None:
    """Whoever loses, nobody gets an environment that is gone."""
    environment_ids: list[UUID] = []
    faults: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(10):
                with transaction(sessions) as session:
                    found = service.get_or_create(session, world.workspace_id, EnvironmentSpec(None, ("a",)))
                    found.state = "ready"
                    session.flush()
                    environment_ids.append(found.id)
        except BaseException as error:
            faults.append(error)

    def collect() -> None:
        try:
            for _ in range(10):
                with transaction(sessions) as session:
                    service.collect(session, unused_for=timedelta(0))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for work in [ask, collect] * (sessions_at_once // 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(environment_ids) == 10 * sessions_at_once // 2
