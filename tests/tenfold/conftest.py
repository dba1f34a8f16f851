"""A platform that is not there: answers by path, requests kept for looking at."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tenfold.client import Client
from tenfold.credentials import Profile

ROOT = "/api/v1/workspaces/default"


@dataclass
class FakePlatform:
    """Answers by "METHOD /path"; an answer may be a value, a response, a list of them in turn, or a function."""

    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)

    def handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        key = f"{request.method} {request.url.path.removeprefix(ROOT + '/')}"
        if key not in self.answers:
            return httpx.Response(404, json={"error": {"code": "not_found", "message": f"There is no {key}."}})
        answer = self.answers[key]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def bodies(self, key: str) -> list[Any]:
        """The JSON bodies of the requests to "METHOD path"."""
        return [
            json.loads(one.content)
            for one in self.requests
            if f"{one.method} {one.url.path.removeprefix(ROOT + '/')}" == key
        ]


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def waits() -> list[float]:
    """What the client would have slept."""
    return []


@pytest.fixture
def client(platform: FakePlatform, waits: list[float]) -> Iterator[Client]:
    profile = Profile("http://console.test", "tf_abc_secret", "default", "http://gateway.test")
    with Client(profile, transport=httpx.MockTransport(platform.handle), sleep=waits.append) as made:
        yield made


@pytest.fixture
def make_version() -> Callable[..., dict[str, Any]]:
    """A version as the API shows it."""

    def make(number: int = 1, state: str = "ready", **changes: Any) -> dict[str, Any]:
        names = ("upload", "environment", "start", "load", "example", "app")
        return {
            "number": number,
            "state": state,
            "reason": "",
            "hint": "",
            "stages": [{"name": name, "state": "done", "seconds": 0.1, "detail": ""} for name in names],
            "schema": {},
            "example": None,
            "aliases": ["production"],
            "deployment": {"status": "running"},
            "environment": {"python_version": "3.11"},
            "size_bytes": 1000,
            "created_at": "2026-01-01T00:00:00+00:00",
            "created_by": "a key",
            "app": None,
            **changes,
        }

    return make


@pytest.fixture
def run_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Any]]:
    """Loads a package in this process as a worker would: its class Model, constructed and loaded."""
    import yaml

    before = set(sys.modules)

    def load(root: Path) -> Any:
        monkeypatch.syspath_prepend(str(root))
        monkeypatch.syspath_prepend(str(root / "packages"))
        for name in ("model", "model._fields", "model.model", "notebook_code"):
            sys.modules.pop(name, None)
        package = ModuleType("model")
        package.__path__ = [str(root / "model")]
        monkeypatch.setitem(sys.modules, "model", package)
        spec = importlib.util.spec_from_file_location("model.model", root / "model" / "model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = yaml.safe_load((root / "config.yaml").read_text())
        offered = {"config": config, "data_dir": root / "data", "secrets": {}}
        import inspect

        wanted = inspect.signature(module.Model).parameters
        model = module.Model(**{name: value for name, value in offered.items() if name in wanted})
        model.load()
        return model

    yield load
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("model", "notebook_code"):
            del sys.modules[name]


@pytest.fixture
def piped() -> Iterator[Callable[[str], str]]:
    """A path that holds the text as the shell's `<(...)` does."""
    with ExitStack() as stack:

        def make(text: str) -> str:
            reading, writing = os.pipe()
            stack.callback(os.close, reading)
            os.write(writing, text.encode())
            os.close(writing)
            return f"/dev/fd/{reading}"

        yield make


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Runs source as if it were the user's script: its names live in `__main__`."""

    def run(source: str) -> ModuleType:
        file = tmp_path / "script.py"
        file.write_text(source)
        module = ModuleType("__main__")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec(compile(source, str(file), "exec"), module.__dict__)
        return module

    return run
