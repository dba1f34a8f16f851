"""The engine's job for a version: fetching the external data that its package names, before anything starts.

A fetch is held by an advisory lock of PostgreSQL, which ends with the engine that had it; the controller sends the
message again for what nobody holds. Files go to the artifact store by digest, so a fetch that is done twice changes
nothing, and only one of them finds the stage still open.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatch
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import orjson
from sqlalchemy import Select, column, func, select, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from tenfold_deploy.packages import Download
from tenfold_platform import stages
from tenfold_platform.clock import Clock, utc_now
from tenfold_platform.db import transaction
from tenfold_platform.deployments import service as deployments
from tenfold_platform.egress import Egress, EgressFailed
from tenfold_platform.engine.builds import LogWriter
from tenfold_platform.errors import InvalidDocument, PlatformError, TooLarge
from tenfold_platform.files import service as files
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.models import service
from tenfold_platform.models.tables import VersionState, VersionTable
from tenfold_platform.secrets import service as secrets
from tenfold_platform.secrets.sealing import Keyring

log = logging.getLogger(__name__)

HUB = "https://huggingface.co"
MAX_LISTING_BYTES = 32 * 1024**2
MAX_FILES = 10_000
FILE_SECONDS = 6 * 3600.0
LISTING_SECONDS = 60.0
AT_ONCE = 2  # of the engine's threads: the others go on building environments
ATTEMPTS = 3
PAUSE_SECONDS = 2.0
PROGRESS_SECONDS = 1.0
T = TypeVar("T")
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Wanted:
    """One file to fetch, and the path of the package that it becomes. `pinned`: its address always gives the same."""

    path: str
    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    pinned: bool = False


class CannotFetch(PlatformError):
    """What was asked for cannot be had; the message says which entry, and why."""

    code = "cannot_fetch"


class NotWanted(Exception):
    """Nobody waits for the data any more."""


@dataclass
class Fetcher:
    """Fetches for versions; one for the whole engine."""

    sessions: sessionmaker[Session]
    store: ArtifactStore
    egress: Egress
    keyring: Keyring
    max_bytes: int  # of a whole version, with what was uploaded
    clock: Clock = utc_now
    sleep: Callable[[float], None] = time.sleep
    hub: str = HUB
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE), init=False, repr=False)

    def fetch(self, version_id: UUID) -> None:
        """Takes the version's stage `fetch` from waiting to done or failed. Nothing to do: nothing happens."""
        if not self._slots.acquire(blocking=False):
            return  # the controller sends it again
        try:
            with _held(self.sessions, version_id) as is_mine:
                if is_mine:
                    self._fetch_held(version_id)
        finally:
            self._slots.release()

    # --- one version

    def _fetch_held(self, version_id: UUID) -> None:
        with transaction(self.sessions) as session:
            version = session.get(VersionTable, version_id, with_for_update=True)
            if version is None or not _waits_for_data(version):
                return
            version.stages = stages.moved(version.stages, service.FETCH, "running", self.clock())
        with LogWriter(self.sessions, service.log_subject(version_id)) as writer:
            try:
                fetched = self._fetch_all(version, writer.line)
            except NotWanted:
                writer.line("the version has failed meanwhile, or is gone")
            except PlatformError as error:
                writer.line(f"failed: {error.message}")
                self._fail(version_id, error)
            except SQLAlchemyError:
                raise  # the controller sends it again
            except Exception as error:
                # Sent again, it would only end like this again. Its text is not logged: it may hold a credential.
                where = "".join(traceback.format_tb(error.__traceback__))
                log.error("fetching for version %s broke: %s\n%s", version_id, type(error).__name__, where)
                self._fail(version_id, CannotFetch("The external data could not be fetched: an error of the platform."))
            else:
                self._finish(version_id, fetched)

    def _fetch_all(self, version: VersionTable, on_log: Callable[[str], None]) -> list[dict[str, Any]]:
        config = service.config_of(self.store, version)
        wanted = [one for download in config.downloads for one in self._expanded(version, download, on_log)]
        if len(wanted) > MAX_FILES:
            raise TooLarge(f"The package asks for {len(wanted)} files; at most {MAX_FILES} are fetched.")
        _check_places(wanted, version)
        here = self._here_already(version, wanted)
        left = self.max_bytes - version.size_bytes
        fetched: list[dict[str, Any]] = []
        for number, one in enumerate(wanted, 1):
            known = here.get(one.url)
            if known is None:
                on_log(f"fetching {one.url}")
                stored = self._fetch_one(version, one, left, f"{number} of {len(wanted)}")
                on_log(f"fetched {one.path}: {_size(stored['size'])}, sha256 {stored['digest']}")
            else:
                stored = known | {"path": one.path}
                on_log(f"{one.path} is here already: {_size(stored['size'])}")
            left -= stored["size"]
            fetched.append(stored)
        return fetched

    def _expanded(self, version: VersionTable, download: Download, on_log: Callable[[str], None]) -> Iterator[Wanted]:
        headers = self._credentials(version, download)
        if download.url is not None:
            yield Wanted(download.path, download.url, headers)
            return
        repo, revision = download.repo or "", download.revision or "main"
        listing = f"{self.hub}/api/models/{quote(repo)}/revision/{quote(revision, safe='')}"
        on_log(f"{download.key}: listing {repo} at {revision}")
        told = self._listing(download, listing, headers)
        commit = str(told.get("sha") or revision)
        names = _names_in(told.get("siblings"))
        chosen = [name for name in names if _matches(name, download)]
        if not chosen:
            raise CannotFetch(
                f"{download.key}: {repo} at {revision} has no file that the patterns choose.",
                hint=f"It has {', '.join(names[:10]) or 'none at all'}.",
            )
        for name in chosen:
            url = f"{self.hub}/{quote(repo)}/resolve/{quote(commit, safe='')}/{quote(name)}"
            yield Wanted(f"{download.path}/{name}", url, headers, pinned="sha" in told)

    def _listing(self, download: Download, url: str, headers: dict[str, str]) -> dict[str, Any]:
        content = bytearray()
        try:
            self._tried(
                lambda: self.egress.download(
                    url, content.extend, max_bytes=MAX_LISTING_BYTES, timeout_seconds=LISTING_SECONDS, headers=headers
                ),
                content.clear,
            )
            told = orjson.loads(content)
        except PlatformError as error:
            raise _of_entry(download.key, error) from error
        except orjson.JSONDecodeError:
            told = None
        if not isinstance(told, dict):
            raise CannotFetch(f"{download.key}: {url} does not answer with a list of files.", hint="Try again later.")
        return told

    def _credentials(self, version: VersionTable, download: Download) -> dict[str, str]:
        if download.secret is None:
            return {}
        if download.url is not None and not download.url.startswith("https://"):
            raise CannotFetch(
                f"{download.key} would send the secret {download.secret} to {download.url} unencrypted.",
                hint="Write its address with https://, or leave the secret out.",
            )
        with transaction(self.sessions) as session:
            opened = secrets.open_declared(session, self.keyring, version.workspace_id, [download.secret])
        if opened.missing:
            raise CannotFetch(
                f"{download.key} needs the secret {download.secret}, and nobody has set it.",
                hint=f"Set it with `tenfold secrets set {download.secret}`, then deploy again.",
            )
        return {"Authorization": f"Bearer {opened.values[download.secret]}"}

    def _here_already(self, version: VersionTable, wanted: Sequence[Wanted]) -> dict[str, dict[str, Any]]:
        """By address: what this version has fetched before it was interrupted, and what any version of the workspace
        fetched from an address that never changes."""
        pinned = [one.url for one in wanted if one.pinned]
        entries = func.jsonb_array_elements(VersionTable.fetched).table_valued(column("value", JSONB))
        query = (
            select(entries.c.value)
            .select_from(VersionTable)
            .join(entries, true())
            .where(VersionTable.workspace_id == version.workspace_id, entries.c.value["url"].astext.in_(pinned))
        )
        with transaction(self.sessions) as session:
            found = [*(session.scalars(query) if pinned else ()), *version.fetched]
        return {one["url"]: one for one in found if self.store.has(one["digest"])}

    def _fetch_one(self, version: VersionTable, wanted: Wanted, left: int, number: str) -> dict[str, Any]:
        told_at = 0.0
        limit = min(left, files.MAX_BLOB_BYTES)

        def on_progress(done: int, total: int | None) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= PROGRESS_SECONDS:
                told_at = time.monotonic()
                self.store.require_room((total or done) - done)
                share = f"{100 * done / total:.0f} % of {_size(total)}" if total else _size(done)
                self._tell(version.id, f"file {number}: {share}")

        def attempt() -> dict[str, Any]:
            with self.store.writer(max_bytes=limit) as writer:
                self.egress.download(
                    wanted.url,
                    writer.write,
                    max_bytes=limit,
                    timeout_seconds=FILE_SECONDS,
                    headers=wanted.headers,
                    on_progress=on_progress,
                )
                stored = writer.commit()
            entry = {"path": wanted.path, "digest": stored.digest, "size": stored.size_bytes, "url": wanted.url}
            with transaction(self.sessions) as session:
                files.record_blob(session, version.workspace_id, stored)
                row = self._waiting(session, version.id)
                row.fetched = [*row.fetched, entry]
            return entry

        try:
            return self._tried(attempt)
        except PlatformError as error:
            raise _of_entry(wanted.path, error) from error

    def _tried(self, attempt: Callable[[], T], again: Callable[[], object] = lambda: None) -> T:
        """A few times, with a pause, where it may be a mishap on the way."""
        for number in range(1, ATTEMPTS + 1):
            try:
                return attempt()
            except EgressFailed as error:
                if number == ATTEMPTS or (error.answered is not None and error.answered not in TRANSIENT):
                    raise
                again()
                self.sleep(PAUSE_SECONDS * number)
        raise AssertionError("the last attempt returns or raises")

    # --- writing it down

    def _tell(self, version_id: UUID, detail: str) -> None:
        with transaction(self.sessions) as session:
            version = self._waiting(session, version_id)
            version.stages = stages.moved(version.stages, service.FETCH, "running", self.clock(), detail)

    def _waiting(self, session: Session, version_id: UUID) -> VersionTable:
        """The version, to be changed. Raises NotWanted when nobody waits for it any more."""
        version = session.get(VersionTable, version_id, with_for_update=True)
        if version is None or not _waits_for_data(version):
            raise NotWanted
        return version

    def _finish(self, version_id: UUID, fetched: list[dict[str, Any]]) -> None:
        with transaction(self.sessions) as session:
            version = session.get(VersionTable, version_id, with_for_update=True)
            if version is None or not _waits_for_data(version):
                return
            version.fetched = fetched
            count = "1 file" if len(fetched) == 1 else f"{len(fetched)} files"
            detail = f"{count}, {_size(sum(one['size'] for one in fetched))}"
            version.stages = stages.moved(version.stages, service.FETCH, "done", self.clock(), detail)
            deployments.start(deployments.of_version(session, version_id))

    def _fail(self, version_id: UUID, error: PlatformError) -> None:
        with transaction(self.sessions) as session:
            version = session.get(VersionTable, version_id, with_for_update=True)
            if version is not None and _waits_for_data(version):
                service.fail(session, version, error.message, error.hint, self.clock())


