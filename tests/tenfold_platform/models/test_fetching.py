"""External data of a package: fetched before anything starts, kept by digest, and clear about what cannot be had."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from tenfold_platform.clock import Clock
from tenfold_platform.controller import versions
from tenfold_platform.db import transaction
from tenfold_platform.deployments.tables import DeploymentTable
from tenfold_platform.egress import Allowed, Egress
from tenfold_platform.environments.tables import EnvironmentState, EnvironmentTable
from tenfold_platform.files.store import ArtifactStore
from tenfold_platform.models import tasks
from tenfold_platform.models.tables import VersionTable
from tenfold_platform.models.tasks import Fetcher
from tenfold_platform.secrets import service as secrets
from tenfold_platform.secrets.sealing import Key, Keyring
from tenfold_platform.settings import Settings

WEIGHTS = b"weights" * 1000
KEYRING = Keyring([Key(b"k" * 32)])


class Site:
    """A web site on the loopback: content by path, and what was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers.get("Authorization")))
                status, content = site.pages.get(self.path, (404, b""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Not on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def fetcher(
    sessions: sessionmaker[Session], settings: Settings, clock: Clock, site: Site, pauses: list[float]
) -> Fetcher:
    return Fetcher(
        sessions,
        ArtifactStore(settings.artifacts_dir),
        Egress(Allowed.parse("127.0.0.1/32")),
        KEYRING,
        max_bytes=1 << 30,
        clock=clock,
        sleep=pauses.append,
        hub=site.url,
    )


@pytest.fixture
def create(world: Any) -> Callable[[str], UUID]:
    """A version whose config.yaml says this besides."""

    def make(config: str) -> UUID:
        files = {**world.PACKAGE, "config.yaml": f"model_metadata: {{tenfold: {{}}}}\n{config}".encode()}
        answer = world.create(files)
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["id"])

    return make


@pytest.fixture
def look(sessions: sessionmaker[Session]) -> Callable[[UUID], VersionTable]:
    def read(version_id: UUID) -> VersionTable:
        with sessions() as session:
            return session.get_one(VersionTable, version_id)

    return read


def stage(version: VersionTable, name: str = "fetch") -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in version.stages if one["name"] == name)
    return found


def wanted_replicas(sessions: sessionmaker[Session], version_id: UUID) -> int:
    with sessions() as session:
        query = select(DeploymentTable.desired_replicas).where(DeploymentTable.version_id == version_id)
        return session.scalars(query).one()


def external(*entries: tuple[str, str]) -> str:
    return "external_data:\n" + "".join(f"- {{url: {url}, local_data_path: {path}}}\n" for url, path in entries)


def test_a_file_is_fetched_before_the_version_may_start(
    create: Callable[[str], UUID],
    look: Callable[[UUID], VersionTable],
    fetcher: Fetcher,
    site: Site,
    sessions: sessionmaker[Session],
    world: Any,
) -> None:
    site.pages["/w.bin"] = (200, WEIGHTS)
    id = create(external((f"{site.url}/w.bin", "deep/w.bin")))
    assert (stage(look(id))["state"], wanted_replicas(sessions, id)) == ("waiting", 0)
    refused = world.client.post(f"{world.url}/models/wine/versions/1/start")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "version_not_ready")

    fetcher.fetch(id)

    version, digest = look(id), hashlib.sha256(WEIGHTS).hexdigest()
    entry = {"path": "data/deep/w.bin", "url": f"{site.url}/w.bin", "digest": digest, "size": len(WEIGHTS)}
    assert version.fetched == [entry]
    assert (stage(version)["state"], stage(version)["detail"]) == ("done", "1 file, 7.0 KB")
    assert wanted_replicas(sessions, id) == 1
    assert fetcher.store.read_bytes(digest) == WEIGHTS
    assert world.get("/models/wine/versions/1")["fetched"] == [entry]
    logged = world.get("/models/wine/versions/1/logs")["items"]
    assert {line["source"] for line in logged} == {"fetch"}
    assert digest in "".join(line["text"] for line in logged)

    fetcher.fetch(id)  # a message that came twice
    assert len(site.asked) == 1


