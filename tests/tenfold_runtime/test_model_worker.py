"""A model in a real worker, over a real socket: loading, predicting, streaming, cancelling, stopping."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import threading
import time
from typing import Any

import pytest

from tenfold_runtime.client import AsyncClient
from tenfold_runtime.frames import Decoder, Frame, FrameError, encode, parse_address

ECHO = """
    class Model:
        def predict(self, inputs):
            return {"got": inputs}
"""

ALL_METHODS = """
    import pathlib

    class Model:
        def __init__(self, config, data_dir, secrets, lazy_data_resolver, environment):
            assert isinstance(data_dir, pathlib.Path), data_dir
            assert lazy_data_resolver.block_until_download_complete() == data_dir
            assert environment is None
            self.words = (data_dir / "words.txt").read_text().split()
            self.name = config["model_name"]
            self.key = secrets["api_key"]
            try:
                secrets["other"]
            except KeyError as error:
                self.missing = str(error)

        def load(self):
            self.loaded = True

        def preprocess(self, inputs):
            return inputs + ["pre"]

        def predict(self, inputs):
            assert self.loaded
            return inputs + [self.name, self.key, *self.words]

        def postprocess(self, outputs):
            return {"outputs": outputs, "missing": self.missing}
"""


def test_a_model_gets_what_its_constructor_names_and_all_its_methods_run(workers, predict) -> None:
    worker = workers.model(
        ALL_METHODS,
        files={"data/words.txt": "one two"},
        config={"model_name": "tester", "model_metadata": {"a": 1}},
        secrets={"api_key": "s3cret"},
    )
    answer = predict(worker.ready(), ["in"])
    assert answer.ok, answer.header
    result = answer.json()
    assert result["outputs"] == ["in", "pre", "tester", "s3cret", "one", "two"]
    assert "under secrets in config.yaml" in result["missing"]


def test_what_loading_has_made_is_not_looked_at_again_by_the_garbage_collector(workers, predict) -> None:
    worker = workers.model("""
        import gc
        class Model:
            def load(self): self.made = [[] for _ in range(20000)]
            def predict(self, x): return [gc.get_freeze_count(), len(gc.get_objects())]
    """)
    frozen, watched = predict(worker.ready()).json()
    assert frozen > 20000 > watched


def test_health_tells_who_the_worker_is(workers) -> None:
    worker = workers.model(ECHO, arguments=["--digest", "abc"])
    health = worker.ready().health()
    assert health["state"] == "ready"
    assert (health["kind"], health["protocol"], health["digest"], health["in_flight"]) == ("model", 1, "abc", 0)
    assert health["pid"] == worker.process.pid
    assert health["rss_bytes"] > 5_000_000
    assert health["peak_rss_bytes"] >= health["rss_bytes"] * 0.9
    assert 0 <= health["load_seconds"] < 20
    assert abs(health["since"] - time.time()) < 20


@pytest.mark.parametrize("value", [None, 0, False, "text", [], {}, [1, {"a": None}]])
def test_any_json_value_goes_in_and_comes_out(workers, predict, value: Any) -> None:
    answer = predict(workers.model(ECHO).ready(), value)
    assert answer.json() == {"got": value}
    assert answer.header["status"] == 200
    assert answer.header["content_type"] == "application/json"


def test_the_answer_is_quick_and_says_how_long_it_took(workers, predict) -> None:
    client = workers.model("class Model:\n    def predict(self, x):\n        import time; time.sleep(0.02)").ready()
    assert 0.02 <= predict(client).header["seconds"] < 2


FORMS = {
    "no argument": "def predict(self): return 'ok'",
    "optional argument": "def predict(self, inputs=None): return 'ok'",
    "any arguments": "def predict(self, *args): return 'ok'",
    "static": "@staticmethod\n    def predict(inputs): return 'ok'",
    "async": "async def predict(self, inputs):\n        import asyncio; await asyncio.sleep(0.001); return 'ok'",
    "returns an awaitable": "def predict(self, inputs):\n        import asyncio; return asyncio.sleep(0.001, 'ok')",
    "async preprocess": "async def preprocess(self, x): return x\n    def predict(self, x): return 'ok'",
    "async postprocess": "def predict(self, x): return 'o'\n    async def postprocess(self, x): return x + 'k'",
    "all async": (
        "async def load(self): self.k = 'k'\n    async def preprocess(self, x): return 'o'\n"
        "    async def predict(self, x): return x\n    async def postprocess(self, x): return x + self.k"
    ),
    "callable object": (
        "def __init__(self):\n        class P:\n            def __call__(self, x): return 'ok'\n"
        "        self.predict = P()"
    ),
    "keyword constructor": "def __init__(self, **a): self.c = a['config']\n    def predict(self, x): return 'ok'",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_method_is_called_rightly(workers, predict, form: str) -> None:
    answer = predict(workers.model(f"class Model:\n    {FORMS[form]}\n").ready(), [1])
    assert answer.ok, answer.header
    assert answer.json() == "ok"


def test_a_body_is_only_needed_by_a_method_that_takes_one(workers) -> None:
    without = workers.model("class Model:\n    def predict(self): return 1").ready()
    assert without.request("predict", b"").json() == 1
    needing = workers.model(ECHO).ready()
    refused = needing.request("predict", b"")
    assert (refused.header["code"], refused.header["status"]) == ("bad_input", 400)


def test_binary_bodies_reach_the_model_as_bytes(workers) -> None:
    client = workers.model("class Model:\n    def predict(self, x): return [type(x).__name__, len(x)]").ready()
    assert client.request("predict", b"\x89PNG\0", content_type="image/png").json() == ["bytes", 5]


def test_bad_json_is_the_callers_fault_with_its_place(workers) -> None:
    answer = workers.model(ECHO).ready().request("predict", b'{"a": 1,\n"b" 2}')
    assert (answer.header["status"], answer.header["code"], answer.header["source"]) == (400, "bad_input", "input")
    assert answer.header["details"]["line"] == 2


def test_nan_becomes_null_with_a_warning_in_the_header(workers, predict) -> None:
    answer = predict(workers.model("class Model:\n    def predict(self, x): return {'a': float('nan')}").ready())
    assert answer.json() == {"a": None}
    assert "null was written at a" in answer.header["warnings"][0]


PYDANTIC = """
    import pydantic
    from typing import List

    class Row(pydantic.BaseModel):
        age: int
        tags: List[str] = []

    class Out(pydantic.BaseModel):
        total: int

    class Model:
        def predict(self, rows: List[Row]) -> Out:
            return Out(total=sum(row.age for row in rows))
