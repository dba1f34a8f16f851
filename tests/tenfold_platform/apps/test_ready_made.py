"""The app that a model comes with, for every shape of schema."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tenfold_platform.apps import bundle
from tenfold_platform.apps.ready_made import files_for, first_record
from tenfold_worklets.signatures import model_signature

FIELDS = [
    {"name": "alcohol", "type": "float", "minimum": 0},
    {"name": 'od280/od315 "x" \\ é😀', "type": "float", "nullable": True},
    {"name": "colour", "type": "str", "choices": ["red", "white"]},
]
OUTPUTS: list[dict[str, Any]] = [
    {"kind": "classification", "classes": [0, 1, 2], "probabilities": True},
    {"kind": "classification", "classes": ["a", "b"], "probabilities": False},
    {"kind": "regression", "name": "price"},
    {"kind": "scores"},
    {"kind": "text"},
    {"kind": "image"},
    {"kind": "table"},
    {"kind": "json"},
]


def encoded(files: dict[str, str]) -> dict[str, bytes]:
    return {path: text.encode() for path, text in files.items()}


def load_steps(files: dict[str, str], folder: Path) -> ModuleType:
    file = folder / "steps.py"
    file.write_text(files["code/steps.py"])
    spec = importlib.util.spec_from_file_location("steps", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("form", ["table", "record", "value"])
@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: str(output["kind"]))
def test_every_kind_of_schema_gives_an_app_without_problems(form: str, output: dict[str, Any]) -> None:
    schema = {"version": 1, "form": form, "fields": FIELDS, "output": output}
    files = files_for("wine-quality", "Says how good a wine is.", schema, {"inputs": [{"alcohol": 13.2}]})
    checked = bundle.check(
        encoded(files), name="wine-quality", models={"wine-quality@production": model_signature(schema)}
    )
    assert checked.problems == ()
    assert checked.warnings == ()
    assert checked.app is not None
    assert checked.app.models == ("wine-quality@production",)
    assert list(checked.views) == ["app"]


ARRAYS = [
    {"name": "image", "type": "tensor", "dtype": "float32", "shape": [None, 2, 2]},
    {"name": "strength", "type": "tensor", "dtype": "float32", "shape": []},
]


@pytest.mark.parametrize("fields", [ARRAYS[:1], ARRAYS], ids=["one array", "two arrays"])
@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: str(output["kind"]))
def test_models_of_arrays_get_an_app_too(fields: list[dict[str, Any]], output: dict[str, Any]) -> None:
    schema = {"version": 1, "form": "tensor", "fields": fields, "output": output}
    files = files_for("edges", "", schema, {"inputs": [[[0, 1], [1, 0]]]})
    checked = bundle.check(encoded(files), name="edges", models={"edges@production": model_signature(schema)})
    assert checked.problems == ()
    assert checked.warnings == ()
    assert "An array of float32 of the shape [any, 2, 2]; the first dimension is the batch." in files["views/app.yaml"]


def test_the_steps_of_arrays_wrap_them_and_show_the_first_row(tmp_path: Path) -> None:
    one = load_steps(
        files_for("edges", "", {"form": "tensor", "fields": ARRAYS[:1], "output": OUTPUTS[0]}, None), tmp_path
    )
    assert one.prepare({"image": [[[0, 1], [1, 0]]]}) == {"inputs": [[[0, 1], [1, 0]]]}
    answer = {"predictions": ["b"], "probabilities": [[0.1, 0.9]], "classes": ["a", "b"]}
    assert one.present(answer) == {"prediction": "b", "scores": {"a": 0.1, "b": 0.9}}
    several = load_steps(files_for("edges", "", {"form": "tensor", "fields": ARRAYS, "output": {}}, None), tmp_path)
    values = {"image": [[[0, 1], [1, 0]]], "strength": 2}
    assert several.prepare(values) == {"inputs": values}
    assert several.present({"predictions": {"edges": [[1.0]]}}) == {"value": {"edges": [[1.0]]}}
    number = load_steps(
        files_for("edges", "", {"form": "tensor", "fields": ARRAYS, "output": {"kind": "regression"}}, None), tmp_path
    )
    assert number.present({"predictions": [[2.5]]}) == {"prediction": 2.5}


def test_the_steps_turn_a_form_into_a_body_and_an_answer_into_a_result(tmp_path: Path) -> None:
    schema = {"form": "table", "fields": FIELDS, "output": OUTPUTS[0]}
    steps = load_steps(files_for("wine", "", schema, None), tmp_path)
    names = [field["name"] for field in FIELDS]
    values = {names[0]: 1.5, names[2]: "red"}
    assert steps.prepare(values) == {"inputs": [{names[0]: 1.5, names[1]: None, names[2]: "red"}]}
    answer = {"predictions": [2], "probabilities": [[0.1, 0.2, 0.7]]}
    assert steps.present(answer) == {"prediction": 2, "scores": {"0": 0.1, "1": 0.2, "2": 0.7}}


def test_a_missing_or_unknown_field_is_named(tmp_path: Path) -> None:
    schema = {"form": "table", "fields": FIELDS, "output": OUTPUTS[0]}
    steps = load_steps(files_for("wine", "", schema, None), tmp_path)
    with pytest.raises(ValueError, match="Fill in: alcohol, colour"):
        steps.prepare({})
    with pytest.raises(ValueError, match="no field named sugar"):
        steps.prepare({"alcohol": 1, "colour": "red", "sugar": 3})


@pytest.mark.parametrize(
    ("fields", "example", "expected"),
    [
        (ARRAYS[:1], {"inputs": [[[0, 1], [1, 0]], [[2, 2], [2, 2]]]}, {"image": [[[0, 1], [1, 0]]]}),
        (
            ARRAYS,
            {"inputs": {"image": [[[0, 1], [1, 0]], [[2, 2], [2, 2]]], "strength": 3}},
            {"image": [[[0, 1], [1, 0]]], "strength": 3},
        ),
        (ARRAYS, {"inputs": [1]}, {}),
    ],
)
def test_the_form_of_arrays_begins_with_the_first_row(
    fields: list[Any], example: Any, expected: dict[str, Any]
) -> None:
    assert first_record({"form": "tensor", "fields": fields}, example) == expected


@pytest.mark.parametrize(
    ("form", "example", "expected"),
    [
        ("table", {"inputs": [{"a": 1, "b": "x", "c": "gone"}]}, {"a": 1, "b": "x"}),
        ("table", {"inputs": [[1, "x"]]}, {"a": 1, "b": "x"}),
        ("record", {"a": 1}, {"a": 1}),
        ("value", "hello", {"a": "hello"}),
        ("table", None, {"b": "usual"}),
        ("table", "not a body", {"b": "usual"}),
    ],
)
def test_the_form_begins_with_the_example(form: str, example: Any, expected: dict[str, Any]) -> None:
    fields = [{"name": "a", "type": "float"}, {"name": "b", "type": "str", "default": "usual"}]
    assert first_record({"form": form, "fields": fields}, example) == expected


def test_a_picture_of_the_example_is_left_for_people_to_choose() -> None:
    fields = [{"name": "picture", "type": "image"}]
    assert first_record({"form": "record", "fields": fields}, {"picture": {"data": "…"}}) == {}
