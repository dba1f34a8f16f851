"""Parsing, errors, renaming and evaluating, where the vectors cannot say it."""

import re
import sys
import threading
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold_expressions import Expression, ExpressionError, is_expression, literal, parse
from tenfold_expressions.methods import FUNCTIONS, METHODS
from tenfold_expressions.signatures import FUNCTIONS as FUNCTION_SIGNATURES
from tenfold_expressions.signatures import METHODS as METHOD_SIGNATURES


def error_of(source: str, scope: Mapping[str, object] | None = None) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(source).evaluate(scope or {})
    return caught.value


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("lenn(x)", "column 1: there is no function `lenn`. Did you mean `len`?"),
        ("a.b.trimm()", "column 5: there is no method `trimm`. Did you mean `trim`?"),
        ("x.substring(1)", "column 3: there is no method `substring`. Use slice."),
        ("x.round(1)", "column 3: there is no method `round`. `round` is a function: write round(number, digits)."),
        ("trim(x)", "column 1: there is no function `trim`. `trim` is a method: write text.trim()."),
        ("a = 1", "column 3: `=` is not part of the language. To compare, write ==."),
        ("a & b", "column 3: `&` is not part of the language. For `and`, write &&."),
        ("(1", "column 3: `)` is missing."),
        ("a +", "column 4: the expression ends too early. Something is missing at its end."),
        ("undefined", "column 1: `undefined` is not part of the language. Write null."),
        ("x.map(1)", "column 7: `.map` needs an arrow function here. Write list.map(item => …)."),
        ("größe", "column 3: `ö` is not expected here. A name has letters a to z, digits, _ and $; any other key is "
         "written object['key']."),
        ("'😀' + ?", "column 7: `?` is not expected here."),
        ("1 + 2 - 'x'", "column 7: `-` cannot work on text. Use num() to read a number from text."),
        ("'a'.toFixed(1)", "column 5: text has no method `toFixed`. It belongs to a number."),
        ("1 + 'x'.repeat(-1)", "column 9: `.repeat` needs a count of 0 or more."),
    ],
)  # fmt: skip
def test_an_error_names_the_column_and_what_would_work(source: str, text: str) -> None:
    assert str(error_of(source)) == text


def test_a_position_counts_characters_from_zero() -> None:
    error = error_of("'😀' + lenn(1)")
    assert (error.code, error.position) == ("unknown_function", 6)
    assert isinstance(error, ValueError)


def test_what_is_declared_is_implemented() -> None:
    assert set(FUNCTIONS) == set(FUNCTION_SIGNATURES)
    assert {name for methods in METHODS.values() for name in methods} == set(METHOD_SIGNATURES)


