"""What functions and models take and give, as far as it is known without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenfold_worklets.types import JSON, PortType, PortTypeError, parse_type

# What the worker passes by itself: `f(block_input, env, context)` gets all inputs as one, `env` and `context` anyone.
BLOCK_INPUT = "block_input"
SPECIAL = frozenset({"env", "context"})
TRANSPARENT_DECORATORS = frozenset({"pre", "post", "logic", "cache", "lru_cache"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that can be passed by name. `type` is None where nothing is known."""

    name: str
    type: PortType | None = None
    required: bool = True
    annotation: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function or a model, seen from a worklet.

    `open` accepts names beyond its parameters. `returns` is the type of the whole result, `fields` the members of a
    result that is an object of known keys; None where nothing is known.
    """

    parameters: tuple[Parameter, ...] = ()
    open: bool = False
    returns: PortType | None = None
    fields: Mapping[str, PortType | None] | None = None
    doc: str = ""
    line: int = 1

    def parameter(self, name: str) -> Parameter | None:
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


def function_signatures(source: str, path: str) -> dict[str, Signature]:
    """The top-level functions of a file, keyed `code/text.py:clean`, read from its syntax and never run.

    Raises `SyntaxError` when the file is not Python.
    """
    found: dict[str, Signature] = {}
    for function in _functions(ast.parse(source, filename=path).body):
        found[f"{path}:{function.name}"] = _read_function(function)
    return found


def model_signature(schema: Mapping[str, Any]) -> Signature:
    """The signature of a model from its schema (`form`, `fields`, `output`)."""
    output = schema.get("output") or {}
    known: dict[str, PortType | None] | None = None
    if schema.get("form") == "table":
        bodies = ("inputs", "dataframe_split", "dataframe_records", "instances")
        parameters = tuple(Parameter(name, JSON, required=False) for name in bodies)
        if output.get("kind") in ("classification", "regression"):
            known = dict.fromkeys(("predictions", "probabilities", "classes"), JSON)
        return Signature(parameters, fields=known)
    if schema.get("form") == "record":
        return Signature(tuple(_field_parameter(field) for field in schema.get("fields") or ()))
    return Signature(open=True)


def _field_parameter(field: Mapping[str, Any]) -> Parameter:
    try:
        type = parse_type(field.get("type", "json"))
    except PortTypeError:
        type = JSON
    if field.get("nullable"):
        type = PortType(type.name, type.item, optional=True)
    return Parameter(str(field["name"]), type, required="default" not in field and not type.optional)


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(statements: Iterable[ast.stmt]) -> Iterator[Function]:
    """Functions of the module's own namespace, those defined under an `if` or `try` included."""
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield statement
            case ast.If(body=body, orelse=orelse):
                yield from _functions([*body, *orelse])
            case ast.Try(body=body, orelse=orelse, handlers=handlers):
                yield from _functions([*body, *orelse, *(inner for handler in handlers for inner in handler.body)])


def _read_function(function: Function) -> Signature:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    parameters = [_parameter(argument, index < first_default) for index, argument in enumerate(positional)]
    parameters += [
        _parameter(argument, default is None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    takes_block = bool(parameters) and parameters[0].name == BLOCK_INPUT
    unknown = takes_block or not all(_is_transparent(decorator) for decorator in function.decorator_list)
    return Signature(
        parameters=() if unknown else tuple(parameters),
        open=unknown or arguments.kwarg is not None,
        returns=None if function.decorator_list else _annotation_type(function.returns),
        doc=ast.get_docstring(function) or "",
        line=function.lineno,
    )


def _parameter(argument: ast.arg, required: bool) -> Parameter:
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    required = required and argument.arg not in SPECIAL
    return Parameter(argument.arg, _annotation_type(argument.annotation), required, annotation)


def _is_transparent(decorator: ast.expr) -> bool:
    """Whether a decorator is known to leave the parameters as they are."""
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    name = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
    return name in TRANSPARENT_DECORATORS


_PLAIN = {"str": "str", "int": "int", "float": "float", "bool": "bool", "dict": "json", "Any": "json", "object": "json"}


def _annotation_type(annotation: ast.expr | None) -> PortType | None:
    """The port type of an annotation, or None where it says nothing that JSON can be checked against."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _PLAIN:
            return parse_type(_PLAIN[name])
        case ast.Name(id="list" | "List"):
            return PortType("list", JSON)
        case ast.Constant(value=str(text)):
            return _quoted(text)
        case ast.Subscript(value=ast.Name(id="dict" | "Dict" | "Mapping")):
            return JSON
        case ast.Subscript(value=ast.Name(id="list" | "List" | "Sequence"), slice=item):
            return PortType("list", _annotation_type(item) or JSON)
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Optional"), slice=inner):
            return _optional(_annotation_type(inner))
        case ast.BinOp(op=ast.BitOr(), left=inner, right=ast.Constant(value=None)):
            return _optional(_annotation_type(inner))
        case ast.BinOp(op=ast.BitOr(), left=ast.Constant(value=None), right=inner):
            return _optional(_annotation_type(inner))
        case _:
            return None


def _optional(type: PortType | None) -> PortType | None:
    return PortType(type.name, type.item, optional=True) if type else None


def _quoted(text: str) -> PortType | None:
    try:
        return _annotation_type(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return None
