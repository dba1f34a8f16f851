"""`tenfold deploy`, `tenfold models`, `tenfold predict`."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from json import dumps as to_json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tenfold.cli.output import (
    AsJson,
    ago,
    client,
    console,
    print_json,
    print_pairs,
    print_table,
    read_json,
    require_file,
)
from tenfold.client import Client
from tenfold.errors import InvalidInput
from tenfold.models import Model, describe_inputs, describe_output

PANEL = "Models"
MAX_SHOWN_VALUE = 80
LINTED = (".yaml", ".yml", ".toml", ".txt", ".in", ".lock", ".py")
MAX_LINTED_FILE_BYTES = 256 * 1024
MAX_LINTED_BYTES = 4 * 1024 * 1024
MARKS = {
    "honoured": ("✓", "green"),
    "reachable": ("✓", "green"),
    "container": ("!", "yellow"),
    "ignored": ("!", "yellow"),
    "unknown": ("?", "yellow"),
    "refused": ("✗", "red"),
    "wrong": ("✗", "red"),
}
ModelName = Annotated[str, typer.Argument(help="The model's name; name@alias or name@3 for one of its versions.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(deploy)
    app.command(rich_help_panel=PANEL)(predict)
    group = typer.Typer(help="Look at models; roll versions out and back; delete them.", rich_markup_mode="rich")
    group.callback(invoke_without_command=True)(default)
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("promote")(promote)
    group.command("canary")(canary)
    group.command("shadow")(shadow)
    group.command("rollback")(rollback)
    group.command("compare")(compare)
    group.command("metrics")(metrics)
    group.command("scale")(scale)
    group.command("restart")(restart)
    group.command("serve-original")(serve_original)
    group.command("download")(download)
    group.command("lint")(lint)
    group.command("delete")(delete)
    app.add_typer(group, name="models", rich_help_panel=PANEL)


def deploy(
    path: Annotated[Path, typer.Argument(help="A Truss folder, an MLflow model, a SavedModel, or an .onnx file.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name. [default: model_name, else the folder's or file's]")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="What to point at this version, such as staging.")] = None,
    environment: Annotated[
        str | None, typer.Option(help="A named environment, in the place of the folder's requirements.")
    ] = None,
    packed: Annotated[
        bool | None,
        typer.Option(
            help="Share a worker with other small models. [default: what the folder says]", show_default=False
        ),
    ] = None,
    app: Annotated[bool, typer.Option(help="Make an app for the model, where its schema is known.")] = True,
    wait: Annotated[bool, typer.Option(help="Watch until it is ready.")] = True,
) -> None:
    """Deploy a model's folder or file as a new version.

    Example: tenfold deploy ./churn --name churn --alias staging
    """
    from tenfold.deploying import deploy as deploy_path  # weight

    deploy_path(path, name, alias=alias, environment=environment, packed=packed, app=app, wait=wait, client=client())


def predict(
    name: ModelName,
    json: Annotated[str | None, typer.Option("--json", help="The body of the request.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A file with the body; - is standard input.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 60.0,
) -> None:
    """Ask a model, with a JSON body as the endpoint takes it.

    A picture or another binary file given with --file is sent as the only argument of the model.

    Example: tenfold predict wine --json '{"inputs": [{"alcohol": 13.2}]}'
    """
    workspace = client()
    if json is None and file is not None and str(file) != "-" and _is_binary(file):
        require_file(file)
        model = workspace.model(name)
        answer = model.predict(file, timeout=timeout)
    else:
        body = read_json(json, file)
        target, _, reference = name.partition("@")
        answer = Model(workspace, target, reference or None).raw(body, timeout=timeout)
    if isinstance(answer, str | bytes):
        typer.echo(answer)
    else:
        print_json(answer)


def default(ctx: typer.Context) -> None:
    """Look at models; roll versions out and back; delete them."""
    if ctx.invoked_subcommand is None:
        list_models()


def list_models(json: AsJson = False) -> None:
    """Every model of the workspace."""
    models = client().models()
    if json:
        print_json(models)
        return
    print_table(
        ("name", "status", "production", "latest", "framework", "updated"),
        (
            (
                one["name"],
                one["status"],
                one["production_version"],
                one["latest_version"],
                one["framework"],
                ago(one["updated_at"]),
            )
            for one in models
        ),
        nothing="There are no models yet. Deploy one: tenfold deploy PATH",
    )


def show(name: ModelName, json: AsJson = False) -> None:
    """One model: its versions, schema, endpoint and app."""
    workspace = client()
    model = workspace.model(name)
    versions = model.versions()
    if json:
        print_json({**workspace.get("models", model.name), "versions": versions})
        return
    about = workspace.get("models", model.name)
    pairs: list[tuple[str, Any]] = [("Model", model.name), ("Status", model.status)]
    told = [name for name in ("description", "tags", "framework") if about.get(name)]
    pairs += [(name.title(), _first_line(about[name])) for name in told]
    pairs.append(("Endpoint", model.url))
    if model.schema:
        pairs += [("Takes", describe_inputs(model.schema)), ("Gives", describe_output(model.schema))]
    if model.app_url:
        pairs.append(("App", model.app_url))
    canaries = about.get("canaries") or {}
    if about["scaling"]["max"] > 1 or about["scaling"]["min"] == 0:
        pairs.append(("Replicas", _scaling_line("It", about["scaling"])))
    shown = about["production_version"] or about["latest_version"]
    compiled = next((one.get("compiled") for one in versions if one["number"] == shown), None)
    if compiled:
        pairs.append(("Compiled", compiled["says"]))
    packed = _packed_line(next((one["deployment"] for one in versions if one["number"] == shown), {}))
    if packed:
        pairs.append(("Packed", packed))
    pairs += [("Canary", _canary_line(model.name, alias, one)) for alias, one in canaries.items()]
    shadows = about.get("shadows") or {}
    pairs += [("Shadow", _shadow_line(model.name, alias, one)) for alias, one in shadows.items()]
    print_pairs([*pairs, ("Try it", model.curl())])
    console.print()
    print_table(
        ("version", "state", "aliases", "python", "size", "memory", "cold start", "made", "reason"),
        (
            (
                one["number"],
                one["deployment"]["status"] if one["state"] == "ready" else one["state"],
                one["aliases"],
                one["environment"]["python_version"],
                f"{one['size_bytes'] / 1000:.0f} KB",
                *_measured(one["deployment"]),
                f"{ago(one['created_at'])} by {one['created_by']}",
                one["reason"],
            )
            for one in versions
        ),
        nothing="It has no versions.",
    )


def promote(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[int, typer.Argument(help="The version's number.")],
    alias: Annotated[str, typer.Option(help="The alias to point at it.")] = "production",
) -> None:
    """Make an alias mean a version.

    Example: tenfold models promote churn 4
    """
    promoted = Model(client(), name, version).promote(alias=alias)
    console.print(f"{name}@{alias} is version {promoted.version}: {promoted.url}", markup=False)


def canary(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[int | None, typer.Argument(help="The version's number.")] = None,
    percent: Annotated[float, typer.Option(help="The share of the alias's calls that it answers.")] = 10.0,
    alias: Annotated[str, typer.Option(help="The alias whose calls are shared.")] = "production",
    off: Annotated[bool, typer.Option("--off", help="End it: the alias's own version answers all again.")] = False,
) -> None:
    """Let another version answer some of the calls.

    Example: tenfold models canary churn 4 --percent 5
    """
    if off == (version is not None):
        raise InvalidInput("Name the version that is to answer, or say --off.", hint="tenfold models canary churn 4")
    Model(client(), name).canary(version, percent, alias)
    told = {"version": version, "percent": percent}
    text = f"{name}@{alias} has no canary any more." if version is None else _canary_line(name, alias, told)
    console.print(text, markup=False)


def shadow(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[
        int | None, typer.Argument(help="The version's number. Without it: what was found so far.")
    ] = None,
    percent: Annotated[float, typer.Option(help="The share of the alias's calls, from 1 to 100.")] = 10.0,
    alias: Annotated[str, typer.Option(help="The alias whose calls it gets as well.")] = "production",
    tolerance: Annotated[
        float | None, typer.Option(help="Of numbers that count as equal, as a share. [default: 1e-6]")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="End it, and delete what was found.")] = False,
    json: AsJson = False,
) -> None:
    """Send some of the calls to another version as well, and compare its answers. Callers get none of them.

    Example: tenfold models shadow churn 4 --percent 10
    """
    model = Model(client(), name)
    if off and version is not None:
        raise InvalidInput("Name a version, or say --off.", hint="tenfold models shadow churn 4")
    if version is None and not off:
        _print_shadow_report(name, model.shadow_report(alias), as_json=json)
        return
    model.shadow(version, percent, alias, tolerance=tolerance)
    told = {"version": version, "percent": percent}
    console.print(f"{name}@{alias} has no shadow any more." if off else _shadow_line(name, alias, told), markup=False)


def rollback(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    alias: Annotated[str, typer.Option(help="The alias to take back.")] = "production",
) -> None:
    """Make an alias mean the ready version before the one it means now."""
    rolled = Model(client(), name).rollback(alias)
    console.print(f"{name}@{alias} is version {rolled.version} again.", markup=False)


def compare(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    before: Annotated[int, typer.Argument(help="One version.")],
    after: Annotated[int, typer.Argument(help="Another.")],
    json: AsJson = False,
) -> None:
    """What differs between two versions: configuration, environment, schema, files.

    Example: tenfold models compare churn 3 4
    """
    told = Model(client(), name).compare(before, after)
    if json:
        print_json(told)
        return
    parts = {part: told[part] for part in ("config", "environment", "schema", "files") if told[part]}
    if not parts:
        console.print(f"Versions {before} and {after} of {name} are the same.", markup=False)
    for part, changes in parts.items():
        console.print(f"\n[bold]{part}[/]")
        print_table(
            ("", str(before), str(after)),
            (_change_row(change, is_file=part == "files") for change in changes),
            nothing="",
        )


def metrics(
    name: ModelName,
    minutes: Annotated[int, typer.Option(help="How far back.")] = 60,
    json: AsJson = False,
) -> None:
    """How often a model was called, how fast it answered, and what its replicas need.

    Example: tenfold models metrics churn --minutes 1440
    """
    target, _, reference = name.partition("@")
    told = Model(client(), target, reference or None).metrics(minutes)
    if json:
        print_json(told)
        return
    rows = [("all", told["totals"], {}), *((one["version"], one["totals"], one) for one in told["versions"])]
    print_table(
        ("version", "requests", "4xx", "5xx", "p50", "p95", "p99", "replicas", "memory", "cold start"),
        (
            (
                version,
                totals["requests"],
                totals["refused"],
                totals["failed"],
                *(_seconds(totals[which]) for which in ("p50_seconds", "p95_seconds", "p99_seconds")),
                line.get("replicas"),
                _megabytes(line.get("memory_bytes")),
                _seconds(line.get("cold_start_seconds")),
            )
            for version, totals, line in rows
        ),
        nothing="",
    )
    console.print(f"[dim]The last {minutes} minutes.[/]")


def scale(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    least: Annotated[int | None, typer.Option("--min", help="Replicas at least; 0 lets it sleep.")] = None,
    most: Annotated[int | None, typer.Option("--max", help="Replicas at most, while calls wait.")] = None,
    idle: Annotated[int | None, typer.Option(help="Seconds without a call before it sleeps.")] = None,
) -> None:
    """How many replicas each running version of a model has, and whether it sleeps when nobody calls it.

    Example: tenfold models scale churn --min 0 --max 3 --idle 600
    """
    workspace = client()
    Model(workspace, name).scale(least, most, idle)
    console.print(_scaling_line(name, workspace.get("models", name)["scaling"]), markup=False)


def restart(name: ModelName) -> None:
    """Replace a version's replicas by new ones, without a call that fails."""
    model = client().model(name).restart()
    console.print(f"Version {model.version} of {model.name} gets new replicas.", markup=False)


