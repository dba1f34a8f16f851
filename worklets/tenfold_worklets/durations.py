"""Durations as documents write them: `500ms`, `20s`, `2m`, `1h`, `7d`."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: object) -> float:
    """Seconds. Raises `ValueError` with a message that says how to write one."""
    if isinstance(text, str) and (match := _DURATION.match(text.strip())):
        number, unit = match.groups()
        return round(float(number) * _SECONDS[unit], 6)
    raise ValueError("Write a duration as a number and a unit: 500ms, 20s, 2m, 1h or 7d.")
