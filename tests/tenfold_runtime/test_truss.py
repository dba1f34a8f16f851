"""Truss folders, every row of what they may do, in real workers: what is called how, and what comes back."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = {
    "nothing": ("def predict(self): return 'none'", "none"),
    "inputs": ("def predict(self, inputs): return inputs", {"a": 1}),
    "inputs named request": ("def predict(self, request): return request", {"a": 1}),
    "request": ("async def predict(self, request: Request): return [await request.json()]", [{"a": 1}]),
    "request in a thread": (
        "def predict(self, request: Request):\n        import asyncio; return asyncio.run(request.body()).decode()",
        '{"a": 1}',
    ),
    "inputs and request": (
        "def predict(self, inputs, request: Request): return [inputs, request.headers['x-mine']]",
        [{"a": 1}, "yes"],
    ),
    "inputs and unannotated request": (
        "def predict(self, inputs, request): return [inputs, request.query_params['q']]",
        [{"a": 1}, "1 2"],
    ),
    "annotation as text": ("def predict(self, request: 'Request'): return request.method", "POST"),
    "subscribed state": (
        "def predict(self, request: Request):\n"
        "        with request.state.watch_disconnect() as gone: return gone.is_set()",
        False,
    ),
    "preprocess with request": (
        "async def preprocess(self, request: Request): return (await request.json())['a']\n"
        "    def predict(self, inputs): return inputs + 1",
        2,
    ),
    "postprocess with request": (
        "def predict(self, inputs): return 'out'\n"
        "    def postprocess(self, outputs, request: Request): return [outputs, str(request.url.path)]",
        ["out", "/v1/models/model:predict"],
    ),
    "all with both": (
        "def preprocess(self, i, r: Request): return [i, r.headers['x-mine']]\n"
        "    async def predict(self, i, r: Request): return [*i, r.method]\n"
        "    def postprocess(self, i, r: Request): return [*i, r.url.query]",
        [{"a": 1}, "yes", "POST", "q=1%202"],
    ),
    "generator in preprocess": (
        "async def preprocess(self, inputs):\n        for n in (1, 2): yield n\n"
        "    async def predict(self, numbers): return [n async for n in numbers]",
        [1, 2],
    ),
}
HTTP = {
    "method": "POST",
    "path": "/v1/models/model:predict",
    "query": "q=1%202",
    "headers": [["host", "models.example"], ["x-mine", "yes"], ["content-type", "application/json"]],
}


@pytest.mark.parametrize("form", ARGUMENTS)
def test_methods_get_the_arguments_that_their_signatures_name(workers, form: str) -> None:
    method, expected = ARGUMENTS[form]
    client = workers.truss(f"from fastapi import Request\nclass Model:\n    {method}\n").ready()
    answer = client.request("predict", b'{"a": 1}', content_type="application/json", http=HTTP)
    assert answer.ok, answer.header
    assert answer.json() == expected


def test_a_body_that_only_the_request_carries_is_not_read_as_json(workers) -> None:
    source = """
        from fastapi import Request
        class Model:
            async def predict(self, request: Request):
                form = await request.form()
                return dict(form)
    """
    client = workers.truss(source).ready()
    answer = client.request("predict", b"a=1&b=2", content_type="application/x-www-form-urlencoded", http=HTTP)
    http = {**HTTP, "headers": [["content-type", "application/x-www-form-urlencoded"]]}
    answer = client.request("predict", b"a=1&b=2", content_type="application/x-www-form-urlencoded", http=http)
    assert answer.json() == {"a": "1", "b": "2"}


def test_without_starlette_the_request_is_a_stand_in(workers) -> None:
    source = """
        class Model:
            async def predict(self, inputs, request):
                try:
                    import starlette
                except ImportError:
                    return [inputs, await request.json(), request.headers["X-Mine"], request.query_params["q"],
                            request.method, await request.is_disconnected(), type(request).__module__]
    """
    client = workers.truss(source, python=workers.bare_python).ready()
    answer = client.request("predict", b'{"a": 1}', content_type="application/json", http=HTTP)
    assert answer.json() == [{"a": 1}, {"a": 1}, "yes", "1 2", "POST", False, "tenfold_runtime.requests"]


WRONG = {
    "second is no request": ("def predict(self, inputs, invalid): ...", "predict(inputs, invalid)"),
    "request comes first": ("def predict(self, request: Request, other): ...", "as the first of two"),
    "three": ("def predict(self, inputs, request: Request, third): ...", "asks for inputs, request, third"),
    "preprocess is lost": (
        "def preprocess(self, inputs): ...\n    def predict(self, request: Request): ...",
        "what preprocess returns would be lost",
    ),
    "predict is lost": (
        "def predict(self, inputs): ...\n    def postprocess(self, request: Request): ...",
        "what predict returns would be lost",
    ),
    "neither predict nor websocket": ("def preprocess(self, inputs): ...", "no method predict, and no websocket"),
    "an OpenAI method alone": ("def chat_completions(self, inputs): ...", "no method predict, and no websocket"),
    "websocket and predict": (
        "async def websocket(self, ws): ...\n    def predict(self, inputs): ...",
        "has both websocket and predict",
    ),
    "websocket and preprocess": (
        "async def websocket(self, ws): ...\n    def preprocess(self, inputs): ...",
        "has both websocket and preprocess",
    ),
    "websocket that is not async": ("def websocket(self, ws): ...", "is not an async function"),
    "websocket of two arguments": ("async def websocket(self, ws, request: Request): ...", "only one argument"),
    "is_healthy asks": (
        "def predict(self, inputs): ...\n    def is_healthy(self, deep): ...",
        "is_healthy(deep) asks for deep",
    ),
    "load asks": ("def load(self, path): ...\n    def predict(self, inputs): ...", "load(path) asks for path"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_signature_fails_the_load_and_is_named(workers, how: str) -> None:
    method, says = WRONG[how]
    client = workers.truss(f"from fastapi import Request\nclass Model:\n    {method}\n").ready()
    health = client.health()
    assert health["state"] == "failed"
    assert says in health["error"]["message"]
    assert health["error"]["hint"]
    for _ in range(2):  # and no later probe says anything else
        refused = client.request("predict", b"{}")
        assert (refused.header["status"], refused.header["code"]) == (503, "load_failed")
        assert client.health()["state"] == "failed"


# --- responses


RESPONSES = """
    import fastapi
    from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
    from starlette.background import BackgroundTask

    class Model:
        def predict(self, inputs):
            return getattr(self, inputs)()
        def plain(self):
            return fastapi.Response(b"body", 201, {"x-mine": "a"}, "application/x-special")
        def json(self):
            return JSONResponse({"a": 1}, status_code=418)
        def stream(self):
            return StreamingResponse((f"part {n};" for n in range(3)), 202, {"x-mine": "b"}, "text/plain")
        def asynchronous(self):
            async def parts():
                yield b"a"
                yield b"b"
            return StreamingResponse(parts(), media_type="application/octet-stream")
        def file(self):
            return FileResponse(__file__, media_type="text/x-python")
        def background(self):
            def later():
                import time
                time.sleep(0.3)
                print("done in the background", flush=True)
            return PlainTextResponse("first", background=BackgroundTask(later))
        def breaks(self):
            def parts():
                yield "one"
                raise ValueError("in the middle")
            return StreamingResponse(parts())
