"""What becomes of a package here, key by key, before anybody uploads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from tenfold_deploy.archive import ArchiveError, check_path
from tenfold_deploy.packages import explain
from tenfold_platform.models.schemas import LintNote, LintReport

STOPPING = ("wrong", "refused")


def lint(files: Mapping[str, str]) -> LintReport:
    """`files` are texts by path."""
    contents = {path: text.encode("utf-8", "replace") for path, text in files.items()}
    notes = [*_wrong_paths(files), *(LintNote(**asdict(note)) for note in explain(contents))]
    return LintReport(deployable=not any(note.status in STOPPING for note in notes), notes=notes)


def _wrong_paths(files: Mapping[str, str]) -> list[LintNote]:
    notes: list[LintNote] = []
    for path in files:
        try:
            check_path(path)
        except ArchiveError as error:
            notes.append(LintNote(path=path, status="wrong", message=error.message, hint=error.hint or "", line=None))
    return notes
