"""Reads tables from what callers send. Standard library only; pandas or numpy where the model takes theirs. 3.9+.

A body is {"inputs": [rows]}, where a row is an object of column names or a list in the order of the columns; also a
bare list of rows, one row, and MLflow's dataframe_split, dataframe_records and instances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._fields import listed, read_value, refuse, shown

PLAIN = {"float": float, "int": int, "str": str, "bool": bool}
LIMITS = ("choices", "minimum", "maximum")


class TableReader:
    """Rows as the model was fitted with them, as `about` (the package's own metadata) says."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._fields = about["schema"]["fields"]
        self._names = [field["name"] for field in self._fields]
        self._known = set(self._names)
        may_lack = {field["name"] for field in self._fields if field.get("nullable")}
        self._required = [name for name in self._names if name not in may_lack or name in about.get("required", ())]
        self._input = about["input"]  # frame: a pandas table; array: a numpy array; values: a list of single values
        self._dtypes = about.get("dtypes", {})
        self._dtype = about.get("dtype")
        is_free = not any(field.get(limit) is not None for field in self._fields for limit in LIMITS)
        self._types = [PLAIN.get(field["type"]) for field in self._fields] if is_free else []
        self._is_of_floats = is_free and set(self._types) == {float}

    def read(self, body: Any) -> Any:
        """The body's rows as a pandas table, a numpy array or a list of values. Refuses what does not fit."""
        return self._made(self.rows(body))

    def columns(self, body: Any) -> tuple[dict[str, list[Any]], int]:
        """The values by column, and the number of rows."""
        rows = self.rows(body)
        return self._by_column(rows), len(rows)

    def rows(self, body: Any) -> list[list[Any]]:
        """The values by row, in the order of the columns."""
        rows = rows_of(body, self._names, single=len(self._names) == 1)
        return [self._checked(self._in_order(row, number), number, len(rows)) for number, row in enumerate(rows)]

    def batch(self, bodies: Sequence[Any], answer: Callable[[Any], dict[str, Any]]) -> list[Any]:
        """What `answer` gives for the rows of each body, which it is asked about together; in the place of a body that
        does not fit: its refusal.
        """
        return batched(bodies, self.rows, lambda rows: answer(self._made(rows)), self.may_be_joined)

    def batch_columns(
        self, bodies: Sequence[Any], answer: Callable[[dict[str, list[Any]], int], dict[str, Any]]
    ) -> list[Any]:
        """As `batch`, for an answer that takes the values by column, and the number of rows."""
        return batched(bodies, self.rows, lambda rows: answer(self._by_column(rows), len(rows)), self.may_be_joined)

    def table(self, columns: dict[str, list[Any]], count: int) -> Any:
        """As `read`, of values that have been read by column."""
        values = list(columns.values())
        return self._made([[column[row] for column in values] for row in range(count)])

    def may_be_joined(self, rows: list[list[Any]]) -> bool:
        """Missing values may give a column another type, and so must not change that of other calls."""
        has_one_type = self._input == "array" and (self._dtype is not None or self._is_of_floats)
        return has_one_type or not any(None in row for row in rows)

    def _made(self, rows: list[list[Any]]) -> Any:
        if self._input == "values":
            return [row[0] for row in rows]
        return self._frame(self._by_column(rows)) if self._input == "frame" else self._array(rows)

    def _by_column(self, rows: list[list[Any]]) -> dict[str, list[Any]]:
        return {name: [row[index] for row in rows] for index, name in enumerate(self._names)}

    def _checked(self, values: list[Any], number: int, count: int) -> list[Any]:
        """The values as their fields have them. Those that are plainly right are not looked at one by one."""
        if self._is_of_floats:
            kinds = set(map(type, values))
            if kinds == {float}:
                return values
            if kinds <= {float, int}:
                return [float(value) for value in values]
        elif self._types and [type(value) for value in values] == self._types:
            return values
        return [
            read_value(value, field, self._place(field["name"], number, count))
            for field, value in zip(self._fields, values)  # noqa: B905 (strict came with 3.10)
        ]

    def _in_order(self, row: Any, number: int) -> list[Any]:
        names = self._names
        if isinstance(row, dict):
            if len(row) == len(names):
                try:
                    return [row[name] for name in names]
                except KeyError:
                    pass
            missing = [name for name in self._required if name not in row]
            if missing:
                refuse(f"Row {number} lacks the column {listed(missing)}. The model takes: {listed(names)}.")
            unknown = [str(name) for name in row if name not in self._known]
            if unknown:
                refuse(f"Row {number} has an unknown column {listed(unknown)}. The model takes: {listed(names)}.")
            return [row.get(name) for name in names]
        if len(row) != len(names):
            refuse(f"Row {number} has {len(row)} values, and the model takes {len(names)}: {listed(names)}.")
        return list(row)

    @staticmethod
    def _place(name: str, number: int, count: int) -> str:
        return f"{name!r} of row {number}" if count > 1 else f"{name!r}"

    def _frame(self, columns: dict[str, list[Any]]) -> Any:
        import pandas

        made = {name: self._column(pandas, name, values) for name, values in columns.items()}
        return pandas.DataFrame(made, columns=self._names)

    def _column(self, pandas: Any, name: str, values: list[Any]) -> Any:
        dtype = self._dtypes.get(name)
        if dtype is None:
            return pandas.Series(values)
        try:
            if dtype["kind"] == "category":
                categories = pandas.Index(dtype["categories"], dtype=dtype.get("of"))
                return pandas.Series(pandas.Categorical(values, categories=categories, ordered=dtype["ordered"]))
            if dtype["kind"] == "datetime":
                return pandas.Series(pandas.to_datetime(values)).astype(dtype["name"])
            if dtype["kind"] == "number" and None in values:
                return pandas.Series([float("nan") if value is None else value for value in values], dtype="float64")
            return pandas.Series(values, dtype=dtype["name"])
        except (TypeError, ValueError, OverflowError) as error:
            refuse(f"The column {name!r} cannot be read as {dtype['name']}: {error}")

    def _array(self, rows: list[list[Any]]) -> Any:
        import numpy

        nothing = float("nan")
        dtype = self._dtype or ("float64" if self._is_of_floats else None)
        if any(None in row for row in rows):
            rows = [[nothing if value is None else value for value in row] for row in rows]
        if dtype is None and any(isinstance(value, str) for row in rows for value in row):
            dtype = "object"
        return numpy.array(rows, dtype=dtype).reshape(len(rows), len(self._names))


def rows_of(body: Any, names: list[str], *, single: bool) -> list[Any]:
    """The rows of a request's body, each an object or a list. `single`: the model takes one column."""
    if isinstance(body, dict):
        body = _rows_of_object(body, names)
    if not isinstance(body, list):
        refuse(f"The body is {shown(body)}, and must hold rows: " + '{"inputs": [[...], ...]}.')
    if not body:
        return []
    if single and not any(isinstance(row, (list, dict)) for row in body):
        return [[value] for value in body]
    if not any(isinstance(row, (list, dict)) for row in body):
        return [body]
    for number, row in enumerate(body):
        if not isinstance(row, (list, dict)):
            refuse(f"Row {number} is {shown(row)}, and must be an object or a list.")
    return list(body)


def _rows_of_object(body: dict[str, Any], names: list[str]) -> Any:
    for key in ("inputs", "instances", "dataframe_records"):
        if key in body and key not in names:
            return _rows_of_inputs(body[key])
    if "dataframe_split" in body and "dataframe_split" not in names:
        split = body["dataframe_split"]
        if not isinstance(split, dict) or not isinstance(split.get("data"), list):
            refuse("dataframe_split must be an object {columns: [...], data: [[...], ...]}.")
        columns = split.get("columns")
        if columns is None:
            return split["data"]
        if not isinstance(columns, list) or len(set(map(str, columns))) != len(columns):
            refuse("dataframe_split.columns must be a list of different names.")
        for number, row in enumerate(split["data"]):
            if not isinstance(row, list) or len(row) != len(columns):
                refuse(
                    f"Row {number} of dataframe_split.data does not have {len(columns)} values, one for each column."
                )
        return [dict(zip(map(str, columns), row)) for row in split["data"]]  # noqa: B905 (of one length)
    return [body]


def _rows_of_inputs(value: Any) -> Any:
    """MLflow's `inputs` may also be an object of columns; one row may come without its list."""
    if isinstance(value, dict):
        columns = list(value.values())
        if columns and all(isinstance(column, list) for column in columns):
            if len({len(column) for column in columns}) > 1:
                refuse("The columns in inputs have different lengths.")
            return [dict(zip(value, row)) for row in zip(*columns)]  # noqa: B905 (of one length)
        return [value]
    return value


def batched(
    bodies: Sequence[Any],
    read: Callable[[Any], list[Any]],
    answer: Callable[[list[Any]], dict[str, Any]],
    may_be_joined: Callable[[list[Any]], bool],
) -> list[Any]:
    """The answer to each body, of one question about the rows of all that may be joined.

    A body that cannot be read, and one whose question fails, gets what was raised in its place.
    """
    results: list[Any] = [None] * len(bodies)
    joined: list[Any] = []
    places: list[tuple[int, int]] = []
    for index, body in enumerate(bodies):
        try:
            rows = read(body)
            if rows and may_be_joined(rows):
                places.append((index, len(rows)))
                joined += rows
            else:
                results[index] = answer(rows)
        except Exception as error:
            results[index] = error
    if places:
        parts = split(answer(joined), [count for _, count in places])
        for (index, _), part in zip(places, parts):  # noqa: B905 (of one length)
            results[index] = part
    return results


def split(answer: dict[str, Any], counts: Sequence[int]) -> list[dict[str, Any]]:
    """An answer about many rows as answers about so many each. Its `classes` are everybody's.

    Raises ValueError where something is not of one value for each row.
    """
    parts: list[dict[str, Any]] = [{} for _ in counts]
    total = sum(counts)
    for key, value in answer.items():
        if key == "classes":
            pieces = [value] * len(counts)
        elif isinstance(value, dict):
            pieces = split(value, counts)
        elif len(value) != total:
            raise ValueError(f"{key} has {len(value)} values for {total} rows.")
        else:
            pieces, start = [], 0
            for count in counts:
                pieces.append(value[start : start + count])
                start += count
        for part, piece in zip(parts, pieces):  # noqa: B905 (of one length)
            part[key] = piece
    return parts


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "toarray"):
        value = value.toarray()
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    return value.tolist() if hasattr(value, "tolist") else value
