"""The style-transfer tutorial, walked: its commands as they stand on the page, then what it says to press."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from .conftest import ROOT, SCREENSHOTS, TENFOLD, Installation, new_profile

pytestmark = pytest.mark.e2e

TUTORIAL = ROOT / "docs" / "tutorial" / "style-transfer.md"
PICTURES = ROOT / "examples" / "style-transfer" / "code" / "pictures"
COMMAND_SECONDS = 1800  # an environment with TensorFlow is fetched and built
PATIENCE_MS = 120_000  # for whatever the page does in a moment when the machine is idle
PAINTING_MS = 300_000
SIZE = (384, 256)  # in which pictures are compared


def commands() -> list[list[str]]:
    """What the page tells to type, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def labelled(text: str) -> str:
    """A label that is pressed here, and that the page names in bold."""
    assert f"**{text}**" in TUTORIAL.read_text(), f"the tutorial does not say to press {text}"
    return text


def test_the_tutorial_from_an_empty_platform_to_the_painting_on_the_shared_view(
    new_installation: Callable[[], Installation], page: Page, browser: Browser, tmp_path: Path
) -> None:
    first, *others = commands()
    assert first == ["./dev", "up"]
    installation = new_installation()
    installation.start()
    for command in others:
        type_in(installation, command)

    link = share(page, installation)

    visitor = new_profile(browser, accept_downloads=True)
    visitor.set_default_timeout(PATIENCE_MS)
    view = visitor.new_page()
    complaints: list[str] = []
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.goto(link)
    view.get_by_label("The picture to paint").set_input_files(PICTURES / "pagoda.jpg")
    shown(view.get_by_alt_text("Preview of pagoda.jpg"))
    refused_address(view)
    view.get_by_role("button", name=labelled("Glass")).click()
    shown(view.get_by_alt_text("Preview of glass.jpg"))
    painting = paint(view, tmp_path / "painting.png")
    shown(view.get_by_role("cell", name="Style strength"))
    keep(view, "style-transfer")
    visitor.close()

    assert painting.text["Picture"] == "pagoda.jpg, 512 x 342 pixels"  # type: ignore[attr-defined]
    assert painting.text["Style strength"] == "50%"  # type: ignore[attr-defined]
    is_painted(painting, content="pagoda", style="glass")

    on_a_phone(browser, link, tmp_path)
    assert complaints == []


