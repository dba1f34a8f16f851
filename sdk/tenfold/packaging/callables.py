"""Functions and classes of the user's own as packages: their source travels, their annotations become the schema."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from tenfold.errors import CannotPackage
from tenfold.packaging import source
from tenfold.packaging.origins import MAIN, origin_of, pins_of, with_own
from tenfold.packaging.package import Package, as_body, own_python, write_package
from tenfold.packaging.pickling import TRAVELLING_MODULE, Pickled, pickled
from tenfold.schema import Field, FieldType, ModelSchema, Output

ADAPTER = "callable_model.py"
GIVEN_TO_CONSTRUCTORS = ("config", "data_dir", "secrets", "environment", "lazy_data_resolver")
EMPTY = inspect.Parameter.empty


def package_callable(
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
    """Writes a package of a function, a class, or an instance of one into `root`. Raises CannotPackage."""
    what = "function" if isinstance(model, FunctionType) else "class" if isinstance(model, type) else "instance"
    target: Any = type(model) if what == "instance" else model
    function = model if what == "function" else getattr(target, "preprocess", None) or target.predict
    last = model if what == "function" else getattr(target, "postprocess", None) or target.predict
    _check_names(target)
    if what == "class":
        _check_constructor(target)
    parameters = _parameters(function, is_method=what != "function" and not _is_static(target, function.__name__))
    schema = schema or getattr(target, "schema", None)
    given = ModelSchema.of(schema) if isinstance(schema, ModelSchema | dict) else None
    learned = given or _learned(parameters, _return_annotation(last), example)
    body = _example_body(learned, parameters, example)
    settings: dict[str, Any] = {
        "adapter": "callable",
        "what": what,
        "required": [one.name for one in parameters if one.default is EMPTY],
    }
    kinds = {one.name: kind for one in parameters if (kind := _conversion(one.annotation)) is not None}
    if kinds:
        settings["arguments"] = kinds
    saved = _save_state(model, root / "data") if what == "instance" else Pickled(b"", frozenset(), frozenset())
    if what == "instance":
        _check_python(python)
    modules, own = set(saved.modules), set(saved.own)
    if target.__module__ == MAIN:
        own.add(target.__qualname__.partition(".")[0])
    else:
        modules.add(target.__module__)
    carried = source.carry(own, modules, root / "packages")
    settings |= {"module": TRAVELLING_MODULE if target.__module__ == MAIN else target.__module__}
    settings |= {"name": target.__qualname__}
    needed = carried.modules | ({"PIL"} if "PIL.Image" in kinds.values() else set())
    return write_package(
        root,
        name=name,
        adapter=ADAPTER,
        settings=settings,
        framework="function" if what == "function" else "custom",
        schema=learned,
        example=body,
        requirements=with_own(pins_of(needed), requirements),
        python_version=python or own_python(),
        description=description or _first_line(target),
        notes=carried.notes,
    )


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: Any
    default: Any


# --- what can travel


def _check_names(target: Any) -> None:
    name = getattr(target, "__qualname__", "")
    kind = "class" if isinstance(target, type) else "function"
    if "<lambda>" in name:
        code = target.__code__
        raise CannotPackage(
            f"A lambda cannot be deployed ({code.co_filename}, line {code.co_firstlineno}).",
            hint="Write it as a function with a name: `def predict(x): ...`.",
        )
    if "<locals>" in name:
        raise CannotPackage(
            f"The {kind} {target.__name__} is defined inside a function, so it cannot be imported elsewhere.",
            hint="Define it at the top of your script or notebook.",
        )
    if target.__module__ != MAIN and origin_of(target.__module__) is None:
        raise CannotPackage(f"{name} belongs to Python itself.", hint="Write a function around it.")


def _check_constructor(kind: type) -> None:
    if kind.__init__ is object.__init__:  # type: ignore[misc]  # it is compared, not called
        return
    needed = [
        one.name
        for one in inspect.signature(kind).parameters.values()
        if one.default is EMPTY
        and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        and one.name not in GIVEN_TO_CONSTRUCTORS
    ]
    if needed:
        raise CannotPackage(
            f"{kind.__name__}() needs {', '.join(needed)}, which nobody can give when the model is started.",
            hint=f"Deploy an instance: {kind.__name__}({', '.join(f'{one}=...' for one in needed)}).",
        )


def _is_static(kind: type, method: str) -> bool:
    """Whether the class hands it out without a place for `self`."""
    return isinstance(inspect.getattr_static(kind, method, None), staticmethod | classmethod)


def _check_python(python: str | None) -> None:
    if python is not None and python != own_python():
        raise CannotPackage(
            f"The instance is pickled under Python {own_python()}, and Python {python} may not read it.",
            hint="Leave out python=, or deploy the class itself.",
        )


def _save_state(model: Any, data: Path) -> Pickled:
    saved = pickled(model, type(model).__name__)
    data.mkdir(parents=True, exist_ok=True)
    (data / "model.pickle").write_bytes(saved.data)
    return saved


def _first_line(target: Any) -> str | None:
    own = target.__dict__.get("__doc__") if isinstance(target, type) else target.__doc__
    return own.strip().splitlines()[0] if isinstance(own, str) and own.strip() else None


# --- what it takes


def _parameters(function: Callable[..., Any], *, is_method: bool) -> list[Parameter]:
    signature = inspect.signature(function)
    hints = _hints(function)
    listed = list(signature.parameters.values())[1 if is_method else 0 :]
    for one in listed:
        if one.kind is one.POSITIONAL_ONLY and len(listed) > 1:
            raise CannotPackage(
                f"The argument {one.name} of {function.__name__} can only be given by position.",
                hint="Remove the `/` from its signature: callers name the arguments.",
            )
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            raise CannotPackage(
                f"{function.__name__} takes *{one.name}, so what it takes cannot be told.",
                hint="Name its arguments.",
            )
    if not listed:
        raise CannotPackage(
            f"{function.__qualname__} takes no argument, so there is nothing to ask it.",
            hint=f"Give it one: `def {function.__name__}({'self, ' if is_method else ''}text: str)`.",
        )
    return [Parameter(one.name, hints.get(one.name, one.annotation), one.default) for one in listed]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # an annotation may be any expression, and name what only a checker knows
        return {}


def _return_annotation(function: Callable[..., Any]) -> Any:
    return _hints(function).get("return", EMPTY)


def _learned(parameters: Sequence[Parameter], returns: Any, example: Any) -> ModelSchema:
    output = _output(returns)
    if _takes_a_value(parameters):
        only = parameters[0]
        kind = _field_type(only.annotation)[0] if only.annotation is not EMPTY else _type_of_value(example)
        return ModelSchema("value", (Field(only.name, kind, nullable=kind == "json"),), output)
    examples = example if isinstance(example, Mapping) else {}
    return ModelSchema("record", tuple(_field(one, examples.get(one.name)) for one in parameters), output)


def _takes_a_value(parameters: Sequence[Parameter]) -> bool:
    """One argument that says nothing about itself, or that is a container: the body is it."""
    if len(parameters) != 1:
        return False
    annotation = parameters[0].annotation
    bare = _bare(annotation)[0]
    origin = typing.get_origin(bare) or bare
    return (
        annotation is EMPTY
        or origin in (dict, list, tuple, Any)
        or _conversion(annotation) in ("numpy", "pandas", "pydantic")
    )


def _field(parameter: Parameter, example: Any) -> Field:
    annotation = parameter.annotation
    choices: list[Any] | None = None
    if annotation is EMPTY:
        sample = example if example is not None else None if parameter.default is EMPTY else parameter.default
        kind, nullable = (_type_of_value(sample), False) if sample is not None else ("json", True)
    else:
        kind, nullable, choices = _field_type(annotation)
    default = None if parameter.default is EMPTY else parameter.default
    if parameter.default is None:
        nullable = True
    return Field(
        parameter.name,
        kind,
        nullable=nullable,
        choices=choices,
        step=1.0 if kind == "int" and choices is None else None,
        default=default if isinstance(default, str | bool | int) or _is_finite(default) else None,
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _field_type(annotation: Any) -> tuple[FieldType, bool, list[Any] | None]:
    """The field's type, whether null is fine, and the only values allowed."""
    bare, nullable = _bare(annotation)
    simple: dict[Any, FieldType] = {float: "float", int: "int", str: "str", bool: "bool", bytes: "file"}
    if isinstance(bare, type) and bare in simple:
        return simple[bare], nullable, None
    if typing.get_origin(bare) is typing.Literal:
        choices = list(typing.get_args(bare))
        kind = _type_of_value(choices[0])
        same = all(_type_of_value(one) == kind for one in choices)
        return (kind if same else "json"), nullable, choices
    conversion = _conversion(annotation)
    if conversion in ("tenfold.Image", "PIL.Image"):
        return "image", nullable, None
    if conversion == "tenfold.File":
        return "file", nullable, None
    return "json", nullable, None


