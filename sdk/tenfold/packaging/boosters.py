"""XGBoost and LightGBM models as packages: in their native formats, which hold trees and no code.

Neither library is imported here: the user's object is asked. The worker needs no scikit-learn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging.origins import pins_of, with_own
from tenfold.packaging.package import Package, own_python, write_package
from tenfold.packaging.tables import (
    HELPERS,
    Table,
    array_names,
    array_table,
    check_example_names,
    check_form,
    example_body,
    example_columns,
    frame_table,
    is_frame,
)
from tenfold.schema import ModelSchema, Output

ADAPTERS = {"xgboost": "xgboost_model.py", "lightgbm": "lightgbm_model.py"}
FRAMEWORKS = {"xgboost": "XGBoost", "lightgbm": "LightGBM"}
BINARY_OBJECTIVES = ("binary", "binary:logistic", "cross_entropy", "reg:logistic")


@dataclass(frozen=True)
class _Booster:
    """What the model is besides its file. `settings` are for the adapter, which reads them again."""

    features: tuple[str, ...] | None
    count: int
    output: Output
    settings: Mapping[str, Any]
    has_categories: bool = False
    categories: Sequence[Sequence[Any]] = ()


def package_xgboost(model: Any, name: str, root: Path, **options: Any) -> Package:
    """Writes a package of a trained XGBoost model into `root`: a Booster, or one of the scikit-learn API."""
    booster = _xgboost_booster(model)
    data = _data(root)
    booster.save_model(data / "model.ubj")
    return _write(model, name, root, "xgboost", _xgboost(model, booster), **options)


def package_lightgbm(model: Any, name: str, root: Path, **options: Any) -> Package:
    """Writes a package of a trained LightGBM model into `root`: a Booster, or one of the scikit-learn API."""
    booster = _lightgbm_booster(model)
    data = _data(root)
    booster.save_model(data / "model.txt")
    return _write(model, name, root, "lightgbm", _lightgbm(model, booster), **options)


def _write(
    model: Any,
    name: str,
    root: Path,
    library: str,
    booster: _Booster,
    *,
    example: Any = None,
    schema: ModelSchema | None = None,
    requirements: Sequence[str] | None = None,
    python: str | None = None,
    description: str | None = None,
) -> Package:
    table = _table(booster, example, schema, library)
    modules = {library, "numpy", *(["pandas"] if table.input == "frame" else [])}
    settings = {"adapter": library, "estimator": type(model).__name__, **booster.settings, **table.settings()}
    return write_package(
        root,
        name=name,
        adapter=ADAPTERS[library],
        settings=settings,
        framework=FRAMEWORKS[library],
        schema=schema or ModelSchema("table", table.fields, booster.output),
        example=example_body(table, example),
        requirements=with_own(pins_of(modules), requirements),
        python_version=python or own_python(),
        description=description,
        helpers=HELPERS,
    )


def _data(root: Path) -> Path:
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    return data


# --- XGBoost


def _xgboost_booster(model: Any) -> Any:
    if not hasattr(model, "get_booster"):
        return model
    try:
        return model.get_booster()
    except Exception as error:  # NotFittedError of whichever scikit-learn is there
        raise _not_fitted(model) from error


def _xgboost(model: Any, booster: Any) -> _Booster:
    config = json.loads(booster.save_config())["learner"]
    objective = config["objective"]["name"]
    settings: dict[str, Any] = {"objective": objective, "booster": config["gradient_booster"]["name"]}
    last = getattr(booster, "best_iteration", None) if model is not booster and _stopped_early(booster) else None
    if last is not None:
        settings["iterations"] = int(last) + 1
    missing = getattr(model, "missing", math.nan)
    if isinstance(missing, int | float) and not math.isnan(missing):
        settings["missing"] = missing
    classes = int(getattr(model, "n_classes_", 0) or 0)
    if classes and not _gives_several(booster, objective):
        settings["classes"] = list(range(classes))
    elif classes:
        settings["labels"] = True
    output = _output(settings, model is booster, objective)
    kinds = booster.feature_types or ()
    features = tuple(booster.feature_names) if booster.feature_names else None
    return _Booster(features, int(booster.num_features()), output, settings, "c" in kinds)


def _stopped_early(booster: Any) -> bool:
    return booster.attr("best_iteration") is not None


def _gives_several(booster: Any, objective: str) -> bool:
    """Whether it answers several yes or no questions at once."""
    if objective.startswith("multi:"):
        return False
    parameters = json.loads(booster.save_config())["learner"]["learner_model_param"]
    return int(parameters.get("num_target", 1)) > 1


# --- LightGBM


def _lightgbm_booster(model: Any) -> Any:
    if not hasattr(type(model), "booster_"):
        return model
    try:
        return model.booster_
    except Exception as error:  # NotFittedError of whichever scikit-learn is there
        raise _not_fitted(model) from error


def _lightgbm(model: Any, booster: Any) -> _Booster:
    told = booster.dump_model(num_iteration=1)
    objective = str(told.get("objective", "custom")).partition(" ")[0]
    settings: dict[str, Any] = {"objective": objective}
    classes = getattr(model, "classes_", None)
    if classes is not None and not callable(getattr(model, "_objective", None)):
        settings["classes"] = [one.item() if hasattr(one, "item") else one for one in classes]
    categories = getattr(booster, "pandas_categorical", None) or ()
    names = tuple(booster.feature_name())
    is_named = any(name != f"Column_{index}" for index, name in enumerate(names))
    output = _output(settings, model is booster, objective)
    return _Booster(names if is_named else None, len(names), output, settings, bool(categories), categories)


# --- what both have


def _output(settings: Mapping[str, Any], is_booster: bool, objective: str) -> Output:
    """A Booster answers what its own predict gives: the probability of a class, or one of each."""
    if "classes" in settings:
        return Output("classification", classes=settings["classes"], probabilities=True)
    if settings.get("labels") or objective.startswith(("multi:soft", "multiclass")):
        return Output("json")
    return Output("regression", name="Probability" if is_booster and objective in BINARY_OBJECTIVES else None)


def _table(booster: _Booster, example: Any, schema: ModelSchema | None, library: str) -> Table:
    """A pandas table only where categories ask for one: else numbers in order are all that the trees want."""
    check_form(schema, f"a model of {FRAMEWORKS[library]}")
    if booster.has_categories and not (is_frame(example) or (library == "xgboost" and hasattr(example, "dtype"))):
        raise CannotPackage(
            "The model was trained with columns of categories, and which values those have is not known.",
            hint="Give a few rows of the table it was trained with: example=X.iloc[:3].",
        )
    if booster.features is None:
        names: Sequence[str] = array_names(booster.count, example, schema)
        return array_table(names, example, schema, gaps=names)
    columns = example_columns(example)
    names = _as_called(booster.features, columns or ())
    check_example_names(names, columns)
    if not is_frame(example):
        return replace(array_table(names, example, schema, gaps=names), dtype="float64")
    table = _with_categories(frame_table(names, example, schema, gaps=names), booster.categories)
    return table if booster.has_categories else replace(table, input="array", dtypes={}, dtype="float64")


def _as_called(features: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The features by the names that the table has for them: LightGBM does not keep spaces."""
    spaced = {column.replace(" ", "_"): column for column in columns}
    return [name if name in columns else spaced.get(name, name) for name in features]


def _with_categories(table: Table, categories: Sequence[Sequence[Any]]) -> Table:
    """The categories of the fit, where the model knows them, in the place of those of the example."""
    named = [name for name, dtype in table.dtypes.items() if dtype["kind"] == "category"]
    if len(named) != len(categories):
        return table
    known = {name: list(values) for name, values in zip(named, categories, strict=True)}
    dtypes = {
        name: {**dtype, "categories": known[name]} if name in known else dtype for name, dtype in table.dtypes.items()
    }
    fields = tuple(
        replace(one, choices=known[one.name]) if one.choices and one.name in known else one for one in table.fields
    )
    return replace(table, fields=fields, dtypes=dtypes)


def _not_fitted(model: Any) -> CannotPackage:
    return CannotPackage(f"This {type(model).__name__} is not fitted yet.", hint="Call .fit(X, y) before deploying it.")
