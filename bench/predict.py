"""What a prediction costs on its way: the same model in process, behind a bare server, behind Tenfold, behind others.

    python bench/predict.py                         against the `tenfold up` that runs here (its credentials are found)
    python bench/predict.py --url URL --key KEY     against another one
    python bench/predict.py --start                 against one that is started for the purpose, in a folder of its own
    python bench/predict.py --peers bentoml,litserve --cache DIR

The model is scikit-learn's logistic regression on its breast cancer data; a request is one row as JSON, an answer one
class with its probabilities. The client is a raw asyncio socket client in a process of its own, with keep-alive and no
HTTP library. Rounds are interleaved: each round asks every server in turn, so that a machine that slows down slows all
of them. Shown are medians over rounds; ratios are to the bare server of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CONCURRENCIES = (1, 32)
NAME = "bench-predict"


# The model, the same everywhere


def train() -> Any:
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer(as_frame=True)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data.to_numpy(), data.target), data.data


def one_row() -> bytes:
    from sklearn.datasets import load_breast_cancer

    return json.dumps({"inputs": [load_breast_cancer().data[0].tolist()]}).encode()


PREDICTOR = '''
import numpy, joblib

class Predictor:
    """One row in, one class and its probabilities out."""

    def __init__(self, path):
        self.model = joblib.load(path)

    def __call__(self, body):
        rows = numpy.asarray(body["inputs"], dtype=float)
        return {
            "predictions": self.model.predict(rows).tolist(),
            "probabilities": self.model.predict_proba(rows).tolist(),
        }
'''

BARE = """
import asyncio, sys, orjson, uvicorn
from predictor import Predictor

predict = Predictor(sys.argv[1])

async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    answer = orjson.dumps(predict(orjson.loads(body)))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False, lifespan="off",
            loop="uvloop", http="httptools")
"""

LITSERVE = """
import sys
import litserve
from predictor import Predictor

class Api(litserve.LitAPI):
    def setup(self, device):
        self.predictor = Predictor(sys.argv[1])

    def decode_request(self, request):
        return request

    def predict(self, body):
        return self.predictor(body)

    def encode_response(self, output):
        return output

if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="error", generate_client_file=False)
"""

BENTOML = """
import os
import bentoml
from predictor import Predictor

@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Bench:
    def __init__(self):
        self.predictor = Predictor(os.environ["BENCH_MODEL"])

    @bentoml.api
    async def predict(self, inputs: list[list[float]]) -> dict:
        return self.predictor({"inputs": inputs})
"""


# Contestants


@dataclass
class Contestant:
    """A server to be asked, or the reason why it cannot be."""

    name: str
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    results: dict[int, list[dict[str, float]]] = field(default_factory=dict)


@contextlib.contextmanager
def process(arguments: list[str], *, cwd: Path, log: Path, env: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as output:
        child = subprocess.Popen(
            arguments, cwd=cwd, env=os.environ | THREADS | (env or {}), stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 15)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()


def serve_bare(stack: contextlib.ExitStack, folder: Path) -> Contestant:
    port = free_port()
    (folder / "bare.py").write_text(BARE)
    arguments = [sys.executable, "bare.py", str(folder / "model.joblib"), str(port)]
    stack.enter_context(process(arguments, cwd=folder, log=folder / "bare.log"))
    return Contestant("bare uvicorn", f"http://127.0.0.1:{port}/")


def serve_peer(stack: contextlib.ExitStack, folder: Path, cache: Path, name: str) -> Contestant:
    """A peer in an environment of its own, built once."""
    try:
        python = peer_environment(cache, name)
    except subprocess.CalledProcessError as error:
        return Contestant(name, problem=f"could not be installed: {last_line(error.output)}")
    port = free_port()
    (folder / f"{name}_app.py").write_text({"litserve": LITSERVE, "bentoml": BENTOML}[name])
    model = str(folder / "model.joblib")
    path = "/predict"
    if name == "bentoml":
        arguments = [
            str(python),
            "-m",
            "bentoml",
            "serve",
            "bentoml_app:Bench",
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
        ]
    else:
        arguments = [str(python), f"{name}_app.py", model, str(port)]
    env = {"BENCH_MODEL": model, "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    log = folder / f"{name}.log"
    stack.enter_context(process(arguments, cwd=folder, log=log, env=env))
    return Contestant(name, f"http://127.0.0.1:{port}{path}")


def peer_environment(cache: Path, name: str) -> Path:
    """The peer's python. Raises CalledProcessError when it cannot be installed."""
    import sklearn

    environment = cache / f"{name}-{platform.python_version()}-{sklearn.__version__}"
    python = environment / "bin" / "python"
    if (environment / "complete").exists():
        return python
    shutil.rmtree(environment, ignore_errors=True)
    from uv import find_uv_bin

    uv = find_uv_bin()
    run([uv, "venv", "--python", sys.executable, str(environment)])
    run([uv, "pip", "install", "--python", str(python), name, f"scikit-learn=={sklearn.__version__}", "joblib"])
    (environment / "complete").touch()
    return python


