"""MLflow model folders as packages: the folder as it is, its own requirements, and its signature as the schema.

MLflow is not imported here. In the worker the model is loaded by mlflow's pyfunc; mlflow-skinny, where that will do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging import tensors
from tenfold.packaging.origins import requirement_name, with_own, without_local_version
from tenfold.packaging.package import IGNORED_NAMES, Package, as_body, own_python, write_package
from tenfold.packaging.tables import HELPERS, Table, check_example_names, check_form, example_body, example_columns
from tenfold.schema import Field, FieldType, ModelSchema, Output

ADAPTER = "mlflow_model.py"
PLACE = "data/model"
COLUMN_TYPES: dict[str, FieldType] = {
    "double": "float",
    "float": "float",
    "long": "int",
    "integer": "int",
    "string": "str",
    "boolean": "bool",
    "datetime": "str",
    "binary": "file",
}
"""MLflow's types of columns; any other one (arrays, objects, maps) is any JSON."""
SKINNY_LOADERS = frozenset(
    f"mlflow.{name}"
    for name in (
        "catboost",
        "keras",
        "lightgbm",
        "onnx",
        "pyfunc.loaders.code_model",
        "pyfunc.model",
        "pytorch",
        "sklearn",
        "spacy",
        "statsmodels",
        "tensorflow",
        "xgboost",
    )
)
"""Ways of loading a model that ask no more of MLflow than mlflow-skinny has."""
ALSO_NEEDED = ("numpy", "pandas")
"""What pyfunc imports, and mlflow-skinny does not bring."""
SETTINGS = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Pickles are opened: the worker is where they belong."""


@dataclass(frozen=True)
class _Signature:
    """`columns` or `arrays` is there, or neither when the model says nothing about itself."""

    columns: tuple[Mapping[str, Any], ...] = ()
    arrays: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    parameters: tuple[str, ...] = ()


def package_mlflow(
    folder: Path,
    name: str,
    root: Path,
    *,
    example: Any = None,
    schema: ModelSchema | None = None,
    requirements: Sequence[str] | None = None,
    python: str | None = None,
    description: str | None = None,
) -> Package:
    """Writes a package around a folder with a file MLmodel into `root`. Raises CannotPackage."""
    about = _read_yaml(folder / "MLmodel")
    flavour = _python_function(about, folder)
    signature = _signature(about, folder)
    given = example if example is not None else _saved_example(about, folder)
    learned, body, settings = _learned(signature, given, schema)
    found, notes = _requirements(folder, flavour)
    version = str(flavour.get("python_version") or own_python())
    package = write_package(
        root,
        name=name,
        adapter=ADAPTER,
        settings={"adapter": "mlflow", **settings, "parameters": list(signature.parameters)},
        framework="MLflow",
        schema=learned,
        example=body,
        requirements=with_own(found, requirements),
        python_version=python or ".".join(version.split(".")[:2]),
        description=description,
        helpers=(*HELPERS, *tensors.HELPERS),
        environment_variables=SETTINGS,
        notes=notes,
    )
    return replace(package, elsewhere={f"{PLACE}/{place}": file for place, file in _files(folder)})


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        if file.is_file() and IGNORED_NAMES.isdisjoint(place.parts):
            yield place.as_posix(), file


# --- what the folder says


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CannotPackage(f"{file} cannot be read: {error}", hint="Save the model again with MLflow.") from None
    if not isinstance(read, dict):
        raise CannotPackage(f"{file} does not hold keys and values.", hint="Save the model again with MLflow.")
    return read


def _python_function(about: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    flavours = about.get("flavors") or {}
    found = flavours.get("python_function")
    if not isinstance(found, dict) or not found.get("loader_module"):
        there = ", ".join(flavours) or "none"
        raise CannotPackage(
            f"The MLflow model in {folder} has no python_function flavour; it has: {there}.",
            hint="Save it with a flavour of mlflow that has one, or load it and deploy the model itself.",
        )
    return found


def _signature(about: Mapping[str, Any], folder: Path) -> _Signature:
    told = about.get("signature")
    if not isinstance(told, dict):
        return _Signature()
    try:
        inputs, outputs, parameters = (json.loads(told.get(key) or "[]") for key in ("inputs", "outputs", "params"))
        arrays = tuple(one for one in inputs if one["type"] == "tensor")
        columns = tuple(one for one in inputs if one["type"] != "tensor")
        return _Signature(columns, arrays, tuple(outputs), tuple(str(one["name"]) for one in parameters))
    except (ValueError, KeyError, TypeError) as error:
        raise CannotPackage(
            f"The signature in {folder / 'MLmodel'} cannot be read: {error}",
            hint="Save the model again, with signature=mlflow.models.infer_signature(X, predictions).",
        ) from None


def _saved_example(about: Mapping[str, Any], folder: Path) -> Any:
    """The example that was saved with the model: rows, an array, or any JSON."""
    told = about.get("saved_input_example_info")
    file = folder / str(told.get("artifact_path")) if isinstance(told, dict) else None
    if file is None or not file.is_file() or file.suffix != ".json":
        return None
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if isinstance(saved, dict) and isinstance(saved.get("columns"), list) and isinstance(saved.get("data"), list):
        return [dict(zip(map(str, saved["columns"]), row, strict=False)) for row in saved["data"]]
    if isinstance(saved, dict) and saved.keys() == {"data"}:
        return saved["data"]
    is_wrapped = isinstance(saved, dict) and "inputs" in saved and saved.keys() <= {"inputs", "params"}
    return saved["inputs"] if is_wrapped else saved


# --- what it takes and gives


def _learned(
    signature: _Signature, example: Any, schema: ModelSchema | None
) -> tuple[ModelSchema, Any, dict[str, Any]]:
    if signature.columns:
        return _of_columns(signature, example, schema)
    if signature.arrays:
        return _of_arrays(signature, example, schema)
    learned = schema or ModelSchema("value", (Field("inputs", "json", nullable=True),), Output("json"))
    body = None if example is None else as_body(example)
    is_bare = isinstance(body, dict) and not body.keys() & {
        "inputs",
        "instances",
        "dataframe_split",
        "dataframe_records",
    }
    return learned, {"inputs": body} if isinstance(body, list) or is_bare else body, {"takes": "anything"}


def _of_columns(
    signature: _Signature, example: Any, schema: ModelSchema | None
) -> tuple[ModelSchema, Any, dict[str, Any]]:
    check_form(schema, "this MLflow model")
    names = [str(one.get("name", f"x{index}")) for index, one in enumerate(signature.columns)]
    fields = tuple(_field(name, one) for name, one in zip(names, signature.columns, strict=True))
    if schema is not None and {one.name for one in schema.fields} != set(names):
        raise CannotPackage(
            f"The schema has the fields {', '.join(one.name for one in schema.fields)}, and the model's signature: "
            f"{', '.join(names)}.",
            hint="Give the schema a field for each column of the signature.",
        )
    required = [name for name, one in zip(names, signature.columns, strict=True) if not _is_optional(one)]
    check_example_names(required, example_columns(example))
    table = Table("array", schema.fields if schema else fields)
    types = {name: str(one["type"]) for name, one in zip(names, signature.columns, strict=True)}
    output = schema.output if schema else _output(signature.outputs)
    settings = {"takes": "table", **table.settings(), "types": types, "required": required}
    return ModelSchema("table", table.fields, output), example_body(table, example), settings


def _field(name: str, column: Mapping[str, Any]) -> Field:
    kind = COLUMN_TYPES.get(str(column["type"]), "json")
    nullable = _is_optional(column) or kind in ("float", "json")  # as MLflow does, where a number may be NaN
    return Field(name, kind, nullable=nullable, step=1.0 if kind == "int" else None)


def _is_optional(column: Mapping[str, Any]) -> bool:
    return column.get("required") is False or column.get("optional") is True


def _of_arrays(
    signature: _Signature, example: Any, schema: ModelSchema | None
) -> tuple[ModelSchema, Any, dict[str, Any]]:
    fields = [_tensor(one) for one in signature.arrays]
    learned = tensors.with_given(fields, schema)
    body, _ = tensors.example_body(tensors.examples(example, fields), learned.fields)
    is_named = "name" in signature.arrays[0]
    return learned, body, {"takes": "arrays", "is_named": is_named}


def _tensor(one: Mapping[str, Any]) -> Field:
    told = one["tensor-spec"]
    dtype = str(told["dtype"])
    shape = [None if size == -1 else int(size) for size in told["shape"]]
    return tensors.tensor(str(one.get("name", "inputs")), "str" if dtype in ("object", "str") else dtype, shape)


def _output(outputs: Sequence[Mapping[str, Any]]) -> Output:
    if len(outputs) != 1:
        return Output("json")
    (only,) = outputs
    if only["type"] == "tensor":
        told = only["tensor-spec"]
        is_number = str(told["dtype"]).startswith("float") and list(told["shape"]) in ([-1], [-1, 1])
    else:
        is_number = only["type"] in ("double", "float")
    return Output("regression", name=only.get("name")) if is_number else Output("json")


# --- what it needs


def _requirements(folder: Path, flavour: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Its own requirements by name, and remarks about what cannot be installed with pip."""
    lines, others = _listed(folder, flavour)
    found: dict[str, str] = {}
    left_out: list[str] = []
    for line in lines:
        name = requirement_name(line)
        if name is not None:
            found[name] = without_local_version(line)
        elif "://" in line and not line.startswith("-"):
            found[line] = line
        else:
            left_out.append(line)
    if flavour["loader_module"] in SKINNY_LOADERS and "mlflow" in found:
        skinny = re.sub(r"^\s*mlflow(\[[^\]]*\])?", "mlflow-skinny", found.pop("mlflow"))
        found.setdefault("mlflow-skinny", skinny)
    if not found.keys() & {"mlflow", "mlflow-skinny"}:
        found["mlflow-skinny"] = "mlflow-skinny"
    for name in ALSO_NEEDED:
        found.setdefault(name, name)
    notes = []
    if others:
        notes.append(f"packages of conda are not installed: {', '.join(others)}")
    if left_out:
        notes.append(f"left out of its requirements: {', '.join(left_out)}")
    return found, tuple(notes)


def _listed(folder: Path, flavour: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The lines for pip, and the names of what only conda installs."""
    file = folder / "requirements.txt"
    if file.is_file():
        joined = file.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines()]
        return [line for line in lines if line], []
    environment = flavour.get("env")
    place = environment.get("conda") if isinstance(environment, dict) else environment
    if not place or not (folder / str(place)).is_file():
        raise CannotPackage(
            f"The MLflow model in {folder} does not say what it needs: it has no requirements.txt and no conda.yaml.",
            hint="Save it again with pip_requirements=[...], or put a requirements.txt into the folder.",
        )
    told = _read_yaml(folder / str(place)).get("dependencies") or []
    lines = [str(line) for one in told if isinstance(one, dict) for line in one.get("pip") or ()]
    named = [re.split(r"[=<>~! ]", one.rpartition("::")[2], maxsplit=1)[0] for one in told if isinstance(one, str)]
    return lines, [one for one in named if one not in ("python", "pip")]
