"""What the commands print: tables, JSON, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenfold.client import Client, connect
from tenfold.errors import DeployFailed, InvalidInput, TenfoldError, problem_line

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


_profile: ContextVar[str | None] = ContextVar("profile", default=None)


def use_profile(name: str | None) -> None:
    """What --profile says, for the rest of this command."""
    _profile.set(name)


def named_profile() -> str | None:
    return _profile.get()


def client() -> Client:
    """The workspace that the command talks to."""
    return connect(profile=named_profile())


def fail(error: TenfoldError) -> NoReturn:
    if isinstance(error, InvalidInput) and _is_of_documents(error.details):
        errors.print(f"[bold red]{escape(error.message.splitlines()[0])}[/]")
        print_problems(error.details)
    elif not isinstance(error, DeployFailed):  # that has been told already, with its log
        errors.print(f"[bold red]{escape(error.message)}[/]")
    if error.hint and not isinstance(error, DeployFailed):
        errors.print(escape(error.hint))
    traceback = getattr(error, "traceback", "")
    if traceback:
        errors.print(escape(traceback), style="dim")
    raise typer.Exit(1)


def print_json(value: Any) -> None:
    console.print(json.dumps(value, indent=2, ensure_ascii=False), markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, nothing: str) -> None:
    listed = [[_cell(cell) for cell in row] for row in rows]
    if not listed:
        console.print(nothing, markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in listed:
        table.add_row(*row)
    console.print(table, soft_wrap=False)


def print_pairs(pairs: Iterable[tuple[str, Any]]) -> None:
    listed = [(label, _cell(text)) for label, text in pairs]
    width = max((len(label) for label, _ in listed), default=0)
    for label, text in listed:
        console.print(f"[bold]{label:<{width}}[/]  {text}")


def print_problems(problems: Iterable[Mapping[str, Any]]) -> None:
    """Problems of documents, by file, each with its line."""
    by_file: dict[str, list[Mapping[str, Any]]] = {}
    for problem in problems:
        file, _, path = str(problem.get("path") or "").partition(": ")
        by_file.setdefault(file, []).append({**problem, "path": path})
    for file, listed in by_file.items():
        errors.print(f"\n[bold]{escape(file or 'the app')}[/]")
        for problem in sorted(listed, key=lambda one: one.get("line") or 0):
            place = f"{file}:{problem['line']}: " if problem.get("line") else ""
            errors.print(f"  {escape(place)}{escape(problem_line({**problem, 'line': None}))}")


def read_json(given: str | None, file: Path | None) -> Any:
    """A request's body from --json or --file; `-` reads standard input."""
    if (given is None) == (file is None):
        raise InvalidInput("Give the input with --json or with --file.", hint='Such as --json \'{"text": "hello"}\'.')
    content = read_file(file) if file is not None else given or ""
    try:
        return json.loads(content)
    except ValueError as error:
        raise InvalidInput(f"The input is not JSON: {error}", hint="JSON strings have double quotes.") from None


def read_file(file: Path) -> bytes:
    """What a file holds, or a pipe such as the shell's `<(...)`; `-` is standard input."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    require_file(file)
    return file.read_bytes()


def require_file(file: Path) -> None:
    if not file.exists() or file.is_dir():
        raise InvalidInput(f"There is no file {file}.")


def ago(time: str | None) -> str:
    """A time of the API, as people say it."""
    if not time:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds())
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} days ago"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return escape(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def _is_of_documents(details: Any) -> bool:
    return (
        isinstance(details, list) and bool(details) and all(isinstance(one, dict) and "path" in one for one in details)
    )
