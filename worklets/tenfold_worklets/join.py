"""`join: (gate.auto or approve) and scan`: which nodes must have succeeded, or ports have fired, for a node to run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)|(?P<sign>[()]))")
MAX_NESTING = 32


class JoinError(ValueError):
    """A join that cannot be read. `column` is 0-based."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


@dataclass(frozen=True, slots=True)
class Atom:
    """A node (it succeeded) or a port of a branch (it fired), as `node` or `node.port`."""

    name: str
    column: int

    @property
    def node(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Join, ...]


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Join, ...]


Join = Atom | All | Any


def parse_join(text: str) -> Join:
    """Read a join. `and` binds tighter than `or`. Raises `JoinError`."""
    reader = _Reader(text)
    join = reader.any(0)
    if reader.word is not None:
        raise JoinError(f"`{reader.word}` is not expected here", reader.column)
    return join


def atoms(join: Join) -> Iterator[Atom]:
    """The names in a join, in the order they are written."""
    if isinstance(join, Atom):
        yield join
        return
    for part in join.parts:
        yield from atoms(part)


def holds(join: Join, is_true: Callable[[Atom], bool]) -> bool:
    match join:
        case Atom():
            return is_true(join)
        case All(parts):
            return all(holds(part, is_true) for part in parts)
        case Any(parts):
            return any(holds(part, is_true) for part in parts)


def prepare_join(text: str) -> Callable[[Set[str]], bool]:
    """A quick test of a join against the set of names that have succeeded or fired."""
    join = parse_join(text)
    return lambda fired: holds(join, lambda atom: atom.name in fired)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.column = 0
        self.word: str | None = None
        self.advance()

    def advance(self) -> None:
        rest = self.text[self.end :]
        if not rest.strip():
            self.word, self.column = None, len(self.text)
            return
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            column = self.end + len(rest) - len(rest.lstrip())
            raise JoinError(f"{self.text[column]!r} has no meaning in a join", column)
        self.word = match["word"] or match["sign"]
        self.column = match.end() - len(self.word)
        self.end = match.end()

    def any(self, depth: int) -> Join:
        parts = [self.all(depth)]
        while self.word == "or":
            self.advance()
            parts.append(self.all(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def all(self, depth: int) -> Join:
        parts = [self.one(depth)]
        while self.word == "and":
            self.advance()
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def one(self, depth: int) -> Join:
        if depth > MAX_NESTING:
            raise JoinError("the parentheses are nested too deep", self.column)
        if self.word == "(":
            self.advance()
            inside = self.any(depth + 1)
            if self.word != ")":
                raise JoinError("a `)` is missing", self.column)
            self.advance()
            return inside
        if self.word is None or self.word in ("and", "or", ")"):
            found = f"`{self.word}`" if self.word else "the end"
            raise JoinError(f"a node's name is expected, not {found}", self.column)
        atom = Atom(self.word, self.column)
        self.advance()
        return atom
