"""Problems of documents in the API's shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenfold_expressions import Problem


def as_details(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Each problem as an entry of an error's `details`."""
    return [
        {
            "path": problem.path,
            "message": problem.message,
            "hint": problem.hint,
            "code": problem.code,
            "line": problem.line,
            "column": problem.column,
        }
        for problem in problems
    ]