"""


def test_responses_pass_their_status_headers_and_body(workers, predict) -> None:
    worker = workers.truss(RESPONSES)
    client = worker.ready()
    plain = predict(client, "plain")
    assert (plain.payload, plain.header["status"], plain.header["content_type"]) == (
        b"body",
        201,
        "application/x-special",
    )
    assert plain.header["headers"] == {"x-mine": "a"}
    assert (predict(client, "json").json(), predict(client, "json").header["status"]) == ({"a": 1}, 418)
    assert predict(client, "file").payload.startswith(b"\nimport fastapi")
    before = time.monotonic()
    assert predict(client, "background").payload == b"first"
    assert "done in the background" not in worker.log() or time.monotonic() - before > 0.3
    worker.wait_until(lambda: "done in the background" in worker.log())


def test_streaming_responses_stream(workers) -> None:
    client = workers.truss(RESPONSES).ready()
    frames = list(client.stream("predict", b'"stream"', content_type="application/json", accept="application/json"))
    assert b"".join(frame.payload for frame in frames) == b"part 0;part 1;part 2;"
    assert len(frames) > 3
    assert frames[0].header["status"] == 202
    assert frames[0].header["headers"] == {"x-mine": "b"}
    assert [frame.more for frame in frames[-2:]] == [True, False]
    assert client.request("predict", b'"asynchronous"').payload == b"ab"
    broken = list(client.stream("predict", b'"breaks"'))
    assert broken[0].payload == b"one"
    assert broken[-1].header["message"] == "ValueError: in the middle"


POSTPROCESSED = {
    "generator": "yield 'a'",
    "async generator": "yield 'a'",
    "response": "return __import__('fastapi').Response(b'x')",
}


@pytest.mark.parametrize("what", POSTPROCESSED)
def test_a_generator_or_a_response_excludes_postprocess(workers, predict, what: str) -> None:
    start = "async def" if what.startswith("async") else "def"
    source = f"""class Model:
    {start} predict(self, inputs):
        {POSTPROCESSED[what]}
    def postprocess(self, outputs): return outputs