def type_in(installation: Installation, command: list[str]) -> None:
    """One command of the page, in the repository, with this run's interpreter in place of .venv's."""
    program = TENFOLD if command[0] == ".venv/bin/tenfold" else command[0]
    done = subprocess.run(
        [program, *command[1:]],
        env=installation.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"


def share(page: Page, installation: Installation) -> str:
    """Steps 1, 4 and 5 as an admin does them in the studio. Returns the link to send."""
    page.context.set_default_timeout(PATIENCE_MS)
    page.goto(installation.sign_in_link)
    page.get_by_role("button", name=labelled("Skip for now")).click()
    page.wait_for_url(re.compile(r"/w/default/"))
    page.get_by_role("link", name=labelled("Apps"), exact=True).click()
    page.get_by_role("link", name=labelled("Stylise")).first.click()
    page.wait_for_url(re.compile(r"/apps/stylise$"))
    shown(page.get_by_role("heading", level=1, name="Stylise"))
    header = page.locator("header").filter(has=page.get_by_role("heading", level=1, name="Stylise"))
    with page.context.expect_page() as opened:
        header.get_by_role("link", name=labelled("Open"), exact=True).click()
    view = opened.value
    view.get_by_role("button", name=labelled("A pagoda")).click()
    shown(view.get_by_alt_text("Preview of pagoda.jpg"))
    expect(view.get_by_role("button", name=labelled("Paint it"))).to_be_disabled(timeout=PATIENCE_MS)
    view.close()
    page.get_by_role("radio", name=labelled("Anyone with the link")).check()
    link = page.get_by_text(re.compile(r"/default/stylise/easel#k=")).first
    shown(link)
    return link.inner_text().strip()


def refused_address(view: Page) -> None:
    """What the page says to try: an address in a private network is refused, by name, before anything is painted."""
    address = view.get_by_label("Or its address on the web").nth(1)
    address.fill("http://localhost")
    assert "`http://localhost`" in TUTORIAL.read_text()
    shown(view.get_by_text("leads into a private network: localhost").first)
    expect(view.get_by_role("button", name="Paint it")).to_be_disabled(timeout=PATIENCE_MS)
    address.fill("")
    expect(view.get_by_text("leads into a private network")).to_have_count(0, timeout=PATIENCE_MS)


def paint(view: Page, path: Path) -> Image.Image:
    """Presses the button, waits for the painting, and takes it by the page's own download."""
    view.get_by_role("button", name="Paint it").click()
    shown(view.get_by_text("The painting appears below."))
    expect(painted(view)).to_be_visible(timeout=PAINTING_MS)
    expect(view.get_by_text("The painting appears below.")).to_have_count(0, timeout=PATIENCE_MS)
    with view.expect_download() as downloading:
        view.get_by_role("button", name=labelled("Download")).click()
    assert downloading.value.suggested_filename == "painting.png"
    downloading.value.save_as(path)
    return Image.open(path)


def shown(what: Locator) -> None:
    expect(what).to_be_visible(timeout=PATIENCE_MS)


def painted(view: Page) -> Locator:
    return view.get_by_alt_text("The painting", exact=True)


def on_a_phone(browser: Browser, link: str, folder: Path) -> None:
    """The same link on a phone: nothing is wider than the screen, and it paints."""
    phone = new_profile(browser, 390, 844, has_touch=True, accept_downloads=True)
    phone.set_default_timeout(PATIENCE_MS)
    view = phone.new_page()
    view.goto(link)
    view.get_by_role("button", name="A dahlia").tap()
    view.get_by_role("button", name="Swirls").tap()
    view.get_by_label("Care").first.tap()
    view.get_by_role("option", name="A sketch").tap()
    view.get_by_label("Longer side").first.tap()
    view.get_by_role("option", name="256 pixels").tap()
    painting = paint(view, folder / "sketch.png")
    assert painting.width == 512  # twice what was asked for
    assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    is_painted(painting, content="dahlia", style="swirls")
    keep(view, "style-transfer-phone")
    phone.close()


def keep(view: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    view.evaluate("window.scrollTo(0, 0)")
    view.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


# --- whether a painting is one


def is_painted(painting: Image.Image, *, content: str, style: str) -> None:
    """Not the photo, most of the way to the style's look, and the photo's outlines where they were."""
    result, photo = pixels(painting), pixels(Image.open(PICTURES / f"{content}.jpg"))
    swatch = pixels(Image.open(PICTURES / f"{style}.jpg"))

    assert np.abs(result - photo).mean() > 0.1
    assert apart(result, swatch) < 0.6 * apart(photo, swatch)
    kept = alike(outlines(result), outlines(photo))
    by_chance = alike(outlines(result), outlines(photo[:, ::-1]))
    assert kept > 0.12
    assert kept > by_chance + 0.08


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS), dtype=float) / 255


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(look(one) - look(other)))


def look(picture: np.ndarray) -> np.ndarray:
    """Of no place in particular: the colours, how they vary together, and how rough it is at three sizes."""
    colours = picture.reshape(-1, 3)
    found = [colours.mean(0), 4 * np.cov(colours.T)[np.triu_indices(3)]]
    gray = picture.mean(2)
    for _ in range(3):
        found.append(4 * np.array([np.abs(np.diff(gray, axis=axis)).mean() for axis in (0, 1)]))
        gray = cells(gray, 2)
    return np.concatenate(found)


def outlines(picture: np.ndarray) -> np.ndarray:
    """How much of an edge there is in each small square."""
    down, across = np.gradient(picture.mean(2))
    return cells(np.hypot(down, across), 4)


def cells(values: np.ndarray, side: int) -> np.ndarray:
    height, width = values.shape[0] // side, values.shape[1] // side
    return values[: height * side, : width * side].reshape(height, side, width, side).mean((1, 3))


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
