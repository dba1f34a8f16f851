from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from tenfold_platform.auth.schemas import Body

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class MissingBody(Body):
    digests: Annotated[list[Digest], Field(max_length=10_000)]
    package_bytes: int | None = Field(None, ge=0, description="what all files of the package come to")


class Missing(BaseModel):
    missing: list[str]


class Blob(BaseModel):
    digest: str
    size_bytes: int
