"""What the management API takes and gives for secrets. No answer has a field for a value."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$"  # as a package declares them, and as a file can be called
MAX_VALUE_BYTES = 64 * 1024

SecretName = Annotated[str, Field(pattern=NAME_PATTERN)]


class SetSecret(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    value: SecretStr = Field(min_length=1, max_length=MAX_VALUE_BYTES)
    description: str | None = Field(None, max_length=1000)


class SecretUse(BaseModel):
    """A version that declares the secret."""

    model: str
    version: int


class Secret(BaseModel):
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    updated_by: str
    used_by: list[SecretUse] = Field(description="versions that run and declare it; a restart gives them a new value")
