"""The two halves, given the same expressions, answer the same: value, dependencies, or error, column and words."""

import json
import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from tenfold_expressions import ExpressionError, parse
from tenfold_expressions.signatures import FUNCTIONS, METHODS, Signature

T = TypeVar("T")

STUDIO = Path(__file__).resolve().parents[2] / "views" / "studio"
SEEDS = int(os.environ.get("DIFFERENTIAL_SEEDS", "4"))
CASES_PER_SEED = 1500

TEXTS = ["", "a", "Ab c", " x ", "12.5", "-3", "1e3", "é", "😀b", "ß", "2024-02-29", "2024-02-29T12:30:45.5Z", "a,b,,c"]
TEXTS += ["toString", "İ", "ΑΣ", "0", "\ufffd", "\uffff", "\u2028", '"q"\\', "length", "days", "month", "\ud800x"]
NUMBERS = [0, 1, 2, 3, -1, 7, 10, 0.5, -2.5, 1.005, 0.1, 1e21, 1e-7, 123456.789, 2**53, -(2**53), 1e308, 5e-324, 100]
KEYS = ["a", "b", "name", "2", "10", "x y", "length", "toString"]
UNITS = ["days", "hour", "months", "years", "weeks", "minute", "seconds"]
PATTERNS = ["0.00", "#,##0", "0%", "YYYY-MM-DD", "#,##0.0#", "$0", "HH:mm", "000", "0.###%"]
OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "??"]
JUNK = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    "?.",
    "...",
    "`",
    "'",
    "${",
    "=>",
    "=",
    "1",
    "x",
    " ",
    "\\",
    "😀",
    "é",
    ",",
    ":",
    "?",
]


class Generator:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.locals: list[str] = []

    def case(self) -> dict[str, object]:
        scope = {name: self.value(3) for name in ("a", "b", "rows", "input")}
        scope["rows"] = [self.record() for _ in range(self.random.randint(0, 5))]
        expression = self.expression(self.random.randint(1, 5))
        if self.random.random() < 0.2:
            expression = self.broken(expression)
        return {"expr": expression, "scope": scope}

    def record(self) -> dict[str, object]:
        return {
            "id": self.random.randint(1, 3),
            "name": self.pick(TEXTS),
            "total": self.pick(NUMBERS),
            "a": self.value(1),
        }

    def value(self, depth: int) -> object:
        choice = self.random.random()
        if depth and choice < 0.3:
            return [self.value(depth - 1) for _ in range(self.random.randint(0, 4))]
        if depth and choice < 0.55:
            return {self.pick(KEYS): self.value(depth - 1) for _ in range(self.random.randint(0, 4))}
        return self.pick(
            [None, True, False, self.pick(NUMBERS), self.pick(NUMBERS), self.pick(TEXTS), self.pick(TEXTS)]
        )

    def pick(self, items: Sequence[T]) -> T:
        return self.random.choice(items)

    def expression(self, depth: int) -> str:
        if depth <= 0:
            return self.leaf()
        makers = [self.leaf, self.binary, self.member, self.method, self.function, self.conditional]
        makers += [self.array, self.object, self.template, self.unary, self.method, self.group]
        self.depth = depth - 1
        return self.pick(makers)()

    def inner(self) -> str:
        depth, result = self.depth, self.expression(self.depth)
        self.depth = depth
        return result

    def leaf(self) -> str:
        choice = self.random.random()
        if choice < 0.45:
            return self.pick(["a", "b", "rows", "input", "missing", *self.locals, *self.locals])
        if choice < 0.65:
            return self.written_number(self.pick(NUMBERS))
        if choice < 0.85:
            return self.written_text(self.pick([*TEXTS, *KEYS, *UNITS, *PATTERNS]))
        return self.pick(["null", "true", "false", "[]", "{}", "''", "rows", "date('2024-01-31')", "range(4)"])

    def written_number(self, value: float) -> str:
        return f"({value!r})" if value < 0 else repr(value)

    def written_text(self, value: str) -> str:
        well_formed = value.replace("\ud800", "\\ud83d\\ude00")
        return "'" + well_formed.replace('"q"\\', '"q"\\\\') + "'"

    def group(self) -> str:
        return f"({self.inner()})"

    def unary(self) -> str:
        return f"{self.pick(['!', '-', '!!', '- -'])}{self.inner()}"

    def binary(self) -> str:
        return f"{self.inner()} {self.pick(OPERATORS)} {self.inner()}"

    def conditional(self) -> str:
        return f"({self.inner()} ? {self.inner()} : {self.inner()})"

    def array(self) -> str:
        return f"[{', '.join(self.pick(['', '', '', '...']) + self.inner() for _ in range(self.random.randint(0, 4)))}]"

    def object(self) -> str:
        entries = []
        for _ in range(self.random.randint(0, 3)):
            key = self.pick(["a", "name", "'x y'", "'2'", "'10'", f"[{self.inner()}]"])
            entries.append(self.pick([f"{key}: {self.inner()}", f"{key}: {self.inner()}", f"...{self.inner()}", "a"]))
        return f"({{{', '.join(entries)}}})"

    def template(self) -> str:
        return f"`x${{{self.inner()}}}é${{{self.inner()}}}`"

    def member(self) -> str:
        base = self.base()
        return self.pick(
            [
                f"{base}.{self.pick(['a', 'b', 'name', 'length', 'total'])}",
                f"{base}?.name",
                f"{base}[{self.inner()}]",
                f"{base}[0]",
            ]
        )

    def base(self) -> str:
        text = self.inner()
        return text if text.replace("_", "a").isalnum() and not text[0].isdigit() else f"({text})"

    def method(self) -> str:
        name = self.pick(sorted(METHODS))
        return f"{self.receiver(name)}.{name}({self.arguments(name, METHODS[name])})"

    def receiver(self, name: str) -> str:
        if self.random.random() < 0.3:
            return self.base()
        if name in ("map", "filter", "find", "sort", "reduce", "join", "flat", "flatMap", "some", "every", "reverse"):
            return self.pick(
                ["rows", "[3, 1, null, 2]", "['b', 'a', '😀']", "range(4)", "[[1], [2, [3]]]", f"[{self.inner()}]"]
            )
        if name in ("year", "add", "diff", "startOf", "iso", "weekday", "month"):
            return self.pick(["date('2024-02-29T12:30:45Z')", "date(0)", f"date({self.inner()})"])
        return self.pick([f"text({self.inner()})", self.base(), "(1.005)", "'a😀b,c'", "rows"])

    def function(self) -> str:
        name = self.pick(sorted(FUNCTIONS))
        return f"{name}({self.arguments(name, FUNCTIONS[name])})"

    def arguments(self, name: str, signature: Signature) -> str:
        least, most = signature.least, signature.most
        count = self.random.randint(least, min(most, least + 2))
        return ", ".join(self.argument(name, number, signature) for number in range(count))

    def argument(self, name: str, number: int, signature: Signature) -> str:
        if signature.arrow == number:
            return self.arrow(self.random.randint(1, signature.parameters))
        if name in ("add", "diff", "startOf") and number == signature.most - 1:
            return f"'{self.pick(UNITS)}'"
        if name == "fmt" and number == 1:
            return f"'{self.pick(PATTERNS)}'"
        small = self.pick(["0", "1", "2", "-1", "3"])
        return self.pick([self.inner(), self.inner(), small, small, self.written_text(self.pick(TEXTS))])

    def arrow(self, parameters: int) -> str:
        names = self.random.sample(["x", "y", "i", "a", "rows"], parameters)
        self.locals += names
        body = self.inner()
        del self.locals[-parameters:]
        written = names[0] if parameters == 1 and self.random.random() < 0.7 else f"({', '.join(names)})"
        return f"{written} => {body}"

    def broken(self, text: str) -> str:
        at, end = sorted(self.random.randint(0, len(text)) for _ in range(2))
        return self.pick([text[:at] + text[at + 1 :], text[:at] + self.pick(JUNK) + text[at:], text[:at] + text[end:]])


