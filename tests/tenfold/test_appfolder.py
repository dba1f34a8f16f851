from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenfold.appfolder import check_folder, known_revision, read_folder, remember_revision, write_folder
from tenfold.errors import CannotPackage, Conflict, InvalidInput

WORKLET = """\
worklet: 1
name: greet
input: {name: str}
output: {text: str}
nodes:
  say: {pre: "code/steps.py:say", in: {name: =input.name}}
return: {text: =say}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "app.yaml": "app: 1\nname: hello\n",
        "worklets/greet.yaml": WORKLET,
        "code/steps.py": "def say(name: str) -> str:\n    return name\n",
        "code/__pycache__/steps.pyc": "x",
        "train.py": "1 / 0\n",
        ".env": "SECRET=1\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_a_folder_is_read_without_what_does_not_belong(folder: Path) -> None:
    read = read_folder(folder)
    assert read.name == "hello"
    assert sorted(read.files) == ["app.yaml", "code/steps.py", "worklets/greet.yaml"]
    assert read.notes[0].endswith(": train.py")


def test_a_right_folder_has_no_problems(folder: Path) -> None:
    assert check_folder(read_folder(folder)).problems == ()


def test_everything_wrong_is_told_at_once_with_its_line(folder: Path) -> None:
    (folder / "worklets" / "greet.yaml").write_text(
        WORKLET.replace("=input.name", "=input.nam").replace("=say}", "=sy}")
    )
    (folder / "views").mkdir()
    (folder / "views" / "main.yaml").write_text(
        "view: 1\nname: main\nnodes:\n  a: {type: buton, at: [page, body, a0]}\n"
    )
    problems = check_folder(read_folder(folder)).problems
    by_file = {file: [one for one in problems if one.path.startswith(file)] for file in ("worklets/", "views/")}
    assert len(by_file["worklets/"]) == 2
    assert len(by_file["views/"]) >= 1
    assert all(one.line is not None for one in problems)


def test_a_view_may_ask_models_that_are_not_known_here(folder: Path) -> None:
    (folder / "views").mkdir()
    (folder / "views" / "main.yaml").write_text(
        "view: 1\nname: main\nqueries: {ask: {model: churn, run: load, in: {x: 1}}}\n"
        "nodes:\n  a: {type: json, at: [page, body, a0], props: {value: =ask.data}}\n"
    )
    assert check_folder(read_folder(folder)).problems == ()


@pytest.mark.parametrize("text", [None, "a: [", "app: 1\n"])
def test_what_is_no_app_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "app.yaml").write_text(text)
    with pytest.raises(CannotPackage):
        read_folder(tmp_path)


def test_what_was_pushed_comes_back_the_same(folder: Path, tmp_path: Path) -> None:
    (folder / "packages").mkdir()
    (folder / "packages" / "logo.bin").write_bytes(b"\xff\x00")
    read = read_folder(folder)
    target = tmp_path / "pulled"
    changed = write_folder(target, read.to_json())
    assert sorted(changed) == sorted(read.files)
    assert read_folder(target).files == read.files
    assert write_folder(target, read.to_json()) == []


def test_own_changes_are_not_overwritten_unasked(folder: Path) -> None:
    files: list[dict[str, Any]] = [{"path": "app.yaml", "content": "app: 1\nname: other\n", "encoding": "utf-8"}]
    with pytest.raises(Conflict, match=r"1 files here differ from the app's draft: app\.yaml"):
        write_folder(folder, files)
    assert write_folder(folder, files, force=True) == ["app.yaml"]


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "code/../../outside"])
def test_files_stay_inside_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="does not belong into a folder"):
        write_folder(tmp_path, [{"path": path, "content": "", "encoding": "utf-8"}])


def test_the_revision_is_kept_per_platform_and_app(folder: Path) -> None:
    remember_revision(folder, "http://a.test", "default", "hello", 3)
    remember_revision(folder, "http://b.test", "default", "hello", 8)
    assert known_revision(folder, "http://a.test", "default", "hello") == 3
    assert known_revision(folder, "http://b.test", "default", "hello") == 8
    assert known_revision(folder, "http://b.test", "default", "other") is None
    assert ".tenfold" not in read_folder(folder).notes[0]
