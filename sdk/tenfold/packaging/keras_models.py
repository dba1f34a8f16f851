"""Keras models as packages: the `.keras` format, read in safe mode, on the backend that they were made with.

Keras is not imported here: the user's model has brought it.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging import source, tensors
from tenfold.packaging.adapters._tensors import flattened
from tenfold.packaging.origins import MAIN, pins_of
from tenfold.packaging.pickling import TRAVELLING_MODULE, main_namespace
from tenfold.schema import Field

KERAS = ("keras", "tf_keras")
GIVEN_NAME = re.compile(r"(keras_tensor|input|input_layer|inputs|args)(_\d+)*\Z")
"""What Keras calls an input that nobody has named."""
REGISTER = "@keras.saving.register_keras_serializable()"


def library_of(model: Any) -> str | None:
    """keras, or tf_keras, which is Keras 2."""
    for one in type(model).__mro__:
        root = one.__module__.partition(".")[0]
        if root in KERAS and one.__name__ == "Model":
            return root
    return None


def of_keras(model: Any, example: Any, data: Path, packages: Path, *, is_wide: bool) -> tensors.Known:
    library = library_of(model) or "keras"
    keras = sys.modules[library]
    backend = _backend(keras)
    if not model.built:
        raise CannotPackage(
            f"{type(model).__name__} has no weights yet.", hint="Fit it, or call it once: model(X[:1])."
        )
    arrangement, fields = _inputs(model, example)
    arrays = tensors.examples(_by_name(example, fields) if arrangement == "tuple" else example, fields)
    call = _caller(keras, model, arrangement, fields)
    if arrays and not _has_inputs(model):
        shapes = tensors.shapes_of(arrays, call)
        fields = tuple(tensors.tensor(one.name, str(one.dtype), shapes[one.name]) for one in fields)
    names = _output_names(model)
    results = tuple(_named(result, names) for result in _tried(arrays, call, is_wide))
    file = data / "model.keras"
    own = _save_keras(keras, model, file)
    if own:
        _check_again(keras, model, file, own, arrays, arrangement, fields)
    _drop_optimizer(file)
    places = {name: _place(value) for name, value in own.items()}
    modules = {value.__module__ for value in own.values()} - {MAIN}
    carried = source.carry(
        {value.__qualname__.partition(".")[0] for value in own.values() if value.__module__ == MAIN}, modules, packages
    )
    outputs = tuple(results[0]) if results else tuple(names or ["output"])
    settings: dict[str, Any] = {
        "format_of_data": "keras",
        "library": library,
        "backend": backend,
        "arrangement": arrangement,
    }
    if results or _has_inputs(model):
        settings["is_single"] = len(outputs) == 1 and not isinstance(_outputs_struct(model), dict)
    if names:
        settings["output_names"] = list(names)
    if results:
        settings["outputs"] = tensors.described(results[0])
    if places:
        settings["custom_objects"] = places
    pins = pins_of({*modules, *carried.modules, library, backend, "numpy"} - {TRAVELLING_MODULE})
    variables = {"KERAS_BACKEND": backend} if library == "keras" else {}
    variables |= tensors.QUIET_TENSORFLOW if backend == "tensorflow" else {}
    return tensors.Known("Keras", fields, arrays, results, outputs, settings, pins, variables, carried.notes)


def _backend(keras: Any) -> str:
    backend = getattr(keras.backend, "backend", None)
    return str(backend()) if callable(backend) else "tensorflow"


def _has_inputs(model: Any) -> bool:
    return bool(getattr(model, "inputs", None))


def _inputs(model: Any, example: Any) -> tuple[str, tuple[Field, ...]]:
    """How the model takes its inputs, and what is known of each."""
    if not _has_inputs(model):
        return _inputs_of_example(model, example)
    arranged = getattr(model, "_inputs_struct", None)
    listed = list(model.inputs)
    if isinstance(arranged, dict):
        return "dict", tuple(_field(str(key), one) for key, one in arranged.items())
    if len(listed) == 1 and not isinstance(arranged, list | tuple):
        name = str(listed[0].name).partition(":")[0]
        found = _field("input" if GIVEN_NAME.match(name) else name, listed[0])
        return "single", (_of_any_batch(found) if hasattr(model, "add") else found,)
    names = [str(one.name).partition(":")[0] for one in listed]
    if any(GIVEN_NAME.match(one) for one in names):
        names = [f"input_{number}" for number in range(1, len(names) + 1)]
    return "list", tuple(_field(name, one) for name, one in zip(names, listed, strict=True))


def _field(name: str, one: Any) -> Field:
    dtype = str(getattr(one.dtype, "name", one.dtype))
    shape = None if one.shape is None else [None if size is None else int(size) for size in one.shape]
    return tensors.tensor(name, {"string": "str"}.get(dtype, dtype), shape)


def _of_any_batch(one: Field) -> Field:
    """A Sequential without an Input keeps the number of rows that it saw first, and takes any."""
    return tensors.tensor(one.name, str(one.dtype), None if one.shape is None else [None, *one.shape[1:]])


def _inputs_of_example(model: Any, example: Any) -> tuple[str, tuple[Field, ...]]:
    """For a model of the user's own class, which says only by being called what it takes."""
    kind = str(getattr(model, "compute_dtype", None) or "float32")
    if example is None:
        shape = (model.get_build_config() or {}).get("input_shape") if hasattr(model, "get_build_config") else None
        if not isinstance(shape, list | tuple) or not all(one is None or isinstance(one, int) for one in shape):
            raise CannotPackage(
                f"What {type(model).__name__} takes cannot be told without calling it.",
                hint="Give an example of its input: tenfold.deploy(model, name, example=X[:3]).",
            )
        return "single", (tensors.tensor("input", kind, [None, *shape[1:]]),)
    if isinstance(example, Mapping):
        return "dict", tuple(_field_of(str(key), value, kind) for key, value in example.items())
    several = isinstance(example, tuple) or (
        isinstance(example, list) and bool(example) and all(getattr(one, "ndim", 0) > 1 for one in example)
    )
    if several:
        arranged = "tuple" if isinstance(example, tuple) else "list"
        return arranged, tuple(_field_of(f"input_{number}", one, kind) for number, one in enumerate(example, 1))
    return "single", (_field_of("input", example, kind),)


