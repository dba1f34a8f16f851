"""PyTorch modules as packages: weights apart from code where both can travel, else the graph of the computation.

In this order, the first that is exact: the module's class (with its source, where that is the user's own), its
attributes and its weights; the program that torch.export makes of it; a pickle of the module.
PyTorch is not imported here: the user's object has brought it.
"""

from __future__ import annotations

import enum
import inspect
import io
import json
import logging
import math
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, SimpleNamespace
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging import source, tensors
from tenfold.packaging.adapters._architecture import build, imported
from tenfold.packaging.adapters._tensors import flattened
from tenfold.packaging.origins import MAIN, is_importable, pins_of, with_own
from tenfold.packaging.package import Package, own_python, write_package
from tenfold.packaging.pickling import TRAVELLING_MODULE, main_namespace, pickled
from tenfold.schema import Field, ModelSchema

ADAPTER = "torch_model.py"
HELPERS = (*tensors.HELPERS, "_architecture.py")


def package_torch(
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
    """Writes a package of a module or an exported program into `root`. Raises CannotPackage.

    `example`: an array, a tuple of them (for the arguments of forward in their order) or a dict (by name).
    """
    model = _unwrapped(model)
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    if hasattr(model, "graph_signature") and hasattr(model, "call_spec"):
        graph = model.module()
        inputs, saved = _of_program(model, example, data)
        results = _results(graph, inputs, schema)
    else:
        with _as_served(model):
            inputs = _inputs(model, example)
            results = _results(model, inputs, schema)
            saved = _save(model, inputs, results, data)
    _check_python(python, saved)
    learned = tensors.with_given(saved.fields, schema)
    arrays = {one: tensors.as_array(value) for one, value in inputs.values.items()}
    body, remarks = tensors.example_body(arrays, learned.fields)
    tensors.save_example(arrays, data)
    if not inputs.values:
        remarks = (*remarks, "no example: give one (example=X[:3]), so that the model is tried and its app has a form")
    settings: dict[str, Any] = {
        "adapter": "torch",
        "module": type(model).__name__,
        "format_of_data": saved.format,
        "positional": list(inputs.positional),
    }
    outputs = _arrays(results[0]) if results else {}
    if outputs:
        settings["outputs"] = tensors.described(outputs)
        settings["is_single"] = _is_tensor(results[0])
    scores = tensors.scores_of(learned.output, [_arrays(one) for one in results], list(outputs) or ["output"])
    if scores is not None:
        settings["scores"] = scores
    carried = source.carry(saved.own, saved.modules, root / "packages")
    pins = pins_of({*saved.modules, *carried.modules, "torch", "numpy"} - {MAIN, TRAVELLING_MODULE})
    return write_package(
        root,
        name=name,
        adapter=ADAPTER,
        helpers=HELPERS,
        settings=settings,
        framework="PyTorch",
        schema=tensors.with_probabilities(learned),
        example=body,
        requirements=with_own(pins, requirements),
        python_version=python or own_python(),
        description=description,
        notes=[*carried.notes, *saved.notes, *remarks],
    )


def _unwrapped(model: Any) -> Any:
    """What torch.compile and DataParallel have put something around."""
    while type(model).__name__ in ("OptimizedModule", "DataParallel", "DistributedDataParallel"):
        model = model._orig_mod if type(model).__name__ == "OptimizedModule" else model.module
    return model


def _check_python(python: str | None, saved: Saved) -> None:
    if saved.format == "pickle" and python is not None and python != own_python():
        raise CannotPackage(
            f"The model is saved as a pickle under Python {own_python()}, and Python {python} may not read it.",
            hint="Leave out python=, or give the module attributes of plain values only.",
        )


@dataclass(frozen=True)
class Inputs:
    """What forward is called with: example tensors by argument, those given by position, and what is known of each."""

    values: Mapping[str, Any]
    positional: tuple[str, ...]
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Saved:
    format: str
    fields: tuple[Field, ...] = ()
    modules: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def _torch() -> Any:
    return sys.modules["torch"]


def _is_tensor(value: Any) -> bool:
    return bool(_torch().is_tensor(value))


class _as_served:
    """The module in evaluation mode, on the CPU, as it was afterwards."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._modes = {one: one.training for one in module.modules()}
        parameter = next(iter(module.parameters()), None)
        self._device = None if parameter is None or parameter.device.type == "cpu" else parameter.device

    def __enter__(self) -> None:
        self._module.eval()
        if self._device is not None:
            self._module.cpu()

    def __exit__(self, *_: object) -> None:
        if self._device is not None:
            self._module.to(self._device)
        for one, mode in self._modes.items():
            one.training = mode


# --- what it takes


def _inputs(module: Any, example: Any) -> Inputs:
    arguments = _arguments(module)
    if example is None:
        return _without_example(module, arguments)
    given = _by_argument(arguments, example)
    names = [one for one in (arguments or given) if one in given]
    dtype = _own_dtype(module)
    values = {one: _as_tensor(given[one], dtype) for one in names}
    positional = tuple(names) if _are_first(names, arguments) else ()
    return Inputs(values, positional, ())


def _arguments(module: Any) -> dict[str, bool]:
    """The arguments of forward, and whether each must be given. Empty when they have no names."""
    script = getattr(module, "_c", None)
    if script is not None and hasattr(script, "_get_method"):
        listed = script._get_method("forward").schema.arguments[1:]
        return {one.name: not one.has_default_value() for one in listed}
    parameters = inspect.signature(module.forward).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return {}
    return {one.name: one.default is one.empty for one in parameters if one.kind is not one.VAR_KEYWORD}


def _are_first(names: Sequence[str], arguments: Mapping[str, bool]) -> bool:
    """Whether they may be given by position: forward's first ones, or ones without names."""
    return not arguments or list(names) == list(arguments)[: len(names)]


def _by_argument(arguments: Mapping[str, bool], example: Any) -> dict[str, Any]:
    names = list(arguments)
    if isinstance(example, Mapping):
        given = {str(key): value for key, value in example.items()}
        unknown = [key for key in given if names and key not in names]
        if unknown:
            raise CannotPackage(
                f"The example has {', '.join(unknown)}, and forward takes: {', '.join(names)}.",
                hint="Use the names of forward's arguments.",
            )
        return _complete(arguments, given)
    several = isinstance(example, tuple) or (isinstance(example, list) and bool(example) and _are_arrays(example))
    parts = list(example) if several else [example]
    if names and len(parts) > len(names):
        raise CannotPackage(
            f"The example has {len(parts)} inputs, and forward takes {len(names)}: {', '.join(names)}.",
            hint="Give an array, or a tuple with one for each argument.",
        )
    unnamed = ["input"] if len(parts) == 1 else [f"input_{number}" for number in range(len(parts))]
    return _complete(arguments, dict(zip(names or unnamed, parts, strict=False)))


def _are_arrays(example: Sequence[Any]) -> bool:
    return all(getattr(one, "ndim", 0) > 1 or (_is_tensor(one) and one.ndim > 1) for one in example)


def _complete(arguments: Mapping[str, bool], given: dict[str, Any]) -> dict[str, Any]:
    missing = [one for one, needed in arguments.items() if needed and one not in given]
    if missing:
        example = ", ".join(f"{one!r}: ..." for one in [*given, *missing])
        raise CannotPackage(
            f"The example lacks {', '.join(missing)}, which forward needs.", hint=f"Write example={{{example}}}."
        )
    return given


def _as_tensor(value: Any, dtype: Any) -> Any:
    """A tensor as it is; an array or a list with floating-point numbers of the model's own type."""
    torch = _torch()
    if _is_tensor(value):
        return value.detach().cpu()
    made = torch.from_numpy(tensors.as_array(value).copy())
    return made.to(dtype) if made.is_floating_point() and dtype is not None else made


def _own_dtype(module: Any) -> Any:
    both = [*module.parameters(), *module.buffers()]
    return next((one.dtype for one in both if one.is_floating_point()), _torch().get_default_dtype())


def _without_example(module: Any, arguments: Mapping[str, bool]) -> Inputs:
    needed = [one for one, must in arguments.items() if must]
    if not needed:
        raise CannotPackage(
            f"What {type(module).__name__} takes cannot be told: forward names no argument.",
            hint="Give an example of its input: tenfold.deploy(model, name, example=X[:3]).",
        )
    dtype, shape = _dtype_name(_own_dtype(module)), None
    if len(needed) == 1:
        dtype, shape = _of_first_layer(module) or (dtype, shape)
    fields = tuple(tensors.tensor(one, dtype, shape) for one in needed)
    return Inputs({}, tuple(needed) if _are_first(needed, arguments) else (), fields)


def _of_first_layer(module: Any) -> tuple[str, list[int | None]] | None:
    """What a plain row of layers takes, where its first one says so."""
    nn = _torch().nn
    while type(module) is nn.Sequential and len(module):
        module = module[0]
    if type(module) is nn.Linear:
        return _dtype_name(module.weight.dtype), [None, module.in_features]
    if type(module) is nn.Conv2d:
        return _dtype_name(module.weight.dtype), [None, module.in_channels, None, None]
    return ("int64", [None, None]) if type(module) is nn.Embedding else None


def _call(module: Any, inputs: Inputs) -> Any:
    named = dict(inputs.values)
    positional = [named.pop(one) for one in inputs.positional]
    try:
        with _torch().no_grad():
            return module(*positional, **named)
    except Exception as error:  # any line of any forward
        shapes = ", ".join(
            f"{one} {list(value.shape)} {_dtype_name(value.dtype)}" for one, value in inputs.values.items()
        )
        raise CannotPackage(
            f"The model cannot be called with the example ({shapes}): {tensors.short(error)}",
            hint="Give what you call it with yourself, batch first: example=X[:3]. An array's floating-point numbers "
            "become those of the model; a tensor is taken as it is.",
        ) from error


def _results(module: Any, inputs: Inputs, schema: ModelSchema | None) -> list[Any]:
    """What it gives for the example; of scores also for larger numbers, which tell shares from unbounded ones."""
    if not inputs.values:
        return []
    found = [_call(module, inputs)]
    factors = (20, -20) if schema is not None and schema.output.kind == "classification" else ()
    for factor in factors:
        scaled = {one: value * factor if value.is_floating_point() else value for one, value in inputs.values.items()}
        with suppress(CannotPackage):
            found.append(_call(module, Inputs(scaled, inputs.positional, ())))
    return found


def _fields(module: Any, inputs: Inputs) -> tuple[Field, ...]:
    """Types of the example, and its dimensions: free where the model also takes another length."""

    def call(values: Mapping[str, Any]) -> None:
        _call(module, Inputs(values, inputs.positional, ()))

    shapes = tensors.shapes_of(inputs.values, call, _torch().cat)
    return tuple(tensors.tensor(one, _dtype_name(value.dtype), shapes[one]) for one, value in inputs.values.items())


def _dtype_name(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


# --- what it gives


def _arrays(results: Any) -> dict[str, Any]:
    if results is None:
        return {}
    found = flattened(results, _is_tensor)
    if not found:
        raise CannotPackage(
            f"The model gives a {type(results).__name__}, which holds no tensor.",
            hint="Let forward return a tensor, or a tuple or dict of tensors.",
        )
    return {name: tensors.as_array(value) for name, value in found.items()}


# --- saving


def _save(module: Any, inputs: Inputs, results: Sequence[Any], data: Path) -> Saved:
    """Raises CannotPackage with the reason against each way."""
    torch = _torch()
    fields = _fields(module, inputs) if inputs.values else inputs.fields
    if isinstance(module, torch.jit.ScriptModule):
        torch.jit.save(module, str(data / "model.pt"))
        return Saved("torchscript", fields)
    written = _written(module, inputs, results)
    if isinstance(written, Written):
        return _save_state_dict(written, fields, data)
    exported = _exported(module, inputs, data) if inputs.values else "there is no example to trace it with"
    if isinstance(exported, Saved) and exported.fields == fields:
        return replace(exported, notes=(f"saved as an exported program: {written}",))
    try:
        as_pickle = pickled(module, type(module).__name__)
    except CannotPackage as refusal:
        if isinstance(exported, Saved):
            lengths = "saved as an exported program, which takes fewer lengths than the module: see its schema"
            return replace(exported, notes=(lengths,))
        raise CannotPackage(
            f"{refusal.message} (torch.export: {exported}; from its attributes: {written})",
            hint=refusal.hint if inputs.values else f"{refusal.hint} Or give an example=, so that it can be traced.",
        ) from None
    (data / "model.pt2").unlink(missing_ok=True)
    (data / "model.pickle").write_bytes(as_pickle.data)
    why = "it takes fewer lengths than the module" if isinstance(exported, Saved) else exported
    note = f"saved as a pickle: {written}; torch.export: {why}"
    return Saved("pickle", fields, as_pickle.modules, as_pickle.own, (note,))


def _save_state_dict(written: Written, fields: tuple[Field, ...], data: Path) -> Saved:
    (data / "architecture.json").write_text(json.dumps(written.architecture, indent=1), encoding="utf-8")
    modules = set(written.modules)
    if is_importable("safetensors"):
        import_module("safetensors.torch").save_file(dict(written.weights), data / "weights.safetensors")
        modules.add("safetensors")
    else:
        _torch().save(dict(written.weights), data / "weights.pt")
    return Saved("state_dict", fields, frozenset(modules), written.own)


# --- the module as its class, its attributes and its weights


@dataclass(frozen=True)
class Written:
    """See adapters/_architecture.py. `modules` are where its classes come from, `own` are names of `__main__`."""

    architecture: Any
    weights: Mapping[str, Any]
    modules: frozenset[str]
    own: frozenset[str]


class _Unwritable(Exception):
    """Why a module cannot be written down."""


def _written(module: Any, inputs: Inputs, results: Sequence[Any]) -> Written | str:
    """What makes an equal module elsewhere, after trying that it does; or the reason against it."""
    writer = _Writer(module)
    try:
        architecture = writer.value(module, type(module).__name__)
        again = build(architecture, writer.weights, _here)
    except _Unwritable as reason:
        return str(reason)
    except Exception as error:  # __setstate__ of any class
        return f"it cannot be made again from its attributes ({tensors.short(error)})"
    if results and not _agree(_call(again, inputs), results[0]):
        return "it answers otherwise when it is made again from its attributes"
    return Written(architecture, writer.weights, frozenset(writer.modules), frozenset(writer.own))


def _here(name: str) -> Any:
    """What is called so on this machine: what travels as the notebook's code is still in `__main__`."""
    module, _, path = name.partition(":")
    if module != TRAVELLING_MODULE:
        return imported(name)
    found: Any = SimpleNamespace(**main_namespace())
    for part in path.split("."):
        found = getattr(found, part)
    return found


class _Writer:
    def __init__(self, module: Any) -> None:
        self.weights: dict[str, Any] = {}
        self.modules: set[str] = set()
        self.own: set[str] = set()
        both = [*module.named_parameters(), *module.named_buffers()]
        self._keys = {id(value): key for key, value in both}
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used twice

    def value(self, value: Any, where: str) -> Any:
        """Raises _Unwritable, naming the attribute."""
        torch = _torch()
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, enum.Enum):
            return {"name": f"{self._name(type(value), where)}.{value.name}"}
        if type(value) is list:
            return self._list(value, where)
        if type(value) is tuple:
            return {"tuple": self._list(value, where)}
        if type(value) is set:
            return {"set": self._list(sorted(value, key=repr), where)}
        if type(value) is dict or type(value) is OrderedDict:
            pairs = [[self.value(key, where), self.value(one, f"{where}[{key!r}]")] for key, one in value.items()]
            return {"dict" if type(value) is dict else "ordered": pairs}
        if isinstance(value, torch.Size):
            return {"size": list(value)}
        if isinstance(value, torch.dtype):
            return {"dtype": _dtype_name(value)}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if isinstance(value, torch.Tensor):
            return self._tensor(value, where)
        if isinstance(value, torch.nn.Module):
            return self._module(value, where)
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            return {"name": self._name(value, where)}
        if is_dataclass(value) or isinstance(value, SimpleNamespace):
            state = {"dict": [[key, self.value(one, f"{where}.{key}")] for key, one in vars(value).items()]}
            return {"object": {"class": self._name(type(value), where), "state": state}}
        raise _Unwritable(f"{where} is a {type(value).__name__}")

    def _list(self, values: Iterable[Any], where: str) -> list[Any]:
        return [self.value(one, f"{where}[{place}]") for place, one in enumerate(values)]

    def _tensor(self, value: Any, where: str) -> Any:
        torch = _torch()
        is_parameter = type(value) is torch.nn.Parameter
        if not is_parameter and type(value) is not torch.Tensor:
            raise _Unwritable(f"{where} is a {type(value).__name__}")
        if value.layout != torch.strided or value.is_quantized:
            raise _Unwritable(f"{where} is not a plain tensor")
        key = self._keys.setdefault(id(value), f"{where}.{len(self._keys)}")
        self._kept.append(value)
        if key not in self.weights:
            self.weights[key] = value.detach().cpu().contiguous().clone()
        return {"parameter" if is_parameter else "tensor": key}

    def _module(self, module: Any, where: str) -> Any:
        if id(module) in self._numbers:
            return {"again": self._numbers[id(module)]}
        number = self._numbers[id(module)] = len(self._numbers)
        name = self._name(type(module), where)
        own_state = getattr(module, "__getstate__", None)  # every object has it since Python 3.11
        state = own_state() if own_state is not None else dict(vars(module))
        if not isinstance(state, dict):
            raise _Unwritable(f"{where} keeps its state in its own way")
        attributes = [[key, self.value(one, _below(where, key))] for key, one in state.items()]
        return {"module": {"id": number, "class": name, "state": {"dict": attributes}}}

    def _name(self, value: Any, where: str) -> str:
        module, path = value.__module__, value.__qualname__
        name = f"{TRAVELLING_MODULE if module == MAIN else module}:{path}"
        try:
            is_it = "<" not in path and _here(name) is value
        except (ImportError, AttributeError, TypeError):
            is_it = False
        if not is_it:
            raise _Unwritable(f"{where} is {path}, which cannot be imported from {module}")
        if module == MAIN:
            self.own.add(path.partition(".")[0])
        else:
            self.modules.add(module)
        return name


def _below(where: str, attribute: str) -> str:
    """Layers and weights are where people look for them: `Net.layer`, not `Net._modules['layer']`."""
    return where if attribute in ("_modules", "_parameters", "_buffers") else f"{where}.{attribute}"


def _agree(some: Any, others: Any) -> bool:
    """Whether two results are the same, but for the last digits."""
    first, second = flattened(some, _is_tensor), flattened(others, _is_tensor)
    return first.keys() == second.keys() and all(
        first[name].shape == second[name].shape
        and _torch().allclose(first[name].float(), second[name].float(), rtol=1e-3, atol=1e-5, equal_nan=True)
        for name in first
    )


# --- exported programs


def _exported(module: Any, inputs: Inputs, data: Path) -> Saved | str:
    """Saves what torch.export makes of it, where that answers the same for other numbers of rows; else why not."""
    torch = _torch()
    traced = {one: _at_least_two(value) for one, value in inputs.values.items()}
    free = {one: dict.fromkeys(range(value.ndim), torch.export.Dim.AUTO) for one, value in traced.items()}
    named = dict(traced)
    positional = tuple(named.pop(one) for one in inputs.positional)
    try:
        with _quiet():
            program = torch.export.export(module, positional, named, dynamic_shapes=_by_parameter(module, free))
        graph = program.module()
        for values in (inputs.values, traced, {one: value[:1] for one, value in traced.items()}):
            again = Inputs(values, inputs.positional, ())
            if not _agree(_call(graph, again), _call(module, again)):
                return "the program answers otherwise"
    except CannotPackage as refusal:
        return refusal.message
    except Exception as error:  # the exporter refuses in many ways
        return tensors.short(error)
    torch.export.save(program, str(data / "model.pt2"))
    return Saved("torch.export", _fields(graph, inputs))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says to those who want to look into it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _at_least_two(value: Any) -> Any:
    """A dimension of one is taken as fixed by the exporter."""
    return _torch().cat([value, value]) if value.ndim and len(value) == 1 else value


def _by_parameter(module: Any, free: Mapping[str, Any]) -> Any:
    """Dimensions by the parameters of forward; those of `*args` are one tuple."""
    names = list(_arguments(module))
    if names:
        return dict(free)
    parameters = inspect.signature(module.forward).parameters.values()
    rest = next(one.name for one in parameters if one.kind is one.VAR_POSITIONAL)
    return {rest: tuple(free.values())}


def _of_program(program: Any, example: Any, data: Path) -> tuple[Inputs, Saved]:
    """What the user's own exported program takes."""
    torch = _torch()
    wanted = program.graph_signature.user_inputs
    arguments, named = torch.utils._pytree.tree_unflatten(list(wanted), program.call_spec.in_spec)
    if not all(isinstance(one, str) for one in [*arguments, *named.values()]):
        raise CannotPackage(
            "The exported program takes lists or dicts of tensors, or plain values.",
            hint="Export a module whose forward takes tensors only: torch.export.export(module, (x, y)).",
        )
    names = [*arguments, *named]
    fields = _fields_of_program(program, names)
    torch.export.save(program, str(data / "model.pt2"))
    values: dict[str, Any] = {}
    if example is not None:
        given = _by_argument(dict.fromkeys(names, True), example)
        values = {
            one.name: _as_tensor(given[one.name], None).to(getattr(torch, one.dtype or "float32")) for one in fields
        }
    return Inputs(values, tuple(arguments), fields), Saved("torch.export", fields)


def _fields_of_program(program: Any, names: Sequence[str]) -> tuple[Field, ...]:
    placeholders = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    found: list[Field] = []
    for name, inner in zip(names, program.graph_signature.user_inputs, strict=True):
        value = placeholders[inner]
        if not _is_tensor(value):
            raise CannotPackage(
                f"The exported program takes {name}, which is not a tensor.", hint="Export it with tensors only."
            )
        shape = [size if type(size) is int else None for size in value.shape]
        found.append(tensors.tensor(name, _dtype_name(value.dtype), shape))
    return tuple(found)
