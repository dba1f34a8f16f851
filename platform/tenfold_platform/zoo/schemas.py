"""What the management API takes and gives for the zoo."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from tenfold_platform.models.schemas import Name, Strict


class ZooText(Strict):
    """An entry's `zoo.yaml`: what a person reads before deploying it."""

    title: str = Field(min_length=1, max_length=80)
    summary: str = Field(min_length=1, max_length=300)
    description: str = Field(max_length=20_000)
    task: str = Field(max_length=60)
    framework: str = Field(max_length=60)
    tags: list[str] = Field(default_factory=list, max_length=20)
    license: str = Field(description="of the weights, and the package they come from")
    needs_network: bool = Field(default=False, description="fetches its weights from a public hub when it starts")
    download_mb: float = Field(default=0, ge=0, description="roughly what its first deploy downloads")
    example_note: str = ""


class ZooEntry(BaseModel):
    name: str
    title: str
    summary: str
    task: str
    framework: str
    tags: list[str]
    license: str
    needs_network: bool
    download_mb: float
    deployed_as: list[str] = Field(description="models of this workspace that were made from it")


class ZooFile(BaseModel):
    path: str
    size: int


class ZooEntryDetail(ZooEntry):
    description: str
    example_note: str
    python_version: str | None
    requirements: list[str]
    model_schema: dict[str, Any] = Field(serialization_alias="schema")
    example: Any
    files: list[ZooFile]
    source: str = Field(description="its model class, to be read")


class DeployZooEntry(Strict):
    name: Name | None = Field(default=None, description="the model's; the entry's own when not given")
    alias: Name | None = None
