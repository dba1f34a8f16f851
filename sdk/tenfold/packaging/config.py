"""A package's config.yaml: read as the platform reads it, written so that Truss's own tools find the same in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tenfold.errors import CannotPackage
from tenfold_expressions import DocumentError, load_yaml

CONFIG_NAME = "config.yaml"


def read_config(folder: Path) -> dict[str, Any]:
    """What the folder's config.yaml says. Raises CannotPackage with everything that cannot be read."""
    file = folder / CONFIG_NAME
    if not file.is_file():
        hint = "Rename config.yml to config.yaml." if (folder / "config.yml").is_file() else "Add one; it may be empty."
        raise CannotPackage(f"{folder} is not a model package: it has no config.yaml.", hint=hint)
    try:
        config = load_yaml(file.read_text(encoding="utf-8-sig")).data
    except DocumentError as error:
        problems = " ".join(str(one) for one in error.problems)
        raise CannotPackage(f"{file} cannot be read: {problems}", hint="Correct it.") from None
    except UnicodeDecodeError as error:
        raise CannotPackage(f"{file} cannot be read: {error}", hint="Save it as UTF-8 text.") from None
    if not isinstance(config, dict | None):
        raise CannotPackage(f"{file} does not hold keys and values.", hint="Write it as `key: value` lines.")
    return config or {}


def write_config(file: Path, config: Mapping[str, Any]) -> None:
    """Writes JSON values that read_config reads back, and any reader of YAML 1.1 too."""
    plain = json.loads(json.dumps(config))  # tuples become lists
    text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    file.write_text(text, encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 takes for something else (`yes`), and text that only the platform does (`12e5`)."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)
