"""Finished runs reach PostgreSQL exactly once, whatever dies on the way."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest

from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.spool import Spool, SpoolFull
from tenfold_platform.ids import new_id


@pytest.fixture
def record_of(world, workspace, bundle_of) -> Callable[..., bytes]:
    """Records of runs of an app that exists."""
    app = world.app(workspace, bundle_of())

    def make(id: UUID | None = None, **overrides: Any) -> bytes:
        run = {
            "id": id or new_id(),
            "workspace_id": workspace.id,
            "app_id": app.id,
            "release_id": app.live_release_id,
            "worklet": "double",
            "state": "succeeded",
            "trigger": "http",
            "caller": "key:x",
            "request_id": "r",
            "input": {"n": 1},
            "output": {"twice": 2},
            "error": None,
            "started_at": 1_800_000_000.5,
            "finished_at": 1_800_000_001.0,
            "duration_ms": 500.0,
        }
        step = {
            "path": "size", "attempt": 1, "kind": "branch", "state": "succeeded", "input": None,
            "output": {"port": "big"}, "error": None, "logs": "", "started_at": 1_800_000_000.6, "duration_ms": 1.0,
        }  # fmt: skip
        return orjson.dumps({"run": run | overrides, "steps": [step]})

    return make


@pytest.fixture
def stored(database_url: str) -> Callable[[], list[tuple[Any, ...]]]:
    def read() -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url) as connection:
            return connection.execute(
                "select r.worklet, r.state, r.input, r.output, count(s.path) from runs r"
                " left join run_steps s on s.run_id = r.id group by r.id order by r.id"
            ).fetchall()

    return read


def with_spool(
    folder: Path, database_url: str, use: Callable[[Spool], Any], *, close: bool = True, **options: Any
) -> None:
    async def main() -> None:
        database = Database(database_url, application_name="tests")
        spool = Spool(folder, database, **options)
        try:
            result = use(spool)
            if result is not None:
                await result
        finally:
            if close:
                await spool.close()
            await database.close()

    asyncio.run(main())


def segments_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.spool"))


def test_what_is_noted_arrives(tmp_path: Path, database_url: str, record_of, stored) -> None:
    async def use(spool: Spool) -> None:
        for _ in range(450):
            spool.append(record_of())
        await spool.flush()
        assert spool.pending_bytes == 0

    with_spool(tmp_path, database_url, use)
    assert stored() == [("double", "succeeded", {"n": 1}, {"twice": 2}, 1)] * 450
    assert list(tmp_path.iterdir()) == []


def test_it_is_in_the_file_before_append_returns(tmp_path: Path, database_url: str, record_of) -> None:
    def use(spool: Spool) -> None:
        record = record_of()
        spool.append(record)
        (segment,) = tmp_path.glob("*.spool")
        assert segment.read_bytes() == record + b"\n"

    with_spool(tmp_path, database_url, use)


def test_inserting_twice_is_harmless(tmp_path: Path, database_url: str, record_of, stored) -> None:
    record = record_of(new_id())

    async def use(spool: Spool) -> None:
        for _ in range(3):
            spool.append(record)
            await spool.flush()

    with_spool(tmp_path, database_url, use)
    assert len(stored()) == 1


def test_large_segments_are_cut_and_all_of_them_arrive(tmp_path: Path, database_url: str, record_of, stored) -> None:
    async def use(spool: Spool) -> None:
        for _ in range(20):
            spool.append(record_of(input={"text": "x" * 5000}))
        assert len(segments_in(tmp_path)) > 5
        await spool.flush()
        assert len(segments_in(tmp_path)) == 1

    with_spool(tmp_path, database_url, use, segment_bytes=16_000)
    assert len(stored()) == 20


def test_a_poisoned_record_holds_up_nobody(tmp_path: Path, database_url: str, record_of, stored) -> None:
    async def use(spool: Spool) -> None:
        spool.append(record_of())
        spool.append(record_of(started_at="not a number"))
        spool.append(b"not json")
        spool.append(record_of())
        await spool.flush()

    with_spool(tmp_path, database_url, use)
    assert len(stored()) == 2
    assert b"not a number" in (tmp_path / "rejected.jsonl").read_bytes()


def test_runs_of_a_release_that_is_gone_are_passed_over(tmp_path: Path, database_url: str, record_of, stored) -> None:
    async def use(spool: Spool) -> None:
        spool.append(record_of(release_id=new_id()))
        spool.append(record_of())
        await spool.flush()
        assert spool.pending_bytes == 0

    with_spool(tmp_path, database_url, use)
    assert len(stored()) == 1


def test_a_full_spool_refuses_before_anything_is_run(tmp_path: Path, database_url: str, record_of) -> None:
    def use(spool: Spool) -> None:
        spool.check()
        spool.append(record_of())
        with pytest.raises(SpoolFull) as caught:
            spool.check()
        assert caught.value.status == 507

    with_spool(tmp_path, database_url, use, max_bytes=100)


def test_half_a_line_is_never_left_in_front_of_the_next(
    tmp_path: Path, database_url: str, record_of, stored, monkeypatch
) -> None:
    async def use(spool: Spool) -> None:
        spool.append(record_of())
        write = os.write

        def disk_full(fd: int, data: Any) -> int:
            monkeypatch.setattr(os, "write", no_space)
            return write(fd, bytes(data)[:50])

        def no_space(fd: int, data: Any) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", disk_full)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(record_of())
        monkeypatch.setattr(os, "write", write)
        spool.append(record_of())
        await spool.flush()

    with_spool(tmp_path, database_url, use)
    assert len(stored()) == 2


def test_while_postgresql_is_away_runs_wait_in_the_file(tmp_path: Path, database_url: str, record_of, stored) -> None:
    async def away(spool: Spool) -> None:
        spool.append(record_of())
        with pytest.raises((psycopg.Error, OSError)):
            await spool.flush()
        assert spool.pending_bytes > 0

    with_spool(tmp_path, "postgresql://nobody@127.0.0.1:9/none", away)
    assert stored() == []

    async def back(spool: Spool) -> None:
        assert spool.recover() == 1
        await spool.flush()

    with_spool(tmp_path, database_url, back)
    assert len(stored()) == 1
    assert list(tmp_path.iterdir()) == []


def test_two_processes_on_one_folder_leave_each_other_alone(
    tmp_path: Path, database_url: str, record_of, stored
) -> None:
    async def use(spool: Spool) -> None:
        spool.append(record_of())
        other = Spool(tmp_path, Database(database_url, application_name="tests"))
        assert other.recover() == 0
        await spool.flush()

    with_spool(tmp_path, database_url, use)
    assert len(stored()) == 1


CHILD = """
import asyncio, sys
from pathlib import Path
from tenfold_platform.gateway.database import Database
from tenfold_platform.gateway.spool import Spool

