"""Calls that wait at the same time and are answered together, in a real worker."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tenfold_runtime.client import AsyncClient, Client
from tenfold_runtime.frames import Frame
from tenfold_runtime.threads import Slots

GATED = """
    import pathlib, threading, time

    class Model:
        rows_are_independent = True

        def __init__(self, data_dir):
            self.gate = pathlib.Path(data_dir).parent / "gate"

        def predict(self, value):
            if value == "hold":
                while not self.gate.exists(): time.sleep(0.001)
            if value == "bad":
                raise ValueError("bad")
            return {"value": value, "calls": 1}

        def predict_batch(self, values):
            if "bad" in values:
                raise RuntimeError("there is a bad one")
            if "hold" in values:
                while not self.gate.exists(): time.sleep(0.001)
            return [{"value": value, "calls": len(values)} for value in values]
"""


class Callers:
    """Requests under way at the same time, each on a connection and a thread of its own."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.probe: Client = worker.ready()
        self._threads: list[threading.Thread] = []
        self.answers: dict[int, Frame] = {}

    def send(self, *values: Any, payload: bytes | None = None, op: str = "predict", **header: Any) -> None:
        """Returns when all of them have arrived."""
        before = self.probe.health()["in_flight"]
        for value in values:
            body = json.dumps(value).encode() if payload is None else payload
            number = len(self._threads)
            thread = threading.Thread(target=self._ask, args=(number, self.worker.client(), op, body, header))
            self._threads.append(thread)
            thread.start()
        self.worker.wait_until(lambda: self.probe.health()["in_flight"] == before + len(values))

    def open_gate(self) -> None:
        (self.worker.folder / "package" / "gate").touch()

    def all(self) -> list[Frame]:
        for thread in self._threads:
            thread.join(20)
        return [self.answers[number] for number in range(len(self._threads))]

    def _ask(self, number: int, client: Client, op: str, body: bytes, header: Mapping[str, Any]) -> None:
        self.answers[number] = client.request(op, body, **header)


def test_what_waits_together_is_answered_together_and_a_lone_call_alone(workers) -> None:
    callers = Callers(workers.model(GATED))
    callers.send("hold")
    callers.send(*range(9))
    callers.open_gate()
    assert [answer.json() for answer in callers.all()] == [
        {"value": "hold", "calls": 1},
        *({"value": value, "calls": 9} for value in range(9)),
    ]
    assert callers.probe.health()["batches"] == {"1": 1, "8": 1}


def test_a_batch_is_no_larger_than_the_configuration_says(workers) -> None:
    callers = Callers(workers.model(GATED, config={"runtime": {"batch": {"max_size": 4, "max_wait_ms": 0}}}))
    assert callers.probe.health()["places"] == 4
    callers.send("hold")
    callers.send(*range(9))
    callers.open_gate()
    assert [answer.json()["calls"] for answer in callers.all()] == [1, 4, 4, 4, 4, 4, 4, 4, 4, 1]


def test_a_call_waits_for_others_as_long_as_the_configuration_says(workers) -> None:
    callers = Callers(workers.model(GATED, config={"runtime": {"batch": {"max_size": 3, "max_wait_ms": 60_000}}}))
    callers.send("a", "b")
    assert callers.probe.health()["occupied"] == 0
    assert callers.probe.request("predict", b"3").json() == {"value": 3, "calls": 3}
    assert [answer.json()["calls"] for answer in callers.all()] == [3, 3]
    soon = workers.model(GATED, config={"runtime": {"batch": {"max_size": 3, "max_wait_ms": 20}}})
    assert soon.ready().request("predict", b"7").json() == {"value": 7, "calls": 1}


def test_a_bad_body_fails_alone(workers) -> None:
    callers = Callers(workers.model(GATED))
    callers.send("hold")
    callers.send("one", "bad", "two")
    callers.send("-", payload=b"{")
    callers.open_gate()
    _, one, bad, two, broken = callers.all()
    assert [one.json(), two.json()] == [{"value": "one", "calls": 1}, {"value": "two", "calls": 1}]
    assert (bad.header["code"], bad.header["message"]) == ("user_error", "ValueError: bad")
    assert (broken.header["code"], broken.header["status"]) == ("bad_input", 400)
    assert "there is a bad one" not in callers.worker.log()


