"""`tenfold zoo`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tenfold.cli.output import AsJson, client, console, print_json, print_pairs, print_table
from tenfold.models import describe_inputs, describe_output
from tenfold.schema import ModelSchema

PANEL = "Models"
Entry = Annotated[str, typer.Argument(help="The entry's name, as `tenfold zoo list` shows it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Models that come with Tenfold: look at them and deploy them.", rich_markup_mode="rich")
    group.callback(invoke_without_command=True)(default)
    group.command("list")(list_entries)
    group.command("show")(show)
    group.command("deploy")(deploy)
    app.add_typer(group, name="zoo", rich_help_panel=PANEL)


def default(ctx: typer.Context) -> None:
    """Models that come with Tenfold: look at them and deploy them."""
    if ctx.invoked_subcommand is None:
        list_entries()


def list_entries(json: AsJson = False) -> None:
    """Every model of the zoo."""
    entries = list(client().items("zoo"))
    if json:
        print_json(entries)
        return
    print_table(
        ("name", "does", "framework", "network", "deployed as"),
        (
            (
                one["name"],
                one["summary"],
                one["framework"],
                "needed" if one["needs_network"] else "",
                one["deployed_as"],
            )
            for one in entries
        ),
        nothing="The zoo is empty.",
    )
    console.print("[dim]Deploy one: tenfold zoo deploy NAME[/]")


def show(entry: Entry, json: AsJson = False) -> None:
    """One model of the zoo: what it does, takes and gives, and under which licence."""
    told = client().get("zoo", entry)
    if json:
        print_json(told)
        return
    network = "fetches its weights from a public hub when it starts" if told["needs_network"] else "not needed"
    pairs: list[tuple[str, Any]] = [
        ("Name", told["name"]),
        ("Title", told["title"]),
        ("Does", told["summary"]),
        ("Task", told["task"]),
        ("Framework", told["framework"]),
        ("Licence", told["license"]),
        ("Network", network),
        ("Download", f"about {told['download_mb']:g} MB at its first deploy"),
    ]
    if told["schema"]:
        schema = ModelSchema.of(told["schema"])
        pairs += [("Takes", describe_inputs(schema)), ("Gives", describe_output(schema))]
    pairs += [("Requires", told["requirements"]), ("Deployed as", told["deployed_as"])]
    print_pairs([(label, text) for label, text in pairs if text])
    console.print(f"\n{told['description'].strip()}", markup=False)


def deploy(
    entry: Entry,
    name: Annotated[str | None, typer.Option(help="The model's name. [default: the entry's]")] = None,
    alias: Annotated[str | None, typer.Option(help="What to point at this version, such as staging.")] = None,
    wait: Annotated[bool, typer.Option(help="Watch until it is ready.")] = True,
) -> None:
    """Deploy a model of the zoo.

    Example: tenfold zoo deploy text-embeddings
    """
    from tenfold import zoo  # weight

    zoo.deploy(entry, name, alias=alias, wait=wait, client=client())
