from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tenfold.errors import CannotPackage
from tenfold.models import table_bodies
from tenfold.packaging.estimators import package_estimator
from tenfold.schema import Field, Output

RunPackage = Callable[[Path], Any]


@pytest.fixture
def people() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": np.linspace(18, 80, 40),
            "city": ["Oslo", "Lima"] * 20,
            "children": [0, 1, 2, 3] * 10,
            "member": [True, False] * 20,
        }
    )


@pytest.fixture
def buyers(people: pd.DataFrame) -> Any:
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            ("city", OneHotEncoder(), ["city"]),
        ],
        remainder="passthrough",
    )
    return make_pipeline(columns, LogisticRegression()).fit(people, (people.age > 40).map({True: "yes", False: "no"}))


def answers(model: Any, inputs: Any) -> dict[str, Any]:
    (body,) = table_bodies(inputs)
    result: dict[str, Any] = model.predict(body)
    return result


def test_a_pipeline_on_a_table_learns_its_schema(buyers: Any, people: pd.DataFrame, tmp_path: Path) -> None:
    package = package_estimator(buyers, "buyers", tmp_path, example=people.iloc[:2])
    assert package.schema is not None
    assert package.schema.fields == (
        Field("age", "float", nullable=True),
        Field("city", "str", choices=["Lima", "Oslo"]),
        Field("children", "int", step=1.0),
        Field("member", "bool"),
    )
    assert package.schema.output == Output("classification", classes=["no", "yes"], probabilities=True)
    assert package.example == {
        "inputs": [
            {"age": 18.0, "city": "Oslo", "children": 0, "member": True},
            {"age": people.age[1], "city": "Lima", "children": 1, "member": False},
        ]
    }


def test_the_package_answers_exactly_as_the_estimator(
    buyers: Any, people: pd.DataFrame, tmp_path: Path, run_package: RunPackage
) -> None:
    package_estimator(buyers, "buyers", tmp_path, example=people.iloc[:2])
    answer = answers(run_package(tmp_path), people)
    assert answer == {
        "predictions": buyers.predict(people).tolist(),
        "probabilities": buyers.predict_proba(people).tolist(),
        "classes": ["no", "yes"],
    }


def test_every_form_of_rows_gives_the_same_answer(
    buyers: Any, people: pd.DataFrame, tmp_path: Path, run_package: RunPackage
) -> None:
    package_estimator(buyers, "buyers", tmp_path, example=people.iloc[:2])
    model = run_package(tmp_path)
    row = {"age": 30.0, "city": "Oslo", "children": 1, "member": True}
    values = list(row.values())
    turned = dict(reversed(row.items()))
    bodies: list[Any] = [
        {"inputs": [row]},
        {"inputs": [values]},
        {"inputs": row},
        {"inputs": {name: [value] for name, value in turned.items()}},
        {"instances": [turned]},
        {"dataframe_records": [row]},
        {"dataframe_split": {"columns": list(turned), "data": [list(turned.values())]}},
        [row],
        [values],
        values,
        row,
    ]
    expected = model.predict({"inputs": [row]})
    assert [model.predict(body) for body in bodies] == [expected] * len(bodies)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": 1, "city": "Oslo", "children": 1}, "lacks the column member"),
        ({"age": 1, "city": "Oslo", "children": 1, "member": True, "hat": 1}, "unknown column hat"),
        (
            {"age": "old", "city": "Oslo", "children": 1, "member": True},
            "'age' of row 0 is 'old', and must be a number",
        ),
        ({"age": 1, "city": "Rome", "children": 1, "member": True}, "'city' of row 0 is 'Rome', and must be one of"),
        (
            {"age": 1, "city": "Oslo", "children": 1.5, "member": True},
            "'children' of row 0 is 1.5, and must be a whole number",
        ),
        ({"age": 1, "city": None, "children": 1, "member": True}, "'city' of row 0 is null"),
        ([1, "Oslo"], "has 2 values, and the model takes 4"),
        (7, "Row 0 is 7"),
    ],
)
def test_wrong_rows_are_refused_with_the_column(
    buyers: Any, people: pd.DataFrame, tmp_path: Path, run_package: RunPackage, row: Any, message: str
) -> None:
    package_estimator(buyers, "buyers", tmp_path, example=people.iloc[:2])
    model = run_package(tmp_path)
    with pytest.raises(Exception, match=message) as refused:
        model.predict({"inputs": [row, [1, "Oslo", 1, True]]})
    assert type(refused.value).__name__ == "HTTPException"
    assert getattr(refused.value, "status_code", None) == 400


