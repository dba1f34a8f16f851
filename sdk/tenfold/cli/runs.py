"""`tenfold runs`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tenfold.cli.output import AsJson, ago, client, console, print_json, print_pairs, print_table


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Look at what worklets did.", rich_markup_mode="rich")
    group.callback(invoke_without_command=True)(default)
    group.command("list")(list_runs)
    group.command("show")(show)
    app.add_typer(group, name="runs", rich_help_panel="Apps")


def default(ctx: typer.Context) -> None:
    """Look at what worklets did."""
    if ctx.invoked_subcommand is None:
        list_runs()


def list_runs(
    app: Annotated[str | None, typer.Option(help="Only of this app.")] = None,
    worklet: Annotated[str | None, typer.Option(help="Only of this worklet.")] = None,
    state: Annotated[str | None, typer.Option(help="succeeded, failed or cancelled.")] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1)] = 20,
    json: AsJson = False,
) -> None:
    """The newest runs."""
    runs = list(client().items("runs", limit=limit, app=app, worklet=worklet, state=state))
    if json:
        print_json(runs)
        return
    print_table(
        ("run", "worklet", "state", "duration", "caller", "started", "error"),
        (
            (
                one["id"],
                f"{one['app']}/{one['worklet']}",
                one["state"],
                _duration(one["duration_ms"]),
                one["caller"],
                ago(one["started_at"]),
                (one["error"] or {}).get("message"),
            )
            for one in runs
        ),
        nothing="There are no runs.",
    )


def show(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    json: AsJson = False,
) -> None:
    """One run with its steps."""
    found: dict[str, Any] = client().get("runs", run)
    if json:
        print_json(found)
        return
    print_pairs(
        [
            ("Run", found["id"]),
            ("Worklet", f"{found['app']}/{found['worklet']}, release {found['release']}"),
            ("State", found["state"]),
            ("Duration", _duration(found["duration_ms"])),
            *([("Error", found["error"].get("message"))] if found["error"] else []),
        ]
    )
    console.print()
    print_table(
        ("step", "kind", "state", "duration", "error"),
        (
            (one["path"], one["kind"], one["state"], _duration(one["duration_ms"]), (one["error"] or {}).get("message"))
            for one in found["steps"]
        ),
        nothing="It has no steps.",
    )
    console.print()
    print_json({"input": found["input"], "output": found["output"]})


def _duration(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f} ms"
