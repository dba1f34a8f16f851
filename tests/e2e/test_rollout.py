"""A version on its way out to its callers, on a running installation: a share of the calls, all of them, and what is
seen, fetched and kept on the way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

import tenfold
from tenfold.client import Client
from tenfold.errors import Conflict, DeployFailed, ModelFailed
from tenfold.models import Model

from ..installation import FETCHED_FROM, TLS
from .conftest import Deploy, Installation, quiet, wait_for

pytestmark = pytest.mark.e2e

FORBIDDEN = "127.0.0.2"
PLANTED = "planted-91c7-in-a-secret"
PATIENCE_SECONDS = 60

COUNTS = """
class Model:
    def predict(self, inputs):
        return {{"says": {says!r}, "twice": inputs["x"] * 2}}
"""
ROUNDS = """
class Model:
    def predict(self, inputs, request):
        is_shadow = request.headers.get("x-tenfold-shadow") == "1"
        print("in the shadow" if is_shadow else "for a caller", flush=True)
        x = inputs["x"]
        if {is_new} and x % 5 == 4:
            raise ValueError("no fours")
        return {{"predictions": [{{"value": x * (1 + 1e-9 * {is_new}), "label": "odd" if x % 2 else {even!r}}}]}}
"""
STREAMS = """
class Model:
    def predict(self, inputs):
        for number in range(inputs["n"]):
            yield f"{number} "
"""
FETCHED = """
class Model:
    def __init__(self, data_dir):
        self.data_dir = data_dir

    def load(self):
        self.words = (self.data_dir / "words.txt").read_text().split()

    def predict(self, inputs):
        return self.words
"""
SECRETIVE = """
class Model:
    def __init__(self, secrets):
        self.secrets = secrets

    def load(self):
        print("it is", self.secrets["HUB_TOKEN"])

    def predict(self, inputs):
        if inputs.get("fail"):
            raise ValueError("it was " + self.secrets["HUB_TOKEN"])
        return len(self.secrets["HUB_TOKEN"])
"""


@pytest.fixture
def two_versions(client: Client, deploy: Deploy, request: pytest.FixtureRequest) -> Iterator[Model]:
    """A model whose first version is in production, its second beside it."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].rstrip("-")
    deploy(COUNTS.format(says="one"), name)
    deploy(COUNTS.format(says="two"), name, "description: the second\n", alias="staging")
    model = client.model(name)
    yield model
    model.delete()


def answered_by(installation: Installation, url: str, calls: int) -> Counter[str]:
    """How many of so many calls each version answered. Every answer must be right."""
    versions: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {installation.profile['key']}"}
    with httpx.Client(headers=headers, timeout=PATIENCE_SECONDS) as caller:
        for number in range(calls):
            answer = caller.post(url, json={"x": number})
            assert answer.status_code == 200, answer.text
            version = answer.headers["X-Tenfold-Version"]
            assert answer.json() == {"says": {"1": "one", "2": "two"}[version], "twice": number * 2}
            versions[version] += 1
    return versions


def test_a_canary_gets_its_share_until_it_is_promoted(platform: Installation, two_versions: Model) -> None:
    model = two_versions
    assert answered_by(platform, model.url, 10) == {"1": 10}
    with pytest.raises(Conflict) as refused:
        model.canary(1)
    assert refused.value.code == "canary_is_main"
    model.canary(2, percent=50)
    shared = wait_for(lambda: _of_both(answered_by(platform, model.url, 100)), PATIENCE_SECONDS)
    assert 20 <= shared["2"] <= 80  # one in a billion falls out of this by chance
    model.canary(2, percent=100)
    wait_for(lambda: answered_by(platform, model.url, 5) == {"2": 5}, PATIENCE_SECONDS)
    model.canary(None)
    wait_for(lambda: answered_by(platform, model.url, 20) == {"1": 20}, PATIENCE_SECONDS)

    model.canary(2, percent=10)
    model.promote(2)
    assert model.client.get("models", model.name)["canaries"] == {}
    wait_for(lambda: answered_by(platform, model.url, 20) == {"2": 20}, PATIENCE_SECONDS)
    assert model.rollback().version == 1
    wait_for(lambda: answered_by(platform, model.url, 20) == {"1": 20}, PATIENCE_SECONDS)


def _of_both(versions: Counter[str]) -> Counter[str] | None:
    return versions if len(versions) == 2 else None


