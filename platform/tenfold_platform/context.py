"""What a route is given: who asks, where, and a session whose transaction ends with the request.

    WorkspaceCtx   a route below /workspaces/{workspace}: `ctx.workspace`, `ctx.principal`, `ctx.session`
    UserCtx        signed in (or a key), no workspace in the path
    PublicCtx      anybody
    StreamCtx      a workspace route that streams (events, uploads): already authorised, and *no* session. It opens
                   short transactions itself: `with transaction(ctx.sessions) as session: ...`, never across a wait for
                   the network. `ctx.still_allowed()` asks again, for streams that stay open.

The route's permission has been checked before any of these exists and before the body is read (see routing.py).
The session is committed after the route returned and before the first byte of the answer is sent: a failed commit is
a 500.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.auth.limits import RateLimiter
from tenfold_platform.auth.principal import Principal
from tenfold_platform.clock import Clock
from tenfold_platform.db import transaction
from tenfold_platform.idempotency import service as idempotency
from tenfold_platform.idempotency.service import RepeatableRequest
from tenfold_platform.paging import PageRequest
from tenfold_platform.settings import Settings
from tenfold_platform.workspaces.tables import WorkspaceTable

MAX_OPEN_TRANSACTIONS = 16  # of 40 threads and 20 connections; the rest are for credentials and streams

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Services:
    """What an application has once: made by app.make_services, found by every request."""

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    clock: Clock
    limiter: RateLimiter
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_OPEN_TRANSACTIONS))

    def close(self) -> None:
        self.limiter.close()
        self.engine.dispose()


@dataclass(frozen=True, kw_only=True)
class Access:
    """The outcome of the check before the route: left on the request by routing.GuardedRoute."""

    principal: Principal | None
    workspace: WorkspaceTable | None
    session_id: UUID | None = None  # the sign-in session, when the principal is a user
    check_again: Callable[[], bool] = field(default=lambda: False, repr=False)


@dataclass(frozen=True, kw_only=True)
class PublicContext:
    settings: Settings
    sessions: sessionmaker[Session]
    session: Session
    request_id: str
    now: datetime
    request: Request
    limiter: RateLimiter


@dataclass(frozen=True, kw_only=True)
class UserContext(PublicContext):
    principal: Principal
    session_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class Context(UserContext):
    workspace: WorkspaceTable


@dataclass(frozen=True, kw_only=True)
class StreamContext:
    settings: Settings
    sessions: sessionmaker[Session]
    request_id: str
    request: Request
    clock: Clock
    principal: Principal
    workspace: WorkspaceTable  # detached: read its columns only
    still_allowed: Callable[[], bool]  # blocking: one short transaction


def services_of(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


def access_of(request: Request) -> Access:
    access = request.state.access
    assert isinstance(access, Access)
    return access


def request_id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


async def _take_slot(request: Request) -> AsyncIterator[None]:
    """Held from before the transaction until after its commit.

    A route's steps (open, run, serialise) each take a thread of a limited number. Were all threads to wait for a lock
    that one request holds, that request could not get the thread it needs to finish. So fewer transactions than threads
    are open at once; the others wait here, where waiting costs no thread.
    """
    async with services_of(request).slots:
        yield


Slot = Annotated[None, Depends(_take_slot, scope="function")]


def _open_public(request: Request, _slot: Slot) -> Iterator[PublicContext]:
    with transaction(services_of(request).sessions) as session:
        yield PublicContext(**_common(request), session=session)


def _open_user(request: Request, _slot: Slot) -> Iterator[UserContext]:
    access = access_of(request)
    assert access.principal is not None
    with _transaction(request) as session:
        yield UserContext(**_common(request), session=session, principal=access.principal, session_id=access.session_id)


def _open_workspace(request: Request, _slot: Slot) -> Iterator[Context]:
    access = access_of(request)
    assert access.principal is not None
    assert access.workspace is not None
    with _transaction(request) as session:
        yield Context(
            **_common(request),
            session=session,
            principal=access.principal,
            session_id=access.session_id,
            workspace=session.merge(access.workspace, load=False),
        )


@contextmanager
def _transaction(request: Request) -> Iterator[Session]:
    """The request's own. A create that was done before ends here, with the answer it had (see idempotency)."""
    repeatable: RepeatableRequest | None = getattr(request.state, "repeatable", None)
    with transaction(services_of(request).sessions) as session:
        if repeatable is not None:
            idempotency.begin(session, repeatable)
        request.state.session = session  # for GuardedRoute: the transaction is still open when it has the answer
        yield session


def _stream(request: Request) -> StreamContext:
    services, access = services_of(request), access_of(request)
    assert access.principal is not None
    assert access.workspace is not None
    return StreamContext(
        settings=services.settings,
        sessions=services.sessions,
        request_id=request_id_of(request),
        request=request,
        clock=services.clock,
        principal=access.principal,
        workspace=access.workspace,
        still_allowed=access.check_again,
    )


def _common(request: Request) -> dict[str, Any]:
    services = services_of(request)
    return {
        "settings": services.settings,
        "sessions": services.sessions,
        "request_id": request_id_of(request),
        "now": services.clock(),
        "request": request,
        "limiter": services.limiter,
    }


# scope="function": the transaction ends before the answer is sent (FastAPI's default ends it after)
PublicCtx = Annotated[PublicContext, Depends(_open_public, scope="function")]
UserCtx = Annotated[UserContext, Depends(_open_user, scope="function")]
WorkspaceCtx = Annotated[Context, Depends(_open_workspace, scope="function")]
StreamCtx = Annotated[StreamContext, Depends(_stream)]


class Page(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None = None


def _page(
    cursor: Annotated[str | None, Query(max_length=2000)] = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> PageRequest:
    return PageRequest(cursor, limit)


PageParams = Annotated[PageRequest, Depends(_page)]
