"""config.yaml between the SDK, the platform and Truss's own tools: all of them find the same in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging.config import read_config, write_config
from tenfold.packaging.package import write_package
from tenfold.schema import Field, ModelSchema
from tenfold_expressions import load_yaml


@pytest.mark.parametrize(
    "value",
    [
        "12e5",
        "1.5E-3",
        ".5e3",
        "7a",
        "yes",
        "off",
        "null",
        "~",
        "0x1f",
        "017",
        "1:30",
        "2024-01-01",
        "1_000",
        "<<",
        "=x",
    ],
)
def test_text_that_looks_like_something_else_stays_text(tmp_path: Path, value: str) -> None:
    write_config(tmp_path / "config.yaml", {"key": [value, 1.5e16, True, None], value: 1})
    expected = {"key": [value, 1.5e16, True, None], value: 1}
    assert read_config(tmp_path) == expected
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == expected


def test_a_package_says_its_choices_as_they_were_given(tmp_path: Path) -> None:
    schema = ModelSchema("record", (Field("code", "str", choices=["12e5", "7a", "no"]),))
    write_package(
        tmp_path,
        name="codes",
        adapter="callable_model.py",
        settings={"classes": ("12e5", "no")},
        framework="Python",
        schema=schema,
        example={"code": "12e5"},
        requirements=[],
        python_version="3.11",
    )
    text = (tmp_path / "config.yaml").read_text()
    readings: list[Any] = [load_yaml(text).data, yaml.safe_load(text)]
    for about in (told["model_metadata"] for told in readings):
        assert about["tenfold"]["schema"]["fields"][0]["choices"] == ["12e5", "7a", "no"]
        assert about["tenfold"]["classes"] == ["12e5", "no"]
        assert about["example_model_input"] == {"code": "12e5"}


def test_everything_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model_name: a\nmodel_name: b\n1: c\n")
    with pytest.raises(CannotPackage) as refused:
        read_config(tmp_path)
    assert "`model_name` is written twice, first on line 1" in refused.value.message
    assert "line 3: a key is text" in refused.value.message
