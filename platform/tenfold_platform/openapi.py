"""Writes the management API's description: `python -m tenfold_platform.openapi [FILE]` (platform/openapi.json)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tenfold_platform.app import create_app
from tenfold_platform.settings import Settings

DEFAULT_FILE = Path(__file__).parent.parent / "openapi.json"


def render() -> str:
    """The same text for the same routes, whatever the machine: no settings of this one are looked at."""
    settings = Settings.model_validate(
        {
            "database_url": "postgresql://localhost/none",
            "redis_url": "redis://localhost",
            "data_dir": "data",
            "signing_key": "0" * 64,
        }
    )
    return json.dumps(create_app(settings).openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    file = Path(arguments[0]) if arguments else DEFAULT_FILE
    file.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