@pytest.mark.parametrize(
    ("source", "old", "new", "renamed"),
    [
        ("a + b.a + a.b", "a", "c", "c + b.a + c.b"),
        (" a /  ( a ) ", "a", "c", " c /  ( c ) "),
        ("{a}", "a", "c", "{a: c}"),
        ("{a: a, 'a': a}", "a", "c", "{a: c, 'a': c}"),
        ("{ a, b }.a", "a", "c", "{ a: c, b }.a"),
        ("xs.map(a => a + b)", "a", "c", "xs.map(a => a + b)"),
        ("a.map(a => a)", "a", "c", "c.map(a => a)"),
        ("xs.map(x => xs.map(a => a + x) + a)", "a", "c", "xs.map(x => xs.map(a => a + x) + c)"),
        ("xs.map(c => c + a)", "a", "c", "xs.map(c2 => c2 + c)"),
        ("xs.map(c => ({c, a}))", "a", "c", "xs.map(c2 => ({c: c2, a: c}))"),
        ("xs.map(c => c) + a", "a", "c", "xs.map(c => c) + c"),
        ("xs.map((c, i) => xs.map(c2 => c + c2 + a))", "a", "c", "xs.map((c3, i) => xs.map(c2 => c3 + c2 + c))"),
        ("`a ${a} ${`${a}`} \\${a}`", "a", "c", "`a ${c} ${`${c}`} \\${a}`"),
        ("'a' + \"a\" + a['a']", "a", "c", "'a' + \"a\" + c['a']"),
        ("len(len)", "len", "size", "len(size)"),
        ("a", "b", "c", "a"),
        ("a + c", "a", "c", "c + c"),
        ("'😀' + a", "a", "c", "'😀' + c"),
    ],
)
def test_rename(source: str, old: str, new: str, renamed: str) -> None:
    assert parse(source).rename(old, new) == renamed


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "null", "new", "__proto__", "constructor", "größe", "a.b"])
def test_rename_refuses_what_is_not_a_name(name: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("a").rename("a", name)
    assert caught.value.code == "bad_name"


def test_renamed_expressions_mean_the_same() -> None:
    scope = {"xs": [1, 2], "a": 10}
    expression = parse("xs.map(c => ({c, a, d: xs.map(a => a + c)}))")
    renamed = parse(expression.rename("a", "c"))
    assert [item["d"] for item in _objects(renamed.evaluate({"xs": [1, 2], "c": 10}))] == [
        item["d"] for item in _objects(expression.evaluate(scope))
    ]
    assert renamed.names == {"xs", "c"}


def _objects(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def test_dependencies_and_names() -> None:
    expression = parse("input.text + rows.map(r => r.total * rate['value'])[0] + input[key].x")
    assert expression.dependencies == (("input",), ("input", "text"), ("key",), ("rate", "value"), ("rows",))
    assert expression.names == {"input", "key", "rate", "rows"}
    assert expression.source.startswith("input.text")


def test_is_expression_and_literal() -> None:
    assert [is_expression(value) for value in ("=a", "=", "a", "\\=a", "", None, 1, ["="])] == [
        True, True, False, False, False, False, False, False,
    ]  # fmt: skip
    assert [literal(value) for value in ("\\=a", "a", "\\", "\\\\=a", "=a")] == ["=a", "a", "\\", "\\\\=a", "=a"]


def test_fuel_can_be_lowered() -> None:
    expression = parse("range(100).map(x => x + 1).length")
    assert expression.evaluate({}) == 100
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate({}, fuel=100)
    assert caught.value.code == "fuel"


def test_whole_numbers_stay_integers() -> None:
    sources = ["4/2", "0.5*4", "f+1", "round(2.4)", "sum([0.5,0.5])"]
    results = [parse(source).evaluate({"f": 2.0}) for source in sources]
    assert [(type(result), result) for result in results] == [(int, 2), (int, 2), (int, 3), (int, 2), (int, 1)]


def test_a_big_integer_that_only_passes_through_keeps_its_digits() -> None:
    assert parse("input.id").evaluate({"input": {"id": 12345678901234567890}}) == 12345678901234567890
    assert parse("x + 1").evaluate({"x": 10**400}) is None
    assert parse("text(x)").evaluate({"x": 10**5000}) == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_hold_is_read_as_null(value: float) -> None:
    scope = {"x": value, "o": {"x": value}, "xs": [value]}
    sources = ["x", "o.x", "xs[0]", "x + 1", "o['x'] == null", "text(x)"]
    assert [parse(source).evaluate(scope) for source in sources] == [None, None, None, None, True, ""]


def test_a_host_object_is_refused_where_it_is_worked_on() -> None:
    class Host:
        secret = "s"

    assert parse("x.secret").evaluate({"x": Host()}) is None
    assert {
        error_of(source, {"x": Host()}).code for source in ("x + 1", "x == 1", "text(x)", "x.trim()", "[x, 1].sort()")
    } == {"bad_value"}


def test_any_mapping_is_a_scope() -> None:
    class Scope(Mapping[str, object]):
        def __getitem__(self, key: str) -> object:
            return {"a": {"b": 1}}[key]

        def __iter__(self) -> Iterator[str]:
            return iter(["a"])

        def __len__(self) -> int:
            return 1

    assert parse("a.b + 1").evaluate(Scope()) == 2
    assert parse("c").evaluate(Scope()) is None


def test_a_result_never_holds_dates() -> None:
    assert parse("({a: [date(0)]})").evaluate({}) == {"a": ["1970-01-01T00:00:00Z"]}


def test_parsing_and_evaluating_deep_in_the_stack_is_a_clean_error() -> None:
    def down(levels: int) -> str:
        if levels:
            return down(levels - 1)
        return error_of("(" * 60 + "1" + ")" * 60).code

    assert down(sys.getrecursionlimit() - 300) == "too_large"


def test_one_expression_serves_many_threads() -> None:
    expression = parse("xs.map(x => xs.map(y => x * y).length + x).at(-1)")
    results: list[object] = []

    def work(size: int) -> None:
        results.extend(expression.evaluate({"xs": list(range(size))}) == 2 * size - 1 for _ in range(30))

    threads = [threading.Thread(target=work, args=(size,)) for size in (5, 10, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 120


def outcome(source: str) -> Expression | ExpressionError:
    try:
        expression = parse(source)
        expression.evaluate({"a": {"b": [1]}})
    except ExpressionError as error:
        return error
    return expression


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="ab.[](){}=>'\"`$?:,+-!&|1 \\\n", max_size=60))
def test_any_text_parses_or_is_an_expression_error(source: str) -> None:
    result = outcome(source)
    if isinstance(result, ExpressionError):
        assert 0 <= result.position <= len(source)
        assert re.match(r"column \d+: .+", str(result))
    else:
        assert result.source == source


def test_a_path_costs_well_below_two_microseconds() -> None:
    import timeit

    expression, scope = parse("input.text"), {"input": {"text": "x"}}
    best = min(timeit.repeat(lambda: expression.evaluate(scope), number=2000, repeat=20)) / 2000
    assert best < 2e-6
