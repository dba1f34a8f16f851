"""Where a fitted scikit-learn estimator changes its mind: values and rows worth trying. Python 3.9 and later.

Only kinds of estimators whose every comparison with the input is known here have landmarks: a rounding shows at a
threshold and nowhere else, so one that nobody knows of is one that no proof looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Union

import numpy

MOST_POINTS = 1500  # of a column
MOST_EDGES = 40  # thresholds of one step for a column; each is tried with its neighbours
MOST_ROWS = 64
DECIMALS = range(7)  # to so many people round their data


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.split())


CONTINUOUS = _kinds(
    """
    LinearRegression Ridge RidgeCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC ElasticNet ElasticNetCV Lars LarsCV
    OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV BayesianRidge ARDRegression HuberRegressor TheilSenRegressor
    QuantileRegressor PoissonRegressor GammaRegressor TweedieRegressor MultiTaskLasso MultiTaskLassoCV
    MultiTaskElasticNet MultiTaskElasticNetCV LogisticRegression LogisticRegressionCV RidgeClassifier RidgeClassifierCV
    SGDClassifier SGDRegressor Perceptron PassiveAggressiveClassifier PassiveAggressiveRegressor SVC NuSVC LinearSVC SVR
    NuSVR LinearSVR OneClassSVM MLPClassifier MLPRegressor GaussianNB MultinomialNB ComplementNB
    LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis GaussianProcessRegressor GaussianProcessClassifier
    GaussianMixture BayesianGaussianMixture KMeans MiniBatchKMeans BisectingKMeans PLSRegression PCA IncrementalPCA
    TruncatedSVD KernelPCA FastICA StandardScaler MinMaxScaler MaxAbsScaler RobustScaler PowerTransformer Normalizer
    PolynomialFeatures
    """
)
"""Their answers have no jumps, but for the class that a score names: nothing to find but where the input lies."""

ONE_TO_ONE = frozenset({"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "PowerTransformer"})
ONE_TO_ONE |= {"QuantileTransformer"}
SELECTORS = _kinds(
    """
    VarianceThreshold SelectKBest SelectPercentile SelectFpr SelectFdr SelectFwe GenericUnivariateSelect SelectFromModel
    RFE RFECV SequentialFeatureSelector
    """
)
ENCODERS = frozenset({"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"})
NEIGHBOURS = frozenset({"KNeighborsClassifier", "KNeighborsRegressor", "NearestCentroid"})
TREES = _kinds(
    """
    DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor RandomForestClassifier
    RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor GradientBoostingClassifier GradientBoostingRegressor
    HistGradientBoostingClassifier HistGradientBoostingRegressor IsolationForest
    """
)
OF_OTHERS = _kinds(
    """
    VotingClassifier VotingRegressor StackingClassifier StackingRegressor BaggingClassifier BaggingRegressor
    AdaBoostClassifier AdaBoostRegressor CalibratedClassifierCV OneVsRestClassifier OneVsOneClassifier
    MultiOutputRegressor
    """
)
LIKE_ROWS = ("_fit_X", "support_vectors_", "cluster_centers_", "centroids_", "theta_", "means_")
CENTRES = ("mean_", "center_", "data_min_", "data_max_", "statistics_")


class Unknown(Exception):
    """An estimator compares its input with something that is not known here; the message says which."""


@dataclass
class Landmarks:
    """points: values by column. rows: whole ones that the estimator has stored, in the order of the columns; NaN
    where one says nothing. exactly: kinds that compare what cannot be followed back to a column, or distances: they
    hold only while their input is computed as the original computes it.
    """

    points: dict[str, list[Any]]
    rows: list[list[float]] = field(default_factory=list)
    exactly: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Column:
    """A column that a step sees, which is one of the input's after the steps of `back`."""

    name: str
    back: tuple[Callable[[Any], Any], ...] = ()

    def original(self, values: Any) -> Any:
        for step in reversed(self.back):
            values = step(values)
        return values


CODE = "code"  # a column of few values, which are the same in any type of number
_Seen = Union[_Column, str, None]  # noqa: UP007 (X | Y came with 3.10); None: made of several columns
_Columns = Union[list[_Seen], None]  # noqa: UP007 (the same); None: so many of these that nobody knows


