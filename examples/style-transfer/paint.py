"""Paints the three styles in code/pictures: brush strokes along a swirling field, stained glass, a woodcut.

They are drawn by this script and by nobody else's hand, so they may be used by anybody for anything.

    python examples/style-transfer/paint.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "code" / "pictures"
SIDE = 384
FINE = 3 * SIDE  # drawn larger, then made smaller, for soft edges

NIGHT = ["#0b1d51", "#14377d", "#1f5fa8", "#3f8fc9", "#86c0dd", "#f4d35e", "#f2a541", "#e9edc9", "#0a1233"]
GLASS = ["#c1121f", "#e85d04", "#faa307", "#2a9d8f", "#0077b6", "#03045e", "#7b2cbf", "#f1faee", "#588157"]


def swirls() -> Image.Image:
    """Thick short strokes that follow whirls, from large and dark to small and bright."""
    random = np.random.default_rng(7)
    centres = random.uniform(0.1, 0.9, (6, 2)) * FINE
    turns = random.choice([-1, 1], 6) * random.uniform(0.8, 1.4, 6)
    reach = random.uniform(0.10, 0.2, 6) * FINE

    def direction(x: float, y: float) -> np.ndarray:
        across, down = x - centres[:, 0], y - centres[:, 1]
        distance = np.hypot(across, down) + 1
        pull = turns * np.exp(-distance / (1.6 * reach))
        flow = np.array([(-down / distance * pull).sum() + 0.35, (across / distance * pull).sum()])
        return flow / (np.hypot(*flow) + 1e-9)

    picture = Image.new("RGB", (FINE, FINE), NIGHT[0])
    draw = ImageDraw.Draw(picture)
    for width, count in ((34, 1400), (24, 2600), (15, 4200)):
        for x, y in random.uniform(-20, FINE + 20, (count, 2)):
            nearest = float(np.min(np.hypot(x - centres[:, 0], y - centres[:, 1]) / reach))
            bright = nearest < 0.55
            colour = _shade(random, NIGHT[5:8] if bright else NIGHT[:5] + NIGHT[8:])
            points = [np.array([x, y])]
            for _ in range(int(random.integers(5, 10))):
                points.append(points[-1] + direction(*points[-1]) * width * 0.9)
            draw.line([tuple(point) for point in points], fill=colour, width=width, joint="curve")
            highlight = _lighter(colour, 28)
            draw.line(
                [tuple(point - width * 0.22) for point in points],
                fill=highlight,
                width=max(2, width // 6),
            )
    return picture


def glass() -> Image.Image:
    """Cells of coloured glass in dark lead."""
    random = np.random.default_rng(11)
    seeds = random.uniform(0, FINE, (190, 2))
    down, across = np.mgrid[0:FINE, 0:FINE]
    first = np.full((FINE, FINE), np.inf)
    second = np.full((FINE, FINE), np.inf)
    owner = np.zeros((FINE, FINE), dtype=int)
    for index, (x, y) in enumerate(seeds):
        distance = np.hypot(across - x, down - y)
        nearer = distance < first
        second = np.where(nearer, first, np.minimum(second, distance))
        owner = np.where(nearer, index, owner)
        first = np.where(nearer, distance, first)
    colours = np.array([_rgb(_shade(random, GLASS)) for _ in seeds])
    light = 1.12 - 0.35 * first / first.max() + random.normal(0, 0.015, (FINE, FINE))
    pixels = colours[owner] * light[..., None]
    pixels[second - first < 10] = (18, 16, 20)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def woodcut() -> Image.Image:
    """Black cuts of changing weight on warm paper, with one red."""
    random = np.random.default_rng(3)
    down, across = np.mgrid[0:FINE, 0:FINE] / FINE
    bend = 0.05 * np.sin(7 * across + 3 * np.sin(4 * down)) + 0.04 * np.sin(11 * down + 5 * across)
    hills = _noise(random, 6)
    angle = np.where(hills > 0.56, across + 0.5 * down, down - 0.35 * across)
    lines = np.sin((angle + bend) * 2 * np.pi * 34)
    ink = lines > 1.5 * _noise(random, 4) - 0.75
    paper = np.array(_rgb("#f3e6cc")) + random.normal(0, 4, (FINE, FINE, 1))
    pixels = np.where(ink[..., None], np.array(_rgb("#1b1713")), paper)
    red = (_noise(random, 5) > 0.66)[..., None] & ~ink[..., None]
    pixels = np.where(red, np.array(_rgb("#c8402f")), pixels)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _noise(random: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth hills between 0 and 1."""
    coarse = Image.fromarray(random.uniform(0, 255, (cells, cells)).astype(np.uint8))
    return np.asarray(coarse.resize((FINE, FINE), Image.Resampling.BICUBIC), dtype=float) / 255


def _shade(random: np.random.Generator, palette: list[str]) -> tuple[int, int, int]:
    red, green, blue = np.array(_rgb(str(random.choice(palette)))) + random.normal(0, 12, 3)
    return _clipped(red), _clipped(green), _clipped(blue)


def _lighter(colour: tuple[int, int, int], by: int) -> tuple[int, int, int]:
    red, green, blue = colour
    return _clipped(red + by), _clipped(green + by), _clipped(blue + by)


def _rgb(text: str | tuple[int, int, int]) -> tuple[int, int, int]:
    if isinstance(text, tuple):
        return text
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _clipped(value: float) -> int:
    return int(min(255, max(0, value)))


def main() -> None:
    styles: dict[str, Callable[[], Image.Image]] = {"swirls": swirls, "glass": glass, "woodcut": woodcut}
    for name, paint in styles.items():
        small = paint().resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(FOLDER / f"{name}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
