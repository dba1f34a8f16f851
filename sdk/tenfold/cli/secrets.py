"""`tenfold secrets`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tenfold.cli.output import AsJson, ago, client, console, print_json, print_table, read_file
from tenfold.errors import InvalidInput

PANEL = "Environments and secrets"
SecretName = Annotated[str, typer.Argument(help="The secret's name, as models declare it in config.yaml.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Set, list and delete secrets. Values go in and never come out.", rich_markup_mode="rich")
    group.callback(invoke_without_command=True)(default)
    group.command("list")(list_secrets)
    group.command("set")(set_secret)
    group.command("delete")(delete_secret)
    app.add_typer(group, name="secrets", rich_help_panel=PANEL)


def default(ctx: typer.Context) -> None:
    """Set, list and delete secrets. Values go in and never come out."""
    if ctx.invoked_subcommand is None:
        list_secrets()


def list_secrets(json: AsJson = False) -> None:
    """The workspace's secrets, without their values."""
    secrets = list(client().items("secrets"))
    if json:
        print_json(secrets)
        return
    print_table(
        ("name", "description", "set", "used by"),
        (
            (
                one["name"],
                one["description"],
                f"{ago(one['updated_at'])} by {one['updated_by']}",
                [f"{use['model']}@{use['version']}" for use in one["used_by"]],
            )
            for one in secrets
        ),
        nothing="There are no secrets yet. Set one: tenfold secrets set NAME",
    )


def set_secret(
    name: SecretName,
    file: Annotated[Path | None, typer.Option("--file", help="A file with the value; - is standard input.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
) -> None:
    """Set a secret. Its value is asked for, or read from a file or from standard input; never from an argument.

    Example: tenfold secrets set HF_TOKEN --file token.txt
    """
    workspace = client()
    body = {"value": _value(name, file), **({"description": description} if description is not None else {})}
    changed = workspace.put("secrets", name, body=body)
    console.print(f"{name} is set.", markup=False)
    running = [f"{use['model']}@{use['version']}" for use in changed["used_by"]]
    if running:
        console.print(f"Restart what uses it, to give it the new value: {', '.join(running)}", markup=False)


def delete_secret(
    name: SecretName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a secret. A model that runs keeps what it was started with."""
    workspace = client()
    if not yes:
        typer.confirm(f"Delete the secret {name}?", abort=True)
    workspace.delete("secrets", name)
    console.print(f"{name} is deleted.", markup=False)


def _value(name: str, file: Path | None) -> str:
    """One newline at the end belongs to the file, not to the value."""
    if file is None and _is_terminal():
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True))
    content = read_file(file or Path("-"))
    try:
        value = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidInput("The value is not UTF-8 text.", hint="Encode it first, such as with base64.") from None
    if not value:
        raise InvalidInput("The value is empty.")
    return value


def _is_terminal() -> bool:
    return sys.stdin.isatty()
