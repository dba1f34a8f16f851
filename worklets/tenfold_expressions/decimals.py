"""Rounding and writing numbers by their decimal digits, halves away from zero: round(1.005, 2) is 1.01."""

from __future__ import annotations

import re

from tenfold_expressions.values import decimal_digits, number

MAX_PLACES = 20
_PATTERN = re.compile(r"([^#0.,%]*)([#,]*0*)(?:\.(0*)(#*))?(%?)([^#0.,%]*)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


def fixed(value: int | float, places: int, shift: int = 0) -> str:
    """Write `value * 10**shift` with exactly that many decimals."""
    sign, digits, point = decimal_digits(value)
    keep = point + shift + places
    head = digits[: max(keep, 0)].ljust(max(keep, 0), "0")
    up = keep >= 0 and keep < len(digits) and digits[keep] >= "5"
    units = str(int(head or "0") + up).rjust(places + 1, "0")
    text = f"{units[:-places]}.{units[-places:]}" if places else units
    return text if units.strip("0") == "" else sign + text


def rounded(value: int | float, places: int) -> int | float | None:
    return number(float(fixed(value, places)))


def read_number(text: str) -> int | float | None:
    """Read decimal text, with spaces around it allowed; anything else gives None."""
    trimmed = text.strip(SPACE)
    return number(float(trimmed)) if _NUMBER.fullmatch(trimmed) else None


def formatted(value: int | float, pattern: str) -> str | None:
    """Write a number by a pattern such as `#,##0.00`, `0.0%` or `$#,##0`; None where the pattern is none."""
    found = _PATTERN.fullmatch(pattern)
    if not found:
        return None
    before, whole, zeros, marks, percent, after = (part or "" for part in found.groups())
    places = len(zeros) + len(marks)
    if not whole + zeros + marks or places > MAX_PLACES:
        return None
    text = fixed(value, places, 2 if percent else 0)
    sign = "-" if text.startswith("-") else ""
    units, _, fraction = text.lstrip("-").partition(".")
    units = units.rjust(whole.count("0"), "0")
    if "," in whole:
        units = re.sub(r"(?<=[0-9])(?=(?:[0-9]{3})+$)", ",", units)
    while marks and fraction.endswith("0") and len(fraction) > len(zeros):
        fraction = fraction[:-1]
    return f"{sign}{before}{units}{'.' if fraction else ''}{fraction}{percent}{after}"
