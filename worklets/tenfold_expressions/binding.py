"""Any JSON value with expressions nested in it, such as a node's `in:`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from tenfold_expressions.errors import BindingErrors, ExpressionError, Problem, join_path
from tenfold_expressions.expression import Expression, Json, is_expression, literal, parse

MAX_BINDING_DEPTH = 64

_Compiled: TypeAlias = "Expression | bool | int | float | str | list[_Compiled] | dict[str, _Compiled] | None"
Path: TypeAlias = "tuple[str | int, ...]"


class Binding:
    """A value whose expressions are parsed; `evaluate` gives the value with all of them computed."""

    __slots__ = ("_compiled", "dependencies", "expressions", "names")

    def __init__(self, compiled: _Compiled) -> None:
        self._compiled = compiled
        self.expressions: tuple[tuple[Path, Expression], ...] = tuple(_expressions(compiled, ()))
        self.dependencies: tuple[tuple[str, ...], ...] = tuple(
            sorted({path for _, expression in self.expressions for path in expression.dependencies})
        )
        self.names: frozenset[str] = frozenset(path[0] for path in self.dependencies)

    @property
    def is_constant(self) -> bool:
        """Whether the value needs nothing from the scope."""
        return not self.dependencies

    def evaluate(self, scope: Mapping[str, object]) -> Json:
        """Compute every expression, each with its own fuel. Raises BindingErrors with the path of all that failed."""
        problems: list[Problem] = []
        value = _evaluate(self._compiled, scope, (), problems)
        if problems:
            raise BindingErrors(problems, filename="value")
        return value


def bind(value: Json) -> Binding:
    """Parse every expression in a value. Raises BindingErrors with all that do not parse."""
    problems: list[Problem] = []
    compiled = _compile(value, (), problems)
    if problems:
        raise BindingErrors(problems, filename="value")
    return Binding(compiled)


def _compile(value: object, path: Path, problems: list[Problem]) -> _Compiled:
    if len(path) > MAX_BINDING_DEPTH:
        problems.append(
            Problem(join_path(path), f"this is nested more than {MAX_BINDING_DEPTH} deep", code="too_large")
        )
        return None
    if isinstance(value, str):
        return _compile_text(value, path, problems)
    if isinstance(value, dict):
        return {str(key): _compile(item, (*path, str(key)), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_compile(item, (*path, index), problems) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float):
        return value
    problems.append(
        Problem(
            join_path(path), f"a value of type {type(value).__name__} is not JSON", "Write JSON values.", "bad_value"
        )
    )
    return None


def _compile_text(value: str, path: Path, problems: list[Problem]) -> _Compiled:
    if not is_expression(value):
        return literal(value)
    try:
        return parse(value[1:])
    except ExpressionError as error:
        problems.append(_problem(error, path))
        return None


def _evaluate(compiled: _Compiled, scope: Mapping[str, object], path: Path, problems: list[Problem]) -> Json:
    if isinstance(compiled, Expression):
        try:
            return compiled.evaluate(scope)
        except ExpressionError as error:
            problems.append(_problem(error, path))
            return None
    if isinstance(compiled, dict):
        return {key: _evaluate(item, scope, (*path, key), problems) for key, item in compiled.items()}
    if isinstance(compiled, list):
        return [_evaluate(item, scope, (*path, index), problems) for index, item in enumerate(compiled)]
    return compiled


def _problem(error: ExpressionError, path: Path) -> Problem:
    return Problem(join_path(path), error.message, error.hint, error.code, column=error.position)


def _expressions(compiled: _Compiled, path: Path) -> Iterator[tuple[Path, Expression]]:
    if isinstance(compiled, Expression):
        yield path, compiled
    elif isinstance(compiled, dict):
        for key, item in compiled.items():
            yield from _expressions(item, (*path, key))
    elif isinstance(compiled, list):
        for index, item in enumerate(compiled):
            yield from _expressions(item, (*path, index))
