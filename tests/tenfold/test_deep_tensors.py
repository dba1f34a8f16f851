"""Arrays on their way into a model and out of it; no framework is needed for that."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from tenfold.errors import CannotPackage
from tenfold.packaging import tensors
from tenfold.packaging.adapters._fields import HTTPException
from tenfold.packaging.adapters._tensors import answer_of, flattened, read_example, read_inputs
from tenfold.schema import ModelSchema, Output

ONE = [{"name": "x", "type": "tensor", "dtype": "float32", "shape": [None, 2]}]
TWO = [
    {"name": "left", "type": "tensor", "dtype": "float32", "shape": [None, 2]},
    {"name": "right", "type": "tensor", "dtype": "int64", "shape": [None]},
]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]]}},
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]},
        {"x": [[1, 2], [3, 4]]},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
        {"dataframe_records": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]},
        {"inputs": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]},
        [[1, 2], [3, 4]],
        {"inputs": np.array([[1, 2], [3, 4]])},
        {"inputs": np.array([[1, 2], [3, 4]], dtype="float32")},
    ],
)
def test_every_form_of_a_body_gives_the_same_array(body: Any) -> None:
    found = read_inputs(body, ONE)
    assert list(found) == ["x"]
    assert found["x"].dtype == np.float32
    assert found["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_several_inputs_come_by_name_or_as_rows() -> None:
    by_name = read_inputs({"inputs": {"left": [[1, 2]], "right": [5]}}, TWO)
    as_rows = read_inputs({"instances": [{"left": [1, 2], "right": 5}]}, TWO)
    for found in (by_name, as_rows):
        assert {name: (array.dtype.name, array.tolist()) for name, array in found.items()} == {
            "left": ("float32", [[1.0, 2.0]]),
            "right": ("int64", [5]),
        }


def test_a_null_among_numbers_is_nan_and_an_optional_input_may_be_left_out() -> None:
    optional = [*ONE, {"name": "mask", "type": "tensor", "dtype": "bool", "shape": [None], "nullable": True}]
    found = read_inputs({"inputs": {"x": [[None, 2]]}}, optional)
    assert list(found) == ["x"]
    assert np.isnan(found["x"][0, 0])
    assert list(read_inputs({"inputs": {"x": [[1, 2]], "mask": [True]}}, optional)) == ["x", "mask"]


@pytest.mark.parametrize(
    ("fields", "body", "message"),
    [
        (ONE, {"inputs": [1, 2]}, "'x' has the shape [2], and must have [any, 2]. The first dimension is the batch"),
        (ONE, {"inputs": [[1, 2, 3]]}, "'x' has the shape [1, 3], and must have [any, 2]."),
        (ONE, {"inputs": [[1, 2], [3]]}, "'x' has rows of different lengths."),
        (ONE, {"inputs": [["1", "2"]]}, "'x' holds '1', and must hold numbers (float32)."),
        (ONE, {"inputs": [[None, "2"]]}, "'x' holds '2', and must hold numbers (float32)."),
        (ONE, {"inputs": [{"a": 1, "b": 2}, {"a": 1}]}, "Row 1 has a, and row 0 has: a, b."),
        (ONE, {"rows": []}, "and must hold arrays"),
        (ONE, {"inputs": {"y": [[1, 2]]}}, "There is no input y. The model takes: x."),
        (TWO, {"inputs": [[1, 2]]}, "the model takes several: left, right. Give them by name."),
        (TWO, {"inputs": {"left": [[1, 2]]}}, "The input 'right' is missing."),
        (
            TWO,
            {"inputs": {"left": [[1, 2]], "right": [1.5]}},
            "'right' holds 1.5, and must hold whole numbers (int64).",
        ),
        (TWO, {"inputs": {"left": [[1, 2]] * 2, "right": [1] * 3}}, "different numbers of rows: left 2, right 3."),
        (TWO, {"instances": [{"left": [1, 2]}]}, "Row 0 has left, and must have: left, right."),
        ([{**ONE[0], "dtype": "uint8"}], [[1, 256]], "'x' holds 256, and must be between 0 and 255."),
        ([{**ONE[0], "dtype": "bool"}], [[1, 2]], "'x' holds 2, and must hold true or false."),
        ([{**ONE[0], "dtype": "str"}], [["a", 1]], "'x' holds 1, and must hold texts."),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(fields: list[Any], body: Any, message: str) -> None:
    with pytest.raises(HTTPException) as refused:
        read_inputs(body, fields)
    assert message in refused.value.detail
    assert refused.value.status_code == 400


def test_texts_and_bytes_become_an_array_of_objects() -> None:
    field = {"name": "x", "type": "tensor", "dtype": "str", "shape": [None]}
    assert read_inputs(["a", {"b64": "aGk="}], [field])["x"].tolist() == ["a", b"hi"]
    assert answer_of({"y": np.array([b"\xc3\xa9", b"x"], dtype=object)}, {}) == {"predictions": ["é", "x"]}


def test_answers_are_one_array_or_several_by_name() -> None:
    one, two = np.zeros((1, 2)), np.ones(1)
    assert answer_of({"y": one}, {})["predictions"] is one
    assert answer_of({"y": one}, {"is_single": False}) == {"predictions": {"y": one}}
    assert answer_of({"y": one, "z": two}, {})["predictions"] == {"y": one, "z": two}


@pytest.mark.parametrize(
    ("scores", "are", "classes", "prediction", "shares"),
    [
        ([[0.2, 0.8]], "probabilities", ["a", "b"], "b", [0.2, 0.8]),
        ([[0.0, 0.0, np.log(2)]], "logits", ["a", "b", "c"], "c", [0.25, 0.25, 0.5]),
        ([[0.9]], "probabilities", ["no", "yes"], "yes", [0.1, 0.9]),
        ([[0.0]], "logits", [0, 1], 0, [0.5, 0.5]),
        ([[0.2, 0.8]], "unknown", ["a", "b"], "b", [0.2, 0.8]),
        ([[1000.0, 0.0]], "unknown", ["a", "b"], "a", [1.0, 0.0]),
    ],
)
def test_scores_become_classes_and_probabilities(
    scores: Any, are: str, classes: list[Any], prediction: Any, shares: list[float]
) -> None:
    about = {"scores": {"output": "y", "are": are}, "schema": {"output": {"classes": classes}}}
    answer = answer_of({"y": np.array(scores)}, about)
    assert answer["predictions"] == [prediction]
    assert answer["classes"] == classes
    assert answer["probabilities"][0].tolist() == pytest.approx(shares)


def test_results_are_named_by_key_or_by_place() -> None:
    array = np.zeros(1)
    nested = {"a": array, "b": (array, [array, None])}
    assert list(flattened(nested, lambda value: value is array)) == ["a", "b_0", "b_1_0"]
    assert list(flattened(array, lambda value: value is array)) == ["output"]


# --- when a model is packaged


def test_an_example_of_a_few_rows_is_kept_and_tried(tmp_path: Any) -> None:
    arrays = {"left": np.arange(10.0).reshape(5, 2), "k": np.array(3)}
    fields = [tensors.tensor("left", "float64", [None, 2]), tensors.tensor("k", "int64", [])]
    body, notes = tensors.example_body(arrays, fields)
    assert body == {"inputs": {"left": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "k": 3}}
    assert notes == ()
    tensors.save_example(arrays, tmp_path)
    tried = read_example(tmp_path)
    assert (tried["left"].tolist(), tried["k"].tolist()) == ([[0.0, 1.0]], 3)
    assert read_example(tmp_path / "elsewhere") == {}


def test_a_large_example_is_cut_to_a_row_or_left_out() -> None:
    field = [tensors.tensor("x", "float64", [None, None])]
    body, _ = tensors.example_body({"x": np.zeros((3, 2000))}, field)
    assert len(body["inputs"]) == 1
    body, notes = tensors.example_body({"x": np.zeros((1, 200_000))}, field)
    assert body is None
    assert "200,000 values" in notes[0]


def test_an_example_is_read_from_whatever_holds_it_by_the_names_of_the_inputs() -> None:
    fields = [tensors.tensor("a", "float32", [None, 2]), tensors.tensor("b", "str", [None])]
    for example in ({"a": [[1, 2]], "b": ["x"]}, ([[1, 2]], ["x"]), [np.array([[1, 2]]), np.array(["x"])]):
        found = tensors.examples(example, fields)
        assert (found["a"].dtype.name, found["a"].tolist(), found["b"].tolist()) == ("float32", [[1.0, 2.0]], ["x"])


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (np.zeros((1, 2)), "the model takes 2: a, b"),
        ({"a": [[1, 2]]}, "The example has a, and the model takes: a, b."),
        ({"a": [1, 2], "b": [1]}, "The example of a has the shape [2], and the model takes [any, 2]."),
        ({"a": [[object()]], "b": [1]}, "which cannot be sent to a model"),
    ],
)
def test_a_wrong_example_is_refused_before_anything_is_sent(example: Any, message: str) -> None:
    fields = [tensors.tensor("a", "float32", [None, 2]), tensors.tensor("b", "int64", [None])]
    with pytest.raises(CannotPackage) as refused:
        tensors.examples(example, fields)
    assert message in refused.value.message
    assert refused.value.hint


def test_the_users_schema_says_the_output_and_the_fields_are_learned() -> None:
    learned = [tensors.tensor("x", "float32", [None, 2])]
    output = Output("classification", classes=["a", "b"])
    schema = tensors.with_probabilities(tensors.with_given(learned, ModelSchema("tensor", (), output)))
    assert schema.fields == tuple(learned)
    assert schema.output == Output("classification", classes=["a", "b"], probabilities=True)
    with pytest.raises(CannotPackage, match="this model takes arrays"):
        tensors.with_given(learned, ModelSchema("table"))
    with pytest.raises(CannotPackage, match="the model takes: x"):
        tensors.with_given(learned, ModelSchema("tensor", (tensors.tensor("y", "float32", None),)))


def test_what_scores_are_is_told_by_several_rows() -> None:
    output = Output("classification", classes=["a", "b"])
    shares, logits = {"y": np.array([[0.2, 0.8]])}, {"y": np.array([[-3.0, 4.0]])}
    assert tensors.scores_of(output, [shares], ["y"]) == {"output": "y", "are": "probabilities"}
    assert tensors.scores_of(output, [shares, logits], ["y"]) == {"output": "y", "are": "logits"}
    assert tensors.scores_of(output, [], ["y"]) == {"output": "y", "are": "unknown"}
    assert tensors.scores_of(Output("json"), [shares], ["y"]) is None
    with pytest.raises(CannotPackage, match="names 2 classes, and the model gives 3"):
        tensors.scores_of(output, [{"y": np.zeros((1, 3))}], ["y"])
    with pytest.raises(CannotPackage, match="gives several arrays: y, z"):
        tensors.scores_of(output, [], ["y", "z"])


def test_dimensions_are_free_where_the_model_takes_another_length() -> None:
    def call(values: Any) -> None:
        if values["x"].shape[2] != 3 or len(values["x"]) != len(values["y"]):
            raise CannotPackage("no")

    shapes = tensors.shapes_of({"x": np.zeros((2, 5, 3)), "y": np.zeros(2)}, call)
    assert shapes == {"x": [None, None, 3], "y": [None]}


@pytest.mark.parametrize("value", [["a" * 60_000] + [0] * 999, [["a" * 60_000]] + [[0]] * 999, [[0]] * 999 + [["a"]]])
def test_a_long_text_among_numbers_takes_no_memory_to_speak_of(value: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(HTTPException, match="must hold numbers"):
            read_inputs({"inputs": value}, [{**ONE[0], "shape": None}])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
