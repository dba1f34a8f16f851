"""The artifact store: whole files or none."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from tenfold_platform.errors import InvalidInput, TooLarge
from tenfold_platform.files.store import ArtifactStore, MissingArtifact, NoSpace, Stored, WrongDigest

HELLO = hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts")


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_bytes_come_back_by_their_digest(store, tmp_path):
    assert store.put_bytes(b"hello") == Stored(HELLO, 5)
    assert store.has(HELLO)
    assert (store.read_bytes(HELLO), store.read_text(HELLO)) == (b"hello", "hello")
    with store.open(HELLO) as file:
        assert file.read() == b"hello"
    assert store.path(HELLO) == tmp_path / "artifacts" / HELLO[:2] / HELLO
    assert files_below(tmp_path) == [f"artifacts/{HELLO[:2]}/{HELLO}"]


def test_twice_is_once(store, tmp_path):
    assert store.put_stream([b"he", b"", b"llo"], digest=HELLO) == store.put_bytes(b"hello")
    assert len(files_below(tmp_path)) == 1


def test_a_disk_that_fills_up_meanwhile_keeps_what_it_must_keep_free(store, tmp_path, monkeypatch):
    with store.writer() as writer:
        writer.write(b"hel")
        monkeypatch.setattr(store, "free_bytes", lambda: 1)
        writer.write(b"l")
        with pytest.raises(NoSpace):
            writer.write(b"lo")
    assert files_below(tmp_path) == []


def test_a_file_that_lies_on_the_disk_already_is_moved_in(store, tmp_path):
    store.put_bytes(b"other")
    file = tmp_path / "hello.txt"
    for _ in range(2):
        file.write_bytes(b"hello")
        store.adopt(file, HELLO)
    assert store.read_bytes(HELLO) == b"hello"
    assert store.path(HELLO).stat().st_mode & 0o777 == 0o444


def test_the_empty_file(store):
    assert store.read_bytes(store.put_stream([]).digest) == b""


def test_another_digest_leaves_nothing(store, tmp_path):
    with pytest.raises(WrongDigest):
        store.put_stream([b"hello!"], digest=HELLO)
    assert not store.has(HELLO)
    assert files_below(tmp_path) == []


def test_a_broken_stream_leaves_nothing(store, tmp_path):
    def broken():
        yield b"hel"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.put_stream(broken(), digest=HELLO)
    assert files_below(tmp_path) == []


def test_too_long_a_stream_is_not_read_to_its_end(store, tmp_path):
    def endless():
        while True:
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        store.put_stream(endless(), max_bytes=10_000)
    assert files_below(tmp_path) == []


def test_a_full_disk_is_said_before_it_is_full(store, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1024))
    with pytest.raises(NoSpace):
        store.put_bytes(b"hello")


@pytest.mark.parametrize("step", ["fsync", "open"])
def test_a_disk_that_is_full_all_of_a_sudden(store, tmp_path, monkeypatch, step):
    """The last bytes, and the folder, are written when all seems done."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with store.writer() as writer:
        writer.write(b"hello")
        monkeypatch.setattr(os, step, full)
        with pytest.raises(NoSpace, match="No space left on device"):
            writer.commit()
        monkeypatch.undo()
    assert [name for name in files_below(tmp_path) if "incoming" in name] == []


@pytest.mark.parametrize("digest", ["", "..", "../../etc/passwd", HELLO.upper(), HELLO + "\n", HELLO[:-1], "/" + HELLO])
def test_what_is_no_digest_names_no_file(store, digest):
    for use in (store.path, store.has, store.open, store.read_bytes):
        with pytest.raises(InvalidInput):
            use(digest)
    with pytest.raises(InvalidInput):
        store.put_stream([b"x"], digest=digest)


def test_a_file_that_is_not_there(store):
    assert not store.has(HELLO)
    with pytest.raises(MissingArtifact):
        store.read_text(HELLO)


def test_text_has_a_limit_and_an_encoding(store):
    with pytest.raises(TooLarge):
        store.read_text(store.put_bytes(b"x" * 100).digest, max_bytes=99)
    with pytest.raises(UnicodeDecodeError):
        store.read_text(store.put_bytes(b"\xff").digest)


def test_many_writers_of_one_file(store, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: store.put_stream([b"hello"], digest=HELLO), range(16))) == {Stored(HELLO, 5)}
    assert files_below(tmp_path) == [f"artifacts/{HELLO[:2]}/{HELLO}"]
