"""The zoo: models that come with Tenfold.

tenfold.zoo.list()
embeddings = tenfold.zoo.deploy("text-embeddings")
"""

from __future__ import annotations

import builtins
from typing import Any

from tenfold.client import Client, connect
from tenfold.deploying import tell_warnings, watch
from tenfold.models import Model
from tenfold.progress import Progress, make_progress


def list(*, client: Client | None = None) -> builtins.list[dict[str, Any]]:
    """Every entry in brief: name, title, summary, task, framework, license, needs_network, deployed_as."""
    return builtins.list((client or connect()).items("zoo"))


def show(entry: str, *, client: Client | None = None) -> dict[str, Any]:
    """One entry with its description, schema, example, requirements, files and source. Raises NotFound."""
    found: dict[str, Any] = (client or connect()).get("zoo", entry)
    return found


def deploy(
    entry: str,
    name: str | None = None,
    *,
    alias: str | None = None,
    wait: bool = True,
    client: Client | None = None,
    progress: Progress | None = None,
) -> Model:
    """Deploys an entry as the model `name` (the entry's own, when not given), and watches until it is ready.

    From then on it is a model like any other: download its package, change it, deploy it again. Returns the model's
    handle, at the new version. Raises NotFound, Conflict (the name is another model's), DeployFailed.
    """
    workspace = client or connect()
    shown = progress or make_progress()
    body = {key: value for key, value in {"name": name, "alias": alias}.items() if value is not None}
    with shown:
        version = workspace.create("zoo", entry, "deploy", body=body)
        model = name or entry
        shown.begin(f"Deploying {entry} as {model}", [stage["name"] for stage in version["stages"]])
        tell_warnings(version, shown)
        handle = Model(workspace, model, version["number"], version)
        if wait:
            watch(handle, version, shown)
        else:
            shown.note(f"Version {version['number']} is being prepared; look with `tenfold models show {model}`.")
    return handle