def serve_original(name: ModelName) -> None:
    """Serve a version as it was deployed: its compiled form is taken back, without a call that fails."""
    model = client().model(name).serve_original()
    console.print(f"Version {model.version} of {model.name} is served as it was deployed.", markup=False)


def download(
    name: ModelName,
    path: Annotated[Path | None, typer.Argument(help="A new folder, or a .tar.gz. [default: NAME-VERSION]")] = None,
) -> None:
    """Write a version's package as it was deployed, to look at, change and deploy again.

    Example: tenfold models download churn@4 ./churn
    """
    model = client().model(name)
    written = model.download(path or Path(f"{model.name}-{model.version}"))
    console.print(f"{model.name}@{model.version} is in {written}.", markup=False)


def lint(
    path: Annotated[Path, typer.Argument(help="A Truss folder.")],
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what is not simply honoured.")] = False,
) -> None:
    """Say of every key of a folder's config.yaml what becomes of it here. Sends its texts, and deploys nothing.

    Example: tenfold models lint ./churn
    """
    told = client().ask("packages", "lint", body={"files": _texts(path)})
    if json:
        print_json(told)
    else:
        _print_notes([note for note in told["notes"] if not (quiet and note["status"] == "honoured")])
        console.print("It can be deployed." if told["deployable"] else "[bold red]It cannot be deployed.[/]")
    if not told["deployable"]:
        raise typer.Exit(1)