"""


def test_a_pydantic_annotation_validates_and_names_the_field(workers, predict) -> None:
    client = workers.model(PYDANTIC).ready()
    assert predict(client, [{"age": 1}, {"age": "2"}]).json() == {"total": 3}
    refused = predict(client, [{"age": 1}, {"age": "old", "tags": 5}])
    assert (refused.header["status"], refused.header["code"]) == (400, "bad_input")
    assert "[1].age" in refused.header["message"]
    assert [problem["field"] for problem in refused.header["details"]] == ["[1].age", "[1].tags"]


def test_schema_tells_what_annotations_tell(workers) -> None:
    schema = workers.model(PYDANTIC).ready().request("schema").json()
    assert schema["inputs"]["type"] == "array"
    assert schema["outputs"]["properties"]["total"]["type"] == "integer"
    assert workers.model(ECHO).ready().request("schema").json() == {"inputs": None, "outputs": None, "truss": None}


def test_code_beside_the_model_is_importable_every_way(workers, predict) -> None:
    source = """
        import os
        from .helper import A
        from model.helper import A as B
        import bundled
        import beside

        class Model:
            def predict(self, x):
                return [A, B, bundled.C, beside.D, os.path.basename(os.getcwd()), open("note.txt").read()]
    """
    files = {"model/helper.py": "A = 1", "packages/bundled.py": "C = 3", "beside.py": "D = 4", "note.txt": "here"}
    assert predict(workers.model(source, files=files).ready()).json() == [1, 1, 3, 4, "package", "here"]


def test_the_class_is_found_where_the_configuration_says(workers, predict) -> None:
    worker = workers.model(
        "",
        files={
            "src/inner/serving.py": "from . import other\nclass Mine:\n    def predict(self, x): return other.V",
            "src/inner/other.py": "V = 5",
        },
        config={"model_module_dir": "src/inner", "model_class_filename": "serving.py", "model_class_name": "Mine"},
    )
    assert predict(worker.ready()).json() == 5


def test_config_yaml_is_read_where_the_environment_can(workers, predict) -> None:
    source = """
        class Model:
            def __init__(self, config): self.config = config
            def predict(self, x): return self.config["model_name"]
    """
    worker = workers.model(source, files={"config.yaml": "model_name: from yaml\nmodel_metadata:\n"})
    assert predict(worker.ready()).json() == "from yaml"


BROKEN = {
    "no predict": ("class Model: pass", "has no method predict"),
    "no class": ("class Other: pass", "no class Model. It defines Other"),
    "syntax": ("def (:", "SyntaxError"),
    "missing package": ("import not_installed_anywhere", "No module named 'not_installed_anywhere'"),
    "constructor asks too much": (
        "class Model:\n    def __init__(self, database): ...\n    def predict(self): ...",
        "database",
    ),
    "constructor raises": (
        "class Model:\n    def __init__(self): raise OSError('no weights')",
        "no weights",
    ),
    "predict asks too much": ("class Model:\n    def predict(self, a, b): ...", "predict(a, b) asks for a and b"),
    "predict by keyword": ("class Model:\n    def predict(self, *, a): ...", "predict(*, a) asks for a"),
    "load asks": ("class Model:\n    def load(self, x): ...\n    def predict(self): ...", "load(x) asks for x"),
    "load raises": (
        "class Model:\n    def load(self): raise ValueError('bad weights')\n    def predict(self): ...",
        "bad weights",
    ),
    "load exits": ("class Model:\n    def load(self): raise SystemExit(3)\n    def predict(self): ...", "sys.exit(3)"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_failed_load_says_why_and_is_never_ready(workers, predict, how: str) -> None:
    source, says = BROKEN[how]
    worker = workers.model(source)
    client = worker.ready()
    health = client.health()
    assert health["state"] == "failed"
    assert health["error"]["code"] == "load_failed"
    assert says in health["error"]["message"]
    for _ in range(2):
        answer = predict(client)
        assert (answer.header["code"], answer.header["status"], answer.header["source"]) == ("load_failed", 503, "user")
        assert says in answer.header["message"]
    assert worker.process.poll() is None


def test_a_package_without_its_model_file_says_so(workers) -> None:
    worker = workers.model(ECHO, config={"model_class_filename": "gone.py"})
    assert "has no model/gone.py" in worker.ready().health()["error"]["message"]


def test_load_is_tried_once_more(workers, predict) -> None:
    source = """
        class Model:
            tries = 0
            def load(self):
                self.tries += 1
                if self.tries == 1:
                    raise ConnectionError("the first time")
            def predict(self, x):
                return self.tries
    """
    worker = workers.model(source)
    assert predict(worker.ready()).json() == 2
    assert "ConnectionError: the first time" in worker.log()


def test_while_load_hangs_health_answers_and_predict_says_not_ready(workers, predict) -> None:
    worker = workers.model("class Model:\n    def load(self):\n        while True: pass\n    def predict(self, x): ...")
    client = worker.client()
    for _ in range(5):
        assert client.health()["state"] == "loading"
    answer = predict(client)
    assert (answer.header["status"], answer.header["code"]) == (503, "not_ready")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(timeout=10) == 0


def test_what_predict_raises_comes_back_with_the_users_frames_only(workers, predict) -> None:
    source = """
        def deeper(x):
            return 1 / x

        class Model:
            def predict(self, x):
                return deeper(x)
    """
    worker = workers.model(source)
    answer = predict(worker.ready(), 0)
    assert (answer.header["status"], answer.header["code"], answer.header["source"]) == (500, "user_error", "user")
    assert answer.header["message"] == "ZeroDivisionError: division by zero"
    traceback = answer.header["traceback"]
    assert "return deeper(x)" in traceback
    assert "return 1 / x" in traceback
    assert "tenfold_runtime" not in traceback
    assert "ZeroDivisionError" in worker.log()
    assert predict(worker.client(), 2).json() == 0.5


@pytest.mark.parametrize(
    ("status", "code", "source"),
    [(400, "bad_input", "input"), (422, "bad_input", "input"), (404, "http", "input"), (503, "http", "user")],
)
def test_an_http_exception_with_a_4xx_is_about_the_input(workers, predict, status: int, code: str, source: str) -> None:
    client = workers.model(f"""
        class HTTPException(Exception):
            status_code = {status}

        class Model:
            def predict(self, x):
                raise HTTPException("not this")
    """).ready()
    header = predict(client, 0).header
    assert (header["status"], header["code"], header["source"]) == (status, code, source)
    assert ("traceback" in header) is (source == "user")


def test_one_call_after_the_other_runs_in_one_thread(workers, predict) -> None:
    """Its caches and thread-local state stay warm; a new thread for each costs more than many a predict."""
    client = workers.model("""
        import threading
        class Model:
            def predict(self, x):
                return threading.get_ident()
    """).ready()
    assert len({predict(client, number).json() for number in range(50)}) == 1


def test_an_http_exception_passes_its_own_status(workers, predict) -> None:
    source = """
        class HTTPException(Exception):
            def __init__(self, status_code, detail):
                self.status_code, self.detail = status_code, detail

        class Model:
            def predict(self, x):
                raise HTTPException(418, {"tea": "pot"} if x else "short and stout")
    """
    client = workers.model(source).ready()
    answer = predict(client, 0)
    assert (answer.header["code"], answer.header["status"], answer.header["message"]) == (
        "http",
        418,
        "short and stout",
    )
    assert predict(client, 1).header["details"] == {"tea": "pot"}


def test_is_healthy_is_asked_and_a_slow_one_delays_nothing_for_long(workers) -> None:
    source = """
        import os, time
        class Model:
            def is_healthy(self):
                if os.path.exists("slow"): time.sleep(60)
                if os.path.exists("broken"): raise RuntimeError("broken")
                return not os.path.exists("sick")
            def predict(self, x): ...
    """
    worker = workers.model(source)
    client = worker.ready()
    package = worker.folder / "package"
    assert client.health()["healthy"] is True
    (package / "sick").touch()
    assert client.health()["healthy"] is False
    (package / "sick").unlink()
    (package / "broken").touch()
    assert client.health()["healthy"] is False
    (package / "broken").unlink()
    assert client.health()["healthy"] is True
    (package / "slow").touch()
    started = time.monotonic()
    assert client.health()["healthy"] is True
    assert time.monotonic() - started < 30


STREAMS = """
    import asyncio
    class Model:
        def predict(self, kind):
            if kind == "text": return (part for part in ["a", "é", "c"])
            if kind == "bytes": return (part for part in [b"a", b"b"])
            if kind == "json": return ({"n": n} for n in range(3))
            if kind == "empty": return (part for part in [])
            if kind == "breaks": return self.breaks()
            if kind == "async": return self.slowly()
            if kind == "forever": return self.forever()
        def breaks(self):
            yield "a"
            raise ValueError("half way")
        async def slowly(self):
            for part in "abc":
                await asyncio.sleep(0.001)
                yield part
        def forever(self):
            n = 0
            try:
                while True:
                    n += 1
                    yield "x" * 100_000
            finally:
                print("closed the generator", flush=True)
