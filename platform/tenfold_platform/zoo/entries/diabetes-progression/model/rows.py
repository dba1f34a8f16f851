"""Rows of a request: {"inputs": [{column: value, ...}, ...]}, or rows as lists in the order of the columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class HTTPException(Exception):
    """What the caller did wrong: answered with its status and text, not as a fault of the model."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail


def rows_of(inputs: Any, columns: list[str]) -> np.ndarray:
    """The rows as numbers, their columns in order. What is wrong is named by row and column."""
    rows = inputs.get("inputs", inputs) if isinstance(inputs, dict) else inputs
    rows = [rows] if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not rows:
        raise HTTPException(400, f'Send rows: {{"inputs": [{{"{columns[0]}": 1.0, ...}}]}}.')
    return np.array([numbers_of(row, columns, f"inputs[{index}]") for index, row in enumerate(rows)])


def numbers_of(row: Any, columns: list[str], where: str) -> list[float]:
    if isinstance(row, list) and len(row) == len(columns):
        row = dict(zip(columns, row, strict=True))
    if not isinstance(row, dict):
        raise HTTPException(400, f"{where} must be an object, or a list of {len(columns)} numbers.")
    wrong = [f"{where} has no column {column}" for column in columns if column not in row]
    wrong += [f"{where} has a column {column} that the model does not know" for column in row if column not in columns]
    for column in columns:
        value = row.get(column, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            wrong.append(f"{where}.{column} is {value!r}, and must be a number")
    if wrong:
        raise HTTPException(400, f"{'; '.join(wrong)}.")
    return [float(row[column]) for column in columns]
