"""From a fitted scikit-learn model to an endpoint and an app, in one call.

    tenfold up                    # in another terminal
    python examples/wine.py

Trains on scikit-learn's own wine data, deploys the pipeline as the model "wine-quality", then asks the endpoint about
all 178 wines and compares what it says with what the pipeline says here. Run it twice: the second deploy finds its
environment built, and is a new version of the same model.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import tenfold


def train() -> tuple[pd.DataFrame, np.ndarray, Pipeline]:
    """The wines, their cultivars, and a pipeline fitted to them."""
    data = load_wine(as_frame=True)
    names = np.array(["Barolo", "Grignolino", "Barbera"])
    features, cultivars = data.data, names[data.target]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return features, cultivars, pipeline.fit(features, cultivars)


def main() -> None:
    features, _, pipeline = train()
    began = time.perf_counter()
    wine = tenfold.deploy(
        pipeline,
        "wine-quality",
        example=features.iloc[:3],
        alias="production",
        description="Which of three cultivars a wine is made from, by its chemistry.",
    )
    print(f"Ready to predict {time.perf_counter() - began:.1f} s after the call to deploy.")

    predictions, probabilities = wine.predict(features), wine.predict_proba(features)
    same = int((predictions == pipeline.predict(features)).sum())
    difference = float(np.abs(probabilities - pipeline.predict_proba(features)).max())
    print(f"{same} of {len(features)} predictions through the endpoint equal the local ones.")
    print(f"The largest difference of a probability is {difference:g}.")
    if same != len(features) or difference > 0:
        raise SystemExit("The endpoint and the local pipeline do not agree.")


if __name__ == "__main__":
    main()
