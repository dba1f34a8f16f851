"""Syntax tree to Python closures: each node becomes a function of the frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from tenfold_expressions import methods, syntax
from tenfold_expressions.errors import ExpressionError
from tenfold_expressions.syntax import Arrow, Node, Spread
from tenfold_expressions.values import (
    Frame,
    Place,
    allow_key,
    at_index,
    check_items,
    check_text,
    equal,
    kind,
    number,
    number_text,
    own,
    to_text,
    too_large,
    truthy,
    type_name,
)

Run = Callable[[Frame], object]


def compile_node(node: Node) -> Run:
    match node:
        case syntax.Literal(value=value):
            return lambda _: value
        case syntax.Name():
            return _name(node)
        case syntax.Member():
            return _member(node)
        case syntax.Index():
            return _index(node)
        case syntax.Unary(operator="!"):
            operand = compile_node(node.operand)
            return lambda frame: not truthy(operand(frame))
        case syntax.Unary():
            return _negative(node)
        case syntax.Arithmetic():
            return _arithmetic(node)
        case syntax.Logic():
            return _logic(node)
        case syntax.Compare():
            return _compare(node)
        case syntax.Conditional():
            return _conditional(node)
        case syntax.Template():
            return _template(node)
        case syntax.ArrayLiteral():
            return _array(node)
        case syntax.ObjectLiteral():
            return _object(node)
        case syntax.Call():
            return _call(node)
        case syntax.Method():
            return _method(node)


def static_path(node: Node) -> tuple[str, ...] | None:
    """The path of `a.b['c'].d`, when it starts at a root of the scope and every key is written out."""
    keys: list[str] = []
    while True:
        match node:
            case syntax.Name(name=name, slot=None):
                return (name, *reversed(keys))
            case syntax.Member(base=base, key=key):
                keys.append(key)
                node = base
            case syntax.Index(base=base, index=syntax.Literal(value=str() as key)):
                keys.append(key)
                node = base
            case _:
                return None


def _name(node: syntax.Name) -> Run:
    if node.slot is None:
        name = node.name

        def read(frame: Frame) -> object:
            found = frame.scope.get(name)
            return found if type(found) is not float or math.isfinite(found) else None

        return read
    slot = node.slot
    return lambda frame: frame.slots[slot]


def _member(node: syntax.Member) -> Run:
    base, key = compile_node(node.base), node.key

    def member(frame: Frame) -> object:
        value = base(frame)
        if type(value) is dict:
            found = value.get(key)
            return found if type(found) is not float or math.isfinite(found) else None
        if type(value) is str and key == "length":
            frame.spend(len(value) // 256)
        return own(value, key)

    return member


def _index(node: syntax.Index) -> Run:
    base, index = compile_node(node.base), compile_node(node.index)

    def item(frame: Frame) -> object:
        value = base(frame)
        if value is None:
            return None
        if type(value) is str:
            frame.spend(len(value) // 256)
        return _placed(node.position, at_index, value, index(frame))

    return item


def _placed(position: int, run: Callable[..., object], *arguments: object) -> object:
    """Run something that does not know where it is written, and give its errors the place."""
    try:
        return run(*arguments)
    except ExpressionError as error:
        if not error.position:
            error.position = position
        raise


def _negative(node: syntax.Unary) -> Run:
    operand, position = compile_node(node.operand), node.position

    def negative(frame: Frame) -> object:
        value = operand(frame)
        of = kind(value)
        if of == "null":
            return None
        if of != "number":
            raise _bad_operand("-", position, of)
        found = number(value)  # type: ignore[arg-type]
        return None if found is None else number(-found)

    return negative


def _bad_operand(operator: str, position: int, of: str) -> ExpressionError:
    hint = {"text": "Use num() to read a number from text.", "list": "To join lists, write [...a, ...b]."}.get(of, "")
    return ExpressionError("bad_operand", f"`{operator}` cannot work on {type_name[of]}", position, hint)


def _divide(a: float, b: float) -> float | None:
    return a / b if b else None


def _remainder(a: float, b: float) -> float | None:
    return math.fmod(a, b) if b else None


_OPERATIONS: dict[str, Callable[[float, float], float | None]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": _remainder,
}
_SMALL = 2**26


def _arithmetic(node: syntax.Arithmetic) -> Run:
    first = compile_node(node.first)
    rest = tuple((operator, compile_node(operand), position) for operator, operand, position in node.rest)

    def arithmetic(frame: Frame) -> object:
        value = first(frame)
        for operator, operand, position in rest:
            value = _operate(frame, operator, value, operand(frame), position)
        return value

    return arithmetic


def _operate(frame: Frame, operator: str, left: object, right: object, position: int) -> object:
    if type(left) is int and type(right) is int and -_SMALL < left < _SMALL and -_SMALL < right < _SMALL:
        match operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
    mine, theirs = kind(left), kind(right)
    if operator == "+" and (mine == "text" or theirs == "text"):
        return check_text(frame, to_text(frame, left) + to_text(frame, right))
    for of in (mine, theirs):
        if of not in ("number", "null"):
            raise _bad_operand(operator, position, of)
    if mine == "null" or theirs == "null":
        return None
    a, b = number(left), number(right)  # type: ignore[arg-type]
    if a is None or b is None:
        return None
    result = _OPERATIONS[operator](a, b)
    return None if result is None else number(result)


def _logic(node: syntax.Logic) -> Run:
    *others, last = (compile_node(operand) for operand in node.operands)
    stops: Callable[[object], bool] = {"&&": lambda value: not truthy(value), "||": truthy, "??": _is_there}[
        node.operator
    ]

    def logic(frame: Frame) -> object:
        for operand in others:
            value = operand(frame)
            if stops(value):
                return value
        return last(frame)

    return logic


def _is_there(value: object) -> bool:
    return value is not None


def _compare(node: syntax.Compare) -> Run:
    left, right, operator = compile_node(node.left), compile_node(node.right), node.operator
    if operator == "==":
        return lambda frame: equal(frame, left(frame), right(frame))
    if operator == "!=":
        return lambda frame: not equal(frame, left(frame), right(frame))

    def compare(frame: Frame) -> bool:
        a, b = left(frame), right(frame)
        of = kind(a)
        if of != kind(b) or of not in ("number", "text", "date", "boolean"):
            return False
        if of == "number":
            a, b = number(a), number(b)  # type: ignore[arg-type]
            if a is None or b is None:
                return False
        match operator:
            case "<":
                return a < b  # type: ignore[operator, no-any-return]
            case "<=":
                return a <= b  # type: ignore[operator, no-any-return]
            case ">":
                return a > b  # type: ignore[operator, no-any-return]
        return a >= b  # type: ignore[operator, no-any-return]

    return compare


def _conditional(node: syntax.Conditional) -> Run:
    branches = tuple((compile_node(condition), compile_node(value)) for condition, value in node.branches)
    otherwise = compile_node(node.otherwise)

    def conditional(frame: Frame) -> object:
        for condition, value in branches:
            if truthy(condition(frame)):
                return value(frame)
        return otherwise(frame)

    return conditional


def _template(node: syntax.Template) -> Run:
    parts = tuple(compile_node(part) for part in node.parts)

    def template(frame: Frame) -> str:
        text = ""
        for part in parts:
            text = check_text(frame, text + to_text(frame, part(frame)))
        return text

    return template


def _array(node: syntax.ArrayLiteral) -> Run:
    items = tuple(
        (isinstance(item, Spread), compile_node(item.value if isinstance(item, Spread) else item), item.position)
        for item in node.items
    )

    def array(frame: Frame) -> list[object]:
        result: list[object] = []
        for spread, run, position in items:
            value = run(frame)
            if not spread:
                result.append(value)
            elif isinstance(value, list):
                result.extend(value)
                check_items(frame, len(result))
            elif kind(value) != "null":
                raise ExpressionError("bad_operand", f"`...` needs a list here, not {type_name[kind(value)]}", position)
        return result

    return array


def _object(node: syntax.ObjectLiteral) -> Run:
    entries = tuple(
        (None, compile_node(entry.value), entry.position)
        if isinstance(entry, Spread)
        else (compile_node(entry[0]), compile_node(entry[1]), entry[0].position)
        for entry in node.entries
    )

    def build(frame: Frame) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, run, position in entries:
            if key is not None:
                name = _placed(position, _key, key(frame), position)
                result[str(name)] = run(frame)
                continue
            value = run(frame)
            if isinstance(value, dict):
                check_items(frame, len(value))
                for name in value:
                    _placed(position, allow_key, name)
                result.update(value)
            elif kind(value) != "null":
                raise ExpressionError(
                    "bad_operand", f"`...` needs an object here, not {type_name[kind(value)]}", position
                )
        return result

    return build


def _key(value: object, position: int) -> str:
    match kind(value):
        case "text":
            return allow_key(str(value))
        case "number":
            return number_text(value)  # type: ignore[arg-type]
    raise ExpressionError("bad_operand", f"a key is text, not {type_name[kind(value)]}", position)


def _arguments(arguments: tuple[Node | Arrow, ...]) -> tuple[Run, ...]:
    return tuple(_arrow(argument) if isinstance(argument, Arrow) else compile_node(argument) for argument in arguments)


def _arrow(node: Arrow) -> Run:
    body, cost, slots = compile_node(node.body), syntax.size(node.body), node.slots

    def invoke(frame: Frame, *items: object) -> object:
        frame.fuel -= cost
        if frame.fuel < 0:
            frame.spend(0)
        for slot, item in zip(slots, items, strict=False):
            frame.slots[slot] = item
        return body(frame)

    return lambda frame: methods.Function(partial(invoke, frame), len(slots))


def _call(node: syntax.Call) -> Run:
    function, arguments = methods.FUNCTIONS[node.function], _arguments(node.arguments)
    place = Place(node.position, node.function)

    def call(frame: Frame) -> object:
        return _placed(place.position, function, frame, place, *[argument(frame) for argument in arguments])

    return call


def _method(node: syntax.Method) -> Run:
    base, name, arguments = compile_node(node.base), node.name, _arguments(node.arguments)
    place = Place(node.position, f".{node.name}")

    def method(frame: Frame) -> object:
        receiver = base(frame)
        of = kind(receiver)
        if of == "null":
            return None
        implementation = methods.METHODS.get(of, {}).get(name)
        if implementation is None:
            raise _no_method(name, of, node.position)
        return _placed(
            place.position, implementation, frame, place, receiver, [argument(frame) for argument in arguments]
        )

    return method


def _no_method(name: str, of: str, position: int) -> ExpressionError:
    owners = [type_name[other] for other, known in methods.METHODS.items() if name in known]
    return ExpressionError(
        "unknown_method", f"{type_name[of]} has no method `{name}`", position, f"It belongs to {' and '.join(owners)}."
    )


__all__ = ["Frame", "Run", "compile_node", "static_path", "too_large"]
