"""scikit-learn estimators and pipelines as packages. scikit-learn is not imported here: the user's object is asked."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging import source
from tenfold.packaging.origins import MAIN, is_importable, pin_of_distribution, pins_of, with_own
from tenfold.packaging.package import Package, own_python, write_package
from tenfold.packaging.pickling import pickled
from tenfold.schema import Field, FieldType, ModelSchema, Output

ADAPTER = "sklearn_model.py"
TEXT_READERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
TRUSTED_ROOTS = ("sklearn", "numpy", "scipy")


@dataclass(frozen=True)
class Table:
    """How rows become what the estimator was fitted with. `dtypes` are those of a pandas table, by column."""

    input: str
    fields: tuple[Field, ...]
    dtypes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dtype: str | None = None
    integer_columns: bool = False


def package_estimator(
    estimator: Any,
    name: str,
    root: Path,
    *,
    example: Any = None,
    schema: ModelSchema | None = None,
    requirements: Sequence[str] | None = None,
    python: str | None = None,
    description: str | None = None,
) -> Package:
    """Writes a package of a fitted estimator into `root`. Raises CannotPackage."""
    _check_fitted(estimator)
    methods = _methods(estimator)
    table = _table(estimator, example, schema)
    learned = ModelSchema("table", table.fields, _output(estimator, methods))
    body = _example_body(table, example)
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    saved = _save(estimator, data)
    modules = {*saved.modules, "sklearn", "numpy"} | ({"pandas"} if table.input == "frame" else set())
    carried = source.carry(saved.own, modules, root / "packages")
    modules |= carried.modules
    pins = pins_of(modules)
    if saved.format == "skops":
        pins["skops"] = pin_of_distribution("skops")
    notes = list(carried.notes)
    if saved.format == "pickle":
        _check_python(python)
        notes.append(f"saved as a pickle: {saved.why}")
    settings: dict[str, Any] = {
        "adapter": "sklearn",
        "estimator": type(estimator).__name__,
        "input": table.input,
        "methods": methods,
        "format_of_data": saved.format,
    }
    if saved.format == "skops":
        settings["trusted_types"] = list(saved.trusted)
    if table.dtypes:
        settings["dtypes"] = {name: dict(dtype) for name, dtype in table.dtypes.items()}
    if table.dtype:
        settings["dtype"] = table.dtype
    if table.integer_columns:
        settings["integer_columns"] = True
    return write_package(
        root,
        name=name,
        adapter=ADAPTER,
        settings=settings,
        framework="scikit-learn",
        schema=schema or learned,
        example=body,
        requirements=with_own(pins, requirements),
        python_version=python or own_python(),
        description=description,
        notes=notes,
    )


# --- what it can do


def _check_fitted(estimator: Any) -> None:
    if isinstance(estimator, type):
        raise CannotPackage(
            f"{estimator.__name__} is a class, not a fitted estimator.",
            hint=f"Fit one: {estimator.__name__}().fit(X, y).",
        )
    validation = sys.modules.get("sklearn.utils.validation")
    if validation is None:
        return
    try:
        validation.check_is_fitted(estimator)
    except sys.modules["sklearn.exceptions"].NotFittedError:
        raise CannotPackage(
            f"This {type(estimator).__name__} is not fitted yet.", hint="Call .fit(X, y) before deploying it."
        ) from None
    except TypeError:  # not an estimator, by scikit-learn's own opinion
        raise CannotPackage(
            f"{type(estimator).__name__} is not a scikit-learn estimator.",
            hint="Wrap it in a class with the methods load and predict, and deploy that.",
        ) from None


def _methods(estimator: Any) -> dict[str, str]:
    for name in ("predict", "transform", "fit_predict"):
        if name != "fit_predict" and callable(getattr(estimator, name, None)):
            methods = {"predictions": name}
            if name == "predict" and callable(getattr(estimator, "predict_proba", None)):
                methods["probabilities"] = "predict_proba"
            return methods
    raise CannotPackage(
        f"{type(estimator).__name__} has neither predict nor transform, so there is nothing to call.",
        hint="Deploy an estimator that can say something about new rows.",
    )


def _output(estimator: Any, methods: Mapping[str, str]) -> Output:
    classes = getattr(estimator, "classes_", None)
    if methods["predictions"] == "transform":
        return Output("json")
    if isinstance(classes, list):  # one list of classes for each of several outputs
        return Output("json")
    if classes is not None:
        plain = [one.item() if hasattr(one, "item") else one for one in classes]
        return Output("classification", classes=plain, probabilities="probabilities" in methods)
    kind = getattr(estimator, "_estimator_type", None) or _tagged_type(estimator)
    if kind == "regressor":
        return Output("regression")
    names = {"clusterer": "Cluster", "outlier_detector": "Inlier (1) or outlier (-1)"}
    return Output("regression", name=names[kind]) if kind in names else Output("json")


def _tagged_type(estimator: Any) -> str | None:
    tags = getattr(estimator, "__sklearn_tags__", None)
    return getattr(tags(), "estimator_type", None) if callable(tags) else None


# --- what it takes


def _table(estimator: Any, example: Any, schema: ModelSchema | None) -> Table:
    if schema is not None and schema.form != "table":
        raise CannotPackage(
            f"The schema's form is {schema.form!r}; a scikit-learn model takes a table.", hint='Write form="table".'
        )
    if _takes_texts(estimator, example):
        return Table("values", schema.fields if schema else (Field("text", "str"),))
    names = _fitted_names(estimator)
    columns = _example_columns(example)
    if names is not None:
        _check_example_names(names, columns)
        return _frame_table(estimator, names, example, schema)
    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        count = _example_width(example)
    if count is None:
        raise CannotPackage(
            f"How many columns this {type(estimator).__name__} takes cannot be learned from it.",
            hint="Give an example: tenfold.deploy(model, name, example=X[:3]).",
        )
    return _array_table(estimator, int(count), example, columns, schema)


def _takes_texts(estimator: Any, example: Any) -> bool:
    if _first_step(estimator).__class__.__name__ in TEXT_READERS:
        return True
    if _is_series(example):
        return getattr(estimator, "n_features_in_", None) is None
    return (
        isinstance(example, list | tuple)
        and bool(example)
        and all(isinstance(one, str) for one in example)
        and getattr(estimator, "n_features_in_", None) is None
    )


def _fitted_names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _example_columns(example: Any) -> list[str] | None:
    if _is_frame(example):
        return [str(name) for name in example.columns]
    if isinstance(example, dict):
        return [str(name) for name in example]
    if isinstance(example, list) and example and isinstance(example[0], dict):
        return [str(name) for name in example[0]]
    return None


def _check_example_names(names: Sequence[str], columns: Sequence[str] | None) -> None:
    missing = [name for name in names if columns is not None and name not in columns]
    if missing:
        raise CannotPackage(
            f"The example lacks the column {', '.join(missing[:10])}, which the model was fitted with.",
            hint="Give a few rows of the table it was fitted with: example=X.iloc[:3].",
        )


def _frame_table(estimator: Any, names: list[str], example: Any, schema: ModelSchema | None) -> Table:
    frame = _as_frame(example, names)
    choices = _categories(estimator, names)
    gaps = _columns_with_gaps(estimator, names)
    fields: list[Field] = []
    dtypes: dict[str, dict[str, Any]] = {}
    for name in names:
        column = None if frame is None else frame[name]
        dtype = None if column is None else _dtype(column)
        if dtype is not None:
            dtypes[name] = dtype
        fields.append(_field(name, column, dtype, choices.get(name), name in gaps))
    return Table("frame", schema.fields if schema else tuple(fields), dtypes)


def _array_table(
    estimator: Any, count: int, example: Any, columns: Sequence[str] | None, schema: ModelSchema | None
) -> Table:
    if schema is not None:
        names = [one.name for one in schema.fields]
    elif columns is not None and len(columns) == count:
        names = list(columns)
    else:
        names = [f"x{index}" for index in range(count)]
    if len(names) != count:
        raise CannotPackage(f"The schema has {len(names)} fields, and the model was fitted with {count} columns.")
    choices = _categories(estimator, names)
    first = _example_rows(example, names)
    gaps = _columns_with_gaps(estimator, names)
    fields = []
    for index, name in enumerate(names):
        values = [row[index] for row in first]
        fields.append(_array_field(name, values, choices.get(name), name in gaps))
    dtype = str(example.dtype) if hasattr(example, "dtype") and str(example.dtype) in ("float32", "float64") else None
    return Table("array", schema.fields if schema else tuple(fields), dtype=dtype)


def _field(
    name: str, column: Any, dtype: Mapping[str, Any] | None, choices: list[Any] | None, allow_missing: bool
) -> Field:
    kind: FieldType = "float" if choices is None else _type_of_choices(choices)
    has_missing = False
    if dtype is not None:
        kind = dtype["field"]
        choices = choices if dtype["kind"] != "category" else list(dtype["categories"])
        has_missing = bool(column.isna().any())
    elif column is not None:  # an object column: whatever its values are
        values = [value for value in column.tolist() if not _is_missing(value)]
        kind = _type_of(values)
        has_missing = len(values) < len(column)
    if choices is not None:
        allow_missing = any(_is_missing(choice) for choice in choices)  # an encoder takes what it has seen
        choices = [choice for choice in choices if not _is_missing(choice)]
    if choices is not None and not _fits_choices(kind, choices):
        choices = None
    nullable = has_missing or (allow_missing and kind in ("float", "str"))
    step = 1.0 if kind == "int" and choices is None else None
    return Field(name, kind, nullable=nullable, choices=choices, step=step)


def _array_field(name: str, values: list[Any], choices: list[Any] | None, allow_missing: bool) -> Field:
    there = [value for value in values if not _is_missing(value)]
    kind: FieldType = _type_of(there) if there else ("float" if choices is None else _type_of_choices(choices))
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
            "field": _type_of(categories),
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


def _categories(estimator: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """What encoders in the pipeline have learned, by column of the input, where they look at it directly."""
    found: dict[str, list[Any]] = {}
    for encoder, columns in _encoders(_first_step(estimator), list(names)):
        if getattr(encoder, "handle_unknown", "error") != "error":
            continue  # other values are welcome
        for column, categories in zip(columns, getattr(encoder, "categories_", []), strict=False):
            found[column] = [one.item() if hasattr(one, "item") else one for one in categories]
    return found


def _encoders(step: Any, columns: list[str]) -> Iterator[tuple[Any, list[str]]]:
    if type(step).__name__ in ("OneHotEncoder", "OrdinalEncoder"):
        yield step, columns
        return
    for _, transformer, selected in getattr(step, "transformers_", []):
        if isinstance(transformer, str):
            continue
        yield from _encoders(_first_step(transformer), _selected(selected, columns))


def _selected(selected: Any, columns: list[str]) -> list[str]:
    try:
        return [columns[one] if isinstance(one, int) else str(one) for one in selected]
    except (TypeError, IndexError):
        return []


def _first_step(estimator: Any) -> Any:
    """The step of a pipeline (or of what a search found) that sees the input."""
    while True:
        inner = getattr(estimator, "best_estimator_", None)
        if inner is not None:
            estimator = inner
            continue
        steps = getattr(estimator, "steps", None)
        if not isinstance(steps, list) or not steps:
            return estimator
        estimator = next((step for _, step in steps if step not in (None, "passthrough")), steps[0][1])


def _columns_with_gaps(estimator: Any, columns: Sequence[str]) -> set[str]:
    """The columns in which a value may be missing: every step takes it, or an imputer fills it before one does not."""
    allowed = set(columns)
    for step in _steps(estimator):
        if hasattr(step, "transformers_"):
            allowed -= _refusing_gaps(step, list(columns))
            return allowed  # what comes after sees other columns
        if not _takes_gaps(step):
            return set()
        if type(step).__name__.endswith("Imputer"):
            break
    return allowed


def _refusing_gaps(step: Any, columns: list[str]) -> set[str]:
    refusing: set[str] = set()
    for _, transformer, selected in step.transformers_:
        inside = _selected(selected, columns)
        if transformer == "drop":
            continue
        if isinstance(transformer, str):
            refusing |= set(inside)
        else:
            refusing |= set(inside) - _columns_with_gaps(transformer, inside)
    return refusing


def _steps(estimator: Any) -> list[Any]:
    inner = getattr(estimator, "best_estimator_", estimator)
    steps = getattr(inner, "steps", None)
    if not isinstance(steps, list):
        return [inner]
    return [one for _, step in steps if step not in (None, "passthrough") for one in _steps(step)]


def _takes_gaps(step: Any) -> bool:
    tags = getattr(step, "__sklearn_tags__", None)
    try:
        return bool(tags().input_tags.allow_nan) if callable(tags) else False
    except (AttributeError, TypeError):  # of a class that only looks like an estimator
        return False


# --- examples


def _is_frame(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "columns")


def _is_series(value: Any) -> bool:
    return (
        type(value).__module__.partition(".")[0] == "pandas"
        and hasattr(value, "name")
        and not hasattr(value, "columns")
    )


def _as_frame(example: Any, names: Sequence[str]) -> Any:
    """The example as a pandas table with the model's columns, None when there is none."""
    if example is None:
        return None
    if _is_frame(example):
        frame = example.copy()
        frame.columns = [str(name) for name in frame.columns]
        return frame[list(names)]
    if not is_importable("pandas"):
        return None
    import pandas  # the user's own: the model was fitted with one of its tables

    if isinstance(example, dict):
        is_columns = bool(example) and all(isinstance(one, list | tuple) for one in example.values())
        return pandas.DataFrame(example if is_columns else [example])[list(names)]
    if _is_series(example):
        return pandas.DataFrame([example.to_dict()])[list(names)].infer_objects()
    rows = [example] if _is_one_row(example) else example
    if len(rows) and isinstance(rows[0], dict):
        return pandas.DataFrame(list(rows))[list(names)]
    return pandas.DataFrame(rows, columns=list(names))


