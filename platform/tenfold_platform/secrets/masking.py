"""Masking secrets in what workers print: as they are, and in the spellings that programs give them.

Base64 (in all three alignments), URL- and JSON-escaped, and each longer line of a value that has several. A value that
is cut by the end of a piece of output is found too: `held_back` says how much may be its beginning.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

SHORTEST = 5  # a shorter value would mask ordinary words
SHORTEST_LINE = 12
MASK = b"[secret]"


class Mask:
    """Hides a set of values in bytes. Two masks of the same values are equal in what they do."""

    def __init__(self, values: Iterable[str]) -> None:
        spellings = {spelling for value in values for spelling in _spellings(value)}
        # the longest first, so that of two that begin alike no rest stays
        self._spellings = sorted(spellings, key=lambda one: (-len(one), one))
        self._pattern = re.compile(b"|".join(map(re.escape, self._spellings))) if spellings else None

    def hide(self, data: bytes) -> bytes:
        return data if self._pattern is None else self._pattern.sub(MASK, data)

    def hide_text(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self.hide(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a value whose rest is still to come."""
        if self._pattern is None:
            return 0
        held = self._longest_overlap(data)
        for found in self._pattern.finditer(data):
            if found.start() < len(data) - held < found.end():  # a whole value is never cut to wait for another
                return self._longest_overlap(data[found.end() :])
        return held

    def _longest_overlap(self, data: bytes) -> int:
        return max((_overlap(data, spelling) for spelling in self._spellings), default=0)


def _overlap(data: bytes, spelling: bytes) -> int:
    """The length of the longest end of `data` with which `spelling` begins, the whole of it aside."""
    end = data[max(0, len(data) - len(spelling) + 1) :]
    start = end.find(spelling[:1])
    while start >= 0:
        if spelling.startswith(end[start:]):
            return len(end) - start
        start = end.find(spelling[:1], start + 1)
    return 0


def _spellings(value: str) -> Iterable[bytes]:
    texts = [value, *(line for line in value.splitlines() if len(line) >= SHORTEST_LINE)]
    for text in {text.strip() for text in texts} | {value}:
        if len(text) < SHORTEST:
            continue
        raw = text.encode("utf-8", "surrogatepass")
        yield raw
        yield quote(text, safe="", errors="surrogatepass").encode()
        yield quote_plus(text, errors="surrogatepass").encode()
        yield json.dumps(text)[1:-1].encode()
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
        yield repr(text)[1:-1].encode("utf-8", "surrogatepass")
        yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterable[bytes]:
    """As it looks inside of the base64 of any text around it: the characters that depend on it alone."""
    for offset in range(3):
        padded = bytes(offset) + raw
        cut_at_start = -(-offset * 8 // 6)
        whole = len(padded) * 8 // 6  # characters whose bits are all of ours
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            inner = encode(padded)[cut_at_start:whole]
            if len(inner) >= SHORTEST:
                yield inner
