"""The syntax tree. A node knows where it began; `size` counts nodes, which is what a step of fuel pays for."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SOURCE = 10_000
MAX_NESTING = 64
MAX_DEPTH = 200

FORBIDDEN = frozenset({"__proto__", "constructor", "prototype"})


@dataclass(frozen=True, slots=True)
class Literal:
    value: bool | int | float | str | None
    position: int


@dataclass(frozen=True, slots=True)
class Name:
    """A root of the scope, or (with a slot) a parameter of an arrow function."""

    name: str
    position: int
    slot: int | None


@dataclass(frozen=True, slots=True)
class Member:
    base: Node
    key: str
    position: int


@dataclass(frozen=True, slots=True)
class Index:
    base: Node
    index: Node
    position: int


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str
    operand: Node
    position: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`first + a - b`: one level of precedence, so that a long sum is wide and not deep."""

    first: Node
    rest: tuple[tuple[str, Node, int], ...]
    position: int


@dataclass(frozen=True, slots=True)
class Logic:
    operator: str
    operands: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str
    left: Node
    right: Node
    position: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """`a ? b : c ? d : e`, kept flat for the same reason."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node
    position: int


@dataclass(frozen=True, slots=True)
class Template:
    parts: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Spread:
    value: Node
    position: int


@dataclass(frozen=True, slots=True)
class ArrayLiteral:
    items: tuple[Node | Spread, ...]
    position: int


@dataclass(frozen=True, slots=True)
class ObjectLiteral:
    entries: tuple[tuple[Node, Node] | Spread, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Arrow:
    slots: tuple[int, ...]
    body: Node
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Node | Arrow, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Method:
    base: Node
    name: str
    arguments: tuple[Node | Arrow, ...]
    position: int


Node = (
    Literal
    | Name
    | Member
    | Index
    | Unary
    | Arithmetic
    | Logic
    | Compare
    | Conditional
    | Template
    | ArrayLiteral
    | ObjectLiteral
    | Call
    | Method
)


def children(node: Node | Arrow | Spread) -> tuple[Node | Arrow | Spread, ...]:
    """The nodes directly below, in the order they are written."""
    match node:
        case Literal() | Name():
            return ()
        case Member(base=base):
            return (base,)
        case Index(base=base, index=index):
            return (base, index)
        case Unary(operand=operand):
            return (operand,)
        case Arithmetic(first=first, rest=rest):
            return (first, *(operand for _, operand, _ in rest))
        case Logic(operands=operands):
            return operands
        case Compare(left=left, right=right):
            return (left, right)
        case Conditional(branches=branches, otherwise=otherwise):
            return (*(part for branch in branches for part in branch), otherwise)
        case Template(parts=parts):
            return parts
        case Spread(value=value):
            return (value,)
        case ArrayLiteral(items=items):
            return items
        case ObjectLiteral(entries=entries):
            return tuple(part for entry in entries for part in (entry if isinstance(entry, tuple) else (entry,)))
        case Arrow(body=body):
            return (body,)
        case Call(arguments=arguments):
            return arguments
        case Method(base=base, arguments=arguments):
            return (base, *arguments)


def size(node: Node | Arrow | Spread) -> int:
    """Count the nodes. An arrow function counts as one: its body is paid for each time it is called."""
    count = 0
    waiting: list[Node | Arrow | Spread] = [node]
    while waiting:
        current = waiting.pop()
        count += 1
        if not isinstance(current, Arrow):
            waiting.extend(children(current))
    return count


def depth(node: Node) -> int:
    """The longest way down. Walked without recursion, because this is what protects the recursive walks."""
    deepest = 0
    waiting: list[tuple[Node | Arrow | Spread, int]] = [(node, 1)]
    while waiting:
        current, level = waiting.pop()
        deepest = max(deepest, level)
        waiting.extend((child, level + 1) for child in children(current))
    return deepest
