"""A whole installation, as a user starts it, and a browser to look at it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from rich.console import Console

import tenfold
from tenfold.client import Client
from tenfold.models import Model
from tenfold.progress import PlainProgress

from ..installation import ROOT, TENFOLD, Installation
from ..waiting import wait_for

__all__ = ["ROOT", "TENFOLD", "Installation", "wait_for"]

SCREENSHOTS = ROOT / "test-output" / "screenshots"

Deploy = Callable[..., Model]

expect.set_options(timeout=60_000)  # not the usual five seconds: a loaded machine takes its time


@pytest.fixture(scope="module")
def platform(installation: Installation) -> Installation:
    """What a file's tests run on. A file that needs other settings has another."""
    return installation


@pytest.fixture(scope="module")
def client(platform: Installation) -> Iterator[Client]:
    with platform.client() as made:
        yield made


@pytest.fixture
def deploy(client: Client, tmp_path: Path) -> Iterator[Deploy]:
    """`deploy(code, name, config="", **options)`: a package with this code, deployed, and deleted after the test.

    Nothing is installed for it.
    """
    names: set[str] = set()

    def run(code: str, name: str, config: str = "", **options: Any) -> Model:
        names.add(name)
        root = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        (root / "model").mkdir(parents=True)
        (root / "model" / "model.py").write_text(code)
        (root / "config.yaml").write_text(f"model_metadata: {{tenfold: {{}}}}\n{config}")
        return tenfold.deploy(root, name, client=client, progress=quiet(), **options)

    yield run
    for name in names & {model["name"] for model in client.models()}:
        client.model(name).delete()


def quiet() -> PlainProgress:
    """Of a deploy that nobody watches."""
    return PlainProgress(Console(file=io.StringIO()))


def new_profile(browser: Browser, width: int = 1280, height: int = 900, **more: Any) -> BrowserContext:
    """Somebody else's browser. Spinners stand still in it: drawing them is a third of what the browser would cost."""
    return browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **more)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh profile. What the page complains about in its console fails the test."""
    context = new_profile(browser)
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
