"""Tables that models take: their columns out of names and an example, and how rows become what the fit has seen.

pandas and numpy are asked for only where the user's own example, or the model's fit, comes from them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tenfold.errors import CannotPackage
from tenfold.packaging.origins import is_importable
from tenfold.schema import Field, FieldType, ModelSchema

HELPERS = ("_tables.py",)
"""Files of adapters/ that an adapter for tables needs beside it."""


@dataclass(frozen=True)
class Table:
    """How rows become what the model was fitted with.

    `input` is "frame" (a pandas table, `dtypes` by column), "array" (a numpy array of `dtype`) or "values" (a list of
    the values of the only column).
    """

    input: Literal["frame", "array", "values"]
    fields: tuple[Field, ...]
    dtypes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dtype: str | None = None

    def settings(self) -> dict[str, Any]:
        """What an adapter is told of it, in `model_metadata.tenfold`."""
        found: dict[str, Any] = {"input": self.input}
        if self.dtypes:
            found["dtypes"] = {name: dict(dtype) for name, dtype in self.dtypes.items()}
        if self.dtype:
            found["dtype"] = self.dtype
        return found


def example_columns(example: Any) -> list[str] | None:
    if is_frame(example):
        return [str(name) for name in example.columns]
    if isinstance(example, dict):
        return [str(name) for name in example]
    if isinstance(example, list) and example and isinstance(example[0], dict):
        return [str(name) for name in example[0]]
    return None


def check_example_names(names: Sequence[str], columns: Sequence[str] | None) -> None:
    missing = [name for name in names if columns is not None and name not in columns]
    if missing:
        raise CannotPackage(
            f"The example lacks the column {', '.join(missing[:10])}, which the model was fitted with.",
            hint="Give a few rows of the table it was fitted with: example=X.iloc[:3].",
        )


def check_form(schema: ModelSchema | None, what: str) -> None:
    """A schema of the user's own must be one of a table, too."""
    if schema is not None and schema.form != "table":
        raise CannotPackage(f"The schema's form is {schema.form!r}; {what} takes a table.", hint='Write form="table".')


def frame_table(
    names: Sequence[str],
    example: Any,
    schema: ModelSchema | None,
    *,
    choices: Mapping[str, list[Any]] | None = None,
    gaps: Collection[str] = (),
) -> Table:
    """For a model that was fitted with a pandas table of these columns.

    choices: the only values that a column may have, where the model's encoders know them.
    gaps: the columns in which a value may be missing.
    """
    frame = _as_frame(example, names)
    choices = choices or {}
    fields: list[Field] = []
    dtypes: dict[str, dict[str, Any]] = {}
    for name in names:
        column = None if frame is None else frame[name]
        dtype = None if column is None else _dtype(column)
        if dtype is not None:
            dtypes[name] = dtype
        fields.append(_field(name, column, dtype, choices.get(name), name in gaps))
    return Table("frame", schema.fields if schema else tuple(fields), dtypes)


def array_names(count: int, example: Any, schema: ModelSchema | None) -> list[str]:
    """What to call the columns of a model that was fitted with an array: as the schema or the example does."""
    columns = example_columns(example)
    if schema is not None:
        names = [one.name for one in schema.fields]
    elif columns is not None and len(columns) == count:
        names = list(columns)
    else:
        names = [f"x{index}" for index in range(count)]
    if len(names) != count:
        raise CannotPackage(
            f"The schema has {len(names)} fields, and the model was fitted with {count} columns.",
            hint="Give the schema a field for each column.",
        )
    return names