async def main():
    spool = Spool(Path(sys.argv[1]), Database("postgresql://nobody@127.0.0.1:9/none", application_name="child"))
    for line in sys.stdin.buffer:
        spool.append(line.rstrip(b"\\n"))
    print("noted", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.slow
def test_what_a_killed_process_noted_is_flushed_by_the_next(
    tmp_path: Path, database_url: str, record_of, stored
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"".join(record_of() + b"\n" for _ in range(10)))
        child.stdin.close()
        assert child.stdout.readline() == b"noted\n"

        def still_held(spool: Spool) -> None:
            assert spool.recover() == 0

        with_spool(tmp_path, database_url, still_held)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    (segment,) = tmp_path.glob("*.spool")
    with segment.open("ab") as file:
        file.write(b'{"run": {"id": "torn')

    async def recover(spool: Spool) -> None:
        assert spool.recover() == 1
        await spool.flush()

    with_spool(tmp_path, database_url, recover)
    assert len(stored()) == 10
    assert list(tmp_path.iterdir()) == []


def test_the_spool_flushes_by_itself(tmp_path: Path, database_url: str, record_of, stored) -> None:
    async def use(spool: Spool) -> None:
        task = asyncio.create_task(spool.run())
        await asyncio.sleep(0)
        spool.append(record_of())
        for _ in range(500):
            if not spool.pending_bytes:
                break
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with_spool(tmp_path, database_url, use)
    assert len(stored()) == 1


def test_records_are_lines_of_json(record_of) -> None:
    assert b"\n" not in record_of(input={"text": "two\nlines"})
    assert json.loads(record_of(input={"text": "two\nlines"}))["run"]["input"]["text"] == "two\nlines"
