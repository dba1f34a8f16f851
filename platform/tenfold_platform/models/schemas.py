"""What the management API takes and gives for models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

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


MAX_REPLICAS = 64
MAX_IDLE_SECONDS = 86_400


class Replicas(Strict):
    """How many replicas each running version has; one that is not said stays as it is."""

    min: int | None = Field(default=None, ge=0, le=MAX_REPLICAS, description="0: it sleeps when nobody calls it")
    max: int | None = Field(default=None, ge=1, le=MAX_REPLICAS)

    @model_validator(mode="after")
    def _in_order(self) -> Replicas:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min}, which is more than max, {self.max}")
        return self


class UpdateModel(Strict):
    description: str | None = Field(None, max_length=20_000)
    tags: list[Annotated[str, StringConstraints(max_length=60)]] | None = Field(None, max_length=50)
    replicas: Replicas | None = None
    idle_seconds: int | None = Field(
        None, ge=1, le=MAX_IDLE_SECONDS, description="without a call, before a version that may have no replica sleeps"
    )


class PointAlias(Strict):
    version: int


class SetCanary(Strict):
    version: int
    percent: float = Field(gt=0, le=100)


class SetShadow(Strict):
    version: int
    percent: float = Field(default=10.0, ge=1, le=100)
    tolerance: float = Field(
        default=1e-6, ge=0, le=1, description="of two numbers that count as equal, as a share of the larger one"
    )


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


class ReplicaIsolation(BaseModel):
    """How well a replica is kept from the machine that it runs on, and what keeps that from a better level."""

    level: str = Field(description="strict | reduced | none")
    network: str = Field(description="what it reaches of the machine's network: none | open")
    missing: list[str]


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
    isolation: ReplicaIsolation | None = Field(description="null before its process was started")
    forked: bool = Field(description="it was forked from a process that had its libraries loaded")
    shares_worker_with: int | None = Field(
        description="how many other live replicas are in its worker, 0 where it is the only one as yet; null for one "
        "with a worker of its own, and for one that has ended"
    )
    alone_because: str | None = Field(
        description="why it has a worker of its own, though its package says `runtime.packed: true`"
    )
    exit: dict[str, Any] | None


class Deployment(BaseModel):
    status: str = Field(description="stopped | asleep | starting | running | unhealthy")
    desired_replicas: int
    asleep_since: datetime | None = Field(description="when it went to sleep; the next call wakes it")
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


class Shadow(BaseModel):
    """A version that this share of an alias's calls is sent to as well. Its answers are compared, and go to nobody."""

    version: int
    percent: float
    tolerance: float
    since: datetime


class Compiled(BaseModel):
    """The other form of a version, which answers alike and faster."""

    state: str = Field(description="waiting | tools | converting | building | switching | serving | refused")
    reason: str = Field(description="why the version is served as it was deployed")
    says: str = Field(description="in a sentence, whether it is served and how far it is")
    report: dict[str, Any] = Field(
        description="of the proof: rows compared; largest_difference of two numbers, as a share of their size (of a "
        "ten-thousandth of a typical one's for those that are smaller; of probabilities as it is); "
        "largest_relative_difference, as a share of the larger of the two, however small; precision; inputs, the type "
        "of number that it computes with; size_bytes; microseconds of a call with one row and with many"
    )


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
    compiled: Compiled | None = Field(description="null where the package brings no compiler")
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
    shadows: dict[str, Shadow] = Field(description="by alias")
    updated_at: datetime
    app: AppLink | None


class Scaling(BaseModel):
    """How many replicas each running version of a model has, and when it sleeps."""

    min: int = Field(description="0: it sleeps when nobody calls it, and the next call wakes it")
    max: int
    idle_seconds: int


class Model(ModelSummary):
    created_at: datetime
    scaling: Scaling
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


class Durations(BaseModel):
    mean_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None


class ShadowLine(BaseModel):
    """The sampled calls that one version answered. Those that were compared are equal or different."""

    version: int = Field(description="which answered the callers")
    compared: int
    equal: int
    different: int
    primary_failed: int = Field(description="answered 5xx: not sent to the shadow")
    shadow_failed: int = Field(description="which the shadow answered 5xx, late, or not at all")
    dropped: int = Field(description="not sent to the shadow: it was busy or not up, too large, a stream")
    primary: Durations = Field(description="of the compared calls, from when a replica was asked for to its answer")
    shadow: Durations


class ShadowReport(Shadow):
    """What a shadow has come to so far. Gateways add to it every few seconds."""

    alias: str
    versions: list[ShadowLine]


class ShadowDifference(BaseModel):
    """One call that the shadow answered otherwise. Of long requests and answers only the beginning is kept."""

    id: UUID
    at: datetime
    outcome: Literal["different", "shadow_failed"]
    request_id: str
    version: int = Field(description="which answered the caller")
    path: str = Field(description="of the first difference, as in `predictions[3].label`; `$` for all of the answer")
    request: str
    primary_status: int
    primary_answer: str
    shadow_status: int
    shadow_answer: str


class ShadowDifferences(BaseModel):
    items: list[ShadowDifference] = Field(description="the newest first")


class LoadLine(BaseModel):
    """What one version has to do now. Memory is that of its largest replica."""

    model: str
    version: int
    status: str = Field(description="stopped | asleep | starting | running | unhealthy")
    requests_per_second: float
    p95_seconds: float | None
    failed: int = Field(description="answered 5xx within the window")
    refused: int = Field(description="answered 4xx within the window: the caller's fault")
    waiting: int = Field(description="calls in the queue, of all gateways")
    in_flight: int = Field(description="calls that replicas work on")
    desired_replicas: int
    ready_replicas: int
    memory_bytes: int | None
    peak_memory_bytes: int | None
    memory_limit_bytes: int
    cold_start_seconds: float | None = Field(description="of the newest replica that became ready")
    shadow_of: list[str] = Field(
        description="aliases that it is the shadow of: calls for it are waiting or worked on, and not in its requests"
    )


class Load(BaseModel):
    """Of each version that runs, sleeps, or was called of late. What waits and is worked on is seconds old."""

    window_seconds: float = Field(description="how far back requests, durations and errors reach")
    queue_length: int = Field(description="how many calls may wait for one version, in each gateway")
    lines: list[LoadLine]


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
