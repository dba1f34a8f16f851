from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, StringConstraints

from tenfold_platform.auth.permissions import Role
from tenfold_platform.auth.schemas import Body, Email

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class Workspace(BaseModel):
    id: UUID
    name: str
    title: str
    role: Role | None  # of whoever asks; none for a key
    created_at: datetime


class CreateWorkspaceBody(Body):
    name: Name
    title: Title = ""


class Member(BaseModel):
    user_id: UUID
    email: str
    name: str
    role: Role
    created_at: datetime
    pending: bool  # has never signed in


class AddMemberBody(Body):
    email: Email
    role: Role


class AddedMember(BaseModel):
    member: Member
    sign_in_url: str | None  # none for somebody who has an account here already


class ChangeMemberBody(Body):
    role: Role


class ConsoleToken(BaseModel):
    token: str
    expires_at: datetime
    gateway_url: str
