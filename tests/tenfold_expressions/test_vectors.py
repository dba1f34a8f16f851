"""The vectors that both halves of the language answer alike."""

import json
from pathlib import Path
from typing import Any

import pytest

from tenfold_expressions import ExpressionError, parse

FOLDER = Path(__file__).resolve().parents[2] / "worklets" / "vectors"
THEMES = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
VECTORS = [
    pytest.param(vector, id=f"{name}:{number}")
    for name, vectors in THEMES.items()
    for number, vector in enumerate(vectors)
]


def outcome(vector: dict[str, Any]) -> dict[str, Any]:
    try:
        expression = parse(vector["expr"])
        result = expression.evaluate(vector["scope"])
        return {"result": result, "dependencies": [list(path) for path in expression.dependencies]}
    except ExpressionError as error:
        return {"error": error.code}


def as_written(value: Any) -> Any:
    """Tell true from 1, which are equal in Python, but not 2.0 from 2, which are one number in JSON."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list):
        return [as_written(item) for item in value]
    if isinstance(value, dict):
        return {key: as_written(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize("vector", VECTORS)
def test_vector(vector: dict[str, Any]) -> None:
    wanted = {key: vector[key] for key in ("result", "dependencies", "error") if key in vector}
    assert as_written(outcome(vector)) == as_written(wanted)


def test_there_are_at_least_500_vectors_and_a_third_of_them_hostile() -> None:
    count = sum(len(vectors) for vectors in THEMES.values())
    hostile = sum(len(vectors) for name, vectors in THEMES.items() if name.startswith("hostile"))
    assert count >= 500
    assert hostile >= count / 3


def test_no_vector_is_written_twice() -> None:
    written = [json.dumps([vector["expr"], vector["scope"]]) for vectors in THEMES.values() for vector in vectors]
    assert len(written) == len(set(written))
