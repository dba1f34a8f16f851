"""`POST /v1/{workspace}/models/{model}/predict` from a socket to a worker and back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.gateway.pool import PoolLimits

PATH = "/v1/acme/models/churn/predict"


def when_let_go(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    worker.hold.wait(10)
    reply.ok()


def test_the_body_reaches_the_model_as_it_is_and_so_does_its_answer(serve, world, workspace, key, make_worker) -> None:
    worker = make_worker(lambda worker, header, payload, reply: reply.ok(b'{"n": 1}', seconds=0.002))
    world.served(workspace, worker, number=7)
    with serve().client(key) as client:
        answer = client.post(PATH, content=b' {"odd": [1,  2]}', headers={"X-Request-Id": "my-request-1"})
    assert (answer.status_code, answer.content) == (200, b'{"n": 1}')
    header, payload = worker.requests[0]
    assert payload == b' {"odd": [1,  2]}'
    assert (header["op"], header["content_type"], header["request_id"]) == (
        "predict",
        "application/json",
        "my-request-1",
    )
    assert answer.headers["X-Tenfold-Version"] == "7"
    assert answer.headers["X-Request-Id"] == "my-request-1"
    assert answer.headers["Server-Timing"].startswith("worker;dur=2.000, gateway;dur=")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_no_credential_travels_to_the_worker(serve, world, workspace, key, make_worker) -> None:
    worker = make_worker()
    world.served(workspace, worker)
    with serve().client(key) as client:
        assert client.post(PATH, json={}).status_code == 200
    assert key not in json.dumps(worker.requests[0][0])


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "Authorization: Api-Key {}", "X-Api-Key: {}"])
def test_a_key_is_taken_in_each_of_its_forms(serve, world, workspace, key, make_worker, header: str) -> None:
    world.served(workspace, make_worker())
    name, _, value = header.format(key).partition(": ")
    with serve().client() as client:
        assert client.post(PATH, json={}, headers={name: value}).status_code == 200


def test_an_alias_a_number_and_production_choose_the_version(serve, world, workspace, key, make_worker) -> None:
    for number, alias in ((1, "production"), (2, "staging"), (3, None)):
        world.served(workspace, make_worker(), number=number, alias=alias)
    with serve().client(key) as client:
        answered = {
            ref: client.post(f"/v1/acme/models/churn{ref}/predict", json={}).headers.get("X-Tenfold-Version")
            for ref in ("", "@production", "@staging", "@3", "@1", "@4", "@nope", "@", "@0", "@01")
        }
    assert answered == {
        "": "1", "@production": "1", "@staging": "2", "@3": "3", "@1": "1",
        "@4": None, "@nope": None, "@": None, "@0": None, "@01": None,
    }  # fmt: skip


def test_a_new_version_takes_over_and_nothing_fails(serve, world, workspace, key, make_worker) -> None:
    world.served(workspace, make_worker())
    with serve().client(key) as client:
        assert client.post(PATH, json={}).headers["X-Tenfold-Version"] == "1"
        world.served(workspace, make_worker(), number=2)
        began, version = time.monotonic(), "1"
        while version == "1" and time.monotonic() - began < 15:
            answer = client.post(PATH, json={})
            assert answer.status_code == 200
            version = answer.headers["X-Tenfold-Version"]
        assert version == "2"


def test_a_revoked_key_is_refused_within_a_second(serve, world, workspace, make_key, make_worker) -> None:
    world.served(workspace, make_worker())
    made = make_key(workspace, "predict")
    with serve().client(made.text) as client:
        assert client.post(PATH, json={}).status_code == 200
        world.change(made.row, revoked_at=made.row.created_at)
        began = time.monotonic()
        while client.post(PATH, json={}).status_code == 200:
            assert time.monotonic() - began < 10  # a second, on a machine that has time


def test_the_last_use_of_a_key_is_noted(serve, world, workspace, make_key, make_worker, sessions) -> None:
    world.served(workspace, make_worker())
    made = make_key(workspace, "predict")
    running = serve()
    with running.client(made.text) as client:
        client.post(PATH, json={})
    running.wait_for(lambda gateway: not gateway.used_keys)
    with sessions() as session:
        deadline = time.monotonic() + 5
        while session.get(type(made.row), made.row.id).last_used_at is None and time.monotonic() < deadline:
            session.expire_all()
        assert session.get(type(made.row), made.row.id).last_used_at is not None


class TestWhatTheWorkerSays:
    def said(self, serve: Any, world: Any, workspace: Any, key: str, make_worker: Any, answer: Any) -> httpx.Response:
        world.served(workspace, make_worker(answer))
        with serve().client(key) as client:
            return client.post(PATH, json={})

    def test_bad_input_names_the_field(self, serve, world, workspace, key, make_worker) -> None:
        def refuse(worker, header, payload, reply):
            reply.error(
                400, "bad_input", "age must be a number", source="input", details=[{"path": "age", "message": "?"}]
            )

        answer = self.said(serve, world, workspace, key, make_worker, refuse)
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert (error["code"], error["message"]) == ("bad_input", "age must be a number")
        assert error["details"] == [{"path": "age", "message": "?"}]
        assert error["request_id"] == answer.headers["X-Request-Id"]

    @pytest.mark.parametrize(("scope", "told"), [("predict", False), ("deploy", True), ("admin", True)])
    def test_a_traceback_is_for_those_who_may_see_code(
        self, serve, world, workspace, make_key, make_worker, scope: str, told: bool
    ) -> None:
        def fail(worker, header, payload, reply):
            reply.error(500, "user_error", "ValueError: no", source="user", traceback="Traceback: line 3 secret")

        key = make_key(workspace, scope).text
        answer = self.said(serve, world, workspace, key, make_worker, fail)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "user_error"
        assert ("secret" in answer.text) is told

    def test_its_own_http_status_is_kept(self, serve, world, workspace, key, make_worker) -> None:
        answer = self.said(
            serve, world, workspace, key, make_worker, lambda w, h, p, reply: reply.error(418, "http", "teapot")
        )
        assert (answer.status_code, answer.json()["error"]["message"]) == (418, "teapot")

    @pytest.mark.parametrize(
        ("status", "code", "source", "has_hint"),
        [
            (400, "bad_input", "input", False),
            (422, "bad_input", "input", False),
            (404, "http", "input", False),
            (500, "http", "user", True),
            (503, "http", "user", True),
        ],
    )
    def test_a_refusal_does_not_send_the_caller_to_the_log(
        self, serve, world, workspace, key, make_worker, status: int, code: str, source: str, has_hint: bool
    ) -> None:
        answer = self.said(
            serve,
            world,
            workspace,
            key,
            make_worker,
            lambda w, h, p, reply: reply.error(status, code, "", source=source),
        )
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code)
        assert ("log" in error["hint"]) is has_hint

    def test_headers_that_would_speak_for_the_platform_are_dropped(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        headers = {
            "Set-Cookie": "a=b",
            "X-Mine": "1\r\nEvil: 2",
            "Content-Length": "1",
            "X-Accel-Redirect": "/etc/passwd",
            "X-Envoy-Upstream-Canary": "1",
            "X-Reproxy-URL": "http://10.0.0.1/",
            "X-LiteSpeed-Location": "/etc/passwd",
        }
        answer = self.said(
            serve, world, workspace, key, make_worker, lambda w, h, p, reply: reply.ok(b"hello", headers=headers)
        )
        assert answer.content == b"hello"
        assert answer.headers["X-Mine"] == "1  Evil: 2"
        dropped = ("set-cookie", "evil", "x-accel-redirect", "x-envoy-upstream-canary", "x-reproxy-url")
        assert not {*dropped, "x-litespeed-location"} & set(answer.headers)

    def test_a_page_from_a_model_is_no_page_of_this_origin(self, serve, world, workspace, key, make_worker) -> None:
        answer = self.said(
            serve, world, workspace, key, make_worker,
            lambda w, h, p, reply: reply.ok(b"<script>alert(1)</script>", content_type="text/html"),
        )  # fmt: skip
        assert "sandbox" in answer.headers["Content-Security-Policy"]

    def test_warnings_become_a_header(self, serve, world, workspace, key, make_worker) -> None:
        answer = self.said(
            serve,
            world,
            workspace,
            key,
            make_worker,
            lambda w, h, p, reply: reply.ok(b"null", warnings=["NaN is null"]),
        )
        assert answer.headers["X-Tenfold-Warning"] == "NaN is null"

    def test_noise_instead_of_a_frame_is_said_to_be_noise(self, serve, world, workspace, key, make_worker) -> None:
        answer = self.said(
            serve,
            world,
            workspace,
            key,
            make_worker,
            lambda w, h, p, reply: reply.connection.sendall(b"HTTP/1.1 200 OK\r\n"),
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_answer")


class TestAnswersWithoutABody:
    """On a connection that is kept, what follows the head of a 204 is the answer to the next request."""

    FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"

    @pytest.mark.parametrize("status", [204, 304])
    @pytest.mark.parametrize("streams", [False, True])
    @pytest.mark.parametrize("path", [PATH, "/v1/acme/models/churn/v1/models/model:predict"])
    def test_the_model_cannot_answer_the_next_request(
        self, serve, world, workspace, key, make_worker, status: int, streams: bool, path: str
    ) -> None:
        def forge(worker, header, payload, reply):
            if payload == b"1":
                reply.ok(self.FORGED, status=status, content_type="text/plain", more=streams)
            else:
                reply.ok(b"honest", content_type="text/plain")

        worker = make_worker(forge)
        world.served(workspace, worker)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 1\r\n"
        running = serve()
        with running.raw() as connection:
            connection.sendall(f"{head}\r\n1{head}Connection: close\r\n\r\n2".encode())
            received = b""
            while part := connection.recv(10_000):
                received += part
        first, second, body = received.split(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 %d " % status)
        assert not any(line.startswith((b"content-length", b"transfer-encoding")) for line in first.split(b"\r\n"))
        assert second.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"honest"
        running.wait_for(lambda gateway: gateway.pool.in_flight == 0)
        assert len(worker.cancelled) == streams


class TestWhenNobodyCanAnswer:
    def test_a_stopped_model_says_so_at_once(self, serve, world, workspace, key) -> None:
        world.deployment(world.model(workspace), desired=0)
        with serve().client(key) as client:
            answer = client.post(PATH, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopped")
        assert int(answer.headers["Retry-After"]) > 0

    def test_a_failed_version_says_why(self, serve, world, workspace, key) -> None:
        world.model(workspace, state="failed", reason="No package named nmpy.")
        with serve().client(key) as client:
            answer = client.post(PATH, json={})
        assert answer.status_code == 503
        assert "No package named nmpy." in answer.json()["error"]["message"]

    def test_a_crash_loop_says_what_it_says(self, serve, world, workspace, key) -> None:
        world.deployment(world.model(workspace), unhealthy="exit code 3, five times")
        with serve().client(key) as client:
            answer = client.post(PATH, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unhealthy")
        assert "exit code 3, five times" in answer.json()["error"]["message"]

    def test_a_version_that_is_being_built_says_so(self, serve, world, workspace, key) -> None:
        world.model(workspace, state="building")
        with serve().client(key) as client:
            assert client.post("/v1/acme/models/churn@1/predict", json={}).json()["error"]["code"] == "not_ready"

    def test_requests_wait_for_a_model_that_is_starting(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker()
        replica = world.replica(world.deployment(world.model(workspace)), None, state="loading")
        with serve().client(key) as client:
            timer = threading.Timer(0.3, world.set_replica, [replica], {"state": "ready", "address": worker.address})
            timer.start()
            answer = client.post(PATH, json={})
            timer.join()
        assert answer.status_code == 200

    def test_but_not_for_ever(self, serve, world, workspace, key) -> None:
        world.replica(world.deployment(world.model(workspace)), None, state="loading", reason="load() runs")
        with serve(limits=PoolLimits(hold_seconds=0.2)).client(key) as client:
            began = time.monotonic()
            answer = client.post(PATH, json={})
        assert 0.15 < time.monotonic() - began < 10
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert "load() runs" in answer.json()["error"]["message"]

    def test_who_waits_for_a_model_that_is_stopped_learns_it(self, serve, world, workspace, key) -> None:
        version = world.model(workspace)
        deployment = world.deployment(version)
        running = serve()
        answers: list[httpx.Response] = []
        with running.client(key) as client:
            caller = threading.Thread(target=lambda: answers.append(client.post(PATH, json={})))
            caller.start()
            running.wait_for(lambda gateway: gateway.pool.waiting)
            with world.sessions.begin() as session:
                session.execute(
                    update(DeploymentTable).where(DeploymentTable.id == deployment).values(desired_replicas=0)
                )
            caller.join(5)
        assert answers[0].json()["error"]["code"] == "stopped"

    def test_a_killed_worker_is_never_hidden(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(lambda worker, header, payload, reply: worker.die())
        world.served(workspace, worker)
        with serve().client(key) as client:
            answer = client.post(PATH, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "worker_lost")
        assert "Retry-After" in answer.headers
        assert len(worker.requests) == 1

    def test_after_a_crash_requests_wait_for_the_restart(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker()
        world.served(workspace, worker)
        with serve().client(key) as client:
            assert client.post(PATH, json={}).status_code == 200
            worker.die()
            timer = threading.Timer(0.4, worker.restart)
            timer.start()
            answer = client.post(PATH, json={})
            timer.join()
        assert answer.status_code == 200

    def test_a_worker_that_is_still_loading_has_not_seen_the_request(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        def not_yet(worker, header, payload, reply):
            if len(worker.requests) < 3:
                reply.error(503, "not_ready", "still loading")
            else:
                reply.ok(b"[]")

        worker = make_worker(not_yet)
        world.served(workspace, worker)
        with serve().client(key) as client:
            assert client.post(PATH, json={}).content == b"[]"
        assert len(worker.requests) == 3

    def test_the_other_replica_answers_when_one_is_gone(self, serve, world, workspace, key, make_worker) -> None:
        gone, there = make_worker(), make_worker()
        deployment = world.deployment(world.model(workspace))
        world.replica(deployment, gone.address)
        world.replica(deployment, there.address)
        gone.die()
        with serve().client(key) as client:
            assert [client.post(PATH, json={}).status_code for _ in range(20)] == [200] * 20
        assert len(there.requests) == 20


class TestLoad:
    def test_the_queue_is_bounded_and_says_429(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(when_let_go)
        world.served(workspace, worker)
        running = serve(limits=PoolLimits(queue_length=3, lookahead=0))
        statuses: list[int] = []
        with running.client(key, limits=httpx.Limits(max_connections=50)) as client:
            callers = [
                threading.Thread(target=lambda: statuses.append(client.post(PATH, json={}).status_code))
                for _ in range(8)
            ]
            for caller in callers:
                caller.start()
            running.wait_for(lambda _: len(statuses) == 4)
            refused = client.post(PATH, json={})
            worker.hold.set()
            for caller in callers:
                caller.join(10)
        assert sorted(statuses) == [200] * 4 + [429] * 4
        assert refused.json()["error"]["code"] == "queue_full"
        assert refused.headers["Retry-After"] == "1"
        assert len(worker.requests) == 4

    def test_a_replica_gets_no_more_at_once_than_it_can_work_on(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        worker = make_worker(when_let_go)
        world.served(workspace, worker, runtime={"predict_concurrency": 3})
        running = serve(limits=PoolLimits(lookahead=0))
        with running.client(key, limits=httpx.Limits(max_connections=50)) as client:
            callers = [threading.Thread(target=lambda: client.post(PATH, json={})) for _ in range(6)]
            for caller in callers:
                caller.start()
            running.wait_for(lambda gateway: gateway.pool.waiting == 3)
            running.wait_for(lambda _: len(worker.requests) >= 3)
            assert len(worker.requests) == 3
            worker.hold.set()
            for caller in callers:
                caller.join(10)
        assert len(worker.requests) == 6

    def test_a_worker_that_puts_calls_together_gets_as_many_as_it_says(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        def tells_places(worker, header, payload, reply):
            reply.ok(places=5)

        worker = make_worker(tells_places)
        world.served(workspace, worker)
        running = serve(limits=PoolLimits(lookahead=0, queue_length=3))
        with running.client(key, limits=httpx.Limits(max_connections=50)) as client:
            assert "places" not in client.post(PATH, json={}).headers
            worker.behaviour = when_let_go
            statuses: list[int] = []
            callers = [
                threading.Thread(target=lambda: statuses.append(client.post(PATH, json={}).status_code))
                for _ in range(10)
            ]
            for caller in callers:
                caller.start()
            running.wait_for(lambda gateway: len(statuses) == 2 and len(worker.requests) == 6)
            assert running.gateway.pool.waiting == 3
            worker.hold.set()
            for caller in callers:
                caller.join(10)
        assert sorted(statuses) == [200] * 8 + [429] * 2

    def test_calls_go_to_the_replica_with_the_most_room(self, serve, world, workspace, key, make_worker) -> None:
        workers = [make_worker(when_let_go) for _ in range(2)]
        deployment = world.deployment(world.model(workspace, runtime={"predict_concurrency": 4}))
        for worker in workers:
            world.replica(deployment, worker.address)
        running = serve()
        with running.client(key, limits=httpx.Limits(max_connections=50)) as client:
            callers = [threading.Thread(target=lambda: client.post(PATH, json={})) for _ in range(8)]
            for caller in callers:
                caller.start()
            running.wait_for(lambda _: sum(len(worker.requests) for worker in workers) == 8)
            for worker in workers:
                worker.hold.set()
            for caller in callers:
                caller.join(10)
        assert [len(worker.requests) for worker in workers] == [4, 4]


class TestTime:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from tenfold_platform.gateway import calls

        monkeypatch.setattr(calls, "CALL_SECONDS", 0.3)
        monkeypatch.setattr(calls.predict, "__kwdefaults__", {**calls.predict.__kwdefaults__, "timeout_seconds": 0.3})

    def test_a_model_that_hangs_is_cancelled_and_answered_504(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        world.served(workspace, worker)
        with serve().client(key) as client:
            answer = client.post(PATH, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
            worker.behaviour = lambda worker, header, payload, reply: reply.ok(b"[1]")
            assert client.post(PATH, json={}).content == b"[1]"
        assert len(worker.cancelled) == 1

    def test_waiting_for_a_free_replica_ends_too(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(when_let_go)
        worker.acknowledges = False
        world.served(workspace, worker)
        running = serve(limits=PoolLimits(lookahead=0))
        messages: list[str] = []
        with running.client(key) as client:
            callers = [
                threading.Thread(target=lambda: messages.append(client.post(PATH, json={}).json()["error"]["message"]))
                for _ in range(2)
            ]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(5)
        assert sorted(messages) == [
            "No replica was free within 0.3 s.",
            "There was no answer within 0.3 s; the work was cancelled.",
        ]


class TestStreams:
    def test_parts_arrive_as_they_are_made(self, serve, world, workspace, key, make_worker) -> None:
        def parts(worker, header, payload, reply):
            reply.frame({"ok": True, "status": 200, "content_type": "text/plain", "more": True}, b"one ")
            worker.hold.wait(5)
            reply.frame({"ok": True, "more": True}, b"two ")
            reply.frame({"ok": True, "more": False, "seconds": 1.0}, b"three")

        worker = make_worker(parts)
        world.served(workspace, worker)
        with serve().client(key) as client, client.stream("POST", PATH, json={}) as answer:
            chunks = answer.iter_raw()
            assert next(chunks) == b"one "
            worker.hold.set()
            assert b"".join(chunks) == b"two three"
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.headers["content-type"] == "text/plain"

    def test_a_stream_that_breaks_off_is_not_taken_for_whole(self, serve, world, workspace, key, make_worker) -> None:
        def break_off(worker, header, payload, reply):
            reply.frame({"ok": True, "status": 200, "content_type": "text/plain", "more": True}, b"one ")
            worker.hold.wait(5)
            worker.die()

        worker = make_worker(break_off)
        world.served(workspace, worker)
        with serve().client(key) as client, client.stream("POST", PATH, json={}) as answer:
            chunks = answer.iter_raw()
            assert next(chunks) == b"one "
            worker.hold.set()
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)

    def test_a_slow_reader_slows_the_worker_and_holds_up_nobody_else(
        self, serve, world, workspace, key, make_worker
    ) -> None:
        sent: list[int] = []

        def flood(worker, header, payload, reply):
            if payload != b'"flood"':
                reply.ok(b'"quick"')
                return
            for number in range(400):
                reply.frame({"ok": True, "status": 200, "content_type": "text/plain", "more": True}, bytes(100_000))
                sent.append(number)
            reply.frame({"ok": True, "more": False})

        worker = make_worker(flood)
        world.served(workspace, worker, runtime={"predict_concurrency": 2})
        running = serve()
        with (
            running.client(key) as client,
            running.client(key) as other,
            client.stream("POST", PATH, json="flood") as answer,
        ):
            chunks = answer.iter_raw()
            next(chunks)
            stalled_at = -1
            while stalled_at != len(sent):
                stalled_at = len(sent)
                time.sleep(0.2)
            assert stalled_at < 300
            assert other.post(PATH, json="hello").content == b'"quick"'
            assert sum(map(len, chunks)) > 0
        assert len(sent) == 400

    def test_a_client_that_leaves_cancels_the_work(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        world.served(workspace, worker)
        running = serve()
        connection = running.raw()
        request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 2\r\n\r\n{{}}"
        connection.sendall(request.encode())
        running.wait_for(lambda _: len(worker.requests) == 1)
        connection.close()
        running.wait_for(lambda _: len(worker.cancelled) == 1)
        running.wait_for(lambda gateway: gateway.pool.in_flight == 0)


def test_large_bodies_go_both_ways(serve: Callable[..., Any], world, workspace, key, make_worker) -> None:
    world.served(workspace, make_worker())
    body = bytes(range(256)) * 80_000  # 20 MB
    with serve().client(key) as client:
        answer = client.post(PATH, content=body, headers={"Content-Type": "application/octet-stream"})
    assert answer.content == body