def serve_tenfold(stack: contextlib.ExitStack, folder: Path, options: argparse.Namespace) -> Contestant:
    import tenfold
    from tenfold.credentials import Profile, find_profile

    if options.start:
        start_tenfold(stack, folder)
    profile = Profile(url=options.url, key=options.key) if options.url and options.key else find_profile()
    model, frame = train()
    with tenfold.Client(profile) as client:
        deployed = client.deploy(model, NAME, example=frame.iloc[:2], app=False)
        url = f"{client.gateway_url}/v1/{client.workspace}/models/{deployed.name}/predict"
    return Contestant("tenfold", url, {"Authorization": f"Bearer {profile.key}"})


def start_tenfold(stack: contextlib.ExitStack, folder: Path) -> None:
    data = folder / "tenfold"
    os.environ["TENFOLD_CREDENTIALS"] = str(folder / "credentials.json")
    command = Path(sys.executable).with_name("tenfold")
    arguments = [str(command), "up", "--data", str(data), "--port", "0", "--gateway-port", "0"]
    stack.enter_context(process(arguments, cwd=folder, log=folder / "tenfold.log"))
    wait_for(lambda: "Tenfold is ready" in (folder / "tenfold.log").read_text(), 120, "tenfold up")


def in_process(folder: Path, body: bytes, seconds: float) -> dict[str, float]:
    """The model without any server: decode, predict, encode."""
    sys.path.insert(0, str(folder))
    import orjson
    from predictor import Predictor  # type: ignore[import-not-found]  # written by this script

    predict = Predictor(str(folder / "model.joblib"))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        orjson.dumps(predict(orjson.loads(body)))
        times.append(time.perf_counter() - began)
    return summary(times, sum(times), 0)


# The client, in a process of its own


class Caller(asyncio.Protocol):
    """Sends the same request again as soon as its answer is there."""

    def __init__(self, request: bytes, until: float) -> None:
        self.request, self.until = request, until
        self.times: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's class
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        if self.began >= self.until:
            self.transport.close()
            return
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < content_length(head):
            return
        if head.startswith(b"HTTP/1.1 200"):
            self.times.append(time.perf_counter() - self.began)
        else:
            self.errors += 1
        self.buffer = b""
        self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    raise SystemExit("an answer without Content-Length: this client reads no chunks")


