"""Who gets in, what the others learn (nothing), and what the edges of HTTP do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tenfold_platform.auth.tokens import TokenKind, issue

from ...waiting import wait_for

PATH = "/v1/acme/models/churn/predict"


@pytest.fixture
def served(world, workspace, make_worker) -> Any:
    """A model of `acme`, an app too, and the same of `other`."""
    return world.served(workspace, make_worker())


def without_request_id(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    request_id = answer.headers["X-Request-Id"]
    varying = {"x-request-id", "date"}
    headers = {name: value for name, value in answer.headers.items() if name not in varying}
    return answer.status_code, answer.content.replace(request_id.encode(), b"-"), headers


class TestCredentials:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer nonsense"},
            {"Authorization": "Basic dGY6eA=="},
            {"Authorization": "Bearer tf_aaaaaaaaaaaa_" + "A" * 43},
            {"X-Api-Key": "tf_aaaaaaaaaaaa_" + "A" * 43},
            {"Authorization": "Bearer tft.e30.AAAA"},
            {"Authorization": "Bearer tft.."},
            {"Cookie": "tenfold_session=abc"},
        ],
    )
    def test_without_a_good_one_there_is_401(self, serve, served, headers: dict[str, str]) -> None:
        with serve().client() as client:
            answer = client.post(PATH, json={}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_a_key_in_the_address_is_no_key(self, serve, served, key) -> None:
        with serve().client() as client:
            assert client.post(f"{PATH}?key={key}&api_key={key}", json={}).status_code == 401

    def test_two_credentials_are_one_too_many(self, serve, served, key) -> None:
        with serve().client(key) as client:
            assert client.post(PATH, json={}, headers={"X-Api-Key": key}).status_code == 401

    def test_a_right_id_with_a_wrong_secret_is_no_key(self, serve, served, key) -> None:
        wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
        with serve().client(wrong) as client:
            assert client.post(PATH, json={}).status_code == 401

    def test_an_expired_key_is_no_key(self, serve, served, workspace, make_key, clock) -> None:
        key = make_key(workspace, "predict", expires_at=clock()).text
        with serve().client(key) as client:
            assert client.post(PATH, json={}).status_code == 401

    def test_a_key_that_expires_meanwhile_is_refused_from_then_on(self, serve, served, workspace, make_key) -> None:
        from datetime import UTC, datetime, timedelta

        running = serve()
        key = make_key(workspace, "predict", expires_at=datetime.now(UTC) + timedelta(seconds=10)).text
        with running.client(key) as client:
            assert client.post(PATH, json={}).status_code == 200
            wait_for(lambda: client.post(PATH, json={}).status_code != 200, every=0.2)

    def test_a_scope_that_does_not_cover_it_is_forbidden(self, serve, served, workspace, make_key) -> None:
        with serve().client(make_key(workspace, "read").text) as client:
            answer = client.post(PATH, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_a_key_works_from_the_moment_it_is_made(serve, served, workspace, make_key) -> None:
    running = serve()
    for _ in range(5):
        with running.client(make_key(workspace, "predict").text) as client:
            assert client.post(PATH, json={}).status_code == 200
        time.sleep(0.3)


class TestConsoleTokens:
    def test_members_call_models_as_themselves(self, serve, served, workspace, make_user, make_token) -> None:
        user = make_user(workspace, "editor")
        token = make_token(TokenKind.CONSOLE, workspace, user_id=user.id, role="editor")
        with serve().client(token) as client:
            assert client.post(PATH, json={}).status_code == 200

    def test_the_role_is_what_it_is_now_and_not_what_the_token_says(
        self, serve, served, workspace, make_user, make_token
    ) -> None:
        user = make_user(workspace, "viewer")
        token = make_token(TokenKind.CONSOLE, workspace, user_id=user.id, role="admin")
        with serve().client(token) as client:
            assert client.post(PATH, json={}).status_code == 403

    def test_who_is_no_member_any_more_is_nobody(self, serve, served, workspace, make_user, make_token) -> None:
        stranger = make_user()
        token = make_token(TokenKind.CONSOLE, workspace, user_id=stranger.id, role="admin")
        with serve().client(token) as client:
            assert client.post(PATH, json={}).status_code == 401

    @pytest.mark.parametrize("lifetime", [-1, 0])
    def test_an_expired_token_says_so(self, serve, served, workspace, make_user, make_token, lifetime: int) -> None:
        user = make_user(workspace, "admin")
        token = make_token(TokenKind.CONSOLE, workspace, user_id=user.id, role="admin", lifetime_seconds=lifetime)
        with serve().client(token) as client:
            answer = client.post(PATH, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "expired")

    def test_a_token_signed_by_another_key_is_forged(self, serve, served, workspace, make_user) -> None:
        user = make_user(workspace, "admin")
        forged, _ = issue(
            "00" * 32, TokenKind.CONSOLE, workspace_id=workspace.id, name="x", user_id=user.id, role="admin"
        )
        with serve().client(forged) as client:
            assert client.post(PATH, json={}).status_code == 401

    @pytest.mark.parametrize("kind", [TokenKind.OPEN, TokenKind.VIEW])
    def test_other_kinds_of_token_call_no_model(
        self, serve, served, workspace, make_user, make_token, kind: TokenKind
    ) -> None:
        user = make_user(workspace, "admin")
        token = make_token(kind, workspace, user_id=user.id, role="admin")
        with serve().client(token) as client:
            assert client.post(PATH, json={}).status_code in (401, 404)


def test_a_foreign_object_looks_exactly_like_a_missing_one(
    serve, world, workspace, make_workspace, make_worker, make_key, bundle_of
) -> None:
    other = make_workspace("other")
    for owner in (workspace, other):
        world.served(owner, make_worker())
        world.app(owner, bundle_of(DOUBLE))
    with serve().client(make_key(workspace, "admin").text) as client:
        foreign = [
            client.post("/v1/other/models/churn/predict", json={}),
            client.post("/v1/other/models/churn@1/predict", json={}),
            client.post("/v1/other/apps/shop/worklets/double", json={"n": 1}),
        ]
        missing = [
            client.post("/v1/nowhere/models/churn/predict", json={}),
            client.post("/v1/acme/models/nothing/predict", json={}),
            client.post("/v1/acme/models/churn@99/predict", json={}),
            client.post("/v1/acme/models/Churn/predict", json={}),
            client.post("/v1/acme/apps/nothing/worklets/double", json={"n": 1}),
            client.post("/v1/acme/apps/shop/worklets/nothing", json={"n": 1}),
            client.post("/v1/acme/models/churn/explode", json={}),
            client.put(PATH, json={}),
            client.request("DELETE", PATH),
            client.post("/v1/anything", json={}),
        ]
        also = [client.get("/v1/other/apps/shop/openapi.json"), client.get(PATH)]
    bodies = {without_request_id(answer) for answer in ()} | {
        json.dumps(without_request_id(answer)[:2], default=str) for answer in (*foreign, *missing, *also)
    }
    assert {answer.status_code for answer in (*foreign, *missing, *also)} == {404}
    assert len(bodies) == 1
    assert len({json.dumps(without_request_id(answer)[2]) for answer in (*foreign, *missing)}) == 1


DOUBLE = """
worklet: 1
name: double
input: {n: int}
nodes:
  score: {model: churn, in: {n: =input.n}}
