"""TensorFlow modules and SavedModels as packages: a SavedModel with a signature. Keras models: see keras_models.py.

TensorFlow is not imported here: a module has brought it, and the folder of a SavedModel is read without it.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging import tensors
from tenfold.packaging.adapters._tensors import flattened
from tenfold.packaging.keras_models import library_of, of_keras
from tenfold.packaging.origins import pins_of, with_own
from tenfold.packaging.package import Package, own_python, write_package
from tenfold.packaging.saved_model import SavedModel, Signature, read_saved_model
from tenfold.schema import Field, ModelSchema

ADAPTER = "tensorflow_model.py"
SERVING = "serving_default"
Structure = tuple[tuple[Any, ...], dict[str, Any]]


def package_tensorflow(
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
    """Writes a package of a Keras model, a tf.Module, a loaded SavedModel or the path of one. Raises CannotPackage.

    `example`: an array, a list or tuple of them (for several inputs in their order) or a dict (by name).
    """
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    if isinstance(model, str | os.PathLike):
        known = _of_folder(Path(model), example, data)
    elif library_of(model) is not None:
        known = of_keras(model, example, data, root / "packages", is_wide=_is_classification(schema))
    else:
        known = _of_module(model, example, data, is_wide=_is_classification(schema))
    learned = tensors.with_given(known.fields, schema)
    body, remarks = tensors.example_body(known.arrays, learned.fields)
    tensors.save_example(known.arrays, data)
    settings = {"adapter": "tensorflow", **known.settings}
    scores = tensors.scores_of(learned.output, known.results, known.outputs)
    if scores is not None:
        settings["scores"] = scores
    return write_package(
        root,
        name=name,
        adapter=ADAPTER,
        helpers=tensors.HELPERS,
        settings=settings,
        framework=known.framework,
        schema=tensors.with_probabilities(learned),
        example=body,
        requirements=with_own(known.pins, requirements),
        python_version=python or own_python(),
        description=description,
        environment_variables=known.variables,
        notes=[*known.notes, *remarks],
    )


def _is_classification(schema: ModelSchema | None) -> bool:
    return schema is not None and schema.output.kind == "classification"


# --- SavedModel


def _of_folder(folder: Path, example: Any, data: Path) -> tensors.Known:
    saved = read_saved_model(folder)
    shutil.copytree(folder, data / "saved_model")
    name = _signature_name(saved)
    fields = _fields_of(name, saved.signatures[name])
    return _known(saved, name, fields, tensors.examples(example, fields), (), _pins_of_tensorflow(saved))


def _known(
    saved: SavedModel,
    name: str,
    fields: tuple[Field, ...],
    arrays: Mapping[str, Any],
    results: tuple[Mapping[str, Any], ...],
    pins: Mapping[str, str],
) -> tensors.Known:
    outputs = saved.signatures[name].outputs
    settings = {
        "format_of_data": "saved_model",
        "signature": name,
        "outputs": [
            {"name": one, "dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)}
            for one, spec in outputs.items()
        ],
    }
    return tensors.Known(
        "TensorFlow", fields, arrays, results, tuple(outputs), settings, pins, tensors.QUIET_TENSORFLOW
    )


def _signature_name(saved: SavedModel) -> str:
    there = [one for one in saved.signatures if not one.startswith("__")]
    if SERVING in there:
        return SERVING
    if len(there) == 1:
        return there[0]
    said = f"It has: {', '.join(there)}." if there else "It has none."
    raise CannotPackage(
        f"The SavedModel has no signature {SERVING!r}, so it does not say what it takes. {said}",
        hint=f"Save it with one: tf.saved_model.save(model, path, signatures={{{SERVING!r}: function}}), or load it "
        "and deploy what comes out, with an example: tenfold.deploy(tf.saved_model.load(path), name, example=X[:3]).",
    )


def _fields_of(name: str, signature: Signature) -> tuple[Field, ...]:
    odd = [one for one, spec in signature.inputs.items() if spec.dtype is None or spec.dtype.startswith("complex")]
    if odd:
        raise CannotPackage(
            f"The input {odd[0]} of the signature {name} is not of numbers or texts.",
            hint="Save it with a signature that takes dense tensors of numbers or texts.",
        )
    return tuple(tensors.tensor(one, str(spec.dtype), spec.shape) for one, spec in signature.inputs.items())


def _pins_of_tensorflow(saved: SavedModel) -> dict[str, str]:
    """The version that is installed; where there is none, the one that saved it."""
    try:
        return pins_of({"tensorflow", "numpy"})
    except (CannotPackage, metadata.PackageNotFoundError):
        return {"tensorflow": f"tensorflow=={saved.tensorflow_version}"}


def _of_module(model: Any, example: Any, data: Path, *, is_wide: bool) -> tensors.Known:
    """A tf.Module, or what tf.saved_model.load gives: saved (again) with a signature."""
    tensorflow = sys.modules["tensorflow"]
    target = data / "saved_model"
    signatures = dict(getattr(model, "signatures", None) or {})
    order: Sequence[str] = ()
    if not signatures:
        serving, order = _serving(tensorflow, model, example)
        signatures = {SERVING: serving}
    try:
        with _quiet():
            tensorflow.saved_model.save(model, str(target), signatures=signatures)
    except Exception as error:  # whatever the user's functions hold on to
        raise CannotPackage(
            f"TensorFlow cannot save {type(model).__name__}: {tensors.short(error)}",
            hint="Keep its variables and tables as attributes of the module.",
        ) from error
    saved = read_saved_model(target)
    name = _signature_name(saved)
    found = _fields_of(name, saved.signatures[name])
    fields = tuple(sorted(found, key=lambda one: order.index(one.name))) if order else found
    arrays = tensors.examples(example, fields)
    results = tuple(_called(tensorflow, signatures[name], one, fields) for one in _rows_to_try(arrays, is_wide))
    return _known(saved, name, fields, arrays, results, pins_of({"tensorflow", "numpy"}))


def _rows_to_try(arrays: Mapping[str, Any], is_wide: bool) -> Iterator[Mapping[str, Any]]:
    if not arrays:
        return
    yield arrays
    for factor in (20, -20) if is_wide else ():
        yield {
            name: array * array.dtype.type(factor) if array.dtype.kind == "f" else array
            for name, array in arrays.items()
        }


def _called(tensorflow: Any, signature: Any, arrays: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    dtypes = {one.name: {"str": "string"}.get(str(one.dtype), one.dtype) for one in fields}
    given = {name: tensorflow.constant(array, dtypes[name]) for name, array in arrays.items()}
    try:
        return {name: value.numpy() for name, value in signature(**given).items()}
    except Exception as error:  # any line of any function
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in given.items())
        raise CannotPackage(
            f"The model cannot be called with the example ({shapes}): {tensors.short(error)}",
            hint="Give what you call it with yourself, batch first: example=X[:3].",
        ) from error


def _serving(tensorflow: Any, model: Any, example: Any) -> tuple[Any, list[str]]:
    """A concrete function that takes tensors by name and gives a dict of them, and the names in their order."""
    function = _function_of(model)
    function, structure = _structure(tensorflow, function, example)
    flat = tensorflow.nest.flatten(structure)
    specs = [one for one in flat if isinstance(one, tensorflow.TensorSpec)]
    names = _input_names(specs)

    def serve(**given: Any) -> dict[str, Any]:
        values = iter(given[name] for name in names)
        filled = [next(values) if isinstance(one, tensorflow.TensorSpec) else one for one in flat]
        arguments, named = tensorflow.nest.pack_sequence_as(structure, filled)
        results = flattened(function(*arguments, **named), tensorflow.is_tensor)
        if not results:
            raise CannotPackage(
                f"{type(model).__name__} gives no tensor.", hint="Let it return a tensor, or a dict of tensors."
            )
        return results

    wanted = {
        name: tensorflow.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in zip(names, specs, strict=True)
    }
    try:
        with _quiet():
            return tensorflow.function(serve).get_concrete_function(**wanted), names
    except CannotPackage:
        raise
    except Exception as error:  # any line of any function
        shapes = ", ".join(f"{name} {list(spec.shape)}" for name, spec in wanted.items())
        raise CannotPackage(
            f"{type(model).__name__} cannot be called with {shapes}: {tensors.short(error)}",
            hint="Give what you call it with yourself, batch first: example=X[:3].",
        ) from error


def _function_of(model: Any) -> Any:
    if callable(model):
        return model.__call__
    public = {name: getattr(model, name, None) for name in dir(model) if not name.startswith("_")}
    functions = {name: one for name, one in public.items() if hasattr(one, "get_concrete_function")}
    if len(functions) == 1:
        return next(iter(functions.values()))
    said = f"It has the functions {', '.join(functions)}." if functions else "It has no function."
    raise CannotPackage(
        f"What to call on {type(model).__name__} cannot be told. {said}",
        hint="Give it one method `@tf.function def __call__(self, x)`.",
    )


def _structure(tensorflow: Any, function: Any, example: Any) -> tuple[Any, Structure]:
    """What to call, and its positional and named arguments with a TensorSpec in the place of each tensor."""
    traced = list(getattr(function, "concrete_functions", ()))
    if traced:
        chosen = _most_general(tensorflow, traced)
        return chosen, chosen.structured_input_signature
    signature = getattr(function, "input_signature", None)
    return function, ((tuple(signature), {}) if signature else _structure_of(tensorflow, function, example))


def _structure_of(tensorflow: Any, function: Any, example: Any) -> Structure:
    if example is None:
        raise CannotPackage(
            "What the module takes cannot be told without calling it.",
            hint="Give an example of its input: tenfold.deploy(model, name, example=X[:3]).",
        )
    names = list(inspect.signature(getattr(function, "python_function", function)).parameters)
    if isinstance(example, Mapping) and not set(map(str, example)) <= set(names):
        return ({str(key): _spec(tensorflow, str(key), one) for key, one in example.items()},), {}
    if isinstance(example, Mapping):
        return (), {str(key): _spec(tensorflow, str(key), one) for key, one in example.items()}
    parts = list(example) if isinstance(example, tuple) else [example]
    names = [one for one in names if one != "self"]
    named = [names[place] if place < len(names) else f"input_{place}" for place in range(len(parts))]
    return tuple(_spec(tensorflow, name, one) for name, one in zip(named, parts, strict=True)), {}


def _spec(tensorflow: Any, name: str, value: Any) -> Any:
    if tensorflow.is_tensor(value):
        return tensorflow.TensorSpec([None, *value.shape[1:]] if value.shape.rank else [], value.dtype, name=name)
    array = tensors.as_array(value)
    dtype = {"f": "float32", "U": "string"}.get(array.dtype.kind, array.dtype.name)
    return tensorflow.TensorSpec([None, *array.shape[1:]] if array.ndim else [], dtype, name=name)


def _most_general(tensorflow: Any, traced: Sequence[Any]) -> Any:
    """Of what the function was traced with, the one for inference that takes the most shapes."""

    def order(one: Any) -> tuple[bool, int]:
        leaves = tensorflow.nest.flatten(one.structured_input_signature)
        specs = [leaf for leaf in leaves if isinstance(leaf, tensorflow.TensorSpec)]
        free = sum(
            size is None for spec in specs for size in (spec.shape if spec.shape.rank is not None else [None] * 9)
        )
        return any(leaf is True for leaf in leaves), -free

    return min(traced, key=order)


def _input_names(specs: Sequence[Any]) -> list[str]:
    names = [re.sub(r"\W", "_", str(spec.name or "input").partition(":")[0]).strip("_") or "input" for spec in specs]
    if len(set(names)) == len(names):
        return names
    return [f"input_{number}" for number in range(1, len(names) + 1)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what TensorFlow says about functions that are left out of the saved model."""
    log = logging.getLogger("tensorflow")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