"""


@pytest.mark.parametrize(
    ("kind", "content_type", "parts"),
    [
        ("text", "text/plain; charset=utf-8", [b"a", "é".encode(), b"c"]),
        ("bytes", "application/octet-stream", [b"a", b"b"]),
        ("json", "application/x-ndjson", [b'{"n":0}\n', b'{"n":1}\n', b'{"n":2}\n']),
        ("async", "text/plain; charset=utf-8", [b"a", b"b", b"c"]),
    ],
)
def test_generators_stream(workers, kind: str, content_type: str, parts: list[bytes]) -> None:
    frames = list(workers.model(STREAMS).ready().stream("predict", json.dumps(kind).encode()))
    assert [frame.payload for frame in frames] == [*parts, b""]
    assert [frame.more for frame in frames] == [True] * len(parts) + [False]
    assert frames[0].header["content_type"] == content_type
    assert frames[0].header["status"] == 200
    assert all(frame.ok for frame in frames)


def test_a_stream_without_parts_ends_at_once(workers) -> None:
    (frame,) = workers.model(STREAMS).ready().stream("predict", b'"empty"')
    assert (frame.ok, frame.payload, frame.more) == (True, b"", False)


def test_an_error_half_way_ends_the_stream(workers) -> None:
    first, last = workers.model(STREAMS).ready().stream("predict", b'"breaks"')
    assert (first.payload, first.more) == (b"a", True)
    assert (last.header["code"], last.header["message"], last.more) == ("user_error", "ValueError: half way", False)
    assert "tenfold_runtime" not in last.header["traceback"]


def test_accept_json_gathers_a_stream_but_not_for_openai_clients(workers, predict) -> None:
    client = workers.model(STREAMS).ready()
    assert predict(client, "text", accept="application/json").json() == "aéc"
    assert predict(client, "async", accept="application/json").json() == "abc"
    assert predict(client, "json", accept="application/json").json() == [{"n": 0}, {"n": 1}, {"n": 2}]
    http = {"headers": [["user-agent", "OpenAI/Python 1.0"]]}
    streamed = list(client.stream("predict", b'"text"', accept="application/json", http=http))
    assert len(streamed) == 4


def test_a_reader_that_stops_holds_no_memory_and_one_that_goes_ends_the_generator(workers) -> None:
    worker = workers.model(STREAMS)
    worker.ready()
    reader = worker.client()
    next(iter(reader.stream("predict", b'"forever"')))
    probe = worker.client()
    sizes = []
    for _ in range(10):
        time.sleep(0.05)
        sizes.append(probe.health()["rss_bytes"])
    assert max(sizes) < 250 * 1024 * 1024
    assert probe.health()["in_flight"] == 1
    reader.close()
    worker.wait_until(lambda: probe.health()["in_flight"] == 0)
    worker.wait_until(lambda: "closed the generator" in worker.log())


SLOW = """
    import asyncio, time, threading
    class Model:
        running = 0
        most = 0
        lock = threading.Lock()
        def predict(self, seconds):
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            try:
                if seconds < 0:
                    while True: pass
                time.sleep(seconds)
                return self.most
            finally:
                with self.lock: self.running -= 1
