"""A whole installation, as a user starts it, and a browser to look at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from ..installation import ROOT, TENFOLD, Installation, wait_for

__all__ = ["ROOT", "TENFOLD", "Installation", "wait_for"]

SCREENSHOTS = ROOT / "test-output" / "screenshots"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh profile. What the page complains about in its console fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and not re.search(r"status of (4|5)\d\d", message.text)
            else None
        ),
    )
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a picture for a person to look at."""

    def take(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{request.node.path.stem}-{name}.png", full_page=True)

    return take