def this_half(case: dict[str, object]) -> dict[str, object]:
    try:
        expression = parse(str(case["expr"]))
        result = expression.evaluate(case["scope"])  # type: ignore[arg-type]
        return {"result": result, "dependencies": [list(path) for path in expression.dependencies]}
    except ExpressionError as error:
        return {"error": error.code, "position": error.position, "message": f"{error.message} | {error.hint}"}


def same(left: object, right: object) -> bool:
    """Equal as JSON: true is not 1, a whole number may be written with a point."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return float(left) == float(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


@pytest.fixture(scope="module")
def other_half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundler = STUDIO / "node_modules" / ".bin" / "rolldown"
    assert bundler.exists(), "the studio's packages are missing: run `npm ci` in views/studio"
    bundle = tmp_path_factory.mktemp("differential") / "differential.mjs"
    source = STUDIO / "src" / "expr" / "differential.ts"
    command = [str(bundler), str(source), "--platform", "node", "--format", "esm", "--file", str(bundle)]
    subprocess.run(command, cwd=STUDIO, check=True, capture_output=True, timeout=120)
    return bundle


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_halves_answer_the_same(other_half: Path, seed: int) -> None:
    generator = Generator(seed)
    cases = [generator.case() for _ in range(CASES_PER_SEED)]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    ran = subprocess.run(["node", other_half], input=lines, capture_output=True, text=True, check=True, timeout=120)
    answers = ran.stdout.removesuffix("\n").split("\n")

    mine = [this_half(case) for case in cases]
    theirs = [json.loads(answer) for answer in answers]

    different = [triple for triple in zip(cases, mine, theirs, strict=True) if not same(triple[1], triple[2])]
    assert different == []
    assert sum("result" in outcome for outcome in mine) > CASES_PER_SEED / 4


def test_the_generator_reaches_every_method_and_function() -> None:
    generator = Generator(0)
    text = "\n".join(str(generator.case()["expr"]) for _ in range(2000))
    assert [name for name in METHODS if f".{name}(" not in text] == []
    assert [name for name in FUNCTIONS if f"{name}(" not in text] == []
