"""Packages as the SDK writes them, in a real worker process of this interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tenfold.models import table_bodies
from tenfold.packaging.callables import package_callable
from tenfold.packaging.estimators import package_estimator
from tenfold_deploy.packages import read_package, starts_from
from tenfold_runtime.client import Client

pytestmark = pytest.mark.slow

START_SECONDS = 120.0
Ask = Callable[[Any], dict[str, Any]]


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Ask]]:
    """Starts a worker on a package, as the platform would, and waits until it has loaded."""
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tf-")))

        def start(root: Path) -> Ask:
            config = read_package(root)
            assert config.foreign is False
            (root / ".tenfold").mkdir()
            (root / ".tenfold" / "config.json").write_text(json.dumps(starts_from(config)))
            address = f"unix:{sockets / root.name}"
            arguments = ["--kind", "model", "--root", str(root), "--listen", address]
            process = subprocess.Popen([sys.executable, "-m", "tenfold_runtime", *arguments])
            stack.callback(process.wait, timeout=30)
            stack.callback(process.terminate)
            client = stack.enter_context(
                Client(_listening(sockets / root.name, address), timeout_seconds=START_SECONDS)
            )
            _wait_until(lambda: client.health()["state"] != "loading")
            assert client.health()["state"] == "ready", client.health()

            def ask(body: Any) -> dict[str, Any]:
                frame = client.request("predict", json.dumps(body).encode(), content_type="application/json")
                return {**frame.header, "body": json.loads(frame.payload) if frame.payload else None}

            return ask

        yield start


def test_a_pipeline_answers_the_same_from_a_worker(tmp_path: Path, serve: Callable[[Path], Ask]) -> None:
    data = load_wine(as_frame=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data.data, data.target)
    package_estimator(pipeline, "wine", tmp_path, example=data.data.iloc[:1])
    ask = serve(tmp_path)
    (body,) = table_bodies(data.data)
    answer = ask(body)["body"]
    assert answer["predictions"] == pipeline.predict(data.data).tolist()
    assert np.array_equal(np.array(answer["probabilities"]), pipeline.predict_proba(data.data))
    refused = ask({"inputs": [{"alcohol": 1.0}]})
    assert refused["status"] == 400
    assert "lacks the column malic_acid" in refused["message"]


def test_a_function_of_a_script_answers_from_a_worker(
    tmp_path: Path, serve: Callable[[Path], Ask], script: Callable[[str], ModuleType]
) -> None:
    main = script("WORDS = {'a': 'one'}\ndef say(word: str) -> str:\n    return WORDS[word]\n")
    root = tmp_path / "package"
    package_callable(main.say, "say", root)
    ask = serve(root)
    assert ask({"word": "a"})["body"] == "one"
    refused = ask({"word": 1})
    assert (refused["status"], refused["message"]) == (400, "'word' is 1, and must be a text.")
    failed = ask({"word": "b"})
    assert (failed["status"], failed["code"]) == (500, "user_error")


def _listening(socket: Path, address: str) -> str:
    _wait_until(socket.exists)
    return address


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
