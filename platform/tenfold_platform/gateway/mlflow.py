"""CSV, as MLflow's scoring server takes it. Its four JSON bodies are read by the table models themselves."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import sys
from collections.abc import Collection
from typing import Any

from tenfold_platform.errors import InvalidInput
from tenfold_platform.gateway.http import write_json

CSV = "text/csv"

csv.field_size_limit(sys.maxsize)  # for this process: a body has its limit, and so do its cells


def rows_of_csv(body: bytes, text_columns: Collection[str]) -> bytes:
    """A table with a header line as `dataframe_split` JSON. Raises InvalidInput.

    Empty cells are null. What reads as a number, or as true or false, is one, but in text columns.
    """
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"The body is not CSV in UTF-8: {error}", code="bad_input") from None
    rows = [row for row in rows if row]
    if not rows:
        raise InvalidInput("The CSV is empty.", code="bad_input", hint="Begin with a line of column names.")
    columns, *data = rows
    for number, row in enumerate(data):
        if len(row) != len(columns):
            message = f"Row {number} has {len(row)} values, and there are {len(columns)} columns."
            raise InvalidInput(message, code="bad_input")
    readers = [_text if name in text_columns else _value for name in columns]
    table = {
        "columns": columns,
        "data": [[read(cell) for read, cell in zip(readers, row, strict=True)] for row in data],
    }
    return write_json({"dataframe_split": table})


def _text(cell: str) -> Any:
    return cell or None


def _value(cell: str) -> Any:
    if cell == "" or "_" in cell:  # Python alone reads 1_000 as a number
        return cell or None
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    with contextlib.suppress(ValueError):
        return int(cell)
    with contextlib.suppress(ValueError):
        number = float(cell)
        return number if math.isfinite(number) else cell
    return cell