def test_a_version_without_external_data_has_no_such_stage(world: Any) -> None:
    stages = [one["name"] for one in world.create().json()["stages"]]
    assert stages == ["upload", "environment", "start", "load", "example", "app"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{site}/missing", "data/w.bin: {site}/missing answered 404"),
        ("http://169.254.169.254/latest/meta-data", "is not a public address"),
        ("http://127.0.0.2:1/x", "is not a public address"),
        ("http://user:pass@127.0.0.1/x", "must not hold a user name"),
    ],
)
def test_a_file_that_cannot_be_had_fails_the_version_and_says_which_and_why(
    url: str,
    said: str,
    create: Callable[[str], UUID],
    look: Callable[[UUID], VersionTable],
    fetcher: Fetcher,
    site: Site,
    sessions: sessionmaker[Session],
) -> None:
    id = create(external((url.format(site=site.url), "w.bin")))
    fetcher.fetch(id)
    version = look(id)
    assert version.state == "failed"
    assert said.format(site=site.url) in version.reason
    assert "data/w.bin" in version.reason
    assert version.hint
    assert [one["state"] for one in version.stages if one["name"] in ("fetch", "environment")] == ["failed", "skipped"]
    assert (version.fetched, wanted_replicas(sessions, id)) == ([], 0)


def test_a_mishap_is_tried_again_and_a_refusal_is_not(
    create: Callable[[str], UUID],
    look: Callable[[UUID], VersionTable],
    fetcher: Fetcher,
    site: Site,
    pauses: list[float],
) -> None:
    site.pages["/busy"] = (503, b"")
    fetcher.fetch(create(external((f"{site.url}/busy", "w.bin"))))
    assert (len(site.asked), len(pauses)) == (3, 2)
    fetcher.fetch(create(external((f"{site.url}/gone", "w.bin"))))
    assert len(site.asked) == 4


def test_more_than_a_version_may_fetch(
    create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
) -> None:
    site.pages |= {"/a": (200, b"x" * 600), "/b": (200, b"x" * 600)}
    id = create(external((f"{site.url}/a", "a"), (f"{site.url}/b", "b")))
    fetcher.max_bytes = look(id).size_bytes + 1000
    fetcher.fetch(id)
    assert f"data/b: {site.url}/b is larger than the 400 bytes" in look(id).reason


def test_a_place_that_a_file_of_the_package_has_already(
    create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site, world: Any
) -> None:
    site.pages["/w.bin"] = (200, WEIGHTS)
    world.PACKAGE = {**world.PACKAGE, "data/w.bin": b"mine"}
    id = create(external((f"{site.url}/w.bin", "w.bin")))
    fetcher.fetch(id)
    assert "'data/w.bin' is there twice" in look(id).reason
    assert site.asked == []


