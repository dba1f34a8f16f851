"""Models over HTTP, up to the moment when engine and controller take over."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.apps.tables import ReleaseTable
from tenfold_platform.controller import releases
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.migrations import migrate
from tenfold_platform.models import service
from tenfold_platform.models.tables import VersionTable
from tenfold_platform.settings import Settings

SCHEMA = {"form": "table", "fields": [{"name": "x", "type": "float"}], "output": {"kind": "regression"}}


def test_a_version_is_made_and_waits_for_its_environment(world: Any) -> None:
    answer = world.create(schema=SCHEMA, example={"inputs": [{"x": 1}]})
    assert answer.status_code == 201
    version = answer.json()
    assert (version["number"], version["state"]) == (1, "pending")
    assert version["endpoint"].endswith("/v1/acme/models/wine@1/predict")
    assert [stage["name"] for stage in version["stages"]] == [
        "upload", "environment", "start", "load", "example", "app",
    ]  # fmt: skip
    assert version["environment"]["state"] == "pending"
    assert version["schema"]["fields"][0]["name"] == "x"
    (model,) = world.get("/models")["items"]
    assert (model["name"], model["status"], model["latest_version"]) == ("wine", "building", 1)


def test_the_second_version_with_the_same_requirements_shares_the_environment(world: Any) -> None:
    first, second = world.create().json(), world.create().json()
    assert (first["number"], second["number"]) == (1, 2)
    assert first["environment"]["id"] == second["environment"]["id"]


def test_files_that_are_not_uploaded_are_named(world: Any) -> None:
    body = {"files": [{"path": "config.yaml", "digest": "0" * 64, "size": 3}]}
    answer = world.client.post(f"{world.url}/models/wine/versions", json=body)
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert (error["code"], error["details"]) == ("missing_blobs", [{"path": "config.yaml", "digest": "0" * 64}])


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "nul\x00", "C:/x"])
def test_a_path_that_leads_elsewhere_is_refused(world: Any, path: str) -> None:
    entry = world.upload({"x": b"1"})[0] | {"path": path}
    answer = world.client.post(f"{world.url}/models/wine/versions", json={"files": [entry]})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["path"] == path


def test_all_problems_of_a_package_are_reported_at_once(world: Any) -> None:
    config = b"python_version: nonsense\nresources: {memory: lots}\nruntime: {predict_concurrency: none}\n"
    answer = world.create({**world.PACKAGE, "config.yaml": config})
    assert answer.status_code == 422
    assert len(answer.json()["error"]["details"]) >= 3
    assert world.client.get(f"{world.url}/models/wine").status_code == 404


def test_a_wrong_field_is_a_400_that_names_it(world: Any) -> None:
    answer = world.client.post(f"{world.url}/models/wine/versions", json={"files": [], "sizes": 1})
    assert answer.status_code == 400
    assert {detail["path"] for detail in answer.json()["error"]["details"]} >= {"sizes"}


def test_only_a_ready_version_can_be_promoted_and_rollback_is_the_same(
    world: Any, sessions: sessionmaker[Session]
) -> None:
    world.create()
    world.create()
    refused = world.client.put(f"{world.url}/models/wine/aliases/production", json={"version": 2})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "version_not_ready")
    world.make_ready(1, 2)
    for number in (2, 1):
        answer = world.client.put(f"{world.url}/models/wine/aliases/production", json={"version": number})
        assert answer.json()["aliases"] == {"production": number}
    with sessions() as session:
        wanted = {
            version.number: session.scalars(
                select(DeploymentTable.desired_replicas).where(DeploymentTable.version_id == version.id)
            ).one()
            for version in session.scalars(select(VersionTable))
        }
    assert wanted == {1: 1, 2: 0}


def test_stop_and_start(world: Any) -> None:
    world.create()
    for word, wanted in (("stop", 0), ("start", 1)):
        answer = world.client.post(f"{world.url}/models/wine/versions/1/{word}")
        assert answer.json()["deployment"]["desired_replicas"] == wanted


def test_a_text_file_of_the_package_can_be_read_and_nothing_else(world: Any) -> None:
    world.create({**world.PACKAGE, "data/weights.bin": b"\xff\x00"})
    path = f"{world.url}/models/wine/versions/1/files"
    assert world.client.get(f"{path}/model/model.py").text.startswith("class Model")
    assert world.client.get(f"{path}/data/weights.bin").status_code == 404
    assert world.client.get(f"{path}/..%2F..%2Fetc%2Fpasswd").status_code == 404


def test_a_deleted_model_is_gone(world: Any, sessions: sessionmaker[Session]) -> None:
    world.create()
    assert world.client.delete(f"{world.url}/models/wine").status_code == 204
    assert world.client.get(f"{world.url}/models/wine").status_code == 404
    with sessions() as session:
        assert session.scalars(select(VersionTable)).all() == []


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def regular(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def send_archive(world: Any, data: bytes) -> httpx.Response:
    answer: httpx.Response = world.client.post(
        f"{world.url}/models/wine/versions/archive", content=data, headers={"Content-Type": "application/gzip"}
    )
    return answer


def test_an_archive_that_the_disk_cannot_take(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [(regular(path), content) for path, content in world.PACKAGE.items()]
    monkeypatch.setattr(ArtifactStore, "free_bytes", lambda _: 2000)
    answer = send_archive(world, archive(*members, (regular("data/zeros"), bytes(100_000))))
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")
    assert world.get("/models")["items"] == []


@pytest.mark.parametrize("size", [0, 5, 10**12])
def test_a_file_is_as_large_as_it_was_uploaded(world: Any, size: int) -> None:
    entries = world.upload(world.PACKAGE)
    entries[0]["size"] = size
    answer = world.client.post(f"{world.url}/models/wine/versions", json={"files": entries})
    assert answer.status_code == (413 if size > 2**36 else 422), answer.text
    assert world.get("/models")["items"] == []


def test_names_that_are_one_on_some_disks(world: Any) -> None:
    answer = world.create({**world.PACKAGE, "data/README.md": b"a", "data/Readme.md": b"b"})
    assert answer.status_code == 422
    (detail,) = answer.json()["error"]["details"]
    assert detail["path"] == "data/Readme.md"
    assert "upper and lower case" in detail["message"]


def test_what_a_package_says_of_itself_is_not_where_it_came_from(world: Any) -> None:
    config = b"model_metadata: {tenfold: {zoo: digits, environment: mine}}\n"
    made = world.create({**world.PACKAGE, "config.yaml": config}, name="digits")
    assert (made.status_code, made.json()["environment_name"]) == (201, None)
    assert [one["deployed_as"] for one in world.get("/zoo")["items"] if one["name"] == "digits"] == [[]]
    answer = world.client.post(f"{world.url}/zoo/digits/deploy", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "name_taken")


def test_versions_that_kept_their_origin_in_their_config(world: Any, engine: Engine, database_url: str) -> None:
    world.create()
    with engine.begin() as connection:
        connection.execute(
            text("update model_versions set config = :config"),
            {"config": '{"model_metadata": {"tenfold": {"zoo": "iris", "environment": "lab", "schema": {}}}}'},
        )
        connection.execute(text("alter table model_versions drop column zoo_entry, drop column environment_name"))
        connection.execute(text("update alembic_version set version_num = '0002'"))
    migrate(database_url, "0003")
    with engine.connect() as connection:
        row = connection.execute(text("select zoo_entry, environment_name, config from model_versions")).one()
    assert tuple(row) == ("iris", "lab", {"model_metadata": {"tenfold": {"schema": {}}}})


def test_a_package_can_come_as_one_archive(world: Any) -> None:
    answer = send_archive(world, archive(*[(regular(path), content) for path, content in world.PACKAGE.items()]))
    assert answer.status_code == 201, answer.text
    assert {file["path"] for file in answer.json()["files"]} == set(world.PACKAGE)


@pytest.mark.parametrize(
    "member",
    [
        (regular("../x"), b"evil"),
        (regular("/tmp/tenfold-canary"), b"evil"),
        (link("model/model.py", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (link("model/model.py", tarfile.LNKTYPE, "/etc/passwd"), b""),
        (link("pipe", tarfile.FIFOTYPE, ""), b""),
    ],
    ids=["parent", "absolute", "symlink", "hardlink", "fifo"],
)
def test_an_archive_that_reaches_outside_is_refused_and_leaves_nothing(
    world: Any, settings: Settings, member: tuple[tarfile.TarInfo, bytes]
) -> None:
    before = {path for path in settings.data_dir.parent.rglob("*") if path.is_file()}
    answer = send_archive(world, archive((regular("config.yaml"), b"requirements: []\n"), member))
    assert answer.status_code == 422, answer.text
    assert "refused" in answer.json()["error"]["message"]
    after = {path for path in settings.data_dir.parent.rglob("*") if path.is_file()}
    assert after == before
    assert world.client.get(f"{world.url}/models").json()["items"] == []


def test_references_find_alias_number_and_production(world: Any, sessions: sessionmaker[Session]) -> None:
    world.create()
    world.make_ready(1)
    world.client.put(f"{world.url}/models/wine/aliases/staging", json={"version": 1})
    with sessions() as session:
        find = service.find_by_reference
        assert find(session, world.workspace.id, "wine") is None
        assert find(session, world.workspace.id, "wine@staging") is not None
        assert find(session, world.workspace.id, "wine@1") is not None
        assert find(session, world.workspace.id, "wine@2") is None
        assert find(session, world.workspace.id, "beer@1") is None


def test_a_release_that_waits_for_a_deleted_model_fails_and_says_so(
    world: Any, sessions: sessionmaker[Session], clock: Any, tmp_path: Path
) -> None:
    world.create()
    world.make_ready(1)
    files = [{"path": path, "content": content} for path, content in CALLS_WINE.items()]
    assert world.client.put(f"{world.url}/apps/cellar/draft", json={"files": files}).is_success
    answer = world.client.post(f"{world.url}/apps/cellar/releases", json={})
    assert answer.is_success, answer.text
    assert world.client.delete(f"{world.url}/models/wine").is_success
    with sessions() as session:
        release_id = session.scalars(select(ReleaseTable.id)).one()
    assert releases.advance(sessions, clock, tmp_path, release_id)
    release = world.get("/apps/cellar/releases/1")
    assert release["state"] == "failed"
    assert release["reason"] == "Release 1 calls version 1 of wine, which is deleted."
    assert "Release the app again" in release["hint"]
    assert not releases.advance(sessions, clock, tmp_path, release_id)


CALLS_WINE = {
    "app.yaml": "app: 1\nname: cellar\ntitle: Cellar\nhome: main\n",
    "views/main.yaml": (
        "view: 1\nname: main\ntitle: Cellar\nqueries:\n  go: {model: wine@1, run: manual, in: {inputs: [1]}}\n"
        "nodes:\n  ok: {type: button, at: [page, body, a1], props: {label: Go}, on: {click: [{run: go}]}}\n"
    ),
}
