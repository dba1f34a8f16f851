"""Where an estimator compares its input, and which kinds are known well enough to look there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tenfold.packaging.adapters._landmarks import Unknown, landmarks

NAMES = ["a", "b", "c"]
ROWS = np.random.default_rng(0).integers(0, 11, size=(300, 3)) / 10
TWO = ROWS[:, 0] * 3 + ROWS[:, 1] > 2
THRESHOLD = 0.30000000000000004  # of one tenth added three times, as edges of bins are


def fitted(*steps: Any) -> Any:
    return make_pipeline(*steps).fit(ROWS, TWO)


def around(value: float) -> set[float]:
    low = np.float32(value)
    near = [np.nextafter(low, np.float32(end)) for end in (-1, 2)] + [np.nextafter(value, end) for end in (-1, 2)]
    return {float(one) for one in (value, low, *near)}


def test_a_threshold_is_tried_with_its_neighbours_and_as_people_round_it() -> None:
    found = landmarks(fitted(Binarizer(threshold=THRESHOLD), LogisticRegression()), NAMES)
    for name in NAMES:
        assert around(THRESHOLD) | around(0.3) <= set(found.points[name])


def test_every_edge_of_a_bin_is_tried() -> None:
    bins = fitted(KBinsDiscretizer(10, encode="ordinal", strategy="uniform"), Ridge())
    found = landmarks(bins, NAMES)
    for name, edges in zip(NAMES, bins[0].bin_edges_, strict=True):
        assert set(edges.tolist()) <= set(found.points[name])


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler((-3, 3)), RobustScaler()])
def test_what_comes_after_a_scaler_is_followed_back(scaler: Any) -> None:
    tree = fitted(scaler, DecisionTreeClassifier(max_depth=1))
    feature, threshold = tree[1].tree_.feature[0], tree[1].tree_.threshold[0]
    points = np.array(landmarks(tree, NAMES).points[NAMES[feature]])[:, None]
    row = np.repeat(points, 3, axis=1)
    assert np.abs(tree[0].transform(row)[:, feature] - threshold).min() < 1e-9
    sides = {bool(side) for side in tree[0].transform(row)[:, feature] <= threshold}
    assert sides == {True, False}


def test_columns_are_followed_through_what_chooses_and_fills_them() -> None:
    pipeline = fitted(
        ColumnTransformer([("kept", SimpleImputer(), [2, 0]), ("scaled", MinMaxScaler(), [1])]),
        SelectKBest(k=2),
        Binarizer(threshold=0.25),
        LogisticRegression(),
    )
    chosen = [["c", "a", "b"][at] for at in pipeline[1].get_support(indices=True)]
    found = landmarks(pipeline, NAMES)
    assert {name for name in NAMES if any(abs(one - 0.25) < 1e-12 for one in found.points[name])} >= {*chosen} - {"b"}


def test_knots_and_categories_are_tried() -> None:
    quantiles = fitted(QuantileTransformer(n_quantiles=10), Ridge())
    assert set(quantiles[0].quantiles_[:, 1].tolist()) <= set(landmarks(quantiles, NAMES).points["b"])
    encoded = fitted(OneHotEncoder(), LogisticRegression())
    assert set(encoded[0].categories_[2].tolist()) <= set(landmarks(encoded, NAMES).points["c"])


def test_rows_that_are_stored_come_back_whole() -> None:
    found = landmarks(fitted(StandardScaler(), KNeighborsClassifier()), NAMES)
    known = {tuple(row) for row in ROWS.tolist()}
    assert found.rows
    assert all(min(np.abs(np.array([*known]) - row).max(axis=1)) < 1e-9 for row in found.rows)
    assert found.exactly == ["KNeighborsClassifier"]


@pytest.mark.parametrize(
    ("steps", "exactly"),
    [
        ((StandardScaler(), SVC()), []),
        ((StandardScaler(), RandomForestClassifier(3, random_state=0)), []),
        ((PCA(2), RandomForestClassifier(3, random_state=0)), ["RandomForestClassifier"]),
        ((PCA(2), HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=5)), ["HistGradientBoostingRegressor"]),
        ((OneHotEncoder(sparse_output=False), StandardScaler(), RandomForestClassifier(3, random_state=0)), []),
    ],
)
def test_what_cannot_be_followed_back_must_be_computed_exactly(steps: Any, exactly: list[str]) -> None:
    assert landmarks(fitted(*steps), NAMES).exactly == exactly


class Cut(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    def fit(self, X: Any, y: Any = None) -> Cut:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X > 0.3


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ((Cut(), LogisticRegression()), "a Cut"),
        ((FunctionTransformer(np.floor), LogisticRegression()), "a function of its own"),
        ((PCA(2), Binarizer(), LogisticRegression()), "A Binarizer"),
        ((KMeans(3, n_init=1), KBinsDiscretizer(3, encode="ordinal"), LogisticRegression()), "A KBinsDiscretizer"),
    ],
)
def test_a_kind_whose_comparisons_are_not_known_is_refused(steps: Any, named: str) -> None:
    with pytest.raises(Unknown, match=named):
        landmarks(fitted(*steps), NAMES)
