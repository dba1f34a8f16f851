from __future__ import annotations

from typing import Any

import numpy as np

from .conftest import Notebook

NOTEBOOK = '''
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import again
import tenfold

Path("features.py").write_text("FACTOR = 2.0\\n\\ndef doubled(x):\\n    return x * FACTOR\\n")
import features

FLOOR = 1e-3


def floor():
    return FLOOR


class Logarithm(TransformerMixin, BaseEstimator):
    """Of a notebook: uses a function and a constant beside it."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.log(np.maximum(X, floor()))


def squared(X):
    return X**2


rows = np.random.default_rng(0)
people = pd.DataFrame({
    "age": rows.uniform(18, 80, 200),
    "income": rows.lognormal(10, 1, 200),
    "city": rows.choice(["Oslo", "Lima", "Kyiv"], 200),
})
buys = np.where(people.income * (people.city == "Oslo") > 9000, "yes", "no")
columns = ColumnTransformer([
    ("age", make_pipeline(FunctionTransformer(squared), StandardScaler()), ["age"]),
    ("income", make_pipeline(Logarithm(), FunctionTransformer(features.doubled)), ["income"]),
    ("city", OneHotEncoder(), ["city"]),
])
own = make_pipeline(columns, LogisticRegression()).fit(people, buys)
plain = LogisticRegression(max_iter=1000).fit(people[["age", "income"]], buys)

found = {}
for name, estimator, table in (("buyers", own, people), ("plain", plain, people[["age", "income"]])):
    model = tenfold.deploy(estimator, name, example=table.iloc[:3], app=False)
    found[name] = {
        "local": estimator.predict(table),
        "remote": model.predict(table),
        "local_shares": estimator.predict_proba(table),
        "shares": model.predict_proba(table),
        "schema": model.schema,
    }
split = {"columns": list(people), "data": people.iloc[:4].values.tolist()}
records = people.iloc[:4].to_dict("records")
bodies = [
    {"dataframe_split": split},
    {"dataframe_records": records},
    {"instances": records},
    {"inputs": {name: people[name].iloc[:4].tolist() for name in people}},
]
found["again"] = again.redeployed(tenfold.model("buyers")).predict(people)
found["bodies"] = [tenfold.model("buyers").raw(body)["predictions"] for body in bodies]
again.report(**found)
'''


def test_pipelines_with_code_of_the_notebook_answer_as_they_do_there(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(NOTEBOOK)
    for name in ("buyers", "plain"):
        one: dict[str, Any] = found[name]
        assert one["remote"] == one["local"]
        np.testing.assert_allclose(one["shares"], one["local_shares"], rtol=1e-12)  # sums in another order
        assert one["schema"]["output"] == {"kind": "classification", "classes": ["no", "yes"], "probabilities": True}
    assert found["again"] == found["buyers"]["local"]
    assert found["buyers"]["schema"]["fields"] == [
        {"name": "age", "type": "float"},
        {"name": "income", "type": "float"},
        {"name": "city", "type": "str", "choices": ["Kyiv", "Lima", "Oslo"]},
    ]
    assert found["bodies"] == [found["buyers"]["local"][:4]] * 4
