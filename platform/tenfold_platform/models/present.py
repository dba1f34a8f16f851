"""Rows as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenfold_deploy.scheduler import Isolation
from tenfold_platform.apps import links
from tenfold_platform.apps.tables import AppTable, ReleaseTable
from tenfold_platform.deployments import service as deployments
from tenfold_platform.deployments.tables import DeploymentTable, ReplicaTable
from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.models import compiling, packing, service
from tenfold_platform.models.schemas import (
    AppLink,
    Canary,
    Compiled,
    Deployment,
    EnvironmentSummary,
    FetchedFile,
    Model,
    ModelSummary,
    Replica,
    ReplicaIsolation,
    Scaling,
    Shadow,
    Version,
)
from tenfold_platform.models.tables import CompilationTable, ModelTable, VersionState, VersionTable
from tenfold_platform.settings import Settings


class Presenter:
    """Makes API objects of one workspace's rows."""

    def __init__(self, session: Session, settings: Settings, workspace_id: UUID, workspace_name: str) -> None:
        self._session = session
        self._settings = settings
        self._workspace_id = workspace_id
        self._workspace = workspace_name

    def summaries(self, models: Sequence[ModelTable]) -> list[ModelSummary]:
        return [ModelSummary(**self._summary(model)) for model in models]

    def model(self, model: ModelTable) -> Model:
        shown = self._shown_version(model)
        return Model(
            **self._summary(model),
            created_at=model.created_at,
            scaling=Scaling(min=model.min_replicas, max=model.max_replicas, idle_seconds=model.idle_seconds),
            endpoint=self.endpoint(model.name),
            model_schema=shown.schema if shown else {},
            example=shown.example if shown else None,
        )

    def versions(self, model: ModelTable, versions: Sequence[VersionTable]) -> list[Version]:
        numbers = {name: alias.number for name, alias in service.aliases_of(self._session, model.id).items()}
        app = self._app_link(model)
        return [self._version(model, version, numbers, app) for version in versions]

    def version(self, model: ModelTable, version: VersionTable) -> Version:
        return self.versions(model, [version])[0]

    def endpoint(self, model_name: str, reference: str | None = None) -> str:
        target = f"{model_name}@{reference}" if reference else model_name
        return f"{self._settings.gateway_url}/v1/{self._workspace}/models/{target}/predict"

    def _version(
        self, model: ModelTable, version: VersionTable, aliases: dict[str, int], app: AppLink | None
    ) -> Version:
        session = self._session
        deployment = deployments.of_version(session, version.id)
        replicas = deployments.list_replicas(session, deployment.id)
        sharing = packing.count_sharing(session, replicas)
        return Version(
            id=version.id,
            number=version.number,
            state=version.state,
            reason=version.reason,
            hint=version.hint,
            stages=version.stages,
            framework=version.framework,
            model_schema=version.schema,
            example=version.example,
            warnings=version.warnings,
            package_digest=version.package_digest,
            size_bytes=version.size_bytes,
            files=version.files,
            config=version.config,
            environment=environment(session.get_one(EnvironmentTable, version.environment_id)),
            environment_name=version.environment_name,
            fetched=[FetchedFile(**entry) for entry in version.fetched],
            aliases=[name for name, number in aliases.items() if number == version.number],
            compiled=self._compiled(compiling.find(session, version.id), deployment),
            deployment=describe_deployment(deployment, version, replicas, sharing),
            created_at=version.created_at,
            created_by=version.created_by,
            ready_at=version.ready_at,
            endpoint=self.endpoint(model.name, str(version.number)),
            app=app,
        )

    def _compiled(self, row: CompilationTable | None, deployment: DeploymentTable) -> Compiled | None:
        if row is None:
            return None
        is_stopped = deployment.desired_replicas < 1
        says = compiling.says(row, is_on=self._settings.compile_models, is_stopped=is_stopped)
        return Compiled(state=row.state, reason=row.reason, says=says, report=row.report)

    def _summary(self, model: ModelTable) -> dict[str, Any]:
        aliases = service.aliases_of(self._session, model.id)
        production = aliases.get(service.PRODUCTION)
        shown = self._shown_version(model)
        return {
            "name": model.name,
            "description": model.description,
            "tags": model.tags,
            "framework": shown.framework if shown else "",
            "status": self._status(shown),
            "latest_version": model.last_number or None,
            "production_version": production.number if production else None,
            "aliases": {name: alias.number for name, alias in aliases.items()},
            "canaries": {
                name: Canary(version=alias.canary, percent=alias.canary_percent)
                for name, alias in aliases.items()
                if alias.canary is not None and alias.canary_percent > 0
            },
            "shadows": {
                name: Shadow(
                    version=number, percent=shadow.percent, tolerance=shadow.tolerance, since=shadow.created_at
                )
                for name, (shadow, number) in service.shadows_of(self._session, model.id).items()
            },
            "updated_at": model.updated_at,
            "app": self._app_link(model),
        }

    def _shown_version(self, model: ModelTable) -> VersionTable | None:
        """What callers get, or the newest while nothing is in production."""
        return (
            service.find_by_reference(self._session, self._workspace_id, model.name)
            or self._session.scalars(
                select(VersionTable)
                .where(VersionTable.model_id == model.id)
                .order_by(VersionTable.number.desc())
                .limit(1)
            ).one_or_none()
        )

    def _status(self, version: VersionTable | None) -> str:
        if version is None:
            return "stopped"
        if version.state == VersionState.FAILED:
            return "failed"
        if version.state in (VersionState.PENDING, VersionState.BUILDING):
            return "building"
        deployment = deployments.of_version(self._session, version.id)
        return deployments.status_word(deployment, deployments.list_replicas(self._session, deployment.id, ended=0))

    def _app_link(self, model: ModelTable) -> AppLink | None:
        app = self._session.scalars(
            select(AppTable).where(AppTable.made_for_model_id == model.id).order_by(AppTable.created_at).limit(1)
        ).one_or_none()
        if app is None:
            return None
        live = self._session.get(ReleaseTable, app.live_release_id) if app.live_release_id else None
        newest = (
            live
            or self._session.scalars(
                select(ReleaseTable).where(ReleaseTable.app_id == app.id).order_by(ReleaseTable.number.desc()).limit(1)
            ).one_or_none()
        )
        return AppLink(
            name=app.name,
            url=links.share_url(self._settings, self._workspace, app, live or newest),
            state=newest.state if newest else "missing",
        )


