from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from tenfold.client import Client
from tenfold.deploying import deploy, follow_version
from tenfold.errors import CannotPackage, DeployFailed, TenfoldError
from tenfold.packaging.package import Package
from tenfold.progress import LiveProgress, PlainProgress, make_progress
from tenfold.schema import ModelSchema

MakeVersion = Callable[..., dict[str, Any]]

EVENTS = "GET models/churn/versions/1/events"


def stream(*events: tuple[str, Any]) -> httpx.Response:
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def progress(shown: io.StringIO) -> PlainProgress:
    return PlainProgress(Console(file=shown, width=200, highlight=False, soft_wrap=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "churn"
    (root / "model").mkdir(parents=True)
    (root / "config.yaml").write_text("model_name: Churn\nmodel_metadata: {example_model_input: {x: 1}}\n")
    (root / "model" / "model.py").write_text("class Model:\n    def predict(self, inputs):\n        return inputs\n")
    return root


@pytest.fixture
def ready(platform: Any, make_version: MakeVersion) -> dict[str, Any]:
    """A platform on which version 1 of churn becomes ready at once."""
    version = make_version(1)
    platform.answers |= {
        "POST blobs/missing": lambda request: {"missing": json.loads(request.content)["digests"][:1]},
        "POST models/churn/versions": version,
        EVENTS: stream(("version", {**version, "state": "building"}), ("version", version)),
    }
    return version


def accept_uploads(platform: Any, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            platform.answers[f"PUT blobs/{digest}"] = {"digest": digest}


def test_a_folder_is_deployed_and_only_missing_files_travel(
    platform: Any, client: Client, folder: Path, ready: dict[str, Any], progress: PlainProgress, shown: io.StringIO
) -> None:
    accept_uploads(platform, folder)
    model = deploy(folder, client=client, progress=progress)
    assert (model.name, model.version) == ("churn", 1)
    (body,) = platform.bodies("POST models/churn/versions")
    assert [one["path"] for one in body["files"]] == ["config.yaml", "model/model.py"]
    assert body["example"] == {"x": 1}
    assert "requirements" not in body
    uploads = [one for one in platform.requests if one.method == "PUT"]
    assert len(uploads) == 1
    assert hashlib.sha256(uploads[0].content).hexdigest() == uploads[0].url.path.rpartition("/")[2]
    told = shown.getvalue()
    assert "✓ packaging" in told
    assert "✓ load" in told
    assert "Endpoint  http://gateway.test/v1/default/models/churn/predict" in told


def test_a_failed_version_says_whose_fault_it_is(
    platform: Any,
    client: Client,
    folder: Path,
    ready: dict[str, Any],
    make_version: MakeVersion,
    progress: PlainProgress,
    shown: io.StringIO,
) -> None:
    accept_uploads(platform, folder)
    stages = [{"name": "load", "state": "failed", "seconds": 1.0, "detail": "no weights"}]
    failed = make_version(1, "failed", reason="no weights", hint="Add them.", stages=stages)
    platform.answers[EVENTS] = stream(("version", failed))
    lines = [
        {"id": 1, "source": "worker", "text": "a\nRuntimeError: no weights\n"},
        {"id": 2, "source": "environment", "text": "x"},
    ]
    platform.answers["GET models/churn/versions/1/logs"] = lambda request: (
        {"items": lines, "next_after": 2} if request.url.params["after"] == "0" else {"items": [], "next_after": 2}
    )
    with pytest.raises(DeployFailed) as raised:
        deploy(folder, client=client, progress=progress)
    failure = raised.value
    assert (failure.stage, failure.source, failure.hint) == ("load", "your code", "Add them.")
    assert failure.log == "a\nRuntimeError: no weights"
    assert "The fault lies with your code." in shown.getvalue()
    assert "✗ load" in shown.getvalue()


def test_what_the_platform_remarks_is_shown_and_the_size_is_told_first(
    platform: Any,
    client: Client,
    folder: Path,
    ready: dict[str, Any],
    make_version: MakeVersion,
    progress: PlainProgress,
    shown: io.StringIO,
) -> None:
    accept_uploads(platform, folder)
    warning = {"path": "requirments", "message": "is not a key", "hint": "Did you mean requirements?", "line": 3}
    platform.answers["POST models/churn/versions"] = make_version(1, warnings=[warning])
    deploy(folder, client=client, progress=progress)
    assert "config.yaml: requirments (line 3): is not a key Did you mean requirements?" in shown.getvalue()
    (asked,) = platform.bodies("POST blobs/missing")
    assert asked["package_bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("has", "asked"), [(0, [{"replicas": {"min": 1}}]), (1, []), (3, [])])
def test_one_that_may_not_sleep_keeps_the_replicas_that_it_has(
    platform: Any, client: Client, folder: Path, ready: dict[str, Any], progress: PlainProgress, has: int, asked: Any
) -> None:
    accept_uploads(platform, folder)
    scaling = {"min": has, "max": 4, "idle_seconds": 300}
    platform.answers |= {"GET models/churn": {"scaling": scaling}, "PATCH models/churn": {}}
    deploy(folder, client=client, progress=progress, wait=False, scale_to_zero=False)
    assert platform.bodies("PATCH models/churn") == asked


def test_without_waiting_nothing_is_watched(
    platform: Any, client: Client, folder: Path, ready: dict[str, Any], progress: PlainProgress
) -> None:
    accept_uploads(platform, folder)
    deploy(folder, client=client, progress=progress, wait=False, alias="staging", app=False)
    assert not any(one.url.path.endswith("/events") for one in platform.requests)
    (body,) = platform.bodies("POST models/churn/versions")
    assert (body["alias"], body["make_app"]) == ("staging", False)


def test_a_blob_that_vanished_is_sent_again(
    platform: Any, client: Client, folder: Path, ready: dict[str, Any], progress: PlainProgress
) -> None:
    accept_uploads(platform, folder)
    gone = httpx.Response(409, json={"error": {"code": "missing_blobs", "message": "1 is missing."}})
    platform.answers["POST models/churn/versions"] = [gone, ready]
    assert deploy(folder, client=client, progress=progress).version == 1


def test_a_lost_stream_goes_on_where_it_ended(
    platform: Any, client: Client, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold.deploying.time.sleep", lambda seconds: None)
    log = {"id": 5, "source": "worker", "text": "hello"}
    platform.answers[EVENTS] = [stream(("log", log)), httpx.ReadError("gone"), stream(("version", make_version(1)))]
    events = list(follow_version(client, "churn", 1))
    assert [event.name for event in events] == ["log", "version"]
    assert [one.url.params["after"] for one in platform.requests] == ["0", "5", "5"]


def test_without_streams_it_is_asked_again_and_again(
    platform: Any, client: Client, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold.deploying.time.sleep", lambda seconds: None)
    platform.answers[EVENTS] = httpx.ReadError("no streams here")
    platform.answers["GET models/churn/versions/1"] = [make_version(1, "building"), make_version(1)]
    page = {"items": [{"id": 1, "source": "worker", "text": "up"}], "next_after": 1}
    platform.answers["GET models/churn/versions/1/logs"] = [page, {"items": [], "next_after": 1}]
    events = list(follow_version(client, "churn", 1))
    assert [(event.name, event.data.get("state")) for event in events] == [
        ("version", "building"),
        ("log", None),
        ("version", "ready"),
    ]


def test_a_stream_that_says_nothing_is_given_up_for_asking(
    platform: Any, client: Client, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold.deploying.time.sleep", lambda seconds: None)
    platform.answers[EVENTS] = httpx.ReadTimeout("nothing for 30 s")
    platform.answers["GET models/churn/versions/1"] = [make_version(1, "building"), make_version(1)]
    platform.answers["GET models/churn/versions/1/logs"] = {"items": [], "next_after": 0}
    events = list(follow_version(client, "churn", 1))
    assert [event.data["state"] for event in events] == ["building", "ready"]


def test_a_log_is_followed_without_streams_after_the_version_is_ready(
    platform: Any, client: Client, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold.deploying.time.sleep", lambda seconds: None)
    platform.answers[EVENTS] = httpx.ReadTimeout("nothing for 30 s")
    platform.answers["GET models/churn/versions/1"] = make_version(1)
    later = {"items": [{"id": 1, "source": "worker", "text": "called"}], "next_after": 1}
    platform.answers["GET models/churn/versions/1/logs"] = [{"items": [], "next_after": 0}, later]
    events = follow_version(client, "churn", 1, follow=True)
    assert next(event for event in events if event.name == "log").data["text"] == "called"


@pytest.mark.parametrize("name", ["Churn", "1x", "a_b", "-a", "a" * 64])
def test_a_bad_name_is_refused_with_a_good_one(client: Client, folder: Path, name: str) -> None:
    with pytest.raises(CannotPackage, match="is not a name for a model") as raised:
        deploy(folder, name, client=client)
    assert "such as" in raised.value.hint


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no config.yaml"),
        ({"config.yml": ""}, "has no config.yaml"),
        ({"config.yaml": "a: [1"}, "cannot be read"),
        ({"config.yaml": "- a"}, "does not hold keys and values"),
        ({"config.yaml": "external_package_dirs: [../nowhere]"}, "there is no such folder"),
    ],
)
def test_what_is_no_package_is_refused_here(client: Client, tmp_path: Path, files: Any, message: str) -> None:
    root = tmp_path / "broken"
    root.mkdir()
    for path, text in files.items():
        (root / path).write_text(text)
    with pytest.raises(CannotPackage, match=message):
        deploy(root, "broken", client=client, progress=PlainProgress(Console(file=io.StringIO())))


def test_packages_from_outside_are_gathered(folder: Path, tmp_path: Path) -> None:
    from tenfold.packaging.folders import package_folder

    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "helpers.py").write_text("x = 1\n")
    (folder / "config.yaml").write_text("external_package_dirs: [../common]\n")
    package = package_folder(folder, "m", tmp_path / "scratch")
    assert "packages/helpers.py" in [one.path for one in package.manifest()]
    assert not (folder / "packages").exists()


def test_a_schema_written_into_the_folder_is_posted(folder: Path, tmp_path: Path) -> None:
    from tenfold.packaging.folders import package_folder

    (folder / "config.yaml").write_text(
        "model_metadata: {tenfold: {schema: {form: record, fields: [{name: x, type: int}], output: {kind: text}}}}\n"
    )
    package = package_folder(folder, "m", tmp_path / "scratch")
    assert package.schema == ModelSchema.of(
        {"form": "record", "fields": [{"name": "x", "type": "int"}], "output": {"kind": "text"}}
    )


def test_a_schema_in_the_folder_that_is_none_is_refused(client: Client, folder: Path) -> None:
    (folder / "config.yaml").write_text("model_metadata: {tenfold: {schema: {fields: []}}}\n")
    with pytest.raises(CannotPackage, match=r"model_metadata\.tenfold\.schema in config\.yaml .*: it lacks 'form'"):
        deploy(folder, "churn", client=client, progress=PlainProgress(Console(file=io.StringIO())))


def test_a_folder_is_called_by_its_whole_name(
    platform: Any,
    client: Client,
    folder: Path,
    ready: dict[str, Any],
    make_version: MakeVersion,
    progress: PlainProgress,
) -> None:
    second = folder.rename(folder.with_name("churn.v2"))
    (second / "config.yaml").write_text("")
    accept_uploads(platform, second)
    platform.answers["POST models/churn-v2/versions"] = make_version(1)
    assert deploy(second, client=client, progress=progress, wait=False).name == "churn-v2"


def test_requirements_of_a_folder_as_a_text_are_refused_before_anything_is_sent(
    platform: Any, client: Client, folder: Path
) -> None:
    with pytest.raises(CannotPackage, match="requirements is the text 'pandas'"):
        deploy(folder, client=client, requirements="pandas")
    assert platform.requests == []


def test_a_named_environment_is_asked_for_by_its_name(
    platform: Any, client: Client, folder: Path, ready: dict[str, Any], progress: PlainProgress
) -> None:
    accept_uploads(platform, folder)
    deploy(folder, client=client, progress=progress, environment="nlp")
    (body,) = platform.bodies("POST models/churn/versions")
    assert body["environment"] == "nlp"


def test_a_named_environment_leaves_no_room_for_requirements(client: Client, folder: Path) -> None:
    with pytest.raises(CannotPackage, match="requirements= is given beside environment='nlp'"):
        deploy(folder, client=client, environment="nlp", requirements=["numpy"])


@pytest.mark.parametrize("place", ["PUT", "POST"])
def test_a_package_that_is_too_large_is_refused_with_its_largest_files(
    platform: Any, client: Client, folder: Path, ready: dict[str, Any], progress: PlainProgress, place: str
) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "weights.bin").write_bytes(b"x" * 5000)
    accept_uploads(platform, folder)
    refusal = httpx.Response(413, json={"error": {"code": "too_large", "message": "At most 4 KB.", "hint": "Ask."}})
    keys = (
        [key for key in platform.answers if key.startswith("PUT")] if place == "PUT" else ["POST models/churn/versions"]
    )
    platform.answers |= dict.fromkeys(keys, refusal)
    with pytest.raises(TenfoldError) as raised:
        deploy(folder, client=client, progress=progress)
    assert raised.value.code == "too_large"
    assert raised.value.message.startswith(
        "The package has 5.1 KB in 3 files, and the platform does not take it: At most"
    )
    assert "The largest: data/weights.bin 5.0 KB, model/model.py" in raised.value.hint


def test_ignored_files_stay_behind(tmp_path: Path) -> None:
    files = ["config.yaml", "notes.md", "keep.md", "data/a.bin", "data/raw/b.bin", "__pycache__/x.pyc", ".git/config"]
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / ".truss_ignore").write_text("# notes\n*.md\n!keep.md\ndata/raw/\n")
    paths = [one.path for one in Package(tmp_path, "custom").manifest()]
    assert paths == [".truss_ignore", "config.yaml", "data/a.bin", "keep.md"]


def test_the_same_folder_has_the_same_manifest(folder: Path) -> None:
    first, second = (Package(folder, "custom").manifest() for _ in range(2))
    assert first == second
    assert first[0].digest == hashlib.sha256((folder / "config.yaml").read_bytes()).hexdigest()


def test_stages_stand_in_the_platforms_order_after_those_of_this_machine(progress: PlainProgress) -> None:
    progress.begin("Deploying churn", ("packaging", "upload", "environment", "load"))
    for name in ("packaging", "upload"):
        with progress.stage(name):
            pass
    progress.update([{"name": one, "state": "waiting"} for one in ("upload", "fetch", "environment", "load")])
    assert list(progress.stages) == ["packaging", "upload", "fetch", "environment", "load"]


def test_a_terminal_is_drawn_live_and_a_file_gets_lines() -> None:
    assert isinstance(make_progress(Console(file=io.StringIO(), force_terminal=True, _environ={})), LiveProgress)
    assert isinstance(make_progress(Console(file=io.StringIO())), PlainProgress)


def test_live_stages_show_the_log_of_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("tenfold.progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    progress = LiveProgress(Console(file=out, force_terminal=True, width=100, _environ={}))
    progress.begin("Deploying churn", ("environment", "load"))
    progress.update([{"name": "environment", "state": "running"}])
    progress.log("environment", "Resolving 3 requirements\n    --hash=sha256:00 \\\n")
    progress.console.print(progress._draw())
    assert "Resolving" not in out.getvalue()
    now[0] = 110.0
    progress.console.print(progress._draw())
    assert "Resolving 3 requirements" in out.getvalue()
    assert "--hash" not in out.getvalue()
    assert "10.0 s" in out.getvalue()
