"""The server's subcommands of `tenfold`, found by entry point when the server extra is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from tenfold_platform.defaults import DISK_KEPT_FREE_BYTES, ENVIRONMENTS_KEPT_DAYS, MAX_PACKAGE_BYTES
from tenfold_platform.errors import PlatformError

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="TENFOLD_DATA",
        help="Where everything is kept.",
        show_default="~/.tenfold/data, for root /var/lib/tenfold",
    ),
]


class WorkerNetwork(StrEnum):
    NONE = "none"
    OPEN = "open"


# PostgreSQL never runs as root, and whom it runs as instead cannot enter root's home
DEFAULT_DATA = Path("/var/lib/tenfold") if os.geteuid() == 0 else Path("~/.tenfold/data")


def register(app: typer.Typer) -> None:
    """Adds the server's commands to the `tenfold` command."""
    app.command(rich_help_panel="Server")(up)
    app.command("sign-in-link", rich_help_panel="Server")(sign_in_link)
    for name in ("api", "gateway", "engine", "controller"):
        app.command(
            name, rich_help_panel="Server", help=f"Run the {name} process alone (settings: TENFOLD_* variables)."
        )(_process_command(name))


def up(
    data: DataOption = DEFAULT_DATA,
    port: Annotated[int | None, typer.Option(help="The studio's port; 0 picks a free one. [default: 7070]")] = None,
    gateway_port: Annotated[
        int | None, typer.Option(help="Port of endpoints and views; 0 picks a free one. [default: 7071]")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind to.")] = "127.0.0.1",
    console_url: Annotated[str | None, typer.Option(help="Public address of the studio.")] = None,
    gateway_url: Annotated[str | None, typer.Option(help="Public address of endpoints and views.")] = None,
    studio_dir: Annotated[
        Path | None, typer.Option(envvar="TENFOLD_STUDIO_DIR", help="The built studio, if not the one that came along.")
    ] = None,
    python_downloads: Annotated[
        bool, typer.Option(help="Fetch Python versions that environments ask for and this machine does not have.")
    ] = False,
    compile_models: Annotated[
        bool,
        typer.Option(
            envvar="TENFOLD_COMPILE_MODELS", help="Serve the compiled form of models that have one, once it is proven."
        ),
    ] = True,
    keep_environments: Annotated[
        int, typer.Option(help="Days after which an environment that nothing uses is removed; 0 keeps it.", min=0)
    ] = ENVIRONMENTS_KEPT_DAYS,
    egress_allow: Annotated[
        str,
        typer.Option(
            envvar="TENFOLD_EGRESS_ALLOW",
            help="Private networks and host names that fetches for users may reach, such as 10.1.0.0/16,files.corp.",
        ),
    ] = "",
    max_package_bytes: Annotated[
        int,
        typer.Option(
            envvar="TENFOLD_MAX_PACKAGE_BYTES",
            help="The most that the files of one version may come to, with what is fetched for it.",
            min=1,
        ),
    ] = MAX_PACKAGE_BYTES,
    disk_kept_free_bytes: Annotated[
        int,
        typer.Option(
            envvar="TENFOLD_DISK_KEPT_FREE_BYTES",
            help="Uploads are refused before the disk has less than this left.",
            min=0,
        ),
    ] = DISK_KEPT_FREE_BYTES,
    allow_unisolated_code: Annotated[
        bool, typer.Option(help="Serve beyond this machine although deployed code is not isolated from it.")
    ] = False,
    worker_network: Annotated[
        WorkerNetwork | None,
        typer.Option(
            envvar="TENFOLD_WORKER_NETWORK",
            help="What deployed code reaches of the network. Default: open on loopback, else none.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run all of Tenfold on this machine, until Ctrl+C."""
    from tenfold_platform.up.supervisor import Options, Started, Supervisor  # heavy: only when it is needed

    options = Options(
        data=data,
        host=host,
        api_port=port,
        gateway_port=gateway_port,
        console_url=console_url,
        gateway_url=gateway_url,
        allow_unisolated_code=allow_unisolated_code,
        worker_network=worker_network.value if worker_network else None,
        studio_dir=studio_dir,
        python_downloads=python_downloads,
        compile_models=compile_models,
        environments_kept_days=keep_environments,
        egress_allow=egress_allow,
        max_package_bytes=max_package_bytes,
        disk_kept_free_bytes=disk_kept_free_bytes,
    )

    def announce(started: Started) -> None:
        console.print(f"\n[bold green]Tenfold is ready[/] in {started.seconds:.1f} s\n")
        if started.sign_in_link:
            console.print(f"  Sign in    [bold]{started.sign_in_link}[/]")
            console.print("             (works once; `tenfold sign-in-link` makes another)")
        else:
            console.print(f"  Studio     [bold]{started.settings.console_url}[/]")
        console.print(f"  Endpoints  {started.settings.gateway_url}")
        console.print(f"  Data       {started.settings.data_dir}")
        console.print(f"  SDK key    {started.credentials_file} (tenfold.deploy finds it)")
        console.print(f"\nDeploy something:  {_first_deploy()}      Stop:  Ctrl+C\n")

    try:
        Supervisor(options, say=_say).run(announce)
    except PlatformError as error:
        _fail(error)


def sign_in_link(data: DataOption = DEFAULT_DATA) -> None:
    """Print a one-time link that signs the first operator in (for who owns the data folder)."""
    from tenfold_platform.up.links import make_sign_in_link  # heavy: only when it is needed

    try:
        console.print(make_sign_in_link(data))
    except PlatformError as error:
        _fail(error)


def _process_command(name: str) -> Callable[[], None]:
    def run() -> None:
        from tenfold_platform.processes import run_process  # heavy: only when it is needed

        try:
            run_process(name)
        except PlatformError as error:
            _fail(error)

    return run


def _first_deploy() -> str:
    """In a checkout an example, by the Python that has Tenfold; else a model that came along."""
    example, python = Path("examples/wine.py"), Path(sys.executable)
    if not example.is_file():
        return "tenfold zoo deploy iris-species"
    return f"{python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python} {example}"


def _say(text: str) -> None:
    console.print(f"[dim]{datetime.now(UTC).astimezone():%H:%M:%S}[/] {text}")


def _fail(error: PlatformError) -> NoReturn:
    errors.print(f"[bold red]{error.message}[/]")
    if error.hint:
        errors.print(error.hint)
    raise typer.Exit(1)
