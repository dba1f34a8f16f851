"""What adapters answer to several bodies at once: for each the same as alone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from tenfold.packaging.adapters._tables import split
from tenfold.packaging.adapters._tensors import Batches, answer_of
from tenfold.packaging.callables import package_callable
from tenfold.packaging.estimators import package_estimator

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(60, 3))
LABELS = np.where(NUMBERS[:, 0] + NUMBERS[:, 1] > 0, "yes", "no")
TABLE = pd.DataFrame(
    {"width": NUMBERS[:, 0], "count": np.arange(60), "kind": pd.Series(["a", "b", "c"] * 20, dtype=object)}
)


def of_table() -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer((numbers, ["width", "count"]), (OneHotEncoder(), ["kind"]))
    return make_pipeline(columns, LogisticRegression()).fit(TABLE, LABELS)


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "a pipeline": (lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, LABELS), NUMBERS),
    "a forest": (lambda: RandomForestClassifier(10, random_state=0).fit(NUMBERS, LABELS), NUMBERS),
    "a forest in a pipeline": (
        lambda: make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)).fit(NUMBERS, LABELS),
        NUMBERS,
    ),
    "numbers as classes": (lambda: RandomForestClassifier(5, random_state=0).fit(NUMBERS, LABELS == "yes"), NUMBERS),
    "probabilities that do not decide": (lambda: SVC(probability=True, random_state=0).fit(NUMBERS, LABELS), NUMBERS),
    "a regression": (lambda: LinearRegression().fit(NUMBERS, NUMBERS[:, 0]), NUMBERS),
    "several targets": (lambda: LinearRegression().fit(NUMBERS, NUMBERS[:, :2]), NUMBERS),
    "a transformer": (lambda: StandardScaler().fit(NUMBERS), NUMBERS),
    "a table": (of_table, TABLE),
    "texts": (
        lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["red car", "blue sky"] * 3, [0, 1] * 3),
        ["red sky", "blue car", "sky"],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_batch_answers_each_body_as_predict_does(name: str, tmp_path: Path, run_package: Any) -> None:
    make, example = MODELS[name]
    estimator = make()
    package = package_estimator(estimator, "m", tmp_path, example=example[:3])
    model = run_package(tmp_path)
    rows = package.example["inputs"]
    bodies = [{"inputs": rows[:1]}, {"inputs": rows}, {"inputs": []}, {"inputs": "no rows"}, {"inputs": rows[1:]}]
    together = model.predict_batch(bodies)
    assert getattr(together[3], "status_code", None) == 400
    for index in (0, 1, 2, 4):
        one, other = model.predict(bodies[index]), together[index]
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(np.array(one[key]).shape, np.array(other[key]).shape)
            if np.array(one[key]).dtype.kind == "f":
                np.testing.assert_allclose(np.array(one[key], float), np.array(other[key], float), rtol=1e-12)
            else:
                assert one[key] == other[key]
    json.dumps([one for one in together if isinstance(one, dict)])


@pytest.mark.parametrize("name", ["a pipeline", "a forest", "a forest in a pipeline", "a table"])
def test_what_is_done_once_gives_what_the_estimator_itself_gives(name: str, tmp_path: Path, run_package: Any) -> None:
    make, example = MODELS[name]
    estimator = make()
    package_estimator(estimator, "m", tmp_path, example=example[:3])
    rows = example.to_dict("records") if hasattr(example, "to_dict") else example.tolist()
    answer = run_package(tmp_path).predict({"inputs": rows})
    assert answer["predictions"] == estimator.predict(example).tolist()
    assert np.array_equal(answer["probabilities"], estimator.predict_proba(example))
    assert answer["classes"] == ["no", "yes"]


def test_several_outputs_with_probabilities_are_not_put_together(tmp_path: Path, run_package: Any) -> None:
    """Their probabilities come by output: two outputs for two rows would look like one of each."""
    targets = np.stack([LABELS == "yes", NUMBERS[:, 2] > 0], axis=1)
    forest = RandomForestClassifier(5, random_state=0).fit(NUMBERS, targets)
    package_estimator(forest, "m", tmp_path, example=NUMBERS[:3])
    model = run_package(tmp_path)
    with pytest.raises(ValueError, match="by output"):
        model.predict_batch([{"inputs": NUMBERS[:1].tolist()}, {"inputs": NUMBERS[1:2].tolist()}])


def test_missing_values_do_not_change_what_others_get(tmp_path: Path, run_package: Any) -> None:
    package_estimator(of_table(), "m", tmp_path, example=TABLE.iloc[:3])
    model = run_package(tmp_path)
    bodies = [
        {"inputs": [{"width": None, "count": 2, "kind": "a"}]},
        {"inputs": [{"width": 0.5, "count": 3, "kind": "b"}]},
        {"inputs": [{"width": 0.5, "count": 3, "kind": "x"}]},
        {"inputs": [{"width": 1, "count": 4, "kind": "c"}]},
    ]
    together = model.predict_batch(bodies)
    assert [together[index] for index in (0, 1, 3)] == [model.predict(bodies[index]) for index in (0, 1, 3)]
    assert "must be one of 'a', 'b', 'c'" in str(together[2])


def test_an_answer_is_only_taken_apart_where_it_has_a_value_for_each_row() -> None:
    assert split({"predictions": {"a": [1, 2, 3]}, "classes": ["x"]}, [2, 1]) == [
        {"predictions": {"a": [1, 2]}, "classes": ["x"]},
        {"predictions": {"a": [3]}, "classes": ["x"]},
    ]
    with pytest.raises(ValueError, match="predictions has 2 values for 3 rows"):
        split({"predictions": [1, 2]}, [2, 1])


FIELDS = [{"name": "x", "type": "tensor", "dtype": "float32", "shape": [None, 2]}]


class Calls:
    """A model of arrays that notes with how many rows it was called."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.rows: list[int] = []

    def __call__(self, arrays: dict[str, Any]) -> dict[str, Any]:
        self.rows.append(len(arrays["x"]))
        return {"y": self.function(arrays["x"])}


