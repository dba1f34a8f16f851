"""Deploys models to a Tenfold, as somebody in a notebook would, in an environment that has the frameworks.

python deploy.py FOLDER '[{"workload": "mlp", "name": "mlp", "options": {...}}, ...]'; prints a list as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from harness.tenfold_up import quiet, settled

import tenfold


def model_of(workload: str, folder: str) -> Any:
    if workload in ("mlp", "image"):
        import torch
        from modules import MODULES

        module = MODULES[workload]()
        module.load_state_dict(torch.load(Path(folder, f"{workload}.pt"), weights_only=True))
        return module.eval()
    import joblib

    return joblib.load(Path(folder, f"{workload}.joblib"))


def deploy(client: tenfold.Client, folder: str, workload: str, name: str, options: dict[str, Any]) -> dict[str, Any]:
    rows = np.load(Path(folder, f"{workload}.npy"))
    example = np.concatenate([rows, rows])
    model = client.deploy(model_of(workload, folder), name, example=example, app=False, progress=quiet(), **options)
    settled(model)
    base = f"{client.gateway_url}/v1/{client.workspace}"
    assert model.schema is not None
    return {
        "name": name,
        "url": f"{base}/models/{name}/predict",
        "infer_url": f"{base}/v2/models/{name}/infer",
        "input": model.schema.fields[0].name,
    }


def main(folder: str, wanted: str) -> None:
    with tenfold.connect() as client:
        print(json.dumps([deploy(client, folder, **one) for one in json.loads(wanted)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
