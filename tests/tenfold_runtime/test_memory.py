"""What a process takes from the system for large bodies, counted in pages that it had to be given."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PROGRAM = """
    import resource, socket
    from tenfold_runtime import memory

    memory.keep_what_is_freed()
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)

    def read():
        pieces = []
        for _ in range(6):
            ours.sendall(bytes(100_000))
            pieces.append(theirs.recv(262_144))
        return b"".join(pieces)

    read()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        assert len(read()) == 600_000
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_bodies_that_follow_each_other_use_the_same_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 50 * 20  # of about 200 pages each time
