"""The platform's processes by name. Each imports only what it needs."""

from __future__ import annotations

from importlib import import_module

from tenfold_platform.settings import load_settings

MODULES = {
    "api": "tenfold_platform.api_main",
    "gateway": "tenfold_platform.gateway.main",
    "engine": "tenfold_platform.engine.main",
    "controller": "tenfold_platform.controller.main",
}


def run_process(name: str) -> None:
    """Runs one process until it is told to stop. Its settings come from TENFOLD_* variables."""
    settings = load_settings()
    settings.check_exposure()
    import_module(MODULES[name]).run(settings)
