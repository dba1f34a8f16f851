"""Inputs for the zoo's entries, drawn and computed: pictures, a recording that sounds like speech, a file.

`python tests/zoo/drawings.py` writes them into the entries' config.yaml as their examples.
"""

from __future__ import annotations

import base64
import io
import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

ENTRIES = Path(__file__).parents[2] / "platform" / "tenfold_platform" / "zoo" / "entries"
RATE = 16_000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""The three resonances of a mouth that says a, i, u, e, o, in hertz."""


def picture_file(picture: Image.Image, name: str = "picture.png") -> dict[str, Any]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return as_file(buffer.getvalue(), name, "image/png")


def as_file(data: bytes, name: str, media_type: str) -> dict[str, Any]:
    return {"name": name, "type": media_type, "size": len(data), "data": base64.b64encode(data).decode("ascii")}


def picture_in(file: dict[str, Any]) -> Image.Image:
    data = base64.b64decode(file["data"])
    assert len(data) == file["size"]
    assert file["type"] == "image/png"
    return Image.open(io.BytesIO(data))


def written(lines: list[tuple[str, int]], size: tuple[int, int] = (460, 190)) -> Image.Image:
    """Lines of text in their sizes, black on white."""
    picture = Image.new("L", size, 255)
    draw, top = ImageDraw.Draw(picture), 18
    for text, height in lines:
        draw.text((24, top), text, font=ImageFont.load_default(height), fill=0)
        top += round(height * 1.7)
    return picture


def invoice() -> Image.Image:
    return written([("Invoice 2041", 34), ("Total due: 318.50 EUR", 24), ("Pay by 14 March 2027", 24)])


def house_at_a_lake(dusk: bool = False, side: int = 256) -> Image.Image:
    """A house, a tree and the sun between sky and water."""
    sky, water, sun = ("#6a5a8c", "#3b3a5e", "#e0813a") if dusk else ("#9fd0ee", "#3f7fae", "#f7d54a")
    picture = Image.new("RGB", (side * 2, side * 2), sky)
    draw = ImageDraw.Draw(picture)
    unit = side * 2 / 100
    box = [unit * value for value in (70, 8, 86, 24)]
    draw.ellipse(box, fill=sun)
    draw.rectangle([0, 70 * unit, 100 * unit, 100 * unit], fill=water)
    draw.rectangle([0, 64 * unit, 100 * unit, 72 * unit], fill="#5d8a3c")
    draw.rectangle([18 * unit, 40 * unit, 48 * unit, 66 * unit], fill="#e8dcc6")
    draw.polygon([(14 * unit, 40 * unit), (33 * unit, 22 * unit), (52 * unit, 40 * unit)], fill="#a3402e")
    draw.rectangle([29 * unit, 52 * unit, 37 * unit, 66 * unit], fill="#5b3a29")
    draw.rectangle([22 * unit, 45 * unit, 27 * unit, 51 * unit], fill="#7fb4d8")
    draw.rectangle([39 * unit, 45 * unit, 44 * unit, 51 * unit], fill="#7fb4d8")
    draw.rectangle([73 * unit, 50 * unit, 77 * unit, 67 * unit], fill="#5b3a29")
    draw.ellipse([63 * unit, 32 * unit, 87 * unit, 55 * unit], fill="#2f6b34")
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def coloured_stripes(side: int = 128) -> Image.Image:
    """Wavy stripes of five colours."""
    down, across = np.mgrid[0:side, 0:side]
    stripe = ((down + 9 * np.sin(across / 11) + across * 0.35) / 9).astype(int) % 5
    colours = np.array([[22, 52, 110], [240, 180, 60], [190, 50, 60], [250, 240, 215], [40, 140, 130]], np.uint8)
    return Image.fromarray(colours[stripe])


def drawn_face(side: int = 192) -> Image.Image:
    picture = house_at_a_lake(side=side)
    draw = ImageDraw.Draw(picture)
    unit = side / 100
    draw.ellipse([34 * unit, 28 * unit, 66 * unit, 70 * unit], fill="#e7b893")
    for left in (42, 54):
        draw.ellipse([left * unit, 44 * unit, (left + 5) * unit, 48 * unit], fill="#33261f")
    draw.arc([42 * unit, 50 * unit, 58 * unit, 62 * unit], 20, 160, fill="#8c3a33", width=max(1, round(unit)))
    return picture


def seven(side: int = 120) -> Image.Image:
    """A seven as one draws it: a bar, and a slanted stroke."""
    picture = Image.new("L", (side, side), 250)
    draw, unit = ImageDraw.Draw(picture), side / 100
    points = [(28 * unit, 24 * unit), (70 * unit, 22 * unit), (44 * unit, 82 * unit)]
    draw.line(points, fill=30, width=round(9 * unit), joint="curve")
    return picture.filter(ImageFilter.GaussianBlur(unit))


def spoken(seconds: float, rate: int = RATE, seed: int = 1) -> np.ndarray:
    """What a mouth would say that wanders between vowels: pulses of a voice through three moving resonances."""
    random = np.random.default_rng(seed)
    count = int(seconds * rate)
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.9 * np.arange(count) / rate)
    pulses = np.diff(np.floor(np.cumsum(pitch / rate)), prepend=0) + random.normal(size=count) * 0.005
    sound = filtered(pulses - pulses.mean(), np.full(count, 0.9), np.zeros(count))
    syllable = int(0.22 * rate)
    order = random.integers(0, len(VOWELS), count // syllable + 2)
    centres = np.arange(len(order)) * syllable + syllable / 2
    for resonance, width in enumerate((60, 90, 120)):
        hertz = np.interp(np.arange(count), centres, [VOWELS[vowel][resonance] for vowel in order])
        radius = np.exp(-np.pi * width / rate)
        sound = filtered(sound, 2 * radius * np.cos(2 * np.pi * hertz / rate), np.full(count, -(radius**2)))
    sound *= 0.35 + 0.65 * np.sin(np.pi * (np.arange(count) % syllable) / syllable) ** 0.7
    return np.asarray(sound / np.abs(sound).max() * 0.6, np.float32)


def filtered(sound: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Each value with the two before it fed back, by coefficients that may change along the way."""
    out, one, two = np.zeros(len(sound)), 0.0, 0.0
    for at, value in enumerate(sound.tolist()):
        one, two = value + first[at] * one + second[at] * two, one
        out[at] = one
    return out