def answers(batches: Batches, calls: Calls, *bodies: Any) -> list[Any]:
    found = batches.results(bodies, calls, lambda outputs: answer_of(outputs, {}))
    return [one if isinstance(one, Exception) else one["predictions"].tolist() for one in found]


def body(*rows: Any) -> dict[str, Any]:
    return {"inputs": [list(row) for row in rows]}


def test_arrays_are_put_together_once_outputs_were_seen_to_come_by_row() -> None:
    batches, calls = Batches(FIELDS), Calls(lambda x: x.sum(axis=1))
    assert answers(batches, calls, body((1, 2)), body((3, 4), (5, 6))) == [[3.0], [7.0, 11.0]]
    assert calls.rows == [1, 2]
    found = answers(batches, calls, body((1, 2)), {"inputs": "x"}, body((3, 4), (5, 6)), body())
    assert [found[0], found[2]] == [[3.0], [7.0, 11.0]]
    assert getattr(found[1], "status_code", None) == 400
    assert calls.rows == [1, 2, 3] or calls.rows == [1, 2, 3, 0]


def test_outputs_of_another_length_are_never_taken_apart() -> None:
    """As an LSTM gives its states: by layer first, of which there may be as many as there are rows."""
    batches, calls = Batches(FIELDS), Calls(lambda x: np.stack([x.sum(axis=1)] * 2))
    two = answers(batches, calls, body((1, 2)), body((3, 4)))
    assert two == [[[3.0], [3.0]], [[7.0], [7.0]]]
    assert answers(batches, calls, body((1, 2)), body((3, 4))) == two
    assert calls.rows == [1, 1, 1, 1]


def test_by_chance_as_many_as_there_are_rows_is_not_enough() -> None:
    batches, calls = Batches(FIELDS), Calls(lambda x: np.stack([x.sum(axis=1)] * 2))
    assert answers(batches, calls, body((1, 2), (3, 4)))[0] == [[3.0, 7.0], [3.0, 7.0]]
    with pytest.raises(ValueError, match="do not come by row"):
        answers(batches, calls, body((1, 2), (3, 4)), body((5, 6)))
    assert answers(batches, calls, body((1, 2)), body((5, 6))) == [[[3.0], [3.0]], [[11.0], [11.0]]]


def test_arrays_of_another_shape_are_put_together_among_themselves() -> None:
    fields = [{"name": "x", "type": "tensor", "dtype": "float32", "shape": [None, None]}]
    batches, calls = Batches(fields), Calls(lambda x: x.sum(axis=1))
    answers(batches, calls, body((1, 2)))
    bodies = [body((1, 2)), body((1, 2, 3)), body((3, 4)), body((4, 5, 6)), body((1,))]
    assert answers(batches, calls, *bodies) == [[3.0], [6.0], [7.0], [15.0], [1.0]]
    assert calls.rows == [1, 2, 2, 1]


def test_a_class_that_answers_many_calls_gets_what_predict_would_get(
    tmp_path: Path, run_package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
class Repeat:
    def predict(self, times: int, text: str = "x") -> str:
        return text * times

    def predict_batch(self, calls: list) -> list:
        return [f"of {len(calls)}: " + self.predict(**call) for call in calls]


class Length:
    rows_are_independent = True

    def predict(self, text: str) -> int:
        return len(text)

    def predict_batch(self, texts: list) -> list:
        return [len(text) for text in texts]
"""
    (tmp_path / "batched_classes.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    classes = importlib.import_module("batched_classes")
    package_callable(classes.Repeat, "repeat", tmp_path / "repeat")
    package_callable(classes.Length, "length", tmp_path / "length")
    repeat = run_package(tmp_path / "repeat")
    first, refused, last = repeat.predict_batch([{"times": 2}, {"time": 2}, {"times": 1, "text": "ab"}])
    assert (first, last) == ("of 2: xx", "of 2: ab")
    assert getattr(refused, "status_code", None) == 400
    assert repeat.rows_are_independent is False
    length = run_package(tmp_path / "length")
    assert length.predict_batch([{"text": "abc"}, {"text": ""}, {"text": "ab"}]) == [3, 0, 2]
    assert length.rows_are_independent is True
