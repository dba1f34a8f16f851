"""The zoo in the studio: every entry that needs no network, deployed with one click, answers its example sensibly."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tenfold_platform.zoo.service import get_entry, list_entries

from .conftest import Installation, new_profile
from .test_studio import sign_in

pytestmark = pytest.mark.e2e

READY_SECONDS = 600
OFFLINE = sorted(entry.name for entry in list_entries() if not entry.text.needs_network)
SHOWN: dict[str, Callable[[Page], Locator]] = {
    "ocr": lambda page: page.get_by_text("Invoice 2041"),
    "edge-detection": lambda page: page.get_by_role("img", name="The model's answer"),
    "text-embeddings": lambda page: page.get_by_role("cell", name="Refunds are paid within five working days."),
}
"""Whose ready-made app is opened as well, and what its answer shows."""


def _rows(answer: Any, column: str) -> list[Any]:
    return [row[column] for row in answer]


def _edges(answer: Any) -> bool:
    """The example is a drawn house: a wall's edge is bright, the sky and the inside of the wall are not."""
    picture = Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("L")
    values = np.asarray(picture, float) / 255
    unit = values.shape[0] / 100
    wall = values[int(50 * unit), int(15 * unit) : int(21 * unit)].max()
    sky = values[int(5 * unit) : int(15 * unit), int(10 * unit) : int(50 * unit)].mean()
    return bool(wall > 0.5 and sky < 0.1)


def _similarity(rows: Any) -> bool:
    best = max(rows[1:], key=lambda row: row["similarity"])
    return bool(best["text"] == "Refunds are paid within five working days.")


def _stylised(answer: Any) -> bool:
    """What the style does to the picture is measured in the tests of the demo; here it is a picture with detail."""
    picture = answer.get("image", answer)
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["data"]))).convert("L"), float)
    return bool(min(values.shape) >= 64 and values.std() > 15)


SENSIBLE: dict[str, Callable[[Any], bool]] = {
    "anomaly-detection": lambda rows: rows[0]["row"] == 7 and rows[0]["because_of"] == "temperature",
    "breast-cancer": lambda answer: answer["predictions"] == ["malignant"],
    "content-moderation": lambda answer: "safe" in str(answer).lower(),
    "diabetes-progression": lambda answer: abs(answer["predictions"][0] - 151) < 88,
    "digits": lambda answer: "7" in str(answer.get("predictions", answer)),
    "edge-detection": _edges,
    "file-type": lambda answer: "python" in str(answer).lower(),
    "forecast": lambda rows: np.allclose(_rows(rows, "forecast"), [60, 106, 150, 75], rtol=0.08),
    "image-similarity": lambda answer: answer["predictions"][0] > 0.8,  # by day and at dusk
    "iris-species": lambda answer: answer["predictions"] == ["virginica"],
    "keyword-extraction": lambda rows: rows[0]["keyword"] == "coral bleaching",
    "language-identification": lambda scores: scores["Portuguese (pt)"] > 0.5,
    "ocr": lambda rows: _rows(rows, "text") == ["Invoice 2041", "Total due: 318.50 EUR", "Pay by 14 March 2027"],
    "sentiment": lambda rows: _rows(rows, "sentiment") == ["positive", "negative", "neutral"],
    "style-transfer": _stylised,
    "text-embeddings": _similarity,
    "text-summary": lambda summary: "lighthouse" in summary,
    "toxic-text": lambda rows: _rows(rows, "offensive") == [False, True, False],
    "voice-activity": lambda answer: "start" in str(answer),
}


@pytest.fixture(scope="module")
def studio(browser: Browser, installation: Installation) -> Iterator[tuple[Page, str]]:
    """Somebody who signed in, and the address of the workspace's rooms."""
    context = new_profile(browser)
    page = context.new_page()
    yield page, sign_in(page, installation)
    context.close()


def test_every_entry_without_a_network_is_tried() -> None:
    assert sorted(SENSIBLE) == OFFLINE


def test_the_zoo_can_be_searched(studio: tuple[Page, str], screenshot: Callable[[Page, str], None]) -> None:
    page, rooms = studio
    page.goto(f"{rooms}/zoo")
    expect(page.get_by_role("button", name="Deploy ocr")).to_be_visible()
    screenshot(page, "all")
    page.get_by_role("textbox", name="Search the zoo").fill("speech")
    expect(page.get_by_role("button", name="Deploy voice-activity")).to_be_visible()
    expect(page.get_by_role("button", name="Deploy ocr")).to_have_count(0)


@pytest.mark.parametrize("name", OFFLINE)
def test_one_click_makes_it_answer(
    name: str, studio: tuple[Page, str], installation: Installation, screenshot: Callable[[Page, str], None]
) -> None:
    page, rooms = studio
    page.goto(f"{rooms}/zoo")
    page.get_by_role("button", name=f"Deploy {name}", exact=True).click()
    page.wait_for_url(re.compile(rf"/models/{name}/versions/\d+$"))
    header = page.locator("header").filter(has=page.locator("[data-page-title]"))
    expect(header.get_by_text(re.compile("^(Running|Failed)$"))).to_be_visible(timeout=READY_SECONDS * 1000)
    expect(header.get_by_text("Failed")).to_have_count(0)

    try:
        _ask(name, installation)
        if name in SHOWN:
            _use_the_app(page, rooms, name, screenshot)
    finally:
        with installation.api() as api:  # it gives back its memory
            assert api.delete(f"/models/{name}").status_code == 204


def _ask(name: str, installation: Installation) -> None:
    answer = httpx.post(
        f"{installation.gateway}/v1/default/models/{name}/predict",
        json=get_entry(name).example,
        headers={"Authorization": f"Bearer {installation.profile['key']}"},
        timeout=300,
    )
    assert answer.status_code == 200, answer.text
    assert SENSIBLE[name](answer.json()), answer.text[:2000]


def _use_the_app(page: Page, rooms: str, name: str, screenshot: Callable[[Page, str], None]) -> None:
    """The app that came with it, with its example filled in; files are for people to choose."""
    page.goto(f"{rooms}/apps/{name}/open")
    entry = get_entry(name)
    for field in entry.schema["fields"]:
        if field["type"] == "image":
            given = entry.example[field["name"]]
            picture = {
                "name": given["name"],
                "mimeType": given["type"],
                "buffer": base64.b64decode(given["data"]),
            }
            page.get_by_label(field["title"]).set_input_files(picture)  # type: ignore[arg-type]
    page.get_by_role("button", name=re.compile("predict|run|ask", re.I)).first.click()
    expect(SHOWN[name](page).first).to_be_visible(timeout=120_000)
    screenshot(page, name)
