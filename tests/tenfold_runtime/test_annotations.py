"""What annotations promise: schemas from them, and values checked against them, with the place named."""

# ruff: noqa: UP007, UP045 (the older spellings are what is tested)
from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import pydantic
import pytest

from tenfold_runtime.annotations import checker, hints, schema_of
from tenfold_runtime.faults import Fault


class Movie(TypedDict):
    title: str
    year: int


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)


class Row(pydantic.BaseModel):
    age: int


FITS: list[tuple[Any, Any, Any]] = [
    (int, 1, 1),
    (float, 1, 1.0),
    (str, "a", "a"),
    (bool, True, True),
    (None, None, None),
    (Optional[int], None, None),
    (int | None, 3, 3),
    (Union[int, str], "a", "a"),
    (Union[float, int], 3, 3),
    (Literal["a", 1], "a", "a"),
    (list, [1, "a"], [1, "a"]),
    (list[int], [1, 2], [1, 2]),
    (list[list[float]], [[1]], [[1.0]]),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, 2], (1, 2)),
    (set[int], [1, 1], {1}),
    (dict, {"a": 1}, {"a": 1}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (Annotated[int, "an age"], 1, 1),
    (Movie, {"title": "t", "year": 1}, {"title": "t", "year": 1}),
    (Point, {"x": 1}, Point(1.0)),
    (list[Point], [{"x": 1, "tags": ["a"]}], [Point(1.0, tags=["a"])]),
    (Row, {"age": 1}, Row(age=1)),
    (list[Row], [{"age": 1}], [Row(age=1)]),
    (Optional[Row], None, None),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), FITS, ids=lambda item: str(item)[:40])
def test_values_that_fit_become_what_is_asked_for(annotation: Any, value: Any, expected: Any) -> None:
    check = checker(annotation, light=True)
    assert check is not None
    assert check(value) == expected
    assert type(check(value)) is type(expected)


MISFITS: list[tuple[Any, Any, str, str]] = [
    (int, "1", "it", "v must be an integer, not '1'."),
    (int, True, "v", "v must be an integer, not True."),
    (int, 1.5, "v", "v must be an integer, not 1.5."),
    (float, "x", "v", "v must be a number, not 'x'."),
    (str, None, "v", "v must be a string, not None."),
    (bool, 1, "v", "v must be true or false, not 1."),
    (list[int], [1, "x"], "v[1]", "v[1] must be an integer, not 'x'."),
    (list[int], "abc", "v", "v must be a list, not 'abc'."),
    (dict[str, float], {"a": {"b": 1}}, "v.a", "v.a must be a number, not {'b': 1}."),
    (tuple[int, str], [1], "v", "v must be a list of 2, not [1]."),
    (Literal["a", "b"], "c", "v", "v must be one of 'a', 'b', not 'c'."),
    (Optional[list[int]], [None], "v[0]", "v[0] must be an integer, not None."),
    (Movie, {"title": "t"}, "v.year", "v.year is missing."),
    (Movie, {"title": "t", "year": "x"}, "v.year", "v.year must be an integer, not 'x'."),
    (Point, {"x": 1, "z": 2}, "v.z", "v.z is not a field of Point; it has x, y, tags."),
    (Point, [1], "v", "v must be an object with the fields of Point, not [1]."),
    (str, 10**70, "v", f"v must be a string, not 1{'0' * 56}...."),
]


@pytest.mark.parametrize(("annotation", "value", "field", "message"), MISFITS, ids=lambda item: str(item)[:40])
def test_values_that_do_not_fit_are_refused_with_their_place(
    annotation: Any, value: Any, field: str, message: str
) -> None:
    check = checker(annotation, light=True, path="v")
    assert check is not None
    with pytest.raises(Fault) as caught:
        check(value)
    assert (caught.value.code, caught.value.status) == ("bad_input", 400)
    assert caught.value.message == message
    if field != "it":
        assert caught.value.details["field"] == field


def test_pydantic_problems_all_appear_with_their_fields() -> None:
    check = checker(list[Row], light=False, path="rows")
    assert check is not None
    with pytest.raises(Fault) as caught:
        check([{"age": "x"}, {}])
    assert [problem["field"] for problem in caught.value.details] == ["rows[0].age", "rows[1].age"]
    assert caught.value.message.startswith("The input is not valid: rows[0].age: Input should be a valid integer")
    assert caught.value.message.endswith("(1 more in details)")


@pytest.mark.parametrize("annotation", [Any, object, "text", complex, dict[str, Any] | Any])
def test_annotations_that_say_nothing_about_json_check_nothing(annotation: Any) -> None:
    assert checker(annotation, light=True) is None
    assert schema_of(annotation) is None


def test_without_light_only_pydantic_counts() -> None:
    assert checker(list[int], light=False) is None
    assert checker(Row, light=False) is not None


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (Optional[float], {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (
            Point,
            {
                "type": "object",
                "title": "Point",
                "properties": {
                    "x": {"type": "number"},
                    "y": {"type": "number"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["x"],
            },
        ),
    ],
)
def test_schemas_of_plain_annotations(annotation: Any, schema: Any) -> None:
    assert schema_of(annotation) == schema


def test_the_schema_of_a_pydantic_model_is_its_own() -> None:
    assert schema_of(Row) == Row.model_json_schema()


def test_hints_leave_out_what_cannot_be_resolved() -> None:
    def function(a: int, b: NotThere, c: list[str]) -> None:  # type: ignore[name-defined]  # noqa: F821
        ...

    assert hints(function) == {"a": int, "c": list[str], "return": None}
