"""What can be wrong: with one expression, or with a document that holds many.

ExpressionError   one expression does not parse, or its evaluation stopped
Problem           one thing wrong with a document, with its path
DocumentError     everything wrong with a document, reported at once
BindingErrors     the same for a value with expressions nested in it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Code = Literal[
    "syntax",
    "forbidden_name",
    "unknown_function",
    "unknown_method",
    "bad_argument",
    "bad_operand",
    "bad_value",
    "bad_name",
    "fuel",
    "too_large",
]


class ExpressionError(ValueError):
    """An expression that does not parse, or whose evaluation stopped.

    `position` is the 0-based column in the expression's source, counted in characters (code points),
    without the leading `=`.
    """

    def __init__(self, code: Code, message: str, position: int = 0, hint: str = "") -> None:
        super().__init__(code, message, position, hint)
        self.code: Code = code
        self.message = message
        self.position = position
        self.hint = hint

    def __str__(self) -> str:
        hint = f" {self.hint}" if self.hint else ""
        return f"column {self.position + 1}: {self.message}.{hint}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document.

    `path` reads like `nodes.clean.in.items[0]`; `column` is 0-based within the expression, `line` is
    1-based within the file.
    """

    path: str
    message: str
    hint: str = ""
    code: str = ""
    column: int | None = None
    line: int | None = None

    def under(self, prefix: str) -> Problem:
        """The same problem, seen from a document that holds this value at `prefix`."""
        if not prefix or not self.path:
            return replace(self, path=prefix or self.path)
        joint = "" if self.path.startswith("[") else "."
        return replace(self, path=f"{prefix}{joint}{self.path}")

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}"
        where = ", ".join(part for part in (line, self.path) if part)
        column = "" if self.column is None else f" (column {self.column + 1})"
        hint = f" {self.hint}" if self.hint else ""
        return f"{where}{column}: {self.message}.{hint}" if where else f"{self.message}{column}.{hint}"


class DocumentError(ValueError):
    """Everything wrong with one document."""

    def __init__(self, problems: Iterable[Problem], *, filename: str = "") -> None:
        self.problems: list[Problem] = list(problems)
        self.filename = filename
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        name = self.filename or "document"
        lines = [f"{name} has {count} problem{'' if count == 1 else 's'}:"]
        return "\n".join(lines + [f"  {problem}" for problem in self.problems])


class BindingErrors(DocumentError):
    """Every expression of one value that does not parse, each with its path."""


def join_path(path: Iterable[str | int]) -> str:
    """Write a path as people read it: `nodes.clean.in.items[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was probably meant to be, if one is near enough."""
    allowed = max(1, min(3, len(word) // 3))
    ranked = sorted((_edits(word.lower(), candidate.lower()), candidate) for candidate in candidates)
    return ranked[0][1] if ranked and ranked[0][0] <= allowed else None


def _edits(a: str, b: str) -> int:
    if abs(len(a) - len(b)) > 3:
        return 4
    row = list(range(len(b) + 1))
    for i, left in enumerate(a):
        before, row[0] = row[0], i + 1
        for j, right in enumerate(b):
            before, row[j + 1] = row[j + 1], min(before + (left != right), row[j] + 1, row[j + 1] + 1)
    return row[-1]