def recording(sound: np.ndarray, rate: int = RATE, width: int = 2) -> bytes:
    """A WAV file of one channel."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        clipped = np.clip(sound, -1, 1)
        values = (clipped * 127 + 128).astype(np.uint8) if width == 1 else (clipped * 32767).astype("<i2")
        file.writeframes(values.tobytes())
    return buffer.getvalue()


def example_recording() -> bytes:
    silence = np.zeros(4000)
    return recording(np.concatenate([silence, spoken(1.4, 8000), silence]), 8000, width=1)


PROGRAM = b"""import csv
import sys


def total(path):
    with open(path, newline="") as file:
        return sum(float(row["amount"]) for row in csv.DictReader(file))


if __name__ == "__main__":
    print(total(sys.argv[1]))
"""


def examples() -> dict[str, dict[str, Any]]:
    """The examples that hold files, by entry."""
    return {
        "ocr": {"image": picture_file(invoice(), "invoice.png")},
        "edge-detection": {"image": picture_file(house_at_a_lake(), "house.png")},
        "image-similarity": {
            "first": picture_file(house_at_a_lake(), "day.png"),
            "second": picture_file(house_at_a_lake(dusk=True), "dusk.png"),
            "features": False,
        },
        "content-moderation": {"image": picture_file(drawn_face(), "face.png"), "threshold": 0.3},
        "digits": {"image": picture_file(seven(), "seven.png")},
        "voice-activity": {"file": as_file(example_recording(), "vowels.wav", "audio/wav"), "threshold": 0.5},
        "file-type": {"file": as_file(PROGRAM, "unknown", "application/octet-stream")},
        "image-stylization": {
            "content": picture_file(house_at_a_lake(), "house.png"),
            "style": picture_file(coloured_stripes(), "stripes.png"),
        },
    }


def main() -> None:
    import yaml

    for entry, example in examples().items():
        path = ENTRIES / entry / "config.yaml"
        lines = yaml.safe_dump({"example_model_input": example}, width=1 << 30, sort_keys=False)
        indented = "".join(f"  {line}\n" for line in lines.splitlines())
        text = re.sub(r"(?m)^  example_model_input:\n(?:    .*\n)+", "", path.read_text(encoding="utf-8"))
        path.write_text(text + indented, encoding="utf-8")  # model_metadata is the last key of each
        print(f"{entry}: {len(text) / 1024:.1f} KiB and {len(indented) / 1024:.1f} KiB of example")  # noqa: T201


if __name__ == "__main__":
    main()