def array_table(
    names: Sequence[str],
    example: Any,
    schema: ModelSchema | None,
    *,
    choices: Mapping[str, list[Any]] | None = None,
    gaps: Collection[str] = (),
) -> Table:
    """For a model that was fitted with a numpy array, whose columns are called `names`."""
    choices = choices or {}
    first = _example_rows(example, names)
    fields = []
    for index, name in enumerate(names):
        values = [row[index] for row in first]
        fields.append(_array_field(name, values, choices.get(name), name in gaps))
    dtype = str(example.dtype) if hasattr(example, "dtype") and str(example.dtype) in ("float32", "float64") else None
    return Table("array", schema.fields if schema else tuple(fields), dtype=dtype)


def _field(
    name: str, column: Any, dtype: Mapping[str, Any] | None, choices: list[Any] | None, allow_missing: bool
) -> Field:
    kind: FieldType = "float" if choices is None else type_of_choices(choices)
    has_missing = False
    if choices is not None:
        allow_missing = any(is_missing(choice) for choice in choices)  # an encoder takes what it has seen
    if dtype is not None:
        kind = dtype["field"]
        choices = choices if dtype["kind"] != "category" else list(dtype["categories"])
        has_missing = bool(column.isna().any())
    elif column is not None:  # an object column: whatever its values are
        values = [value for value in column.tolist() if not is_missing(value)]
        kind = type_of(values)
        has_missing = len(values) < len(column)
    if choices is not None:
        choices = [choice for choice in choices if not is_missing(choice)]
    if choices is not None and not _fits_choices(kind, choices):
        choices = None
    nullable = has_missing or (allow_missing and kind in ("float", "str"))
    step = 1.0 if kind == "int" and choices is None else None
    return Field(name, kind, nullable=nullable, choices=choices, step=step)


def _array_field(name: str, values: list[Any], choices: list[Any] | None, allow_missing: bool) -> Field:
    there = [value for value in values if not is_missing(value)]
    kind: FieldType = type_of(there) if there else ("float" if choices is None else type_of_choices(choices))
    if kind == "int" and choices is None:
        kind = "float"  # whole numbers in a few rows do not make the column one of whole numbers
    if choices is not None and not _fits_choices(kind, choices):
        choices = None
    nullable = len(there) < len(values) or (allow_missing and kind == "float")
    return Field(name, kind, nullable=nullable, choices=choices)


def _dtype(column: Any) -> dict[str, Any] | None:
    """How to restore a pandas column, and the type of its field. None for a column of arbitrary objects."""
    dtype = column.dtype
    name, kind = str(dtype), getattr(dtype, "kind", "O")
    if hasattr(dtype, "categories"):
        categories = dtype.categories.tolist()
        return {
            "kind": "category",
            "name": "category",
            "of": str(dtype.categories.dtype),
            "categories": categories,
            "ordered": bool(dtype.ordered),
            "field": type_of(categories),
        }
    if kind == "M":
        return {"kind": "datetime", "name": name, "field": "str"}
    fields: dict[str, FieldType] = {"f": "float", "i": "int", "u": "int", "b": "bool"}
    if kind in fields:
        is_nullable_type = name[0].isupper() or name == "boolean"
        return {"kind": "extension" if is_nullable_type else "number", "name": name, "field": fields[kind]}
    if name in ("str", "string") or name.startswith("string["):
        return {"kind": "text", "name": name, "field": "str"}
    return None


# --- examples


def is_frame(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "columns")


def is_series(value: Any) -> bool:
    return (
        type(value).__module__.partition(".")[0] == "pandas"
        and hasattr(value, "name")
        and not hasattr(value, "columns")
    )


def _as_frame(example: Any, names: Sequence[str]) -> Any:
    """The example as a pandas table with the model's columns, None when there is none."""
    if example is None:
        return None
    if is_frame(example):
        frame = example.copy()
        frame.columns = [str(name) for name in frame.columns]
        return frame[list(names)]
    if not is_importable("pandas"):
        return None
    import pandas  # the user's own: the model was fitted with one of its tables

    if isinstance(example, dict):
        is_columns = bool(example) and all(isinstance(one, list | tuple) for one in example.values())
        return pandas.DataFrame(example if is_columns else [example])[list(names)]
    if is_series(example):
        return pandas.DataFrame([example.to_dict()])[list(names)].infer_objects()
    rows = [example] if _is_one_row(example) else example
    if len(rows) and isinstance(rows[0], dict):
        return pandas.DataFrame(list(rows))[list(names)]
    return pandas.DataFrame(rows, columns=list(names))