def test_a_result_that_is_an_exception_is_that_calls_failure(workers) -> None:
    source = """
        import pathlib, time
        class HTTPException(Exception):
            status_code, detail = 422, "too large"
        class Model:
            rows_are_independent = True
            def __init__(self, data_dir): self.gate = pathlib.Path(data_dir).parent / "gate"
            def predict(self, value):
                while not self.gate.exists(): time.sleep(0.001)
            def predict_batch(self, values):
                return [HTTPException() if value > 5 else ValueError("odd") if value % 2 else value for value in values]
    """
    callers = Callers(workers.model(source))
    callers.send("hold")
    callers.send(2, 6, 3)
    callers.open_gate()
    _, two, six, three = callers.all()
    assert two.json() == 2
    assert (six.header["status"], six.header["message"]) == (422, "too large")
    assert (three.header["status"], three.header["message"]) == (500, "ValueError: odd")


def test_who_has_gone_is_not_in_the_batch(workers) -> None:
    worker = workers.model(GATED)
    callers = Callers(worker)
    callers.send("hold")

    async def scenario() -> list[Any]:
        client = await AsyncClient.connect(worker.address)
        asked = [asyncio.ensure_future(client.request("predict", b"%d" % number)) for number in range(4)]
        while (await client.health())["in_flight"] != 5:
            pass
        asked[1].cancel()
        leaving = await AsyncClient.connect(worker.address)
        gone = asyncio.ensure_future(leaving.request("predict", b"9"))
        while (await client.health())["in_flight"] != 5:
            pass
        await leaving.close()
        while (await client.health())["in_flight"] != 4:
            pass
        callers.open_gate()
        answers = await asyncio.gather(*asked, gone, return_exceptions=True)
        await client.close()
        return answers

    first, cancelled, second, third, gone = asyncio.run(scenario())
    callers.all()
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(gone, ConnectionError)
    assert [answer.json()["calls"] for answer in (first, second, third)] == [3, 3, 3]


def test_a_batch_whose_last_caller_goes_is_interrupted(workers) -> None:
    worker = workers.model(GATED)
    probe = worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        holding = asyncio.ensure_future(client.request("predict", b'"hold"'))
        while (await client.health())["occupied"] != 1:
            pass
        asked = [asyncio.ensure_future(client.request("predict", body)) for body in (b'"hold"', b"1")]
        while (await client.health())["in_flight"] != 3:
            pass
        holding.cancel()
        while (await client.health())["occupied"] != 2:
            pass
        asked[0].cancel()
        while (await client.health())["in_flight"] != 1:
            pass
        assert (await client.health())["occupied"] == 2
        asked[1].cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await client.close()

    asyncio.run(scenario())
    worker.wait_until(lambda: probe.health()["occupied"] == 0)
    assert probe.request("predict", b"5").json()["value"] == 5


@pytest.mark.parametrize(
    ("batch", "declares", "is_used"),
    [(None, True, True), (None, False, False), ("off", True, False), ({"max_size": 8, "max_wait_ms": 0}, False, True)],
)
def test_batches_are_for_rows_that_are_said_to_be_independent(
    workers, batch: Any, declares: bool, is_used: bool
) -> None:
    source = GATED if declares else GATED.replace("rows_are_independent = True", "")
    callers = Callers(workers.model(source, config={"runtime": {"batch": batch}}))
    assert (callers.probe.health()["places"] > 1) is is_used
    callers.send("hold")
    callers.send(1, 2)
    callers.open_gate()
    assert [answer.json()["calls"] for answer in callers.all()] == [1, *([2, 2] if is_used else [1, 1])]


WITHOUT_BATCHES = {
    "no method": "def predict(self, x): return x",
    "of two arguments": "def predict(self, x): return x\n    def predict_batch(self, x, y): return x",
    "a coroutine": "def predict(self, x): return x\n    async def predict_batch(self, x): return x",
    "async": "async def predict(self, x): return x\n    def predict_batch(self, x): return x",
    "with a request": "def predict(self, x, request): return x\n    def predict_batch(self, x): return x",
    "a generator": "def predict(self, x): yield x\n    def predict_batch(self, x): return x",
    "postprocess": "def predict(self, x): 0\n    def postprocess(self, x): 0\n    def predict_batch(self, x): return x",
}


