"""`tenfold environments`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tenfold.cli.output import AsJson, ago, client, console, print_json, print_pairs, print_table, read_file
from tenfold.client import Client
from tenfold.errors import InvalidInput, NotFound, TenfoldError

PANEL = "Environments and secrets"
POLL_SECONDS = 0.5
OPEN_STATES = ("pending", "resolving", "building")

Target = Annotated[str, typer.Argument(help="A named environment, or an id (its beginning or end will do).")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Look at environments; name, rebuild and remove them.", rich_markup_mode="rich")
    group.callback(invoke_without_command=True)(default)
    group.command("list")(list_environments)
    group.command("show")(show)
    group.command("logs")(logs)
    group.command("set")(set_environment)
    group.command("rebuild")(rebuild)
    group.command("delete")(delete)
    group.command("collect")(collect)
    group.command("python-versions")(python_versions)
    app.add_typer(group, name="environments", rich_help_panel=PANEL)


def default(ctx: typer.Context) -> None:
    """Look at environments; name, rebuild and remove them."""
    if ctx.invoked_subcommand is None:
        list_environments()


def list_environments(
    state: Annotated[str | None, typer.Option(help="Only those that are ready, failed, building, ...")] = None,
    unused: Annotated[bool, typer.Option("--unused", help="Only those that nothing uses.")] = False,
    json: AsJson = False,
) -> None:
    """Every environment of the workspace, newest first."""
    found = list(client().items("environments", state=state, unused=unused or None))
    if json:
        print_json(found)
        return
    _print_environments(found, nothing="There are no environments yet. A deploy makes one.")


def show(
    target: Target,
    lock: Annotated[bool, typer.Option("--lock", help="Print the lock: exact versions with hashes.")] = False,
    json: AsJson = False,
) -> None:
    """One environment: what was asked for, what it became, who uses it.

    Example: tenfold environments show nlp --lock > requirements.lock
    """
    workspace = client()
    name, found = _find(workspace, target)
    shown = workspace.get("environments", found["id"])
    if json:
        print_json({**shown, "name": name})
    elif lock:
        typer.echo(shown["lock"] or "", nl=False)
    else:
        _print_environment(shown, name)


def logs(
    target: Target, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it is built.")] = False
) -> None:
    """The log of an environment's build; of a name that was edited, of the newest one."""
    workspace = client()
    name, found = _find(workspace, target)
    environment_id = str(((name and name["coming"]) or found)["id"])
    for text in _follow(workspace, environment_id, until_built=follow):
        typer.echo(text, nl=False)


