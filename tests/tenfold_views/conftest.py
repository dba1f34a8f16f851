from collections.abc import Callable
from typing import Any

import pytest

from tenfold_expressions import Problem
from tenfold_views import View, lint, view_of

Report = Callable[..., list[tuple[str, str]]]

WORKLETS = {"classify": {"image": "file", "top": "int?"}, "store": {"id": "str", "result": "json"}}


@pytest.fixture
def make_view() -> Callable[..., View]:
    def make(**parts: Any) -> View:
        return view_of({"view": 1, "name": "main", "nodes": {}, **parts}, filename="main.yaml")

    return make


@pytest.fixture
def problems_of(make_view: Callable[..., View]) -> Report:
    """What the lint says about a document: (path, message and hint) of every problem."""

    def report(*, others: dict[str, View] | None = None, **parts: Any) -> list[tuple[str, str]]:
        view = make_view(**parts)
        found = lint(view, worklets=WORKLETS, models=["iris"], views={"main": view, **(others or {})})
        return [(problem.path, said(problem)) for problem in found]

    return report


def said(problem: Problem) -> str:
    return f"{problem.message}. {problem.hint}".strip()
