"""Names that travelling code refers to, and names that only look like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tenfold.packaging.source import carry


def test_an_argument_is_not_the_global_of_the_same_name(tmp_path: Path, script: Callable[[str], ModuleType]) -> None:
    main = script(
        "words = lambda: 1\n"
        "LIMIT = 3\n"
        "def helper(count: 'Limit') -> int:\n    return count * LIMIT\n"
        "class Limit:\n    limit = LIMIT\n"
        "def read(words, other=LIMIT):\n"
        "    def inner(model):\n        return [helper(words) for words in model]\n"
        "    return inner(words)\n"
        "model = lambda: 2\n"
    )
    carry({"read"}, set(), tmp_path)
    carried = (tmp_path / "notebook_code.py").read_text()
    assert not (tmp_path / "notebook_values.pickle").exists()
    found: dict[str, object] = {}
    exec(carried, found)
    assert {"read", "helper", "LIMIT", "Limit"} <= set(found)
    assert not {"words", "model"} & set(found)
    assert found["read"]([2]) == main.read([2]) == [6]  # type: ignore[operator]


def test_a_dataclass_travels_with_its_source(tmp_path: Path, script: Callable[[str], ModuleType]) -> None:
    script(
        "import dataclasses\n"
        "@dataclasses.dataclass\n"
        "class Settings:\n"
        "    width: int = 3\n"
        "    def twice(self):\n        return self.width * 2\n"
    )
    carry({"Settings"}, set(), tmp_path)
    assert (
        "@dataclasses.dataclass\nclass Settings:\n    width: int = 3\n" in (tmp_path / "notebook_code.py").read_text()
    )
