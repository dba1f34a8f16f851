"""What a value refers to: names, the paths below them, and whether it says what to do when they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenfold_expressions import is_expression
from tenfold_expressions.parser import parse_source
from tenfold_expressions.syntax import Arrow, Index, Literal, Logic, Member, Name, Node, Spread, children
from tenfold_worklets.types import Json


@dataclass(frozen=True, slots=True)
class Reference:
    """`path` is the place in the document, `root` and `keys` what is read (`rank`, `("score",)`).

    `tolerated`: it stands in a `??`, so that it may be missing. `whole`: the value at `path` is this and nothing else.
    """

    path: str
    root: str
    keys: tuple[str | int, ...]
    column: int
    tolerated: bool
    whole: bool

    def __str__(self) -> str:
        return self.root + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.keys)


def references(value: Json, path: str) -> Iterator[Reference]:
    """Every reference in a value and the values nested in it. Raises nothing for values that were bound before."""
    if isinstance(value, str):
        if is_expression(value):
            yield from _in_expression(value[1:], path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from references(item, f"{path}.{key}")


def _in_expression(source: str, path: str) -> Iterator[Reference]:
    root = parse_source(source).root
    stack: list[tuple[Node | Arrow | Spread, bool]] = [(root, False)]
    while stack:
        node, tolerated = stack.pop()
        if chain := _chain(node):
            name, keys = chain
            yield Reference(path, name.name, keys, name.position, tolerated, node is root)
        else:
            below = tolerated or (isinstance(node, Logic) and node.operator == "??")
            stack.extend((child, below) for child in reversed(children(node)))


def _chain(node: Node | Arrow | Spread) -> tuple[Name, tuple[str | int, ...]] | None:
    """A name of the scope and the keys read below it, when the node is nothing but that."""
    keys: list[str | int] = []
    while True:
        match node:
            case Name(slot=None):
                return node, tuple(reversed(keys))
            case Member(base=base, key=key):
                keys.append(key)
                node = base
            case Index(base=base, index=Literal(value=str() | int() as key)):
                keys.append(key)
                node = base
            case _:
                return None
