"""What the management API takes and gives for models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

FieldType = Literal["float", "int", "str", "bool", "json", "file", "image", "tensor"]


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
    dtype: str | None = Field(None, max_length=40, description="of a tensor: numpy's name, or str")
    shape: list[int | None] | None = Field(
        None, max_length=64, description="of a tensor, null for a dimension of any length; the first is the batch"
    )


class SchemaOutput(Strict):
    kind: Literal["classification", "regression", "scores", "text", "image", "table", "json"] = "json"
    name: str | None = None
    classes: list[Any] | None = None
    probabilities: bool = False


class ModelSchema(Strict):
    """What a model takes and gives, as learned from the fit, the example and the annotations."""

    version: Literal[1] = 1
    form: Literal["table", "record", "value", "tensor"] = "value"
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
    environment: Name | None = Field(
        default=None,
        description="a named environment, in the place of the package's own Python version and requirements",
    )


class UpdateModel(Strict):
    description: str | None = Field(None, max_length=20_000)
    tags: list[Annotated[str, StringConstraints(max_length=60)]] | None = Field(None, max_length=50)


class PointAlias(Strict):
    version: int


class SetCanary(Strict):
    version: int
    percent: float = Field(gt=0, le=100)


class LintPackage(Strict):
    files: dict[Annotated[str, StringConstraints(min_length=1, max_length=1024)], str] = Field(
        min_length=1, max_length=20_000, description="texts by path; a file that is not text as an empty text"
    )


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
    cold_start_seconds: float | None = Field(description="from when its process was asked for until it could answer")
    memory_bytes: int | None = Field(description="as last measured")
    peak_memory_bytes: int | None
    exit: dict[str, Any] | None


class Deployment(BaseModel):
    status: str
    desired_replicas: int
    failures: int
    unhealthy_reason: str
    retry_at: datetime | None
    replicas: list[Replica]


class FetchedFile(BaseModel):
    """A file of external data, fetched when the version was made."""

    path: str
    url: str
    digest: str
    size: int


class Canary(BaseModel):
    """Another version that answers this share of an alias's calls."""

    version: int
    percent: float


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
    environment_name: str | None = Field(description="the named environment that it was made with")
    fetched: list[FetchedFile]
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
    canaries: dict[str, Canary] = Field(description="by alias")
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


class TrafficTotals(BaseModel):
    """What calls came to. Percentiles are read from a histogram: each is right to within the width of a bucket."""

    requests: int
    refused: int = Field(description="answered 4xx: the caller's fault")
    failed: int = Field(description="answered 5xx")
    mean_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None


class TrafficPoint(TrafficTotals):
    at: datetime = Field(description="when the step begins")


class TrafficLine(BaseModel):
    """One version's calls, and what its replicas were measured to need."""

    version: int
    totals: TrafficTotals
    points: list[TrafficPoint]
    replicas: int
    memory_bytes: int | None = Field(description="of the largest live replica")
    peak_memory_bytes: int | None
    cold_start_seconds: float | None = Field(description="of the newest replica that became ready")


class ModelMetrics(BaseModel):
    since: datetime
    until: datetime
    step_minutes: int
    totals: TrafficTotals
    points: list[TrafficPoint]
    versions: list[TrafficLine]


class Change(BaseModel):
    """Something that is not the same in two versions. What was not there is null, and `kind` says so."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class PackageFileChange(BaseModel):
    path: str
    kind: Literal["added", "removed", "changed"]
    before_digest: str | None
    after_digest: str | None
    before_size: int | None
    after_size: int | None


class Comparison(BaseModel):
    """What differs between two versions of a model."""

    from_version: int = Field(serialization_alias="from")
    to_version: int = Field(serialization_alias="to")
    config: list[Change] = Field(description="by path in the configuration")
    environment: list[Change] = Field(description="`python`, then packages by name")
    model_schema: list[Change] = Field(serialization_alias="schema", description="by field")
    files: list[PackageFileChange]


class LintNote(BaseModel):
    """What becomes of one key of a package's config.yaml."""

    path: str
    status: str = Field(
        description="honoured | container | reachable | ignored | refused | unknown | wrong",
    )
    message: str
    hint: str
    line: int | None


class LintReport(BaseModel):
    deployable: bool
    notes: list[LintNote]
