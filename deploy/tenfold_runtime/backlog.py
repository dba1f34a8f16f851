"""What a caller has not read yet, put aside in a file.

So a model that streams to a slow reader is done as soon as it would be with a quick one, and its place is free for the
next call, at the price of disk, not memory.
"""

from __future__ import annotations

import tempfile
from typing import IO, Optional

_MOST_BYTES = 256 * 1024 * 1024


class Backlog:
    """Bytes in the order they were put in: `put` at the end, `take` from the beginning. Used from one thread.

    The file gives nothing back before all of it has been read, so what has been read counts as well.
    """

    def __init__(self) -> None:
        self.size = 0
        self._refused = False
        self._file: Optional[IO[bytes]] = None
        self._read = 0
        self._written = 0
        self._rest = bytearray()  # what the disk refused

    @property
    def room(self) -> int:
        """The `size` that it may have now; none once the disk has refused."""
        return 0 if self._refused else _MOST_BYTES - self._read

    def put(self, data: bytes) -> None:
        self.size += len(data)
        if self._rest:
            self._rest += data
            return
        done = 0
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (kept until it has been read)
            self._file.seek(self._written)
            while done < len(data):
                count = self._file.write(memoryview(data)[done:])
                done += count
                self._written += count
        except OSError:
            self._refused = True
            self._rest += memoryview(data)[done:]

    def take(self, most: int) -> bytes:
        """The next bytes, at most so many; none only when there are none."""
        if self._file is not None and self._read < self._written:
            self._file.seek(self._read)
            taken = self._file.read(min(most, self._written - self._read))
            self._read += len(taken)
        else:
            taken = bytes(self._rest[:most])
            del self._rest[:most]
        self.size -= len(taken)
        if self.size == 0:
            self.close()
        return taken

    def close(self) -> None:
        """Gives the disk back."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._read = self._written = self.size = 0
        self._rest.clear()
