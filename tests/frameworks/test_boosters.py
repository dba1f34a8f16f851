from __future__ import annotations

from typing import Any

from .conftest import Notebook

TABLES = """
import numpy as np
import pandas as pd

import again
import tenfold

rows = np.random.default_rng(0)
people = pd.DataFrame({
    "age": rows.uniform(18, 80, 300),
    "children": rows.integers(0, 5, 300),
    "city": pd.Categorical(rows.choice(["Oslo", "Lima", "Kyiv"], 300)),
})
people.loc[7, "age"] = np.nan
buys = ((people.age > 40) ^ (people.city == "Oslo")).astype(int)
numbers = people[["age", "children"]]
amounts = numbers.age.fillna(30) * 2 + numbers.children


def compared(name, trained, table, local, shares=None):
    model = tenfold.deploy(trained, name, example=table.iloc[:3], app=False)
    found = {
        "local": local,
        "remote": model.predict(table),
        "schema": model.schema,
        "version": model.client.get("models", name, "versions", 1),
    }
    if shares is not None:
        copy = again.redeployed(model)
        found |= {"again": copy.predict(table), "local_shares": shares, "shares": model.predict_proba(table)}
    return found


"""
XGBOOST = (
    TABLES
    + """
import xgboost as xgb
from sklearn.pipeline import make_pipeline
from sklearn.impute import SimpleImputer

classifier = xgb.XGBClassifier(n_estimators=10, enable_categorical=True).fit(people, buys)
regressor = xgb.XGBRegressor(n_estimators=10).fit(numbers, amounts)
booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(numbers, buys), 5)
several = xgb.XGBClassifier(n_estimators=5, objective="multi:softmax").fit(numbers, people.children)
pipeline = make_pipeline(SimpleImputer(), xgb.XGBClassifier(n_estimators=5)).fit(numbers, buys)
again.report(
    classifier=compared(
        "xgb-classifier", classifier, people, classifier.predict(people), classifier.predict_proba(people)
    ),
    regressor=compared("xgb-regressor", regressor, numbers, regressor.predict(numbers)),
    booster=compared("xgb-booster", booster, numbers, booster.predict(xgb.DMatrix(numbers))),
    several=compared("xgb-several", several, numbers, several.predict(numbers)),
    pipeline=compared("xgb-pipeline", pipeline, numbers, pipeline.predict(numbers)),
)
"""
)
LIGHTGBM = (
    TABLES
    + """
import lightgbm as lgb

names = np.where(buys, "yes", "no")
classifier = lgb.LGBMClassifier(n_estimators=10, verbose=-1).fit(people, names)
regressor = lgb.LGBMRegressor(n_estimators=10, verbose=-1).fit(numbers, amounts)
booster = lgb.train({"objective": "regression", "verbose": -1}, lgb.Dataset(numbers, amounts), 5)
again.report(
    classifier=compared(
        "lgb-classifier", classifier, people, classifier.predict(people), classifier.predict_proba(people)
    ),
    regressor=compared("lgb-regressor", regressor, numbers, regressor.predict(numbers)),
    booster=compared("lgb-booster", booster, numbers, booster.predict(numbers)),
)
"""
)
CITY = {"name": "city", "type": "str", "nullable": True, "choices": ["Kyiv", "Lima", "Oslo"]}
NUMBERS = [{"name": "age", "type": "float", "nullable": True}, {"name": "children", "type": "int", "step": 1.0}]


def check(one: dict[str, Any], framework: str, fields: list[dict[str, Any]], output: dict[str, Any]) -> None:
    assert one["remote"] == one.get("again", one["remote"]) == one["local"]
    assert one.get("shares") == one.get("local_shares")
    assert (one["schema"]["fields"], one["schema"]["output"]) == (fields, output)
    assert one["version"]["framework"] == framework


def test_xgboost(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(XGBOOST)
    classes = {"kind": "classification", "classes": [0, 1], "probabilities": True}
    check(found["classifier"], "XGBoost", [*NUMBERS, CITY], classes)
    check(found["regressor"], "XGBoost", NUMBERS, {"kind": "regression"})
    check(found["booster"], "XGBoost", NUMBERS, {"kind": "regression", "name": "Probability"})
    check(found["several"], "XGBoost", NUMBERS, {**classes, "classes": [0, 1, 2, 3, 4]})
    check(found["pipeline"], "scikit-learn", NUMBERS, classes)
    requirements = found["classifier"]["version"]["environment"]["requirements"]
    assert [one.partition("=")[0] for one in requirements] == ["numpy", "pandas", "xgboost-cpu"]
    assert "data/model.ubj" in [one["path"] for one in found["classifier"]["version"]["files"]]


def test_lightgbm(run_in_notebook: Notebook) -> None:
    found = run_in_notebook(LIGHTGBM)
    classes = {"kind": "classification", "classes": ["no", "yes"], "probabilities": True}
    check(found["classifier"], "LightGBM", [*NUMBERS, CITY], classes)
    check(found["regressor"], "LightGBM", NUMBERS, {"kind": "regression"})
    check(found["booster"], "LightGBM", NUMBERS, {"kind": "regression"})
    assert "data/model.txt" in [one["path"] for one in found["classifier"]["version"]["files"]]