def _bare(annotation: Any) -> tuple[Any, bool]:
    """The annotation without Annotated and Optional, and whether None is among what it allows."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        choices = [one for one in typing.get_args(annotation) if one is not type(None)]
        if len(choices) < len(typing.get_args(annotation)):
            return (_bare(choices[0])[0], True) if len(choices) == 1 else (annotation, True)
    return annotation, False


def _conversion(annotation: Any) -> str | None:
    """What the adapter makes of a JSON value for this annotation."""
    bare = _bare(annotation)[0]
    if bare is bytes:
        return "bytes"
    if bare == "image":  # an annotation that is a text
        return "PIL.Image"
    if isinstance(bare, types.ModuleType) and bare.__name__ == "PIL.Image":
        return "PIL.Image"
    if not isinstance(bare, type):
        origin = typing.get_origin(bare)
        return "numpy" if isinstance(origin, type) and _full_name(origin) == "numpy.ndarray" else None
    known = {
        "tenfold.files.File": "tenfold.File",
        "tenfold.files.Image": "tenfold.Image",
        "PIL.Image.Image": "PIL.Image",
        "numpy.ndarray": "numpy",
        "pandas.core.frame.DataFrame": "pandas",
        "pandas.DataFrame": "pandas",
    }
    if any(_full_name(one) == "pydantic.main.BaseModel" for one in bare.__mro__):
        return "pydantic"
    return known.get(_full_name(bare))


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _type_of_value(value: Any) -> FieldType:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "str" if isinstance(value, str) else "json"


# --- what it gives


def _output(annotation: Any) -> Output:
    bare = _bare(annotation)[0] if annotation is not EMPTY else None
    origin, arguments = typing.get_origin(bare) or bare, typing.get_args(bare)
    if origin in (dict, Mapping) and len(arguments) == 2 and arguments[0] is str and arguments[1] in (float, int):
        return Output("scores")
    if bare is str or (origin is typing.Literal and all(isinstance(one, str) for one in arguments)):
        return Output("text")
    if bare in (float, int):
        return Output("regression")
    conversion = _conversion(annotation) if annotation is not EMPTY else None
    if conversion in ("tenfold.Image", "PIL.Image"):
        return Output("image")
    if conversion == "pandas" or (
        origin is list and arguments and (typing.get_origin(arguments[0]) or arguments[0]) is dict
    ):
        return Output("table")
    return Output("json")


# --- the example


def _example_body(schema: ModelSchema, parameters: Sequence[Parameter], example: Any) -> Any:
    if example is None:
        return None
    if schema.form == "value":
        return as_body(example)
    names = [one.name for one in parameters]
    if not isinstance(example, Mapping):
        if len(names) != 1:
            raise CannotPackage(
                f"The example is {type(example).__name__}, and the model takes: {', '.join(names)}.",
                hint="Give a dict with a value for each argument.",
            )
        return {names[0]: as_body(example)}
    unknown = [str(name) for name in example if name not in names]
    if unknown:
        raise CannotPackage(
            f"The example has {', '.join(unknown)}, and the model takes: {', '.join(names)}.",
            hint="Use the names of the arguments.",
        )
    missing = [one.name for one in parameters if one.default is EMPTY and one.name not in example]
    if missing:
        raise CannotPackage(f"The example lacks the argument {', '.join(missing)}.", hint="Add it.")
    return {name: as_body(value) for name, value in example.items()}
