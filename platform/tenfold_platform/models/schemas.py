"""What the management API takes and gives for models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

FieldType = Literal["float", "int", "str", "bool", "json", "file", "image"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SchemaField(Strict):
    name: str = Field(min_length=1, max_length=500)
    type: FieldType
    title: str | None = None
    description: str | None = None
    nullable: bool = False
    choices: list[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    default: Any = None


class SchemaOutput(Strict):
    kind: Literal["classification", "regression", "scores", "text", "image", "table", "json"] = "json"
    name: str | None = None
    classes: list[Any] | None = None
    probabilities: bool = False


class ModelSchema(Strict):
    """What a model takes and gives, as learned from the fit, the example and the annotations."""

    version: Literal[1] = 1
    form: Literal["table", "record", "value"] = "value"
    fields: list[SchemaField] = Field(default_factory=list, max_length=2000)
    output: SchemaOutput = Field(default_factory=SchemaOutput)


class PackageFile(Strict):
    path: str = Field(min_length=1, max_length=1024)
    digest: Digest
    size: int = Field(ge=0)
    executable: bool = False


class CreateVersion(Strict):
    files: list[PackageFile] = Field(min_length=1, max_length=100_000)
    python_version: str | None = None
    requirements: list[str] | None = None
    framework: str = Field(default="custom", max_length=60)
    model_schema: ModelSchema | None = Field(default=None, alias="schema")
    example: Any = None
    alias: Name | None = None
    make_app: bool = True


class UpdateModel(Strict):
    description: str | None = Field(None, max_length=20_000)
    tags: list[Annotated[str, StringConstraints(max_length=60)]] | None = Field(None, max_length=50)


class PointAlias(Strict):
    version: int


class AppLink(BaseModel):
    name: str
    url: str
    state: str


class EnvironmentSummary(BaseModel):
    id: UUID
    state: str
    python_version: str | None
    requirements: list[str]
    lock_digest: str | None
    packages: list[dict[str, Any]]
    build_seconds: float | None
    reason: str
    hint: str
    created_at: datetime


class Replica(BaseModel):
    id: UUID
    state: str
    reason: str
    started_at: datetime | None
    ready_at: datetime | None
    ended_at: datetime | None
    load_seconds: float | None
    memory_bytes: int | None
    exit: dict[str, Any] | None


class Deployment(BaseModel):
    status: str
    desired_replicas: int
    failures: int
    unhealthy_reason: str
    retry_at: datetime | None
    replicas: list[Replica]


class Version(BaseModel):
    id: UUID
    number: int
    state: str
    reason: str
    hint: str
    stages: list[dict[str, Any]]
    framework: str
    model_schema: dict[str, Any] = Field(serialization_alias="schema")
    example: Any
    warnings: list[Any]
    package_digest: str
    size_bytes: int
    files: list[dict[str, Any]]
    config: dict[str, Any]
    environment: EnvironmentSummary
    aliases: list[str]
    deployment: Deployment
    created_at: datetime
    created_by: str
    ready_at: datetime | None
    endpoint: str
    app: AppLink | None


class ModelSummary(BaseModel):
    name: str
    description: str
    tags: list[str]
    framework: str
    status: str
    latest_version: int | None
    production_version: int | None
    aliases: dict[str, int]
    updated_at: datetime
    app: AppLink | None


class Model(ModelSummary):
    created_at: datetime
    endpoint: str
    model_schema: dict[str, Any] = Field(serialization_alias="schema")
    example: Any


class LogLine(BaseModel):
    id: int
    at: datetime
    source: str
    text: str


class LogPage(BaseModel):
    items: list[LogLine]
    next_after: int