return: {score: =score}
triggers: {api: {http: true}}
"""


@pytest.mark.parametrize(
    "path",
    [
        "//v1/acme/models/churn/predict",
        "/v1//acme/models/churn/predict",
        "/v1/acme/models/churn/predict/",
        "/v1/acme/models/../models/churn/predict",
        "/v1/acme/models/%2e%2e/churn/predict",
        "/v1/acme/models/churn%2fpredict",
        "/v1/acme/models/churn/%70redict%00",
        "/v1/acme/models/churn/predict%0a",
        "/V1/acme/models/churn/predict",
        "/v1/ACME/models/churn/predict",
        "/v1/acme/models/churn%252fpredict",
        "/v1/acme/models/churn/predict;x=1",
        "/v1/acme/models/%ff/predict",
        "/v1/acme/models/churn\\predict",
    ],
)
def test_other_spellings_of_a_path_lead_nowhere(serve, served, key, path: str) -> None:
    running = serve()
    for credential, expected in ((key, {404}), (None, {401, 404})):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n"
        if credential:
            head += f"Authorization: Bearer {credential}\r\n"
        with running.raw() as connection:
            connection.sendall(head.encode("latin-1") + b"\r\n{}")
            answer = read_all(connection)
        assert int(answer.split()[1]) in expected | {400}
        assert b"200 OK" not in answer


def test_percent_encoding_is_decoded_once(serve, served, key) -> None:
    with serve().client(key) as client:
        assert client.post("/v1/%61cme/models/churn%40production/predict", json={}).status_code == 200


class TestCors:
    def test_the_console_may_call_and_read(self, serve, served, key, settings) -> None:
        with serve().client() as client:
            preflight = client.options(
                PATH,
                headers={
                    "Origin": settings.console_url,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization",
                },
            )
            answer = client.post(
                PATH, json={}, headers={"Origin": settings.console_url, "Authorization": f"Bearer {key}"}
            )
            refused = client.post(PATH, json={}, headers={"Origin": settings.console_url})
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == settings.console_url
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in preflight.headers
        for each in (answer, refused):
            assert each.headers["Access-Control-Allow-Origin"] == settings.console_url
            assert "X-Request-Id" in each.headers["Access-Control-Expose-Headers"]

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:7070.evil.example"])
    def test_other_origins_may_not(self, serve, served, key, origin: str) -> None:
        with serve().client(key) as client:
            preflight = client.options(PATH, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
            answer = client.post(PATH, json={}, headers={"Origin": origin})
        assert not [name for each in (preflight, answer) for name in each.headers if name.startswith("access-control")]
        assert preflight.status_code == 404

    def test_only_on_the_data_plane(self, serve, served, settings) -> None:
        with serve().client() as client:
            answer = client.get("/healthz", headers={"Origin": settings.console_url})
        assert "Access-Control-Allow-Origin" not in answer.headers


class TestRequestIds:
    @pytest.mark.parametrize("given", ["abc", "with space here", "x" * 200, "<script>alert(1)", "-starts-badly"])
    def test_a_strange_one_is_replaced(self, serve, served, key, given: str) -> None:
        with serve().client(key) as client:
            answer = client.post(PATH, json={}, headers={"X-Request-Id": given})
        assert len(answer.headers["X-Request-Id"]) == 32

    def test_errors_carry_it_in_header_and_body(self, serve, served) -> None:
        with serve().client() as client:
            answer = client.post(PATH, json={}, headers={"X-Request-Id": "given-by-me"})
        assert answer.headers["X-Request-Id"] == answer.json()["error"]["request_id"] == "given-by-me"


class TestLimits:
    def test_a_body_over_the_limit_is_refused_before_it_is_read(self, serve, served, key) -> None:
        running = serve(max_body_bytes=1000)
        with running.raw() as connection:
            connection.sendall(head(key, "Content-Length: 1000000"))
            assert read_head(connection).startswith(b"HTTP/1.1 413")

    def test_also_when_it_comes_in_chunks(self, serve, served, key) -> None:
        running = serve(max_body_bytes=1000)
        with running.raw() as connection:
            connection.sendall(head(key, "Transfer-Encoding: chunked"))
            for _ in range(20):
                connection.sendall(b"64\r\n" + b"x" * 100 + b"\r\n")
            assert read_head(connection).startswith(b"HTTP/1.1 413")

    def test_the_largest_body_allowed_passes(self, serve, served, key) -> None:
        with serve(max_body_bytes=1000).client(key) as client:
            assert client.post(PATH, content=b"x" * 1000).content == b"x" * 1000
            assert client.post(PATH, content=b"x" * 1001).status_code == 413

    def test_a_refused_upload_does_not_go_on_for_ever(self, serve, served, key) -> None:
        running = serve(max_body_bytes=1000)
        with running.raw() as connection:
            connection.sendall(head(key, "Transfer-Encoding: chunked"))
            began = time.monotonic()
            with pytest.raises(OSError):
                trickle(connection, seconds=20)
            assert time.monotonic() - began < 15

    def test_without_a_right_nothing_is_read(self, serve, served) -> None:
        running = serve()
        with running.raw() as connection:
            connection.sendall(head("nobody", "Content-Length: 1000000"))
            assert read_head(connection).startswith(b"HTTP/1.1 401")

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (["X-Big: " + "x" * 70_000], b"431"),
            ([f"X-{n}: y" for n in range(150)], b"431"),
            (["Content-Length: 2", "Content-Length: 3"], b"400"),
            (["Content-Length: 2", "Transfer-Encoding: chunked"], b"400"),
            (["Content-Length: -1"], b"400"),
            (["Content-Length: 2x"], b"400"),
            (["Transfer-Encoding: gzip"], b"400"),
            (["Bad Header: 1"], b"400"),
        ],
    )
    def test_headers_that_ask_for_trouble_are_refused(
        self, serve, served, key, lines: list[str], expected: bytes
    ) -> None:
        running = serve()
        with running.raw() as connection:
            connection.settimeout(20)
            try:
                connection.sendall(head(key, *lines))
                connection.sendall(b"{}")
            except OSError:
                pass
            answer = read_head(connection)
        assert answer.startswith(b"HTTP/1.1 " + expected), answer

    def test_slow_headers_have_their_time(self, serve, served, monkeypatch) -> None:
        from tenfold_platform.gateway.server import BoundedProtocol

        monkeypatch.setattr(BoundedProtocol, "header_seconds", 0.3)
        running = serve()
        with running.raw() as silent, running.raw() as slow:
            slow.sendall(b"POST / HTTP/1.1\r\n")
            began = time.monotonic()
            assert read_all(silent) == b""
            assert read_all(slow).startswith(b"HTTP/1.1 408")
            assert time.monotonic() - began < 10

    def test_a_second_request_with_slow_headers_too(self, serve, served, monkeypatch) -> None:
        from tenfold_platform.gateway.server import BoundedProtocol

        monkeypatch.setattr(BoundedProtocol, "header_seconds", 0.3)
        running = serve()
        with running.raw() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in read_head(connection)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHo")
            assert b"408" in read_all(connection)

    def test_a_body_that_trickles_is_cut_off(self, serve, served, key, monkeypatch) -> None:
        from tenfold_platform.gateway import http

        monkeypatch.setattr(http, "BODY_GRACE_SECONDS", 0.3)
        running = serve()
        with running.raw() as connection:
            connection.sendall(head(key, "Content-Length: 100"))
            connection.sendall(b"x")
            assert read_head(connection).startswith(b"HTTP/1.1 408")

    @pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 101 + b"]" * 101])
    def test_json_that_is_too_deep_is_refused(self, serve, world, workspace, key, bundle_of, body: bytes) -> None:
        world.app(workspace, bundle_of(DOUBLE))
        with serve().client(key) as client:
            answer = client.post("/v1/acme/apps/shop/worklets/double", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_input")

    def test_brackets_inside_texts_have_no_depth(self, serve, world, workspace, key, bundle_of) -> None:
        world.app(workspace, bundle_of(DOUBLE))
        body = json.dumps({"n": 4, "x": "[" * 500 + '\\"' * 50})
        with serve().client(key) as client:
            answer = client.post("/v1/acme/apps/shop/worklets/double", content=body)
        assert "no input named `x`" in answer.text


class TestConnections:
    def test_pipelined_requests_are_answered_in_order(self, serve, served, key) -> None:
        running = serve()
        requests = b"".join(
            head(key, "Content-Length: 3", f"X-Request-Id: pipelined-{n}") + b"%3d" % n for n in range(20)
        )
        with running.raw() as connection:
            connection.sendall(requests)
            received = b""
            while received.count(b"\r\n\r\n") < 20 or not received.endswith(b" 19"):
                received += connection.recv(65536)
        ids = [line.split(b": ")[1] for line in received.split(b"\r\n") if line.startswith(b"x-request-id")]
        assert ids == [b"pipelined-%d" % n for n in range(20)]

    def test_what_follows_a_good_request_does_not_spoil_its_answer(self, serve, served, key) -> None:
        running = serve()
        with running.raw() as connection:
            connection.sendall(head(key, "Content-Length: 2") + b"{}" + b"NONSENSE\x00\r\n\r\n")
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1

    def test_a_chunk_that_is_none_is_refused(self, serve, served, key) -> None:
        running = serve()
        with running.raw() as connection:
            connection.sendall(head(key, "Transfer-Encoding: chunked") + b"zz\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 400")

    def test_a_pipeline_without_end_is_ended(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        world.served(workspace, worker)
        running = serve()
        with running.raw() as connection:
            connection.sendall((head(key, "Content-Length: 2") + b"{}") * 1000)
            assert read_all(connection) == b""
        assert len(worker.requests) <= 1

    def test_a_pipelined_client_that_leaves_cancels_its_first_request(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        world.served(workspace, worker)
        running = serve()
        connection = running.raw()
        connection.sendall((head(key, "Content-Length: 2") + b"{}") * 3)
        running.wait_for(lambda _: len(worker.requests) == 1)
        connection.close()
        running.wait_for(lambda _: len(worker.cancelled) == 1)
        assert len(worker.requests) == 1

    def test_who_expects_100_is_told_to_go_on(self, serve, served, key) -> None:
        running = serve()
        with running.raw() as connection:
            connection.sendall(head(key, "Content-Length: 2", "Expect: 100-continue"))
            assert read_head(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"{}")
            assert read_head(connection).startswith(b"HTTP/1.1 200")

    def test_and_is_not_told_when_there_is_no_right(self, serve, served) -> None:
        running = serve()
        with running.raw() as connection:
            connection.sendall(head("nobody", "Content-Length: 2", "Expect: 100-continue"))
            assert read_head(connection).startswith(b"HTTP/1.1 401")


class TestHealth:
    def test_it_is_public_and_says_how_things_are(self, serve, served) -> None:
        with serve().client() as client:
            answer = client.get("/healthz")
            head_only = client.head("/healthz")
        assert answer.json()["status"] == "ok"
        assert (head_only.status_code, head_only.content) == (200, b"")

    def test_metrics_are_for_the_neighbourhood(self, serve, served, key) -> None:
        with serve().client(key) as client:
            client.post(PATH, json={})
            text = client.get("/metrics").text
            public = client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
        assert 'tenfold_gateway_requests_total{kind="predict",status="200",target="acme/churn"} 1.0' in text
        assert public.status_code == 404

    def test_before_anything_was_loaded_there_is_503(self, serve, monkeypatch: pytest.MonkeyPatch) -> None:
        from pydantic import SecretStr

        from tenfold_platform.gateway import main

        monkeypatch.setattr(main, "FIRST_LOAD_SECONDS", 0.05)
        with serve(database_url=SecretStr("postgresql://nobody@127.0.0.1:9/none")).client("tf_x") as client:
            health = client.get("/healthz")
            answer = client.post(PATH, json={})
        assert (health.status_code, health.json()["status"]) == (503, "starting")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


def trickle(connection: Any, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(b"64\r\n" + b"x" * 100 + b"\r\n")


def head(key: str, *lines: str) -> bytes:
    start = [f"POST {PATH} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *lines]
    return ("\r\n".join(start) + "\r\n\r\n").encode()


def read_head(connection: Any) -> bytes:
    return _read(connection, lambda data: b"\r\n\r\n" in data)


def read_all(connection: Any) -> bytes:
    return _read(connection, lambda data: False)


def _read(connection: Any, enough: Callable[[bytes], bool]) -> bytes:
    data = b""
    while not enough(data):
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        data += part
    return data