"""
    worker = workers.truss(source)
    answer = predict(worker.ready(), 1)
    assert (answer.header["status"], answer.header["code"]) == (500, "user_error")
    assert "you cannot use postprocessing" in answer.header["message"]
    assert "you cannot use postprocessing" in worker.log()


def test_postprocess_may_stream_outside_of_the_places_of_predict(workers) -> None:
    source = """
        import threading
        both = threading.Barrier(2)
        class Model:
            def predict(self, inputs): return inputs
            def postprocess(self, values):
                both.wait(15)
                for value in values: yield value + " modified;"
    """
    worker = workers.truss(source)
    worker.ready()
    streams = [worker.client().stream("predict", b'["0", "1"]') for _ in range(2)]
    import threading

    found: list[bytes] = []
    readers = [
        threading.Thread(target=lambda s=stream: found.append(b"".join(f.payload for f in s))) for stream in streams
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert found == [b"0 modified;1 modified;"] * 2


HTTP_ERROR = """
    import fastapi
    class Model:
        def predict(self, inputs):
            detail = inputs.get("detail", "no teapots")
            raise fastapi.HTTPException(inputs["status"], detail, headers={"X-Reason": "because"})
"""


def test_an_http_exception_passes_status_detail_and_headers(workers, predict) -> None:
    client = workers.truss(HTTP_ERROR).ready()
    refused = predict(client, {"status": 418}).header
    assert (refused["status"], refused["detail"], refused["headers"]) == (418, "no teapots", {"x-reason": "because"})
    assert (refused["code"], refused["source"]) == ("http", "input")
    refused = predict(client, {"status": 503, "detail": {"retry": True}}).header
    assert (refused["status"], refused["detail"], refused["source"]) == (503, {"retry": True}, "user")


def test_the_traceback_in_the_log_has_the_users_frames_only(workers, predict) -> None:
    source = """
        from helpers import deep
        class Model:
            def predict(self, inputs): return deep(inputs)
    """
    worker = workers.truss(source, files={"packages/helpers.py": "def deep(x): raise KeyError('deep inside')"})
    answer = predict(worker.ready(), 1)
    assert answer.header["message"] == "KeyError: 'deep inside'"
    assert "packages/helpers.py" in worker.log()
    assert "tenfold_runtime" not in worker.log().partition("Traceback")[2]


# --- OpenAI's methods


OPENAI = """
    class Model:
        def load(self): self.counts = {}
        def count(self, name, inputs):
            self.counts[name] = self.counts.get(name, 0) + inputs["increment"]
            return self.counts[name]
        async def predict(self, inputs): return self.count("predict", inputs)
        async def completions(self, inputs): return self.count("completions", inputs)
        def embeddings(self, inputs): return self.count("embeddings", inputs)
        async def messages(self, inputs):
            for event in inputs["events"]: yield event
        def responses(self, inputs):
            for event in inputs["events"]: yield event