def landmarks(estimator: Any, names: list[str]) -> Landmarks:
    """Thresholds, centres, scales, categories and stored rows, at each step and followed back to the input. Raises
    Unknown.
    """
    found = Landmarks({name: [] for name in names})
    columns: _Columns = [_Column(name) for name in names]
    _walk(estimator, columns, found)
    chance = numpy.random.default_rng(0)
    for name, points in found.points.items():
        if len(points) > MOST_POINTS:
            kept = chance.permutation(len(points))[:MOST_POINTS]
            found.points[name] = [points[at] for at in sorted(kept.tolist())]
    del found.rows[MOST_ROWS:]
    return found


def _walk(step: Any, columns: _Columns, found: Landmarks) -> _Columns:
    """Notes what the step compares; returns the columns that it gives."""
    step = getattr(step, "best_estimator_", step)
    if isinstance(step, str):
        return columns  # passthrough
    kind = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        raise Unknown(f"It holds a {kind}, and what that compares its input with is not known.")
    if kind == "Pipeline":
        for _, one in step.steps:
            columns = columns if one is None else _walk(one, columns, found)
        return columns
    if kind == "ColumnTransformer":
        return _of_columns(step, columns, found)
    if kind == "FeatureUnion":
        return _joined([_walk(one, columns, found) for _, one in step.transformer_list if one != "drop"])
    if kind in OF_OTHERS:
        _of_others(step, columns, found)
        return None
    return _of_step(step, kind, columns, found)


def _joined(parts: list[_Columns]) -> _Columns:
    known = [part for part in parts if part is not None]
    return [one for part in known for one in part] if len(known) == len(parts) else None


def _of_columns(step: Any, columns: _Columns, found: Landmarks) -> _Columns:
    given: list[_Seen] = [None] * max((part.stop for part in step.output_indices_.values()), default=0)
    names = list(getattr(step, "feature_names_in_", ()))
    for name, transformer, selected in step.transformers_:
        inside = None if columns is None else [columns[at] for at in _selected(selected, names, len(columns))]
        if (isinstance(transformer, str) and transformer == "drop") or inside == []:
            continue
        out = _walk(transformer, inside, found)
        place = step.output_indices_.get(name)
        if out is not None and place is not None and place.stop - place.start == len(out):
            given[place] = out
    return given


def _selected(selected: Any, names: list[str], count: int) -> list[int]:
    if isinstance(selected, str):
        return [names.index(selected)]
    if isinstance(selected, slice):
        ends = [names.index(one) if isinstance(one, str) else one for one in (selected.start, selected.stop)]
        last = ends[1] + 1 if isinstance(selected.stop, str) else ends[1]  # names include their end
        return list(range(count)[slice(ends[0], last, selected.step)])
    listed = numpy.asarray(selected)
    if listed.dtype == bool:
        listed = numpy.flatnonzero(listed)
    return [range(count)[one] if isinstance(one, int) else names.index(str(one)) for one in listed.tolist()]


def _of_others(step: Any, columns: _Columns, found: Landmarks) -> None:
    inner = numpy.asarray(getattr(step, "estimators_", []), dtype="object").ravel().tolist()
    inner += [one.estimator for one in getattr(step, "calibrated_classifiers_", [])]
    chosen = getattr(step, "estimators_features_", None)
    for number, one in enumerate(inner):
        if isinstance(one, str):  # a dropped one
            continue
        seen = columns
        if chosen is not None and columns is not None:
            seen = [columns[at] for at in numpy.asarray(chosen[number]).tolist()]
        _walk(one, seen, found)
    final = getattr(step, "final_estimator_", None)
    if final is not None:
        _walk(final, None, found)


