"""The zoo over HTTP."""

from __future__ import annotations

from typing import Any

from tenfold_platform.auth.permissions import Action
from tenfold_platform.context import Page, WorkspaceCtx
from tenfold_platform.files import service as files
from tenfold_platform.models.present import Presenter
from tenfold_platform.models.schemas import Version
from tenfold_platform.routing import Router
from tenfold_platform.zoo import service
from tenfold_platform.zoo.schemas import DeployZooEntry, ZooEntry, ZooEntryDetail, ZooFile
from tenfold_platform.zoo.service import Entry

router = Router(prefix="/workspaces/{workspace}/zoo", tags=["zoo"])


@router.get("", allow=Action.MODELS_READ)
def list_zoo(ctx: WorkspaceCtx) -> Page[ZooEntry]:
    """Every model that comes with Tenfold; all of them on one page."""
    made = service.deployed_as(ctx.session, ctx.workspace.id)
    return Page(items=[ZooEntry(**_brief(entry, made)) for entry in service.list_entries()])


@router.get("/{entry}", allow=Action.MODELS_READ)
def get_zoo_entry(ctx: WorkspaceCtx, entry: str) -> ZooEntryDetail:
    found = service.get_entry(entry)
    environment = found.config.environment
    return ZooEntryDetail(
        **_brief(found, service.deployed_as(ctx.session, ctx.workspace.id)),
        description=found.text.description,
        example_note=found.text.example_note,
        python_version=environment.python_version,
        requirements=list(environment.requirements),
        model_schema=found.schema,
        example=found.example,
        files=[ZooFile(path=path, size=file.stat().st_size) for path, file in found.files.items()],
        source=found.source,
    )


@router.post("/{entry}/deploy", allow=Action.MODELS_WRITE, status_code=201)
def deploy_zoo_entry(ctx: WorkspaceCtx, entry: str, body: DeployZooEntry) -> Version:
    """A version from the entry's package: from then on a model like any other."""
    model, version = service.deploy(
        ctx.session,
        files.make_store(ctx.settings),
        ctx.workspace.id,
        service.get_entry(entry),
        name=body.name,
        alias=body.alias,
        created_by=ctx.principal.name,
        now=ctx.now,
    )
    return Presenter(ctx.session, ctx.settings, ctx.workspace.id, ctx.workspace.name).version(model, version)


def _brief(entry: Entry, made: dict[str, list[str]]) -> dict[str, Any]:
    text = entry.text
    return {
        "name": entry.name,
        "title": text.title,
        "summary": text.summary,
        "task": text.task,
        "framework": text.framework,
        "tags": text.tags,
        "license": text.license,
        "needs_network": text.needs_network,
        "download_mb": text.download_mb,
        "deployed_as": made.get(entry.name, []),
    }
