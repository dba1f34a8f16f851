"""`tenfold deploy`, `tenfold models`, `tenfold predict`."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated, Any

import typer

from tenfold.cli.output import AsJson, ago, client, console, print_json, print_pairs, print_table, read_json
from tenfold.client import Client
from tenfold.models import Model, describe_inputs, describe_output

PANEL = "Models"
ModelName = Annotated[str, typer.Argument(help="The model's name; name@alias or name@3 for one of its versions.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(deploy)
    app.command(rich_help_panel=PANEL)(predict)
    group = typer.Typer(help="Look at models; promote, roll back and delete them.", rich_markup_mode="rich")
    group.callback(invoke_without_command=True)(default)
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("promote")(promote)
    group.command("rollback")(rollback)
    group.command("delete")(delete)
    app.add_typer(group, name="models", rich_help_panel=PANEL)


def deploy(
    path: Annotated[Path, typer.Argument(help="A Truss folder: config.yaml and model/model.py.")],
    name: Annotated[str | None, typer.Option(help="The model's name. [default: model_name, else the folder's]")] = None,
    alias: Annotated[str | None, typer.Option(help="What to point at this version, such as staging.")] = None,
    app: Annotated[bool, typer.Option(help="Make an app for the model, where its schema is known.")] = True,
    wait: Annotated[bool, typer.Option(help="Watch until it is ready.")] = True,
) -> None:
    """Deploy a model's folder as a new version.

    Example: tenfold deploy ./churn --name churn --alias staging
    """
    from tenfold.deploying import deploy as deploy_path  # weight

    deploy_path(path, name, alias=alias, app=app, wait=wait, client=client())


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
    """Look at models; promote, roll back and delete them."""
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
    pairs: list[tuple[str, Any]] = [("Model", model.name), ("Status", model.status), ("Endpoint", model.url)]
    if model.schema:
        pairs += [("Takes", describe_inputs(model.schema)), ("Gives", describe_output(model.schema))]
    if model.app_url:
        pairs.append(("App", model.app_url))
    print_pairs([*pairs, ("Try it", model.curl())])
    console.print()
    print_table(
        ("version", "state", "aliases", "python", "size", "made", "reason"),
        (
            (
                one["number"],
                one["deployment"]["status"] if one["state"] == "ready" else one["state"],
                one["aliases"],
                one["environment"]["python_version"],
                f"{one['size_bytes'] / 1000:.0f} KB",
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


def rollback(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    alias: Annotated[str, typer.Option(help="The alias to take back.")] = "production",
) -> None:
    """Make an alias mean the ready version before the one it means now."""
    rolled = Model(client(), name).rollback(alias)
    console.print(f"{name}@{alias} is version {rolled.version} again.", markup=False)


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
