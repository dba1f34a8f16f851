"""Continues a series by exponential smoothing after Holt and Winters, with a damped trend and an additive season."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

FEWEST_VALUES, MOST_VALUES = 4, 5_000
MOST_STEPS = 1000
EIGHTY_PERCENT = 1.2816
"""Four of five values of a normal distribution lie within so many standard deviations of its middle."""


class HTTPException(Exception):
    """What the caller did wrong: answered with its status and text, not as a fault of the model."""

    def __init__(self, status_code: int, detail: str) -> None:
        super().__init__(detail)
        self.status_code = status_code
        self.detail = detail


@dataclass(frozen=True)
class Rates:
    """How fast level, slope and season follow what is new, and how much of the slope is left after a step."""

    level: float
    slope: float
    season: float
    damping: float


class Model:
    def predict(self, inputs: Any) -> list[dict[str, float]]:
        """{"values": [numbers], "steps": 4, "season": 4} to a row per step."""
        values, steps, season = read(inputs)
        rates = best_rates(values, season)
        errors, forecast = smooth(values, season, rates, steps)
        spread = float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0
        return [row_of(step, middle, spread, rates, season) for step, middle in enumerate(forecast, 1)]


def best_rates(values: np.ndarray, season: int) -> Rates:
    """The rates whose forecasts, one step ahead all along the series, would have been off least."""

    def loss(point: np.ndarray) -> float:
        errors, _ = smooth(values, season, Rates(*point), 0)
        return float(np.sum(errors**2))

    bounds = [(0.01, 0.99), (0.001, 0.5), (0.001, 0.9) if season else (0.0, 0.0), (0.8, 0.98)]
    starts = ([0.3, 0.05, 0.1, 0.95], [0.8, 0.2, 0.3, 0.9])
    found = (minimize(loss, np.clip(start, *zip(*bounds, strict=True)), bounds=bounds) for start in starts)
    return Rates(*min(found, key=lambda one: one.fun).x)


def smooth(values: np.ndarray, season: int, rates: Rates, steps: int) -> tuple[np.ndarray, list[float]]:
    """What each one-step forecast was off by, and the forecast of `steps` values beyond the end."""
    level, slope, pattern = beginning(values, season)
    errors = np.empty(len(values))
    for at, value in enumerate(values.tolist()):
        place = at % len(pattern)
        expected = level + rates.damping * slope
        error = value - expected - pattern[place]
        errors[at] = error
        level = expected + rates.level * error
        slope = rates.damping * slope + rates.level * rates.slope * error
        pattern[place] += rates.season * (1 - rates.level) * error
    forecast = []
    for step in range(steps):
        slope *= rates.damping
        level += slope
        forecast.append(level + pattern[(len(values) + step) % len(pattern)])
    return errors[max(season, 1) :], forecast


def beginning(values: np.ndarray, season: int) -> tuple[float, float, list[float]]:
    """Level and slope before the first value, by a line through the first ones; and the season around that line."""
    first = values[: 2 * season] if season else values[: max(4, min(10, len(values)))]
    slope, level = np.polyfit(np.arange(len(first)), first, 1)
    if not season:
        return float(level - slope), float(slope), [0.0]
    years = first.reshape(2, season)
    slope = float((years[1] - years[0]).mean() / season)
    level = float(years.mean() - slope * (2 * season - 1) / 2)
    line = level + slope * np.arange(2 * season).reshape(2, season)
    pattern = (years - line).mean(axis=0)
    return level - slope, slope, (pattern - pattern.mean()).tolist()


def row_of(step: int, middle: float, spread: float, rates: Rates, season: int) -> dict[str, float]:
    """One step's forecast. The range grows with the distance, as the errors of the steps between add up."""
    weights = [
        rates.level * (1 + rates.slope * sum(rates.damping**power for power in range(1, back + 1)))
        + (rates.season * (1 - rates.level) if season and back % season == 0 else 0)
        for back in range(1, step)
    ]
    reach = EIGHTY_PERCENT * spread * math.sqrt(1 + sum(weight**2 for weight in weights))
    return {
        "step": step,
        "forecast": shortened(middle),
        "low": shortened(middle - reach),
        "high": shortened(middle + reach),
    }


def shortened(value: float) -> float:
    return float(f"{value:.6g}")


def read(inputs: Any) -> tuple[np.ndarray, int, int]:
    """Values, steps and season of a request; no season is 0."""
    given = inputs if isinstance(inputs, dict) else {"values": inputs}
    values = given.get("values")
    if not isinstance(values, list) or not all(is_number(value) for value in values):
        raise HTTPException(400, "values must be a list of numbers, with nothing missing.")
    if not FEWEST_VALUES <= len(values) <= MOST_VALUES:
        raise HTTPException(400, f"There are {len(values)} values; send from {FEWEST_VALUES} to {MOST_VALUES}.")
    steps, season = given.get("steps"), given.get("season") or 0
    steps = 4 if steps is None else steps
    if not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS:
        raise HTTPException(400, f"steps is {steps!r}, and must be a whole number from 1 to {MOST_STEPS}.")
    if not isinstance(season, int) or season < 0 or season == 1:
        raise HTTPException(400, f"season is {season!r}, and must be a whole number from 2 on, or nothing.")
    if season and len(values) < 2 * season:
        raise HTTPException(400, f"A season of {season} needs at least {2 * season} values; there are {len(values)}.")
    return np.array(values, dtype=float), steps, season


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
