"""The zoo over HTTP: listed, looked at, deployed like any other package."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tenfold_platform.errors import NotFound
from tenfold_platform.zoo import service
from tenfold_platform.zoo.service import DamagedEntry, get_entry, list_entries

ZOO = "title: {title}\nsummary: Says what it was told.\ndescription: '**Echo.**'\ntask: echo\nframework: custom\n"
ZOO += "tags: [text, echo]\nlicense: Apache-2.0\nneeds_network: false\ndownload_mb: 1\nexample_note: A word.\n"
CONFIG = """\
requirements: [left-pad==1.0]
model_metadata:
  example_model_input: {text: hello}
  tenfold:
    format: 1
    framework: echo
    schema: {form: record, fields: [{name: text, type: str}], output: {kind: text}}
"""
CODE = "class Model:\n    def predict(self, inputs):\n        return inputs['text']\n"


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of two entries, one of them damaged."""
    folder = tmp_path / "entries"
    for name in ("echo", "broken"):
        (folder / name / "model" / "__pycache__").mkdir(parents=True)
        (folder / name / "zoo.yaml").write_text(ZOO.format(title=name.title()))
        (folder / name / "config.yaml").write_text(CONFIG)
        (folder / name / "model" / "model.py").write_text(CODE)
        (folder / name / "model" / "__pycache__" / "model.pyc").write_bytes(b"\0")
        (folder / name / ".hidden").write_text("x")
    (folder / "broken" / "config.yaml").write_text("resources: {memory: lots}\n")
    (folder / "not-an-entry").mkdir()
    monkeypatch.setattr(service, "ENTRIES_DIR", folder)
    for function in (list_entries, get_entry):
        monkeypatch.setattr(function, "__defaults__", (folder,))
    return folder


@pytest.fixture
def workspace(make_workspace: Callable[..., Any], make_key: Callable[..., Any], as_key: Callable[..., Any]) -> Any:
    row = make_workspace("acme")

    class Workspace:
        client: httpx.Client = as_key(make_key(row, "deploy").text)
        reader: httpx.Client = as_key(make_key(row, "read").text)
        url = "/api/v1/workspaces/acme"

        def get(self, path: str) -> Any:
            answer = self.reader.get(f"{self.url}{path}")
            assert answer.status_code == 200, answer.text
            return answer.json()

        def deploy(self, entry: str, **body: Any) -> httpx.Response:
            return self.client.post(f"{self.url}/zoo/{entry}/deploy", json=body)

    return Workspace()


def test_the_list_has_what_can_be_read(entries: Path, workspace: Any) -> None:
    (entry,) = workspace.get("/zoo")["items"]
    assert entry == {
        "name": "echo",
        "title": "Echo",
        "summary": "Says what it was told.",
        "task": "echo",
        "framework": "custom",
        "tags": ["text", "echo"],
        "license": "Apache-2.0",
        "needs_network": False,
        "download_mb": 1.0,
        "deployed_as": [],
    }


def test_an_entry_shows_its_package(entries: Path, workspace: Any) -> None:
    entry = workspace.get("/zoo/echo")
    assert (entry["description"], entry["example"], entry["source"]) == ("**Echo.**", {"text": "hello"}, CODE)
    assert entry["schema"]["form"] == "record"
    assert entry["requirements"] == ["left-pad==1.0"]
    assert [file["path"] for file in entry["files"]] == ["config.yaml", "model/model.py"]


@pytest.mark.parametrize("name", ["nothing", "not-an-entry", "%2e%2e", "echo%2fmodel"])
def test_what_is_no_entry(entries: Path, workspace: Any, name: str) -> None:
    for answer in (workspace.reader.get(f"{workspace.url}/zoo/{name}"), workspace.deploy(name)):
        assert answer.status_code == 404


def test_one_that_is_damaged_says_so(entries: Path, workspace: Any) -> None:
    answer = workspace.reader.get(f"{workspace.url}/zoo/broken")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "zoo_entry_damaged")
    with pytest.raises(DamagedEntry, match=r"resources.memory"):
        get_entry("broken", entries)


def test_a_deploy_makes_a_model_like_any_other(entries: Path, workspace: Any) -> None:
    answer = workspace.deploy("echo", alias="staging")
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert (version["number"], version["framework"], version["example"]) == (1, "echo", {"text": "hello"})
    assert version["schema"]["fields"][0]["name"] == "text"
    assert [stage["state"] for stage in version["stages"] if stage["name"] == "app"] == ["waiting"]
    model = workspace.get("/models/echo")
    assert (model["description"], model["tags"]) == ("Says what it was told.", ["echo", "text"])
    assert workspace.get("/zoo/echo")["deployed_as"] == ["echo"]
    read = workspace.reader.get(f"{workspace.url}/models/echo/versions/1/files/model/model.py")
    assert read.text == CODE


def test_under_another_name_and_again(entries: Path, workspace: Any) -> None:
    assert workspace.deploy("echo", name="parrot").json()["number"] == 1
    assert workspace.deploy("echo").json()["number"] == 1
    assert workspace.deploy("echo").json()["number"] == 2
    assert workspace.get("/zoo")["items"][0]["deployed_as"] == ["echo", "parrot"]


def test_a_model_of_the_same_name_that_was_made_otherwise_is_left_alone(entries: Path, workspace: Any) -> None:
    (entries / "twin").mkdir()
    for file in ("zoo.yaml", "config.yaml"):
        (entries / "twin" / file).write_text((entries / "echo" / file).read_text())
    (entries / "twin" / "model").mkdir()
    (entries / "twin" / "model" / "model.py").write_text(CODE)
    workspace.deploy("twin", name="echo")
    refused = workspace.deploy("echo")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "name_taken")
    assert workspace.deploy("echo", name="echo").json()["number"] == 2  # somebody said so


def test_a_reader_deploys_nothing(entries: Path, workspace: Any) -> None:
    assert workspace.reader.post(f"{workspace.url}/zoo/echo/deploy", json={}).status_code == 403


def test_a_repeated_deploy_is_done_once(entries: Path, workspace: Any) -> None:
    url, headers = f"{workspace.url}/zoo/echo/deploy", {"Idempotency-Key": "once"}
    answers = [workspace.client.post(url, json={}, headers=headers) for _ in range(2)]
    assert [answer.json()["number"] for answer in answers] == [1, 1]


def test_an_entry_that_is_edited_is_read_again(entries: Path) -> None:
    assert get_entry("echo", entries).text.title == "Echo"
    file = entries / "echo" / "zoo.yaml"
    file.write_text(ZOO.format(title="Parrot"))
    os.utime(file, ns=(1, 1))
    assert get_entry("echo", entries).text.title == "Parrot"


def test_who_gets_a_name_almost_right_is_told_which_it_may_be() -> None:
    hints = {}
    for name in ("iris", "sentimnt", "9"):
        with pytest.raises(NotFound) as caught:
            get_entry(name)
        hints[name] = caught.value.hint
    listed = "`tenfold zoo list` shows what it has."
    assert hints["iris"] == f"Did you mean iris-species? {listed}"
    assert hints["9"] == listed
    assert hints["sentimnt"] == f"Did you mean sentiment? {listed}"
