"""ONNX models as packages: a model in memory, a session, or the path of a file. The worker needs onnxruntime and numpy.

What a converter of scikit-learn, XGBoost or LightGBM wrote takes a table and answers like the model it was made of;
every other graph takes and gives arrays.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging import tensors
from tenfold.packaging.onnx_graph import Graph, Tensor, read_graph
from tenfold.packaging.origins import is_importable, pins_of, with_own
from tenfold.packaging.package import Package, own_python, write_package
from tenfold.packaging.tables import (
    HELPERS,
    Table,
    array_names,
    array_table,
    check_form,
    example_body,
    example_columns,
    is_frame,
)
from tenfold.schema import Field, FieldType, ModelSchema, Output

TABLE_ADAPTER = "onnx_table_model.py"
TENSOR_ADAPTER = "onnx_model.py"
NEEDED = ("onnxruntime", "numpy")
COLUMN_TYPES: dict[str, FieldType] = {
    "str": "str",
    "bool": "bool",
    "float16": "float",
    "float32": "float",
    "float64": "float",
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "int",
    "uint8": "int",
    "uint16": "int",
    "uint32": "int",
    "uint64": "int",
}
MOST_COLUMNS = 2000
TAKES_GAPS = ("Imputer", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")


@dataclass(frozen=True)
class _Source:
    """The model's graph, its file, and those that stay where they are by their place in the package's data folder."""

    graph: Graph
    model: Path
    elsewhere: Mapping[str, Path]


def package_onnx(
    model: Any,
    name: str,
    root: Path,
    *,
    example: Any = None,
    schema: ModelSchema | None = None,
    requirements: Sequence[str] | None = None,
    python: str | None = None,
    description: str | None = None,
) -> Package:
    """Writes a package of a ModelProto, an InferenceSession or an .onnx file into `root`. Raises CannotPackage."""
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    source = _source(model, data)
    graph = source.graph
    notes: tuple[str, ...]
    if _takes_a_table(graph, example, schema):
        adapter, helpers = TABLE_ADAPTER, HELPERS
        learned, body, settings, notes = _as_table(graph, example, schema)
    else:
        adapter, helpers = TENSOR_ADAPTER, tensors.HELPERS
        learned, body, settings, notes = _as_tensors(graph, source, example, schema)
    there = [one for one in NEEDED if is_importable(one)]
    missing = {one: one for one in NEEDED if one not in there}
    if missing:
        notes = (*notes, f"{' and '.join(missing)} not installed here: the newest will be used")
    package = write_package(
        root,
        name=name,
        adapter=adapter,
        settings={"adapter": "onnx", **settings},
        framework="ONNX",
        schema=learned,
        example=body,
        requirements=with_own({**pins_of(there), **missing}, requirements),
        python_version=python or own_python(),
        description=description,
        helpers=(*helpers, "_onnx_session.py"),
        notes=notes,
    )
    return replace(package, elsewhere={f"data/{place}": file for place, file in source.elsewhere.items()})


# --- where it lies


def _source(model: Any, data: Path) -> _Source:
    if isinstance(model, Path):
        return _of_file(model)
    if hasattr(model, "SerializeToString"):
        return _of_bytes(_serialized(model), data, "The model")
    content, path = getattr(model, "_model_bytes", None), getattr(model, "_model_path", None)
    if isinstance(content, bytes):
        return _of_bytes(content, data, "The session's model")
    if isinstance(path, str) and Path(path).is_file():
        return _of_file(Path(path))
    raise CannotPackage(
        "What this InferenceSession was made of cannot be had from it.",
        hint='Deploy the path of its file: tenfold.deploy("model.onnx", name).',
    )


def _serialized(model: Any) -> bytes:
    try:
        content: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's own, of more than 2 GB
        raise CannotPackage(
            f"The model cannot be written: {error}",
            hint="Save it with its weights beside it, onnx.save(model, path, save_as_external_data=True), and deploy "
            "the path.",
        ) from None
    return content


def _of_bytes(content: bytes, data: Path, what: str) -> _Source:
    graph = read_graph(memoryview(content), what)
    if graph.other_files:
        raise CannotPackage(
            f"{what} keeps its weights in other files: {', '.join(graph.other_files[:5])}.",
            hint='Deploy the path of its file, which lies beside them: tenfold.deploy("model.onnx", name).',
        )
    (data / "model.onnx").write_bytes(content)
    return _Source(graph, data / "model.onnx", {})


def _of_file(path: Path) -> _Source:
    with path.open("rb") as opened:
        if not path.stat().st_size:
            raise CannotPackage(f"{path} is empty.", hint="Save it again: onnx.save(model, path).")
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)  # closed with the last view of it
    graph = read_graph(memoryview(mapped), str(path))
    missing = [place for place in graph.other_files if not (path.parent / place).is_file()]
    if missing:
        raise CannotPackage(
            f"{path} keeps its weights in {', '.join(missing[:5])}, which is not beside it.",
            hint="Put it there, or save the model again.",
        )
    files = {"model.onnx": path} | {place: path.parent / place for place in graph.other_files}
    return _Source(graph, path, files)


# --- a table


def _takes_a_table(graph: Graph, example: Any, schema: ModelSchema | None) -> bool:
    fits = _is_matrix(graph.inputs) or _are_columns(graph.inputs)
    if schema is not None:
        if schema.form == "table" and not fits:
            raise CannotPackage(
                "The schema's form is 'table', and the model takes arrays of other shapes.", hint='Write form="tensor".'
            )
        return schema.form == "table"
    columns = example_columns(example)
    is_named = columns is not None and columns != [one.name for one in graph.inputs]
    is_meant = graph.is_tabular or is_frame(example) or (is_named and _is_matrix(graph.inputs))
    return is_meant and fits


def _is_matrix(inputs: Sequence[Tensor]) -> bool:
    """One array with a row for each row, and a known number of columns of numbers."""
    if len(inputs) != 1 or inputs[0].dtype in (None, "str", "bool") or inputs[0].shape is None:
        return False
    shape = inputs[0].shape
    return len(shape) == 2 and shape[1] is not None and shape[1] <= MOST_COLUMNS


def _are_columns(inputs: Sequence[Tensor]) -> bool:
    """An array for each column, as converters write them for a table of several types."""
    return bool(inputs) and all(
        one.dtype in COLUMN_TYPES and one.shape is not None and (len(one.shape) == 1 or one.shape[1:] == (1,))
        for one in inputs
    )


def _as_table(
    graph: Graph, example: Any, schema: ModelSchema | None
) -> tuple[ModelSchema, Any, dict[str, Any], tuple[str, ...]]:
    check_form(schema, "a model of a table")
    table = _matrix(graph, example, schema) if _is_matrix(graph.inputs) else _columns(graph, schema)
    settings = {**table.settings(), **_outputs(graph)}
    output = schema.output if schema else _output(graph, settings)
    return ModelSchema("table", table.fields, output), example_body(table, example), settings, ()


def _matrix(graph: Graph, example: Any, schema: ModelSchema | None) -> Table:
    (only,) = graph.inputs
    shape = only.shape or ()
    names = array_names(int(shape[1] or 0), example, schema)
    gaps = names if graph.operators & set(TAKES_GAPS) else ()
    return replace(array_table(names, example, schema, gaps=gaps), dtype=only.dtype)


def _columns(graph: Graph, schema: ModelSchema | None) -> Table:
    fields = schema.fields if schema else tuple(_field(one) for one in graph.inputs)
    names = {one.name for one in graph.inputs}
    if {one.name for one in fields} != names:
        raise CannotPackage(
            f"The schema has the fields {', '.join(one.name for one in fields)}, and the model takes: "
            f"{', '.join(sorted(names))}.",
            hint="Give the schema a field for each of them.",
        )
    return Table("array", fields) if len(fields) > 1 or fields[0].type != "str" else Table("values", fields)


def _field(one: Tensor) -> Field:
    kind = COLUMN_TYPES[one.dtype or "float32"]
    return Field(one.name, kind, nullable=kind == "float", step=1.0 if kind == "int" else None)


def _outputs(graph: Graph) -> dict[str, Any]:
    """Which of its outputs are the predictions, and which the probabilities."""
    labels = [one for one in graph.outputs if one.dtype in ("int64", "str") and len(one.shape or ()) <= 1]
    shares = [one for one in graph.outputs if one not in labels and one.dtype in (None, "float32", "float64")]
    if graph.classes and labels and shares:
        return {
            "predictions": labels[0].name,
            "probabilities": shares[0].name,
            "classes": list(graph.classes),
        }
    if len(graph.outputs) == 1:
        return {"predictions": graph.outputs[0].name}
    return {"several": [one.name for one in graph.outputs]}


def _output(graph: Graph, settings: Mapping[str, Any]) -> Output:
    if "classes" in settings:
        return Output("classification", classes=settings["classes"], probabilities=True)
    if "predictions" not in settings:
        return Output("json")
    shape = graph.outputs[0].shape
    is_number = graph.outputs[0].dtype in COLUMN_TYPES and shape is not None and (len(shape) == 1 or shape[1:] == (1,))
    return Output("regression") if is_number else Output("json")


# --- arrays


def _as_tensors(
    graph: Graph, source: _Source, example: Any, schema: ModelSchema | None
) -> tuple[ModelSchema, Any, dict[str, Any], tuple[str, ...]]:
    odd = [one.name for one in graph.inputs if one.dtype is None]
    if odd:
        raise CannotPackage(
            f"The model takes {', '.join(odd)}, which is not an array.", hint="Export it with arrays as its inputs."
        )
    fields = [tensors.tensor(one.name, str(one.dtype), one.shape) for one in graph.inputs]
    learned = tensors.with_given(fields, schema)
    arrays = tensors.examples(example, fields)
    results = _tried(source, arrays)
    settings: dict[str, Any] = {"is_single": len(graph.outputs) == 1}
    scores = tensors.scores_of(learned.output, results, [one.name for one in graph.outputs])
    if scores is not None:
        settings["scores"] = scores
    body, remarks = tensors.example_body(arrays, learned.fields)
    return tensors.with_probabilities(learned), body, settings, remarks


def _tried(source: _Source, arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the model gives for the example, where the user has onnxruntime running anyway."""
    runtime = sys.modules.get("onnxruntime")
    if runtime is None or not arrays:
        return []
    try:
        session = runtime.InferenceSession(str(source.model), providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_outputs()]
        return [dict(zip(names, session.run(names, dict(arrays)), strict=True))]
    except Exception as error:  # onnxruntime has kinds of its own
        raise CannotPackage(
            f"The model cannot be called with the example: {tensors.short(error)}",
            hint="Give what you call it with yourself, batch first.",
        ) from None