async def call(url: str, headers: dict[str, str], body: bytes, concurrency: int, seconds: float) -> dict[str, float]:
    address = urlsplit(url)
    lines = [f"POST {address.path} HTTP/1.1", f"Host: {address.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + [f"Content-Length: {len(body)}"]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    callers = [Caller(request, began + seconds) for _ in range(concurrency)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, address.hostname or "", address.port or 80)  # type: ignore[misc]
    await asyncio.gather(*(caller.done for caller in callers))
    times = [value for caller in callers for value in caller.times]
    return summary(times, time.perf_counter() - began, sum(caller.errors for caller in callers))


def summary(times: list[float], seconds: float, errors: int) -> dict[str, float]:
    times.sort()
    if not times:
        return {"p50": float("nan"), "p99": float("nan"), "rps": 0.0, "errors": errors}
    return {
        "p50": times[len(times) // 2] * 1000,
        "p99": times[min(len(times) - 1, int(len(times) * 0.99))] * 1000,
        "rps": len(times) / seconds,
        "errors": errors,
    }


def client_main(arguments: list[str]) -> None:
    import uvloop

    asked = json.loads(arguments[0])
    asking = call(asked["url"], asked["headers"], asked["body"].encode(), asked["concurrency"], asked["seconds"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(asking)))


def measure(contestant: Contestant, body: bytes, concurrency: int, seconds: float) -> dict[str, float]:
    asked = {
        "url": contestant.url, "headers": contestant.headers, "body": body.decode(), "concurrency": concurrency,
        "seconds": seconds,
    }  # fmt: skip
    answer = run([sys.executable, __file__, "--client", json.dumps(asked)])
    result: dict[str, float] = json.loads(answer.splitlines()[-1])
    return result


# The whole


def main() -> None:
    options = read_options()
    cache = Path(options.cache).expanduser()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenfold-bench-")))
        folder.chmod(0o711)  # `tenfold up` as root starts PostgreSQL as another user
        (folder / "predictor.py").write_text(PREDICTOR)
        import joblib

        joblib.dump(train()[0], folder / "model.joblib")
        body = one_row()
        contestants = [serve_bare(stack, folder), serve_tenfold(stack, folder, options)]
        contestants += [serve_peer(stack, folder, cache, name) for name in options.peers.split(",") if name]
        for contestant in contestants:
            make_ready(contestant, body, folder)
        alone = in_process(folder, body, options.seconds)
        compete([each for each in contestants if not each.problem], body, options)
        report(contestants, alone, options)


def make_ready(contestant: Contestant, body: bytes, folder: Path) -> None:
    if contestant.problem:
        return
    try:
        wait_for(lambda: answers(contestant, body), 90, contestant.name)
        measure(contestant, body, 8, 1.0)
    except (TimeoutError, subprocess.CalledProcessError) as error:
        log = folder / f"{contestant.name}.log"
        last = last_line(log.read_text()) if log.exists() else str(error)
        contestant.problem = f"did not answer: {last}"


def compete(contestants: list[Contestant], body: bytes, options: argparse.Namespace) -> None:
    for number in range(options.rounds):
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            for concurrency in CONCURRENCIES:
                result = measure(contestant, body, concurrency, options.seconds)
                contestant.results.setdefault(concurrency, []).append(result)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)


def report(contestants: list[Contestant], alone: dict[str, float], options: argparse.Namespace) -> None:
    print((__doc__ or "").partition("\n\n    ")[0])
    print(
        f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()};"
        f" {options.rounds} rounds of {options.seconds:g} s each\n"
    )
    print(f"{'':14}{'callers':>8}{'p50 ms':>10}{'p99 ms':>10}{'per second':>12}{'x bare':>9}{'errors':>8}")
    print(f"{'in process':14}{'-':>8}{alone['p50']:10.3f}{alone['p99']:10.3f}{alone['rps']:12.0f}")
    bare = contestants[0]
    for contestant in contestants:
        if contestant.problem:
            print(f"{contestant.name:14} {contestant.problem}")
            continue
        for concurrency in CONCURRENCIES:
            rounds = contestant.results[concurrency]
            ratios = [
                mine["rps"] / theirs["rps"] for mine, theirs in zip(rounds, bare.results[concurrency], strict=True)
            ]
            p50, p99, rps = (statistics.median(each[key] for each in rounds) for key in ("p50", "p99", "rps"))
            errors = sum(each["errors"] for each in rounds)
            print(
                f"{contestant.name:14}{concurrency:8}{p50:10.3f}{p99:10.3f}{rps:12.0f}"
                f"{statistics.median(ratios):9.2f}{errors:8.0f}"
            )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="the console's address")
    parser.add_argument("--key", help="a key with the scope deploy")
    parser.add_argument("--start", action="store_true", help="start a Tenfold for the purpose")
    parser.add_argument("--peers", default="bentoml,litserve")
    parser.add_argument("--cache", default="~/.cache/tenfold-bench", help="where the peers' environments are kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser.parse_args()


def answers(contestant: Contestant, body: bytes) -> bool:
    headers = {"Content-Type": "application/json"} | contestant.headers
    try:
        with urllib.request.urlopen(urllib.request.Request(contestant.url, body, headers), timeout=10) as answer:
            return "predictions" in json.load(answer)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready within {seconds:g} s")
        time.sleep(0.1)


def run(arguments: list[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments, done.stderr or done.stdout)
    return done.stdout


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason was given")[:200]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client_main(sys.argv[2:])
    else:
        main()
