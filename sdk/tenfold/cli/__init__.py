"""The `tenfold` command."""

from tenfold.cli.command import main

__all__ = ["main"]
