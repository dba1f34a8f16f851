"""What holds for every entry of the zoo, told from its files."""

from __future__ import annotations

import ast
import base64
import json
from collections import defaultdict
from typing import Any

import pytest

from tenfold_platform.models.schemas import ModelSchema
from tenfold_platform.zoo.service import ENTRIES_DIR, Entry, get_entry

NAMES = sorted(path.parent.name for path in ENTRIES_DIR.glob("*/zoo.yaml"))
LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause", "BSD-3-Clause and MIT", "AGPL-3.0", "CC-BY-4.0", "free to use")
LARGEST_EXAMPLE_BYTES = 64 * 1024


@pytest.fixture(params=NAMES)
def entry(request: pytest.FixtureRequest) -> Entry:
    return get_entry(request.param)


def test_there_is_something_for_every_kind_of_input() -> None:
    entries = [get_entry(name) for name in NAMES]
    without_network = [entry for entry in entries if not entry.text.needs_network]
    types = {field["type"] for entry in without_network for field in entry.schema["fields"]}

    assert len(without_network) >= 12
    assert {"image", "file", "str", "float", "json"} <= types
    assert {"table", "scores", "image", "text", "classification", "regression"} <= {
        entry.schema["output"]["kind"] for entry in without_network
    }


def test_a_folder_without_zoo_yaml_is_not_left_behind() -> None:
    assert sorted(path.name for path in ENTRIES_DIR.iterdir() if path.is_dir() and path.name != "__pycache__") == NAMES


def test_the_package_is_read_without_a_warning(entry: Entry) -> None:
    assert entry.config.warnings == ()
    assert not entry.config.foreign
    assert entry.config.model_name == entry.name
    assert entry.config.values["python_version"] is not None  # the platform's, filled in


def test_its_schema_and_framework_are_said(entry: Entry) -> None:
    ours = entry.config.model_metadata["tenfold"]

    assert ours["format"] == 1
    assert ours["framework"] == entry.text.framework
    schema = ModelSchema.model_validate(ours["schema"])
    assert schema.form in ("record", "table")
    assert schema.fields


def test_its_texts_can_be_shown(entry: Entry) -> None:
    text = entry.text

    assert text.title[0].isupper()
    assert not text.title.endswith(".")
    assert text.summary.endswith(".")
    assert "**In:**" in text.description
    assert "**Out:**" in text.description
    assert text.example_note
    assert text.tags
    assert text.task
    assert 1 <= text.download_mb < 2000


def test_the_licence_is_named_with_where_it_comes_from(entry: Entry) -> None:
    named, _, source = entry.text.license.partition(" (")

    assert named in LICENSES
    assert len(source) > 20


def test_what_needs_a_network_says_which_host_and_what_else_there_is(entry: Entry) -> None:
    if entry.text.needs_network:
        assert "must reach" in entry.text.description
        assert "Without a" in entry.text.description
    else:
        assert "urlopen" not in entry.source
        assert "from_pretrained" not in entry.source


def test_requirements_have_lower_and_upper_bounds(entry: Entry) -> None:
    for requirement in entry.config.environment.requirements:
        assert "==" in requirement or ("<" in requirement and ">" in requirement), requirement


def test_the_example_is_what_the_schema_asks_for(entry: Entry) -> None:
    example, fields = entry.example, entry.schema["fields"]
    record = example["inputs"][0] if entry.schema["form"] == "table" else example

    assert len(json.dumps(example)) <= LARGEST_EXAMPLE_BYTES
    assert set(record) <= {field["name"] for field in fields}
    for field in fields:
        check(record.get(field["name"]), field)


def check(value: Any, field: dict[str, Any]) -> None:
    if value is None:
        assert field.get("nullable"), field
        return
    match field["type"]:
        case "file" | "image":
            assert len(base64.b64decode(value["data"], validate=True)) == value["size"]
            assert value["type"].startswith("image/") or field["type"] == "file"
        case "str":
            assert value.strip()
        case "bool":
            assert isinstance(value, bool)
        case "float" | "int":
            assert field.get("minimum", value) <= value <= field.get("maximum", value)
            assert value in field.get("choices", [value])


def test_its_code_is_documented(entry: Entry) -> None:
    tree = ast.parse(entry.source)
    model = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Model")
    predict = next(node for node in model.body if isinstance(node, ast.FunctionDef) and node.name == "predict")

    assert ast.get_docstring(tree)
    assert ast.get_docstring(predict)


def test_helpers_that_several_entries_have_are_the_same_in_all() -> None:
    texts: dict[str, set[str]] = defaultdict(set)
    for path in ENTRIES_DIR.glob("*/model/*.py"):
        if path.name in ("pictures.py", "texts.py", "files.py", "rows.py"):
            texts[path.name].add(path.read_text(encoding="utf-8"))

    assert {name: len(different) for name, different in texts.items()} == dict.fromkeys(texts, 1)
    assert set(texts) == {"pictures.py", "texts.py", "files.py", "rows.py"}