"""


def test_the_methods_that_speak_openais_protocol(workers) -> None:
    client = workers.truss(OPENAI).ready()
    assert client.health()["methods"] == ["predict", "completions", "embeddings", "messages", "responses"]

    def call(method: str, **body: Any) -> Any:
        return client.request("method", json.dumps(body).encode(), method=method, content_type="application/json")

    assert [call("completions", increment=n).json() for n in (1, 2)] == [1, 3]
    assert call("embeddings", increment=5).json() == 5
    assert call("predict", increment=1).header["code"] == "no_such_method"
    missing = call("chat_completions", increment=1)
    assert (missing.header["status"], missing.header["code"]) == (404, "no_such_method")
    assert call("load").header["status"] == 404
    assert call("messages", events=["1", "2"]).payload == b"12"
    assert call("responses", events=["1", "2"]).payload == b"12"


def test_events_have_the_type_of_an_event_stream(workers) -> None:
    client = workers.truss(OPENAI).ready()
    body = json.dumps({"events": ['data: {"a": 1}\n\n', "data: [DONE]\n\n"]}).encode()
    first, *_ = client.stream("method", body, method="messages", content_type="application/json")
    assert first.header["content_type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "agent", "gathered"),
    [
        ("application/json", "curl/8", True),
        ("application/json", "", True),
        ("application/json", "OpenAI/Python 1.61.0", False),
        ("application/json", "AsyncOpenAI/JS 4", False),
        ("*/*", "curl/8", False),
        ("application/json, text/plain, */*", "axios/1", False),
        (None, "curl/8", False),
    ],
)
def test_who_gets_a_stream_as_one_value(workers, accept: str | None, agent: str, gathered: bool) -> None:
    client = workers.truss(
        "class Model:\n    def predict(self, x):\n        yield from ('a', b'\\xc3', b'\\xa9')"
    ).ready()
    http = {**HTTP, "headers": [["user-agent", agent]]}
    answer = client.request("predict", b"1", content_type="application/json", accept=accept, http=http)
    assert answer.payload == (b'"a\xc3\xa9"' if gathered else b"a\xc3\xa9")


# --- schema


SCHEMAS = {
    "both": ("def predict(self, x: In) -> Out: ...", ("In", "Out", False)),
    "input": ("def predict(self, x: In): ...", ("In", None, None)),
    "nothing": ("def predict(self, x: dict) -> dict: ...", None),
    "stream": ("def predict(self, x: In) -> Generator[str, None, None]: yield ''", ("In", None, True)),
    "asynchronous stream": ("async def predict(self, x) -> AsyncGenerator[str, None]: yield ''", (None, None, True)),
    "awaitable": ("def predict(self, x: In) -> Awaitable[Out]: ...", ("In", "Out", False)),
    "either": ("def predict(self, x: In) -> Union[Out, Generator[str, None, None]]: ...", ("In", "Out", True)),
    "of preprocess and postprocess": (
        "def preprocess(self, x: In): return x\n    def predict(self, x): return x\n"
        "    def postprocess(self, x) -> Out: return x",
        ("In", "Out", False),
    ),
    "request and input": ("def predict(self, x: In, r: Request) -> Out: ...", ("In", "Out", False)),
}


@pytest.mark.parametrize("form", SCHEMAS)
def test_the_schema_is_what_a_truss_server_tells(workers, form: str) -> None:
    method, expected = SCHEMAS[form]
    source = f"""from typing import AsyncGenerator, Awaitable, Generator, Union
from fastapi import Request
from pydantic import BaseModel
class In(BaseModel):
    prompt: str
class Out(BaseModel):
    text: str
class Model:
    {method}