def _example_rows(example: Any, names: Sequence[str]) -> list[list[Any]]:
    if example is None:
        return []
    if _is_frame(example):
        rows = example.astype(object).values.tolist()
    elif _is_series(example):
        rows = [example.tolist()]
    elif isinstance(example, dict):
        is_columns = bool(example) and all(isinstance(one, list | tuple) for one in example.values())
        ordered = [example[name] for name in names]
        rows = [list(row) for row in zip(*ordered, strict=True)] if is_columns else [ordered]
    elif hasattr(example, "tolist"):
        listed = example.toarray().tolist() if hasattr(example, "toarray") else example.tolist()
        rows = [listed] if listed and not isinstance(listed[0], list) else listed
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


def _example_width(example: Any) -> int | None:
    rows = example if not _is_one_row(example) else [example]
    shape = getattr(rows, "shape", None)
    if shape is not None:
        return int(shape[-1])
    if isinstance(rows, dict):
        return len(rows)
    return len(rows[0]) if isinstance(rows, list | tuple) and rows else None


def _example_body(table: Table, example: Any) -> Any:
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
    if _is_missing(value):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _type_of(values: Sequence[Any]) -> FieldType:
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


def _type_of_choices(choices: Sequence[Any]) -> FieldType:
    return _type_of([choice for choice in choices if not _is_missing(choice)])