def delete(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model with all its versions, and the app that was made for it."""
    workspace: Client = client()
    if not yes:
        typer.confirm(f"Delete the model {name} with all its versions?", abort=True)
    Model(workspace, name).delete()
    console.print(f"{name} is deleted.", markup=False)


def _is_binary(file: Path) -> bool:
    kind = mimetypes.guess_type(file.name)[0] or ""
    return kind.startswith(("image/", "audio/", "video/")) or kind in ("application/pdf", "application/zip")


def _first_line(told: str | list[str]) -> str | list[str]:
    return told.strip().splitlines()[0] if isinstance(told, str) and told.strip() else told


def _measured(deployment: Mapping[str, Any]) -> tuple[str, str]:
    """Memory and cold start of the newest replica that was measured."""
    replicas = [one for one in deployment.get("replicas") or () if one.get("ready_at")]
    newest: Mapping[str, Any] = max(replicas, key=lambda one: str(one["ready_at"]), default={})
    return _megabytes(newest.get("memory_bytes")), _seconds(newest.get("cold_start_seconds"))


def _packed_line(deployment: Mapping[str, Any]) -> str:
    """Whether its newest live replica shares a worker; empty where its package does not ask for it."""
    live = [one for one in deployment.get("replicas") or () if one.get("ended_at") is None]
    newest: Mapping[str, Any] = max(live, key=lambda one: str(one.get("started_at") or ""), default={})
    others = newest.get("shares_worker_with")
    if others is not None:
        with_whom = f"with {others} other model{'s' if others != 1 else ''}" if others else "with no other model yet"
        return f"It shares its worker {with_whom}."
    reason = newest.get("alone_because")
    return f"It has a worker of its own: {reason}" if reason else ""


def _canary_line(name: str, alias: str, told: Mapping[str, Any]) -> str:
    return f"{told['percent']:g} % of the calls of {name}@{alias} go to version {told['version']}."


def _shadow_line(name: str, alias: str, told: Mapping[str, Any]) -> str:
    return f"{told['percent']:g} % of the calls of {name}@{alias} go to version {told['version']} as well."


def _print_shadow_report(name: str, report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    console.print(_shadow_line(name, report["alias"], report), markup=False)
    counts = ("compared", "equal", "different", "primary_failed", "shadow_failed", "dropped")
    print_table(
        ("answered by", *(count.replace("_", " ") for count in counts), "p95", "shadow's p95"),
        (
            (
                line["version"],
                *(line[count] for count in counts),
                _seconds(line["primary"]["p95_seconds"]),
                _seconds(line["shadow"]["p95_seconds"]),
            )
            for line in report["versions"]
        ),
        nothing="Nobody has called it since. Figures come a few seconds after the calls.",
    )
    if report["differences"]:
        console.print()
        print_table(
            ("when", "request", "where", "asked", f"version {report['version']} said", "callers got"),
            (
                (
                    ago(one["at"]),
                    one["request_id"],
                    one["path"] if one["outcome"] == "different" else "failed",
                    _brief(one["request"]),
                    _brief(one["shadow_answer"]),
                    _brief(one["primary_answer"]),
                )
                for one in report["differences"]
            ),
            nothing="",
        )


def _scaling_line(name: str, told: Mapping[str, Any]) -> str:
    if told["min"] == 0:
        return f"{name} has up to {told['max']} replicas, and sleeps after {told['idle_seconds']} s without a call."
    if told["min"] == told["max"]:
        return f"{name} has {told['min']} replica{'s' if told['min'] != 1 else ''}."
    return f"{name} has {told['min']} to {told['max']} replicas, as its calls need them."


def _change_row(change: Mapping[str, Any], *, is_file: bool) -> tuple[Any, ...]:
    shown: list[str] = []
    for when, absent in (("before", "added"), ("after", "removed")):
        if change["kind"] == absent:
            shown.append("")
        else:
            shown.append(f"{change[f'{when}_size']} bytes" if is_file else _brief(change[when]))
    return (change["path"], *shown)


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else to_json(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN_VALUE else text[:MAX_SHOWN_VALUE] + "…"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.0f} MB"


def _texts(folder: Path) -> dict[str, str]:
    """What a deploy would send: the texts that say something about the package, of everything else the name."""
    from tenfold.packaging.package import Package  # weight

    if not folder.is_dir():
        raise InvalidInput(f"There is no folder {folder}.")
    texts: dict[str, str] = {}
    left = MAX_LINTED_BYTES
    for place, file in Package(root=folder, framework="").files().items():
        size = file.stat().st_size
        is_sent = file.suffix in LINTED and size <= min(left, MAX_LINTED_FILE_BYTES)
        texts[place] = file.read_text(encoding="utf-8", errors="replace") if is_sent else ""
        left -= size if is_sent else 0
    return texts


def _print_notes(notes: Sequence[Mapping[str, Any]]) -> None:
    for note in notes:
        mark, style = MARKS.get(note["status"], ("?", "yellow"))
        line = f" (line {note['line']})" if note["line"] else ""
        hint = f" {note['hint']}" if note["hint"] else ""
        console.print(
            f"[{style}]{mark} {note['status']:<10}[/] [bold]{escape(note['path'] or 'config.yaml')}[/]{line}: "
            f"{escape(note['message'])}{escape(hint)}"
        )