def _of_step(step: Any, kind: str, columns: _Columns, found: Landmarks) -> _Columns:
    if kind in TREES:
        _of_trees(step, kind, columns, found)
        return None
    _note_centres(step, columns, found)
    if kind in NEIGHBOURS and kind not in found.exactly:
        found.exactly.append(kind)
    if kind in CONTINUOUS | NEIGHBOURS | SELECTORS or kind == "SimpleImputer":
        pass
    elif kind == "FunctionTransformer":
        if step.func is not None:
            raise Unknown("It holds a function of its own, and what that compares its input with is not known.")
    elif kind in ENCODERS:
        _note_categories(step, columns, found)
    elif (edges := _edges(step, kind)) is not None:
        _note_edges(kind, edges, columns, found)
    else:
        raise Unknown(f"It holds a {kind}, and what that compares its input with is not known.")
    return _given(step, kind, columns)


def _edges(step: Any, kind: str) -> Any:
    """What each column is compared with, one list for each or one for all."""
    if kind == "Binarizer":
        return [step.threshold]
    if kind == "BernoulliNB":
        return [] if step.binarize is None else [step.binarize]
    if kind == "KBinsDiscretizer":
        return list(step.bin_edges_)
    if kind == "QuantileTransformer":
        return list(numpy.asarray(step.quantiles_).T)
    if kind == "SplineTransformer":
        return [one.t for one in step.bsplines_]
    if kind == "IsotonicRegression":
        return [step.X_thresholds_]
    return None


def _given(step: Any, kind: str, columns: _Columns) -> _Columns:
    """The columns that come after the step, as far as they can be followed."""
    if kind in ENCODERS or kind in ("Binarizer", "KBinsDiscretizer"):
        names = step.get_feature_names_out() if kind != "TargetEncoder" else []
        count = len(names) or (0 if columns is None else len(columns))
        return [CODE] * count
    if columns is None:
        return None
    if kind in ONE_TO_ONE:
        return [_scaled(step, at, one, len(columns)) for at, one in enumerate(columns)]
    if kind == "FunctionTransformer":
        return columns
    if kind in SELECTORS:
        return [columns[at] for at in step.get_support(indices=True).tolist()]
    if kind == "SimpleImputer":
        kept = [one for one, value in zip(columns, step.statistics_) if value == value]  # noqa: B905, PLR0124 (not NaN)
        return kept if step.indicator_ is None and len(kept) == len(columns) else None
    return None


def _scaled(step: Any, at: int, column: _Seen, count: int) -> _Seen:
    def back(values: Any) -> Any:
        table = numpy.zeros((len(values), count))
        table[:, at] = values
        with numpy.errstate(all="ignore"):
            return numpy.asarray(step.inverse_transform(table))[:, at]

    return _Column(column.name, (*column.back, back)) if isinstance(column, _Column) else column


# --- noting what was found


def _note_edges(kind: str, edges: list[Any], columns: _Columns, found: Landmarks) -> None:
    if columns is None or any(one is None for one in columns):
        raise Unknown(f"A {kind} compares values that several columns were put together for.")
    for at, column in enumerate(columns):
        if isinstance(column, _Column) and edges:
            _note(column, edges[at if len(edges) > 1 else 0], found)


def _note(column: _Column, edges: Iterable[Any], found: Landmarks) -> None:
    """Each threshold with its neighbours, in the column that is compared and in the input's."""
    points = numpy.unique(numpy.asarray(edges, dtype="float64").ravel())
    points = points[numpy.isfinite(points)]
    most = MOST_EDGES // 4 if column.back else MOST_EDGES
    if len(points) > most:
        points = points[numpy.unique(numpy.linspace(0, len(points) - 1, most).astype(int))]
    if column.back:
        points = column.original(_neighbours(points))
        points = points[numpy.isfinite(points)]
    rounded = [numpy.round(points, digits) for digits in DECIMALS]
    found.points[column.name] += numpy.unique(_neighbours(numpy.concatenate([points, *rounded]))).tolist()


def _neighbours(points: Any) -> Any:
    """The points, and those right below and above, in both types: there a rounding shows."""
    with numpy.errstate(over="ignore"):
        low = points.astype("float32")
        around = [numpy.nextafter(low, numpy.float32(end)) for end in (-numpy.inf, numpy.inf)]
        around += [numpy.nextafter(points, end) for end in (-numpy.inf, numpy.inf)]
    near = numpy.concatenate([points, low, *around]).astype("float64")
    return near[numpy.isfinite(near)]


