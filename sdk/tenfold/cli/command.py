"""Puts the command together: the SDK's own commands, and the server's where they are installed."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tenfold.cli import account, apps, environments, models, runs, secrets, system, zoo
from tenfold.cli.output import errors, fail, use_profile
from tenfold.errors import TenfoldError

SERVER_COMMANDS = ("up", "sign-in-link", "api", "gateway", "engine", "controller")
SERVER_EXTRA = "pip install 'tenfold[server]'"
HELP = """Turn a model into a product: an API, business logic around it, and a screen for people.

Start everything on this machine with [bold]tenfold up[/], then deploy something:

  tenfold deploy ./churn              a Truss folder, from the terminal
  tenfold.deploy(clf, "churn")        a model, from Python
  tenfold app push ./triage           an app: worklets, views and their code
"""


class Commands(TyperGroup):
    """Turns errors into a short message and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TenfoldError as error:
            fail(error)
        except ModuleNotFoundError as error:
            if ctx.invoked_subcommand not in SERVER_COMMANDS:
                raise
            needs_server_extra(ctx.invoked_subcommand, str(error.name))
        except KeyboardInterrupt:
            errors.print("Stopped.")
            raise typer.Exit(130) from None


def make_app(server: EntryPoint | None = None) -> typer.Typer:
    """The whole command. `server` is where the server's commands come from; None when they are not installed."""
    app = typer.Typer(
        cls=Commands,
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    models.register(app)
    zoo.register(app)
    apps.register(app)
    runs.register(app)
    environments.register(app)
    secrets.register(app)
    account.register(app)
    system.register(app)
    add_server_commands(app, server)
    return app


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("tenfold"))
        raise typer.Exit


def options(
    profile: Annotated[
        str | None, typer.Option(envvar="TENFOLD_PROFILE", help="Which profile of the credentials file to use.")
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    use_profile(profile)


def add_server_commands(app: typer.Typer, server: EntryPoint | None) -> None:
    """The server's commands, or ones of the same names that say how to get them."""
    register = None
    if server is not None:
        try:
            register = server.load()
        except ModuleNotFoundError:
            register = None  # the package is there, what it needs is not
    if register is not None:
        register(app)
        return
    for name in SERVER_COMMANDS:
        app.command(name, hidden=name != "up", help="Run all of Tenfold on this machine (server extra).")(
            _missing(name)
        )


def needs_server_extra(command: str, module: str = "") -> None:
    missing = f" ({module} is not installed)" if module else ""
    errors.print(f"[bold red]`tenfold {command}` needs the server extra{missing}.[/]")
    errors.print(SERVER_EXTRA, markup=False)
    raise typer.Exit(1)


def _missing(command: str) -> Any:
    def run() -> None:
        needs_server_extra(command)

    return run


def server_commands() -> EntryPoint | None:
    return next(iter(entry_points(group="tenfold.commands")), None)


def main() -> None:
    """What the `tenfold` script runs."""
    make_app(server_commands())(prog_name="tenfold")
    sys.exit(0)
