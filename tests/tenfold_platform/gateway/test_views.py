"""Published views: the page, the trade of grants for tokens, documents, and queries by name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tenfold_platform.auth.tokens import TokenKind, link_key

SCORE = """
worklet: 1
name: score
input: {age: int, note: str?}
nodes:
  rate: {model: churn, in: {age: =input.age}}
return: {rate: =rate}
"""

DOCUMENT = {"view": 1, "name": "main", "title": "Main", "queries": {"rate": {"run": "manual"}}, "nodes": {}}
VIEWS = {
    "main": {
        "title": "Main",
        "document": DOCUMENT,
        "queries": {
            "rate": {"kind": "worklet", "target": "score", "in": {"age": "int", "note": "str?"}, "timeout_ms": 5000},
            "few": {"kind": "worklet", "target": "score", "in": {"age": None}, "timeout_ms": None},
            "any": {"kind": "worklet", "target": "score", "in": None, "timeout_ms": None},
            "direct": {"kind": "model", "target": "churn@production", "in": {"inputs": None}, "timeout_ms": 5000},
        },
    },
    "other": {"title": "Other", "document": {"view": 1}, "queries": {}},
}


def half(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    reply.ok(json.dumps({"given": json.loads(payload)}).encode())


@pytest.fixture
def app(world, workspace, make_worker, bundle_of) -> Any:
    """A public app with a view."""
    version = world.served(workspace, make_worker(half), number=3)
    bundle = bundle_of(SCORE, views=VIEWS, models={"churn@production": version})
    return world.app(workspace, bundle, access="public", number=2)


def test_nobody_is_told_of_a_missing_icon(serve) -> None:
    with serve().client() as client:
        answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "max-age" in answer.headers["Cache-Control"]


def session(client: Any, **grant: Any) -> Any:
    return client.post("/v1/views/session", json={"workspace": "acme", "app": "shop"} | grant)


def bearer(answer: Any) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


class TestSessions:
    def test_a_public_app_opens_for_everybody(self, serve, app) -> None:
        with serve().client() as client:
            answer = session(client)
        said = answer.json()
        assert said["viewer"] == {"name": "visitor", "role": None}
        assert said["app"] == {"name": "shop", "title": "Shop"}
        assert said["views"] == [{"name": "main", "title": "Main"}, {"name": "other", "title": "Other"}]
        assert said["home"] == "main"
        assert said["expires_at"].endswith("Z")

    def test_a_link_app_opens_with_its_key_alone(self, serve, world, app, settings) -> None:
        world.change(app, access="link")
        signing_key = settings.signing_key.get_secret_value()
        with serve().client() as client:
            right = session(client, key=link_key(signing_key, app.id, 1))
            wrong = [
                session(client),
                session(client, key=""),
                session(client, key="x" * 32),
                session(client, key=link_key(signing_key, app.id, 2)),
                session(client, key=link_key(signing_key, uuid4(), 1)),
                session(client, key=123),
            ]
        assert right.status_code == 200
        assert {answer.status_code for answer in wrong} == {404}

    def test_a_wrong_grant_and_a_missing_app_look_alike(self, serve, world, app) -> None:
        world.change(app, access="workspace")
        with serve().client() as client:
            answers = [
                session(client),
                session(client, key="guess"),
                session(client, open="tft.e30.AAAA"),
                session(client, app="nothing"),
                session(client, workspace="nowhere"),
                session(client, workspace=None),
            ]
        bodies = {answer.text.replace(answer.headers["X-Request-Id"], "-") for answer in answers}
        assert len(bodies) == 1
        assert {answer.status_code for answer in answers} == {404}

    def test_members_come_in_with_the_consoles_token(self, serve, world, app, workspace, make_user, make_token) -> None:
        world.change(app, access="workspace")
        user = make_user(workspace, "viewer")
        options = {"user_id": user.id, "role": "viewer", "name": user.email}
        good = make_token(TokenKind.OPEN, workspace, app_id=app.id, **options)
        bad = [
            make_token(TokenKind.OPEN, workspace, app_id=uuid4(), **options),
            make_token(TokenKind.OPEN, workspace, app_id=app.id, lifetime_seconds=-1, **options),
            make_token(TokenKind.CONSOLE, workspace, app_id=app.id, **options),
            make_token(TokenKind.OPEN, workspace, app_id=app.id, user_id=make_user().id, role="viewer"),
        ]
        with serve().client() as client:
            answer = session(client, open=good)
            refused = [session(client, open=token).status_code for token in bad]
            document = client.get("/v1/acme/apps/shop/views/main", headers=bearer(answer))
        assert answer.json()["viewer"] == {"name": user.email, "role": "viewer"}
        assert refused == [404] * 4
        assert document.status_code == 200

    def test_a_page_renews_its_token(self, serve, world, app, workspace, make_user, make_token) -> None:
        world.change(app, access="workspace")
        user = make_user(workspace, "viewer")
        token = make_token(TokenKind.OPEN, workspace, app_id=app.id, user_id=user.id, role="viewer")
        with serve().client() as client:
            first = session(client, open=token)
            second = client.post("/v1/views/session", json={"workspace": "acme", "app": "shop"}, headers=bearer(first))
        assert second.status_code == 200

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"[" * 1000])
    def test_nonsense_is_400(self, serve, app, body: bytes) -> None:
        with serve().client() as client:
            assert client.post("/v1/views/session", content=body).status_code == 400


class TestTheEndOfAGrant:
    def test_rotating_the_link_ends_what_it_opened(self, serve, world, app, settings) -> None:
        world.change(app, access="link")
        running = serve()
        with running.client() as client:
            token = bearer(session(client, key=link_key(settings.signing_key.get_secret_value(), app.id, 1)))
            assert client.get("/v1/acme/apps/shop/views/main", headers=token).status_code == 200
            world.change(app, link_generation=2)
            running.reload()
            answer = client.get("/v1/acme/apps/shop/views/main", headers=token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "expired")

    def test_closing_a_public_app_does_too(self, serve, world, app) -> None:
        running = serve()
        with running.client() as client:
            token = bearer(session(client))
            world.change(app, access="workspace")
            running.reload()
            assert client.get("/v1/acme/apps/shop/views/main", headers=token).status_code == 401


class TestDocuments:
    def test_the_view_as_the_page_draws_it(self, serve, app) -> None:
        with serve().client() as client:
            answer = client.get("/v1/acme/apps/shop/views/main", headers=bearer(session(client)))
        assert answer.json() == {"view": "main", "release": 2, "document": DOCUMENT}
        assert "score" not in answer.text
        assert "churn" not in answer.text

    def test_a_view_token_opens_its_app_and_nothing_else(self, serve, world, app, workspace, bundle_of, key) -> None:
        world.app(workspace, bundle_of(SCORE, views=VIEWS), name="second", access="public")
        with serve().client() as client:
            token = bearer(session(client))
            found = {
                path: client.request(method, path, json={} if method == "POST" else None, headers=token).status_code
                for method, path in [
                    ("GET", "/v1/acme/apps/shop/views/main"),
                    ("GET", "/v1/acme/apps/shop/views/nothing"),
                    ("GET", "/v1/acme/apps/second/views/main"),
                    ("GET", "/v1/other/apps/shop/views/main"),
                    ("GET", "/v1/acme/apps/shop/openapi.json"),
                    ("POST", "/v1/acme/models/churn/predict"),
                    ("POST", "/v1/acme/models/nothing/predict"),
                    ("POST", "/v1/acme/apps/shop/worklets/score"),
                    ("POST", "/v1/acme/apps/shop/views/main/queries/nothing"),
                ]
            }
        assert found.pop("/v1/acme/apps/shop/views/main") == 200
        assert set(found.values()) == {404}

    def test_a_key_is_no_view_token(self, serve, app, make_key, workspace) -> None:
        with serve().client(make_key(workspace, "admin").text) as client:
            assert client.get("/v1/acme/apps/shop/views/main").status_code == 404


class TestQueries:
    def ask(self, client: Any, query: str, body: Any, token: dict[str, str] | None = None) -> Any:
        headers = token or bearer(session(client))
        return client.post(f"/v1/acme/apps/shop/views/main/queries/{query}", json=body, headers=headers)

    def test_a_worklet_by_the_querys_name(self, serve, app, database_url) -> None:
        running = serve()
        with running.client() as client:
            answer = self.ask(client, "rate", {"values": {"age": 40}})
        said = answer.json()
        assert answer.status_code == 200
        assert said["data"] == {"rate": {"given": {"age": 40}}}
        assert said["seconds"] > 0
        running.flush()
        with psycopg.connect(database_url) as connection:
            row = connection.execute("select id, trigger, caller, state from runs").fetchone()
        assert row is not None
        assert (str(row[0]), *row[1:]) == (said["run"], "view", "view:main", "succeeded")

    def test_the_pinned_model_by_the_querys_name(self, serve, app) -> None:
        with serve().client() as client:
            said = self.ask(client, "direct", {"values": {"inputs": [{"age": 1}]}}).json()
        assert said["data"] == {"given": {"inputs": [{"age": 1}]}}
        assert said["run"] is None

    @pytest.mark.parametrize(
        ("query", "values", "path"),
        [
            ("rate", {"age": "old"}, "age"),
            ("rate", {"age": 4, "extra": 1}, "extra"),
            ("few", {"age": 4, "note": "not the clients to send"}, "note"),
            ("rate", {}, "age"),
            ("any", {"nothing": 1, "age": 3}, "nothing"),
        ],
    )
    def test_values_are_checked(self, serve, app, query: str, values: dict[str, Any], path: str) -> None:
        with serve().client() as client:
            answer = self.ask(client, query, {"values": values})
        assert answer.status_code == 400
        assert [detail["path"] for detail in answer.json()["error"]["details"]] == [path]

    @pytest.mark.parametrize("body", [[], "x", {"values": []}, {"values": None}])
    def test_nonsense_is_400(self, serve, app, body: Any) -> None:
        with serve().client() as client:
            assert self.ask(client, "rate", body).status_code == 400

    def test_failures_carry_a_message_and_no_traceback(self, serve, world, workspace, bundle_of, make_worker) -> None:
        def fail(worker: Any, header: Any, payload: bytes, reply: Any) -> None:
            reply.error(500, "user_error", "ValueError: too old", source="user", traceback="SECRET")

        version = world.served(workspace, make_worker(fail))
        world.app(workspace, bundle_of(SCORE, views=VIEWS, models={"churn@production": version}), access="public")
        with serve().client() as client:
            answers = [
                self.ask(client, "rate", {"values": {"age": 1}}),
                self.ask(client, "direct", {"values": {"inputs": 1}}),
            ]
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["message"]) == (500, "ValueError: too old")
            assert "SECRET" not in answer.text

    def test_the_page_that_leaves_cancels(self, serve, world, workspace, bundle_of, make_worker) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        version = world.served(workspace, worker)
        world.app(workspace, bundle_of(SCORE, views=VIEWS, models={"churn@production": version}), access="public")
        running = serve()
        with running.client() as client:
            token = session(client).json()["token"]
        connection = running.raw()
        body = b'{"values": {"age": 1}}'
        connection.sendall(
            b"POST /v1/acme/apps/shop/views/main/queries/rate HTTP/1.1\r\nHost: x\r\n"
            + f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        running.wait_for(lambda _: len(worker.requests) == 1)
        connection.close()
        running.wait_for(lambda _: len(worker.cancelled) == 1)


class TestThePage:
    @pytest.fixture(autouse=True)
    def _studio(self, settings) -> None:
        folder: Path = settings.studio_dir
        (folder / "view-assets").mkdir(parents=True)
        (folder / "view.html").write_text("<!doctype html><title>View</title>")
        (folder / "index.html").write_text("the console")
        (folder / "view-assets" / "main-abc.js").write_text("console.log(1);" * 200)
        (folder / "view-assets" / "style.css").write_text("a{}")
        (folder / "view-assets" / "style.css.br").write_bytes(b"brotli")
        (folder / "view-assets" / "secret.txt").write_text("no")
        (folder / "view-assets" / "link.js").symlink_to(folder / "index.html")
        (folder.parent / "outside.js").write_text("outside")

    def test_the_same_shell_for_every_address(self, serve, app) -> None:
        with serve().client() as client:
            answers = [
                client.get(path)
                for path in ("/acme/shop/main", "/acme/shop", "/acme/shop/nothing", "/nowhere/at/all", "/a/b/c?x=1")
            ]
        assert {answer.content for answer in answers} == {b"<!doctype html><title>View</title>"}
        assert {answer.status_code for answer in answers} == {200}

    def test_the_policy_is_strict(self, serve, app) -> None:
        with serve().client() as client:
            headers = client.get("/acme/shop/main").headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-cache"
        assert "Set-Cookie" not in headers

    def test_assets_are_kept_for_ever_and_compressed(self, serve, app) -> None:
        with serve().client() as client:
            answer = client.get("/view-assets/main-abc.js", headers={"Accept-Encoding": "gzip"})
            raw = client.get("/view-assets/main-abc.js", headers={"Accept-Encoding": "identity"})
            refused = client.get("/view-assets/main-abc.js", headers={"Accept-Encoding": "gzip;q=0, br;q=0"})
            with client.stream("GET", "/view-assets/style.css", headers={"Accept-Encoding": "gzip, br"}) as ready:
                brotli = b"".join(ready.iter_raw())
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.content == raw.content == refused.content
        assert "Content-Encoding" not in raw.headers
        assert "Content-Encoding" not in refused.headers
        assert int(answer.headers["Content-Length"]) < len(raw.content)
        assert len(gzip.compress(raw.content)) < len(raw.content)
        assert brotli == b"brotli"

    def test_what_the_browser_has_is_not_sent_again(self, serve, app) -> None:
        with serve().client() as client:
            etag = client.get("/acme/shop/main").headers["ETag"]
            again = client.get("/acme/shop/main", headers={"If-None-Match": etag})
            other = client.get("/acme/shop/main", headers={"If-None-Match": '"other"'})
        assert (again.status_code, again.content) == (304, b"")
        assert other.status_code == 200

    @pytest.mark.parametrize(
        "path",
        [
            "/view-assets/nothing.js",
            "/view-assets/secret.txt",
            "/view-assets/link.js",
            "/view-assets/..%2findex.html",
            "/view-assets/%2e%2e/index.html",
            "/view-assets/../../outside.js",
            "/view-assets/",
            "/view-assets/%00.js",
            "/view-assets/main-abc.js/x",
            "/",
            "/acme",
            "/v1/acme",
            "/view-assets",
        ],
    )
    def test_nothing_else_is_served(self, serve, app, path: str) -> None:
        running = serve()
        with running.raw() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert int(answer.split()[1]) in (400, 401, 404)
        assert b"the console" not in answer
        assert b"outside" not in answer

    def test_a_new_build_is_seen(self, serve, app, settings) -> None:
        with serve().client() as client:
            client.get("/acme/shop/main")
            (settings.studio_dir / "view.html").write_text("<!doctype html><title>Newer</title>")
            assert b"Newer" in client.get("/acme/shop/main").content

    def test_without_a_build_it_says_so(self, serve, app, settings) -> None:
        (settings.studio_dir / "view.html").unlink()
        with serve().client() as client:
            answer = client.get("/acme/shop/main")
        assert (answer.status_code, answer.json()["error"]["message"]) == (503, "The view page is not built.")