"""
    schema = workers.truss(source).ready().request("schema").json()["truss"]
    if expected is None:
        assert schema is None
        return
    titles = [part and part["title"] for part in (schema["input_schema"], schema["output_schema"])]
    assert (*titles, schema["supports_streaming"]) == expected


def test_pydantic_validates_and_its_models_go_in_and_out(workers, predict) -> None:
    source = """
        from pydantic import BaseModel
        class In(BaseModel):
            prompt: str
            count: int = 1
        class Out(BaseModel):
            text: str
        class Model:
            def predict(self, inputs: In) -> Out: return Out(text=inputs.prompt * inputs.count)
    """
    client = workers.truss(source).ready()
    assert predict(client, {"prompt": "a", "count": 3}).json() == {"text": "aaa"}
    refused = predict(client, {"count": "many"}).header
    assert refused["status"] == 400
    assert [problem["field"] for problem in refused["details"]] == ["prompt", "count"]


# --- what the constructor and setup_environment get


ENVIRONMENT = """
    class Model:
        def __init__(self, config, data_dir, secrets, lazy_data_resolver, environment):
            self.given = environment
            self.set_up = "not called"
            self.order = []
        def setup_environment(self, environment):
            self.set_up = environment
            self.order.append("setup_environment")
        def load(self):
            self.order.append("load")
        def predict(self, inputs):
            return [self.given, self.set_up, self.order]
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_the_environment_reaches_the_constructor_and_setup_environment(workers, predict, kind: str) -> None:
    source = ENVIRONMENT.replace("def setup_environment", f"{kind} setup_environment")
    named = {"name": "production"}
    answer = predict(workers.truss(source, environment=named).ready(), 1)
    assert answer.json() == [named, named, ["setup_environment", "load"]]
    answer = predict(workers.truss(source).ready(), 1)
    assert answer.json() == [None, "not called", ["load"]]


def test_secrets_are_looked_up_and_a_missing_one_says_where_to_set_it(workers, predict) -> None:
    source = """
        class Model:
            def __init__(self, **kwargs): self.secrets = kwargs["secrets"]
            def predict(self, name):
                try:
                    return self.secrets[name]
                except KeyError as error:
                    return str(error)
    """
    config = "secrets: {token: null, unset: null}"
    client = workers.truss(source, config, secrets={"token": "s3cret"}).ready()
    assert predict(client, "token").json() == "s3cret"
    assert "`tenfold secrets set unset`" in predict(client, "unset").json()
    assert "'other' is not declared" in predict(client, "other").json()


def test_a_load_that_needs_a_missing_secret_names_it(workers) -> None:
    source = """
        class Model:
            def __init__(self, secrets): self.secrets = secrets
            def load(self): self.secrets["hf_access_token"]
            def predict(self, inputs): ...
    """
    error = workers.truss(source, "secrets: {hf_access_token: null}").ready().health()["error"]
    assert "Secret 'hf_access_token' is declared, but has no value" in error["message"]


def test_the_configuration_is_complete_and_variables_are_set(workers, predict) -> None:
    source = """
        import os
        class Model:
            def __init__(self, config): self.config = config
            def predict(self, inputs):
                return [self.config["runtime"]["streaming_read_timeout"], self.config["mine"], os.environ["FLAG"],
                        self.config["model_metadata"]["example_model_input"], os.path.exists("config.yaml")]
    """
    config = """
        mine: {kept: true}
        environment_variables: {FLAG: true}
        model_metadata: {example_model_input: {prompt: hello}}
    """
    answer = predict(workers.truss(source, config).ready(), 1)
    assert answer.json() == [60, {"kept": True}, "true", {"prompt": "hello"}, True]


def test_bundled_packages_data_and_places_of_a_container(workers, predict) -> None:
    source = """
        import os
        from bundled import VALUE
        class Model:
            def __init__(self, data_dir, secrets): self.data_dir, self.secrets = data_dir, secrets
            def predict(self, inputs):
                root = os.environ["TENFOLD_ROOT"]
                def read(path):
                    with open(path) as file: return file.read()
                return [VALUE, (self.data_dir / "words.txt").read_text(), read(root + "/packages/bundled.py"),
                        read(root + "/secrets/token"), read(root + "/app/data/words.txt"),
                        read(root + "/models/base/w.bin"), os.listdir("model")]
    """
    config = """
        secrets: {token: null}
        weights: [{source: "hf://a/b", mount_location: /models/base}]
    """
    files = {"packages/bundled.py": "VALUE = 1", "data/words.txt": "some words", "weights/models/base/w.bin": "weights"}
    client = workers.truss(source, config, files=files, secrets={"token": "t"}).ready()
    answer = predict(client, 1).json()
    assert answer[:6] == [1, "some words", "VALUE = 1", "t", "some words", "weights"]


