"""Dates: a moment in UTC with millisecond precision, years 1 to 9999. Calendar arithmetic in whole numbers only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite, trunc

_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?)?"
)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TOKEN = re.compile("YYYY|MMM|MM|DD|HH|mm|ss|SSS")

UNITS = {
    "milliseconds": 1,
    "seconds": 1_000,
    "minutes": 60_000,
    "hours": 3_600_000,
    "days": 86_400_000,
    "weeks": 604_800_000,
}
CALENDAR_UNITS = {"months": 1, "years": 12}
STARTS = ("minute", "hour", "day", "week", "month", "year")
_DAY = 86_400_000


@dataclass(frozen=True, slots=True, order=True)
class Date:
    milliseconds: int

    @property
    def fields(self) -> tuple[int, int, int, int, int, int, int]:
        """Year, month, day, hour, minute, second, millisecond."""
        days, rest = divmod(self.milliseconds, _DAY)
        year, month, day = _civil(days)
        seconds, millisecond = divmod(rest, 1000)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        return year, month, day, hour, minute, second, millisecond

    def iso(self) -> str:
        millisecond = self.fields[6]
        return self.format("YYYY-MM-DDTHH:mm:ss") + (f".{millisecond:03d}" if millisecond else "") + "Z"

    def weekday(self) -> int:
        """Monday is 1, Sunday is 7."""
        return (self.milliseconds // _DAY + 3) % 7 + 1

    def add(self, count: int | float, unit: str) -> Date | None:
        if unit in UNITS:
            added = count * UNITS[unit]
            return make(self.milliseconds + trunc(added)) if isfinite(added) else None
        months = trunc(count) * CALENDAR_UNITS[unit]
        year, month, day, *_ = self.fields
        year, month = divmod(year * 12 + month - 1 + months, 12)
        if not 1 <= year <= 9999:
            return None
        start = _days(year, month + 1, min(day, _month_length(year, month + 1)))
        return make(start * _DAY + self.milliseconds % _DAY)

    def start_of(self, unit: str) -> Date:
        year, month, *_ = self.fields
        if unit == "year":
            return Date(_days(year, 1, 1) * _DAY)
        if unit == "month":
            return Date(_days(year, month, 1) * _DAY)
        days = self.milliseconds // _DAY
        if unit == "week":
            return Date(max(days - self.weekday() + 1, _FIRST // _DAY) * _DAY)
        length = {"day": _DAY, "hour": 3_600_000, "minute": 60_000}[unit]
        return Date(self.milliseconds // length * length)

    def format(self, pattern: str) -> str:
        year, month, day, hour, minute, second, millisecond = self.fields
        written = {
            "YYYY": f"{year:04d}", "MMM": _MONTH_NAMES[month - 1], "MM": f"{month:02d}", "DD": f"{day:02d}",
            "HH": f"{hour:02d}", "mm": f"{minute:02d}", "ss": f"{second:02d}", "SSS": f"{millisecond:03d}",
        }  # fmt: skip
        return _TOKEN.sub(lambda token: written[token.group()], pattern)


def make(milliseconds: int) -> Date | None:
    return Date(milliseconds) if _FIRST <= milliseconds <= _LAST else None


def read(text: str) -> Date | None:
    """Read ISO 8601 text; without a zone it is UTC. What is no such date gives None."""
    found = _ISO.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= _month_length(year, month)):
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    millisecond = int(f"{found[7] or ''}000"[:3])
    zone = 0
    if found[9]:
        zone_hours, zone_minutes = int(found[10]), int(found[11])
        if zone_hours > 23 or zone_minutes > 59:
            return None
        zone = (zone_hours * 60 + zone_minutes) * (1 if found[9] == "+" else -1)
    minutes = hour * 60 + minute - zone
    return make(_days(year, month, day) * _DAY + minutes * 60_000 + second * 1000 + millisecond)


def _month_length(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_DAYS[month - 1] + leap


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; years begin in March, so that a leap day is the last one of its year."""
    shifted = year - (month <= 2)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _civil(days: int) -> tuple[int, int, int]:
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    return year + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


_FIRST = _days(1, 1, 1) * _DAY
_LAST = _days(10_000, 1, 1) * _DAY - 1
