"""What the reference page shows is true."""

import re
from pathlib import Path

import pytest

from tenfold_worklets import compile_worklet, load_worklet
from tenfold_worklets.app import load_app
from tenfold_worklets.nodes import KINDS
from tenfold_worklets.types import BASE_TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "worklets.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_each_example_is_accepted(text):
    if text.startswith("worklet:"):
        assert compile_worklet(load_worklet(text)).http
    else:
        assert load_app(text).home == "review"


def test_there_is_an_example_of_each_document():
    assert [text.partition(":")[0] for text in EXAMPLES] == ["worklet", "app"]


@pytest.mark.parametrize("word", [*KINDS, *BASE_TYPES, *sorted({key for kind in KINDS.values() for key in kind.keys})])
def test_each_kind_key_and_type_is_described(word):
    assert f"`{word}`" in PAGE