def test_a_cached_repository_is_where_the_hub_client_looks(workers, predict) -> None:
    source = """
        import os
        class Model:
            def predict(self, inputs):
                hub = os.path.expanduser("~/.cache/huggingface/hub/models--org--tiny")
                def read(path):
                    with open(os.path.join(hub, path)) as file: return file.read()
                return [read("refs/main"), read("snapshots/main/config.json")]
    """
    config = "model_cache: [{repo_id: org/tiny}]"
    files = {"model_cache/models--org--tiny/main/config.json": "{}"}
    assert predict(workers.truss(source, config, files=files).ready(), 1).json() == ["main", "{}"]


# --- health, logs, metrics


def test_is_healthy_decides_and_what_it_raises_is_no(workers) -> None:
    source = """
        class Model:
            def __init__(self): self.answers = [True, False, ValueError("sick"), True]
            def is_healthy(self):
                answer = self.answers.pop(0)
                if isinstance(answer, Exception): raise answer
                return answer
            def predict(self, inputs): return self.answers
    """
    worker = workers.truss(source)
    client = worker.client()
    worker.wait_until(lambda: client.health()["state"] == "ready")
    found = {client.health().get("healthy") for _ in range(2)}
    assert found <= {True, False}
    worker.wait_until(lambda: "ValueError: sick" in worker.log() or client.health() is None)


def test_what_is_logged_is_seen_and_debug_only_where_asked_for(workers, predict) -> None:
    source = """
        import logging
        class Model:
            def predict(self, inputs):
                logging.info("an info"); logging.debug("a detail")
    """
    quiet, loud = workers.truss(source), workers.truss(source, "runtime: {enable_debug_logs: true}")
    for worker in (quiet, loud):
        predict(worker.ready(), 1)
        worker.wait_until(lambda worker=worker: "INFO root: an info" in worker.log())
    assert "a detail" not in quiet.log()
    assert f"{logging.getLevelName(logging.DEBUG)} root: a detail" in loud.log()


def test_metrics_are_those_of_the_model(workers, predict) -> None:
    source = """
        from prometheus_client import Counter
        calls = Counter("my_calls", "how often")
        class Model:
            def predict(self, inputs): calls.inc()
    """
    client = workers.truss(source).ready()
    predict(client, 1)
    metrics = client.request("metrics")
    assert b"my_calls_total 1.0" in metrics.payload
    assert b"process_" not in metrics.payload
    assert b"python_" not in metrics.payload
    assert metrics.header["content_type"].startswith("text/plain")
    assert workers.truss("class Model:\n    def predict(self): ...").ready().request("metrics").payload == b""


# --- streams, places, cancelling


def test_a_stream_that_stalls_ends_in_time(workers) -> None:
    source = """
        import asyncio, time
        class Model:
            def predict(self, kind): return self.stalls() if kind == "sync" else self.hangs()
            def stalls(self):
                yield "one"
                time.sleep(60)
                yield "two"
            async def hangs(self):
                yield "one"
                await asyncio.sleep(60)
    """
    client = workers.truss(source, "runtime: {streaming_read_timeout: 1, predict_concurrency: 2}").ready()
    for kind in ("sync", "async"):
        first, last = client.stream("predict", json.dumps(kind).encode())
        assert first.payload == b"one"
        assert (last.header["code"], last.header["status"]) == ("stream_timeout", 504)
        assert "streaming_read_timeout" in last.header["hint"]


