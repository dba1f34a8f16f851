"""Port types: reading, writing, checking values, JSON Schema, what fits where."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold_worklets import PortType, PortTypeError, check, parse_type, to_json_schema
from tenfold_worklets.types import BASE_TYPES, accepts, misfit

PNG = {"name": "a.png", "type": "image/png", "size": 3, "data": base64.b64encode(b"abc").decode()}

types = st.recursive(
    st.builds(PortType, st.sampled_from(BASE_TYPES), st.none(), st.booleans()),
    lambda inner: st.builds(PortType, st.just("list"), inner, st.booleans()),
    max_leaves=4,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(PNG),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(types)
def test_a_type_reads_back_as_it_is_written(type):
    assert parse_type(str(type)) == type


@given(types, values)
def test_the_quick_check_and_the_explaining_one_agree(type, value):
    assert accepts(type)(value) == (check(value, type) == [])


@given(types, values)
def test_problems_say_where_and_what(type, value):
    for problem in check(value, type, "field"):
        assert problem.path.startswith("field")
        assert problem.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("string", "Did you mean `str`?"),
        ("integer", "Did you mean `int`?"),
        ("floatt", "Did you mean `float`?"),
        ("list", "Did you mean `list[json]`?"),
        ("list[number]", "Did you mean `float`?"),
        ("list[str", "Did you mean `list[str]`?"),
        ("str??", "Did you mean `str`?"),
        ("", "Write one of"),
        (7, "Write one of"),
        (None, "Write one of"),
        ("list[" * 20 + "str" + "]" * 20, "Nest at most"),
    ],
)
def test_what_is_no_type_is_refused_with_a_suggestion(text, hint):
    with pytest.raises(PortTypeError) as caught:
        parse_type(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("str", ""),
        ("int", -3),
        ("float", 3),
        ("float", 3.5),
        ("bool", False),
        ("json", None),
        ("json", {"a": [1]}),
        ("bytes", "YWJj"),
        ("bytes", ""),
        ("file", PNG),
        ("image", PNG),
        ("table", [{"a": 1}, {"b": 2}]),
        ("table", {"a": [1, 2], "b": [3, 4]}),
        ("table", []),
        ("tensor", 1.5),
        ("tensor", [[1, 2], [3, 4]]),
        ("tensor", []),
        ("list[int]", [1, 2]),
        ("list[file]?", None),
        ("list[str?]", ["a", None]),
        ("str?", None),
    ],
)
def test_values_that_fit(type, value):
    assert check(value, parse_type(type)) == []


@pytest.mark.parametrize(
    ("type", "value", "path", "message"),
    [
        ("str", 3, "x", "must be a text, not a whole number"),
        ("int", "3", "x", "must be a whole number, not a text"),
        ("int", True, "x", "must be a whole number, not true"),
        ("int", 3.5, "x", "must be a whole number, not a number with a fraction"),
        ("int", 3.0, "x", "must be a whole number, not a number with a fraction"),
        ("float", "3", "x", "must be a number, not a text"),
        ("float", False, "x", "must be a number, not false"),
        ("float", float("nan"), "x", "must be a number, not a number that JSON cannot carry"),
        ("bool", 1, "x", "must be true or false, not a whole number"),
        ("str", None, "x", "must be a text, not null"),
        ("bytes", "abc", "x", "is not base64"),
        ("bytes", "a===", "x", "is not base64"),
        ("file", "a.png", "x", "must be a file, not a text"),
        ("file", {**PNG, "size": 4}, "x.size", "is 4, but the data holds 3 bytes"),
        ("file", {**PNG, "data": "%"}, "x.data", "is not base64"),
        ("file", {"name": "a", "type": "b", "size": 0}, "x.data", "is missing"),
        ("image", {**PNG, "type": "text/html"}, "x.type", "is 'text/html', which is not an image"),
        ("list[int]", [1, "2"], "x[1]", "must be a whole number, not a text"),
        ("list[int]", 1, "x", "must be a list, not a whole number"),
        ("list[list[str]]", [["a"], [1]], "x[1][0]", "must be a text, not a whole number"),
        ("table", [{"a": 1}, 2], "x[1]", "must be an object, not a whole number"),
        ("table", {"a": [1], "b": []}, "x", "has columns of unlike length (a 1, b 0)"),
        ("table", 3, "x", "must be a table (a list of objects, or an object of lists), not a whole number"),
        ("tensor", [[1, 2], [3]], "x[1]", "must be a list of 2 items like its neighbours, not 1 items"),
        ("tensor", [1, "2"], "x[1]", "must be a number, not a text"),
        ("tensor", "1", "x", "must be a number, not a text"),
    ],
)
def test_values_that_do_not_fit(type, value, path, message):
    (problem,) = check(value, parse_type(type), "x")
    assert (problem.path, problem.message) == (path, message)


def test_a_file_that_lacks_everything_lists_everything():
    assert [problem.path for problem in check({}, parse_type("file"), "f")] == ["f.name", "f.type", "f.size", "f.data"]


def test_the_problems_of_a_huge_value_are_bounded():
    assert len(check(["x"] * 10_000, parse_type("list[int]"))) == 20


@pytest.mark.parametrize("nest", [17, 10_000])
def test_a_tensor_of_too_many_dimensions_is_refused(nest):
    value = 1
    for _ in range(nest):
        value = [value]
    (problem,) = check(value, parse_type("tensor"))
    assert problem.message == "has more than 16 dimensions"


@pytest.mark.parametrize(
    ("type", "schema"),
    [
        ("str", {"type": "string"}),
        ("int?", {"type": ["integer", "null"]}),
        ("json", {}),
        ("json?", {}),
        ("list[float]", {"type": "array", "items": {"type": "number"}}),
        ("list[bool]?", {"type": ["array", "null"], "items": {"type": "boolean"}}),
        ("bytes", {"type": "string", "contentEncoding": "base64"}),
    ],
)
def test_json_schema(type, schema):
    assert to_json_schema(parse_type(type)) == schema


def test_a_table_that_may_be_null_says_so_beside_its_two_forms():
    assert {"type": "null"} in to_json_schema(parse_type("table?"))["anyOf"]


@pytest.mark.parametrize(
    ("given_type", "wanted", "reason"),
    [
        ("int", "float", None),
        ("float", "int", "float does not fit int"),
        ("str", "int", "str does not fit int"),
        ("int", "str", "int does not fit str"),
        ("str", "str?", None),
        ("str?", "str", "str? may be null, and str may not"),
        ("image", "file", None),
        ("file", "image", "file does not fit image"),
        ("json", "int", None),
        ("int", "json", None),
        ("json?", "int", None),
        ("list[int]", "list[float]", None),
        ("list[str]", "list[int]", "list[str] does not fit list[int]: str does not fit int"),
        ("list[float]", "tensor", None),
    ],
)
def test_what_may_travel_into_what(given_type, wanted, reason):
    assert misfit(parse_type(given_type), parse_type(wanted)) == reason