def _fits_choices(kind: FieldType, choices: Sequence[Any]) -> bool:
    return kind in ("str", "int") and _type_of_choices(choices) == kind


# --- saving


@dataclass(frozen=True)
class _Saved:
    format: str
    modules: frozenset[str]
    own: frozenset[str] = frozenset()
    trusted: tuple[str, ...] = ()
    why: str = ""


def _save(estimator: Any, folder: Path) -> _Saved:
    """skops where every type in it is known to be safe; else a pickle, which only the model's own worker opens."""
    as_pickle = pickled(estimator, type(estimator).__name__)  # also says early what cannot travel
    if not is_importable("skops"):
        why = "skops is not installed here"
    else:
        saved = _save_skops(estimator, folder, as_pickle.modules)
        if isinstance(saved, _Saved):
            return saved
        why = saved
    (folder / "model.pickle").write_bytes(as_pickle.data)
    return _Saved("pickle", as_pickle.modules, as_pickle.own, why=why)


def _save_skops(estimator: Any, folder: Path, modules: frozenset[str]) -> _Saved | str:
    """What was saved, or why it could not be."""
    roots = {module.partition(".")[0] for module in modules} - {*TRUSTED_ROOTS, "builtins", "copyreg"}
    strangers = sorted(root for root in roots if root == MAIN or root not in sys.stdlib_module_names)
    if strangers:
        return f"it holds objects of {', '.join(strangers)}"
    file = folder / "model.skops"
    try:
        with _light_skops() as skops_io:
            skops_io.dump(estimator, file)
            types = skops_io.get_untrusted_types(file=file)
            unknown = [one for one in types if one.partition(".")[0] not in TRUSTED_ROOTS]
            if not unknown:
                skops_io.load(file, trusted=types)
    except Exception as error:  # types that skops does not know fail in many ways
        file.unlink(missing_ok=True)
        return f"skops cannot store it ({type(error).__name__})"
    if unknown:
        file.unlink()
        return f"it holds objects of the type {unknown[0]}"
    return _Saved("skops", modules, trusted=tuple(types))


@contextmanager
def _light_skops() -> Iterator[Any]:
    """skops without its list of every estimator there is, for which it would import all of scikit-learn (seconds).

    Such a skops trusts less by itself, so it is not left behind in the user's process.
    """
    if "skops.io" in sys.modules:
        yield sys.modules["skops.io"]
        return
    utils = sys.modules["sklearn"].utils
    everything = utils.all_estimators
    utils.all_estimators = lambda *_, **__: []
    try:
        from skops import io  # weight; and only where the user has it

        yield io
    finally:
        utils.all_estimators = everything
        for name in [name for name in sys.modules if name.partition(".")[0] == "skops"]:
            del sys.modules[name]


def _check_python(python: str | None) -> None:
    if python is not None and python != own_python():
        raise CannotPackage(
            f"The model is saved as a pickle under Python {own_python()}, and Python {python} may not read it.",
            hint=f"Leave out python=, or fit and deploy under Python {python}.",
        )
