"""Models that misbehave: each fails with its own words, and a model beside it goes on answering."""

from __future__ import annotations

import hashlib
import pickle
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Installation, wait_for

pytestmark = pytest.mark.e2e

CONFIG = "requirements: []\nmodel_metadata: {tenfold: {}}\n"
GOOD = "class Model:\n    def predict(self, inputs):\n        return {'twice': inputs['x'] * 2}\n"


def deploy(
    installation: Installation,
    name: str,
    code: str,
    *,
    config: str = CONFIG,
    request: dict[str, Any] | None = None,
    **files: bytes,
) -> dict[str, Any]:
    """Deploys a package and waits until its preparation has ended, either way."""
    contents = {"config.yaml": config.encode(), "model/model.py": code.encode(), **files}
    with installation.api() as api:
        entries = []
        for path, content in contents.items():
            digest = hashlib.sha256(content).hexdigest()
            api.put(f"/blobs/{digest}", content=content, headers={"Content-Type": "application/octet-stream"})
            entries.append({"path": path, "digest": digest, "size": len(content)})
        made = api.post(f"/models/{name}/versions", json={"files": entries, **(request or {})})
        assert made.status_code == 201, made.text
        number = made.json()["number"]

        def ended() -> Any:
            version = api.get(f"/models/{name}/versions/{number}").json()
            return version if version["state"] in ("ready", "failed") else None

        version: dict[str, Any] = wait_for(ended, 90)
        return version


def predict(installation: Installation, name: str, body: Any = None, timeout: float = 60) -> httpx.Response:
    return httpx.post(
        f"{installation.gateway}/v1/default/models/{name}/predict",
        json=body if body is not None else {"x": 1},
        headers={"Authorization": f"Bearer {installation.profile['key']}"},
        timeout=timeout,
    )


@pytest.fixture(autouse=True)
def neighbour(installation: Installation) -> Iterator[None]:
    """A good model is asked all the while; every answer must be right."""
    if not _has_model(installation, "neighbour"):
        assert deploy(installation, "neighbour", GOOD)["state"] == "ready"
    stop, wrong, right = threading.Event(), [], []

    def ask() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {installation.profile['key']}"}, timeout=30) as client:
            number = 0
            while not stop.wait(0.05):
                number += 1
                url = f"{installation.gateway}/v1/default/models/neighbour/predict"
                answer = client.post(url, json={"x": number})
                (right if answer.text == f'{{"twice":{number * 2}}}' else wrong).append(answer.text)

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    stop.set()
    asking.join()
    assert wrong == []
    assert right


def _has_model(installation: Installation, name: str) -> bool:
    with installation.api() as api:
        return api.get(f"/models/{name}").status_code == 200


def test_one_that_raises(installation: Installation) -> None:
    code = "class Model:\n    def predict(self, inputs):\n        raise KeyError('colour')\n"
    assert deploy(installation, "raises", code)["state"] == "ready"
    answer = predict(installation, "raises")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "user_error"
    assert "colour" in answer.text
    assert "model.py" in answer.text


def test_one_that_prints_a_megabyte(installation: Installation) -> None:
    code = "class Model:\n    def predict(self, inputs):\n        print('x' * 1_000_000)\n        return 'printed'\n"
    version = deploy(installation, "prints", code)
    for _ in range(3):
        assert predict(installation, "prints").json() == "printed"
    with installation.api() as api:

        def shown() -> bool:
            logs = api.get(f"/models/prints/versions/{version['number']}/logs").json()["items"]
            return any("xxxx" in line["text"] for line in logs)

        wait_for(shown, 20)


def test_one_that_exits_in_predict(installation: Installation) -> None:
    code = "import os\nclass Model:\n    def predict(self, inputs):\n        os._exit(3)\n"
    assert deploy(installation, "exits", code)["state"] == "ready"
    answer = predict(installation, "exits")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "ended" in answer.json()["error"]["message"]
    with installation.api() as api:

        def recorded() -> Any:
            replicas = api.get("/models/exits/versions/1").json()["deployment"]["replicas"]
            return [replica for replica in replicas if replica["state"] == "failed"]

        (failed,) = wait_for(recorded, 30)
    assert "exit code 3" in failed["reason"]


def test_one_that_never_returns_from_load(installation: Installation) -> None:
    code = "import time\nclass Model:\n    def load(self):\n        time.sleep(3600)\n    def predict(self, i): ...\n"
    config = CONFIG + "runtime: {health_checks: {startup_threshold_seconds: 5}}\n"
    version = deploy(installation, "hangs", code, config=config)
    assert version["state"] == "failed"
    assert version["reason"] == "load() did not return within 5 s."
    answer = predict(installation, "hangs@1")
    assert answer.status_code == 503
    assert "load() did not return" in answer.text


def test_one_whose_load_raises(installation: Installation) -> None:
    code = (
        "class Model:\n    def load(self):\n        raise RuntimeError('no weights')\n    def predict(self, i): ...\n"
    )
    version = deploy(installation, "cannot-load", code)
    assert version["state"] == "failed"
    assert "no weights" in version["reason"]


def test_a_pickle_that_writes_a_file_fires_nowhere_in_the_platform(installation: Installation) -> None:
    name = f"canary-{uuid.uuid4().hex}"
    payload = pickle.dumps(_Writes(name))
    code = (
        "import pickle\nclass Model:\n    def __init__(self, data_dir):\n        self.data_dir = data_dir\n"
        "    def predict(self, i):\n        return pickle.load(open(self.data_dir / 'm.pkl', 'rb')) or 'loaded'\n"
    )
    version = deploy(installation, "pickled", code, **{"data/m.pkl": payload})
    assert version["state"] == "ready"
    with installation.api() as api:
        assert api.get("/models/pickled/versions/1/files/data/m.pkl").status_code == 404
    shown = installation.tenfold("models", "show", "pickled").stdout
    assert "pickled" in shown
    time.sleep(1)
    homes = installation.data / "workers" / "replicas"
    assert list(homes.glob(f"*/home/{name}")) == []
    assert predict(installation, "pickled").json() == "loaded"
    # the payload was live: the worker, and only the worker, fired it, in the only home that it has
    assert len(list(homes.glob(f"*/home/{name}"))) == 1
    assert not Path.home().joinpath(name).exists()


class _Writes:
    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (exec, (f"import os; open(os.path.expanduser('~/{self.name}'), 'w').close()",))
