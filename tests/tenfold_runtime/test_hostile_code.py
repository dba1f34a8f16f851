"""User code that misbehaves: each fault is told in its own words, and the worker (or the one beside it) goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from tenfold_runtime.client import AsyncClient

FAULTS = {
    "raises": ("raise ValueError('no')", "user_error", "ValueError: no"),
    "exits": ("import sys; sys.exit('bye')", "user_error", "The code called sys.exit(bye)."),
    "raises a bare BaseException": ("raise BaseException('base')", "user_error", "BaseException: base"),
    "raises KeyboardInterrupt": ("raise KeyboardInterrupt", "user_error", "KeyboardInterrupt"),
    "raises CancelledError": ("import asyncio; raise asyncio.CancelledError", "user_error", "CancelledError"),
    "raises GeneratorExit": ("raise GeneratorExit", "user_error", "GeneratorExit"),
    "raises StopIteration": ("next(iter([]))", "user_error", "StopIteration"),
    "recurses": ("return self.predict(x)", "user_error", "RecursionError"),
    "wants all memory": ("return bytearray(2**62)", "user_error", "MemoryError"),
    "returns an object": ("return {'a': object()}", "bad_output", "holds a object at a"),
    "returns itself": ("a = []; a.append(a); return a", "bad_output", "contains itself"),
    "returns a huge integer": ("return 10 ** 10000", "bad_output", "cannot be written as JSON"),
    "an error that cannot be told": (
        "class E(Exception):\n            def __str__(self): raise OSError('deep')\n"
        "            __repr__ = __str__\n        raise E",
        "user_error",
        "its message could not be made",
    ),
    "a message of ten megabytes": ("raise ValueError('x' * 10_000_000)", "user_error", "ValueError: xxx"),
    "a cycle of causes": (
        "a = ValueError('a'); b = ValueError('b'); a.__cause__ = b; b.__cause__ = a\n        raise a",
        "user_error",
        "ValueError: a",
    ),
    "closes standard output": (
        "import sys; sys.stdout.close(); sys.stderr.close(); print('x'); raise ValueError('no')",
        "user_error",
        "no",
    ),
    "breaks standard error": (
        "import sys; sys.stderr = sys.stdout = object(); raise ValueError('no')",
        "user_error",
        "no",
    ),
    "replaces standard output": (
        "import sys; sys.stdout = None; print('x'); raise ValueError('no')",
        "user_error",
        "no",
    ),
}


@pytest.mark.parametrize("form", ["plain", "async"])
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_own_words_and_the_worker_goes_on(workers, predict, name: str, form: str) -> None:
    body, code, says = FAULTS[name]
    prefix = "async " if form == "async" else ""
    if form == "async":
        body = body.replace("return self.predict(x)", "return await self.predict(x)")
    source = f"class Model:\n    {prefix}def predict(self, x):\n        if x: return x\n        {body}\n"
    worker = workers.model(source)
    client = worker.ready()
    for _ in range(2):
        answer = predict(client, 0, accept="*/*")
        assert (answer.header["code"], answer.header["status"], answer.header["source"]) == (code, 500, "user")
        assert says in answer.header["message"]
        assert len(answer.header["message"]) <= 8_000
        assert "tenfold_runtime" not in answer.header.get("traceback", "")
    assert predict(client, "fine").json() == "fine"
    assert worker.process.poll() is None


def test_os_exit_ends_this_worker_and_not_the_one_beside_it(workers, predict) -> None:
    source = "import os\nclass Model:\n    def predict(self, x):\n        if x: os._exit(7)\n        return 'alive'"
    doomed, other = workers.model(source), workers.model(source)
    with pytest.raises(ConnectionError):
        predict(doomed.ready(), 1)
    assert doomed.process.wait(timeout=10) == 7
    assert predict(other.ready(), 0).json() == "alive"


def test_a_crash_leaves_a_trace_in_the_log(workers, predict) -> None:
    worker = workers.model("import ctypes\nclass Model:\n    def predict(self, x): ctypes.string_at(0)")
    with pytest.raises(ConnectionError):
        predict(worker.ready())
    assert worker.process.wait(timeout=10) == -signal.SIGSEGV
    assert "Segmentation fault" in worker.log()
    assert "in predict" in worker.log()


def test_a_megabyte_of_prints_disturbs_nothing(workers, predict) -> None:
    source = """
        import sys
        class Model:
            def predict(self, x):
                for _ in range(1000):
                    print("o" * 1023)
                    sys.stderr.write("e" * 1023 + "\\n")
                sys.stdout.buffer.write(b"\\xff\\xfe raw\\n")
                print("\\ud800 surrogate")
                return 1
    """
    worker = workers.model(source)
    assert predict(worker.ready()).json() == 1
    log = worker.log()
    assert log.count("o" * 1023 + "\n") == 1000
    assert log.count("e" * 1023 + "\n") == 1000
    assert "\\ud800 surrogate" in log


def test_prints_appear_at_the_end_of_the_line(workers, predict) -> None:
    source = "import time\nclass Model:\n    def predict(self, x):\n        print('at once')\n        time.sleep(30)"
    worker = workers.model(source)
    client = worker.ready()

    async def scenario() -> None:
        asking = await AsyncClient.connect(worker.address)
        running = asyncio.ensure_future(asking.request("predict", b"1"))
        await asyncio.to_thread(worker.wait_until, lambda: "at once\n" in worker.log(), 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asking.close()

    asyncio.run(scenario())
    assert client.health()["state"] == "ready"


def test_closing_the_standard_descriptors_sends_no_print_into_a_socket(workers, predict) -> None:
    source = """
        import os
        class Model:
            def predict(self, x):
                for number in (0, 1, 2):
                    try: os.close(number)
                    except OSError: pass
                print("this must not reach anybody's socket", flush=True)
                return x
    """
    worker = workers.model(source)
    client = worker.ready()
    assert predict(client, 1).json() == 1
    for number in range(5):
        other = worker.client()
        assert predict(other, number).json() == number
        os.close(os.open(os.devnull, os.O_RDONLY))
        assert other.health()["state"] == "ready"
    assert predict(client, 2).json() == 2
    assert "this must not reach" in worker.log()


@pytest.mark.parametrize("how", ["os.fork()", "multiprocessing fork", "multiprocessing spawn", "subprocess"])
def test_code_that_makes_processes_gets_its_answer_once(workers, predict, how: str) -> None:
    source = f"""
        import os, multiprocessing, subprocess, sys
        from model.work import square

        class Model:
            def predict(self, x):
                if {how!r} == "os.fork()":
                    child = os.fork()
                    if child == 0:
                        return "from the child"
                    os.waitpid(child, 0)
                    return "from the parent"
                if {how!r} == "subprocess":
                    return subprocess.run([sys.executable, "-c", "print(6)"], capture_output=True, text=True).stdout
                context = multiprocessing.get_context({how.rpartition(" ")[2]!r})
                with context.Pool(1) as pool:
                    return pool.map(square, [1, 2])
    """
    worker = workers.model(source, files={"model/work.py": "def square(x): return x * x"})
    client = worker.ready()
    for _ in range(2):
        answer = predict(client, 0)
        assert answer.json() == {"os.fork()": "from the parent", "subprocess": "6\n"}.get(how, [1, 4]), answer.header
    assert client.health()["in_flight"] == 0


def test_a_hundred_concurrent_faults_leave_no_descriptor_and_no_slot_behind(workers, open_files) -> None:
    worker = workers.model(
        "class Model:\n    def predict(self, x): raise ValueError(x)", config={"runtime": {"predict_concurrency": 4}}
    )
    client = worker.ready()
    before = open_files(worker.process.pid)

    async def scenario() -> None:
        for _ in range(10):
            asking = await AsyncClient.connect(worker.address)
            answers = await asyncio.gather(*[asking.request("predict", b"1") for _ in range(10)])
            assert {answer.header["code"] for answer in answers} == {"user_error"}
            await asking.close()

    asyncio.run(scenario())
    worker.wait_until(lambda: open_files(worker.process.pid) == before)
    assert client.health()["in_flight"] == 0


def test_code_that_swallows_the_interruption_is_let_go_in_time(workers, predict) -> None:
    source = """
        import time
        class Model:
            def predict(self, x):
                if x: return x
                end = time.time() + 0.6
                while time.time() < end:
                    try: time.sleep(0.01)
                    except BaseException: pass
    """
    worker = workers.model(source)
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        stubborn = asyncio.ensure_future(client.request("predict", b"0"))
        await asyncio.sleep(0.05)
        stubborn.cancel()
        started = time.monotonic()
        assert (await client.request("predict", b"5")).json() == 5
        assert time.monotonic() - started > 0.3
        await client.close()

    asyncio.run(scenario())


def test_interruptions_hit_only_the_request_they_are_meant_for(workers) -> None:
    worker = workers.model("class Model:\n    def predict(self, x):\n        return sum(range(x))")
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        for round_number in range(150):
            victim = asyncio.ensure_future(client.request("predict", b"2000"))
            await asyncio.sleep(0.0001 * (round_number % 10))
            victim.cancel()
            answer = await asyncio.wait_for(client.request("predict", b"4"), 10)
            assert answer.ok, answer.header
            assert answer.json() == 6
        await client.close()

    asyncio.run(scenario())


def test_coroutines_cancelled_at_any_moment_give_their_place_back(workers) -> None:
    worker = workers.model(
        "import asyncio\nclass Model:\n    async def predict(self, x): await asyncio.sleep(x); return x"
    )
    probe = worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        for round_number in range(150):
            victim = asyncio.ensure_future(client.request("predict", b"30"))
            await asyncio.sleep(0.0001 * (round_number % 10))
            victim.cancel()
        assert (await asyncio.wait_for(client.request("predict", b"0"), 10)).json() == 0
        await client.close()

    asyncio.run(scenario())
    worker.wait_until(lambda: probe.health()["occupied"] == 0)
    assert probe.health()["places"] == 1


def test_a_place_that_a_cancelled_call_holds_is_seen_in_health(workers) -> None:
    worker = workers.model("import time\nclass Model:\n    def predict(self, x): time.sleep(x)")
    probe = worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        victim = asyncio.ensure_future(client.request("predict", b"0.5"))
        await asyncio.sleep(0.05)
        victim.cancel()
        await asyncio.sleep(0.05)
        health = await client.health()
        assert (health["in_flight"], health["occupied"], health["places"]) == (0, 1, 1)
        await client.close()

    asyncio.run(scenario())
    worker.wait_until(lambda: probe.health()["occupied"] == 0)


def test_a_task_left_behind_that_exits_does_not_end_the_loop(workers, predict) -> None:
    source = """
        import asyncio
        class Model:
            async def predict(self, x):
                async def bad(): raise SystemExit(1)
                self.task = asyncio.ensure_future(bad())
                await asyncio.sleep(0)
                return x
    """
    worker = workers.model(source)
    client = worker.ready()
    for number in range(3):
        assert predict(client, number).json() == number


@pytest.mark.parametrize(
    "source",
    [
        "import os, signal\nclass Model:\n    def predict(self, x): os.kill(os.getpid(), signal.SIGTERM); return 1",
        "import signal\nclass Model:\n    def predict(self, x): signal.signal(signal.SIGTERM, print); return 1",
    ],
    ids=["terminates itself", "sets a handler in a thread"],
)
def test_signals_from_user_code(workers, predict, source: str) -> None:
    worker = workers.model(source)
    answer = predict(worker.ready())
    if answer.ok:
        assert answer.json() == 1
        assert worker.process.wait(timeout=10) == 0
    else:
        assert answer.header["message"].startswith("ValueError: signal only works in main thread")