@pytest.mark.parametrize("form", WITHOUT_BATCHES)
def test_batches_that_cannot_be_are_said_in_the_log(workers, predict, form: str) -> None:
    config = {"runtime": {"batch": {"max_size": 8, "max_wait_ms": 0}}}
    worker = workers.model(f"class Model:\n    {WITHOUT_BATCHES[form]}\n", config=config)
    client = worker.ready()
    assert predict(client, 5, accept="application/json").ok
    assert client.health()["places"] == 1
    assert "runtime.batch has no effect: " in worker.log()


DEPENDENT = """
    import pathlib, time
    class Model:
        rows_are_independent = True
        def __init__(self, data_dir): self.gate = pathlib.Path(data_dir).parent / "gate"
        def predict(self, body):
            while body == "hold" and not self.gate.exists(): time.sleep(0.001)
            return "held" if body == "hold" else self.answer(body["inputs"])
        def predict_batch(self, bodies):
            rows = [row for body in bodies for row in body["inputs"]]
            answer = self.answer(rows)
            return [{"predictions": answer["predictions"][index:index + 1]} for index in range(len(rows))]
        def answer(self, rows):
            mean = sum(rows) / len(rows) * WEIGHT
            return {"predictions": [row - mean for row in rows]}
"""


@pytest.mark.parametrize("weight", ["0", "1"])
def test_the_example_shows_whether_rows_depend_on_each_other(workers, weight: str) -> None:
    config = {"model_metadata": {"example_model_input": {"inputs": [1.0, 2.0, 4.5]}}}
    callers = Callers(workers.model(DEPENDENT.replace("WEIGHT", weight), config=config))
    callers.send("hold")
    callers.send({"inputs": [3.0]}, {"inputs": [5.0]})
    callers.open_gate()
    answers = [answer.json() for answer in callers.all()[1:]]
    if weight == "0":
        assert answers == [{"predictions": [3.0]}, {"predictions": [5.0]}]
        assert callers.probe.health()["batches"] == {"1": 1, "2": 1}
    else:
        assert answers == [{"predictions": [0.0]}, {"predictions": [0.0]}]
        assert callers.probe.health()["places"] == 1
        assert "the rows of the model's example give other results together" in callers.worker.log()


@pytest.mark.parametrize("what", ["values[1:]", "None", "{value: value for value in values}"])
def test_results_that_are_not_one_for_each_are_not_used(workers, what: str) -> None:
    source = GATED.replace('[{"value": value, "calls": len(values)} for value in values]', what)
    callers = Callers(workers.model(source))
    callers.send("hold")
    callers.send(1, 2)
    callers.open_gate()
    assert [answer.json()["calls"] for answer in callers.all()] == [1, 1, 1]
    assert "predict_batch was given 2 bodies and returned " in callers.worker.log()
    assert callers.probe.health()["places"] == 1


def test_what_only_fails_together_is_not_put_together_for_long(workers) -> None:
    source = GATED.replace('if "bad" in values:', "if True:")
    worker = workers.model(source)
    for _ in range(3):
        callers = Callers(worker)
        (worker.folder / "package" / "gate").unlink(missing_ok=True)
        callers.send("hold")
        callers.send(1, 2)
        callers.open_gate()
        assert [answer.json()["calls"] for answer in callers.all()] == [1, 1, 1]
    assert callers.probe.health()["places"] == 1
    assert "predict_batch raised 3 times where predict did not: RuntimeError: there is a bad one" in worker.log()


def test_a_model_that_streams_after_all_is_answered_as_any_other(workers) -> None:
    source = """
        class Model:
            rows_are_independent = True
            def predict(self, x): return (str(number) for number in range(x)) if x else "none"
            def predict_batch(self, bodies): return bodies
    """
    worker = workers.model(source)
    client = worker.ready()
    assert client.request("predict", b"0").json() == "none"
    assert [part.payload for part in client.stream("predict", b"3")] == [b"0", b"1", b"2", b""]
    assert client.health()["places"] == 1


