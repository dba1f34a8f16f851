from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from tenfold.cli import account, output, system
from tenfold.cli.command import make_app
from tenfold.client import Client
from tenfold.credentials import Profile, read_profiles, save_profile

MakeVersion = Callable[..., dict[str, Any]]
Run = Callable[..., Any]
IDENTITY = {
    "key": {"key_id": "abc", "name": "laptop", "scopes": ["deploy"]},
    "workspace": "default",
    "gateway_url": "http://gateway.test",
    "console_url": "http://console.test",
    "version": "0.1.0",
}


@pytest.fixture
def run(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `tenfold ...` against the fake platform."""
    monkeypatch.setattr(output, "connect", lambda profile: client)
    monkeypatch.setattr(account, "make_client", lambda profile: client)
    monkeypatch.setenv("TENFOLD_CREDENTIALS", str(tmp_path / "credentials.json"))
    monkeypatch.delenv("TENFOLD_DATA", raising=False)
    runner, app = CliRunner(), make_app()
    monkeypatch.setattr(output.console, "_width", 200)

    def invoke(*arguments: str, input: str | None = None) -> Any:
        return runner.invoke(app, list(arguments), input=input)

    return invoke


def test_models_are_listed_as_a_table_and_as_json(platform: Any, run: Run) -> None:
    model = {
        "name": "churn",
        "status": "running",
        "production_version": 2,
        "latest_version": 3,
        "framework": "scikit-learn",
        "updated_at": "2026-01-01T00:00:00+00:00",
    }
    platform.answers["GET models"] = {"items": [model], "next_cursor": None}
    shown = run("models")
    assert shown.exit_code == 0
    assert "churn" in shown.output
    assert "running" in shown.output
    assert json.loads(run("models", "list", "--json").output) == [model]


def test_an_empty_list_says_what_to_do(platform: Any, run: Run) -> None:
    platform.answers["GET apps"] = {"items": [], "next_cursor": None}
    assert "tenfold app push DIR" in run("app", "list").output


def test_errors_are_short_with_a_hint_and_exit_code_1(platform: Any, run: Run) -> None:
    error = {"code": "not_found", "message": "There is no such model.", "hint": "Look at `tenfold models`."}
    platform.answers["GET models/nope"] = httpx.Response(404, json={"error": error})
    shown = run("models", "show", "nope")
    assert shown.exit_code == 1
    assert shown.stderr == "There is no such model.\nLook at `tenfold models`.\n"
    assert "Traceback" not in shown.output


@pytest.mark.parametrize(
    ("replica", "said"),
    [
        ({"shares_worker_with": 3}, "It shares its worker with 3 other models."),
        ({"shares_worker_with": 1}, "It shares its worker with 1 other model."),
        ({"shares_worker_with": 0}, "It shares its worker with no other model yet."),
        ({"alone_because": "It gets secrets."}, "It has a worker of its own: It gets secrets."),
        ({}, ""),
        ({"shares_worker_with": 3, "ended_at": "2026-01-01T00:00:00+00:00"}, ""),
    ],
)
def test_a_model_is_shown_with_how_many_share_its_worker(
    platform: Any, run: Run, make_version: MakeVersion, replica: dict[str, Any], said: str
) -> None:
    told = {"ended_at": None, "started_at": "2026-01-01T00:00:00+00:00"}
    told |= {"shares_worker_with": None, "alone_because": None, **replica}
    version = make_version(1, deployment={"status": "running", "replicas": [told]})
    platform.answers["GET models/churn"] = {
        "aliases": {"production": 1},
        "latest_version": 1,
        "production_version": 1,
        "scaling": {"min": 1, "max": 1, "idle_seconds": 300},
    }
    platform.answers["GET models/churn/versions"] = {"items": [version], "next_cursor": None}
    platform.answers["GET models/churn/versions/1"] = version
    shown = run("models", "show", "churn")
    assert shown.exit_code == 0, shown.output
    assert ("Packed" in shown.output) == bool(said)
    assert said in shown.output


def test_promote_points_an_alias(platform: Any, run: Run, make_version: MakeVersion) -> None:
    platform.answers["PUT models/churn/aliases/production"] = {}
    platform.answers["GET models/churn"] = {"aliases": {"production": 4}, "latest_version": 4}
    platform.answers["GET models/churn/versions/4"] = make_version(4)
    shown = run("models", "promote", "churn", "4")
    assert "churn@production is version 4" in shown.output
    assert platform.bodies("PUT models/churn/aliases/production") == [{"version": 4}]


def test_delete_asks_first(platform: Any, run: Run) -> None:
    platform.answers["DELETE models/churn"] = httpx.Response(204)
    assert run("models", "delete", "churn", input="n\n").exit_code == 1
    assert platform.requests == []
    assert run("models", "delete", "churn", "--yes").exit_code == 0
    assert len(platform.requests) == 1


def test_predict_takes_json_a_file_or_standard_input(platform: Any, run: Run, tmp_path: Path) -> None:
    key = "POST /v1/default/models/churn@staging/predict"
    platform.answers[key] = {"predictions": [1]}
    (tmp_path / "body.json").write_text('{"b": 2}')
    assert json.loads(run("predict", "churn@staging", "--json", '{"a": 1}').output) == {"predictions": [1]}
    run("predict", "churn@staging", "--file", str(tmp_path / "body.json"))
    run("predict", "churn@staging", "--file", "-", input='{"c": 3}')
    assert platform.bodies(key) == [{"a": 1}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "--json or with --file"), (["--json", "{'a'}"], "is not JSON"), (["--file", "nowhere"], "There is no file")],
)
def test_a_body_that_is_none_is_refused(run: Run, arguments: list[str], message: str) -> None:
    shown = run("predict", "churn", *arguments)
    assert shown.exit_code == 1
    assert message in shown.stderr


def test_a_picture_that_is_not_there_is_said(platform: Any, run: Run) -> None:
    shown = run("predict", "digits", "--file", "nowhere.png")
    assert (shown.exit_code, shown.stderr) == (1, "There is no file nowhere.png.\n")
    assert platform.requests == []


def test_a_body_may_come_through_a_pipe(platform: Any, run: Run, piped: Callable[[str], str]) -> None:
    key = "POST /v1/default/models/churn/predict"
    platform.answers[key] = {"predictions": [1]}
    shown = run("predict", "churn", "--file", piped('{"a": 1}'))
    assert shown.exit_code == 0, shown.output
    assert platform.bodies(key) == [{"a": 1}]


def test_a_picture_is_sent_as_the_models_argument(
    platform: Any, run: Run, tmp_path: Path, make_version: MakeVersion
) -> None:
    schema = {"form": "record", "fields": [{"name": "image", "type": "image"}], "output": {"kind": "scores"}}
    platform.answers["GET models/digits"] = {"aliases": {"production": 1}, "latest_version": 1}
    platform.answers["GET models/digits/versions/1"] = make_version(1, schema=schema)
    platform.answers["POST /v1/default/models/digits/predict"] = {"3": 0.9}
    (tmp_path / "3.png").write_bytes(b"abc")
    assert json.loads(run("predict", "digits", "--file", str(tmp_path / "3.png")).output) == {"3": 0.9}
    assert platform.bodies("POST /v1/default/models/digits/predict") == [
        {"image": {"name": "3.png", "type": "image/png", "size": 3, "data": "YWJj"}}
    ]


def make_app_folder(root: Path, worklet: str) -> Path:
    (root / "worklets").mkdir(parents=True)
    (root / "app.yaml").write_text("app: 1\nname: hello\n")
    (root / "worklets" / "greet.yaml").write_text(worklet)
    return root


GOOD = "worklet: 1\nname: greet\ninput: {name: str}\noutput: {text: str}\nreturn: {text: =input.name}\n"


def test_app_check_tells_every_problem_with_file_and_line(run: Run, tmp_path: Path) -> None:
    folder = make_app_folder(tmp_path / "hello", GOOD.replace("=input.name", "=input.nme"))
    shown = run("app", "check", str(folder))
    assert shown.exit_code == 1
    assert "worklets/greet.yaml:5:" in shown.stderr
    assert "1 problem in hello" in shown.stderr
    (folder / "worklets" / "greet.yaml").write_text(GOOD)
    assert "hello is fine" in run("app", "check", str(folder)).output


def test_app_push_releases_and_shows_the_endpoint(platform: Any, run: Run, tmp_path: Path) -> None:
    folder = make_app_folder(tmp_path / "hello", GOOD)
    url = "http://gateway.test/v1/default/apps/hello/worklets/greet"
    release = {
        "number": 1,
        "state": "ready",
        "reason": "",
        "hint": "",
        "live": True,
        "stages": [{"name": "validate", "state": "done", "seconds": 0.1, "detail": ""}],
    }
    platform.answers |= {
        "PUT apps/hello/draft": {"revision": 5, "changed": ["app.yaml"], "problems": [], "warnings": []},
        "GET apps/hello": {
            "name": "hello",
            "live_release": 1,
            "url": "http://gateway.test/default/hello",
            "views": [{"name": "main", "title": "Main", "url": "http://gateway.test/default/hello/main"}],
            "worklets": [
                {"name": "greet", "endpoint": url, "input": [], "output": []},
                {"name": "inner", "endpoint": None, "input": [], "output": []},
            ],
        },
        "POST apps/hello/releases": release,
    }
    shown = run("app", "push", str(folder), "--note", "first")
    assert shown.exit_code == 0, shown.output
    assert f"Endpoint  {url}" in shown.output
    assert shown.output.count("Endpoint") == 1
    assert "View      http://gateway.test/default/hello/main" in shown.output
    assert platform.bodies("POST apps/hello/releases") == [{"note": "first", "go_live": True}]
    run("app", "push", str(folder), "--no-release")
    first, second = platform.bodies("PUT apps/hello/draft")
    assert "revision" not in first
    assert second["revision"] == 5


def test_app_push_prints_the_platforms_problems_by_file(platform: Any, run: Run, tmp_path: Path) -> None:
    folder = make_app_folder(tmp_path / "hello", GOOD)
    details = [
        {"path": "worklets/greet.yaml: nodes.a", "message": "there is no model `x`", "hint": "Deploy it.", "line": 9},
        {"path": "views/main.yaml: nodes.b", "message": "unknown component", "hint": "", "line": 4},
    ]
    error = {"code": "invalid_document", "message": "The app has 2 problems.", "details": details}
    platform.answers["PUT apps/hello/draft"] = httpx.Response(422, json={"error": error})
    shown = run("app", "push", str(folder))
    assert shown.exit_code == 1
    assert "worklets/greet.yaml:9: nodes.a: there is no model `x` Deploy it." in shown.stderr
    assert "views/main.yaml:4: nodes.b: unknown component" in shown.stderr


def test_app_pull_writes_the_draft(platform: Any, run: Run, tmp_path: Path) -> None:
    files = [{"path": "app.yaml", "content": "app: 1\nname: hello\n", "encoding": "utf-8"}]
    platform.answers["GET apps/hello/draft"] = {"revision": 2, "files": files}
    assert run("app", "pull", "hello", str(tmp_path / "here")).exit_code == 0
    assert (tmp_path / "here" / "app.yaml").read_text() == "app: 1\nname: hello\n"


def test_a_draft_that_moved_on_is_not_replaced(platform: Any, run: Run, tmp_path: Path) -> None:
    folder = make_app_folder(tmp_path / "hello", GOOD)
    error = {"code": "draft_moved", "message": "The draft is at revision 9.", "hint": "Pull it."}
    platform.answers["PUT apps/hello/draft"] = httpx.Response(409, json={"error": error})
    shown = run("app", "push", str(folder))
    assert shown.exit_code == 1
    assert "Or replace it with --force." in shown.stderr


def test_login_keeps_a_key_that_works(platform: Any, run: Run, tmp_path: Path) -> None:
    platform.answers["GET /api/v1/auth/key"] = IDENTITY
    shown = run("login", "http://console.test", "--no-browser", input="tf_abc_secret\n")
    assert shown.exit_code == 0, shown.output
    assert "http://console.test/keys" in shown.output
    assert "secret" not in shown.output
    profiles = read_profiles(tmp_path / "credentials.json")
    assert profiles == {
        "console.test": Profile("http://console.test", "tf_abc_secret", "default", "http://gateway.test")
    }
    assert run("logout").exit_code == 0
    assert read_profiles(tmp_path / "credentials.json") == {}
    assert run("logout").exit_code == 1


def test_login_with_a_wrong_key_keeps_nothing(platform: Any, run: Run, tmp_path: Path) -> None:
    error = {"code": "unauthenticated", "message": "The key is not valid."}
    platform.answers["GET /api/v1/auth/key"] = httpx.Response(401, json={"error": error})
    assert run("login", "http://console.test", "--key", "tf_x_y").exit_code == 1
    assert not (tmp_path / "credentials.json").exists()


def test_whoami_shows_no_secret(platform: Any, run: Run) -> None:
    platform.answers["GET /api/v1/auth/key"] = IDENTITY
    shown = run("whoami")
    assert "laptop (tf_abc_…)" in shown.output
    assert "secret" not in shown.output


def test_status_without_a_platform_says_so(platform: Any, run: Run, tmp_path: Path) -> None:
    platform.answers["GET /api/v1/system/status"] = httpx.ConnectError("Connection refused")
    shown = run("status", "--data", str(tmp_path))
    assert shown.exit_code == 1
    assert "Nothing runs on the data folder" in shown.output
    assert "Is `tenfold up` running?" in shown.output


def test_logs_of_a_process_come_from_the_data_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "logs").mkdir(parents=True)
    (tmp_path / "data" / "logs" / "gateway.log").write_text("one\ntwo\nthree\n")
    save_profile(tmp_path / "credentials.json", "local", Profile("http://a.test", "k", data_dir=str(tmp_path / "data")))
    assert run("logs", "gateway", "-n", "2").output == "two\nthree\n"
    shown = run("logs", "engine")
    assert shown.exit_code == 1
    assert "There is no log of engine" in shown.stderr


def test_a_log_is_followed_across_its_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "api.log"
    file.write_text("one\ntwo\n")
    later: Iterator[Callable[[], object]] = iter(
        [lambda: file.write_text("one\ntwo\nthree\n"), lambda: file.write_text("new\n")]
    )
    monkeypatch.setattr("tenfold.cli.system.time.sleep", lambda seconds: next(later)())
    lines = system.read_log(file, 1, follow=True)
    assert [next(lines), next(lines), next(lines)] == ["two", "three", "new"]


def test_runs_are_shown_with_their_steps(platform: Any, run: Run) -> None:
    summary = {
        "id": "r1",
        "app": "desk",
        "worklet": "route",
        "release": 2,
        "state": "failed",
        "caller": "laptop",
        "started_at": "2026-01-01T00:00:00+00:00",
        "duration_ms": 12.5,
        "error": {"message": "no"},
    }
    step = {"path": "clean", "kind": "pre", "state": "failed", "duration_ms": 1.0, "error": {"message": "no"}}
    platform.answers["GET runs"] = {"items": [summary], "next_cursor": None}
    platform.answers["GET runs/r1"] = {**summary, "input": {"text": "a"}, "output": None, "steps": [step]}
    assert "desk/route" in run("runs", "--help").output or run("runs").exit_code == 0
    assert "desk/route" in run("runs", "list", "--app", "desk").output
    assert platform.requests[-1].url.params["app"] == "desk"
    shown = run("runs", "show", "r1").output
    assert "clean" in shown
    assert '"text": "a"' in shown


def test_the_server_extra_is_named_when_it_is_missing(run: Run) -> None:
    shown = run("up")
    assert shown.exit_code == 1
    assert shown.stderr == "`tenfold up` needs the server extra.\npip install 'tenfold[server]'\n"


def test_server_commands_join_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def register(app: typer.Typer) -> None:
        @app.command("up")
        def up() -> None:
            raise ModuleNotFoundError("No module named 'celery'", name="celery")

    monkeypatch.setattr(EntryPoint, "load", lambda self: register)
    app = make_app(EntryPoint("server", "somewhere:register", "tenfold.commands"))
    shown = CliRunner().invoke(app, ["up"])
    assert shown.exit_code == 1
    assert "needs the server extra (celery is not installed)" in shown.stderr


def test_help_and_version_need_no_platform(run: Run) -> None:
    from importlib.metadata import version

    assert "tenfold deploy ./churn" in run("--help").output
    assert run("--version").output.strip() == version("tenfold")
    assert "--install-completion" in run("--help").output
