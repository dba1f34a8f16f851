from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from tenfold_platform.auth.permissions import Role, Scope

Email = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")
]
Password = Annotated[SecretStr, Field(min_length=10, max_length=1024)]


class Body(BaseModel):
    """A request's body: a field that we do not know is a mistake to be told about."""

    model_config = ConfigDict(extra="forbid")


class RedeemBody(Body):
    token: Annotated[str, StringConstraints(max_length=200)]


class SignInBody(Body):
    email: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=254)]
    password: Annotated[SecretStr, Field(max_length=1024)]


class ProfileBody(Body):
    name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] | None = None
    email: Email | None = None
    password: Password | None = None
    current_password: Annotated[SecretStr, Field(max_length=1024)] | None = None


class User(BaseModel):
    id: UUID
    email: str
    name: str
    has_password: bool
    is_operator: bool


class SignedInUser(BaseModel):
    user: User


class SessionWorkspace(BaseModel):
    name: str
    title: str
    role: Role


class SessionInfo(BaseModel):
    user: User
    workspaces: list[SessionWorkspace]
    gateway_url: str
    console_url: str
    version: str


class KeyName(BaseModel):
    key_id: str
    name: str
    scopes: list[str]


class KeyInfo(BaseModel):
    key: KeyName
    workspace: str
    gateway_url: str
    console_url: str
    version: str


class Key(BaseModel):
    id: UUID
    key_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class CreatedKey(Key):
    key: str  # shown this once


class CreateKeyBody(Body):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=10)]
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = None
