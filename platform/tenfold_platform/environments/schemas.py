"""What the management API takes and gives for environments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tenfold_platform.models.schemas import EnvironmentSummary

Requirement = Annotated[str, StringConstraints(max_length=500)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UsedBy(BaseModel):
    """How many versions and releases use it, running or not."""

    models: int
    apps: int


class EnvironmentItem(EnvironmentSummary):
    names: list[str] = Field(description="named environments that are this one now")
    used_by: UsedBy
    size_bytes: int | None = Field(description="on disk; files that the wheel cache shares are counted")
    built_at: datetime | None
    wanted_at: datetime = Field(description="last asked for by a deploy or a release")


class ModelUse(BaseModel):
    model: str
    version: int


class AppUse(BaseModel):
    app: str
    release: int


class Environment(EnvironmentItem):
    lock: str | None = Field(description="exact versions with the hashes of their files")
    constraints: list[str]
    models: list[ModelUse]
    apps: list[AppUse]


class Rebuild(Strict):
    upgrade: bool = Field(default=False, description="resolve a named one's requirements afresh, to newer versions")


class Collect(Strict):
    dry_run: bool = Field(default=False, description="only say what would go")
    unused_days: int = Field(default=0, ge=0, le=36500, description="leave what was asked for within so many days")


class Collected(BaseModel):
    dry_run: bool
    items: list[EnvironmentItem]
    size_bytes: int = Field(description="of all of them; folders that others share stay")


class SetNamedEnvironment(Strict):
    python_version: str | None = Field(None, max_length=20, description="such as 3.11; if left out, the platform's own")
    requirements: list[Requirement] = Field(max_length=1000, description="as in a requirements.txt, comments included")
    description: str | None = Field(None, max_length=1000)


class NamedEnvironment(BaseModel):
    name: str
    description: str
    python_version: str | None
    requirements: list[str]
    environment: EnvironmentItem = Field(description="what whoever uses the name gets now")
    coming: EnvironmentItem | None = Field(description="of the last edit, while it is built, or after that failed")
    updated_at: datetime
    updated_by: str


class PythonVersion(BaseModel):
    version: str = Field(description="as one asks for it, such as 3.11")
    full: str = Field(description="such as 3.11.9")
    source: Literal["machine", "download"] = Field(description="there, or fetched by the first build that needs it")
    is_default: bool = Field(description="what an environment gets that does not say")


class WheelCache(BaseModel):
    path: str
    size_bytes: int


class PruneWheelCache(Strict):
    everything: bool = Field(default=False, description="also what builds would use again")


class PrunedWheelCache(WheelCache):
    freed_bytes: int = Field(description="by which it became smaller; files that environments share stay on disk")
