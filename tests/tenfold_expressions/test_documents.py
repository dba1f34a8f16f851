"""YAML in and out."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenfold_expressions import DocumentError, Json, dump_yaml, load_yaml


def problems_of(text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(DocumentError) as caught:
        load_yaml(text)
    return [(problem.line, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("Null", None), ("NO", "NO"), ("12", 12), ("-3", -3), ("+3", 3),
        ("0", 0),
        ("010", "010"), ("0o17", "0o17"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"), ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"), ("1.5", 1.5), ("1e3", 1000.0),
        (".5", 0.5), ("1.", 1.0), ("-1.5E-3", -0.0015), ("1.2.3", "1.2.3"), ("=", "="), ("=a.b", "=a.b"),
        ("'=a ? b : c'", "=a ? b : c"), ("=a ?? b", "=a ?? b"),
        ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("! 12", "12"),
        ("|\n a\n b\n", "a\nb\n"), (">\n a\n b\n", "a b\n"), ("[1, a]", [1, "a"]), ("{a: 1}", {"a": 1}),
        ("12345678901234567890", 12345678901234567890), ("<<", "<<"), ("é😀", "é😀"),
    ],
)  # fmt: skip
def test_scalars_are_json_values(text: str, value: object) -> None:
    data = load_yaml(text).data
    assert (type(data), data) == (type(value), value)


def test_keys_that_yaml_1_1_would_change_stay_text() -> None:
    assert load_yaml("on: {click: []}\nyes: 1\nno: 2\n=: 3").data == {"on": {"click": []}, "yes": 1, "no": 2, "=": 3}


def test_every_problem_is_reported_with_its_line() -> None:
    text = "a: 1\na: 2\n1: 3\ntrue: 4\nx: .nan\ny: [-.inf]\n"
    text += "z: !!python/object:os.system {}\nw: !mine 1\n<<: {a: 1}\n? [a]\n: 1"
    assert problems_of(text) == [
        (2, "`a` is written twice, first on line 1"),
        (3, "a key is text, and `1` is not"),
        (4, "a key is text, and `true` is not"),
        (5, ".nan is not a number that JSON can hold"),
        (6, "-.inf is not a number that JSON can hold"),
        (7, "the tag tag:yaml.org,2002:python/object:os.system is not supported"),
        (8, "the tag !mine is not supported"),
        (9, "merge keys (<<) are not supported"),
        (10, "a key is plain text, not a list, an object or an alias"),
    ]


def test_an_error_reads_like_a_list_of_things_to_do() -> None:
    with pytest.raises(DocumentError) as caught:
        load_yaml("nodes:\n  a: 1\n  a: 2\n", filename="triage.yaml")
    assert str(caught.value) == (
        "triage.yaml has 1 problem:\n  line 3, nodes.a: `a` is written twice, first on line 2. Keep one."
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\n---\nb: 2", 2, "a file holds one document, and here a second one begins"),
        ("a: *nothing", 1, "there is no anchor &nothing"),
        ("a: &a [*a]", 1, "*a would hold itself"),
        ("a: 1e999", 1, "this number is too large"),
        (f"a: 1{'0' * 5000}", 1, "this number is too large"),
        ("[" * 65 + "]" * 65, 1, "this is nested more than 64 deep"),
        ("[" * 900 + "]" * 900, 1, "this is nested more than 64 deep"),
        ("[" * 100_000, 1, "this is nested more than 64 deep"),
        ("{a: " * 100_000, 1, "this is nested more than 64 deep"),
    ],
)
def test_what_cannot_be_read_is_a_problem(text: str, line: int, message: str) -> None:
    assert problems_of(text) == [(line, message)]


@pytest.mark.parametrize(
    "text", ["a: [1", "a: 'x", "a: 1\n b: 2", "\tx: 1", "a: \x00", "%YAML 9.9\n--- a", "@a", "a: b: c"]
)
def test_what_is_not_yaml_is_a_problem(text: str) -> None:
    [(_, message)] = problems_of(text)
    assert message.startswith("this is not YAML: ")


def test_an_unquoted_colon_is_explained() -> None:
    with pytest.raises(DocumentError, match="quote text that holds a colon and a space") as caught:
        load_yaml("a:\n  b: =x ? y : z")
    assert caught.value.problems[0].line == 2


def test_aliases_are_copied_and_counted() -> None:
    data = load_yaml("a: &x [1, {b: 2}]\nc: *x\nd: *x").data
    assert data == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": [1, {"b": 2}]}
    assert isinstance(data, dict)
    assert data["c"] is not data["d"]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    [(line, message)] = problems_of("\n".join(lines))
    assert line == 6
    assert "more than 200000 values" in message


def test_a_file_of_more_than_2_mb_is_refused() -> None:
    assert problems_of("a: " + "x" * 2_000_000) == [(None, "the file is larger than 2 MB")]


def test_lines() -> None:
    document = load_yaml("# note\nnodes:\n  a: {b: 1}\n\n  c:\n    - x\n    - y\n")
    paths: list[tuple[str | int, ...]] = [(), ("nodes",), ("nodes", "a"), ("nodes", "a", "b"), ("nodes", "c", 1)]
    assert [document.line_of(path) for path in paths] == [2, 2, 3, 3, 7]
    assert document.line_of(("nodes", "missing", "deeper")) == 2
    assert load_yaml("").line_of(("a",)) is None


def test_dump_is_readable() -> None:
    data: Json = {
        "worklet": 1,
        "on": "=a.b > 1",
        "steps": [{"name": "x", "in": {"text": "=input.text"}}, []],
        "note": "two\nlines\n",
        "odd": ["yes", "null", "12", "", " x", "a: b", "=`${a}`", "1e3", True, None, 1.5, {}],
    }
    assert dump_yaml(data) == (
        "worklet: 1\n"
        "on: =a.b > 1\n"
        "steps:\n"
        "  - name: x\n"
        "    in:\n"
        "      text: =input.text\n"
        "  - []\n"
        "note: |\n"
        "  two\n"
        "  lines\n"
        "odd:\n"
        "  - yes\n"
        "  - 'null'\n"
        "  - '12'\n"
        "  - ''\n"
        "  - ' x'\n"
        "  - 'a: b'\n"
        "  - =`${a}`\n"
        "  - '1e3'\n"
        "  - true\n"
        "  - null\n"
        "  - 1.5\n"
        "  - {}\n"
    )


def test_dump_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(DocumentError) as caught:
        dump_yaml({"a": [math.nan, {1: "x"}, object()]})  # type: ignore[dict-item, list-item]
    assert [problem.path for problem in caught.value.problems] == ["a[0]", "a[1]", "a[2]"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=15,
)


@settings(deadline=None)
@given(json_values)
@example({"\x85": "\u2028"})  # line breaks to YAML
def test_what_is_dumped_reads_back_the_same(data: object) -> None:
    assert load_yaml(dump_yaml(data)).data == data  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`?,# \n\t01=~.<", max_size=40))
def test_any_text_loads_or_is_a_document_error(text: str) -> None:
    problems = None
    try:
        load_yaml(text)
    except DocumentError as error:
        problems = error.problems
    assert problems != []
