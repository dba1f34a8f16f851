"""How much memory models take that are alive at once: so many small scikit-learn models, each its own.

    python bench/density.py --models 50
    python bench/density.py --models 50 --packed    # they share workers (`packed=True`)

Memory is the proportional set size (what processes share counts in shares), of the workers with their supervisors, and
of everything else that `tenfold up` runs. All models answer before they are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness.processes import pss_bytes, scratch_folder
from harness.tables import machine, table
from harness.tenfold_up import Installation, quiet, settled, tenfold_up

import tenfold

MIB = 1024 * 1024


@dataclass(frozen=True)
class Memory:
    models: int
    workers: int
    rest: int

    def shown(self, first: Memory) -> list[str]:
        more = f"{(self.workers - first.workers) / (self.models - 1) / MIB:.1f}" if self.models > 1 else ""
        numbers = (self.workers, self.rest, self.workers + self.rest)
        return [str(self.models), *(f"{number / MIB:.0f}" for number in numbers), more]


def main() -> None:
    options = read_options()
    print((__doc__ or "").partition("\n\n    ")[0])
    print(f"\n{machine()}\n", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        installation = stack.enter_context(tenfold_up(folder / "tenfold"))
        client = stack.enter_context(tenfold.connect())
        models, took, seen = [], [], []
        for number in range(options.models):
            began = time.perf_counter()
            models.append(deploy(client, number, packed=options.packed))
            took.append(time.perf_counter() - began)
            if number + 1 in {1, 10, options.models}:
                seen.append(memory(installation, models))
                print(f"{number + 1} of {options.models}", file=sys.stderr, flush=True)
    head = ("models", "workers MiB", "the rest MiB", "total MiB", "MiB for each beyond the first")
    print(table(head, [one.shown(seen[0]) for one in seen], texts=0))
    print(
        f"\nA deploy took {statistics.median(took):.2f} s (median), the first, with its environment, {took[0]:.1f} s."
    )


def deploy(client: tenfold.Client, number: int, *, packed: bool) -> tuple[Any, Any, Any]:
    """A deployed model, the one it was made from, and some rows."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns, target = load_breast_cancer(return_X_y=True)
    chosen = np.random.default_rng(number).choice(len(columns), 400, replace=False)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(columns[chosen], target[chosen])
    options = {"app": False, "progress": quiet(), "packed": packed}
    deployed = client.deploy(model, f"small-{number}", example=columns[:2], **options)
    return deployed, model, columns[:5]


def memory(installation: Installation, models: list[tuple[Any, Any, Any]]) -> Memory:
    for deployed, model, rows in models:
        settled(deployed)
        if list(deployed.predict(rows)) != list(model.predict(rows)):
            raise SystemExit(f"{deployed.name} answers wrong.")
    workers = installation.worker_pids()
    return Memory(len(models), pss_bytes(workers), pss_bytes(installation.pids() - workers))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--packed", action="store_true", help="let them share workers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
