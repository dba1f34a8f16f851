"""How long until the first answer: of a model that sleeps, and of a model that is deployed.

    python bench/coldstart.py --times 20

"from zero": the environment is warm, the version has no replica; a call comes, wakes it, and is answered. "deploy": a
new version is packaged, sent, started and asked, its environment being there. Times are those of the caller. The models
are logistic regression on arrays, and the pipeline of examples/wine.py, which takes pandas tables.
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
from typing import Any

from harness.environments import ROOT
from harness.processes import scratch_folder, wait_for
from harness.tables import machine, table
from harness.tenfold_up import quiet, settled, tenfold_up

import tenfold

HEAD = ("", "times", "median ms", "p95 ms", "least ms", "most ms")
ASLEEP_SECONDS = 120


def main() -> None:
    options = read_options()
    print((__doc__ or "").partition("\n\n    ")[0])
    print(f"\n{machine()}\n", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        stack.enter_context(tenfold_up(folder / "tenfold"))
        client = stack.enter_context(tenfold.connect())
        rows = []
        for name, (model, example) in {"arrays": small(), "wine": wine()}.items():
            deploying = partial(deploy, client, model, name, example)
            deploying()  # builds the environment
            rows.append(row(f"{name}, deploy", times(options, deploying)))
            rows.append(row(f"{name}, from zero", from_zero(client, name, example, options)))
        print(table(HEAD, rows))


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


def from_zero(client: tenfold.Client, name: str, example: Any, options: argparse.Namespace) -> list[float]:
    model = client.model(name)
    client.patch("models", name, body={"replicas": {"min": 0, "max": 1}, "idle_seconds": 1})
    values = example.to_numpy() if hasattr(example, "to_numpy") else example
    body = json.dumps({"inputs": values.tolist()}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {client.profile.key}"}
    request = urllib.request.Request(f"{client.gateway_url}{model_path(client, name)}", body, headers)

    def once() -> float:
        wait_for(lambda: is_asleep(client, model), ASLEEP_SECONDS, f"{name} did not fall asleep")
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answered = json.load(answer)
        took = time.perf_counter() - began
        if len(answered["predictions"]) != len(values):
            raise SystemExit(f"{name} answers {answered}.")
        return took

    found = times(options, once)
    client.patch("models", name, body={"replicas": {"min": 1}})
    return found


def model_path(client: tenfold.Client, name: str) -> str:
    return f"/v1/{client.workspace}/models/{name}/predict"


def is_asleep(client: tenfold.Client, model: Any) -> bool:
    deployment = client.get("models", model.name, "versions", model.version)["deployment"]
    ended = all(replica["state"] in ("stopped", "failed") for replica in deployment["replicas"])
    return deployment["status"] == "asleep" and ended


def times(options: argparse.Namespace, once: Callable[[], float]) -> list[float]:
    return [once() for _ in range(options.times)]


def row(name: str, seconds: list[float]) -> list[str]:
    ordered = sorted(value * 1000 for value in seconds)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    shown = (statistics.median(ordered), p95, ordered[0], ordered[-1])
    return [name, str(len(ordered)), *(f"{value:.0f}" for value in shown)]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
