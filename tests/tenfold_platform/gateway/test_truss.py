"""The addresses of a Truss server and of Baseten: which version they mean, what they pass on, how they say no."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest

from tenfold_platform.auth.tokens import TokenKind
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.gateway.pool import PoolLimits

R = "/v1/acme/models/churn"
METHODS = {
    "/v1/chat/completions": "chat_completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}


def as_baseten(answer: httpx.Response) -> tuple[int, Any, str | None, str | None]:
    headers = answer.headers
    error = answer.json()["error"]
    return answer.status_code, error, headers.get("X-BASETEN-ERROR-SOURCE"), headers.get("X-BASETEN-ERROR-CODE")


def fail_with(status: int, code: str, message: str, **more: Any) -> Any:
    return lambda worker, header, payload, reply: reply.error(status, code, message, **more)


class TestAddresses:
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/models/model:predict",
            "/v1/models/model:predict_binary",
            "/invocations",
            "/sync/v1/models/model:predict",
            "/production/predict",
            "/production/sync/v1/models/model:predict",
            "/environments/production/predict",
            "/environments/production/sync/invocations",
            "/deployment/1/predict",
            "/deployment/1/sync/v1/models/model:predict",
            "/development/predict",
            "/development/sync/v1/models/model:predict",
        ],
    )
    def test_predict_is_found_everywhere(self, serve, world, workspace, key, make_worker, path: str) -> None:
        worker = make_worker(lambda worker, header, payload, reply: reply.ok(b"[1]"))
        world.served(workspace, worker)
        with serve().client(key) as client:
            answer = client.post(R + path, content=b'{"n": 1}', headers={"Content-Type": "text/plain"})
        assert (answer.status_code, answer.content) == (200, b"[1]")
        header, payload = worker.requests[0]
        assert (header["op"], header["content_type"], payload) == ("predict", "application/json", b'{"n": 1}')

    @pytest.mark.parametrize("prefix", ["", "/sync", "/production/sync", "/environments/production/sync"])
    @pytest.mark.parametrize("path", METHODS)
    def test_the_methods_beside_predict_are_found_by_their_paths(
        self, serve, world, workspace, key, make_worker, prefix: str, path: str
    ) -> None:
        worker = make_worker()
        world.served(workspace, worker)
        with serve().client(key) as client:
            assert client.post(R + prefix + path, json={"n": 1}).json() == {"n": 1}
        header, _ = worker.requests[0]
        assert (header["op"], header["method"], header["http"]["path"]) == ("method", METHODS[path], path)

    def test_each_prefix_means_its_version(self, serve, world, workspace, key, make_worker) -> None:
        for number, alias in ((1, "production"), (2, "staging"), (3, None)):
            world.served(workspace, make_worker(), number=number, alias=alias)
        running = serve()
        with running.client(key) as client:

            def answered(path: str) -> str | None:
                return client.post(path, json={}).headers.get("X-Tenfold-Version")

            assert {path: answered(R + path) for path in (
                "/production/predict", "/development/predict", "/environments/staging/predict",
                "/deployment/2/predict", "@staging/sync/invocations", "@3/v1/models/model:predict",
                "/environments/nope/predict", "/deployment/9/predict", "@2/production/predict",
            )} == {
                "/production/predict": "1", "/development/predict": "3", "/environments/staging/predict": "2",
                "/deployment/2/predict": "2", "@staging/sync/invocations": "2", "@3/v1/models/model:predict": "3",
                "/environments/nope/predict": None, "/deployment/9/predict": None, "@2/production/predict": None,
            }  # fmt: skip
            world.served(workspace, make_worker(), number=4, alias="development")
            world.served(workspace, make_worker(), number=5, alias=None)
            running.reload()
            assert answered(R + "/deployment/5/predict") == "5"
            assert answered(R + "/development/predict") == "4"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", ""), ("GET", "/v1/models/model"), ("GET", "/v1/models/model/loaded"), ("GET", "/metrics"),
            ("GET", "/v1/models/model/schema"), ("GET", "/ping"), ("POST", "/invocations"),
            ("POST", "/v1/chat/completions"), ("POST", "/production/predict"), ("POST", "/production/async_predict"),
            ("GET", "/predictions/01890000-0000-7000-8000-000000000000"),
            ("DELETE", "/predictions/01890000-0000-7000-8000-000000000000"),
            ("GET", "/async_request/01890000-0000-7000-8000-000000000000"),
        ],
    )  # fmt: skip
    def test_nobody_gets_in_without_the_right(
        self, serve, world, workspace, make_workspace, make_key, make_worker, make_token, method: str, path: str
    ) -> None:
        world.served(workspace, make_worker())
        credentials = {
            "nobody": (None, 401),
            "foreign": (make_key(make_workspace("other"), "admin").text, 404),
            "may only read": (make_key(workspace, "read").text, 403),
            "a view's visitor": (make_token(TokenKind.VIEW, workspace), 404),
        }
        running = serve()
        for who, (credential, status) in credentials.items():
            with running.client(credential) as client:
                answer = client.request(method, R + path, json={} if method == "POST" else None)
                assert (who, answer.status_code) == (who, status)


class TestWhatTheModelSees:
    def test_the_request_without_its_credentials(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker()
        world.served(workspace, worker)
        headers = {
            "X-Mine": "1", "Cookie": "session=1", "Proxy-Authorization": "Basic x", "TE": "trailers",
            "User-Agent": "OpenAI/Python 1", "Content-Type": "application/json",
        }  # fmt: skip
        with serve().client(key, headers=headers) as client:
            client.post(R + "/sync/v1/models/model:predict?a=1&b=%20", content=b"{}")
        http = worker.requests[0][0]["http"]
        assert (http["method"], http["path"], http["query"]) == ("POST", "/v1/models/model:predict", "a=1&b=%20")
        names = [name for name, _ in http["headers"]]
        assert ["x-mine", "1"] in http["headers"]
        assert ["user-agent", "OpenAI/Python 1"] in http["headers"]
        assert not {"authorization", "cookie", "proxy-authorization", "te", "connection"} & set(names)
        assert key not in json.dumps(worker.requests[0][0])

    @pytest.mark.parametrize("header", ["Authorization: Api-Key {}", "X-Api-Key: {}", "authorization: bearer {}"])
    def test_no_form_of_a_key_reaches_it(self, serve, world, workspace, key, make_worker, header: str) -> None:
        worker = make_worker()
        world.served(workspace, worker)
        name, _, value = header.format(key).partition(": ")
        with serve().client() as client:
            assert client.post(R + "/v1/embeddings", json={}, headers={name: value}).status_code == 200
        assert key not in json.dumps(worker.requests[0][0])

    def test_binary_is_msgpack_both_ways(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(lambda w, h, payload, reply: reply.ok(payload, content_type="application/msgpack"))
        world.served(workspace, worker)
        with serve().client(key) as client:
            answer = client.post(
                R + "/v1/models/model:predict", content=b"\x81", headers={"Content-Type": "application/octet-stream"}
            )
        header, payload = worker.requests[0]
        assert (header["content_type"], header["accept"], payload) == (
            "application/msgpack",
            "application/msgpack",
            b"\x81",
        )
        assert (answer.headers["Content-Type"], answer.content) == ("application/octet-stream", b"\x81")

    def test_csv_reaches_a_table_model_as_a_table(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker()
        schema = {
            "form": "table",
            "fields": [{"name": "age", "type": "int"}, {"name": "zip", "type": "str"}, {"name": "ok", "type": "bool"}],
        }
        world.served(workspace, worker, schema=schema)
        with serve().client(key) as client:
            told = client.post(
                R + "/invocations",
                content='age,zip,ok\n41,00123,true\n,"a,b",False\n1e3,,\n',
                headers={"Content-Type": "text/csv; charset=utf-8"},
            )
            wrong = client.post(R + "/invocations", content="a,b\n1\n", headers={"Content-Type": "text/csv"})
        assert told.json() == {
            "dataframe_split": {
                "columns": ["age", "zip", "ok"],
                "data": [[41, "00123", True], [None, "a,b", False], [1000.0, None, None]],
            }
        }
        assert as_baseten(wrong) == (400, "Row 0 has 1 values, and there are 2 columns.", "04", "700")

    def test_csv_with_very_long_cells(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker()
        world.served(workspace, worker, schema={"form": "table", "fields": [{"name": "a", "type": "str"}]})
        digits, text = "9" * 400, "a" * 200_000
        with serve().client(key) as client:
            told = client.post(
                R + "/invocations",
                content=f"a,b\n{text},{digits}\nx,{digits}e1\nx,1e999\n",
                headers={"Content-Type": "text/csv"},
            )
        assert told.json()["dataframe_split"]["data"] == [[text, int(digits)], ["x", f"{digits}e1"], ["x", "1e999"]]


class TestErrors:
    @pytest.mark.parametrize(
        ("said", "answer"),
        [
            (fail_with(400, "bad_input", "not JSON", source="input"), (400, "not JSON", "700")),
            (
                fail_with(400, "bad_input", "2 fields are wrong.", source="input", details=[
                    {"field": "a", "message": "is missing"}, {"field": "b", "message": "is no number"},
                ]),
                (400, "2 fields are wrong.\n  `a`: is missing\n  `b`: is no number", "700"),
            ),
            (fail_with(404, "no_such_method", "no `embeddings`"), (404, "no `embeddings`", "700")),
            (
                fail_with(500, "user_error", "ValueError: secret", source="user", traceback="line 3"),
                (500, "Internal Server Error (in model/chainlet).", "600"),
            ),
            (fail_with(403, "http", "no", detail="no", source="input"), (403, "no", "600")),
            (
                fail_with(422, "bad_input", "{...}", detail={"field": "age"}, source="input"),
                (422, {"field": "age"}, "600"),
            ),
            (fail_with(503, "load_failed", "load raised"), (503, "load raised", "600")),
            (fail_with(500, "bad_output", "a socket is no JSON"), (500, "a socket is no JSON", "500")),
        ],
    )  # fmt: skip
    def test_of_the_worker(
        self, serve, world, workspace, make_key, make_worker, said: Any, answer: tuple[int, Any, str]
    ) -> None:
        world.served(workspace, make_worker(said))
        with serve().client(make_key(workspace, "admin").text) as client:
            given = client.post(R + "/v1/embeddings", json={})
        assert as_baseten(given) == (answer[0], answer[1], "04", answer[2])
        assert given.headers["X-Tenfold-Version"] == "1"
        assert "traceback" not in given.text

    def test_of_the_gateway(self, serve, world, workspace, key) -> None:
        world.deployment(world.model(workspace), desired=0)
        running = serve(max_body_bytes=10)
        with running.client(key) as client, running.client() as nobody:
            assert as_baseten(client.post(R + "/production/predict", json={})) == (503, "It is stopped.", "04", "600")
            assert as_baseten(nobody.post(R + "/production/predict", json={}))[::2] == (401, "04")
            assert as_baseten(client.post(R + "@7/v1/embeddings", json={}))[::3] == (404, "700")

    def test_headers_of_an_exception_and_of_a_response_are_passed_on(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        def answer(worker, header, payload, reply):
            if payload == b'"raise"':
                reply.error(429, "http", "slow down", detail="slow down", headers={"retry-after": "7", "x-why": "1"})
            else:
                reply.ok(b"gone", status=410, content_type="text/plain", headers={"X-Mine": "2", "Set-Cookie": "a=b"})

        world.served(workspace, make_worker(answer))
        with serve().client(key) as client:
            raised = client.post(R + "/v1/completions", json="raise")
            returned = client.post(R + "/v1/completions", json="return")
        assert (raised.status_code, raised.headers["Retry-After"], raised.headers["X-Why"]) == (429, "7", "1")
        assert (returned.status_code, returned.text, returned.headers["X-Mine"]) == (410, "gone", "2")
        assert returned.headers["X-BASETEN-ERROR-CODE"] == "700"
        assert "set-cookie" not in returned.headers

    def test_tenfolds_own_route_keeps_its_own_shape(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker(fail_with(418, "http", "teapot", detail="teapot")))
        with serve().client(key) as client:
            answer = client.post(R + "/predict", json={})
        assert (answer.status_code, answer.json()["error"]["message"]) == (418, "teapot")
        assert "X-BASETEN-ERROR-CODE" not in answer.headers


class TestProbes:
    def health(self, **said: Any) -> Any:
        def answer(worker, header, payload, reply):
            assert header["op"] == "health"
            reply.frame({"ok": True, "state": "ready", **said})

        return answer

    @pytest.mark.parametrize(
        ("said", "ready", "loaded"),
        [
            ({}, 200, 200),
            ({"healthy": True}, 200, 200),
            ({"healthy": None}, 200, 200),
            ({"healthy": False}, 503, 200),
            ({"state": "loading"}, 503, 503),
            ({"state": "failed", "error": {"message": "no weights"}}, 503, 503),
            ({"stopping": True}, 503, 200),
        ],
    )
    def test_the_models_own_word_decides(
        self, serve, world, workspace, key, make_worker, said: dict[str, Any], ready: int, loaded: int
    ) -> None:
        world.served(workspace, make_worker(self.health(**said)))
        with serve().client(key) as client:
            assert client.get(R + "/v1/models/model").status_code == ready
            assert client.get(R + "/production/sync/v1/models/model").status_code == ready
            assert client.get(R + "/v1/models/model/loaded").status_code == loaded
            assert client.get(R + "/ping").status_code == loaded
            assert (client.get(R).status_code, client.get(R).json()) == (200, True)

    def test_are_answered_while_every_place_is_taken(self, serve, world, workspace, key, make_worker) -> None:
        def answer(worker, header, payload, reply):
            if header["op"] == "predict":
                worker.hold.wait(20)
            reply.frame({"ok": True, "state": "ready", "status": 200, "content_type": "application/json"}, b"1")

        worker = make_worker(answer)
        world.served(workspace, worker)
        running = serve()
        with running.client(key) as client, running.client(key) as other:
            callers = [threading.Thread(target=lambda: client.post(R + "/predict", json={})) for _ in range(6)]
            for caller in callers:
                caller.start()
            running.wait_for(lambda _: len(worker.requests) == 2)
            assert other.get(R + "/v1/models/model").status_code == 200
            assert other.post(R + "/v1/chat/completions", json={}).status_code == 200
            worker.hold.set()
            for caller in callers:
                caller.join(20)

    def test_are_answered_while_websockets_take_every_slot(self, serve, world, workspace, key, make_worker) -> None:
        def answer(worker, header, payload, reply):
            if header["op"] == "websocket":
                reply.frame({"ok": True, "more": True, "ws": "accept"})
            else:
                reply.frame({"ok": True, "state": "ready"})

        world.served(workspace, make_worker(answer))
        running = serve(limits=PoolLimits(beside_slots=2))
        path = R + "/v1/websocket"
        with running.websocket(path, key), running.websocket(path, key), running.client(key) as client:
            assert client.get(R + "/v1/models/model").status_code == 200
            assert client.get(R + "/ping").status_code == 200
            assert client.get(R + "/metrics").status_code == 200

    def test_say_no_at_once_when_there_is_nobody(self, serve, world, workspace, key) -> None:
        deployment = world.deployment(world.model(workspace))
        replica = world.replica(deployment, None, state="loading")
        running = serve()
        with running.client(key) as client:
            statuses = {path: client.get(R + path).status_code for path in ("", "/v1/models/model", "/ping")}
            assert statuses == {"": 200, "/v1/models/model": 503, "/ping": 503}
            world.set_replica(replica, state="failed")
            with world.sessions.begin() as session:
                session.get(DeploymentTable, deployment).failures = 1
            world.replica(deployment, None, state="loading")
            running.reload()
            assert client.get(R).status_code == 503  # it failed to load, and is only being tried again

    def test_schema_and_metrics_are_the_workers(self, serve, world, workspace, key, make_worker) -> None:
        described = {"input_schema": {"type": "object"}, "output_schema": None, "supports_streaming": False}

        def answer(worker, header, payload, reply):
            if header["op"] == "schema":
                reply.ok(json.dumps({"inputs": None, "outputs": None, "truss": worker.schema}).encode())
            else:
                reply.ok(b"# HELP a\na 1.0\n", content_type="text/plain; version=0.0.4; charset=utf-8")

        worker = make_worker(answer)
        world.served(workspace, worker)
        with serve().client(key) as client:
            worker.schema = described
            assert client.get(R + "/v1/models/model/schema").json() == described
            worker.schema = None
            assert as_baseten(client.get(R + "/v1/models/model/schema"))[:2] == (404, "No schema found")
            metrics = client.get(R + "/metrics")
        assert metrics.text == "# HELP a\na 1.0\n"
        assert metrics.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