def test_a_shadow_tells_which_calls_it_answers_otherwise(
    platform: Installation, client: Client, deploy: Deploy
) -> None:
    name = "shadowed"
    deploy(ROUNDS.format(is_new=False, even="even"), name)
    deploy(ROUNDS.format(is_new=True, even="straight"), name, alias="staging")
    model = client.model(name)
    with pytest.raises(Conflict) as refused:
        model.shadow(1)
    assert refused.value.code == "shadow_is_main"
    model.shadow(2, percent=100)
    assert _sampled(platform) == 0
    headers = {"Authorization": f"Bearer {platform.profile['key']}"}
    with httpx.Client(headers=headers, timeout=PATIENCE_SECONDS) as caller:

        def ask(x: int, request_id: str) -> None:
            answer = caller.post(model.url, json={"x": x}, headers={"X-Request-Id": request_id})
            assert answer.headers["X-Tenfold-Version"] == "1"
            assert answer.json() == {"predictions": [{"value": x, "label": "odd" if x % 2 else "even"}]}

        # the gateway hears of it within a moment; calls until then are alike, and equal
        wait_for(lambda: ask(1, "before-it-is-known") or _sampled(platform), PATIENCE_SECONDS)
        wait_for(lambda: _running(platform) == 0, PATIENCE_SECONDS)
        before = _sampled(platform)
        for x in range(10):
            ask(x, f"request-{x}")
            wait_for(lambda done=before + x + 1: _sampled(platform) == done, PATIENCE_SECONDS)

    def figures() -> dict[str, Any] | None:
        report = model.shadow_report()
        return report if sum(line[came] for line in report["versions"] for came in CAME_TO) == before + 10 else None

    report = wait_for(figures, PATIENCE_SECONDS)
    (line,) = report["versions"]
    assert (line["version"], line["different"], line["shadow_failed"]) == (1, 4, 2)
    assert line["equal"] + line["dropped"] == before + 4
    assert 0 < line["shadow"]["p50_seconds"] <= line["shadow"]["p99_seconds"]
    found = {one["request_id"]: (one["outcome"], one["path"]) for one in report["differences"]}
    otherwise = {f"request-{x}": ("different", "predictions[0].label") for x in (0, 2, 6, 8)}
    assert found == otherwise | {f"request-{x}": ("shadow_failed", "status") for x in (4, 9)}
    assert {line["version"]: line["totals"]["requests"] for line in model.metrics()["versions"]}.get(2, 0) == 0

    model.promote(2)
    assert client.get("models", name)["shadows"] == {}
    wait_for(
        lambda: httpx.post(model.url, json={"x": 2}, headers=headers).json()["predictions"][0]["label"] == "straight",
        PATIENCE_SECONDS,
    )
    tried = client.model(f"{name}@2")
    wait_for(lambda: {"in the shadow", "for a caller"} <= set(tried.log_lines()), PATIENCE_SECONDS)
    model.delete()


CAME_TO = ("compared", "primary_failed", "shadow_failed", "dropped")


def _sampled(installation: Installation) -> int:
    """Calls that came to an end in the shadow."""
    return _metric(installation, "tenfold_shadow_calls_total{")


def _running(installation: Installation) -> int:
    return _metric(installation, "tenfold_gateway_shadow_calls_running ")


def _metric(installation: Installation, beginning: str) -> int:
    """The sum over its labels."""
    told = httpx.get(f"{installation.profile['gateway_url']}/metrics", timeout=PATIENCE_SECONDS, verify=TLS).text
    return sum(int(float(line.rpartition(" ")[2])) for line in told.splitlines() if line.startswith(beginning))


def test_metrics_show_the_calls_of_each_version(platform: Installation, two_versions: Model) -> None:
    model = two_versions
    staging = model.client.model(f"{model.name}@staging")
    assert answered_by(platform, model.url, 7) == {"1": 7}
    assert answered_by(platform, staging.url, 3) == {"2": 3}

    def counted() -> dict[int, int]:
        lines = model.metrics(minutes=30)["versions"]
        return {line["version"]: line["totals"]["requests"] for line in lines if line["totals"]["requests"]}

    wait_for(lambda: counted() == {1: 7, 2: 3}, PATIENCE_SECONDS)
    totals = model.metrics(minutes=30)["totals"]
    assert (totals["requests"], totals["refused"], totals["failed"]) == (10, 0, 0)
    assert 0 < totals["p50_seconds"] <= totals["p99_seconds"]


def test_compare_tells_two_versions_apart(two_versions: Model) -> None:
    found = two_versions.compare(1, 2)
    assert [(one["path"], one["kind"], one["after"]) for one in found["config"]] == [
        ("description", "changed", "the second")
    ]
    assert found["environment"] == []
    assert {one["path"] for one in found["files"]} == {"config.yaml", "model/model.py"}


def test_a_downloaded_package_deploys_again(client: Client, two_versions: Model, tmp_path: Path) -> None:
    name = two_versions.name
    folder = client.model(f"{name}@2").download(tmp_path / "again")
    again = tenfold.deploy(folder, f"{name}-again", client=client, progress=quiet())
    assert again.predict({"x": 21}) == {"says": "two", "twice": 42}
    digests = [client.get("models", one, "versions", at)["package_digest"] for one, at in ((name, 2), (again.name, 1))]
    assert digests[0] == digests[1]


