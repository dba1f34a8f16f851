"""`tenfold app` and `tenfold run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tenfold.appfolder import check_folder, known_revision, read_folder, remember_revision, write_folder
from tenfold.apps import App, push
from tenfold.cli.output import AsJson, ago, client, console, errors, print_json, print_problems, print_table, read_json
from tenfold.errors import Conflict, InvalidInput

PANEL = "Apps"
AppName = Annotated[str, typer.Argument(help="The app's name.")]
Folder = Annotated[Path, typer.Argument(help="The app's folder, with its app.yaml.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Push, release and open apps: worklets, views and their code.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    group.command("push")(push_app)
    group.command("pull")(pull)
    group.command("check")(check)
    group.command("release")(release)
    group.command("rollback")(rollback)
    group.command("list")(list_apps)
    group.command("open")(open_app)
    app.add_typer(group, name="app", rich_help_panel=PANEL)
    app.command(rich_help_panel=PANEL)(run)


def push_app(
    folder: Folder = Path("."),
    release: Annotated[bool, typer.Option(help="Release the draft, and make it live.")] = True,
    note: Annotated[str, typer.Option(help="What changed, for the list of releases.")] = "",
    force: Annotated[bool, typer.Option(help="Replace the draft even if it moved on since the last pull.")] = False,
) -> None:
    """Make a folder the draft of its app, and release it.

    Example: tenfold app push ./triage --note "Ask for the customer's name"
    """
    workspace = client()
    read = read_folder(folder)
    place = (workspace.profile.url, workspace.workspace, read.name)
    revision = None if force else known_revision(folder, *place)
    try:
        app, pushed = push(workspace, folder, revision=revision, say=_say)
    except Conflict as conflict:
        if conflict.code == "draft_moved":
            conflict.hint += " Or replace it with --force."
        raise
    remember_revision(folder, *place, pushed["revision"])
    changed = pushed["changed"]
    console.print(f"Pushed {app.name}, revision {pushed['revision']}: {_changes(changed)}", markup=False)
    print_problems(pushed.get("warnings", []))
    if release:
        app.release(note=note)


def pull(
    name: AppName,
    folder: Annotated[Path | None, typer.Argument(help="Where to write it. [default: a folder of its name]")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite files that differ.")] = False,
) -> None:
    """Write an app's draft into a folder."""
    workspace = client()
    target = folder or Path(name)
    draft = workspace.get("apps", name, "draft")
    changed = write_folder(target, draft["files"], force=force)
    remember_revision(target, workspace.profile.url, workspace.workspace, name, draft["revision"])
    console.print(f"{target}: {_changes(changed)}", markup=False)


def check(folder: Folder = Path(".")) -> None:
    """Check an app's folder on this machine, without running or sending anything."""
    read = read_folder(folder)
    for note in read.notes:
        _say(note)
    checked = check_folder(read)
    listed = [_details(one) for one in checked.problems]
    if listed:
        print_problems(listed)
        errors.print(f"\n[bold red]{len(listed)} problem{'s' if len(listed) > 1 else ''} in {read.name}.[/]")
        raise typer.Exit(1)
    print_problems([_details(one) for one in checked.warnings])
    console.print(f"{read.name} is fine: {len(read.files)} files.", markup=False)


def release(
    name: AppName,
    note: Annotated[str, typer.Option(help="What changed.")] = "",
    live: Annotated[bool, typer.Option(help="Make it live when it is ready.")] = True,
) -> None:
    """Release an app's draft."""
    App.find(client(), name).release(note=note, go_live=live)


def rollback(
    name: AppName,
    release: Annotated[
        int | None, typer.Option("--release", help="To which release. [default: the one before]")
    ] = None,
) -> None:
    """Make an earlier release live."""
    app = App.find(client(), name).rollback(release)
    console.print(f"Release {app.details['live_release']} of {name} is live.", markup=False)


def list_apps(json: AsJson = False) -> None:
    """Every app of the workspace."""
    apps = client().apps()
    if json:
        print_json(apps)
        return
    print_table(
        ("name", "title", "live", "access", "worklets", "address", "updated"),
        (
            (
                one["name"],
                one["title"],
                one["live_release"],
                one["access"],
                one["worklets"],
                one["url"],
                ago(one["updated_at"]),
            )
            for one in apps
        ),
        nothing="There are no apps yet. Push one: tenfold app push DIR",
    )


def open_app(
    name: AppName, view: Annotated[str | None, typer.Option(help="Which view. [default: the home view]")] = None
) -> None:
    """Open an app in the browser."""
    app = App.find(client(), name)
    app.open(view)
    console.print(app.url, markup=False)


def run(
    worklet: Annotated[str, typer.Argument(help="APP/WORKLET")],
    json: Annotated[str | None, typer.Option("--json", help="The input, an object.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A file with the input; - is standard input.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the output.")] = 60.0,
) -> None:
    """Run a worklet of an app's live release and print its output.

    Example: tenfold run triage/route --json '{"text": "My invoice is wrong"}'
    """
    app, _, name = worklet.partition("/")
    if not name:
        raise InvalidInput(f"{worklet!r} is not a worklet.", hint="Write it as APP/WORKLET.")
    called = App.find(client(), app).worklet(name)
    print_json(called.run(read_json(json, file), timeout=timeout))
    errors.print(f"run {called.last_run}", style="dim")


def _details(problem: Any) -> dict[str, Any]:
    return {"path": problem.path, "message": problem.message, "hint": problem.hint, "line": problem.line}


def _changes(paths: list[str]) -> str:
    if not paths:
        return "nothing changed"
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return f"{len(paths)} changed ({', '.join(paths[:5])}{more})"


def _say(text: str) -> None:
    errors.print(text, style="dim", markup=False)
