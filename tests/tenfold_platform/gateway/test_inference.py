"""The addresses of the Open Inference Protocol: what they pass on, which version they mean, how they say no."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import select

from tenfold_platform.clock import utc_now
from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.models.tables import AliasTable

V2 = "/v1/acme/v2"
CHURN = f"{V2}/models/churn"


def answer_inference(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
    if header["op"] == "health":
        reply.ok(b"", state="ready")
    elif header["op"] == "infer_metadata":
        tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
        text = {"name": "y", "datatype": "BYTES", "shape": [-1]}
        reply.ok(json.dumps({"platform": "sklearn", "inputs": [tensor], "outputs": [text]}).encode())
    else:
        reply.ok(payload, content_type="application/octet-stream", json_length=2)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """The status and the message, in the shape that the protocol has for errors."""
    said = answer.json()
    assert list(said) == ["error"]
    assert isinstance(said["error"], str)
    return answer.status_code, said["error"]


class TestInfer:
    def test_the_body_passes_through_unread(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(answer_inference)
        world.served(workspace, worker, number=3)
        body = b"{}" + bytes(range(256)) * 2000
        headers = {"Inference-Header-Content-Length": "2", "X-Request-Id": "request-0001"}
        running = serve()
        with running.client(key) as client:
            answer = client.post(f"{CHURN}/infer", content=body, headers=headers)
        assert (answer.status_code, answer.content) == (200, body)
        assert answer.headers["Inference-Header-Content-Length"] == "2"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Tenfold-Version"] == "3"
        header, payload = worker.requests[0]
        http = header.pop("http")
        assert (http["method"], http["path"]) == ("POST", "/v2/models/churn/infer")
        assert {name: value for name, value in header.items() if name != "id"} == {
            "op": "infer",
            "request_id": "request-0001",
            "model": "churn",
            "version": "3",
            "json_length": 2,
        }
        assert payload == body

    def test_a_body_without_the_header_is_all_json(self, serve, world, workspace, key, make_worker) -> None:
        worker = make_worker(lambda worker, header, payload, reply: reply.ok(b"{}"))
        world.served(workspace, worker)
        with serve().client(key) as client:
            answer = client.post(f"{CHURN}/infer", json={"inputs": []})
        assert "Inference-Header-Content-Length" not in answer.headers
        assert "json_length" not in worker.requests[0][0]

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    def test_a_packed_body_is_unpacked_by_the_worker(
        self, serve, world, workspace, key, make_worker, encoding: str
    ) -> None:
        worker = make_worker(answer_inference)
        world.served(workspace, worker)
        running = serve()
        with running.client(key) as client:
            client.post(f"{CHURN}/infer", content=b"packed", headers={"Content-Encoding": encoding})
        header, payload = worker.requests[0]
        assert payload == b"packed"
        assert (header["encoding"], header["inflated_limit"]) == (encoding, running.settings.max_body_bytes)

    @pytest.mark.parametrize(
        ("headers", "status", "said"),
        [
            ({"Content-Encoding": "br"}, 415, "The body is encoded as br. Send it as gzip or deflate, or as it is."),
            ({"Inference-Header-Content-Length": "-1"}, 400, "'-1', which is no number of bytes"),
            ({"Inference-Header-Content-Length": "two"}, 400, "'two', which is no number of bytes"),
        ],
    )
    def test_odd_headers_are_refused(
        self, serve, world, workspace, key, make_worker, headers: dict[str, str], status: int, said: str
    ) -> None:
        worker = make_worker()
        world.served(workspace, worker)
        with serve().client(key) as client:
            answer = client.post(f"{CHURN}/infer", content=b"{}", headers=headers)
        assert error_of(answer)[0] == status
        assert said in error_of(answer)[1]
        assert worker.requests == []

    def test_it_counts_as_a_prediction(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker(answer_inference))
        with serve().client(key) as client:
            for _ in range(3):
                client.post(f"{CHURN}/infer", content=b"{}")
            client.get(f"{CHURN}/ready")
            counted = client.get("/metrics").text
        lines = [line for line in counted.splitlines() if line.startswith("tenfold_gateway_requests_total{")]
        assert [float(line.split()[-1]) for line in lines if 'kind="predict"' in line] == [3.0]


class TestVersions:
    def test_a_version_is_a_number_or_an_alias(self, serve, world, workspace, key, make_worker) -> None:
        for number, alias in ((1, "production"), (2, "staging"), (3, None)):
            world.served(workspace, make_worker(answer_inference), number=number, alias=alias)
        with serve().client(key) as client:

            def answered(path: str) -> str | None:
                return client.post(f"{V2}/models/{path}/infer", content=b"{}").headers.get("X-Tenfold-Version")

            assert {path: answered(path) for path in (
                "churn", "churn/versions/2", "churn/versions/staging", "churn/versions/production",
                "churn@3", "churn/versions/9", "churn@2/versions/3",
            )} == {
                "churn": "1", "churn/versions/2": "2", "churn/versions/staging": "2", "churn/versions/production": "1",
                "churn@3": "3", "churn/versions/9": None, "churn@2/versions/3": None,
            }  # fmt: skip

    def test_a_canary_gets_its_share(self, serve, world, workspace, key, make_worker) -> None:
        stable = world.served(workspace, make_worker(answer_inference), number=1)
        canary = world.served(workspace, make_worker(answer_inference), number=2, alias=None)
        with transaction(world.sessions) as session:
            alias = session.scalars(select(AliasTable).where(AliasTable.model_id == stable.model_id)).one()
            alias.canary_version_id, alias.canary_percent = canary.id, 100.0
        with serve().client(key) as client:
            assert client.post(f"{CHURN}/infer", content=b"{}").headers["X-Tenfold-Version"] == "2"


class TestMetadata:
    def test_the_server_tells_what_it_is(self, serve, workspace, key) -> None:
        with serve().client(key) as client:
            assert client.get(f"{V2}/health/live").json() == {"live": True}
            assert client.get(f"{V2}/health/ready").json() == {"ready": True}
            said = client.get(V2).json()
        assert said["name"] == "tenfold"
        assert "binary_tensor_data" in said["extensions"]

    def test_a_model_tells_its_tensors(self, serve, world, workspace, key, make_worker) -> None:
        for number in (1, 2):
            world.served(workspace, make_worker(answer_inference), number=number)
        world.model(workspace, number=3, alias=None, state="building")
        expected = {
            "name": "churn",
            "versions": ["1", "2"],
            "platform": "sklearn",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "BYTES", "shape": [-1]}],
        }
        with serve().client(key) as client:
            assert client.get(CHURN).json() == expected
            assert client.get(f"{CHURN}/versions/1").json() == expected
            config = client.get(f"{CHURN}/config").json()
            assert client.head(CHURN).status_code == 200
        assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 2]}]
        assert config["output"] == [{"name": "y", "data_type": "TYPE_STRING", "dims": [-1]}]

    @pytest.mark.parametrize("inputs", [[{"name": "x", "shape": [1]}], [1], {"x": 1}, None])
    def test_odd_metadata_is_a_bad_answer(self, serve, world, workspace, key, make_worker, inputs: Any) -> None:
        told = json.dumps({"platform": "x", "inputs": inputs}).encode()
        world.served(workspace, make_worker(lambda worker, header, payload, reply: reply.ok(told)))
        with serve().client(key) as client:
            assert client.get(f"{CHURN}/config").status_code == 502

    def test_a_model_is_ready_when_it_says_so(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker(answer_inference))
        unhealthy = make_worker(lambda worker, header, payload, reply: reply.ok(b"", state="ready", healthy=False))
        world.served(workspace, unhealthy, number=2, alias=None)
        world.model(workspace, number=3, alias=None, state="failed", reason="no such package")
        with serve().client(key) as client:
            ready = client.get(f"{CHURN}/ready")
            assert (ready.status_code, ready.json()) == (200, {"name": "churn", "ready": True})
            assert error_of(client.get(f"{CHURN}/versions/2/ready")) == (503, "The model is not ready.")
            status, said = error_of(client.get(f"{CHURN}/versions/3/ready"))
        assert status == 503
        assert "Version 3 could not be prepared: no such package" in said

    def test_the_index_has_every_version_and_its_state(self, serve, world, workspace, key, make_worker) -> None:
        world.served(workspace, make_worker(answer_inference))
        world.model(workspace, number=2, alias=None, state="building")
        world.model(workspace, number=3, alias=None, state="failed", reason="no such package")
        stopped = world.model(workspace, "ads")
        world.deployment(stopped, desired=0)
        with serve().client(key) as client:
            index = client.post(f"{V2}/repository/index").json()
            ready = client.post(f"{V2}/repository/index", json={"ready": True}).json()
        assert index == [
            {"name": "ads", "version": "1", "state": "UNAVAILABLE", "reason": "It is stopped."},
            {"name": "churn", "version": "1", "state": "READY", "reason": ""},
            {"name": "churn", "version": "2", "state": "LOADING", "reason": ""},
            {"name": "churn", "version": "3", "state": "UNAVAILABLE", "reason": "no such package"},
        ]
        assert ready == [index[1]]

    def test_a_sleeping_model_is_ready_and_stays_asleep(self, serve, world, workspace, key) -> None:
        version = world.model(workspace)
        id = world.deployment(version, desired=0)
        with transaction(world.sessions) as session:
            row = session.get_one(DeploymentTable, id)
            row.min_replicas, row.asleep_since = 0, utc_now()
        with serve().client(key) as client:
            assert client.get(f"{CHURN}/ready").status_code == 200
            assert client.post(f"{V2}/repository/index").json()[0]["state"] == "READY"
        with transaction(world.sessions) as session:
            assert session.get_one(DeploymentTable, id).asleep_since is not None


class TestErrors:
    def test_errors_have_the_protocols_shape(self, serve, world, workspace, key, make_key, make_worker) -> None:
        def fail(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
            reply.error(400, "bad_input", "The input 'x' is missing.", hint="Send it.", source="input")

        world.served(workspace, make_worker(fail))
        reading = make_key(workspace, "read").text
        running = serve(max_body_bytes=100)
        with running.client(key) as client, running.client(reading) as reader, running.client() as nobody:
            assert error_of(client.post(f"{CHURN}/infer", content=b"{}")) == (
                400,
                "The input 'x' is missing. Send it.",
            )
            assert error_of(client.get(f"{V2}/models/nope"))[0] == 404
            assert error_of(client.get(f"{CHURN}/stats"))[0] == 404
            assert error_of(client.get("/v1/other/v2"))[0] == 404
            assert error_of(client.post(f"{CHURN}/infer", content=b" " * 101))[0] == 413
            assert error_of(reader.post(f"{CHURN}/infer", content=b"{}"))[0] == 403
            assert error_of(reader.post(f"{V2}/repository/index"))[0] == 403
            for path in ("", "/health/live", "/models/churn", "/anything"):
                assert error_of(nobody.get(V2 + path))[0] == 401

    def test_tracebacks_are_for_those_who_may_read_the_code(
        self, serve, world, workspace, key, make_key, make_worker
    ) -> None:
        def fail(worker: Any, header: dict[str, Any], payload: bytes, reply: Any) -> None:
            reply.error(500, "user_error", "ValueError: no", source="user", traceback="line 3 of secret.py")

        world.served(workspace, make_worker(fail))
        deploying = make_key(workspace, "deploy").text
        running = serve()
        with running.client(key) as client, running.client(deploying) as developer:
            status, said = error_of(client.post(f"{CHURN}/infer", content=b"{}"))
            assert (status, "ValueError: no" in said, "secret.py" in said) == (500, True, False)
            assert "secret.py" in error_of(developer.post(f"{CHURN}/infer", content=b"{}"))[1]


def test_tensors_reach_a_real_model_and_come_back(serve, world, workspace, key, start_model) -> None:
    source = """
class Model:
    def predict(self, inputs):
        return {"sum": inputs["left"] + inputs["right"]}
"""
    world.served(workspace, start_model(source))
    left, right = np.ones((3, 50_000), dtype="float32"), np.arange(150_000, dtype="float32").reshape(3, 50_000)
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [3, 50_000], "parameters": {"binary_data_size": 600_000}}
        for name in ("left", "right")
    ]
    head = json.dumps({"id": "7", "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    with serve().client(key) as client:
        answer = client.post(
            f"{CHURN}/infer",
            content=head + left.tobytes() + right.tobytes(),
            headers={"Inference-Header-Content-Length": str(len(head))},
        )
    length = int(answer.headers["Inference-Header-Content-Length"])
    said = json.loads(answer.content[:length])
    assert said == {
        "model_name": "churn",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [3, 50_000], "parameters": {"binary_data_size": 600_000}}
        ],
    }
    assert np.array_equal(np.frombuffer(answer.content[length:], dtype="float32"), (left + right).ravel())
