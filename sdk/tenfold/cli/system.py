"""`tenfold status`, `tenfold logs`, `tenfold version`."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer

from tenfold.cli.output import AsJson, ago, client, console, print_json, print_pairs, print_table
from tenfold.credentials import Profile, credentials_file, current_name, read_profiles
from tenfold.errors import NotFound, TenfoldError
from tenfold.models import Model

PANEL = "System"
PROCESSES = ("api", "gateway", "engine", "controller", "postgres", "redis")
DEFAULT_DATA = Path("~/.tenfold/data")
FOLLOW_SECONDS = 0.3

DataOption = Annotated[Path | None, typer.Option("--data", envvar="TENFOLD_DATA", help="The platform's data folder.")]


def register(app: typer.Typer) -> None:
    for command in (status, logs, version):
        app.command(rich_help_panel=PANEL)(command)


def status(data: DataOption = None, json: AsJson = False) -> None:
    """Whether the platform runs, and its parts."""
    folder = _data_folder(data)
    running = _running(folder)
    try:
        system: dict[str, Any] | None = client().api.json("GET", "/api/v1/system/status")
        problem = ""
    except TenfoldError as error:
        system, problem = None, str(error)
    if json:
        print_json({"data_dir": str(folder), "running": running, "system": system, "problem": problem or None})
        raise typer.Exit(0 if system else 1)
    if running:
        console.print(f"Tenfold runs here (process {running['pid']}): {running['console_url']}", markup=False)
    else:
        console.print(f"Nothing runs on the data folder {folder}.", markup=False)
    if system is None:
        console.print(problem, markup=False)
        raise typer.Exit(1)
    print_pairs(
        [
            ("Version", system["version"]),
            ("Database", f"{_ok(system['database'])}, {system['database']['size_bytes'] / 1e6:.1f} MB"),
            ("Redis", _ok(system["redis"])),
            ("Isolation", f"{system['isolation']['level']}, network {system['isolation']['network']}"),
            *(("", sentence) for sentence in system["isolation"]["missing"]),
            ("Data", system["data_dir"]),
        ]
    )
    console.print()
    print_table(
        ("process", "host", "pid", "started", "seen", "alive"),
        (
            (
                one["kind"],
                one["host"],
                one["pid"],
                ago(one["started_at"]),
                ago(one["seen_at"]),
                "yes" if one["alive"] else "no",
            )
            for one in system["processes"]
        ),
        nothing="No process has been seen.",
    )


def logs(
    name: Annotated[
        str, typer.Argument(help="A process (api, gateway, engine, controller, postgres, redis) or a model.")
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl+C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.", min=1)] = 100,
    data: DataOption = None,
) -> None:
    """The log of a platform process on this machine, or of a model.

    Example: tenfold logs wine -f
    """
    if name in PROCESSES:
        file = _data_folder(data) / "logs" / f"{name}.log"
        if not file.is_file():
            raise NotFound(f"There is no log of {name} in {file.parent}.", hint="Name the data folder with --data.")
        for line in read_log(file, lines, follow=follow):
            console.print(line, markup=False)
        return
    reference, _, wanted = name.partition("@")
    model = Model(client(), reference, wanted or None)
    if follow:
        for line in model.follow_log():
            console.print(line, markup=False)
        return
    for line in model.log_lines()[-lines:]:
        console.print(line, markup=False)


def version(json: AsJson = False) -> None:
    """The version of this command, and of the platform it talks to."""
    own = installed_version("tenfold")
    try:
        server: str | None = client().identity["version"]
    except TenfoldError:
        server = None
    if json:
        print_json({"tenfold": own, "platform": server})
    else:
        print_pairs([("tenfold", own), ("platform", server or "not reached")])


def read_log(file: Path, lines: int, *, follow: bool) -> Iterator[str]:
    """The last lines of a file, then (with `follow`) those that are added."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        yield from (line.rstrip("\n") for line in deque(opened, maxlen=lines))
        while follow:
            line = opened.readline()
            if line:
                yield line.rstrip("\n")
            elif _was_replaced(file, opened.tell()):
                yield from read_log(file, lines, follow=True)
                return
            else:
                time.sleep(FOLLOW_SECONDS)


def _was_replaced(file: Path, position: int) -> bool:
    try:
        return file.stat().st_size < position
    except OSError:
        return False


def _data_folder(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser()
    profile = _current_profile()
    return Path(profile.data_dir) if profile and profile.data_dir else DEFAULT_DATA.expanduser()


def _current_profile() -> Profile | None:
    file = credentials_file()
    return read_profiles(file).get(current_name(file) or "")


def _running(folder: Path) -> dict[str, Any] | None:
    """Who runs on the data folder: its running.json, if that process is alive."""
    try:
        running: dict[str, Any] = json.loads((folder / "running.json").read_text())
        os.kill(int(running["pid"]), 0)
    except PermissionError:
        return running
    except (OSError, ValueError, KeyError):
        return None
    return running


def _ok(part: dict[str, Any]) -> str:
    return "ok" if part["ok"] else "does not answer"
