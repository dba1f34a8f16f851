"""The reference page says what the code does."""

import re
from pathlib import Path

from tenfold_views import lint, load_manifest, load_view

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "views.md"


def test_the_example_is_a_view_without_problems() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    view = load_view(example[1], filename="review.yaml")
    worklets = {"ocr": {"file": "file"}, "store": {"id": "str", "result": "json"}}
    assert lint(view, worklets=worklets, models=[], views={"review": view}) == []


def test_every_component_is_described_with_all_that_it_takes() -> None:
    sections = re.split(r"\n#### ", PAGE.read_text(encoding="utf-8"))[1:]
    described = {section.split("`")[1]: section for section in sections}
    manifest = load_manifest()
    assert sorted(described) == sorted(manifest.components)
    for name, component in manifest.components.items():
        for part in (*component.props, *component.outputs, *component.events, *component.slots):
            assert f"`{part}`" in described[name], (name, part)