def test_a_missing_value_goes_where_an_imputer_waits_for_it(
    buyers: Any, people: pd.DataFrame, tmp_path: Path, run_package: RunPackage
) -> None:
    package_estimator(buyers, "buyers", tmp_path, example=people.iloc[:2])
    row = {"age": None, "city": "Oslo", "children": 1, "member": True}
    frame = pd.DataFrame([{**row, "age": np.nan}])
    assert run_package(tmp_path).predict([row])["predictions"] == buyers.predict(frame).tolist()


@pytest.mark.parametrize(
    ("numbers", "texts", "last", "nullable"),
    [
        (StandardScaler(), OneHotEncoder(), LogisticRegression(), set()),
        (StandardScaler(), OneHotEncoder(handle_unknown="ignore"), LogisticRegression(), {"city"}),
        (StandardScaler(), OneHotEncoder(), HistGradientBoostingClassifier(max_iter=3), {"age"}),
        ("passthrough", OneHotEncoder(), HistGradientBoostingClassifier(max_iter=3), {"age"}),
        ("drop", OneHotEncoder(), LogisticRegression(), {"age"}),
        (SimpleImputer(), OneHotEncoder(), LogisticRegression(), {"age"}),
    ],
)
def test_a_value_may_be_missing_where_the_whole_pipeline_takes_it(
    people: pd.DataFrame,
    tmp_path: Path,
    run_package: RunPackage,
    numbers: Any,
    texts: Any,
    last: Any,
    nullable: set[str],
) -> None:
    table = people[["age", "city"]].dropna()
    columns = ColumnTransformer([("numbers", numbers, ["age"]), ("texts", texts, ["city"])], sparse_threshold=0)
    pipeline = make_pipeline(columns, last).fit(table, table.age > table.age.mean())
    package = package_estimator(pipeline, "gaps", tmp_path, example=table.iloc[:2])
    assert package.schema is not None
    assert {one.name for one in package.schema.fields if one.nullable} == nullable
    model = run_package(tmp_path)
    for name in ("age", "city"):
        row = {"age": 30.0, "city": "Oslo", name: None}
        if name in nullable:
            assert len(model.predict([row])["predictions"]) == 1
        else:
            with pytest.raises(Exception, match="null") as refused:
                model.predict([row])
            assert getattr(refused.value, "status_code", None) == 400


def test_dtypes_of_the_example_come_back(tmp_path: Path, run_package: RunPackage) -> None:
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2024-01-01", "2024-06-01", "2025-01-01"]),
            "size": pd.Categorical(["S", "L", "S"], categories=["S", "M", "L"], ordered=True),
            "count": np.array([1, 2, 3], dtype="int32"),
        }
    )
    seen: list[pd.DataFrame] = []

    def look(table: pd.DataFrame) -> dict[str, Any]:
        seen.append(table)
        return {"predictions": []}

    package = package_estimator(FunctionTransformer().fit(frame), "types", tmp_path, example=frame)
    model = run_package(tmp_path)
    model._estimator.answer = look
    answers(model, frame)
    pd.testing.assert_frame_equal(seen[0], frame)
    assert package.schema is not None
    assert [(one.name, one.type, one.choices) for one in package.schema.fields] == [
        ("when", "str", None),
        ("size", "str", ["S", "M", "L"]),
        ("count", "int", None),
    ]