def _field_of(name: str, value: Any, floats: str) -> Field:
    array = tensors.as_array(value)
    dtype = {"f": floats, "U": "str"}.get(array.dtype.kind, array.dtype.name)
    return tensors.tensor(name, dtype, [None, *array.shape[1:]])


def _by_name(example: Any, fields: Sequence[Field]) -> Any:
    if not isinstance(example, tuple):
        return example
    return {one.name: value for one, value in zip(fields, example, strict=True)}


def _caller(keras: Any, model: Any, arrangement: str, fields: Sequence[Field]) -> Callable[[Mapping[str, Any]], Any]:
    """Calls the model with arrays by name, as the adapter will."""
    backend = _backend(keras)

    def call(arrays: Mapping[str, Any]) -> Any:
        given = {one.name: _as_tensor(backend, arrays[one.name], str(one.dtype)) for one in fields}
        ordered: Any = list(given.values())
        arranged = {"dict": given, "list": ordered, "tuple": tuple(ordered), "single": ordered[0]}[arrangement]
        try:
            return _as_arrays(keras, model(arranged, training=False))
        except Exception as error:  # any line of any call()
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
            raise CannotPackage(
                f"The model cannot be called with the example ({shapes}): {tensors.short(error)}",
                hint="Give what you call it with yourself, batch first: example=X[:3].",
            ) from error

    return call


def _as_tensor(backend: str, array: Any, dtype: str) -> Any:
    if backend == "tensorflow":
        return sys.modules["tensorflow"].constant(array, {"str": "string"}.get(dtype, dtype))
    return array


def _as_arrays(keras: Any, results: Any) -> Any:
    if _is_array(results):
        if hasattr(results, "detach"):
            return results.detach().cpu().numpy()
        return results.numpy() if hasattr(results, "numpy") else sys.modules["numpy"].asarray(results)
    if isinstance(results, Mapping):
        return {key: _as_arrays(keras, one) for key, one in results.items()}
    if isinstance(results, list | tuple):
        return [_as_arrays(keras, one) for one in results]
    raise CannotPackage(
        f"The model gives a {type(results).__name__}, which holds no tensor.",
        hint="Let call return a tensor, or a list or dict of tensors.",
    )


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _tried(arrays: Mapping[str, Any], call: Callable[[Mapping[str, Any]], Any], is_wide: bool) -> Iterator[Any]:
    """What it gives for the example; of scores also for larger numbers, which tell shares from unbounded ones."""
    if not arrays:
        return
    yield call(arrays)
    for factor in (20, -20) if is_wide else ():
        larger = {name: array * factor if array.dtype.kind == "f" else array for name, array in arrays.items()}
        try:
            yield call({name: larger[name].astype(array.dtype) for name, array in arrays.items()})
        except CannotPackage:
            continue


def _outputs_struct(model: Any) -> Any:
    return getattr(model, "_outputs_struct", None)


def _output_names(model: Any) -> tuple[str, ...] | None:
    """Names of several outputs given as a list; those in a dict have theirs."""
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) < 2 or isinstance(_outputs_struct(model), dict):
        return None
    names = [str(one) for one in getattr(model, "output_names", None) or []]
    return tuple(names) if len(names) == len(outputs) == len(set(names)) else None


