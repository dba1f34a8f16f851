"""What a function's annotations promise.

The JSON Schema of its input and output, and the check of a value against them.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import typing
from typing import Any, Callable, Dict, List, Literal, Optional, Tuple, Union

from tenfold_runtime.faults import Fault, bad_input

try:
    from types import UnionType  # type: ignore[attr-defined,unused-ignore]  # from Python 3.10 on
except ImportError:
    UnionType = None  # type: ignore[assignment,misc,unused-ignore]

Check = Callable[[Any], Any]

_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
_SCHEMAS = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
_LISTS = (list, tuple, set, frozenset)


def hints(function: Callable[..., Any]) -> Dict[str, Any]:
    """The resolved annotations of a function; those that cannot be resolved (a name that exists only for checkers)
    are left out.
    """
    target = inspect.unwrap(function)
    target = getattr(target, "__func__", target)
    if not inspect.isfunction(target) and callable(target):
        target = type(target).__call__
    try:
        return dict(typing.get_type_hints(target, include_extras=True))
    except Exception:  # an annotation may be any expression
        return _hints_one_by_one(target)


def _hints_one_by_one(function: Callable[..., Any]) -> Dict[str, Any]:
    found = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        if not isinstance(annotation, str):
            found[name] = annotation
            continue
        try:
            found[name] = eval(annotation, getattr(function, "__globals__", {}))
        except Exception:  # see above
            continue
    return found


def holds_pydantic(annotation: Any) -> bool:
    """Whether a Pydantic model appears anywhere in the annotation."""
    if is_pydantic(annotation):
        return True
    return any(holds_pydantic(inner) for inner in typing.get_args(annotation) if not isinstance(inner, (str, int)))


def is_pydantic(annotation: Any) -> bool:
    """Whether the annotation is a Pydantic model class, of version 1 or 2."""
    if not isinstance(annotation, type):
        return False
    return any(kind.__module__.startswith("pydantic.") and kind.__name__ == "BaseModel" for kind in annotation.__mro__)


def checker(annotation: Any, *, light: bool, path: str = "") -> Optional[Check]:
    """A function that turns a JSON value into what the annotation asks for, or raises Fault `bad_input` naming the
    field.

    `path` is what the value itself is called in messages. None when there is nothing to check: no annotation, one
    that says nothing about JSON, or (without `light`) one without Pydantic.
    """
    if holds_pydantic(annotation):
        return _pydantic_check(annotation, path)
    if not light or _light_schema(annotation, 0) is None:
        return None
    return lambda value: _checked(value, annotation, path)


def schema_of(annotation: Any) -> Optional[Dict[str, Any]]:
    """The JSON Schema of an annotation as far as it tells, or None."""
    if annotation is inspect.Parameter.empty or annotation is Any:
        return None
    if holds_pydantic(annotation):
        return _pydantic_schema(annotation)
    return _light_schema(annotation, 0)


def truss_schema(input_annotation: Any, output_annotation: Any) -> Optional[Dict[str, Any]]:
    """What a Truss server's schema route answers: only Pydantic models and generators count. None: it has no schema."""
    inputs = input_annotation if is_pydantic(input_annotation) else None
    outputs, streams = _truss_output(output_annotation)
    if inputs is None and outputs is None and streams is None:
        return None
    return {
        "input_schema": None if inputs is None else _pydantic_schema(inputs),
        "output_schema": None if outputs is None else _pydantic_schema(outputs),
        "supports_streaming": streams,
    }


def _truss_output(annotation: Any) -> Tuple[Any, Optional[bool]]:
    """The model that a return annotation promises, and whether it may stream (None: it promises neither)."""
    if is_pydantic(annotation):
        return annotation, False
    if _is_generator(annotation):
        return None, True
    awaited = _awaited_model(annotation)
    if awaited is not None:
        return awaited, False
    if _is_union(typing.get_origin(annotation)):
        choices = typing.get_args(annotation)
        models = [choice if is_pydantic(choice) else _awaited_model(choice) for choice in choices]
        found = [model for model in models if model is not None]
        if len(choices) == 2 and len(found) == 1 and any(map(_is_generator, choices)):
            return found[0], True
    return None, None


def _is_generator(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, (collections.abc.Iterator, collections.abc.AsyncIterator))


