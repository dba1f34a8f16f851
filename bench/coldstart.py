"""How long until the first answer: of a model that sleeps, of a model that is deployed, and of other servers.

    python bench/coldstart.py --times 20

"from zero": the environment is warm, the version has no replica; a call comes, wakes it, and is answered. "deploy": a
new version is packaged, sent, started and asked, its environment being there. Times are those of the caller; "beyond"
is what a call waits longer than the cold start that the model's page shows. The models are logistic regression on
arrays, and the pipeline of examples/wine.py, which takes pandas tables. The other servers are started with the same
logistic regression, by one command, their packages being there, and asked until the answer is right.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from harness.environments import ROOT
from harness.processes import pss_bytes, scratch_folder, wait_for
from harness.systems import SYSTEMS, Bench, train
from harness.tables import machine, table
from harness.tenfold_up import Installation, quiet, settled, tenfold_up
from harness.workloads import Workload

import tenfold

HEAD = ("", "times", "median ms", "p95 ms", "least ms", "most ms", "beyond: median ms", "most ms")
PEERS = ("bare", "fastapi", "bentoml", "litserve", "mlserver", "kserve", "truss")
PEERS_HEAD = ("", "times", "median ms", "least ms", "most ms", "x from zero", "MiB")
ASK_SECONDS = 0.01
MIB = 1024 * 1024

T = TypeVar("T")
ASLEEP_SECONDS = 120


def main() -> None:
    options = read_options()
    print((__doc__ or "").partition("\n\n    ")[0])
    print(f"\n{machine()}\n", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        stack.enter_context(tenfold_up(folder / "tenfold"))
        client = stack.enter_context(tenfold.connect())
        rows, woken = [], []
        for name, (model, example) in {"arrays": small(), "wine": wine()}.items():
            deploying = partial(deploy, client, model, name, example)
            deploying()  # builds the environment
            rows.append(row(f"{name}, deploy", times(options, deploying)))
            waited, beyond = from_zero(client, name, example, options)
            rows.append(row(f"{name}, from zero", waited) + shown(statistics.median(beyond), max(beyond)))
            woken.append(statistics.median(waited))
        print(table(HEAD, rows), flush=True)
        if options.peer_times:
            print(f"\n{table(PEERS_HEAD, peers(folder, options, woken[0]))}")


def small() -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns, target = load_breast_cancer(return_X_y=True)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(columns, target), columns[:2]


def wine() -> tuple[Any, Any]:
    sys.path.insert(0, str(ROOT / "examples"))
    from wine import train

    features, _, pipeline = train()
    return pipeline, features.iloc[:3]


def deploy(client: tenfold.Client, model: Any, name: str, example: Any) -> float:
    """Seconds from the call to the first answer."""
    began = time.perf_counter()
    deployed = client.deploy(model, name, example=example, alias="production", app=False, progress=quiet())
    right = list(model.predict(example))
    answered = list(deployed.predict(example))
    took = time.perf_counter() - began
    if answered != right:
        raise SystemExit(f"{name} answers {answered}, and should {right}.")
    settled(deployed)  # compiling it is no part of it, and would be in the way of the next
    return took


def from_zero(
    client: tenfold.Client, name: str, example: Any, options: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Seconds of each first answer, and how much of them is beyond the cold start that is shown."""
    model = client.model(name)
    client.patch("models", name, body={"replicas": {"min": 0, "max": 1}, "idle_seconds": 1})
    values = example.to_numpy() if hasattr(example, "to_numpy") else example
    body = json.dumps({"inputs": values.tolist()}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {client.profile.key}"}
    request = urllib.request.Request(f"{client.gateway_url}{model_path(client, name)}", body, headers)

    def once() -> tuple[float, float]:
        wait_for(lambda: is_asleep(client, model), ASLEEP_SECONDS, f"{name} did not fall asleep")
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answered = json.load(answer)
        took = time.perf_counter() - began
        if len(answered["predictions"]) != len(values):
            raise SystemExit(f"{name} answers {answered}.")
        return took, took - cold_start_shown(client, model)

    found = times(options, once)
    client.patch("models", name, body={"replicas": {"min": 1}})
    return [took for took, _ in found], [beyond for _, beyond in found]


def cold_start_shown(client: tenfold.Client, model: Any) -> float:
    replicas = client.get("models", model.name, "versions", model.version)["deployment"]["replicas"]
    return float(next(one["cold_start_seconds"] for one in replicas if one["state"] == "ready"))


def peers(folder: Path, options: argparse.Namespace, ours: float) -> list[list[str]]:
    """A row for each other server: from its start to its first right answer, and its memory then."""
    cache = Path(options.cache).expanduser()
    train(cache, folder, ["logistic"])
    workload = Workload("logistic", folder)
    took: dict[str, list[float]] = {name: [] for name in PEERS}
    memory: dict[str, int] = {}
    problems: dict[str, str] = {}
    for number in range(options.peer_times):
        for name in PEERS:
            with contextlib.ExitStack() as stack:
                one = next(SYSTEMS[name](Bench(workload, folder / f"peers-{number}", cache, stack, no_tenfold)))
                one.wait_until_right(workload, ASK_SECONDS)
                took[name].append(time.perf_counter() - one.began)
                memory[name] = pss_bytes(one.pids())
                problems |= {name: one.problem} if one.problem else {}
        print(f"others: round {number + 1} of {options.peer_times}", file=sys.stderr, flush=True)
    return [
        [name, problems[name]] if name in problems else peer_row(name, took[name], ours, memory[name]) for name in PEERS
    ]


def peer_row(name: str, seconds: list[float], ours: float, memory: int) -> list[str]:
    middle = statistics.median(seconds)
    times_ours = f"{middle / ours:.1f}"
    return [name, str(len(seconds)), *shown(middle, min(seconds), max(seconds)), times_ours, f"{memory / MIB:.0f}"]


def no_tenfold() -> Installation:
    raise AssertionError("none of the others asks for one")


def model_path(client: tenfold.Client, name: str) -> str:
    return f"/v1/{client.workspace}/models/{name}/predict"


def is_asleep(client: tenfold.Client, model: Any) -> bool:
    deployment = client.get("models", model.name, "versions", model.version)["deployment"]
    ended = all(replica["state"] in ("stopped", "failed") for replica in deployment["replicas"])
    return deployment["status"] == "asleep" and ended


def times(options: argparse.Namespace, once: Callable[[], T]) -> list[T]:
    return [once() for _ in range(options.times)]


def row(name: str, seconds: list[float]) -> list[str]:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return [name, str(len(ordered)), *shown(statistics.median(ordered), p95, ordered[0], ordered[-1])]


def shown(*seconds: float) -> list[str]:
    """In milliseconds."""
    return [f"{value * 1000:.0f}" for value in seconds]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--peer-times", type=int, default=5, help="how often each other server is started; 0: never")
    parser.add_argument("--cache", default="~/.cache/tenfold-bench", help="where the systems' environments are kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