"""


@pytest.mark.parametrize("concurrency", [1, 3])
def test_predict_runs_in_as_many_places_as_the_configuration_says(workers, concurrency: int) -> None:
    worker = workers.model(SLOW, config={"runtime": {"predict_concurrency": concurrency}})
    worker.ready()

    async def scenario() -> list[Any]:
        client = await AsyncClient.connect(worker.address)
        answers = await asyncio.gather(*[client.request("predict", b"0.05") for _ in range(6)])
        await client.close()
        return [answer.json() for answer in answers]

    assert max(asyncio.run(scenario())) == concurrency


def test_health_answers_while_every_place_is_taken(workers) -> None:
    worker = workers.model(SLOW)
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        busy = [asyncio.ensure_future(client.request("predict", b"-1")) for _ in range(50)]
        await asyncio.sleep(0.05)
        health = await asyncio.wait_for(client.health(), 5)
        assert health["in_flight"] == 50
        for request in busy:
            request.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        answer = await asyncio.wait_for(client.request("predict", b"0"), 10)
        assert answer.json() == 1
        assert (await client.health())["in_flight"] == 0
        await client.close()

    asyncio.run(scenario())


def test_a_cancelled_request_answers_499_at_once_and_frees_its_place(workers, predict) -> None:
    worker = workers.model(SLOW)
    worker.ready()
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(worker.address.partition(":")[2])
    connection.sendall(encode({"id": "a", "op": "predict"}, b"-1"))
    time.sleep(0.05)
    connection.sendall(encode({"id": "b", "op": "cancel", "cancel": "a"}))
    (answer,) = Decoder().feed(connection.recv(65536))
    assert (answer.id, answer.header["status"], answer.header["code"]) == ("a", 499, "cancelled")
    connection.close()
    assert predict(worker.client(), 0).json() == 1


@pytest.mark.parametrize("body", ["while True: await asyncio.sleep(0.001)", "await asyncio.sleep(1000)"])
def test_an_async_predict_is_cancelled_too(workers, body: str) -> None:
    source = f"import asyncio\nclass Model:\n    async def predict(self, x):\n        if x: return x\n        {body}"
    worker = workers.model(source)
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        hanging = asyncio.ensure_future(client.request("predict", b"0"))
        await asyncio.sleep(0.05)
        hanging.cancel()
        assert (await asyncio.wait_for(client.request("predict", b"7"), 10)).json() == 7
        await client.close()

    asyncio.run(scenario())


def test_a_coroutine_that_blocks_disturbs_no_health_check(workers) -> None:
    worker = workers.model("import time\nclass Model:\n    async def predict(self, x): time.sleep(4); return 1")
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        busy = asyncio.ensure_future(client.request("predict", b"0"))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await client.health()
        assert time.monotonic() - started < 3
        assert (await busy).json() == 1
        await client.close()

    asyncio.run(scenario())


def test_a_caller_that_goes_away_cancels_its_work(workers, predict) -> None:
    worker = workers.model(SLOW)
    probe = worker.ready()
    for _ in range(3):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(worker.address.partition(":")[2])
        connection.sendall(encode({"id": 1, "op": "predict"}, b"-1"))
        worker.wait_until(lambda: probe.health()["in_flight"] == 1)
        connection.close()
        worker.wait_until(lambda: probe.health()["in_flight"] == 0)
    assert predict(probe, 0).json() == 1


@pytest.mark.parametrize("how", ["SIGTERM", "shutdown"])
def test_stopping_finishes_what_is_in_flight_takes_nothing_new_and_exits_0(workers, how: str) -> None:
    worker = workers.model(SLOW)
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        running = asyncio.ensure_future(client.request("predict", b"0.4"))
        await asyncio.sleep(0.1)
        if how == "SIGTERM":
            worker.process.send_signal(signal.SIGTERM)
        else:
            assert (await client.request("shutdown", grace_seconds=5)).ok
        while not (await client.health()).get("stopping"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        refused = await client.request("predict", b"0")
        assert (refused.header["code"], refused.header["status"]) == ("not_ready", 503)
        assert (await running).json() == 1
        await client.close()

    asyncio.run(scenario())
    assert worker.process.wait(timeout=10) == 0
    assert not os.path.exists(worker.address.partition(":")[2])


def test_shutdown_waits_no_longer_than_its_grace(workers) -> None:
    worker = workers.model(SLOW)
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        running = asyncio.ensure_future(client.request("predict", b"60"))
        await asyncio.sleep(0.05)
        await client.request("shutdown", grace_seconds=0.1)
        answer = await running
        assert (answer.header["code"], answer.header["status"]) == ("stopped", 503)
        await client.close()

    started = time.monotonic()
    asyncio.run(scenario())
    assert worker.process.wait(timeout=10) == 0
    assert time.monotonic() - started < 5


def test_unknown_operations_and_double_ids_are_refused_in_words(workers) -> None:
    worker = workers.model(SLOW)
    client = worker.ready()
    refused = client.request("call", b"{}")
    assert refused.header["code"] == "unknown_op"
    assert "predict" in refused.header["message"]
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(worker.address.partition(":")[2])
    connection.sendall(encode({"id": 1, "op": "predict"}, b"0.3") + encode({"id": 1, "op": "health"}))
    (answer,) = Decoder().feed(connection.recv(65536))
    assert (answer.header["code"], answer.id) == ("bad_input", 1)
    connection.close()


@pytest.mark.parametrize(
    "noise",
    [
        struct.pack(">II", 2**31, 0),
        struct.pack(">II", 2, 2**31),
        struct.pack(">II", 1, 0) + b"x",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["header", "payload", "json", "http"],
)
def test_what_is_not_a_frame_closes_the_connection_and_nothing_else(workers, predict, noise: bytes) -> None:
    worker = workers.model(ECHO)
    client = worker.ready()
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(worker.address.partition(":")[2])
    connection.sendall(noise)
    data = b""
    while piece := connection.recv(65536):
        data += piece
    connection.close()
    (answer,) = Decoder().feed(data)
    assert (answer.ok, answer.id) == (False, None)
    assert predict(client, 1).json() == {"got": 1}


def test_payloads_over_the_workers_own_limit_are_refused(workers) -> None:
    worker = workers.model(ECHO, arguments=["--max-payload", "1000"])
    worker.ready()
    with pytest.raises((ConnectionError, FrameError)):
        worker.client().request("predict", b'"' + b"x" * 2000 + b'"')
    assert worker.client().request("predict", b'"' + b"x" * 900 + b'"').ok


def test_large_bodies_pass_both_ways(workers) -> None:
    body = json.dumps("x" * 20_000_000).encode()
    answer = workers.model("class Model:\n    def predict(self, x): return x").ready().request("predict", body)
    assert answer.payload == body


def test_many_requests_of_many_connections_do_not_mix(workers) -> None:
    worker = workers.model(ECHO, config={"runtime": {"predict_concurrency": 4}})
    worker.ready()
    wrong = []

    def ask(start: int) -> None:
        client = worker.client()
        answers = {
            number: client.request("predict", str(number).encode()).json() for number in range(start, start + 100)
        }
        wrong.extend(number for number, answer in answers.items() if answer != {"got": number})

    threads = [threading.Thread(target=ask, args=(index * 1000,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_listens_on_tcp_as_well(workers, predict, unused_port) -> None:
    port = unused_port()
    worker = workers.model(ECHO, listen=f"tcp:127.0.0.1:{port}")
    assert predict(worker.ready(), 5).json() == {"got": 5}


def test_the_environment_and_the_import_path_hold_nothing_of_the_platform(workers, predict) -> None:
    source = """
        import os, sys
        class Model:
            def predict(self, x):
                found = []
                for name in ["tenfold_platform", "tenfold_deploy", "tenfold", "tenfold_expressions"]:
                    try:
                        __import__(name)
                        found.append(name)
                    except ImportError:
                        pass
                return {"found": found, "path": sys.path, "first": sys.path[0]}
    """
    worker = workers.model(source, python=workers.bare_python)
    result = predict(worker.ready()).json()
    assert result["found"] == []
    assert result["first"] == str(worker.folder / "package")
    assert not any("runtime" in entry.split("/")[-1:] for entry in result["path"])


@pytest.mark.parametrize("more", ["", "    rows_are_independent = True\n    def predict_batch(self, x): return x\n"])
def test_a_call_that_is_cancelled_in_the_same_breath_is_answered(workers, more: str) -> None:
    worker = workers.model("class Model:\n    def predict(self, x): return x\n" + more)
    worker.ready()
    with parse_address(worker.address).connect(20) as connection:
        decoder = Decoder()
        both = encode({"id": 1, "op": "predict"}, b"1") + encode({"id": 2, "op": "cancel", "cancel": 1})
        connection.sendall(both)
        frames = list[Frame]()
        while not frames:
            frames = decoder.feed(connection.recv(65536))
    assert [(frame.id, frame.header["status"], frame.header["code"]) for frame in frames] == [(1, 499, "cancelled")]
