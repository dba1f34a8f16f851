"""An expression that was parsed once: what it depends on, what it gives, and how it reads under another name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from tenfold_expressions import syntax
from tenfold_expressions.compile import compile_node, static_path
from tenfold_expressions.errors import ExpressionError
from tenfold_expressions.parser import Parsed, is_name, parse_source
from tenfold_expressions.syntax import Arrow, Node, Spread
from tenfold_expressions.values import FUEL, Frame, finished, own

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_LONG = 100
_REPEATING = frozenset({"map", "flatMap", "reduce"})


class Expression:
    """One parsed expression. It never changes, and may be evaluated by several threads at once."""

    __slots__ = ("_computed", "_parsed", "_path", "_run", "_size", "dependencies", "names", "source")

    def __init__(self, source: str, parsed: Parsed) -> None:
        self.source: str = source
        self.dependencies: tuple[tuple[str, ...], ...] = tuple(sorted(_paths(parsed.root)))
        self.names: frozenset[str] = frozenset(path[0] for path in self.dependencies)
        self._parsed = parsed
        self._path = static_path(parsed.root)
        self._run = compile_node(parsed.root)
        self._size = syntax.size(parsed.root)
        self._computed = _builds_values(parsed.root, self._size)

    def evaluate(self, scope: Mapping[str, object], *, fuel: int = FUEL) -> Json:
        """Compute the value from a scope of JSON values.

        Raises ExpressionError when the expression asks for what cannot be (a number from a list), needs more
        than `fuel` steps, or grows beyond the size limits. What is missing in the scope is None.
        """
        if self._path is not None:
            return _read(scope, self._path)
        frame = Frame(scope, self._parsed.slots, fuel)
        try:
            frame.spend(self._size)
            return finished(self._run(frame), computed=self._computed)  # type: ignore[return-value]
        except RecursionError:
            raise ExpressionError("too_large", "this expression is nested too deeply") from None

    def rename(self, old: str, new: str) -> str:
        """The source with every reference to the root `old` written as `new`; everything else stays as it is.

        A parameter that would capture the new name gets another name.
        """
        if not is_name(new):
            raise ExpressionError("bad_name", f"`{new}` cannot be a name", 0, "Use letters, digits, _ and $.")
        references = self._parsed.references
        renamed = [reference for reference in references if reference.name == old and reference.slot is None]
        taken = {reference.name for reference in references} | {old, new}
        fresh: dict[int, str] = {}
        for reference in references:
            captured = any(reference.slot in place.inside for place in renamed)
            if reference.declares and reference.name == new and captured and reference.slot is not None:
                fresh[reference.slot] = _fresh_name(new, taken)
                taken.add(fresh[reference.slot])
        text = self.source
        for reference in sorted(references, key=lambda reference: -reference.position):
            name = new if reference in renamed else fresh.get(-1 if reference.slot is None else reference.slot)
            if name is not None:
                written = f"{reference.name}: {name}" if reference.short else name
                text = text[: reference.position] + written + text[reference.position + len(reference.name) :]
        return text

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"


def parse(source: str) -> Expression:
    """Parse an expression, written without its leading `=`. Raises ExpressionError."""
    return Expression(source, parse_source(source))


def is_expression(value: object) -> bool:
    """Whether a value of a document is an expression: text that begins with `=`."""
    return isinstance(value, str) and value.startswith("=")


def literal(value: str) -> str:
    """A text that is not an expression, as it is meant: `\\=` at its beginning stands for `=`."""
    return value[1:] if value.startswith("\\=") else value


def _read(scope: Mapping[str, object], path: tuple[str, ...]) -> Json:
    value: object = scope.get(path[0])
    for key in path[1:]:
        if type(value) is dict:
            value = value.get(key)
        elif value is None:
            return None
        else:
            value = own(value, key)
    if type(value) is float and not math.isfinite(value):
        return None
    return value  # type: ignore[return-value]


def _fresh_name(name: str, taken: set[str]) -> str:
    count = 2
    while f"{name}{count}" in taken:
        count += 1
    return f"{name}{count}"


def _paths(root: Node) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    waiting: list[Node | Arrow | Spread] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, syntax.Name | syntax.Member | syntax.Index):
            waiting.extend(_path_and_rest(node, found))
        else:
            waiting.extend(syntax.children(node))
    return found


def _path_and_rest(node: Node, found: set[tuple[str, ...]]) -> list[Node]:
    """Record the longest path that is known, and give the computed keys, which have paths of their own."""
    keys: list[str] = []
    computed: list[Node] = []
    while True:
        match node:
            case syntax.Member(base=base, key=key):
                keys.append(key)
                node = base
            case syntax.Index(base=base, index=syntax.Literal(value=value)) if isinstance(value, str):
                keys.append(value)
                node = base
            case syntax.Index(base=base, index=syntax.Literal(value=value)) if _is_index(value):
                keys.append(str(value))
                node = base
            case syntax.Index(base=base, index=index):
                keys.clear()
                computed.append(index)
                node = base
            case syntax.Name(name=name, slot=slot):
                if slot is None:
                    found.add((name, *reversed(keys)))
                return computed
            case _:
                return [*computed, node]


def _is_index(value: object) -> bool:
    return type(value) is int and value >= 0


def _builds_values(root: Node, size: int) -> bool:
    """Whether the result may hold dates, or hold one big value many times; then it is checked as it leaves."""
    if size > _LONG:
        return True
    waiting: list[Node | Arrow | Spread] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, syntax.Call) and node.function == "date":
            return True
        if isinstance(node, syntax.Method) and node.name in _REPEATING:
            return True
        waiting.extend(syntax.children(node))
    return False