def _note_centres(step: Any, columns: _Columns, found: Landmarks) -> None:
    if columns is None:
        return
    scale = _of_length(step, "scale_", len(columns))
    for key in CENTRES:
        centre = _of_length(step, key, len(columns))
        if centre is None:
            continue
        for at, column in enumerate(columns):
            width = 0.0 if scale is None else scale[at]
            factors = (-3.0, -1.0, 0.0, 1.0, 3.0) if width else (0.0,)
            _add(column, [centre[at] + width * factor for factor in factors], found)
    for key in LIKE_ROWS:
        rows = getattr(step, key, None)
        if not isinstance(rows, numpy.ndarray) or rows.ndim != 2 or rows.shape[1] != len(columns):
            continue
        whole = numpy.full((len(rows[:: max(1, len(rows) // 20)]), len(found.points)), numpy.nan)
        for at, column in enumerate(columns):
            if isinstance(column, _Column):
                values = column.original(rows[:: max(1, len(rows) // 20), at].astype("float64"))
                whole[:, list(found.points).index(column.name)] = values
                found.points[column.name] += values[numpy.isfinite(values)].tolist()
        found.rows += whole.tolist()


def _add(column: _Seen, values: list[float], found: Landmarks) -> None:
    if isinstance(column, _Column):
        points = column.original(numpy.asarray(values, dtype="float64"))
        found.points[column.name] += points[numpy.isfinite(points)].tolist()


def _of_length(step: Any, key: str, count: int) -> list[float] | None:
    try:
        values = numpy.asarray(getattr(step, key, None), dtype="float64")
    except (TypeError, ValueError):
        return None
    return values.tolist() if values.shape == (count,) else None


def _note_categories(step: Any, columns: _Columns, found: Landmarks) -> None:
    if columns is None or any(one is None for one in columns):
        raise Unknown(f"A {type(step).__name__} looks up values that several columns were put together for.")
    for column, values in zip(columns, step.categories_):  # noqa: B905 (of one length)
        if not isinstance(column, _Column):
            continue
        if column.back:
            _note(column, values, found)
        else:
            found.points[column.name] += numpy.asarray(values).tolist()


def _of_trees(step: Any, kind: str, columns: _Columns, found: Landmarks) -> None:
    if getattr(step, "is_categorical_", None) is not None:
        raise Unknown(f"A {kind} compares columns of categories, which its compiled form has no word for.")
    start = getattr(step, "init_", None)
    if start is not None and not isinstance(start, str) and not type(start).__name__.startswith("Dummy"):
        _walk(start, columns, found)
    by_feature: dict[int, list[Any]] = {}
    for features, thresholds in _trees(step):
        for feature in numpy.unique(features[features >= 0]).tolist():
            by_feature.setdefault(int(feature), []).append(numpy.unique(thresholds[features == feature]))
    for feature, edges in by_feature.items():
        column = None if columns is None else columns[feature]
        if isinstance(column, _Column):
            _note(column, numpy.concatenate(edges), found)
        elif column is None and kind not in found.exactly:
            found.exactly.append(kind)


def _trees(step: Any) -> list[Any]:
    """Pairs of the arrays of features and thresholds."""
    if hasattr(step, "tree_"):
        return [(step.tree_.feature, step.tree_.threshold)]
    if isinstance(getattr(step, "_predictors", None), list):  # of histograms
        nodes = [tree.nodes for group in step._predictors for tree in group]
        inner = [one[~one["is_leaf"].astype(bool)] for one in nodes]
        return [(one["feature_idx"].astype("int64"), one["num_threshold"]) for one in inner]
    grown = numpy.asarray(step.estimators_, dtype="object").ravel().tolist()
    chosen = getattr(step, "estimators_features_", None)  # of isolation forests
    pairs = []
    for number, one in enumerate(grown):
        features = one.tree_.feature
        if chosen is not None:
            features = numpy.where(features >= 0, numpy.asarray(chosen[number])[features], features)
        pairs.append((features, one.tree_.threshold))
    return pairs