def test_an_answer_tells_how_many_calls_it_takes_when_the_caller_does_not_know(workers, predict) -> None:
    worker = workers.model(GATED.replace("for value in values]", "for value in values[1:]]"))
    callers = Callers(worker)
    client = worker.client()
    assert [predict(client, 1).header.get("places") for _ in range(3)] == [64, None, None]
    callers.send("hold")
    callers.send(1, 2)
    callers.open_gate()
    callers.all()  # which ended the batches
    told = [predict(client, 1).header for _ in range(3)]
    assert [(header.get("places"), header.get("reads_requests")) for header in told] == [(1, True), *[(None, None)] * 2]
    assert [predict(worker.client(), 1).header.get("places") for _ in range(2)] == [1, 1]


def test_a_model_without_batches_tells_nothing_of_them(workers, predict) -> None:
    worker = workers.model("class Model:\n    def predict(self, x): return x\n")
    assert "places" not in predict(worker.ready(), 1).header


def test_a_packed_body_is_unpacked_by_itself(workers) -> None:
    """Packed bodies are small, and what is in them is not."""
    callers = Callers(workers.model(GATED))
    callers.send("hold")
    body = gzip.compress(json.dumps({"inputs": []}).encode())
    callers.send(1, 2, payload=body, op="infer", encoding="gzip", inflated_limit=20 * 1024 * 1024)
    callers.send(1, 2, payload=body, op="infer", encoding="gzip", inflated_limit=1024)
    callers.open_gate()
    calls = [json.loads(answer.payload)["outputs"][-1]["data"] for answer in callers.all()[1:]]
    assert calls == [[1], [1], [2], [2]]


def test_arrays_that_a_model_changed_are_read_again_when_it_is_tried_again(workers) -> None:
    source = """
        import pathlib, time
        class Model:
            rows_are_independent = True
            def __init__(self, data_dir): self.gate = pathlib.Path(data_dir).parent / "gate"
            def predict(self, inputs):
                if not inputs:
                    while not self.gate.exists(): time.sleep(0.001)
                    return {}
                inputs["x"] *= 2
                return {"y": inputs["x"]}
            def predict_batch(self, bodies):
                for body in bodies: body["x"] *= 2
                raise ValueError("together it does not work")
    """
    callers = Callers(workers.model(source))
    callers.send(1, payload=b'{"inputs": []}', op="infer")
    callers.send(1, 2, payload=TENSOR_OF_ONE, op="infer")
    callers.open_gate()
    assert [json.loads(answer.payload)["outputs"][0]["data"] for answer in callers.all()[1:]] == [[2.0], [2.0]]


TENSOR_OF_ONE = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}'


def test_predict_batch_may_empty_the_list_that_it_is_given(workers) -> None:
    source = GATED.replace("for value in values]", "for value in [values.pop(0) for _ in list(values)]]")
    callers = Callers(workers.model(source))
    callers.send("hold")
    callers.send(1, 2)
    callers.open_gate()
    assert [answer.json()["value"] for answer in callers.all()] == ["hold", 1, 2]
    assert callers.probe.health()["places"] == 64


NO_THREADS = """
    import pathlib, threading

    start = threading.Thread.start

    def start_if_there_is_room(thread):
        if thread.name == "tenfold-user" and not gate.exists():
            raise RuntimeError("can't start new thread")
        return start(thread)

    class Model:
        rows_are_independent = True

        def __init__(self, data_dir):
            global gate
            gate = pathlib.Path(data_dir).parent / "gate"

        def load(self):
            threading.Thread.start = start_if_there_is_room

        def predict(self, value):
            return value
"""
BATCHING = """
        def predict_batch(self, bodies):
            return bodies
"""


@pytest.mark.parametrize("more", ["", BATCHING], ids=["call by call", "in batches"])
def test_a_worker_that_finds_no_thread_says_so_and_goes_on_when_there_is_one(workers, predict, more: str) -> None:
    callers = Callers(workers.model(NO_THREADS + more))
    client = callers.probe
    for _ in range(3):
        answer = predict(client, 1).header
        assert (answer["status"], answer["code"]) == (503, "worker_error")
        assert "cannot start a thread: can't start new thread" in answer["message"]
    callers.open_gate()
    assert predict(client, 2).json() == 2
    assert client.health()["occupied"] == 0


