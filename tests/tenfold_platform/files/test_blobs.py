"""Uploads over HTTP."""

from __future__ import annotations

import hashlib
import shutil
from types import SimpleNamespace

import pytest

from tenfold_platform.files.store import ArtifactStore

HELLO = hashlib.sha256(b"hello").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def acme(make_workspace, make_key, as_key):
    return as_key(make_key(make_workspace("acme"), "deploy").text)


@pytest.fixture
def rival(make_workspace, make_key, as_key):
    return as_key(make_key(make_workspace("rival"), "deploy").text)


def put(client, workspace="acme", digest=HELLO, content=b"hello", **headers):
    return client.put(f"/api/v1/workspaces/{workspace}/blobs/{digest}", content=content, headers={**BYTES, **headers})


def missing(client, workspace="acme", digests=(HELLO, OTHER)):
    answer = client.post(f"/api/v1/workspaces/{workspace}/blobs/missing", json={"digests": list(digests)})
    return answer.json()["missing"]


def test_what_was_uploaded_is_not_missing(acme, settings):
    assert missing(acme) == [HELLO, OTHER]
    assert put(acme).json() == {"digest": HELLO, "size_bytes": 5}
    assert missing(acme) == [OTHER]
    assert missing(acme, digests=[OTHER, HELLO, OTHER]) == [OTHER]
    assert put(acme).status_code == 200
    assert ArtifactStore(settings.artifacts_dir).read_bytes(HELLO) == b"hello"


def test_in_pieces_without_a_length(acme):
    pieces = [bytes([number % 256]) * 100_000 for number in range(40)]
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert put(acme, digest=digest, content=iter(pieces)).json() == {"digest": digest, "size_bytes": 4_000_000}


def test_nobody_learns_what_other_workspaces_have(acme, rival):
    """Neither by asking nor by uploading: the answers are those of an installation where nobody else has it."""
    put(acme)
    assert missing(rival, "rival") == [HELLO, OTHER]
    assert put(rival, "rival").json() == {"digest": HELLO, "size_bytes": 5}
    assert missing(rival, "rival") == [OTHER]


def test_naming_a_file_is_not_having_it(acme, rival):
    """A digest alone is no claim: the bytes must come along."""
    put(acme)
    answer = put(rival, "rival", content=b"")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_digest")
    assert missing(rival, "rival") == [HELLO, OTHER]


def test_a_wrong_digest_leaves_nothing(acme, settings):
    answer = put(acme, content=b"hello!")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_digest")
    assert missing(acme) == [HELLO, OTHER]
    assert [path for path in settings.artifacts_dir.rglob("*") if path.is_file()] == []


def test_a_file_that_vanished_from_the_disk_is_missing_again(acme, settings):
    put(acme)
    ArtifactStore(settings.artifacts_dir).path(HELLO).unlink()
    assert missing(acme) == [HELLO, OTHER]
    assert put(acme).status_code == 200
    assert missing(acme) == [OTHER]


def test_more_than_the_disk_can_take_is_refused_before_it_is_sent(acme, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024**3))
    answer = put(acme, **{"Content-Length": str(1024**3)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")


def test_a_package_that_is_too_large_is_refused_before_it_is_sent(acme, settings):
    settings.max_package_bytes = 4
    address = "/api/v1/workspaces/acme/blobs/missing"
    answers = [acme.post(address, json={"digests": [HELLO], "package_bytes": size}) for size in (4, 5)]
    assert [answer.status_code for answer in answers] == [200, 413]
    error = answers[1].json()["error"]
    assert (error["code"], error["message"]) == ("too_large", "A package may have at most 4 bytes.")
    assert "TENFOLD_MAX_PACKAGE_BYTES" in error["hint"]
    assert put(acme).json()["error"]["code"] == "too_large"
    assert [path for path in settings.artifacts_dir.rglob("*") if path.is_file()] == []


def test_an_archive_that_the_disk_cannot_take_is_refused_before_it_is_sent(acme, settings, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024**3))
    address = "/api/v1/workspaces/acme/models/wine/versions/archive"
    answer = acme.post(address, content=b"x", headers={**BYTES, "Content-Length": str(1024**3)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")
    assert list(settings.data_dir.glob("upload-*")) == []
    assert acme.get("/api/v1/workspaces/acme/models/wine").status_code in {403, 404}


@pytest.mark.parametrize("digest", ["x", HELLO.upper(), HELLO + "0", "..%2f..%2fetc%2fpasswd", HELLO[:-1] + "%0a"])
def test_what_is_no_digest(acme, digest):
    assert put(acme, digest=digest).status_code in {400, 404}


def test_forms_cannot_upload(acme):
    assert put(acme, **{"Content-Type": "text/plain"}).status_code == 415


def test_readers_do_not_upload(make_workspace, make_key, as_key):
    client = as_key(make_key(make_workspace("acme"), "read", "predict").text)
    assert put(client).status_code == 403