def _named(result: Any, names: Sequence[str] | None) -> dict[str, Any]:
    found = flattened(result, _is_array)
    return dict(zip(names, found.values(), strict=True)) if names else found


# --- saving Keras models


def _save_keras(keras: Any, model: Any, file: Path) -> dict[str, Any]:
    """Saves it, and gives the user's classes and functions that are needed to read it, by the names it has for them."""
    try:
        model.save(file)
    except Exception as error:  # get_config of any layer
        raise CannotPackage(
            f"Keras cannot save {type(model).__name__}: {tensors.short(error)}",
            hint=f"Decorate your class with {REGISTER} and give it get_config, which returns its arguments.",
        ) from error
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    live = {type(layer).__name__: type(layer) for layer in model._flatten_layers(include_self=True, recursive=True)}
    own: dict[str, Any] = {}
    for name, written in _custom(config, type(model).__name__):
        found = keras.saving.get_registered_object(name) or live.get(written) or main_namespace().get(written)
        if found is None:
            raise CannotPackage(
                f"The model uses {written}, which is not known under that name any more.",
                hint=f"Define it at the top of your script or notebook, decorated with {REGISTER}.",
            )
        own[name] = found
    return own


def _custom(config: Any, where: str) -> Iterator[tuple[str, str]]:
    """Names that Keras looks up, and the class or function that each is, of what is not Keras's own."""
    if isinstance(config, list):
        for one in config:
            yield from _custom(one, where)
    if not isinstance(config, dict):
        return
    inner = config.get("config")
    kind = config.get("class_name")
    if kind == "__lambda__":
        raise CannotPackage(
            f"{where} holds a lambda, and reading it back would run code out of the model's file.",
            hint="Use a function with a name instead: `def scale(x): return x / 255` and "
            "`keras.layers.Lambda(scale)`, or a layer such as keras.layers.Rescaling.",
        )
    module, registered = str(config.get("module") or ""), config.get("registered_name")
    is_keras = module.partition(".")[0] in KERAS
    if kind == "function" and isinstance(inner, str) and not is_keras:
        yield (inner if registered in (None, "function") else str(registered)), inner.rpartition(">")[2]
    elif kind and registered and not is_keras and module != "builtins":
        yield str(registered), str(kind)
    named = inner.get("name") if isinstance(inner, dict) else None
    where = f"The layer {named}" if isinstance(named, str) else where
    for key, one in config.items():
        if key != "compile_config":
            yield from _custom(one, where)


def _place(value: Any) -> str:
    if "<locals>" in value.__qualname__:
        raise CannotPackage(
            f"{value.__name__} is defined inside a function, so it cannot be imported elsewhere.",
            hint="Define it at the top of your script or notebook.",
        )
    return f"{TRAVELLING_MODULE if value.__module__ == MAIN else value.__module__}:{value.__qualname__}"


def _check_again(
    keras: Any,
    model: Any,
    file: Path,
    own: Mapping[str, Any],
    arrays: Mapping[str, Any],
    arrangement: str,
    fields: Sequence[Field],
) -> None:
    """A class of the user's own is right only if it comes back as it went."""
    hint = (
        f"Decorate your class with {REGISTER}, and let get_config return every argument of its constructor: "
        "`return {**super().get_config(), 'units': self.units}`."
    )
    try:
        again = keras.saving.load_model(file, custom_objects=dict(own), compile=False, safe_mode=True)
    except Exception as error:  # from_config of any layer
        raise CannotPackage(
            f"Keras saves {type(model).__name__}, and cannot read it: {tensors.short(error)}", hint=hint
        ) from error
    if not arrays:
        return
    first = flattened(_caller(keras, model, arrangement, fields)(arrays), _is_array)
    second = flattened(_caller(keras, again, arrangement, fields)(arrays), _is_array)
    numpy = sys.modules["numpy"]
    if first.keys() != second.keys() or not all(
        numpy.allclose(first[name], second[name], rtol=1e-3, atol=1e-5, equal_nan=True)
        for name in first
        if first[name].dtype.kind in "fiu"
    ):
        raise CannotPackage(f"{type(model).__name__} answers otherwise when it is saved and read again.", hint=hint)


def _drop_optimizer(file: Path) -> None:
    """What is only needed to go on training is up to two thirds of the file."""
    h5py = import_module("h5py")  # Keras itself needs it
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights = parts.get("model.weights.h5")
    if weights is None:
        return
    made = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as before, h5py.File(made, "w") as after:
        if "optimizer" not in before:
            return
        after.attrs.update(before.attrs)
        for name in before:
            if name != "optimizer":
                before.copy(name, after)
    parts["model.weights.h5"] = made.getvalue()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
