"""Collects everything wrong with a document, so that it can be said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tenfold_expressions import Document, DocumentError, Problem
from tenfold_expressions.errors import join_path
from tenfold_worklets.suggest import did_you_mean, listed

LineOf = Callable[[str], int | None]
MAX_PROBLEMS = 200
MAX_SUGGESTIONS = 20


def lines_of(document: Document) -> LineOf:
    """The line of a path such as `nodes.clean.in.text`; for one that is not there, of what would hold it."""
    lines = {join_path(path): line for path, line in document.lines.items()}

    def line_of(path: str) -> int | None:
        while path and path not in lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return lines.get(path)

    return line_of


class Report:
    """Collects problems. Bounded: a document of nonsense is refused as quickly as any other."""

    def __init__(self, line_of: LineOf = lambda _path: None, *, filename: str = "") -> None:
        self.filename = filename
        self._line_of = line_of
        self._problems: dict[Problem, None] = {}
        self._suggested = 0

    @property
    def problems(self) -> list[Problem]:
        return list(self._problems)

    @property
    def count(self) -> int:
        return len(self._problems)

    def add(self, path: str, message: str, hint: str = "", *, code: str = "", column: int | None = None) -> None:
        if self.count < MAX_PROBLEMS:
            line = self._line_of(path)
            self._problems[Problem(path=path, message=message, hint=hint, code=code, column=column, line=line)] = None
        elif self.count == MAX_PROBLEMS:
            self._problems[Problem(path="", message="there are more problems", hint="Correct these first.")] = None

    def suggest(self, name: str, known: Iterable[str]) -> str | None:
        """`did_you_mean`, for the first so many unknown names: comparing with every name there is takes its time."""
        self._suggested += 1
        return did_you_mean(name, known) if self._suggested <= MAX_SUGGESTIONS else None

    def unknown_keys(self, value: Mapping[Any, object], known: Iterable[str], path: str, what: str) -> None:
        """Report every key of a mapping that is not known."""
        known = list(known)
        for key in value:
            if key not in known:
                hint = self.suggest(str(key), known) or f"Known here: {listed(known)}."
                self.add(below(path, str(key)), f"{what} has no key {key!r}", hint, code="unknown_key")

    def raise_if_any(self) -> None:
        if self._problems:
            raise DocumentError(self.problems, filename=self.filename)


def below(path: str, key: str) -> str:
    """The path of a key below a path."""
    return f"{path}.{key}" if path else key
