"""Finds odd rows in a table with an isolation forest, grown on that table."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest

from model.files import HTTPException, bytes_of

FEWEST_ROWS, MOST_ROWS = 10, 50_000
MOST_ANSWERED = 100


class Model:
    def predict(self, inputs: Any) -> list[dict[str, Any]]:
        """{"rows": [objects]} or {"file": CSV} to the rows, the oddest first."""
        table = table_of(inputs)
        numbers = numbers_of(table)
        forest = IsolationForest(n_estimators=200, random_state=0).fit(numbers.to_numpy())
        scores = -forest.score_samples(numbers.to_numpy())
        distances = distances_of(numbers)
        order = np.argsort(-scores, kind="stable")[:MOST_ANSWERED]
        return [
            {
                "row": int(at) + 1,
                "score": round(float(scores[at]), 3),
                "because_of": str(distances.iloc[at].idxmax()),
                "deviation": round(float(distances.iloc[at].max()), 1),
            }
            | told
            for at, told in zip(order, table.iloc[order].to_dict(orient="records"), strict=True)
        ]


def table_of(inputs: Any) -> pd.DataFrame:
    """The table of a request. Raises HTTPException where it is none, too small or too large."""
    given = inputs if isinstance(inputs, dict) else {}
    rows = given.get("rows")
    try:
        if given.get("file"):
            table = pd.read_csv(io.BytesIO(bytes_of(given)))
        elif isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            table = pd.DataFrame(rows)
        else:
            raise HTTPException(400, 'Send {"rows": [{"a": 1, "b": 2}, ...]}, or a CSV file as {"file": ...}.')
    except (ValueError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"The file is not a CSV table: {error}.") from None
    if not FEWEST_ROWS <= len(table) <= MOST_ROWS:
        raise HTTPException(400, f"The table has {len(table)} rows; send from {FEWEST_ROWS} to {MOST_ROWS}.")
    return table


def numbers_of(table: pd.DataFrame) -> pd.DataFrame:
    """Every column as numbers: texts by how rare they are, what is missing as the middle of its column."""
    numbers = pd.DataFrame(index=table.index)
    for name, column in table.items():
        values = pd.to_numeric(column, errors="coerce")
        if values.isna().sum() > column.isna().sum():  # some of it is text
            values = -np.log(column.astype(str).map(column.astype(str).value_counts(normalize=True)))
        middle = values.median()
        numbers[str(name)] = values.replace([np.inf, -np.inf], np.nan).fillna(0 if pd.isna(middle) else middle)
    return numbers.astype(float)


def distances_of(numbers: pd.DataFrame) -> pd.DataFrame:
    """How far each value is from the middle of its column, in units of the column's usual distance from it."""
    away = (numbers - numbers.median()).abs()
    usual = away.median().where(away.median() > 0, away.mean())
    return away / usual.where(usual > 0, 1)
