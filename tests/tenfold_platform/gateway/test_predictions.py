"""Predictions that are answered later: accepted, carried out by some gateway, recorded once."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import delete, text, update

from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.gateway import predictions, runner
from tenfold_platform.gateway.runner import RunnerLimits
from tenfold_platform.models.tables import PredictionTable, TrafficTable, VersionTable

R = "/v1/acme/models/churn"
ASYNC = {"Prefer": "respond-async"}
QUICK = RunnerLimits(poll_seconds=0.05, retry_seconds=0.05, renew_seconds=0.2, sweep_seconds=0.2)


@dataclass
class Client:
    http: httpx.Client

    def accept(self, value: Any, path: str = R + "/predict", **headers: str) -> str:
        answer = self.http.post(path, json=value, headers=ASYNC | headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def get(self, id: str) -> dict[str, Any]:
        answer = self.http.get(f"{R}/predictions/{id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, id: str, seconds: float = 30.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (found := self.get(id))["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


@pytest.fixture
def client_of(key: str) -> Iterator[Callable[[Any], Client]]:
    with contextlib.ExitStack() as clients:
        yield lambda running: Client(clients.enter_context(running.client(key)))


@pytest.fixture
def waits_for_a_lock(sessions) -> Callable[[str], bool]:
    """Whether PostgreSQL keeps that connection of a gateway waiting for somebody else's transaction."""
    query = text("select count(*) from pg_stat_activity where application_name = :name and wait_event_type = 'Lock'")

    def waits(name: str) -> bool:
        with sessions() as session:
            return bool(session.execute(query, {"name": name}).scalar_one())

    return waits


@pytest.fixture
def lease_has_run_out(sessions) -> Callable[[str], bool]:
    query = text("select lease_until < now() from predictions where id = :id")

    def has_run_out(id: str) -> bool:
        with sessions() as session:
            return bool(session.execute(query, {"id": UUID(id)}).scalar_one())

    return has_run_out