def _awaited_model(annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if not isinstance(origin, type) or not issubclass(origin, collections.abc.Awaitable):
        return None
    inner = typing.get_args(annotation)[-1:]
    return inner[0] if inner and is_pydantic(inner[0]) else None


def _pydantic_check(annotation: Any, path: str) -> Check:
    validate = _pydantic_validator(annotation)

    def check(value: Any) -> Any:
        try:
            return validate(value)
        except ValueError as error:  # Pydantic's ValidationError is one, in both versions
            raise _pydantic_fault(error, path) from None

    return check


def _pydantic_validator(annotation: Any) -> Check:
    import pydantic  # it is imported already: the annotation came from it

    if hasattr(pydantic, "TypeAdapter"):
        validate: Check = pydantic.TypeAdapter(annotation).validate_python
        return validate
    if is_pydantic(annotation):
        parse: Check = annotation.parse_obj
        return parse
    return lambda value: pydantic.parse_obj_as(annotation, value)  # type: ignore[attr-defined,unused-ignore]


def _pydantic_fault(error: ValueError, path: str) -> Fault:
    try:
        problems = [
            {"field": _field_path((*filter(None, [path]), *problem["loc"])), "message": str(problem["msg"])}
            for problem in error.errors()  # type: ignore[attr-defined]
        ]
    except Exception:  # raised by a validator of the user's own making
        return bad_input(f"The input is not valid: {error}")
    first = problems[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = f" ({len(problems) - 1} more in details)" if len(problems) > 1 else ""
    return bad_input(f"The input is not valid: {where}{first['message']}{more}", details=problems)


def _field_path(location: Tuple[Any, ...]) -> str:
    path = ""
    for part in location:
        if part == "__root__":
            continue
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else str(part))
    return path


def _pydantic_schema(annotation: Any) -> Optional[Dict[str, Any]]:
    import pydantic

    try:
        if hasattr(pydantic, "TypeAdapter"):
            return dict(pydantic.TypeAdapter(annotation).json_schema())
        return dict(annotation.schema()) if is_pydantic(annotation) else None
    except Exception:  # a model may hold types that have no JSON Schema
        return None


def _light_schema(annotation: Any, depth: int) -> Optional[Dict[str, Any]]:
    annotation = _bare(annotation)
    if depth > 8:
        return None
    if annotation in (None, type(None)):
        return {"type": "null"}
    try:
        if annotation in _SCHEMAS:
            return dict(_SCHEMAS[annotation])
    except TypeError:  # not hashable
        return None
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is Literal:
        return {"enum": list(arguments)}
    if _is_union(origin):
        choices = [_light_schema(argument, depth + 1) for argument in arguments]
        return {"anyOf": choices} if all(choice is not None for choice in choices) else None
    if origin in _LISTS:
        schema: Dict[str, Any] = {"type": "array"}
        inner = _light_schema(arguments[0], depth + 1) if _same_items(origin, arguments) else None
        return {**schema, "items": inner} if inner else schema
    if origin is dict or origin is getattr(typing, "Mapping", None):
        inner = _light_schema(arguments[1], depth + 1) if len(arguments) == 2 else None
        return {"type": "object", "additionalProperties": inner} if inner else {"type": "object"}
    if isinstance(annotation, type) and (_is_typed_dict(annotation) or dataclasses.is_dataclass(annotation)):
        return _fields_schema(annotation, depth)
    return None


def _fields_schema(annotation: Any, depth: int) -> Dict[str, Any]:
    types, required = _fields(annotation)
    properties = {name: _light_schema(kind, depth + 1) or {} for name, kind in types.items()}
    return {"type": "object", "title": annotation.__name__, "properties": properties, "required": required}


def _fields(annotation: Any) -> Tuple[Dict[str, Any], List[str]]:
    try:
        types = typing.get_type_hints(annotation, include_extras=True)
    except Exception:  # see hints()
        types = dict(getattr(annotation, "__annotations__", {}))
    if _is_typed_dict(annotation):
        required: Any = getattr(annotation, "__required_keys__", ())
        return types, [name for name in types if name in required]
    nothing = dataclasses.MISSING
    fields = [field for field in dataclasses.fields(annotation) if field.init]
    needed = [field.name for field in fields if field.default is nothing and field.default_factory is nothing]
    return {field.name: types.get(field.name, Any) for field in fields}, needed


def _checked(value: Any, annotation: Any, path: str) -> Any:
    """The value as the annotation wants it.

    Integers become floats, lists become tuples or sets, objects become dataclasses.
    """
    annotation = _bare(annotation)
    if annotation is type(None) or annotation is None:
        return value if value is None else _refuse(value, "null", path)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation in (str, int, float, bool):
        fits = isinstance(value, annotation) and (annotation is bool or not isinstance(value, bool))
        return value if fits else _refuse(value, _NAMES[annotation], path)
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is Literal:
        allowed = ", ".join(repr(argument) for argument in arguments)
        return value if value in arguments else _refuse(value, f"one of {allowed}", path)
    if _is_union(origin):
        return _checked_union(value, arguments, path)
    if origin in _LISTS:
        return _checked_list(value, origin, arguments, path)
    if origin is dict:
        return _checked_dict(value, arguments, path)
    if isinstance(annotation, type) and (_is_typed_dict(annotation) or dataclasses.is_dataclass(annotation)):
        return _checked_fields(value, annotation, path)
    return value


def _checked_union(value: Any, choices: Tuple[Any, ...], path: str) -> Any:
    for choice in choices:  # the one that fits as it is comes before the ones that convert
        if isinstance(choice, type) and type(value) is choice:
            return value
    problems = []
    for choice in choices:
        try:
            return _checked(value, choice, path)
        except Fault as fault:
            problems.append(fault)
    raise max(problems, key=lambda fault: len(fault.details["field"]))


def _checked_list(value: Any, origin: Any, arguments: Tuple[Any, ...], path: str) -> Any:
    if isinstance(value, origin) and not isinstance(value, list):
        return value
    if not isinstance(value, list):
        return _refuse(value, _NAMES[list], path)
    if _same_items(origin, arguments):
        value = [_checked(item, arguments[0], f"{path}[{index}]") for index, item in enumerate(value)]
    elif arguments:
        if len(arguments) != len(value):
            return _refuse(value, f"a list of {len(arguments)}", path)
        pairs = zip(value, arguments)  # noqa: B905 (strict came with Python 3.10)
        value = [_checked(item, kind, f"{path}[{index}]") for index, (item, kind) in enumerate(pairs)]
    return value if origin is list else origin(value)


def _checked_dict(value: Any, arguments: Tuple[Any, ...], path: str) -> Any:
    if not isinstance(value, dict):
        return _refuse(value, _NAMES[dict], path)
    if len(arguments) != 2:
        return value
    return {key: _checked(item, arguments[1], f"{path}.{key}" if path else str(key)) for key, item in value.items()}


def _checked_fields(value: Any, annotation: Any, path: str) -> Any:
    if not isinstance(value, dict):
        return _refuse(value, f"an object with the fields of {annotation.__name__}", path)
    types, required = _fields(annotation)
    for name in required:
        if name not in value:
            field = f"{path}.{name}" if path else name
            raise bad_input(f"{field} is missing.", details={"field": field, "message": "missing"})
    checked = {
        name: _checked(item, types[name], f"{path}.{name}" if path else name) if name in types else item
        for name, item in value.items()
    }
    if _is_typed_dict(annotation):
        return checked
    unknown = [name for name in checked if name not in types]
    if unknown:
        field = f"{path}.{unknown[0]}" if path else unknown[0]
        known = ", ".join(types)
        raise bad_input(
            f"{field} is not a field of {annotation.__name__}; it has {known}.",
            details={"field": field, "message": "unknown"},
        )
    return annotation(**checked)


def _refuse(value: Any, expected: str, path: str) -> Any:
    where = f"{path} must be" if path else "It must be"
    raise bad_input(
        f"{where} {expected}, not {_shown(value)}.", details={"field": path, "message": f"must be {expected}"}
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _bare(annotation: Any) -> Any:
    while typing.get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    return annotation


def _is_union(origin: Any) -> bool:
    return origin is Union or (UnionType is not None and origin is UnionType)


def _same_items(origin: Any, arguments: Tuple[Any, ...]) -> bool:
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis
    return len(arguments) == 1


def _is_typed_dict(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, dict) and hasattr(annotation, "__total__")