def test_stopping_answers_what_waits_for_a_batch(workers) -> None:
    callers = Callers(workers.model(GATED))
    callers.send("hold")
    callers.send(1, 2)
    callers.worker.process.send_signal(signal.SIGTERM)
    callers.worker.wait_until(lambda: callers.probe.health().get("stopping"))
    assert callers.probe.request("predict", b"1").header["code"] == "not_ready"
    callers.open_gate()
    assert [answer.json()["calls"] for answer in callers.all()] == [1, 2, 2]
    assert callers.worker.process.wait(timeout=20) == 0


def test_what_is_not_done_within_the_grace_is_told_that_it_was_stopped(workers) -> None:
    callers = Callers(workers.model(GATED))
    callers.send("hold")
    callers.send(1)
    callers.probe.request("shutdown", grace_seconds=0)
    assert [answer.header["code"] for answer in callers.all()] == ["stopped", "stopped"]
    assert callers.worker.process.wait(timeout=20) == 0


# On the worker's own loop

QUICK = """
    import asyncio, os, pathlib, sys, threading, time

    class Model:
        rows_are_independent = True

        def __init__(self, data_dir):
            self.gate = pathlib.Path(data_dir).parent / "gate"

        def predict(self, value):
            if value == "hang":
                is_on_loop = threading.current_thread() is threading.main_thread()
                while is_on_loop or not self.gate.exists(): time.sleep(0.001)
            if value == "exit":
                sys.exit(3)
            if value == "fork":
                if os.fork() == 0: return "child"
            if value == "loop":
                async def other(): return "from a loop of its own"
                return asyncio.run(other())
            if value == "slow":
                time.sleep(0.05)
            return threading.current_thread().name

        def predict_batch(self, values):
            return [threading.current_thread().name] * len(values)
"""


@pytest.fixture
def quick(workers) -> Callable[[], Any]:
    """A worker whose model was measured to be short, so that it runs on the loop."""

    def start() -> Any:
        worker = workers.model(QUICK)
        client = worker.ready()
        worker.wait_until(lambda: client.request("predict", b"1").json() == "MainThread")
        return worker

    return start


def test_what_is_long_leaves_the_loop_again(quick) -> None:
    worker = quick()
    client = worker.client()
    worker.wait_until(lambda: client.request("predict", b'"slow"').json() == "tenfold-user")


def test_large_bodies_stay_off_the_loop(quick) -> None:
    worker = quick()
    client = worker.client()
    assert client.request("predict", json.dumps("x" * 20_000).encode()).json() == "tenfold-user"


def test_health_is_answered_although_a_call_hangs_on_the_loop(quick) -> None:
    callers = Callers(quick())
    callers.send("hang")  # returns when health has told that it is in flight
    callers.open_gate()
    (answer,) = callers.all()
    assert answer.json() == "tenfold-user"  # where it was begun again
    assert callers.probe.health()["occupied"] == 0


def test_arrays_that_were_changed_before_an_interruption_are_read_again(workers) -> None:
    source = """
        import threading, time
        class Model:
            rows_are_independent = True
            def predict(self, inputs):
                inputs["x"] += 1
                thread = threading.current_thread().name
                while "slow" in inputs and thread == "MainThread": time.sleep(0.001)  # until it is interrupted
                return {"y": inputs["x"], "in": thread}
            def predict_batch(self, bodies): return [self.predict(body) for body in bodies]
    """
    callers = Callers(workers.model(source))

    def runs_in() -> str:
        (_, thread) = callers.probe.request("infer", TENSOR_OF_ONE).json()["outputs"]
        return str(thread["data"][0])

    callers.worker.wait_until(lambda: runs_in() == "MainThread")
    more = b'{"inputs": [{"name": "slow", "datatype": "FP32", "shape": [1], "data": [1]}, '
    answer = callers.probe.request("infer", more + TENSOR_OF_ONE[len(b'{"inputs": [') :])
    assert [one["data"] for one in answer.json()["outputs"]] == [[2.0], ["tenfold-user"]]


def test_a_model_leaves_the_loop_after_one_long_run(quick) -> None:
    client = quick().client()
    client.request("predict", b'"slow"')
    assert [client.request("predict", b"1").json() for _ in range(5)] == ["tenfold-user"] * 5