def set_environment(
    name: Annotated[str, typer.Argument(help="The name, such as nlp.")],
    requirements: Annotated[
        Path, typer.Option("--requirements", "-r", help="A requirements.txt; - is standard input.")
    ],
    python: Annotated[str | None, typer.Option(help="The Python version. [default: the platform's own]")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    wait: Annotated[bool, typer.Option(help="Watch until it is built.")] = True,
) -> None:
    """Make a named environment, or edit it. The one it had stays in use until the new one is ready.

    Example: tenfold environments set nlp --requirements requirements.txt --python 3.12
    """
    workspace = client()
    body = {"requirements": _lines(requirements), "python_version": python}
    if description is not None:
        body["description"] = description
    named = workspace.put("named-environments", name, body=body)
    newest = named["coming"] or named["environment"]
    if wait:
        _watch(workspace, newest["id"])
        console.print(f"{name} is ready: {_count(newest['requirements'], 'requirement')}.", markup=False)
    else:
        console.print(f"{name} is {newest['state']}: tenfold environments logs {name} -f", markup=False)


def rebuild(
    target: Target,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Of a named one: choose the newest versions that its requirements allow.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Watch until it is built.")] = True,
) -> None:
    """Build an environment again: one that failed, or a damaged one from the lock it has.

    What runs from it goes on. With --upgrade, a named environment is resolved afresh.
    """
    workspace = client()
    name, found = _find(workspace, target)
    environment = name["coming"] or found if name and not upgrade else found
    built = workspace.ask("environments", environment["id"], "rebuild", body={"upgrade": upgrade})
    if wait:
        _watch(workspace, built["id"])
        console.print(f"{target} is ready.", markup=False)
    else:
        console.print(f"{target} is {built['state']}.", markup=False)


def delete(target: Target, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a name, or an environment that nothing uses.

    What was made with a name keeps its environment.
    """
    workspace = client()
    name, found = _find(workspace, target)
    what = f"the name {target}" if name else f"the environment {_short(found)}"
    if not yes:
        typer.confirm(f"Delete {what}?", abort=True)
    if name:
        workspace.delete("named-environments", name["name"])
    else:
        workspace.delete("environments", found["id"])
    console.print(f"T{what[1:]} is deleted.", markup=False)


def collect(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    unused_days: Annotated[int, typer.Option(help="Keep what was asked for within so many days.", min=0)] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: AsJson = False,
) -> None:
    """Delete all environments that no version, no release and no name uses."""
    workspace = client()
    body = {"unused_days": unused_days, "dry_run": True}
    found = workspace.ask("environments", "collect", body=body)
    if not dry_run and found["items"]:
        if not yes:
            _print_environments(found["items"], nothing="")
            typer.confirm(f"Delete {_count(found['items'], 'environment')} ({_size(found['size_bytes'])})?", abort=True)
        found = workspace.ask("environments", "collect", body={**body, "dry_run": False})
    if json:
        print_json(found)
        return
    if dry_run:
        _print_environments(found["items"], nothing="Every environment is in use.")
    verb = "would go" if dry_run else "deleted"
    console.print(f"{_count(found['items'], 'environment')} {verb}, {_size(found['size_bytes'])}.", markup=False)


def python_versions(json: AsJson = False) -> None:
    """Which Python versions an environment can have."""
    versions = client().get("python-versions")
    if json:
        print_json(versions)
        return
    print_table(
        ("version", "exactly", "where", ""),
        (
            (
                one["version"],
                one["full"],
                "on the machine" if one["source"] == "machine" else "fetched when needed",
                "default" if one["is_default"] else "",
            )
            for one in versions
        ),
        nothing="There are none.",
    )


# --- finding


def _find(workspace: Client, target: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The named environment and what is under the name now; or none, and the environment with that id."""
    if target[:1].isalpha():
        try:
            named: dict[str, Any] = workspace.get("named-environments", target)
        except NotFound as error:
            if error.code != "unknown_environment":
                raise
        else:
            return named, named["environment"]
    wanted = target.lower()
    found = [one for one in workspace.items("environments") if one["id"].startswith(wanted) or _ends(one, wanted)]
    if not found:
        raise NotFound(f"There is no environment {target}.", hint="`tenfold environments list` shows them.")
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} environments are called {target}.", hint="Write more of the id.")
    return None, found[0]


def _ends(environment: Mapping[str, Any], wanted: str) -> bool:
    return len(wanted) >= 4 and str(environment["id"]).endswith(wanted)


def _lines(file: Path) -> list[str]:
    return [line.rstrip() for line in read_file(file).decode("utf-8").splitlines()]


# --- watching


def _watch(workspace: Client, environment_id: str) -> None:
    """Shows the build's log until it is ready. Raises TenfoldError with the reason when it fails."""
    for text in _follow(workspace, environment_id, until_built=True):
        typer.echo(text, nl=False)
    built = workspace.get("environments", environment_id)
    if built["state"] != "ready" or built["reason"]:
        raise TenfoldError(built["reason"] or f"The environment is {built['state']}.", hint=built["hint"])


def _follow(workspace: Client, environment_id: str, *, until_built: bool) -> Iterator[str]:
    after = 0
    while True:
        state = workspace.get("environments", environment_id)["state"]  # before its log: so nothing of it is missed
        page = workspace.get("environments", environment_id, "logs", after=after)
        for line in page["items"]:
            yield line["text"]
        is_over = not until_built or state not in OPEN_STATES
        if is_over and page["next_after"] == after:
            return
        after = page["next_after"]
        if not is_over:
            time.sleep(POLL_SECONDS)


# --- showing


def _print_environments(environments: list[dict[str, Any]], *, nothing: str) -> None:
    print_table(
        ("id", "names", "state", "python", "packages", "size", "used by", "made"),
        (
            (
                _short(one),
                one["names"],
                one["state"],
                one["python_version"],
                len(one["packages"]),
                _size(one["size_bytes"]),
                _users(one["used_by"]),
                ago(one["created_at"]),
            )
            for one in environments
        ),
        nothing=nothing,
    )


def _print_environment(shown: Mapping[str, Any], name: Mapping[str, Any] | None) -> None:
    pairs: list[tuple[str, Any]] = [("Environment", shown["id"])]
    if name and name["description"]:
        pairs.append(("For", name["description"]))
    pairs += [("Names", shown["names"]), ("State", shown["state"])]
    if shown["reason"]:
        pairs += [("Reason", shown["reason"]), ("Hint", shown["hint"])]
    if name and name["coming"]:
        coming = name["coming"]
        pairs.append(("Coming", f"{_short(coming)}, {coming['state']} {coming['reason']}".strip()))
    users = [f"{use['model']}@{use['version']}" for use in shown["models"]]
    users += [f"release {use['release']} of {use['app']}" for use in shown["apps"]]
    print_pairs(
        [
            *pairs,
            ("Python", shown["python_version"]),
            ("Asked for", shown["requirements"]),
            ("Used by", users),
            ("Size", _size(shown["size_bytes"])),
            ("Built", f"{ago(shown['built_at'])} in {shown['build_seconds']:.1f} s" if shown["build_seconds"] else ""),
            ("Lock", shown["lock_digest"]),
        ]
    )
    console.print()
    print_table(
        ("package", "version"),
        ((package["name"], package["version"]) for package in shown["packages"]),
        nothing="It has no packages.",
    )


def _short(environment: Mapping[str, Any]) -> str:
    """The end of the id: the beginning is the time, which neighbours share."""
    return str(environment["id"]).rpartition("-")[2]


def _users(used_by: Mapping[str, int]) -> str:
    counts = (("version", used_by["models"]), ("release", used_by["apps"]))
    return ", ".join(_count(count, noun) for noun, count in counts if count)


def _count(things: Any, noun: str) -> str:
    number = things if isinstance(things, int) else len(things)
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
