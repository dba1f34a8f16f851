"""Compiled serving: which estimators are proven equal, and which are refused and why."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import HERE

ZOO_SECONDS = 1800  # some seventy models, each asked thousands of times

REFUSED = {
    "sgd": "the model answers",  # far out its scores tie after rounding, where the model itself still knows the larger
    "polynomial": "Numbers differ",  # in float32 only, where powers far out leave no digit of a small sum
    "power": "Numbers differ",
    "bins": "cannot be converted",
    "bins of round data": "Numbers differ",  # edges that are rounded to float32 lie on the data
    "numbered bins of round data": "Numbers differ",
    "threshold on round data": "the model answers",
    "threshold of a column": "",
    "scaled threshold": "",
    "polynomial and a forest": "cannot be opened",
    "heavy tail": "Numbers differ",  # of sums in float32 the small ones have few digits
    "transformed target": "a TransformedTargetRegressor, and what that compares its input with is not known",
    "imputer with indicator": "cannot be converted",
    "imputer by neighbours": "a KNNImputer, and what that compares",
    "own step": "a Logarithm, and what that compares its input with is not known",
    "own function": "a function of its own",
    "several outputs": "It gives several classes for each row.",
}
FLOAT32 = {
    "logistic of float32",  # as it was fitted
    "ridge classifier",  # compiled with inputs of float32, whatever its classes come to
    "svc",
    "svc, scaled",
    "svc, linear",
    "isolation",
    "svr",
    "tree, regressor",
    "forest, regressor",
    "boosting",
    "boosting of two",
    "boosting, regressor",
    "histograms",
    "histograms of two",
    "histograms, regressor",
    "histograms with gaps",
    "ada",
    "imputer",
    "columns with gaps",
    "columns, ordinal",
    "columns, ordinal with unknown",
    "columns dropped",
}


def run(python: Path, script: str) -> list[dict[str, Any]]:
    """What it prints, one JSON a line."""
    done = subprocess.run(
        [python, HERE / "notebook" / script],
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        timeout=ZOO_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def zoo(notebook_python: Path) -> dict[str, dict[str, Any]]:
    """What the compilers of all the packages said."""
    told = {one["name"]: one for one in run(notebook_python, "compiled_zoo.py")}
    # which of two equal forms is faster is not for a test to say: the machine may be busy with something else
    known = {name: one for name, one in told.items() if "not faster" not in one["reason"]}
    assert len(known) > 60
    return known


def test_what_is_proven_agrees_within_its_precision(zoo: dict[str, dict[str, Any]]) -> None:
    proven = {name: one["report"] for name, one in zoo.items() if one["state"] == "proven"}
    assert set(zoo) - set(proven) == set(REFUSED)
    assert {name for name, report in proven.items() if report["precision"] != "float64"} == FLOAT32 & set(zoo)
    for name, report in proven.items():
        limit = 1e-9 if report["precision"] == "float64" else 1e-5
        assert report["largest_difference"] <= limit, name
        assert report["largest_relative_difference"] <= 2, name
        assert report["inputs"] == "float64" or report["precision"] == "float32", name
        assert report["rows"] > 400, name
        assert set(zoo[name]["files"]) == {"model.onnx", "compiled.json"}
        if "classes_seen" in report:
            assert report["classes_seen"] > 1, name


def test_what_is_refused_says_why(zoo: dict[str, dict[str, Any]]) -> None:
    for name, reason in REFUSED.items():
        assert zoo[name]["state"] == "refused"
        assert reason in zoo[name]["reason"], name
        assert zoo[name]["files"] == {}


def test_forests_are_equal_to_the_last_bit(zoo: dict[str, dict[str, Any]]) -> None:
    forests = ("tree", "forest", "forest of a frame", "extra trees", "scaled forest", "columns and a forest")
    assert {zoo[name]["report"]["largest_difference"] for name in forests if name in zoo} == {0.0}


def test_no_answer_depends_on_another_callers(notebook_python: Path) -> None:
    (told,) = run(notebook_python, "compiled_calls.py")
    assert told["asked"] > 20
    assert told["different"] == []
