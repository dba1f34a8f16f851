"""Real workers behind the gateway, asked by the clients that people use."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import msgpack
import openai
import pandas
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from websockets.exceptions import ConnectionClosed

from tenfold.packaging.estimators import package_estimator

from .conftest import package_of

R = "/v1/acme/models/churn"

pytestmark = pytest.mark.slow

CHAT = """
import asyncio, json, time
import fastapi


class Model:
    def predict(self, inputs):
        if inputs == "teapot":
            raise fastapi.HTTPException(418, detail={"short": "and stout"}, headers={"X-Kind": "pot"})
        if inputs == "raise":
            raise ValueError("a secret of the model")
        if inputs == "sleep":
            for _ in range(6000):
                time.sleep(0.01)
        return {"echo": inputs}

    async def chat_completions(self, inputs, request: fastapi.Request):
        said = inputs["messages"][-1]["content"]
        base = {"id": "chat-1", "created": int(time.time()), "model": inputs["model"]}
        if said == "who asks?":
            said = request.headers.get("user-agent", "") + " " + str(request.headers.get("authorization"))
        if not inputs.get("stream"):
            message = {"role": "assistant", "content": said.upper()}
            return {**base, "object": "chat.completion",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        return self._stream(base, said)

    async def _stream(self, base, said):
        for word in said.split():
            delta = {"index": 0, "delta": {"content": word.upper() + " "}, "finish_reason": None}
            yield f"data: {json.dumps({**base, 'object': 'chat.completion.chunk', 'choices': [delta]})}\\n\\n"
            await asyncio.sleep(0)
        yield "data: [DONE]\\n\\n"

    def embeddings(self, inputs):
        texts = [inputs["input"]] if isinstance(inputs["input"], str) else inputs["input"]
        data = [{"object": "embedding", "index": n, "embedding": [float(len(text)), 0.5]}
                for n, text in enumerate(texts)]
        return {"object": "list", "model": inputs["model"], "data": data,
                "usage": {"prompt_tokens": 1, "total_tokens": 1}}

    def completions(self, inputs):
        choice = {"index": 0, "text": inputs["prompt"][::-1], "finish_reason": "stop", "logprobs": None}
        return {"id": "c-1", "object": "text_completion", "created": 1, "model": inputs["model"], "choices": [choice]}

    def is_healthy(self):
        return True
"""


@pytest.fixture(scope="module")
def chat(start_shared, tmp_path_factory) -> str:
    """A worker's address."""
    return str(start_shared(package_of(CHAT, tmp_path_factory.mktemp("packages") / "chat")))


@pytest.fixture
def url(serve, world, workspace, key, chat) -> str:
    world.served(workspace, chat)
    return str(serve().url)


@pytest.fixture(params=["/v1", "/environments/production/sync/v1", "@1/v1"])
def client(url: str, key: str, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}{R}{request.param}", api_key=key, timeout=60, max_retries=0) as client:
        yield client


class TestOpenAI:
    def test_an_unmodified_client_gets_an_answer_and_a_stream(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(model="churn", messages=[{"role": "user", "content": "hello there"}])
        assert answer.choices[0].message.content == "HELLO THERE"
        stream = client.chat.completions.create(
            model="churn", messages=[{"role": "user", "content": "one two three"}], stream=True
        )
        assert [chunk.choices[0].delta.content for chunk in stream] == ["ONE ", "TWO ", "THREE "]

    def test_embeddings_completions_and_what_it_has_not(self, client: openai.OpenAI) -> None:
        embedded = client.embeddings.create(model="churn", input=["a", "abc"], encoding_format="float")
        assert [item.embedding for item in embedded.data] == [[1.0, 0.5], [3.0, 0.5]]
        assert client.completions.create(model="churn", prompt="abc").choices[0].text == "cba"
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model="churn", input="hello")

    def test_the_model_sees_who_asks_and_not_with_what(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(model="churn", messages=[{"role": "user", "content": "who asks?"}])
        said = str(answer.choices[0].message.content)
        assert said.startswith("OPENAI/PYTHON")
        assert said.endswith(" NONE")

    def test_a_stream_is_announced_as_events(self, url: str, key: str) -> None:
        body = {"model": "churn", "messages": [{"role": "user", "content": "one two"}], "stream": True}
        answer = httpx.post(f"{url}{R}/v1/chat/completions", json=body, headers={"X-Api-Key": key}, timeout=60)
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.text.endswith("data: [DONE]\n\n")

    def test_a_wrong_key_is_said_so(self, url: str) -> None:
        with (
            openai.OpenAI(base_url=f"{url}{R}/v1", api_key="sk-wrong", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.chat.completions.create(model="churn", messages=[])


class TestTruss:
    def test_errors(self, url: str, key: str) -> None:
        with httpx.Client(base_url=url, headers={"Authorization": f"Api-Key {key}"}, timeout=60) as client:
            path = f"{R}/v1/models/model:predict"
            good, teapot, raised = (client.post(path, json=inputs) for inputs in ("x", "teapot", "raise"))
            broken = client.post(path, content=b"{")
            absent = client.post(f"{R}/v1/messages", json={})
        assert good.json() == {"echo": "x"}
        assert (teapot.status_code, teapot.json(), teapot.headers["X-Kind"]) == (
            418, {"error": {"short": "and stout"}}, "pot",
        )  # fmt: skip
        assert (raised.status_code, raised.json()) == (500, {"error": "Internal Server Error (in model/chainlet)."})
        codes = [answer.headers["X-BASETEN-ERROR-CODE"] for answer in (teapot, raised, broken, absent)]
        assert codes == ["600", "600", "700", "700"]
        assert [broken.status_code, absent.status_code] == [400, 404]

    def test_probes_and_a_client_that_leaves(self, serve, world, workspace, key, start_model) -> None:
        world.served(workspace, start_model(CHAT))
        with httpx.Client(base_url=serve().url, headers={"X-Api-Key": key}, timeout=60) as client:
            with pytest.raises(httpx.ReadTimeout):
                client.post(f"{R}/v1/models/model:predict", json="sleep", timeout=0.5)
            probes = {path: client.get(R + path).status_code for path in ("", "/v1/models/model", "/ping")}
            assert probes == {"": 200, "/v1/models/model": 200, "/ping": 200}
            assert client.get(f"{R}/v1/models/model/schema").status_code == 404
            # the sleeper, which has a minute to go, has lost the model's only place
            assert client.post(f"{R}/v1/models/model:predict", json="x", timeout=50).json() == {"echo": "x"}

    def test_msgpack_carries_arrays_both_ways(self, serve, world, workspace, key, start_model) -> None:
        source = "class Model:\n    def predict(self, inputs):\n        return {'twice': inputs['rows'] * 2}\n"
        world.served(workspace, start_model(source))
        array = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [2], b"data": struct.pack("<2f", 1.5, -2.0)}
        answer = httpx.post(
            f"{serve().url}{R}/v1/models/model:predict",
            content=msgpack.packb({"rows": array}),
            headers={"X-Api-Key": key, "Content-Type": "application/octet-stream"},
            timeout=60,
        )
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/octet-stream")
        twice = msgpack.unpackb(answer.content, strict_map_key=False)["twice"]
        assert struct.unpack("<2f", twice[b"data"]) == (3.0, -4.0)
        assert twice[b"type"] == "<f4"

    def test_schema_and_metrics_of_a_model(self, serve, world, workspace, key, start_model) -> None:
        source = """
from prometheus_client import Counter
from pydantic import BaseModel

CALLS = Counter("my_calls", "Calls.")


class Row(BaseModel):
    age: int


class Answer(BaseModel):
    ok: bool


class Model:
    def predict(self, inputs: Row) -> Answer:
        CALLS.inc()
        return Answer(ok=inputs.age > 1)
"""
        world.served(workspace, start_model(source))
        with serve().client(key) as client:
            assert client.post(f"{R}/v1/models/model:predict", json={"age": 2}).json() == {"ok": True}
            wrong = client.post(f"{R}/v1/models/model:predict", json={"age": "old"})
            schema = client.get(f"{R}/v1/models/model/schema").json()
            metrics = client.get(f"{R}/metrics").text
        assert wrong.status_code == 400
        assert "age" in wrong.json()["error"]
        assert schema["input_schema"]["properties"]["age"] == {"title": "Age", "type": "integer"}
        assert schema["output_schema"]["properties"]["ok"]["type"] == "boolean"
        assert "my_calls_total 1.0" in metrics


SOCKET = """
import fastapi


class Model:
    async def websocket(self, websocket: fastapi.WebSocket):
        try:
            while True:
                text = await websocket.receive_text()
                if text == "raise":
                    raise ValueError("a secret of the model")
                if text == "bye":
                    await websocket.close(4000, "as asked")
                    return
                if text == "bytes":
                    await websocket.send_bytes(bytes(range(256)) * 4096)
                    continue
                await websocket.send_text(text.upper())
        except fastapi.WebSocketDisconnect as left:
            print("left with", left.code, flush=True)
"""


class TestWebsockets:
    @pytest.fixture
    def running(self, serve, world, workspace, key, start_model) -> Any:
        world.served(workspace, start_model(SOCKET, "runtime:\n  transport: {kind: websocket}\n"))
        return serve()

    def test_a_conversation(self, running, key, tmp_path) -> None:
        with running.websocket(f"{R}/v1/websocket", key) as socket:
            for text in ("hello", "ä", "x" * 100_000):
                socket.send(text)
                assert socket.recv(30) == text.upper()
            socket.send("bytes")
            assert socket.recv(30) == bytes(range(256)) * 4096
        running.wait_for(lambda _: any("left with 1000" in log.read_text() for log in tmp_path.glob("*.log")), 30)

    @pytest.mark.parametrize(
        ("said", "told"),
        [("bye", (4000, "as asked")), ("raise", (1011, "Internal Server Error (in model/chainlet)."))],
    )
    def test_how_it_ends(self, running, key, said: str, told: tuple[int, str]) -> None:
        with running.websocket(f"{R}/production/websocket", key) as socket:
            socket.send(said)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(30)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == told

    def test_many_at_once(self, running, key) -> None:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(running.websocket(f"{R}/websocket", key)) for _ in range(20)]
            for number, socket in enumerate(sockets):
                socket.send(f"n{number}")
            assert [socket.recv(30) for socket in sockets] == [f"N{number}" for number in range(20)]


@pytest.fixture(scope="module")
def scorer(start_shared, tmp_path_factory) -> tuple[str, Any]:
    """A worker's address, and the model's schema."""
    frame = pandas.DataFrame({"age": [20, 30, 40, 50], "city": ["Oslo", "Rome", "Oslo", "Rome"]})
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1, 0, 1])
    root = tmp_path_factory.mktemp("packages") / "scorer"
    package = package_estimator(pipeline, "churn", root, example=frame.iloc[:1])
    return start_shared(root), package.schema.to_json() if package.schema else None


