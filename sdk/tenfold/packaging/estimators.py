"""scikit-learn estimators and pipelines as packages. scikit-learn is not imported here: the user's object is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging import compilers, source
from tenfold.packaging.origins import MAIN, is_importable, is_of_python, pin_of_distribution, pins_of, with_own
from tenfold.packaging.package import Package, own_python, write_package
from tenfold.packaging.pickling import pickled
from tenfold.packaging.tables import (
    HELPERS,
    Table,
    array_names,
    array_table,
    check_example_names,
    check_form,
    example_body,
    example_columns,
    example_width,
    frame_table,
    is_series,
)
from tenfold.schema import Field, ModelSchema, Output

ADAPTER = "sklearn_model.py"
TEXT_READERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
TRUSTED_ROOTS = ("sklearn", "numpy", "scipy")


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
    body = example_body(table, example)
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    saved = _save(estimator, data)
    containers = {*_containers(estimator), *(["pandas"] if table.input == "frame" else [])}
    modules = {*saved.modules, "sklearn", "numpy", *containers}
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
        "methods": methods,
        "format_of_data": saved.format,
        **table.settings(),
        "compiler": _compiler(table),
    }
    if (container := _container_of_all()) != "default":
        settings["transform_output"] = container
    if saved.format == "skops":
        settings["trusted_types"] = list(saved.trusted)
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
        helpers=(*HELPERS, *compilers.HELPERS),
        notes=notes,
    )


def _compiler(table: Table) -> Mapping[str, Any]:
    if table.input == "values":
        return compilers.not_compiled("It reads texts, which the compiled form would split into words by other rules.")
    return compilers.COMPILER


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


def _containers(estimator: Any) -> set[str]:
    """The libraries whose tables its steps pass on, as set_output and set_config say."""
    asked = {_container_of_all(), *(config for step in _all_steps(estimator) if (config := _container_of(step)))}
    return asked & {"pandas", "polars"}


def _container_of_all() -> str:
    configured = sys.modules["sklearn"].get_config() if "sklearn" in sys.modules else {}
    return str(configured.get("transform_output", "default"))


def _container_of(step: Any) -> str | None:
    told = getattr(step, "_sklearn_output_config", None)
    return str(told.get("transform")) if isinstance(told, dict) else None


def _all_steps(estimator: Any) -> Iterator[Any]:
    """The estimator with every step inside it, those of its columns included."""
    yield estimator
    inner = getattr(estimator, "best_estimator_", None)
    steps = [step for _, step in getattr(estimator, "steps", None) or ()]
    columns = [one[1] for one in getattr(estimator, "transformers_", None) or ()]
    for step in [inner, *steps, *columns]:
        if step is not None and not isinstance(step, str):
            yield from _all_steps(step)


# --- what it takes


def _table(estimator: Any, example: Any, schema: ModelSchema | None) -> Table:
    check_form(schema, "a scikit-learn model")
    if _takes_texts(estimator, example):
        return Table("values", schema.fields if schema else (Field("text", "str"),))
    names = _fitted_names(estimator)
    if names is not None:
        check_example_names(names, example_columns(example))
        choices, gaps = _categories(estimator, names), _columns_with_gaps(estimator, names)
        return frame_table(names, example, schema, choices=choices, gaps=gaps)
    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        count = example_width(example)
    if count is None:
        raise CannotPackage(
            f"How many columns this {type(estimator).__name__} takes cannot be learned from it.",
            hint="Give an example: tenfold.deploy(model, name, example=X[:3]).",
        )
    names = array_names(int(count), example, schema)
    choices, gaps = _categories(estimator, names), _columns_with_gaps(estimator, names)
    return array_table(names, example, schema, choices=choices, gaps=gaps)


def _takes_texts(estimator: Any, example: Any) -> bool:
    if _first_step(estimator).__class__.__name__ in TEXT_READERS:
        return True
    if is_series(example):
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
    """The columns in which a value may be missing: every step takes it, or one fills it before another does not."""
    return _gaps_through(estimator, list(columns))[0]


def _gaps_through(estimator: Any, columns: list[str]) -> tuple[set[str], set[str]]:
    """Of the columns those in which a value may be missing, and of these those that still lack it afterwards."""
    allowed, open_ = set(columns), set(columns)
    for step in _steps(estimator):
        if not open_:
            break
        if hasattr(step, "transformers_"):
            taken, left = _gaps_by_column(step, columns)
        elif type(step).__name__ in ENCODERS:
            taken, left = _gaps_encoded(step, columns)
        else:
            taken = set(columns) if _takes_gaps(step) else set()
            left = set() if type(step).__name__.endswith("Imputer") else taken
        allowed -= open_ - taken
        open_ &= left & allowed
    return allowed, open_


def _gaps_by_column(step: Any, columns: list[str]) -> tuple[set[str], set[str]]:
    taken, left = set(columns), set()
    for _, transformer, selected in step.transformers_:
        inside = _selected(selected, columns)
        if isinstance(transformer, str):
            left |= set(inside) if transformer == "passthrough" else set()
            continue
        allowed, open_ = _gaps_through(transformer, inside)
        taken -= set(inside) - allowed
        left |= open_
    return taken, left


def _gaps_encoded(step: Any, columns: list[str]) -> tuple[set[str], set[str]]:
    """An encoder takes a missing value that it learned as a category, or where it takes any unknown one."""
    is_learned = [any(one is None or one != one for one in known) for known in getattr(step, "categories_", [])]  # noqa: PLR0124
    takes_unknown = getattr(step, "handle_unknown", "error") != "error"
    taken = {name for name, learned in zip(columns, is_learned, strict=False) if learned or takes_unknown}
    passes_on = type(step).__name__ == "OrdinalEncoder" and step.encoded_missing_value != step.encoded_missing_value
    left = {name for name, learned in zip(columns, is_learned, strict=False) if learned and passes_on}
    return taken, left & taken


def _steps(estimator: Any) -> list[Any]:
    inner = getattr(estimator, "best_estimator_", estimator)
    steps = getattr(inner, "steps", None)
    if not isinstance(steps, list):
        return [inner]
    return [one for _, step in steps if step not in (None, "passthrough") for one in _steps(step)]


def _takes_gaps(step: Any) -> bool:
    if type(step).__name__ == "FunctionTransformer" and step.func is None and not step.validate:
        return True  # columns that are passed on
    tags = getattr(step, "__sklearn_tags__", None)
    try:
        return bool(tags().input_tags.allow_nan) if callable(tags) else False
    except (AttributeError, TypeError):  # of a class that only looks like an estimator
        return False


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
    strangers = sorted(root for root in roots if root == MAIN or not is_of_python(root))
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