def test_an_array_model_has_numbered_columns(tmp_path: Path, run_package: RunPackage) -> None:
    features = np.random.default_rng(0).normal(size=(50, 3))
    forest = RandomForestRegressor(5, random_state=0).fit(features, features[:, 0])
    package = package_estimator(forest, "forest", tmp_path, example=features[:1])
    assert package.schema is not None
    assert [one.name for one in package.schema.fields] == ["x0", "x1", "x2"]
    assert package.schema.output == Output("regression")
    assert answers(run_package(tmp_path), features) == {"predictions": forest.predict(features).tolist()}


def test_an_example_with_names_names_the_columns_of_an_array_model(tmp_path: Path) -> None:
    model = LinearRegression().fit([[1.0, 2.0], [2.0, 3.0]], [1.0, 2.0])
    package = package_estimator(model, "line", tmp_path, example={"width": 1.0, "height": 2.0})
    assert package.schema is not None
    assert [one.name for one in package.schema.fields] == ["width", "height"]
    assert package.example == {"inputs": [{"width": 1.0, "height": 2.0}]}


def test_a_text_pipeline_takes_texts(tmp_path: Path, run_package: RunPackage) -> None:
    texts = ["good day", "bad day", "good night", "bad night"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    package = package_estimator(pipeline, "mood", tmp_path, example=texts[:1])
    assert package.schema is not None
    assert package.schema.fields == (Field("text", "str"),)
    assert package.example == {"inputs": [{"text": "good day"}]}
    model = run_package(tmp_path)
    expected = pipeline.predict(["good", "bad"]).tolist()
    assert model.predict({"inputs": ["good", "bad"]})["predictions"] == expected
    assert model.predict([{"text": "good"}, {"text": "bad"}])["predictions"] == expected


def test_a_transformer_answers_with_what_it_makes(tmp_path: Path, run_package: RunPackage) -> None:
    features = np.random.default_rng(0).normal(size=(20, 4))
    pca = PCA(2).fit(features)
    package_estimator(pca, "pca", tmp_path)
    assert answers(run_package(tmp_path), features[:3]) == {"predictions": pca.transform(features[:3]).tolist()}


def test_safe_types_are_saved_with_skops_and_pinned_as_they_are_here(
    buyers: Any, people: pd.DataFrame, tmp_path: Path
) -> None:
    import sklearn
    import skops

    package_estimator(buyers, "buyers", tmp_path, example=people.iloc[:2])
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (tmp_path / "data" / "model.skops").is_file()
    assert config["model_metadata"]["tenfold"]["format_of_data"] == "skops"
    assert f"scikit-learn=={sklearn.__version__}" in config["requirements"]
    assert f"skops=={skops.__version__}" in config["requirements"]
    assert f"pandas=={pd.__version__}" in config["requirements"]


@pytest.mark.parametrize(
    "estimator",
    [KNeighborsClassifier(), MLPClassifier(4, max_iter=5), HistGradientBoostingClassifier(max_iter=2)],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_of_compiled_parts_travel(
    estimator: Any, people: pd.DataFrame, tmp_path: Path, run_package: RunPackage
) -> None:
    numbers = people[["age", "children"]]
    fitted = estimator.fit(numbers, people.member)
    package = package_estimator(fitted, "compiled", tmp_path, example=numbers[:1])
    assert not any("cython" in one for one in package.requirements)
    assert answers(run_package(tmp_path), numbers)["predictions"] == fitted.predict(numbers).tolist()


def test_steps_that_pass_on_tables_find_pandas_and_the_same_configuration(
    people: pd.DataFrame, tmp_path: Path, run_package: RunPackage
) -> None:
    numbers = people[["age", "children"]]
    columns = ColumnTransformer([("age", StandardScaler(), ["age"])])
    with sklearn.config_context(transform_output="pandas"):
        pipeline = make_pipeline(SimpleImputer(), columns, LogisticRegression()).fit(numbers, people.member)
        package = package_estimator(pipeline, "tables", tmp_path, example=numbers[:1])
        expected = pipeline.predict(numbers).tolist()
    with sklearn.config_context():  # what loading configures ends with it
        model = run_package(tmp_path)
        assert answers(model, numbers)["predictions"] == expected
    assert any(one.startswith("pandas==") for one in package.requirements)
    scaled = make_pipeline(StandardScaler().set_output(transform="pandas"), LogisticRegression())
    package = package_estimator(scaled.fit(numbers.to_numpy(), people.member), "scaled", tmp_path / "p")
    assert any(one.startswith("pandas==") for one in package.requirements)


def test_own_requirements_take_the_place_of_pins(buyers: Any, people: pd.DataFrame, tmp_path: Path) -> None:
    package = package_estimator(buyers, "b", tmp_path, example=people[:1], requirements=["Scikit_Learn>=1.5", "polars"])
    assert "Scikit_Learn>=1.5" in package.requirements
    assert "polars" in package.requirements
    assert not any(one.startswith("scikit-learn==") for one in package.requirements)


SCRIPT = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

SCALE = 3.0

def scaled(values):
    return np.asarray(values) * SCALE

class Squares(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self
    def transform(self, X):
        return np.asarray(X) ** 2

X = np.arange(12.0).reshape(6, 2)
model = make_pipeline(FunctionTransformer(scaled), Squares(), LinearRegression()).fit(X, X[:, 0])
bad = make_pipeline(FunctionTransformer(lambda x: x), LinearRegression()).fit(X, X[:, 0])
"""


def test_own_steps_travel_with_their_source(
    script: Callable[[str], ModuleType], tmp_path: Path, run_package: RunPackage
) -> None:
    main = script(SCRIPT)
    root = tmp_path / "package"
    package = package_estimator(main.model, "own", root, example=main.X[:1])
    source = (root / "packages" / "notebook_code.py").read_text()
    assert "class Squares" in source
    assert "SCALE = 3.0" in source
    assert "make_pipeline" not in source
    assert package.notes == ("saved as a pickle: it holds objects of __main__",)
    assert answers(run_package(root), main.X) == {"predictions": main.model.predict(main.X).tolist()}


def test_a_lambda_is_refused_with_its_place(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    main = script(SCRIPT)
    with pytest.raises(CannotPackage, match=r"func: a lambda cannot travel \(.*script.py, line 22\)") as refused:
        package_estimator(main.bad, "bad", tmp_path / "package", example=main.X[:1])
    assert "def prepare(x)" in refused.value.hint


def test_an_attribute_that_does_not_pickle_is_named(tmp_path: Path) -> None:
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    model.notes_ = {"log": (number for number in range(3))}
    with pytest.raises(CannotPackage, match=r"LinearRegression\.notes_\['log'\] cannot be pickled"):
        package_estimator(model, "bad", tmp_path, example=[[1.0]])


def test_an_unfitted_estimator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotPackage, match="is not fitted yet"):
        package_estimator(LogisticRegression(), "no", tmp_path)


def test_an_example_without_a_column_is_refused(buyers: Any, people: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(CannotPackage, match="The example lacks the column city"):
        package_estimator(buyers, "b", tmp_path, example=people[["age", "children", "member"]])


def test_a_pickle_for_another_python_is_refused(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    main = script(SCRIPT)
    with pytest.raises(CannotPackage, match="saved as a pickle under Python"):
        package_estimator(main.model, "own", tmp_path / "package", example=main.X[:1], python="3.9")


def test_packaging_leaves_no_reduced_skops_behind(buyers: Any, people: pd.DataFrame, tmp_path: Path) -> None:
    import sys

    import sklearn.utils

    for name in [one for one in sys.modules if one.partition(".")[0] == "skops"]:
        del sys.modules[name]
    before = sklearn.utils.all_estimators
    package_estimator(buyers, "buyers", tmp_path, example=people.iloc[:2])
    assert "skops.io" not in sys.modules
    assert sklearn.utils.all_estimators is before
