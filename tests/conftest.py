"""The real PostgreSQL and Redis, once for each test process; a migrated database to itself for each test that asks."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis
import psycopg
import pytest
import redis
import structlog
from argon2 import PasswordHasher
from playwright.sync_api import Browser, sync_playwright
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform import tables
from tenfold_platform.auth import keys, secrets
from tenfold_platform.auth.permissions import Role, Scope
from tenfold_platform.auth.secrets import hash_password, hash_secret, new_token
from tenfold_platform.auth.tables import KeyTable, SessionTable, UserTable
from tenfold_platform.db import make_engine, make_sessions, transaction
from tenfold_platform.settings import Settings
from tenfold_platform.up.embedded import free_port
from tenfold_platform.up.postgres import USER, EmbeddedPostgres
from tenfold_platform.up.redis import EmbeddedRedis
from tenfold_platform.workspaces.tables import MembershipTable, WorkspaceTable

from .databases import Databases
from .installation import installation, new_installation

__all__ = ["installation", "new_installation"]  # fixtures

assert tables.metadata.tables

# in CI the same examples each time, so that a red run is about the change; elsewhere new ones are looked for. How fast
# the machine makes them is nowhere looked at
hypothesis.settings.register_profile("here", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("here"), derandomize=True)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "here")

# as it is by default, but for rich's picture of an exception with all its variables, which takes seconds
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "max_connections": "200",
    "scram_iterations": "1",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# what makes a test slow without a mark of its own: real servers, real workers, thousands of archives
SLOW_FIXTURES = frozenset({"postgres_server", "redis_server", "servers_dir"})
SLOW_PLACES = (
    "tenfold_runtime/",
    "tenfold_deploy/test_archive",
    "tenfold_deploy/test_environ",
    "tenfold_deploy/test_local",
)

# files that take minutes go first, the longest at the head, so that no worker is left with one when the others are done
LONGEST = (
    "e2e/test_under_load",
    "e2e/test_zoo",
    "e2e/test_style_transfer",
    "e2e/test_scaling",
    "e2e/test_wrong_deploys",
    "e2e/test_up",
    "e2e/test_compiled",
    "e2e/test_environments",
    "e2e/test_studio",
    "frameworks/test_transformers",
    "frameworks/test_torch",
    "frameworks/",
    "e2e/",
    "tests/zoo/",
    "tenfold_runtime/",
    "tenfold_deploy/",
    "tenfold_platform/routing/",
    "tenfold_platform/gateway/",
    "tenfold_platform/up/",
)

numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow whatever starts servers or workers, so that `./dev test fast` is done in seconds."""
    for item in items:
        starts_servers = not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        if starts_servers or any(place in item.nodeid for place in SLOW_PLACES):
            item.add_marker("slow")
    items.sort(key=lambda item: next((at for at, place in enumerate(LONGEST) if place in item.nodeid), len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What the browser's pages say when a test fails: where nobody can look at a picture, it is the next best."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("browser")
    if report.when == "call" and report.failed and browser is not None:
        for page in [page for context in browser.contexts for page in context.pages]:
            with contextlib.suppress(Exception):  # a page that hangs must not hide why the test failed
                page.set_default_timeout(2_000)
                report.sections.append((f"page {page.url}", page.inner_text("body")[:3000]))
    return report


@dataclass
class ManualClock:
    """Time stands still until a test moves it."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Argon2 at its least cost: nobody guesses at a test's passwords. Processes that tests start keep the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """Not pytest's own: PostgreSQL's user must be able to enter it when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """Like tmp_path, for what another user must be able to enter."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(servers_dir: Path) -> Iterator[EmbeddedPostgres]:
    """One for the whole session. A test that wants to break it starts its own."""
    server = EmbeddedPostgres(servers_dir / "postgres", free_port(), configuration=FORGETFUL)
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        # the same password, but no longer with 4096 rounds of hashing on both sides of each connection
        user, password = sql.Identifier(USER), sql.Literal(server.password)
        connection.execute(sql.SQL("alter role {} password {}").format(user, password))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def databases(postgres_server: EmbeddedPostgres) -> Iterator[Databases]:
    databases = Databases(postgres_server)
    databases.make_template()
    yield databases
    databases.close()


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    with databases.lend_empty() as url:
        yield url


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A migrated one that nobody has written to."""
    with databases.lend() as url:
        yield url


@pytest.fixture(scope="session")
def engines() -> dict[str, Engine]:
    """By address: an engine knows how the statements that it has met are written."""
    return {}


@pytest.fixture
def engine(database_url: str, engines: dict[str, Engine]) -> Iterator[Engine]:
    engine = engines.get(database_url) or make_engine(database_url, application_name="tests")
    engines[database_url] = engine
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return make_sessions(engine)


@pytest.fixture(scope="session")
def redis_server(servers_dir: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(servers_dir / "redis", free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """An empty one."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, once for the whole session: two of Playwright's loops cannot live in one process."""
    named = os.environ.get("TENFOLD_CHROMIUM")
    executable = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "data_dir": tmp_path / "data",
            "signing_key": "5e" * 32,
            "secrets_key": "5c" * 32,
            "studio_dir": tmp_path / "studio",
        }
    )


@dataclass(frozen=True)
class MadeKey:
    row: KeyTable
    text: str = field(repr=False)


@pytest.fixture
def make_workspace(sessions: sessionmaker[Session]) -> Callable[..., WorkspaceTable]:
    def make(name: str | None = None, title: str = "") -> WorkspaceTable:
        with transaction(sessions) as session:
            workspace = WorkspaceTable(name=name or f"workspace-{next(numbers)}", title=title)
            session.add(workspace)
            session.flush()
            session.refresh(workspace)
        return workspace

    return make


@pytest.fixture
def make_user(sessions: sessionmaker[Session]) -> Callable[..., UserTable]:
    """A user, and (with a workspace) their membership."""

    def make(
        workspace: WorkspaceTable | None = None,
        role: Role | str = Role.ADMIN,
        *,
        email: str | None = None,
        password: str | None = None,
        is_operator: bool = False,
    ) -> UserTable:
        with transaction(sessions) as session:
            user = UserTable(
                email=email or f"user-{next(numbers)}@example.com",
                password_hash=hash_password(password) if password else None,
                is_operator=is_operator,
            )
            session.add(user)
            session.flush()
            if workspace is not None:
                session.add(MembershipTable(workspace_id=workspace.id, user_id=user.id, role=str(role)))
        return user

    return make


@pytest.fixture
def make_key(sessions: sessionmaker[Session]) -> Callable[..., MadeKey]:
    def make(
        workspace: WorkspaceTable,
        *scopes: Scope | str,
        name: str = "a key",
        created_by: UserTable | None = None,
        expires_at: datetime | None = None,
    ) -> MadeKey:
        with transaction(sessions) as session:
            row, text = keys.create_key(
                session,
                workspace.id,
                name=name,
                scopes=[Scope(scope) for scope in scopes],
                created_by=created_by.id if created_by else None,
                expires_at=expires_at,
            )
        return MadeKey(row, text)

    return make


@pytest.fixture
def make_session(sessions: sessionmaker[Session], clock: ManualClock) -> Callable[[UserTable], str]:
    """Signs a user in: the cookie's value."""

    def make(user: UserTable) -> str:
        token = new_token()
        with transaction(sessions) as session:
            session.add(
                SessionTable(
                    token_hash=hash_secret(token),
                    user_id=user.id,
                    expires_at=clock() + timedelta(days=14),
                    seen_at=clock(),
                )
            )
        return token

    return make
