"""Asks a model and its compiled form for the same, together and alone, and prints where they differ, as one JSON.

Run in an environment with scikit-learn, skl2onnx and onnxruntime.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tenfold.packaging.config import read_config
from tenfold.packaging.estimators import package_estimator

chance = np.random.default_rng(1)
table = pd.DataFrame({"f": chance.uniform(0, 10, 400).astype("float32"), "g": chance.uniform(0, 10, 400)})
table.loc[:20, "f"] = np.nan
words = pd.DataFrame({"a": chance.uniform(0, 10, 400), "s": chance.choice(["x", "y", "zz"], 400)})


def with_gaps():
    """Another caller's gap must not change the type in which one's own numbers of float32 are read."""
    model = HistGradientBoostingClassifier(max_iter=20).fit(table, (table.f > 5) ^ (table.g > 8))
    nodes = [tree.nodes for group in model._predictors for tree in group]
    splits = {
        float(one["num_threshold"]) for tree in nodes for one in tree if not one["is_leaf"] and not one["feature_idx"]
    }
    rows = [[split * (1 + by), 0.3] for split in sorted(splits) for by in (0, 3e-8, -3e-8)]
    return model, table[18:24], [([row], [[None, 0.3]]) for row in rows]


def with_texts():
    """A lone surrogate is a text that JSON can carry, and that no graph can."""
    columns = ColumnTransformer([("n", StandardScaler(), ["a"]), ("s", OneHotEncoder(handle_unknown="ignore"), ["s"])])
    model = make_pipeline(columns, LogisticRegression()).fit(words, (words.a > 5) ^ (words.s == "x"))
    texts = ["x", "never seen", "\ud800", "x\udfff", "", "x\0", "e\u0301"]
    return model, words[:3], [([[3.0, text]], [[3.0, "x"], [3.0, "\ud800"]]) for text in texts]


def forms(estimator, example):
    """The model as it was deployed, and as it was compiled, both as a worker imports them."""
    root = Path(tempfile.mkdtemp())
    package_estimator(estimator, "asked", root, example=example)
    for name in [name for name in sys.modules if name.partition(".")[0] == "model"]:
        del sys.modules[name]
    sys.path[:0] = [str(root), str(root / "packages")]
    importlib.invalidate_caches()
    try:
        config = read_config(root)
        made = importlib.import_module("model._compiling")
        original = importlib.import_module("model.model").Model(config, str(root / "data"))
        original.load()
        answer = made.compile_model(original, config)
        if answer["state"] != "proven":
            raise SystemExit(answer["reason"])
        for name, content in answer["files"].items():
            (root / "data" / name).write_bytes(content)
        twin = importlib.import_module("model._compiled").Model(config, str(root / "data"))
        twin.load()
    finally:
        del sys.path[:2]
        shutil.rmtree(root)
    return original, twin


def main() -> None:
    warnings.simplefilter("ignore")
    different, asked = [], 0
    for make in (with_gaps, with_texts):
        estimator, example, calls = make()
        original, twin = forms(estimator, example)
        for own, others in calls:
            asked += 1
            alone, told = twin.predict({"inputs": own}), original.predict({"inputs": own})
            together = twin.predict_batch([{"inputs": own}, {"inputs": others}])[0]
            if isinstance(together, Exception) or together != alone:
                different.append([make.__name__, own, "together", str(together), str(alone)])
            if not np.allclose(alone["probabilities"], told["probabilities"], rtol=0, atol=1e-6):
                different.append([make.__name__, own, "alone", str(alone), str(told)])
    sys.stdout.write(json.dumps({"asked": asked, "different": different}) + "\n")


if __name__ == "__main__":
    main()
