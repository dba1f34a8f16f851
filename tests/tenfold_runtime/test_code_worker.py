"""An app's code in a real worker: bundles side by side, functions called in steps, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tenfold_runtime.client import AsyncClient

TEXT = """
    def clean(text: str, lower: bool = True) -> str:
        '''Trims a text.'''
        print("cleaning", repr(text))
        text = text.strip()
        return text.lower() if lower else text

    def count(text):
        return {"length": len(text), "words": text.split()}

    async def later(text):
        import asyncio
        await asyncio.sleep(0.001)
        print("from a coroutine")
        return text + "!"

    def parts(n: int):
        for i in range(n):
            yield i

    async def async_parts(n: int):
        for i in range(n):
            yield i
"""


@pytest.fixture(scope="module")
def client(shared_workers):
    return shared_workers.code({"d1": {"code/text.py": TEXT}}).ready()


def test_steps_run_in_sequence_and_refer_to_values_and_to_each_other(client, call) -> None:
    results = call(
        client,
        "d1",
        ("clean", "code/text.py:clean", {"text": {"$ref": "input"}}),
        ("count", "code/text.py:count", {"text": {"$ref": "clean"}}),
        ("again", "code/text.py:clean", {"text": {"$ref": "input"}, "lower": False}),
        input="  Hello World ",
    )
    assert [(result["name"], result["ok"], result["output"]) for result in results] == [
        ("clean", True, "hello world"),
        ("count", True, {"length": 11, "words": ["hello", "world"]}),
        ("again", True, "Hello World"),
    ]
    assert results[0]["logs"] == "cleaning '  Hello World '\n"
    assert results[1]["logs"] == ""
    assert all(result["seconds"] >= 0 and result["started_at"] > 1_600_000_000 for result in results)


def test_coroutines_generators_and_plain_functions_mix(client, call) -> None:
    results = call(
        client,
        "d1",
        ("a", "code/text.py:later", {"text": "x"}),
        ("b", "code/text.py:clean", {"text": {"$ref": "a"}}),
        ("c", "code/text.py:parts", {"n": 3}),
        ("d", "code/text.py:async_parts", {"n": 2}),
    )
    assert [result["output"] for result in results] == ["x!", "x!", [0, 1, 2], [0, 1]]
    assert results[0]["logs"] == "from a coroutine\n"


def test_only_a_whole_value_is_a_reference(client, call) -> None:
    (result,) = call(client, "d1", ("a", "code/text.py:count", {"text": {"$ref": "x", "more": 1}}), x="no")
    assert result["error"]["message"].startswith("AttributeError")
    (nested,) = call(client, "d1", ("a", "code/text.py:count", {"text": [{"$ref": "x"}]}), x="no")
    assert nested["error"]["message"].startswith("AttributeError")


BAD_ARGUMENTS = [
    ({}, "code/text.py:clean needs 'text'; it takes text, lower.", "text"),
    ({"text": "x", "txt": 1}, "code/text.py:clean has no parameter 'txt'; it takes text, lower.", "txt"),
    ({"text": 5}, "text must be a string, not 5.", "text"),
    ({"text": "x", "lower": "yes"}, "lower must be true or false, not 'yes'.", "lower"),
    ({"text": {"$ref": "gone"}}, "text refers to 'gone', but there is only here.", None),
]


@pytest.mark.parametrize(("arguments", "message", "field"), BAD_ARGUMENTS)
def test_arguments_that_do_not_fit_are_named_with_the_parameters(client, call, arguments, message, field) -> None:
    (result,) = call(client, "d1", ("a", "code/text.py:clean", arguments), here=1)
    assert result["ok"] is False
    assert (result["error"]["code"], result["error"]["source"]) == ("bad_input", "input")
    assert result["error"]["message"] == message
    if field is not None:
        assert result["error"]["details"]["field"] == field


def test_a_failing_step_stops_the_sequence(client, call) -> None:
    results = call(
        client,
        "d1",
        ("a", "code/text.py:clean", {"text": "x"}),
        ("b", "code/text.py:count", {"text": 5}),
        ("c", "code/text.py:clean", {"text": "never"}),
    )
    assert [result["ok"] for result in results] == [True, False]
    assert results[1]["error"]["code"] == "user_error"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("code/gone.py:f", "There is no file code/gone.py"),
        ("code/text.py:gone", "has no function gone. It defines clean, count, later, parts, async_parts"),
        ("code/../secret.py:f", "does not name a function"),
        ("/etc/passwd:f", "does not name a function"),
        ("code/text.py", "does not name a function"),
        ("code/text.py:__builtins__", "has no function __builtins__"),
    ],
)
def test_targets_that_are_not_there(client, call, target: str, says: str) -> None:
    (result,) = call(client, "d1", ("a", target, {}))
    assert result["error"]["code"] == "unknown_target"
    assert result["error"]["status"] == 404
    assert says in result["error"]["message"]


@pytest.mark.parametrize("digest", ["unknown", "../d1", "", "a/b", None, 5])
def test_bundles_that_are_not_there(client, digest) -> None:
    answer = client.request("call", b"{}", code=digest, steps=[{"name": "a", "target": "code/text.py:clean"}])
    assert answer.header["code"] == ("code_missing" if digest == "unknown" else "bad_input")


@pytest.mark.parametrize(
    ("payload", "steps"),
    [
        (b"[]", [{"target": "code/text.py:clean"}]),
        (b"{}", []),
        (b"{}", None),
        (b"{}", [1]),
        (b"{}", [{"target": 1}]),
        (b"{", [{"target": "x"}]),
    ],
)
def test_malformed_calls_are_bad_input(client, payload: bytes, steps) -> None:
    answer = client.request("call", payload, code="d1", steps=steps)
    assert (answer.header["code"], answer.header["status"]) == ("bad_input", 400)


def test_a_bundle_that_arrives_later_is_found(workers, call) -> None:
    worker = workers.code({})
    client = worker.ready()
    assert client.request("call", b"{}", code="new", steps=[{"target": "code/a.py:f"}]).header["code"] == "code_missing"
    folder = worker.folder / "bundles" / "new" / "code"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("def f(): return 1")
    assert call(client, "new", ("a", "code/a.py:f", {}))[0]["output"] == 1


def release(number: int) -> dict[str, str]:
    return {
        "code/main.py": """
            import importlib
            import shared
            import shared.deep as deep
            from shared import VALUE
            from shared.deep import INSIDE
            from .helpers import help_out
            from code.helpers import help_out as absolute
            import helpers
            import code.codec
            from .inner import mod

            def everything():
                from . import late
                import shared.lazy
                return [
                    VALUE, deep.INSIDE, INSIDE, shared.VALUE, help_out(), absolute(), helpers.help_out(), mod.NUMBER,
                    late.LATE, shared.lazy.LAZY, importlib.import_module("shared.deep").INSIDE,
                    code.codec.CODEC,
                ]
        """,
        "code/helpers.py": f"def help_out(): return {number}",
        "code/codec.py": f"CODEC = {number}",
        "code/late.py": f"LATE = {number}",
        "code/inner/mod.py": f"from ..helpers import help_out\nNUMBER = {number}",
        "packages/shared/__init__.py": f"VALUE = {number}",
        "packages/shared/deep.py": "import shared\nINSIDE = shared.VALUE",
        "packages/shared/lazy.py": "from .deep import INSIDE as LAZY",
    }


def test_two_releases_with_the_same_file_names_live_side_by_side(workers, call) -> None:
    client = workers.code({"one": release(1), "two": release(2)}).ready()
    for _ in range(2):
        for digest, number in (("one", 1), ("two", 2)):
            (result,) = call(client, digest, ("a", "code/main.py:everything", {}))
            assert result["ok"], result
            assert result["output"] == [number] * 12


def test_nothing_of_a_bundle_is_importable_from_outside(workers, call) -> None:
    spy = "def look():\n    try:\n        import shared\n    except ImportError as error:\n        return str(error)"
    client = workers.code({"one": release(1), "spy": {"code/spy.py": spy}}).ready()
    call(client, "one", ("a", "code/main.py:everything", {}))
    (result,) = call(client, "spy", ("a", "code/spy.py:look", {}))
    assert result["output"] == "No module named 'shared'"


def test_installed_packages_and_the_standard_library_stay_importable(workers, call) -> None:
    source = """
        import json, code as interactive, dataclasses, typing, enum
        import numpy as np

        @dataclasses.dataclass
        class Row:
            a: int
            b: typing.Optional[str] = None

        def f(row: Row):
            assert isinstance(row, Row)
            return [json.dumps(row.a), hasattr(interactive, "interact"), np.arange(2), row]
    """
    client = workers.code({"one": {"code/a.py": source}}).ready()
    (result,) = call(client, "one", ("a", "code/a.py:f", {"row": {"a": 1}}))
    assert result["output"] == ["1", True, [0, 1], {"a": 1, "b": None}]
    (wrong,) = call(client, "one", ("a", "code/a.py:f", {"row": {"a": "x"}}))
    assert wrong["error"]["message"] == "row.a must be an integer, not 'x'."


def test_a_module_that_fails_to_import_says_so_and_is_tried_again(workers, call) -> None:
    worker = workers.code(
        {"one": {"code/a.py": "import shared\ndef f(): return shared.X", "packages/shared.py": "X = 1 / 0"}}
    )
    client = worker.ready()
    (result,) = call(client, "one", ("a", "code/a.py:f", {}))
    assert result["error"]["message"] == "ZeroDivisionError: division by zero"
    assert 'File "packages/shared.py", line 1' in result["error"]["traceback"]
    assert 'File "code/a.py", line 1' in result["error"]["traceback"]
    assert "tenfold" not in result["error"]["traceback"]
    (missing,) = call(client, "one", ("a", "code/a.py:f", {}))
    assert missing["error"]["code"] == "user_error"
    gone = {"code/b.py": "from .nowhere import x\ndef f(): ..."}
    second = workers.code({"two": gone}).ready()
    (result,) = call(second, "two", ("a", "code/b.py:f", {}))
    assert result["error"]["message"] == "ModuleNotFoundError: No module named 'nowhere'"


def test_block_input_env_and_context_are_accepted(workers, call) -> None:
    source = """
        def block(block_input, env, context):
            context.logger.info("step %s", context.step)
            return [block_input, env, context.request_id]

        def typed(x: int, context, env):
            return [x, env["MODE"], context.step]

        def own(context):
            return context
    """
    client = workers.code({"one": {"code/a.py": source}}).ready()
    steps = [
        {"name": "s1", "target": "code/a.py:block", "arguments": {"a": 1, "b": {"$ref": "v"}}},
        {"name": "s2", "target": "code/a.py:typed", "arguments": {"x": 2}},
        {"name": "s3", "target": "code/a.py:own", "arguments": {"context": "mine"}},
    ]
    answer = client.request("call", b'{"v": 5}', code="one", steps=steps, env={"MODE": "test"}, request_id="r1")
    first, second, third = answer.json()["results"]
    assert first["output"] == [{"a": 1, "b": 5}, {"MODE": "test"}, "r1"]
    assert first["logs"] == "INFO step s1\n"
    assert second["output"] == [2, "test", "s2"]
    assert third["output"] == "mine"


def test_describe_tells_signatures(workers) -> None:
    source = """
        from typing import List, Optional

        def f(text: str, rows: List[int], limit: Optional[int] = None, *, context=None) -> List[str]:
            '''First line.

            Second.
            '''

        def g(block_input, env, context): ...
    """
    client = workers.code({"one": {"code/a.py": source, "code/bad.py": "raise OSError('no')"}}).ready()
    targets = ["code/a.py:f", "code/a.py:g", "code/bad.py:f", "code/a.py:nope"]
    f, g, bad, nope = client.request("describe", code="one", targets=targets).json()["functions"]
    assert f["ok"] is True
    assert [(p["name"], p["type"], p["required"]) for p in f["parameters"]] == [
        ("text", "str", True),
        ("rows", "List[int]", True),
        ("limit", "Optional[int]", False),
        ("context", None, False),
    ]
    assert f["parameters"][1]["schema"] == {"type": "array", "items": {"type": "integer"}}
    assert (f["returns"], f["doc"]) == ("List[str]", "First line.\n\nSecond.")
    assert g["takes_block_input"] is True
    assert (bad["ok"], bad["error"]["code"], bad["error"]["message"]) == (False, "user_error", "OSError: no")
    assert nope["error"]["code"] == "unknown_target"
    assert client.request("describe", code="one", targets="x").header["code"] == "bad_input"


def test_logs_are_kept_up_to_a_limit_with_a_note_and_written_through(workers, call) -> None:
    source = """
        import sys
        def f():
            for _ in range(100):
                print("x" * 999)
                print("y" * 999, file=sys.stderr)
            return 1
    """
    worker = workers.code({"one": {"code/a.py": source}})
    (result,) = call(worker.ready(), "one", ("a", "code/a.py:f", {}))
    assert result["output"] == 1
    kept, _, note = result["logs"].rstrip("\n").rpartition("\n")
    assert len(kept) in (64 * 1024, 64 * 1024 - 1)
    assert note == f"[{200_000 - 64 * 1024} more bytes of output were not kept]"
    assert worker.log().count("x" * 999 + "\n") == 100
    assert worker.log().count("y" * 999 + "\n") == 100


def test_concurrent_calls_keep_their_logs_apart(workers) -> None:
    source = """
        import time, asyncio
        def f(n):
            for i in range(5):
                print(n, i)
                time.sleep(0.005)
        async def g(n):
            for i in range(5):
                print(n, i)
                await asyncio.sleep(0.005)
    """
    worker = workers.code({"one": {"code/a.py": source}})
    worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        calls = [
            client.request(
                "call", b"{}", code="one", steps=[{"name": "s", "target": f"code/a.py:{f}", "arguments": {"n": n}}]
            )
            for n in range(5)
            for f in "fg"
        ]
        for index, answer in enumerate(await asyncio.gather(*calls)):
            (result,) = answer.json()["results"]
            assert result["logs"] == "".join(f"{index // 2} {i}\n" for i in range(5))
        await client.close()

    asyncio.run(scenario())


def test_what_a_step_returns_is_what_the_next_one_would_get_from_elsewhere(workers, call) -> None:
    source = """
        import datetime
        def make(): return {1: datetime.date(2024, 1, 2), "n": float("nan")}
        def look(v): return [v["1"], v["n"]]
    """
    client = workers.code({"one": {"code/a.py": source}}).ready()
    first, second = call(client, "one", ("m", "code/a.py:make", {}), ("l", "code/a.py:look", {"v": {"$ref": "m"}}))
    assert first["warnings"] == ["JSON has no NaN or Infinity; null was written at n"]
    assert second["output"] == ["2024-01-02", None]


def test_a_result_that_is_not_json_is_named(workers, call) -> None:
    client = workers.code({"one": {"code/a.py": "def f(): return {'a': [object()]}"}}).ready()
    (result,) = call(client, "one", ("a", "code/a.py:f", {}))
    assert result["error"]["code"] == "bad_output"
    assert "a[0]" in result["error"]["message"]


def test_a_positional_only_function_says_what_to_change(workers, call) -> None:
    client = workers.code({"one": {"code/a.py": "def f(a, /): return a"}}).ready()
    (result,) = call(client, "one", ("a", "code/a.py:f", {"a": 1}))
    assert "by position only" in result["error"]["message"]


def test_a_cancelled_call_ends(workers) -> None:
    worker = workers.code({"one": {"code/a.py": "def f():\n    while True: pass\ndef g(): return 1"}})
    probe = worker.ready()

    async def scenario() -> None:
        client = await AsyncClient.connect(worker.address)
        hanging = asyncio.ensure_future(
            client.request("call", b"{}", code="one", steps=[{"name": "s", "target": "code/a.py:f"}])
        )
        await asyncio.sleep(0.1)
        hanging.cancel()
        answer = await client.request("call", b"{}", code="one", steps=[{"name": "s", "target": "code/a.py:g"}])
        assert json.loads(answer.payload)["results"][0]["output"] == 1
        await client.close()

    asyncio.run(scenario())
    worker.wait_until(lambda: probe.health()["in_flight"] == 0)


def test_the_least_used_bundles_are_let_go(workers, call) -> None:
    source = """
        import sys
        V = {index}
        def f(): return [V, len([name for name in sys.modules if name.startswith("tenfold_code_")])]
    """
    bundles = {f"d{index}": {"code/a.py": source.replace("{index}", str(index))} for index in range(80)}
    client = workers.code(bundles).ready()
    for index in range(80):
        (result,) = call(client, f"d{index}", ("a", "code/a.py:f", {}))
        assert result["output"][0] == index
    assert result["output"][1] <= 2 * 64 + 2
    (again,) = call(client, "d0", ("a", "code/a.py:f", {}))
    assert again["output"][0] == 0