def twice(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    reply.ok(json.dumps(json.loads(payload) * 2).encode())


def abandoned_by_another(workspace: Any, version: Any, *, attempts: int) -> PredictionTable:
    """A prediction whose gateway is gone, each of so many times."""
    return PredictionTable(
        workspace_id=workspace.id, version_id=version.id, state="running", content_type="application/json", body=b"1",
        attempts=attempts, fence=attempts, lease_owner="gone", lease_until=datetime.now(UTC) - timedelta(minutes=1),
    )  # fmt: skip


def when_let_go(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    worker.hold.wait(30)
    reply.ok(payload)


class TestAccepting:
    def test_is_answered_with_where_to_ask(self, serve, world, workspace, key, make_worker, sessions) -> None:
        world.served(workspace, make_worker(when_let_go), number=4)
        running = serve()
        with running.client(key) as client:
            answer = client.post(R + "/predict", json=[1], headers={"Prefer": "wait=5, respond-async", "Accept": "a/b"})
        said = answer.json()
        assert answer.status_code == 202
        assert answer.headers["Preference-Applied"] == "respond-async"
        assert answer.headers["Location"] == said["url"]
        assert said == {
            "id": said["id"],
            "state": "queued",
            "url": f"http://127.0.0.1:7071/v1/acme/models/churn/predictions/{said['id']}",
        }
        with sessions() as session:
            row = session.get(PredictionTable, UUID(said["id"]))
            assert (row.body, row.content_type, row.accept) == (b"[1]", "application/json", "a/b")
            assert row.caller.startswith("key:")

    def test_keeps_what_it_says_at_once(self, serve, world, workspace, make_worker, key) -> None:
        world.served(workspace, make_worker(twice))
        with serve().client(key) as client:
            assert client.post(R + "/predict", json=1).json() == 2
            assert client.post(R + "/predict", json=1, headers={"Prefer": "respond-asynchronously"}).json() == 2

    def test_refuses_what_nobody_will_carry_out(self, serve, world, workspace, key) -> None:
        world.deployment(world.model(workspace, "stopped"), desired=0)
        world.model(workspace, "failed", state="failed")
        world.model(workspace, "idle")
        with serve().client(key) as client:
            codes = {
                name: client.post(f"/v1/acme/models/{name}/predict", json={}, headers=ASYNC).json()["error"]["code"]
                for name in ("stopped", "failed", "idle")
            }
        assert codes == {"stopped": "stopped", "failed": "failed", "idle": "not_deployed"}

    def test_says_when_enough_is_waiting(self, serve, world, workspace, key, monkeypatch) -> None:
        monkeypatch.setattr(predictions, "MAX_QUEUED", 2)
        world.replica(world.deployment(world.model(workspace)), None, state="loading")
        with serve().client(key) as client:
            answers = [client.post(R + "/predict", json={}, headers=ASYNC) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert answers[2].json()["error"]["code"] == "queue_full"

    def test_bounds_the_body(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker())
        with serve(max_body_bytes=100).client(key) as client:
            assert client.post(R + "/predict", json="a" * 200, headers=ASYNC).status_code == 413

    def test_says_who_takes_larger_ones(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker())
        body = b" " * (predictions.MAX_BODY_BYTES + 1)
        with serve(max_body_bytes=100).client(key) as client:
            small = client.post(R + "/predict", content=body, headers=ASYNC).json()["error"]["hint"]
        with serve().client(key) as client:
            large = client.post(R + "/predict", content=body, headers=ASYNC).json()["error"]["hint"]
        assert small == "The operator can raise TENFOLD_MAX_BODY_BYTES."
        assert large == "Larger bodies are only taken by calls that wait for their answer."

    def test_of_a_version_that_is_deleted_meanwhile_is_not_found(
        self, serve, world, workspace, key, sessions, waits_for_a_lock
    ) -> None:
        version = world.model(workspace, alias=None, state="building")
        running = serve()
        answers: list[httpx.Response] = []
        with running.client(key) as client, sessions.begin() as session:
            session.execute(delete(VersionTable).where(VersionTable.id == version.id))
            caller = threading.Thread(
                target=lambda: answers.append(client.post(R + "@1/predict", json=1, headers=ASYNC))
            )
            caller.start()
            running.wait_for(lambda _: waits_for_a_lock("tenfold gateway: requests"))
            session.commit()
            caller.join(20)
        assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (404, "not_found")

    def test_without_postgresql_is_a_503_and_no_promise(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker())
        running = serve()
        running.gateway.database._url = "postgresql://nobody@127.0.0.1:9/nothing"
        with running.client(key) as client:
            began = time.monotonic()
            answer = client.post(R + "/predict", json={}, headers=ASYNC)
            asked = client.get(f"{R}/predictions/{uuid4()}")
        assert (answer.status_code, asked.status_code) == (503, 503)
        assert answer.headers["Retry-After"] == "2"
        assert time.monotonic() - began < 10


class TestBaseten:
    def test_the_body_is_wrapped(self, serve, world, workspace, key, make_worker, client_of) -> None:
        worker = make_worker(twice)
        world.served(workspace, worker)
        running = serve(runner_limits=QUICK)
        with running.client(key) as client:
            answer = client.post(R + "/production/async_predict", json={"model_input": [1], "priority": 1})
            assert answer.status_code == 202
            id = answer.json()["request_id"]
            assert answer.headers["X-Tenfold-Warning"] == "without effect here: priority"
            assert client_of(running).ended(id)["output"] == [1, 1]
            told = client.get(f"{R}/async_request/{id}").json()
        assert (told["request_id"], told["status"], told["webhook_status"]) == (id, "SUCCEEDED", "NO_WEBHOOK_PROVIDED")
        assert told["errors"] == []

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({"inputs": 1}, "model_input"),
            ([1], "model_input"),
            ({"model_input": 1, "webhook": "x"}, "`webhook`"),
            ({"model_input": 1, "webhook_endpoint": "https://example.com"}, "does not send notifications yet"),
        ],
    )
    def test_says_what_is_wrong_with_it(self, serve, world, workspace, key, make_worker, body: Any, says: str) -> None:
        world.served(workspace, make_worker())
        with serve().client(key) as client:
            answer = client.post(R + "/environments/production/async_predict", json=body)
        assert answer.status_code == 400
        assert says in answer.json()["error"]
        assert answer.headers["X-BASETEN-ERROR-CODE"] == "700"


class TestCarryingOut:
    def test_the_answer_is_kept(self, serve, world, workspace, make_worker, client_of, sessions) -> None:
        worker = make_worker(twice)
        world.served(workspace, worker)
        client = client_of(serve(runner_limits=QUICK))
        id = client.accept([1, 2])
        found = client.ended(id)
        assert (found["state"], found["status"], found["output"], found["error"]) == (
            "succeeded", 200, [1, 2, 1, 2], None,
        )  # fmt: skip
        assert (found["version"], found["attempts"], found["content_type"]) == (1, 1, "application/json")
        assert found["created_at"] <= found["started_at"] <= found["finished_at"]
        header, payload = worker.requests[0]
        assert (payload, header["accept"], header["http"]["path"]) == (
            b"[1,2]", "application/json", "/v1/models/model:predict",
        )  # fmt: skip
        with sessions() as session:
            assert session.get(PredictionTable, UUID(id)).body == b""

    @pytest.mark.parametrize(
        ("content_type", "payload", "output"),
        [
            ("text/plain; charset=utf-8", "hé".encode(), "hé"),
            ("application/json", b"{broken", "{broken"),
            ("application/JSON", b'1, "state": "queued"', '1, "state": "queued"'),
            ("application/vnd.x+JSON; v=1", b'{"a": 1}', {"a": 1}),
            ("application/json", b'"\xff"', '"\ufffd"'),
            ("application/json", b"[" * 100_000, "[" * 100_000),
            ("image/png", b"\x89", {"name": "output", "type": "image/png", "size": 1, "data": "iQ=="}),
        ],
    )
    def test_other_answers_are_texts_and_files(
        self, serve, world, workspace, make_worker, client_of, content_type: str, payload: bytes, output: Any
    ) -> None:
        world.served(workspace, make_worker(lambda w, h, p, reply: reply.ok(payload, content_type=content_type)))
        client = client_of(serve(runner_limits=QUICK))
        assert client.ended(client.accept(1))["output"] == output

    def test_a_stream_is_joined(self, serve, world, workspace, make_worker, client_of) -> None:
        def parts(worker, header, payload, reply):
            reply.frame({"ok": True, "status": 200, "content_type": "text/plain", "more": True}, b"one ")
            reply.frame({"ok": True, "more": False}, b"two")

        world.served(workspace, make_worker(parts))
        client = client_of(serve(runner_limits=QUICK))
        assert client.ended(client.accept(1))["output"] == "one two"

    def test_a_failure_is_recorded_with_its_reason(self, serve, world, workspace, make_worker, client_of) -> None:
        def refuse(worker, header, payload, reply):
            reply.error(400, "bad_input", "age\0 is missing", source="input", details=[{"field": "age"}], traceback="x")

        world.served(workspace, make_worker(refuse))
        client = client_of(serve(runner_limits=QUICK))
        found = client.ended(client.accept(1))
        assert (found["state"], found["status"], found["output"]) == ("failed", 400, None)
        assert found["error"] == {
            "code": "bad_input", "message": "age\ufffd is missing", "hint": "", "details": [{"field": "age"}],
            "source": "input",
        }  # fmt: skip

    def test_an_answer_that_is_too_large_fails(self, serve, world, workspace, make_worker, client_of) -> None:
        world.served(workspace, make_worker(lambda w, h, p, reply: reply.ok(b'"' + b"a" * 1000 + b'"')))
        client = client_of(serve(runner_limits=RunnerLimits(poll_seconds=0.05, answer_bytes=100)))
        assert client.ended(client.accept(1))["error"]["code"] == "bad_answer"

    def test_is_traffic_like_any_other(self, serve, world, workspace, make_worker, client_of, sessions) -> None:
        world.served(workspace, make_worker(twice))
        running = serve(runner_limits=QUICK)
        client = client_of(running)
        for _ in range(3):
            client.ended(client.accept(1))
        running.wait_for(lambda gateway: gateway.runner.running == 0)
        running.count()
        with sessions() as session:
            assert sum(row.requests for row in session.query(TrafficTable)) == 3

    def test_waits_for_a_version_that_is_starting(self, serve, world, workspace, make_worker, client_of) -> None:
        worker = make_worker(twice)
        replica = world.replica(world.deployment(world.model(workspace)), None, state="loading")
        client = client_of(serve(runner_limits=QUICK))
        id = client.accept([1])
        assert client.get(id)["state"] == "queued"
        world.set_replica(replica, state="ready", address=worker.address)
        assert client.ended(id)["output"] == [1, 1]

    def test_a_worker_that_is_lost_is_not_the_end(self, serve, world, workspace, make_worker, client_of) -> None:
        def die_once(worker, header, payload, reply):
            if len(worker.requests) == 1:
                worker.die()
                worker.restart()
            else:
                reply.ok(b'"there"')

        worker = make_worker(die_once)
        world.served(workspace, worker)
        client = client_of(serve(runner_limits=QUICK))
        found = client.ended(client.accept(1))
        assert (found["output"], found["attempts"]) == ("there", 2)

    def test_but_three_of_them_are(self, serve, world, workspace, make_worker, client_of) -> None:
        def die(worker, header, payload, reply):
            worker.die()
            worker.restart()

        worker = make_worker(die)
        world.served(workspace, worker)
        client = client_of(serve(runner_limits=QUICK))
        found = client.ended(client.accept(1))
        assert (found["state"], found["attempts"], found["error"]["code"]) == ("failed", 3, "worker_lost")
        assert len(worker.requests) == 3

    def test_a_version_that_failed_fails_what_waits_for_it(self, serve, world, workspace, client_of, sessions) -> None:
        version = world.model(workspace, state="building")
        client = client_of(serve(runner_limits=QUICK))
        id = client.accept(1)
        with sessions.begin() as session:
            session.execute(update(VersionTable).where(VersionTable.id == version.id).values(state="failed"))
        assert client.ended(id)["error"]["code"] == "failed"

    def test_what_is_older_than_a_week_is_forgotten(
        self, serve, world, workspace, make_worker, client_of, sessions, key
    ) -> None:
        version = world.served(workspace, make_worker(twice))
        old = datetime.now(UTC) - timedelta(days=runner.KEPT_DAYS, minutes=1)
        id = UUID(int=(int(old.timestamp() * 1000) << 80) | (7 << 76) | 1)
        with sessions.begin() as session:
            session.add(
                PredictionTable(
                    id=id, workspace_id=workspace.id, version_id=version.id, state="succeeded",
                    content_type="application/json", body=b"",
                )
            )  # fmt: skip
        running = serve(runner_limits=QUICK)
        client = client_of(running)
        young = client.accept(1)
        with running.client(key) as http:
            running.wait_for(lambda _: http.get(f"{R}/predictions/{id}").status_code == 404, 20)
        assert client.ended(young)["state"] == "succeeded"


class TestPlaces:
    def test_live_calls_come_first(self, serve, world, workspace, key, make_worker, client_of) -> None:
        """One place is worked in by a live call: a prediction waits until it is free, whoever else calls meanwhile."""
        worker = make_worker(when_let_go)
        world.served(workspace, worker)
        running = serve(runner_limits=QUICK)
        client = client_of(running)
        with running.client(key) as http:
            callers = [threading.Thread(target=lambda: http.post(R + "/predict", json="live")) for _ in range(3)]
            for caller in callers:
                caller.start()
            running.wait_for(lambda _: len(worker.requests) == 2)
            id = client.accept("later")
            time.sleep(0.5)
            assert client.get(id)["state"] == "queued"
            worker.hold.set()
            for caller in callers:
                caller.join(20)
        assert client.ended(id)["output"] == "later"
        assert [payload for _, payload in worker.requests] == [b'"live"'] * 3 + [b'"later"']

    def test_they_take_no_more_than_there_are(self, serve, world, workspace, make_worker, client_of) -> None:
        worker = make_worker(when_let_go)
        world.served(workspace, worker, runtime={"predict_concurrency": 2})
        running = serve(runner_limits=QUICK)
        client = client_of(running)
        ids = [client.accept(number) for number in range(5)]
        running.wait_for(lambda _: len(worker.requests) == 2)
        time.sleep(0.3)
        assert len(worker.requests) == 2
        worker.hold.set()
        assert [client.ended(id)["output"] for id in ids] == [0, 1, 2, 3, 4]

    def test_one_that_waits_for_its_model_holds_up_no_other(
        self, serve, world, workspace, make_worker, client_of
    ) -> None:
        world.replica(world.deployment(world.model(workspace, "slow")), None, state="loading")
        world.served(workspace, make_worker(twice))
        client = client_of(serve(runner_limits=QUICK))
        waiting = client.http.post("/v1/acme/models/slow/predict", json=1, headers=ASYNC).json()["id"]
        assert client.ended(client.accept(1))["output"] == 2
        assert client.http.get(f"/v1/acme/models/slow/predictions/{waiting}").json()["state"] == "queued"
        assert client.http.get(f"{R}/predictions/{waiting}").status_code == 404


class TestCancelling:
    def test_one_that_waits_is_never_begun(self, serve, world, workspace, make_worker, client_of) -> None:
        worker = make_worker(when_let_go)
        world.served(workspace, worker)
        running = serve(runner_limits=QUICK)
        client = client_of(running)
        first, second = client.accept(1), client.accept(2)
        running.wait_for(lambda _: len(worker.requests) == 1)
        assert client.http.delete(f"{R}/predictions/{second}").json()["state"] == "cancelled"
        worker.hold.set()
        assert client.ended(first)["state"] == "succeeded"
        time.sleep(0.3)
        assert len(worker.requests) == 1
        assert client.http.delete(f"{R}/predictions/{first}").json()["state"] == "succeeded"

    def test_one_that_is_under_way_is_stopped(self, serve, world, workspace, make_worker, client_of) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        world.served(workspace, worker)
        running = serve(runner_limits=RunnerLimits(poll_seconds=0.05))
        client = client_of(running)
        id = client.accept(1)
        running.wait_for(lambda _: len(worker.requests) == 1)
        assert client.http.delete(f"{R}/predictions/{id}").json()["state"] == "cancelled"
        running.wait_for(lambda _: len(worker.cancelled) == 1)
        running.wait_for(lambda gateway: gateway.runner.running == 0)
        assert client.get(id)["state"] == "cancelled"

    def test_of_nothing_is_not_found(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker())
        with serve().client(key) as client:
            assert client.delete(f"{R}/predictions/{uuid4()}").status_code == 404
            assert client.delete(f"{R}/predictions/1").status_code == 404


class TestLeases:
    def test_one_that_ran_out_is_still_its_own_gateways(
        self, serve, world, workspace, make_worker, client_of, lease_has_run_out
    ) -> None:
        """As after PostgreSQL was away. Nothing is begun twice where it is under way already."""

        def first_is_slow(worker, header, payload, reply):
            if payload == b"1":
                worker.hold.wait(30)
            reply.ok(payload)

        worker = make_worker(first_is_slow)
        world.served(workspace, worker, runtime={"predict_concurrency": 3})
        running = serve(runner_limits=RunnerLimits(poll_seconds=0.05, lease_seconds=0.2, renew_seconds=60))
        client = client_of(running)
        slow = client.accept(1)
        running.wait_for(lambda _: worker.requests)
        running.wait_for(lambda _: lease_has_run_out(slow))
        assert client.ended(client.accept(2))["output"] == 2  # the older one is asked for first
        assert [payload for _, payload in worker.requests] == [b"1", b"2"]
        worker.hold.set()
        found = client.ended(slow)
        assert (found["output"], found["attempts"]) == (1, 1)

    def test_one_that_ran_out_at_its_last_attempt_is_not_given_up(
        self, serve, world, workspace, make_worker, client_of, sessions, lease_has_run_out
    ) -> None:
        worker = make_worker(when_let_go)
        version = world.served(workspace, worker)
        running = serve(
            runner_limits=RunnerLimits(
                poll_seconds=0.05, lease_seconds=0.2, renew_seconds=60, sweep_seconds=0.05, max_attempts=1
            )
        )
        client = client_of(running)
        id = client.accept(1)
        running.wait_for(lambda _: worker.requests)
        running.wait_for(lambda _: lease_has_run_out(id))
        with sessions.begin() as session:
            abandoned = abandoned_by_another(workspace, version, attempts=1)
            session.add(abandoned)
        assert client.ended(str(abandoned.id))["error"]["code"] == "gave_up"
        worker.hold.set()
        assert client.ended(id)["output"] == 1

    def test_are_renewed_while_an_answer_is_on_its_way_to_postgresql(
        self, serve, world, workspace, make_worker, client_of, sessions, waits_for_a_lock
    ) -> None:
        worker = make_worker(when_let_go)
        world.served(workspace, worker)
        running = serve(runner_limits=RunnerLimits(poll_seconds=0.05, renew_seconds=0.05))
        id = client_of(running).accept(1)

        def lease() -> datetime | None:
            with sessions() as session:
                return session.get(PredictionTable, UUID(id)).lease_until

        running.wait_for(lambda _: lease())
        with sessions.begin() as session:
            session.execute(text("lock table predictions in access exclusive mode"))
            worker.hold.set()
            running.wait_for(lambda _: waits_for_a_lock("tenfold gateway: predictions"))
            running.wait_for(lambda _: waits_for_a_lock("tenfold gateway: leases"))

    def test_what_is_done_is_recorded_before_a_gateway_stops(
        self, serve, world, workspace, make_worker, client_of, sessions, waits_for_a_lock
    ) -> None:
        worker = make_worker(when_let_go)
        world.served(workspace, worker)
        running = serve()
        id = client_of(running).accept(1)
        running.wait_for(lambda _: worker.requests)
        with sessions.begin() as session:
            session.get(PredictionTable, UUID(id), with_for_update=True)
            worker.hold.set()
            running.wait_for(lambda _: waits_for_a_lock("tenfold gateway: predictions"))
            running.server.should_exit = True
            running.wait_for(lambda gateway: gateway.runner._closing)
        running.wait_for(lambda gateway: gateway.runner.running == 0)
        with sessions() as session:
            row = session.get(PredictionTable, UUID(id))
            assert (row.state, row.answer, row.attempts) == ("succeeded", b"1", 1)


class TestSeveralGateways:
    def test_share_the_work_and_do_each_once(self, serve, world, workspace, make_worker, client_of) -> None:
        worker = make_worker(twice)
        world.served(workspace, worker, runtime={"predict_concurrency": 4})
        gateways = [serve(runner_limits=QUICK) for _ in range(3)]
        clients = [client_of(running) for running in gateways]
        ids = [clients[number % 3].accept(number) for number in range(60)]
        ended = [clients[0].ended(id) for id in ids]
        assert [found["output"] for found in ended] == [number * 2 for number in range(60)]
        assert {found["attempts"] for found in ended} == {1}
        assert sorted(int(payload) for _, payload in worker.requests) == list(range(60))

    def test_one_that_stops_gives_back_what_it_works_on(self, serve, world, workspace, make_worker, client_of) -> None:
        worker = make_worker(lambda worker, header, payload, reply: None)
        world.served(workspace, worker)
        first = serve()
        id = client_of(first).accept([1])
        first.wait_for(lambda _: len(worker.requests) == 1)
        second = serve(runner_limits=QUICK)
        worker.behaviour = twice
        first.server.should_exit = True
        found = client_of(second).ended(id)
        assert (found["output"], found["attempts"]) == ([1, 1], 1)

    def test_a_late_one_cannot_record(self, serve, world, workspace, make_worker, client_of, sessions) -> None:
        """Its lease ran out unnoticed; somebody else has begun it again."""
        worker = make_worker(when_let_go)
        world.served(workspace, worker)
        running = serve(runner_limits=RunnerLimits(poll_seconds=0.05, renew_seconds=60, lease_seconds=60))
        client = client_of(running)
        id = client.accept("late")
        running.wait_for(lambda _: len(worker.requests) == 1)
        with sessions.begin() as session:
            session.execute(
                update(PredictionTable)
                .where(PredictionTable.id == UUID(id))
                .values(fence=9, lease_owner="another", lease_until=datetime.now(UTC) + timedelta(minutes=5))
            )
        worker.hold.set()
        running.wait_for(lambda gateway: gateway.runner.running == 0)
        with sessions() as session:
            row = session.get(PredictionTable, UUID(id))
            assert (row.state, row.fence, row.answer) == ("running", 9, None)

    def test_one_abandoned_three_times_is_given_up(
        self, serve, world, workspace, make_worker, client_of, sessions
    ) -> None:
        version = world.served(workspace, make_worker(twice))
        with sessions.begin() as session:
            row = abandoned_by_another(workspace, version, attempts=3)
            session.add(row)
        client = client_of(serve(runner_limits=QUICK))
        found = client.ended(str(row.id))
        assert (found["state"], found["error"]["code"], found["attempts"]) == ("failed", "gave_up", 3)


def test_a_stopped_version_keeps_its_queue(serve, world, workspace, make_worker, client_of, sessions) -> None:
    worker = make_worker(twice)
    version = world.model(workspace)
    deployment = world.deployment(version)
    client = client_of(serve(runner_limits=QUICK))
    id = client.accept(1)
    with sessions.begin() as session:
        session.execute(update(DeploymentTable).where(DeploymentTable.id == deployment).values(desired_replicas=0))
    time.sleep(0.3)
    assert client.get(id)["state"] == "queued"
    with sessions.begin() as session:
        session.execute(update(DeploymentTable).where(DeploymentTable.id == deployment).values(desired_replicas=1))
    world.replica(deployment, worker.address)
    assert client.ended(id)["output"] == 2
