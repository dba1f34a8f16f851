"""Trains what is asked for and leaves it in a folder: the model, one input, and the right answer to it.

python train.py FOLDER WORKLOAD...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from predictor import SHAPES, TYPES, Predictor


def estimator_of(workload: str) -> Any:
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns, target = load_breast_cancer(return_X_y=True)
    if workload == "forest":
        return RandomForestClassifier(100, random_state=0).fit(columns, target)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(columns, target)


def module_of(workload: str) -> Any:
    import torch
    from modules import MODULES

    torch.manual_seed(0)
    return MODULES[workload]().eval()


def one_input(workload: str) -> Any:
    if SHAPES[workload] == (30,):
        from sklearn.datasets import load_breast_cancer

        rows = load_breast_cancer().data[:1]
    else:
        rows = np.random.default_rng(0).integers(0, 256, (1, *SHAPES[workload])) / 255
    return rows.astype(TYPES[workload])


def main(folder: str, *workloads: str) -> None:
    for workload in workloads:
        if workload in ("mlp", "image"):
            import torch

            torch.save(module_of(workload).state_dict(), Path(folder, f"{workload}.pt"))
        else:
            import joblib

            joblib.dump(estimator_of(workload), Path(folder, f"{workload}.joblib"))
        rows = one_input(workload)
        np.save(Path(folder, f"{workload}.npy"), rows)
        answer = Predictor(workload, folder).answer(rows)
        Path(folder, f"{workload}.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