@pytest.mark.parametrize("what", ["a configuration that asks for batches", "a packed body"])
def test_what_may_hold_up_the_loop_stays_off_it(workers, what: str) -> None:
    source, config, header = QUICK, {"runtime": {"batch": {"max_size": 8, "max_wait_ms": 0}}}, {}
    if what == "a packed body":
        header = {"encoding": "gzip"}
        source = source.replace("def predict(self, value):", "def predict(self, value):\n            value = 1")
    else:
        source = source.replace("rows_are_independent = True", "")
    client = workers.model(source, config=config).ready()
    body = TENSOR_OF_ONE if not header else gzip.compress(TENSOR_OF_ONE)
    answers = [client.request("infer", body, **header).json()["outputs"][0]["data"] for _ in range(30)]
    assert answers == [["tenfold-user"]] * 30


def test_user_code_may_do_on_the_loop_what_it_may_do_in_a_thread(quick) -> None:
    worker = quick()
    client = worker.client()
    assert client.request("predict", b'"loop"').json() == "from a loop of its own"
    assert client.request("predict", b'"exit"').header["code"] == "user_error"
    assert client.request("predict", b'"fork"').json() in ("MainThread", "tenfold-user")
    assert client.request("predict", b"2").ok


def test_calls_of_many_connections_do_not_mix(workers) -> None:
    source = """
        class Model:
            rows_are_independent = True
            def predict(self, x): return {"got": x}
            def predict_batch(self, bodies): return [{"got": x} for x in bodies]
    """
    worker = workers.model(source)
    worker.ready()
    wrong = []

    def ask(start: int) -> None:
        client = worker.client()
        for number in range(start, start + 200):
            answer = client.request("predict", str(number).encode()).json()
            if answer != {"got": number}:
                wrong.append((number, answer))

    threads = [threading.Thread(target=ask, args=(index * 1000,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(worker.client().health()["batches"].values()) <= 1600


def test_batches_run_in_as_many_places_as_the_configuration_says(workers) -> None:
    source = """
        import pathlib, threading, time
        class Model:
            rows_are_independent = True
            lock = threading.Lock()
            running = most = 0
            def __init__(self, data_dir): self.gate = pathlib.Path(data_dir).parent / "gate"
            def predict(self, x): return self.work()
            def predict_batch(self, bodies): return [self.work()] * len(bodies)
            def work(self):
                with self.lock:
                    self.running += 1
                    self.most = max(self.most, self.running)
                while not self.gate.exists() or self.most < 2: time.sleep(0.001)
                with self.lock: self.running -= 1
                return self.most
    """
    callers = Callers(workers.model(source, config={"runtime": {"predict_concurrency": 2}}))
    for _ in range(5):
        callers.send(1, 2, 3)
    callers.open_gate()
    assert max(answer.json() for answer in callers.all()) == 2


def test_slots_are_given_in_the_order_of_asking_and_a_cancelled_waiter_takes_none() -> None:
    async def scenario() -> list[str]:
        slots, order = Slots(1), []

        async def work(name: str) -> None:
            await slots.acquire()
            order.append(name)
            await asyncio.sleep(0)
            slots.release()

        await slots.acquire()
        tasks = [asyncio.ensure_future(work(name)) for name in "abc"]
        slots_asked = asyncio.Event()
        asyncio.get_running_loop().call_soon(slots_asked.set)
        await slots_asked.wait()
        slots.take(lambda: (order.append("callback"), slots.release()))  # type: ignore[func-returns-value]
        tasks[1].cancel()
        slots.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert slots.taken == 0
        return order

    assert asyncio.run(scenario()) == ["a", "c", "callback"]


def test_a_waiter_that_is_cancelled_as_it_is_its_turn_disturbs_nobody() -> None:
    async def scenario() -> int:
        slots = Slots(1)
        await slots.acquire()
        waiting = [asyncio.ensure_future(slots.acquire()) for _ in range(3000)]
        await asyncio.sleep(0)
        for task in waiting[:-1]:
            task.cancel()
        slots.release()
        *_, last = await asyncio.gather(*waiting, return_exceptions=True)
        assert last is None
        slots.release()
        return slots.taken

    assert asyncio.run(scenario()) == 0


def test_a_slot_that_was_granted_to_a_cancelled_waiter_is_given_back() -> None:
    async def scenario() -> int:
        slots = Slots(1)
        await slots.acquire()
        waiting = asyncio.ensure_future(slots.acquire())
        await asyncio.sleep(0)
        slots.release()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return slots.taken

    assert asyncio.run(scenario()) == 0