def unfetched(after: timedelta) -> Select[UUID, datetime]:
    """Versions whose external data is not there, that long after they were made: for the controller, which sends their
    message again."""
    waiting = VersionTable.stages.contains([{"name": service.FETCH, "state": "waiting"}])
    running = VersionTable.stages.contains([{"name": service.FETCH, "state": "running"}])
    unfinished = VersionTable.state.in_((VersionState.PENDING, VersionState.BUILDING))
    query = select(VersionTable.id, VersionTable.created_at)
    return query.where(unfinished, VersionTable.created_at < func.now() - after, waiting | running)


@contextmanager
def _held(sessions: sessionmaker[Session], version_id: UUID) -> Iterator[bool]:
    """Whether this engine has the version now. PostgreSQL lets it go when the connection ends, however it ends."""
    key = int.from_bytes(version_id.bytes[8:], "big", signed=True)
    engine = sessions.kw["bind"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        is_mine = bool(connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": key}))
        try:
            yield is_mine
        finally:
            if is_mine:
                with contextlib.suppress(DBAPIError):  # with the connection the lock went too
                    connection.execute(text("select pg_advisory_unlock(:key)"), {"key": key})


def _waits_for_data(version: VersionTable) -> bool:
    return version.state != VersionState.FAILED and service.is_fetching(version)


def _check_places(wanted: list[Wanted], version: VersionTable) -> None:
    """A repository's file names come from outside: none may lead out, or hide a file of the package."""
    problems = service.path_problems([entry["path"] for entry in version.files], [one.path for one in wanted])
    if problems:
        first = f"{problems[0]['path']}: {problems[0]['message']}"
        raise InvalidDocument(f"What is to be fetched cannot be laid out: {first}.", details=problems)


def _names_in(siblings: Any) -> list[str]:
    listed = siblings if isinstance(siblings, list) else ()
    names = (one.get("rfilename") for one in listed if isinstance(one, dict))
    return [name for name in names if isinstance(name, str)]


def _matches(name: str, download: Download) -> bool:
    """As the hub's own client chooses: a pattern that ends with / means everything below."""
    allowed = not download.allow_patterns or _fits(name, download.allow_patterns)
    return allowed and not _fits(name, download.ignore_patterns)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern + "*" if pattern.endswith("/") else pattern) for pattern in patterns)


def _of_entry(key: str, error: PlatformError) -> CannotFetch:
    return CannotFetch(f"{key}: {error.message}", code=error.code, hint=error.hint)


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
