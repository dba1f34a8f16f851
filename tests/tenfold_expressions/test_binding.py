"""Values with expressions nested in them."""

import pytest

from tenfold_expressions import BindingErrors, Json, Problem, bind


def test_a_binding_computes_every_expression_and_keeps_the_rest() -> None:
    binding = bind({"text": "=input.text", "limit": 10, "all": ["=a.b", {"deep": "=input.n + 1"}], "plain": "\\=x"})
    assert binding.evaluate({"input": {"text": "hi", "n": 1}, "a": {"b": None}}) == {
        "text": "hi", "limit": 10, "all": [None, {"deep": 2}], "plain": "=x",
    }  # fmt: skip
    assert binding.dependencies == (("a", "b"), ("input", "n"), ("input", "text"))
    assert binding.names == {"a", "input"}
    assert not binding.is_constant


def test_a_value_without_names_is_constant() -> None:
    assert bind({"a": [1, "x", None, "=1 + 1"]}).is_constant
    assert bind("=1 + 1").evaluate({}) == 2
    assert bind(None).evaluate({}) is None


def test_a_result_shares_nothing_with_the_document() -> None:
    numbers: list[Json] = [1]
    document: Json = {"list": numbers, "value": "=a"}
    binding = bind(document)
    first = binding.evaluate({"a": 1})
    assert isinstance(first, dict)
    first["list"] = "changed"
    numbers.append(2)
    assert binding.evaluate({"a": 1}) == {"list": [1], "value": 1}


def test_everything_that_does_not_parse_is_reported_with_its_path() -> None:
    with pytest.raises(BindingErrors) as caught:
        bind({"a": ["=1 +", "ok", {"b": "=lenn(x)"}], "c": object()})  # type: ignore[dict-item]
    assert [(problem.path, problem.code, problem.column) for problem in caught.value.problems] == [
        ("a[0]", "syntax", 3), ("a[2].b", "unknown_function", 0), ("c", "bad_value", None),
    ]  # fmt: skip
    assert "a[2].b (column 1): there is no function `lenn`. Did you mean `len`?" in str(caught.value)


def test_everything_that_does_not_evaluate_is_reported_with_its_path() -> None:
    with pytest.raises(BindingErrors) as caught:
        bind({"a": "=1 - b", "c": {"d": "=[b] * 2"}, "e": "=b"}).evaluate({"b": "x"})
    assert [(problem.path, problem.code) for problem in caught.value.problems] == [
        ("a", "bad_operand"), ("c.d", "bad_operand"),
    ]  # fmt: skip


def test_a_value_nested_too_deeply_is_a_problem() -> None:
    value: object = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(BindingErrors, match="nested more than 64 deep"):
        bind(value)  # type: ignore[arg-type]


def test_a_problem_can_be_seen_from_further_out() -> None:
    assert Problem("in.text", "m").under("nodes.clean").path == "nodes.clean.in.text"
    assert Problem("[0]", "m").under("items").path == "items[0]"
    assert Problem("", "m").under("items").path == "items"
    assert str(Problem("a", "is wrong", "Fix it.", line=3, column=4)) == "line 3, a (column 5): is wrong. Fix it."