def test_what_an_interrupted_fetch_has_is_not_fetched_again(
    create: Callable[[str], UUID],
    look: Callable[[UUID], VersionTable],
    fetcher: Fetcher,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        """Ends the engine in the middle."""

    site.pages |= {"/a": (200, b"a"), "/b": (200, b"b")}
    id = create(external((f"{site.url}/a", "a"), (f"{site.url}/b", "b")))
    download = Egress.download

    def until_b(self: Egress, url: str, *arguments: Any, **options: Any) -> Any:
        if url.endswith("/b"):
            raise Killed
        return download(self, url, *arguments, **options)

    monkeypatch.setattr(Egress, "download", until_b)
    with pytest.raises(Killed):
        fetcher.fetch(id)
    monkeypatch.undo()
    fetcher.fetch(id)
    assert [path for path, _ in site.asked] == ["/a", "/b"]
    assert [one["path"] for one in look(id).fetched] == ["data/a", "data/b"]
    assert stage(look(id))["state"] == "done"


def test_an_error_that_nobody_thought_of_ends_the_version_and_tells_no_secret(
    create: Callable[[str], UUID],
    look: Callable[[UUID], VersionTable],
    fetcher: Fetcher,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    credential = "Bearer " + "hf_x"

    def broken(*_: Any, **__: Any) -> None:
        raise KeyError(credential)

    monkeypatch.setattr(Egress, "download", broken)
    id = create(external((f"{site.url}/a", "a")))
    fetcher.fetch(id)
    assert (look(id).state, stage(look(id))["state"]) == ("failed", "failed")
    assert "KeyError" in caplog.text
    assert "hf_x" not in caplog.text + look(id).reason


class TestARepositoryOfTheHub:
    LISTING = {"sha": "c0ffee" * 6, "siblings": [{"rfilename": name} for name in ("a.bin", "b.txt", "sub/c.bin")]}

    def publish(self, site: Site, listing: Any = LISTING) -> None:
        site.pages["/api/models/owner/name/revision/main"] = (200, json.dumps(listing).encode())
        for name in ("a.bin", "b.txt", "sub/c.bin"):
            site.pages[f"/owner/name/resolve/{self.LISTING['sha']}/{name}"] = (200, name.encode())

    CONFIG = "weights:\n- {source: 'hf://owner/name', mount_location: /models/base, ignore_patterns: ['*.txt']}\n"

    def test_is_listed_chosen_from_and_fetched_at_its_commit(
        self, create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
    ) -> None:
        self.publish(site)
        id = create(self.CONFIG)
        fetcher.fetch(id)
        version = look(id)
        assert version.state == "pending", version.reason
        assert sorted(one["url"].rpartition("/resolve/")[2] for one in version.fetched) == [
            f"{self.LISTING['sha']}/a.bin",
            f"{self.LISTING['sha']}/sub/c.bin",
        ]
        (folder,) = {one["path"].removesuffix("a.bin").removesuffix("sub/c.bin") for one in version.fetched}
        assert folder.endswith("models/base/")

    def test_is_not_fetched_a_second_time(
        self, create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
    ) -> None:
        self.publish(site)
        first, second = create(self.CONFIG), create(self.CONFIG)
        fetcher.fetch(first)
        asked = len(site.asked)
        fetcher.fetch(second)
        assert look(second).fetched == look(first).fetched
        assert [path for path, _ in site.asked[asked:]] == ["/api/models/owner/name/revision/main"]

    @pytest.mark.parametrize(
        "siblings", [None, "a.bin", [{"name": "a.bin"}], [{"rfilename": None}], ["a.bin"]], ids=str
    )
    def test_with_a_list_that_is_none(
        self,
        siblings: Any,
        create: Callable[[str], UUID],
        look: Callable[[UUID], VersionTable],
        fetcher: Fetcher,
        site: Site,
    ) -> None:
        self.publish(site, {"sha": "c0ffee", "siblings": siblings})
        id = create(self.CONFIG)
        fetcher.fetch(id)
        assert "has no file that the patterns choose" in look(id).reason

    def test_with_names_that_are_one_on_some_disks_is_refused(
        self, create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
    ) -> None:
        siblings = [{"rfilename": "README.md"}, {"rfilename": "Readme.md"}]
        self.publish(site, {"sha": "c0ffee", "siblings": siblings})
        id = create(self.CONFIG)
        fetcher.fetch(id)
        assert "are one name where upper and lower case are the same" in look(id).reason
        assert len(site.asked) == 1

    def test_with_a_name_that_leads_out_is_refused(
        self, create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
    ) -> None:
        self.publish(site, {"sha": "c0ffee", "siblings": [{"rfilename": "../../../../config.yaml"}]})
        id = create(self.CONFIG)
        fetcher.fetch(id)
        assert (look(id).state, look(id).fetched) == ("failed", [])
        assert len(site.asked) == 1

    def test_that_has_nothing_of_what_is_wanted(
        self, create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
    ) -> None:
        self.publish(site)
        id = create(self.CONFIG.replace("*.txt", "*"))
        fetcher.fetch(id)
        assert "has no file that the patterns choose" in look(id).reason

    def test_that_is_private_gets_the_token_of_a_secret_and_says_when_it_is_missing(
        self,
        create: Callable[[str], UUID],
        look: Callable[[UUID], VersionTable],
        fetcher: Fetcher,
        site: Site,
        sessions: sessionmaker[Session],
        world: Any,
    ) -> None:
        self.publish(site)
        config = "secrets: {hub_token: null}\n" + self.CONFIG.replace("ignore", "auth_secret_name: hub_token, ignore")
        id = create(config)
        fetcher.fetch(id)
        assert "needs the secret hub_token, and nobody has set it" in look(id).reason
        assert "tenfold secrets set hub_token" in look(id).hint
        with transaction(sessions) as session:
            secrets.put(session, KEYRING, world.workspace.id, "hub_token", "hf_x", description=None, updated_by="me")
        id = create(config)
        fetcher.fetch(id)
        assert stage(look(id))["state"] == "done"
        assert {token for _, token in site.asked} == {"Bearer hf_x"}
        assert "hf_x" not in json.dumps(world.get("/models/wine/versions/2/logs"))

    def test_is_told_of_a_secret_that_cannot_be_sent(
        self,
        create: Callable[[str], UUID],
        look: Callable[[UUID], VersionTable],
        fetcher: Fetcher,
        site: Site,
        sessions: sessionmaker[Session],
        world: Any,
    ) -> None:
        self.publish(site)
        with transaction(sessions) as session:
            secrets.put(session, KEYRING, world.workspace.id, "token", "hf_x\nhf_y", description=None, updated_by="me")
        id = create("secrets: {token: null}\n" + self.CONFIG.replace("ignore", "auth_secret_name: token, ignore"))
        fetcher.fetch(id)
        assert "Authorization has line breaks" in look(id).reason
        assert "hf_" not in look(id).reason + look(id).hint
        assert site.asked == []


def test_a_secret_is_not_sent_unencrypted(
    create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
) -> None:
    entry = f"{{source: '{site.url}/w.bin', mount_location: /models/base, auth_secret_name: token}}"
    id = create(f"secrets: {{token: null}}\nweights:\n- {entry}\n")
    fetcher.fetch(id)
    assert "would send the secret token" in look(id).reason
    assert site.asked == []


LOCKS = text(
    "select count(*) from pg_locks where locktype = 'advisory'"
    " and database = (select oid from pg_database where datname = current_database())"
)


def test_only_one_engine_fetches_a_version_and_a_dead_one_holds_nothing(
    create: Callable[[str], UUID],
    look: Callable[[UUID], VersionTable],
    fetcher: Fetcher,
    site: Site,
    sessions: sessionmaker[Session],
) -> None:
    site.pages["/w.bin"] = (200, WEIGHTS)
    id = create(external((f"{site.url}/w.bin", "w.bin")))
    with tasks._held(sessions, id) as is_mine:
        assert is_mine
        fetcher.fetch(id)
        assert stage(look(id))["state"] == "waiting"
    held = sessions.kw["bind"].connect()
    held.execute(text("select pg_advisory_lock(:key)"), {"key": int.from_bytes(id.bytes[8:], "big", signed=True)})
    held.invalidate()  # its process ended: the connection is gone
    with sessions() as session:
        deadline = time.monotonic() + 20
        while session.scalar(LOCKS):  # PostgreSQL hears of it a moment later
            assert time.monotonic() < deadline
    fetcher.fetch(id)
    assert stage(look(id))["state"] == "done"


def test_fetches_leave_threads_for_builds(
    create: Callable[[str], UUID], look: Callable[[UUID], VersionTable], fetcher: Fetcher, site: Site
) -> None:
    site.pages["/w.bin"] = (200, WEIGHTS)
    id = create(external((f"{site.url}/w.bin", "w.bin")))
    for _ in range(tasks.AT_ONCE):
        fetcher._slots.acquire()
    fetcher.fetch(id)
    assert stage(look(id))["state"] == "waiting"  # the controller sends it again
    fetcher._slots.release()
    fetcher.fetch(id)
    assert stage(look(id))["state"] == "done"


def test_the_controller_finds_what_waits_for_data(
    create: Callable[[str], UUID], fetcher: Fetcher, site: Site, sessions: sessionmaker[Session]
) -> None:
    site.pages["/w.bin"] = (200, WEIGHTS)
    id = create(external((f"{site.url}/w.bin", "w.bin")))
    with sessions() as session:
        assert session.scalars(tasks.unfetched(timedelta(seconds=-60))).all() == [id]
        assert session.scalars(tasks.unfetched(timedelta(minutes=1))).all() == []
    fetcher.fetch(id)
    with sessions() as session:
        assert session.scalars(tasks.unfetched(timedelta(seconds=-60))).all() == []


def test_a_built_environment_waits_for_the_data_and_a_failed_one_ends_it(
    create: Callable[[str], UUID],
    look: Callable[[UUID], VersionTable],
    fetcher: Fetcher,
    site: Site,
    sessions: sessionmaker[Session],
    clock: Clock,
) -> None:
    site.pages["/w.bin"] = (200, WEIGHTS)
    id = create(external((f"{site.url}/w.bin", "w.bin")))
    self_built(sessions, id, EnvironmentState.READY)
    step(sessions, id, clock)
    states = {one["name"]: one["state"] for one in look(id).stages}
    assert (look(id).state, states["fetch"], states["environment"], states["start"]) == (
        "building",
        "waiting",
        "done",
        "waiting",
    )
    fetcher.fetch(id)
    step(sessions, id, clock)
    assert (look(id).state, stage(look(id), "start")["state"]) == ("starting", "running")

    id = create(external((f"{site.url}/w.bin", "w.bin")) + "requirements: [left-pad]\n")
    self_built(sessions, id, EnvironmentState.FAILED, reason="no such package")
    step(sessions, id, clock)
    states = {one["name"]: one["state"] for one in look(id).stages}
    assert (look(id).state, states["fetch"], states["environment"]) == ("failed", "skipped", "failed")
    fetcher.fetch(id)
    assert look(id).fetched == []


def self_built(sessions: sessionmaker[Session], version_id: UUID, state: EnvironmentState, reason: str = "") -> None:
    """What the engine says of the version's environment."""
    with transaction(sessions) as session:
        version = session.get_one(VersionTable, version_id)
        environment = session.get_one(EnvironmentTable, version.environment_id)
        environment.state, environment.reason = state, reason


def step(sessions: sessionmaker[Session], version_id: UUID, clock: Clock) -> None:
    with transaction(sessions) as session:
        versions._step(session, session.get_one(VersionTable, version_id), clock())
