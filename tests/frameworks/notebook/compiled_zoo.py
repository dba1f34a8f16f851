"""Packages each of many estimators, runs its compiler as a worker does, and prints what that says, one JSON a line.

Run in an environment with scikit-learn, skl2onnx and onnxruntime: `python compiled_zoo.py [NAME...]`.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tenfold.packaging.config import read_config
from tenfold.packaging.estimators import package_estimator


class Logarithm(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.log1p(np.abs(X))


wine = load_wine(as_frame=True)
X, A, y = wine.data, wine.data.to_numpy(), wine.target.to_numpy()
NAMES = np.array(["low", "mid", "high"])[y]
TWO = y > 0
Z = A[:, 9] * 2.5 + 0.1 * A[:, 12]
chance = np.random.default_rng(0)
people = pd.DataFrame(
    {
        "age": chance.integers(18, 80, 400),
        "income": chance.lognormal(10, 1, 400),
        "city": chance.choice(["Oslo", "Lima", "Kyiv"], 400),
        "member": chance.random(400) < 0.5,
        "kind": pd.Categorical(chance.choice(["a", "b"], 400)),
    }
)
buys = np.where(people.income * (people.city == "Oslo") > 9000, "yes", "no")
gaps = people.copy()
gaps.loc[chance.random(400) < 0.2, "income"] = np.nan
THREE = ["age", "income", "city"]
ROUND = chance.integers(0, 11, size=(400, 3)) / 10  # of one decimal, as the edges and the threshold are
JUMPS = ROUND @ [3, 1, 2] + 5 * (ROUND[:, 0] >= 0.3)
TWO_COLUMNS = ["age", "income"]


def scaled(*steps):
    return make_pipeline(StandardScaler(), *steps)


def logistic():
    return LogisticRegression(max_iter=500)


def by_kind(numbers=None, texts=None, of_numbers=("age", "income"), of_texts=("city",)):
    steps = [
        ("numbers", numbers or StandardScaler(), list(of_numbers)),
        ("texts", texts or OneHotEncoder(), list(of_texts)),
    ]
    return ColumnTransformer(steps)


def forest(count=20):
    return RandomForestClassifier(count, random_state=0)


ZOO = {
    "logistic": (logistic, A, NAMES),
    "logistic of a frame": (logistic, X, NAMES),
    "logistic of float32": (logistic, A.astype("float32"), y),
    "logistic of two": (logistic, A, TWO),
    "logistic of numbered classes": (logistic, A, y.astype(float)),
    "linear": (LinearRegression, A, Z),
    "linear, two targets": (LinearRegression, A, np.c_[Z, Z * 2]),
    "ridge": (Ridge, X, Z),
    "lasso": (Lasso, A, Z),
    "sgd": (lambda: scaled(SGDClassifier(loss="log_loss", random_state=0)), A, y),
    "ridge classifier": (RidgeClassifier, A, y),
    "poisson": (lambda: scaled(PoissonRegressor()), A, Z),
    "svc": (SVC, A, NAMES),
    "svc, scaled": (lambda: scaled(SVC()), A, NAMES),
    "svc, linear": (LinearSVC, A, y),
    "svr": (lambda: scaled(SVR()), A, Z),
    "svr, linear": (LinearSVR, A, Z),
    "tree": (lambda: DecisionTreeClassifier(random_state=0), A, NAMES),
    "tree, regressor": (lambda: DecisionTreeRegressor(random_state=0), A, Z),
    "forest": (lambda: forest(40), A, NAMES),
    "forest of a frame": (forest, X, y),
    "forest, regressor": (lambda: RandomForestRegressor(20, random_state=0), A, Z),
    "extra trees": (lambda: ExtraTreesClassifier(30, random_state=0), A, y),
    "boosting": (lambda: GradientBoostingClassifier(n_estimators=30, random_state=0), A, NAMES),
    "boosting of two": (lambda: GradientBoostingClassifier(n_estimators=30, random_state=0), A, TWO),
    "boosting, regressor": (lambda: GradientBoostingRegressor(n_estimators=30, random_state=0), A, Z),
    "histograms": (lambda: HistGradientBoostingClassifier(max_iter=30, random_state=0), A, NAMES),
    "histograms of two": (lambda: HistGradientBoostingClassifier(max_iter=30, random_state=0), A, TWO),
    "histograms, regressor": (lambda: HistGradientBoostingRegressor(max_iter=30, random_state=0), A, Z),
    "histograms with gaps": (
        lambda: HistGradientBoostingClassifier(max_iter=30, random_state=0),
        gaps[TWO_COLUMNS],
        buys,
    ),
    "ada": (lambda: AdaBoostClassifier(n_estimators=20, random_state=0), A, y),
    "bagging": (lambda: BaggingClassifier(random_state=0), A, y),
    "voting": (
        lambda: VotingClassifier([("a", logistic()), ("b", DecisionTreeClassifier(random_state=0))], voting="soft"),
        A,
        y,
    ),
    "stacking": (
        lambda: StackingClassifier([("a", logistic()), ("b", DecisionTreeClassifier(random_state=0))]),
        A,
        y,
    ),
    "isolation": (lambda: IsolationForest(n_estimators=20, random_state=0), A, None),
    "neighbours": (KNeighborsClassifier, A, y),
    "neighbours, scaled": (lambda: scaled(KNeighborsClassifier()), A, NAMES),
    "neighbours, regressor": (lambda: scaled(KNeighborsRegressor()), A, Z),
    "network": (lambda: scaled(MLPClassifier(hidden_layer_sizes=(20,), max_iter=200, random_state=0)), A, NAMES),
    "network, regressor": (lambda: scaled(MLPRegressor(hidden_layer_sizes=(20,), max_iter=200, random_state=0)), A, Z),
    "bayes": (GaussianNB, A, y),
    "discriminant": (LinearDiscriminantAnalysis, A, y),
    "clusters": (lambda: KMeans(n_clusters=3, n_init=1, random_state=0), A, None),
    "calibrated": (lambda: CalibratedClassifierCV(LinearSVC(), cv=3), A, y),
    "components": (lambda: scaled(PCA(4), logistic()), A, y),
    "selected": (lambda: make_pipeline(SelectKBest(k=5), logistic()), A, y),
    "polynomial": (lambda: scaled(PolynomialFeatures(2), Ridge()), A, Z),
    "scaled forest": (lambda: scaled(forest()), A, NAMES),
    "minmax": (lambda: make_pipeline(MinMaxScaler(), logistic()), X, NAMES),
    "robust": (lambda: make_pipeline(RobustScaler(), Ridge()), X, Z),
    "power": (lambda: make_pipeline(PowerTransformer(), Ridge()), A, Z),
    "quantile": (lambda: make_pipeline(QuantileTransformer(n_quantiles=10), Ridge()), A, Z),
    "bins": (lambda: make_pipeline(KBinsDiscretizer(quantile_method="averaged_inverted_cdf"), Ridge()), A, Z),
    "bins of round data": (
        lambda: make_pipeline(KBinsDiscretizer(10, encode="onehot-dense", strategy="uniform"), Ridge()),
        ROUND,
        JUMPS,
    ),
    "numbered bins of round data": (
        lambda: make_pipeline(KBinsDiscretizer(10, encode="ordinal", strategy="uniform"), Ridge()),
        ROUND,
        JUMPS,
    ),
    "threshold on round data": (lambda: make_pipeline(Binarizer(threshold=0.3), logistic()), ROUND, JUMPS > 4),
    "threshold of a column": (
        lambda: make_pipeline(
            ColumnTransformer([("first", Binarizer(threshold=0.7), [0])], remainder="passthrough"), logistic()
        ),
        ROUND,
        JUMPS > 4,
    ),
    "scaled threshold": (lambda: scaled(Binarizer(threshold=0.3), logistic()), ROUND, JUMPS > 4),
    "components and a forest": (lambda: scaled(PCA(4), forest()), A, y),
    "polynomial and a forest": (lambda: make_pipeline(PolynomialFeatures(2), forest()), A, y),
    "heavy tail": (
        lambda: GradientBoostingRegressor(random_state=0),
        ROUND,
        np.exp(18 * ROUND[:, 0] + chance.normal(size=400)),
    ),
    "normalizer": (lambda: make_pipeline(Normalizer(), logistic()), A, y),
    "scaler alone": (StandardScaler, A, None),
    "transformed target": (lambda: TransformedTargetRegressor(Ridge(), transformer=StandardScaler()), A, Z),
    "search": (lambda: GridSearchCV(logistic(), {"C": [0.1, 1]}), A, NAMES),
    "imputer": (lambda: make_pipeline(SimpleImputer(), StandardScaler(), logistic()), gaps[TWO_COLUMNS], buys),
    "imputer with indicator": (
        lambda: make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), logistic()),
        gaps[TWO_COLUMNS],
        buys,
    ),
    "imputer by neighbours": (lambda: make_pipeline(KNNImputer(), logistic()), gaps[TWO_COLUMNS], buys),
    "columns": (lambda: make_pipeline(by_kind(), logistic()), people[THREE], buys),
    "columns, unknown ignored": (
        lambda: make_pipeline(by_kind(texts=OneHotEncoder(handle_unknown="ignore")), logistic()),
        people[THREE],
        buys,
    ),
    "columns and a forest": (lambda: make_pipeline(by_kind(), forest()), people[THREE], buys),
    "columns with gaps": (
        lambda: make_pipeline(by_kind(make_pipeline(SimpleImputer(strategy="median"), StandardScaler())), logistic()),
        gaps[THREE],
        buys,
    ),
    "columns, ordinal": (
        lambda: make_pipeline(by_kind(texts=OrdinalEncoder()), GradientBoostingClassifier(n_estimators=10)),
        people[THREE],
        buys,
    ),
    "columns, ordinal with unknown": (
        lambda: make_pipeline(
            by_kind(texts=OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
            GradientBoostingClassifier(n_estimators=10),
        ),
        people[THREE],
        buys,
    ),
    "columns of every type": (
        lambda: make_pipeline(by_kind(of_texts=("city", "kind"), of_numbers=("age", "income", "member")), logistic()),
        people,
        buys,
    ),
    "columns passed on": (
        lambda: make_pipeline(
            ColumnTransformer([("texts", OneHotEncoder(), ["city"])], remainder="passthrough"), Ridge()
        ),
        people[THREE],
        people.income.to_numpy(),
    ),
    "columns, whole numbers as classes": (
        lambda: make_pipeline(
            by_kind(texts=OneHotEncoder(handle_unknown="ignore"), of_numbers=("income",), of_texts=("age",)),
            logistic(),
        ),
        people[TWO_COLUMNS],
        buys,
    ),
    "columns dropped": (
        lambda: make_pipeline(ColumnTransformer([("texts", OneHotEncoder(), ["city"])]), logistic()),
        people[THREE],
        buys,
    ),
    "columns with other names": (
        lambda: make_pipeline(by_kind(of_numbers=("age in years", "1st income"), of_texts=("the city",)), logistic()),
        people[THREE].set_axis(["age in years", "1st income", "the city"], axis=1),
        buys,
    ),
    "columns of an array": (
        lambda: make_pipeline(
            ColumnTransformer([("a", StandardScaler(), [0, 1, 2]), ("b", MinMaxScaler(), slice(3, 8))]), logistic()
        ),
        A,
        y,
    ),
    "own step": (lambda: make_pipeline(Logarithm(), logistic()), A, y),
    "own function": (lambda: make_pipeline(FunctionTransformer(np.log1p), logistic()), A, y),
    "frames between steps": (
        lambda: make_pipeline(StandardScaler().set_output(transform="pandas"), logistic()),
        X,
        y,
    ),
    "several outputs": (lambda: RandomForestClassifier(5, random_state=0), A, np.c_[y, y > 1]),
}


def compiled(estimator, example):
    """What the package's compiler answers, imported as a worker imports it."""
    root = Path(tempfile.mkdtemp())
    package_estimator(estimator, "of-the-zoo", root, example=example)
    for name in [name for name in sys.modules if name.partition(".")[0] == "model"]:
        del sys.modules[name]
    sys.modules.pop("notebook_code", None)
    sys.path[:0] = [str(root), str(root / "packages")]
    importlib.invalidate_caches()
    try:
        config = read_config(root)
        compiler = importlib.import_module("model._compiling").Compiler(config, str(root / "data"))
        compiler.load()
        answer = compiler.predict()
    finally:
        del sys.path[:2]
        shutil.rmtree(root)
    return {**answer, "files": {name: len(content) for name, content in answer["files"].items()}}


def main() -> None:
    warnings.simplefilter("ignore")
    for name in sys.argv[1:] or ZOO:
        make, table, target = ZOO[name]
        estimator = make().fit(table) if target is None else make().fit(table, target)
        started = time.monotonic()
        answer = compiled(estimator, table[:3])
        told = {"name": name, "took": round(time.monotonic() - started, 1), **answer}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
