"""The nearest known name, for problems that name an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


def did_you_mean(name: str, known: Iterable[str], *, aliases: Mapping[str, str] | None = None) -> str | None:
    """A hint such as "Did you mean `text`?", or None when nothing is near."""
    match = (aliases or {}).get(name.lower()) or next(iter(difflib.get_close_matches(name[:100], list(known), 1)), None)
    return f"Did you mean `{match}`?" if match else None


def listed(names: Iterable[str], *, empty: str = "there are none", limit: int = 12) -> str:
    """`a, b, c`, or the given text when there is nothing to list."""
    names = list(names)
    shown = ", ".join(names[:limit])
    return f"{shown}, …" if len(names) > limit else shown or empty