def test_a_slow_reader_keeps_no_place(workers, predict) -> None:
    source = """
        class Model:
            def predict(self, kind):
                if kind == "quick": return "quick"
                return self.large()
            def large(self):
                for n in range(1200): yield f"{n:08d}" + "x" * 99_992
    """
    worker = workers.truss(source)
    client = worker.ready()
    slow = worker.client().stream("predict", b'"large"')
    first = next(slow)
    worker.wait_until(lambda: client.health()["in_flight"] == 0, seconds=60)
    assert predict(client, "quick").json() == "quick"
    assert client.health()["rss_bytes"] < 250_000_000
    parts = [first.payload, *(frame.payload for frame in slow)]
    assert len(parts) == 1201
    assert [part[:8] for part in parts[:-1]] == [b"%08d" % n for n in range(1200)]


def test_a_stream_without_end_to_a_slow_reader_fills_no_disk(workers) -> None:
    source = """
        import sys
        sys.modules["tenfold_runtime.backlog"]._MOST_BYTES = 1 << 20
        sys.modules["tenfold_runtime.server"]._BEHIND_BYTES = 1 << 18
        class Model:
            def predict(self, inputs):
                while True: yield b"x" * (1 << 16)
    """
    worker = workers.truss(source)
    worker.ready()
    frames = worker.client().stream("predict", b"1")
    next(frames)
    worker.wait_until(lambda: any(_sizes_of_removed_files(worker.process.pid)))
    largest = 0
    for _ in range(500):
        next(frames)
        time.sleep(0.002)  # a little slower than the model
        largest = max([largest, *_sizes_of_removed_files(worker.process.pid)])
    assert largest < 2 << 20


def _sizes_of_removed_files(pid: int) -> list[int]:
    sizes: list[int] = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(descriptor).endswith(" (deleted)"):
                sizes.append(descriptor.stat().st_size)
    return sizes


def test_asking_whether_the_caller_is_there_leaves_nothing_behind(workers, predict) -> None:
    source = """
        import asyncio, gc
        from fastapi import Request
        class Model:
            async def predict(self, inputs, request: Request):
                before = self.futures()
                for _ in range(200): assert not await request.is_disconnected()
                return self.futures() - before
            def futures(self):
                gc.collect()
                return sum(isinstance(one, asyncio.Future) for one in gc.get_objects())
    """
    assert predict(workers.truss(source).ready(), 1).json() < 10


def test_who_asks_learns_that_the_caller_has_gone(workers) -> None:
    source = """
        import asyncio, logging
        from fastapi import Request
        class Model:
            async def predict(self, inputs, request: Request):
                logging.warning("begun")
                while not await request.is_disconnected():
                    await asyncio.sleep(0.02)
                logging.warning("noticed")
                return "done"
            def messages(self, inputs, request: Request):
                import time
                with request.state.watch_disconnect() as gone:
                    logging.warning("watching")
                    gone.wait(20)
                logging.warning("saw it")
    """
    worker = workers.truss(source)
    worker.ready()
    for start, end, header in (
        ("begun", "noticed", {"op": "predict"}),
        ("watching", "saw it", {"op": "method", "method": "messages"}),
    ):
        caller = worker.client()
        op = header.pop("op")
        import threading

        thread = threading.Thread(target=lambda: _ignoring(caller, op, header), daemon=True)  # noqa: B023
        thread.start()
        worker.wait_until(lambda start=start: start in worker.log())
        caller._socket.shutdown(2)
        worker.wait_until(lambda end=end: end in worker.log())
        thread.join(10)


def _ignoring(client: Any, op: str, header: dict[str, Any]) -> None:
    try:
        client.request(op, b"{}", **header)
    except OSError:
        return


def test_predict_waits_for_a_place_and_the_methods_around_it_do_not(workers) -> None:
    source = """
        import threading
        together = threading.Barrier(3)
        class Model:
            def preprocess(self, inputs):
                together.wait(15)
                return inputs
            def predict(self, inputs): return threading.active_count()
    """
    worker = workers.truss(source)
    worker.ready()
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(3) as callers:
        answers = [callers.submit(worker.client().request, "predict", b"1") for _ in range(3)]
        assert all(answer.result(20).ok for answer in answers)
