"""What the management API takes and gives for apps."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tenfold_platform.apps.tables import Access
from tenfold_platform.errors import InvalidInput


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AppFile(Strict):
    path: str = Field(min_length=1, max_length=1024)
    content: str
    encoding: Literal["utf-8", "base64"] = "utf-8"

    def to_bytes(self) -> bytes:
        if self.encoding == "utf-8":
            return self.content.encode()
        try:
            return base64.b64decode(self.content, validate=True)
        except ValueError:
            details = [{"path": self.path, "message": "its content is not base64", "hint": ""}]
            raise InvalidInput(f"The content of {self.path} is not base64.", details=details) from None

    @classmethod
    def of(cls, path: str, content: bytes) -> AppFile:
        try:
            return cls(path=path, content=content.decode())
        except UnicodeDecodeError:
            return cls(path=path, content=base64.b64encode(content).decode(), encoding="base64")


class PushDraft(Strict):
    files: list[AppFile] = Field(min_length=1, max_length=2000)
    revision: int | None = None

    def to_files(self) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for file in self.files:
            if file.path in files:
                details = [{"path": file.path, "message": "is listed twice", "hint": ""}]
                raise InvalidInput(f"{file.path} is listed twice.", details=details)
            files[file.path] = file.to_bytes()
        return files


class Pushed(BaseModel):
    revision: int
    changed: list[str]
    problems: list[dict[str, Any]] = Field(default_factory=list)
    warnings: list[dict[str, Any]] = Field(default_factory=list)


class Checked(BaseModel):
    problems: list[dict[str, Any]]
    warnings: list[dict[str, Any]]


class Draft(BaseModel):
    revision: int
    files: list[AppFile]


class CreateRelease(Strict):
    note: str = Field("", max_length=2000)
    go_live: bool = True


class GoLive(Strict):
    release: int


class SetAccess(Strict):
    access: Access


class ViewLink(BaseModel):
    name: str
    title: str
    url: str


class OpenedView(BaseModel):
    url: str


class WorkletSummary(BaseModel):
    name: str
    title: str
    description: str
    endpoint: str | None = Field(description="where it is called over HTTP; null without an HTTP trigger")
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]
    graph: dict[str, Any]


class PinnedModel(BaseModel):
    ref: str
    model: str
    version: int


class Release(BaseModel):
    number: int
    state: str
    reason: str
    hint: str
    stages: list[dict[str, Any]]
    note: str
    live: bool
    created_at: datetime
    created_by: str
    ready_at: datetime | None
    models: list[PinnedModel]
    worklets: list[str]
    views: list[str]


class AppSummary(BaseModel):
    name: str
    title: str
    description: str
    access: str
    live_release: int | None
    draft_revision: int
    updated_at: datetime
    worklets: list[str]
    views: list[ViewLink]
    made_for_model: str | None
    url: str


class App(BaseModel):
    name: str
    title: str
    description: str
    access: str
    live_release: int | None
    draft_revision: int
    draft_changed: bool
    created_at: datetime
    updated_at: datetime
    worklets: list[WorkletSummary]
    views: list[ViewLink]
    models: list[PinnedModel]
    releases: list[Release]
    made_for_model: str | None
    url: str


class FileChange(BaseModel):
    path: str
    change: Literal["added", "changed", "removed"]
    diff: str


class ReleaseDiff(BaseModel):
    release: int
    against: int | None
    files: list[FileChange]
