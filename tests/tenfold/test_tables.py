"""What a model takes as a table: learned here, and read again in the worker by the file that packages carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenfold.errors import CannotPackage
from tenfold.packaging.adapters._tables import TableReader
from tenfold.packaging.tables import array_names, array_table, example_body, frame_table
from tenfold.schema import Field, ModelSchema

TABLE = pd.DataFrame(
    {
        "size": pd.Categorical(["S", None, "L"], categories=["S", "M", "L"]),
        "width": [1.5, np.nan, 2.5],
        "count": [1, 2, 3],
    }
)


def reader(schema: ModelSchema, **about: Any) -> TableReader:
    return TableReader({"schema": schema.to_json(), **about})


def test_values_may_be_missing_where_the_model_takes_gaps() -> None:
    table = frame_table(list(TABLE), TABLE, None, gaps=list(TABLE))
    assert table.fields == (
        Field("size", "str", nullable=True, choices=["S", "M", "L"]),
        Field("width", "float", nullable=True),
        Field("count", "int", step=1.0),
    )
    assert example_body(table, TABLE)["inputs"][1] == {"size": None, "width": None, "count": 2}


def test_a_table_comes_back_with_the_types_it_was_learned_from() -> None:
    table = frame_table(list(TABLE), TABLE, None, gaps=list(TABLE))
    read = reader(ModelSchema("table", table.fields), **table.settings()).read(example_body(table, TABLE))
    pd.testing.assert_frame_equal(read, TABLE)


def test_an_array_comes_back_with_its_type_and_gaps() -> None:
    example = np.array([[1.0, 2.0]], dtype="float32")
    table = array_table(array_names(2, example, None), example, None, gaps=["x0", "x1"])
    read = reader(ModelSchema("table", table.fields), **table.settings()).read({"inputs": [[1, None]]})
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, [[1.0, np.nan]])


def test_a_column_that_may_be_null_may_also_be_left_out_unless_it_is_required() -> None:
    schema = ModelSchema("table", (Field("a", "float", nullable=True), Field("b", "float")))
    assert reader(schema, input="array").columns([{"b": 1.0}]) == ({"a": [None], "b": [1.0]}, 1)
    strict = reader(schema, input="array", required=["a", "b"])
    assert strict.columns([{"a": None, "b": 1.0}]) == ({"a": [None], "b": [1.0]}, 1)
    with pytest.raises(Exception, match="Row 0 lacks the column a") as refused:
        strict.columns([{"b": 1.0}])
    assert getattr(refused.value, "status_code", None) == 400


def test_the_names_of_columns_are_those_of_the_schema_the_example_or_numbers() -> None:
    schema = ModelSchema("table", (Field("u", "float"), Field("v", "float")))
    assert array_names(2, None, schema) == ["u", "v"]
    assert array_names(2, {"a": 1, "b": 2}, None) == ["a", "b"]
    assert array_names(2, [[1, 2]], None) == ["x0", "x1"]
    with pytest.raises(CannotPackage, match="The schema has 2 fields, and the model was fitted with 3 columns"):
        array_names(3, None, schema)
