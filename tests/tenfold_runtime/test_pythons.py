"""The runtime on every Python from 3.9 on that the machine has, with nothing installed."""

from __future__ import annotations

import ast
import datetime
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tenfold_runtime
from tenfold_runtime import msgpack
from tenfold_runtime.frames import encode, parse_address

RUNTIME = Path(tenfold_runtime.__file__).parent
OLDEST = (3, 9)


def _pythons() -> list[str]:
    versions = [f"python3.{minor}" for minor in range(9, 20)]
    found = [path for name in versions if (path := shutil.which(name))]
    found += [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python")]
    by_version: dict[str, str] = {}
    for python in [sys.executable, *found]:
        command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        version = asked.stdout.strip()
        if asked.returncode == 0 and tuple(map(int, version.split("."))) >= OLDEST:
            by_version.setdefault(version, python)
    return [by_version[version] for version in sorted(by_version)]


@pytest.mark.parametrize("module", sorted(path.name for path in RUNTIME.glob("*.py")))
def test_every_module_is_python_3_9_and_imports_only_the_standard_library(module: str) -> None:
    tree = ast.parse((RUNTIME / module).read_text("utf-8"), feature_version=OLDEST)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    guarded = {"numpy", "orjson", "yaml", "pydantic"}  # used where the user's environment has them
    assert imported <= set(sys.stdlib_module_names) | {"tenfold_runtime"} | guarded


@pytest.mark.parametrize("python", _pythons())
def test_a_model_and_code_run_there(workers, predict, call, python: str) -> None:
    source = """
        from typing import Optional
        class Model:
            def load(self): self.k = 2
            async def preprocess(self, x): return x
            def predict(self, x: Optional[list]):
                if x == []: return (str(n) for n in range(3))
                return {"k": self.k, "x": x}
    """
    client = workers.model(source, python=python).ready()
    assert predict(client, [1.5, None]).json() == {"k": 2, "x": [1.5, None]}
    assert predict(client, []).payload == b"012"
    assert predict(client, "x").ok
    assert client.request("predict", b"{").header["code"] == "bad_input"
    assert client.request("schema").ok
    code = (
        "import helper\nfrom typing import List\ndef f(a: List[int]): return helper.total(a)\nasync def g(a): return a"
    )
    worker = workers.code(
        {"d": {"code/a.py": code, "packages/helper.py": "def total(a): return sum(a)"}}, python=python
    )
    results = call(worker.ready(), "d", ("f", "code/a.py:f", {"a": [1, 2]}), ("g", "code/a.py:g", {"a": {"$ref": "f"}}))
    assert [result.get("output") for result in results] == [3, 3]
    assert worker.client().request("describe", code="d", targets=["code/a.py:f"]).json()["functions"][0]["ok"]


@pytest.mark.parametrize("python", _pythons())
def test_what_truss_folders_ask_for_runs_there(workers, python: str) -> None:
    source = """
        import datetime, threading
        class Model:
            def __init__(self, **given):
                self.environment = given["environment"]
                with open("made.txt") as file: self.made = file.read()
            def setup_environment(self, environment): self.set_up = environment["name"]
            def predict(self, inputs, request):
                told = [inputs, request.query_params, request.headers["X-Mine"]]
                return [self.environment, self.set_up, self.made, *told]
            def messages(self, inputs):
                yield "data: 1\\n\\n"
            async def completions(self, inputs, request):
                return [await request.json(), await request.is_disconnected()]
            def embeddings(self, inputs): return inputs
            async def responses(self, inputs, request):
                import asyncio
                print("waiting", flush=True)
                while not await request.is_disconnected(): await asyncio.sleep(0.02)
                print("gone", flush=True)
    """
    config = "build_commands: ['python -c \"import sys; print(sys.prefix)\" > made.txt']"
    worker = workers.truss(source, config, environment={"name": "production"}, python=python)
    client = worker.client()
    worker.wait_until(lambda: client.health()["state"] != "loading", seconds=120)
    http = {"query": "a=b", "headers": [["x-mine", "yes"]]}
    environment, set_up, made, *rest = client.request("predict", b"[1]", http=http).json()
    assert (environment, set_up) == ({"name": "production"}, "production")
    assert made.strip() == str(worker.folder / "package" / ".tenfold" / "built" / "venv")
    assert rest == [[1], {"a": "b"}, "yes"]
    first, *_ = client.stream("method", b"{}", method="messages")
    assert (first.payload, first.header["content_type"]) == (b"data: 1\n\n", "text/event-stream; charset=utf-8")
    assert client.request("method", b"{}", method="completions").json() == [{}, False]
    value = {"a": [1, -2, 2.5, None, True, b"x", "\u00e9", datetime.date(2024, 1, 2)]}
    binary = {"content_type": "application/msgpack", "accept": "application/msgpack"}
    answer = client.request("method", msgpack.encode(value), method="embeddings", **binary)
    assert msgpack.decode(answer.payload) == value
    caller = Leaving(worker.address)
    worker.wait_until(lambda: "waiting" in worker.log())
    caller.leave()
    worker.wait_until(lambda: "gone" in worker.log())
    assert client.request("websocket").header["code"] == "no_such_method"
    assert client.request("metrics").payload == b""


class Leaving:
    """Somebody who asks and leaves before the answer."""

    def __init__(self, address: str) -> None:
        self._socket = parse_address(address).connect(20)
        self._socket.sendall(encode({"op": "method", "method": "responses", "id": 1}, b"{}"))

    def leave(self) -> None:
        self._socket.close()