def test_a_restart_fails_no_request(platform: Installation, two_versions: Model) -> None:
    model = two_versions.client.model(f"{two_versions.name}@1")
    before = {one["id"] for one in replicas(model)}
    stop, answers = threading.Event(), Counter[int]()

    def ask() -> None:
        headers = {"Authorization": f"Bearer {platform.profile['key']}"}
        with httpx.Client(headers=headers, timeout=PATIENCE_SECONDS) as caller:
            while not stop.is_set():
                answers[caller.post(model.url, json={"x": 1}).status_code] += 1

    callers = [threading.Thread(target=ask) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        wait_for(lambda: answers[200] > 5, PATIENCE_SECONDS)
        model.restart()
        wait_for(lambda: _only_new(replicas(model), before), PATIENCE_SECONDS)
        asked = answers[200]
        wait_for(lambda: answers[200] > asked + 5, PATIENCE_SECONDS)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert set(answers) == {200}


def replicas(model: Model) -> list[dict[str, Any]]:
    version = model.client.get("models", model.name, "versions", model.version or 0)
    return [one for one in version["deployment"]["replicas"] if one["state"] not in ("stopped", "failed")]


def _only_new(live: list[dict[str, Any]], before: set[str]) -> bool:
    return [one["state"] for one in live] == ["ready"] and not before & {one["id"] for one in live}


def test_an_answer_that_comes_later(two_versions: Model) -> None:
    accepted = two_versions.predict_async({"x": 4})
    assert accepted.result(PATIENCE_SECONDS) == {"says": "one", "twice": 8}
    assert accepted.state == "succeeded"
    assert two_versions.prediction(accepted.id).result(PATIENCE_SECONDS) == {"says": "one", "twice": 8}
    wrong = two_versions.predict_async({"y": 4})
    with pytest.raises(ModelFailed, match="KeyError"):
        wrong.result(PATIENCE_SECONDS)


def test_an_answer_that_comes_in_parts(deploy: Deploy) -> None:
    model = deploy(STREAMS, "streams")
    assert "".join(model.stream({"n": 5})) == "0 1 2 3 4 "


@pytest.fixture(scope="module")
def file_server() -> Iterator[int]:
    """The port of a server that has one file, and sends whoever asks for another one to where nobody may go."""

    class Words(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"three small words" if self.path == "/words.txt" else b""
            self.send_response(200 if body else 302 if self.path == "/elsewhere" else 404)
            self.send_header("Location", f"http://{FORBIDDEN}/words.txt")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Words) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def external(address: str) -> str:
    return f"external_data: [{{url: '{address}', local_data_path: words.txt}}]\n"


def test_external_data_is_fetched_from_where_the_operator_allows_it(deploy: Deploy, file_server: int) -> None:
    address = f"http://{FETCHED_FROM}:{file_server}/words.txt"
    model = deploy(FETCHED, "fetched", external(address))
    assert model.predict({}) == ["three", "small", "words"]
    (version,) = model.versions()
    (file,) = version["fetched"]
    assert (file["path"], file["url"], file["size"]) == ("data/words.txt", address, len("three small words"))
    assert [one["state"] for one in version["stages"] if one["name"] == "fetch"] == ["done"]


@pytest.mark.parametrize(
    "address", [f"http://{FORBIDDEN}:{{port}}/words.txt", f"http://{FETCHED_FROM}:{{port}}/elsewhere"]
)
def test_external_data_is_fetched_from_nowhere_else(
    deploy: Deploy, file_server: int, client: Client, address: str
) -> None:
    name = "refused" if FORBIDDEN in address else "redirected"
    with pytest.raises(DeployFailed) as refused:
        deploy(FETCHED, name, external(address.format(port=file_server)))
    assert (refused.value.stage, refused.value.source) == ("fetch", "your package")
    assert f"{FORBIDDEN}, which is not a public address" in refused.value.message
    assert "TENFOLD_EGRESS_ALLOW" in refused.value.hint
    (version,) = client.model(f"{name}@1").versions()
    assert version["fetched"] == []
    assert version["deployment"]["replicas"] == []


def test_external_data_that_is_not_there(deploy: Deploy, file_server: int) -> None:
    with pytest.raises(DeployFailed, match=r"data/words\.txt: http://127\.0\.0\.1:\d+/other answered 404") as refused:
        deploy(FETCHED, "gone", external(f"http://{FETCHED_FROM}:{file_server}/other"))
    assert refused.value.hint == "Is the address right?"


def test_a_secret_reaches_the_model_and_no_log(platform: Installation, deploy: Deploy, tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text(PLANTED)
    platform.tenfold("secrets", "set", "HUB_TOKEN", "--file", value)
    value.unlink()
    model = deploy(SECRETIVE, "secretive", "secrets: {HUB_TOKEN: null}\n")
    assert model.predict({}) == len(PLANTED)
    shown = wait_for(lambda: [line for line in model.log_lines() if line.startswith("it is")], PATIENCE_SECONDS)
    assert shown == ["it is [secret]"]
    with pytest.raises(ModelFailed) as told:
        model.predict({"fail": True})
    wait_for(lambda: any("it was [secret]" in line for line in model.log_lines()), PATIENCE_SECONDS)
    assert PLANTED not in "\n".join(model.log_lines())
    assert told.value.message.startswith("ValueError: it was ")
    logs = (platform.data / "logs").rglob("*")
    assert [path.name for path in logs if path.is_file() and PLANTED.encode() in path.read_bytes()] == []