def _example_rows(example: Any, names: Sequence[str]) -> list[list[Any]]:
    if example is None:
        return []
    if is_frame(example):
        rows = example.astype(object).values.tolist()
    elif is_series(example):
        rows = [example.tolist()]
    elif isinstance(example, dict):
        is_columns = bool(example) and all(isinstance(one, list | tuple) for one in example.values())
        ordered = [example[name] for name in names]
        rows = [list(row) for row in zip(*ordered, strict=True)] if is_columns else [ordered]
    elif hasattr(example, "tolist"):
        listed = example.toarray().tolist() if hasattr(example, "toarray") else example.tolist()
        rows = [listed] if listed and not isinstance(listed[0], list) else listed
    elif not isinstance(example, list | tuple):
        raise CannotPackage(
            f"The example is {type(example).__name__}, and the model takes rows.",
            hint="Give a few rows of what it was fitted with: example=X[:3].",
        )
    else:
        given = [example] if _is_one_row(example) else list(example)
        rows = [[row[name] for name in names] if isinstance(row, dict) else list(row) for row in given]
    rows = [list(row) for row in rows]
    wrong = next((row for row in rows if len(row) != len(names)), None)
    if wrong is not None:
        raise CannotPackage(
            f"A row of the example has {len(wrong)} values, and the model takes {len(names)}.",
            hint="Give a few rows of what it was fitted with: example=X[:3].",
        )
    return rows


def _is_one_row(example: Any) -> bool:
    return (
        isinstance(example, list | tuple)
        and bool(example)
        and not any(isinstance(one, list | tuple | dict) or hasattr(one, "__array__") for one in example)
    )


def example_width(example: Any) -> int | None:
    rows = example if not _is_one_row(example) else [example]
    shape = getattr(rows, "shape", None)
    if shape is not None:
        return int(shape[-1])
    if isinstance(rows, dict):
        return len(rows)
    return len(rows[0]) if isinstance(rows, list | tuple) and rows else None


def example_body(table: Table, example: Any) -> Any:
    """The example as a request's body, null where a value is missing."""
    if example is None:
        return None
    names = [one.name for one in table.fields]
    if table.input == "values":
        values = example.tolist() if hasattr(example, "tolist") else list(example)
        return {"inputs": [{names[0]: str(value)} for value in values[:5]]}
    frame = _as_frame(example, names) if table.input == "frame" else None
    rows = frame.astype(object).values.tolist() if frame is not None else _example_rows(example, names)
    return {"inputs": [{name: to_json(value) for name, value in zip(names, row, strict=True)} for row in rows[:5]]}


def to_json(value: Any) -> Any:
    """One cell as JSON has it."""
    if is_missing(value):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def type_of(values: Sequence[Any]) -> FieldType:
    plain = [value.item() if hasattr(value, "item") else value for value in values]
    if plain and all(isinstance(value, bool) for value in plain):
        return "bool"
    if plain and all(isinstance(value, int) and not isinstance(value, bool) for value in plain):
        return "int"
    if plain and all(isinstance(value, int | float) and not isinstance(value, bool) for value in plain):
        return "float"
    if plain and all(isinstance(value, str) or hasattr(value, "isoformat") for value in plain):
        return "str"
    return "json" if plain else "float"


def type_of_choices(choices: Sequence[Any]) -> FieldType:
    return type_of([choice for choice in choices if not is_missing(choice)])


def _fits_choices(kind: FieldType, choices: Sequence[Any]) -> bool:
    return kind in ("str", "int") and type_of_choices(choices) == kind
