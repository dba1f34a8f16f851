"""What waits for a slow reader: in order, on disk, and in memory only where the disk refuses."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold_runtime.backlog import Backlog


@given(st.lists(st.binary(min_size=1, max_size=50) | st.integers(1, 80), max_size=40))
def test_bytes_come_out_in_the_order_they_were_put_in(steps: list[bytes | int]) -> None:
    backlog, put, taken = Backlog(), b"", b""
    for step in steps:
        if isinstance(step, bytes):
            backlog.put(step)
            put += step
        else:
            taken += backlog.take(step)
        assert backlog.size == len(put) - len(taken)
    while backlog.size:
        taken += backlog.take(1024)
    assert taken == put
    backlog.close()


def test_what_was_read_counts_until_all_of_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenfold_runtime.backlog._MOST_BYTES", 1000)
    backlog = Backlog()
    backlog.put(b"x" * 900)
    backlog.take(600)
    assert (backlog.size, backlog.room) == (300, 400)  # 100 more
    backlog.take(300)
    assert (backlog.size, backlog.room) == (0, 1000)


def test_a_disk_that_refuses_leaves_no_room_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog = Backlog()
    backlog.put(b"on disk;")
    room = backlog.room
    assert room > 0

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backlog._file, "write", refuse, raising=False)
    backlog.put(b"in memory;")
    backlog.put(b"and more")
    assert backlog.room == 0
    assert backlog.take(12) == b"on disk;"
    assert backlog.take(100) == b"in memory;and more"
    assert backlog.size == 0

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    fresh = Backlog()
    fresh.put(b"a")
    fresh.put(b"b")
    assert (fresh.room, fresh.take(9)) == (0, b"ab")
