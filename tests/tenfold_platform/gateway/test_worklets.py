"""The fast path: a worklet's graph walked in the gateway, its workers called, its history written behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tenfold_platform.auth.tokens import TokenKind

PATH = "/v1/acme/apps/shop/worklets/triage"
DIGEST = "c" * 64

TRIAGE = """
worklet: 1
name: triage
input: {text: str, limit: {type: int, default: 3}}
output: {label: str, score: float}
settings: {deadline: 5s}
nodes:
  clean: {pre: "code/text.py:clean", in: {text: =input.text}}
  score: {model: sentiment, in: {inputs: =clean.text}}
  top: {post: "code/text.py:top", in: {raw: =score, limit: =input.limit}}
return: {label: =top.label, score: =top.score}
triggers: {api: {http: true}}
"""


def code(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    """A code worker that knows both functions."""
    values = json.loads(payload)
    results = []
    for step in header["steps"]:
        given = {name: values.get(ref["$ref"]) for name, ref in step["arguments"].items()}
        output = (
            {"text": "clean"} if step["target"].endswith(":clean") else {"label": "good", "score": 0.9, "n": len(given)}
        )
        results.append(
            {"name": step["name"], "ok": True, "output": output, "started_at": 1.0, "seconds": 0.001, "logs": "hello\n"}
        )
    reply.ok(json.dumps({"results": results}).encode())


def model(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    reply.ok(b'{"predictions": ["good"]}')


def when_let_go(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    worker.hold.wait(5)
    reply.ok()


def failing_code(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    error = {
        "status": 500, "code": "user_error", "message": "ValueError: too odd", "source": "user",
        "traceback": "SECRET LINE",
    }  # fmt: skip
    result = {"name": header["steps"][0]["name"], "ok": False, "error": error, "logs": "about to fail\n"}
    reply.ok(json.dumps({"results": [result]}).encode())


@pytest.fixture
def release(world, workspace, make_worker, bundle_of) -> Callable[..., tuple[Any, Any]]:
    """Makes the app with its workers: `release()`, `release(code=failing_code)`."""

    def make(code: Any = code, model: Any = model, worklet: str = TRIAGE) -> tuple[Any, Any]:
        code_worker, model_worker = make_worker(code), make_worker(model)
        version = world.served(workspace, model_worker, "sentiment", number=4)
        environment = world.environment(workspace)
        world.replica(world.code_deployment(workspace, environment), code_worker.address)
        world.app(
            workspace,
            bundle_of(
                worklet,
                models={"sentiment@production": version},
                environments={"default": environment},
                code_digest=DIGEST,
            ),
            number=2,
        )
        return code_worker, model_worker

    return make


@pytest.fixture
def stored(database_url: str) -> Callable[[], dict[str, Any]]:
    """The one run in PostgreSQL, with its steps."""

    def read() -> dict[str, Any]:
        with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as connection:
            (run,) = connection.execute("select * from runs").fetchall()
            steps = connection.execute("select * from run_steps order by started_at nulls last, path").fetchall()
        return run | {"steps": {step["path"]: step for step in steps}}

    return read


def test_the_graph_is_walked_and_the_output_answered(serve, release, key, stored, workspace) -> None:
    code_worker, model_worker = release()
    running = serve()
    with running.client(key) as client:
        answer = client.post(PATH, json={"text": " Hello "})
    assert (answer.status_code, answer.json()) == (200, {"label": "good", "score": 0.9})
    assert [header["steps"][0]["name"] for header, _ in code_worker.requests] == ["clean", "top"]
    assert {header["code"] for header, _ in code_worker.requests} == {DIGEST}
    assert model_worker.requests[0][1] == b'{"inputs":"clean"}'
    running.flush()
    run = stored()
    assert str(run["id"]) == answer.headers["X-Tenfold-Run"]
    assert (run["worklet"], run["state"], run["trigger"], run["error"]) == ("triage", "succeeded", "http", None)
    assert run["caller"] == "key:" + key.split("_")[1]
    assert run["request_id"] == answer.headers["X-Request-Id"]
    assert (run["input"], run["output"]) == ({"text": " Hello "}, {"label": "good", "score": 0.9})
    assert run["workspace_id"] == workspace.id
    assert run["finished_at"] > run["started_at"]
    assert {path: step["state"] for path, step in run["steps"].items()} == dict.fromkeys(
        ("clean", "score", "top"), "succeeded"
    )
    assert run["steps"]["clean"]["logs"] == "hello\n"
    assert run["steps"]["score"]["output"] == {"predictions": ["good"]}
    assert run["steps"]["clean"]["kind"] == "pre"


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, ["text"]),
        ({"text": 3}, ["text"]),
        ({"text": "a", "limit": "b"}, ["limit"]),
        ({"text": "a", "other": 1}, ["other"]),
        ([], [""]),
        ({"limit": 1.5, "x": 1}, ["limit", "text", "x"]),
    ],
)
def test_wrong_input_is_named_field_by_field_and_is_no_run(
    serve, release, key, body: Any, paths: list[str], database_url: str
) -> None:
    code_worker, _ = release()
    running = serve()
    with running.client(key) as client:
        answer = client.post(PATH, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad_input")
    assert sorted(detail["path"] for detail in error["details"]) == paths
    assert all(detail["message"] for detail in error["details"])
    assert "X-Tenfold-Run" not in answer.headers
    running.flush()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (0,)
    assert code_worker.requests == []


@pytest.mark.parametrize("caller", ["key", "console"])
def test_without_an_http_trigger_there_is_nothing_to_call(
    serve, release, make_user, make_token, workspace, key, caller: str
) -> None:
    code_worker, _ = release(worklet=TRIAGE.replace("triggers: {api: {http: true}}", ""))
    if caller == "console":
        key = make_token(TokenKind.CONSOLE, workspace, user_id=make_user(workspace, "admin").id, role="admin")
    same = {"X-Request-Id": "same-for-both"}
    with serve().client(key, headers=same) as client:
        hidden = client.post(PATH, json={"text": "x"})
        missing = client.post(PATH.replace("triage", "missing"), json={"text": "x"})
    assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "not_found")
    assert hidden.content == missing.content
    assert code_worker.requests == []


@pytest.mark.parametrize(("status", "said"), [(422, "bad_input"), (404, "http")])
def test_what_a_step_refuses_is_the_callers_fault(serve, release, key, stored, status: int, said: str) -> None:
    def refuse(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
        error = {"status": status, "code": said, "message": "no such text", "source": "input"}
        reply.ok(json.dumps({"results": [{"name": header["steps"][0]["name"], "ok": False, "error": error}]}).encode())

    release(code=refuse)
    running = serve()
    with running.client(key) as client:
        answer = client.post(PATH, json={"text": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"], error["hint"]) == (status, said, "no such text", "")
    running.flush()
    assert stored()["error"]["source"] == "input"


@pytest.mark.parametrize(("scope", "told"), [("predict", False), ("admin", True)])
def test_a_step_that_raises_fails_the_run_and_says_where(
    serve, release, make_key, workspace, stored, scope: str, told: bool
) -> None:
    release(code=failing_code)
    key = make_key(workspace, scope).text
    running = serve()
    with running.client(key) as client:
        answer = client.post(PATH, json={"text": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (500, "user_error", "ValueError: too odd")
    assert error["details"][0]["path"] == "clean"
    assert ("SECRET LINE" in answer.text) is told
    running.flush()
    run = stored()
    assert str(run["id"]) == answer.headers["X-Tenfold-Run"]
    assert (run["state"], run["output"]) == ("failed", None)
    assert run["error"]["traceback"] == "SECRET LINE"
    assert {path: step["state"] for path, step in run["steps"].items()} == {
        "clean": "failed", "score": "skipped", "top": "skipped"
    }  # fmt: skip
    assert run["steps"]["clean"]["logs"] == "about to fail\n"
    assert run["steps"]["score"]["kind"] == "model"


def test_a_worker_that_dies_is_told_as_what_it_is(serve, release, key, stored) -> None:
    release(model=lambda worker, header, payload, reply: worker.die())
    running = serve()
    with running.client(key) as client:
        answer = client.post(PATH, json={"text": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "worker_lost")
    assert "Retry-After" in answer.headers
    running.flush()
    assert stored()["steps"]["score"]["error"]["code"] == "worker_lost"


def test_the_deadline_cancels_the_work(serve, release, key, stored) -> None:
    _, model_worker = release(
        model=lambda worker, header, payload, reply: None, worklet=TRIAGE.replace("deadline: 5s", "deadline: 300ms")
    )
    running = serve()
    with running.client(key) as client:
        answer = client.post(PATH, json={"text": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")
    running.wait_for(lambda _: len(model_worker.cancelled) == 1)
    running.flush()
    assert stored()["state"] == "failed"


def test_a_client_that_leaves_cancels_the_run_and_the_run_is_recorded(serve, release, key, stored) -> None:
    _, model_worker = release(model=lambda worker, header, payload, reply: None)
    running = serve()
    connection = running.raw()
    body = b'{"text": "x"}'
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    running.wait_for(lambda _: len(model_worker.requests) == 1)
    connection.close()
    running.wait_for(lambda _: len(model_worker.cancelled) == 1)
    running.wait_for(lambda gateway: not gateway.running)
    running.flush()
    run = stored()
    assert run["state"] == "cancelled"
    assert {path: step["state"] for path, step in run["steps"].items()} == {
        "clean": "succeeded", "score": "cancelled", "top": "skipped"
    }  # fmt: skip


def test_the_release_decides_the_version_and_not_the_alias(serve, release, world, workspace, make_worker, key) -> None:
    _, pinned = release()
    newer = make_worker(model)
    world.served(workspace, newer, "sentiment", number=5)
    with serve().client(key) as client:
        assert client.post(PATH, json={"text": "x"}).status_code == 200
    assert (len(pinned.requests), len(newer.requests)) == (1, 0)


def test_a_new_release_is_live_within_a_second(serve, release, world, workspace, bundle_of, key) -> None:
    release()
    running = serve()
    with running.client(key) as client:
        assert client.post(PATH, json={"text": "x"}).status_code == 200
        world.app(workspace, bundle_of(), number=3)
        running.wait_for(lambda g: g.snapshot().find_app("acme", "shop").release.number == 3, seconds=1)
        assert client.post(PATH, json={"text": "x"}).status_code == 404


def test_a_release_that_cannot_be_read_is_an_error_and_not_an_outage(
    serve, release, world, workspace, key, make_worker
) -> None:
    release()
    world.served(workspace, make_worker())
    world.app(workspace, {"bundle": 99}, name="broken")
    with serve().client(key) as client:
        broken = client.post("/v1/acme/apps/broken/worklets/x", json={})
        assert client.post(PATH, json={"text": "x"}).status_code == 200
        assert client.post("/v1/acme/models/churn/predict", json={}).status_code == 200
    assert (broken.status_code, broken.json()["error"]["code"]) == (503, "release_unreadable")


def test_large_values_are_kept_as_a_note_of_their_size(serve, release, key, stored) -> None:
    release()
    running = serve()
    with running.client(key) as client:
        assert client.post(PATH, json={"text": "x" * 2_000_000}).status_code == 200
    running.flush()
    run = stored()
    assert run["input"]["$truncated"] is True
    assert run["input"]["size"] > 2_000_000
    assert run["input"]["preview"].startswith('{"text":"xxx')
    assert run["steps"]["clean"]["input"]["$truncated"] is True
    assert run["output"] == {"label": "good", "score": 0.9}


def test_what_postgresql_cannot_hold_does_not_hold_up_the_history(serve, release, key, stored) -> None:
    release()
    running = serve()
    with running.client(key) as client:
        assert client.post(PATH, content=b'{"text": "a\\u0000b"}').status_code == 200
    running.flush()
    assert stored()["input"] == {"text": "a\ufffdb"}


def test_only_so_many_runs_of_a_worklet_at_once(serve, release, key) -> None:
    _, model_worker = release(
        model=when_let_go,
        worklet=TRIAGE.replace("deadline: 5s", "deadline: 5s, concurrency: 2"),
    )
    running = serve()
    statuses: list[int] = []
    with running.client(key, limits=httpx.Limits(max_connections=10)) as client:
        callers = [
            threading.Thread(target=lambda: statuses.append(client.post(PATH, json={"text": "x"}).status_code))
            for _ in range(2)
        ]
        for caller in callers:
            caller.start()
        running.wait_for(lambda gateway: sum(gateway.running.values()) == 2)
        refused = client.post(PATH, json={"text": "x"})
        model_worker.hold.set()
        for caller in callers:
            caller.join(5)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "worklet_busy")
    assert statuses == [200, 200]


def test_the_openapi_of_the_live_release(serve, release, key, make_key, workspace) -> None:
    release()
    running = serve()
    with running.client(key) as client:
        assert client.get("/v1/acme/apps/shop/openapi.json").json()["openapi"] == "3.1.0"
    with running.client() as nobody:
        assert nobody.get("/v1/acme/apps/shop/openapi.json").status_code == 401