def environment(row: EnvironmentTable) -> EnvironmentSummary:
    return EnvironmentSummary(
        id=row.id,
        state=row.state,
        python_version=row.lock_python or row.python_version,
        requirements=row.requirements,
        lock_digest=row.lock_digest,
        packages=row.packages,
        build_seconds=row.build_seconds,
        reason=row.reason,
        hint=row.hint,
        created_at=row.created_at,
    )


def describe_deployment(
    deployment: DeploymentTable, version: VersionTable, replicas: Sequence[ReplicaTable], sharing: Mapping[UUID, int]
) -> Deployment:
    return Deployment(
        status=deployments.status_word(deployment, replicas),
        desired_replicas=deployment.desired_replicas,
        asleep_since=deployment.asleep_since,
        failures=deployment.failures,
        unhealthy_reason=deployment.unhealthy_reason,
        retry_at=deployment.retry_at,
        replicas=[
            Replica(
                id=row.id,
                state=row.state,
                reason=row.reason,
                started_at=row.started_at,
                ready_at=row.ready_at,
                ended_at=row.ended_at,
                load_seconds=row.load_seconds,
                cold_start_seconds=cold_start_seconds(row),
                memory_bytes=row.memory_bytes,
                peak_memory_bytes=row.peak_memory_bytes,
                isolation=_describe_isolation(row),
                forked=bool(row.handle and row.handle.get("data", {}).get("forked")),
                shares_worker_with=sharing.get(row.id),
                alone_because=packing.alone_because(version, row),
                exit=row.exit,
            )
            for row in replicas
        ],
    )


def _describe_isolation(row: ReplicaTable) -> ReplicaIsolation | None:
    if not row.handle:
        return None
    return ReplicaIsolation.model_validate(Isolation.from_json(row.handle.get("isolation")).to_json())


def cold_start_seconds(row: ReplicaTable) -> float | None:
    """From when its process was asked for until it could answer."""
    if row.started_at is None or row.ready_at is None:
        return None
    return max(0.0, round((row.ready_at - row.started_at).total_seconds(), 3))
