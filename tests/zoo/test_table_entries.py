"""The zoo's entries that take tables and series, each in its own environment."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

pytestmark = pytest.mark.slow


class TestIrisSpecies:
    def test_the_example_is_a_virginica(self, zoo: Any, example: Callable[[str], Any]) -> None:
        answer = zoo("iris-species").predict(example("iris-species"))

        assert answer["predictions"] == ["virginica"]
        assert answer["classes"] == ["setosa", "versicolor", "virginica"]
        assert sum(answer["probabilities"][0]) == pytest.approx(1, abs=0.001)

    def test_nearly_all_flowers_are_named_right(self, zoo: Any) -> None:
        iris = load_iris()

        answer = zoo("iris-species").predict({"inputs": iris.data.tolist()})

        assert np.mean(np.array(answer["predictions"]) == iris.target_names[iris.target]) > 0.95

    def test_the_order_of_the_columns_does_not_matter(self, zoo: Any) -> None:
        row = {"petal_width": 0.2, "petal_length": 1.4, "sepal_width": 3.5, "sepal_length": 5.1}

        assert zoo("iris-species").predict({"inputs": [row]})["predictions"] == ["setosa"]

    @pytest.mark.parametrize(
        ("inputs", "named"),
        [
            ({"inputs": []}, "inputs"),
            ({"inputs": [{"sepal_length": 5.1}]}, "petal_width"),
            ({"inputs": [{"sepal_length": "long", "sepal_width": 1, "petal_length": 1, "petal_width": 1}]}, "long"),
            ({"inputs": [[1, 2, 3]]}, r"inputs[0]"),
            ({"inputs": [[1, 2, 3, 4], {"colour": "blue"}]}, "colour"),
            ("flower", "inputs"),
        ],
    )
    def test_wrong_rows_are_refused_by_name(self, zoo: Any, inputs: Any, named: str) -> None:
        assert named in zoo("iris-species").refusal(inputs)


class TestBreastCancer:
    def test_the_example_is_malignant(self, zoo: Any, example: Callable[[str], Any]) -> None:
        answer = zoo("breast-cancer").predict(example("breast-cancer"))

        assert answer["predictions"] == ["malignant"]
        assert answer["probabilities"][0][answer["classes"].index("malignant")] > 0.9

    def test_most_patients_are_judged_right(self, zoo: Any) -> None:
        data = load_breast_cancer()

        answer = zoo("breast-cancer").predict({"inputs": data.data[:, :10].tolist()})

        assert np.mean(np.array(answer["predictions"]) == data.target_names[data.target]) > 0.92


class TestDiabetesProgression:
    def test_the_example_is_near_what_was_measured(self, zoo: Any, example: Callable[[str], Any]) -> None:
        (predicted,) = zoo("diabetes-progression").predict(example("diabetes-progression"))["predictions"]

        assert abs(predicted - 151) < 88  # twice what is typical

    def test_it_explains_half_of_the_differences(self, zoo: Any) -> None:
        data = load_diabetes(scaled=False)

        predicted = np.array(zoo("diabetes-progression").predict({"inputs": data.data.tolist()})["predictions"])

        explained = 1 - np.sum((data.target - predicted) ** 2) / np.sum((data.target - data.target.mean()) ** 2)
        assert 0.45 < explained < 0.6


class TestAnomalyDetection:
    def test_the_odd_reading_of_the_example_is_first(self, zoo: Any, example: Callable[[str], Any]) -> None:
        given = example("anomaly-detection")

        rows = zoo("anomaly-detection").predict(given)

        assert len(rows) == len(given["rows"])
        assert rows[0] == {
            "row": 7,
            "score": rows[0]["score"],
            "deviation": rows[0]["deviation"],
            "because_of": "temperature",
            "temperature": 84.7,
            "pressure": 3.1,
            "speed": 1482,
        }
        scores = [row["score"] for row in rows]
        assert 1 > scores[0] > scores[1]
        assert scores == sorted(scores, reverse=True)
        assert rows[0]["deviation"] > 10 * max(row["deviation"] for row in rows[1:])

    def test_a_csv_file_is_read_with_its_texts_and_gaps(self, zoo: Any, drawings: ModuleType) -> None:
        lines = ["amount,country,note"]
        lines += [
            f"{40 + number % 7},{'NL' if number % 3 else 'BE'},{'' if number % 5 else 'x'}" for number in range(60)
        ]
        lines.insert(31, "43,KP,")
        lines.insert(47, "9100,NL,")
        file = drawings.as_file("\n".join(lines).encode(), "payments.csv", "text/csv")

        rows = zoo("anomaly-detection").predict({"file": file})

        assert {row["row"] for row in rows[:2]} == {31, 47}
        assert {row["because_of"] for row in rows[:2]} == {"country", "amount"}
        assert rows[5]["note"] in (None, "x")

    def test_at_most_a_hundred_rows_come_back(self, zoo: Any) -> None:
        rows = [{"value": number % 10} for number in range(500)]

        assert len(zoo("anomaly-detection").predict({"rows": rows})) == 100

    @pytest.mark.parametrize(
        ("inputs", "named"),
        [({}, "rows"), ({"rows": [{"a": 1}] * 3}, "3 rows"), ({"rows": "a,b"}, "rows")],
    )
    def test_what_is_no_table_is_refused(self, zoo: Any, inputs: Any, named: str) -> None:
        assert named in zoo("anomaly-detection").refusal(inputs)

    def test_a_file_that_is_no_csv_is_refused(self, zoo: Any, drawings: ModuleType) -> None:
        file = drawings.as_file(bytes(range(256)), "a.csv", "text/csv")

        assert "CSV" in zoo("anomaly-detection").refusal({"file": file})


class TestForecast:
    def test_the_season_and_the_trend_of_the_example_go_on(self, zoo: Any, example: Callable[[str], Any]) -> None:
        rows = zoo("forecast").predict(example("forecast"))

        assert [row["step"] for row in rows] == [1, 2, 3, 4]
        assert [row["forecast"] for row in rows] == pytest.approx([60, 106, 150, 75], rel=0.08)
        assert all(row["low"] < row["forecast"] < row["high"] for row in rows)

    def test_what_was_held_back_is_predicted(self, zoo: Any) -> None:
        random = np.random.default_rng(5)
        season = [20 * math.sin(month * 2 * math.pi / 12) for month in range(12)]
        values = [100 + 0.5 * at + season[at % 12] + random.normal(0, 2) for at in range(132)]

        rows = zoo("forecast").predict({"values": values[:120], "steps": 12, "season": 12})

        off = [abs(row["forecast"] - value) for row, value in zip(rows, values[120:], strict=True)]
        within = [row["low"] <= value <= row["high"] for row, value in zip(rows, values[120:], strict=True)]
        assert np.mean(off) < 4
        assert np.mean(within) > 0.5

    def test_a_series_that_does_not_change_goes_on_unchanged(self, zoo: Any) -> None:
        rows = zoo("forecast").predict({"values": [5, 5, 5, 5, 5, 5], "steps": 2})

        assert [row["forecast"] for row in rows] == pytest.approx([5, 5])

    def test_the_further_the_less_sure(self, zoo: Any) -> None:
        random = np.random.default_rng(1)
        values = (50 + np.cumsum(random.normal(0, 1, 60))).tolist()

        rows = zoo("forecast").predict({"values": values, "steps": 20})

        widths = [row["high"] - row["low"] for row in rows]
        assert widths == sorted(widths)
        assert widths[-1] > 1.5 * widths[0]

    @pytest.mark.parametrize(
        ("inputs", "named"),
        [
            ({"values": [1, 2, "three", 4]}, "values"),
            ({"values": [1, 2, 3]}, "3 values"),
            ({"values": [1, 2, 3, 4], "steps": 0}, "steps"),
            ({"values": [1, 2, 3, 4, 5], "season": 4}, "season of 4"),
            ({"values": [1, 2, 3, 4], "season": 1}, "season"),
        ],
    )
    def test_what_cannot_be_continued_is_refused(self, zoo: Any, inputs: Any, named: str) -> None:
        assert named in zoo("forecast").refusal(inputs)