class TestMlflow:
    """MLflow's four JSON bodies and CSV, scored by what `tenfold.deploy` makes of a scikit-learn pipeline."""

    @pytest.fixture
    def client(self, serve, world, workspace, key, scorer) -> Iterator[httpx.Client]:
        address, schema = scorer
        world.served(workspace, address, schema=schema)
        with serve().client(key) as client:
            yield client

    def test_all_of_them_give_the_same(self, client: httpx.Client) -> None:
        rows = [{"age": 22, "city": "Oslo"}, {"age": 44, "city": "Rome"}]
        values = [[row["age"], row["city"]] for row in rows]
        bodies: list[Any] = [
            {"dataframe_split": {"index": [0, 1], "columns": ["age", "city"], "data": values}},
            {"dataframe_records": rows},
            {"instances": rows},
            {"instances": values},
            {"inputs": values},
            {"inputs": {"age": [22, 44], "city": ["Oslo", "Rome"]}},
        ]
        answers = [client.post(f"{R}/invocations", json=body) for body in bodies]
        answers.append(
            client.post(
                f"{R}/invocations", content="age,city\n22,Oslo\n44,Rome\n", headers={"Content-Type": "text/csv"}
            )
        )
        assert [answer.status_code for answer in answers] == [200] * 7, [answer.text for answer in answers]
        assert [answer.json()["predictions"] for answer in answers] == [[0, 1]] * 7
        assert client.get(f"{R}/ping").status_code == 200

    def test_a_wrong_column_is_named(self, client: httpx.Client) -> None:
        answer = client.post(f"{R}/invocations", json={"dataframe_records": [{"age": 1, "town": "Oslo"}]})
        assert answer.status_code == 400
        assert "city" in answer.json()["error"]
