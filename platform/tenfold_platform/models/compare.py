"""What differs between two versions of a model. Rows in, a comparison out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from tenfold_platform.environments.tables import EnvironmentTable
from tenfold_platform.models.schemas import Change, Comparison, PackageFileChange
from tenfold_platform.models.tables import VersionTable

NOT_THERE = object()
SHOWN_ELSEWHERE = ("model_metadata.tenfold.schema",)


def compare(
    before: VersionTable,
    after: VersionTable,
    environment_before: EnvironmentTable,
    environment_after: EnvironmentTable,
) -> Comparison:
    return Comparison(
        from_version=before.number,
        to_version=after.number,
        config=_changes(_config(before), _config(after)),
        environment=_changes(_environment(environment_before), _environment(environment_after)),
        model_schema=[
            *_changes(_schema(before.schema), _schema(after.schema)),
            *_order_changes(before.schema, after.schema),
        ],
        files=_file_changes(before.files, after.files),
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[Change]:
    """By path; the paths of `before` in its order, then those that are new. A changed group is its changed keys."""
    found: list[Change] = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key, NOT_THERE), after.get(key, NOT_THERE)
        path = f"{prefix}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changes(old, new, f"{path}.")
        elif old != new or type(old) is not type(new):
            kind = _kind(old is NOT_THERE, new is NOT_THERE)
            old, new = (None if one is NOT_THERE else one for one in (old, new))
            found.append(Change(path=path, kind=kind, before=old, after=new))
    return found


def _kind(was_missing: bool, is_missing: bool) -> Literal["added", "removed", "changed"]:
    return "added" if was_missing else "removed" if is_missing else "changed"


def _config(version: VersionTable) -> dict[str, Any]:
    flat = dict(sorted(_flat(version.config)))
    return {path: value for path, value in flat.items() if not path.startswith(SHOWN_ELSEWHERE)}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Groups of keys are gone into; lists are values, for their order counts."""
    for key, one in value.items():
        if isinstance(one, dict) and one:
            yield from _flat(one, f"{prefix}{key}.")
        elif one != {}:
            yield f"{prefix}{key}", one


def _environment(row: EnvironmentTable) -> dict[str, Any]:
    """Python, and what is installed; while it is not built, what was asked for."""
    python = {"python": row.lock_python or row.python_version}
    if row.packages:
        return python | {package["name"]: package["version"] for package in row.packages}
    return python | dict.fromkeys(row.requirements, "not resolved yet")


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    flat = dict(sorted(_flat({key: value for key, value in schema.items() if key != "fields"})))
    for field in schema.get("fields", ()):
        flat[f"fields.{field['name']}"] = {key: value for key, value in field.items() if key != "name"}
    return flat


def _order_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Rows may come as lists: then the order of the fields is part of what a model takes."""
    old, new = ([field["name"] for field in schema.get("fields", ())] for schema in (before, after))
    if old == new or sorted(old) != sorted(new):
        return []
    return [Change(path="fields", kind="changed", before=old, after=new)]


def _file_changes(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[PackageFileChange]:
    old = {entry["path"]: entry for entry in before}
    new = {entry["path"]: entry for entry in after}
    return [
        PackageFileChange(
            path=path,
            kind=_kind(path not in old, path not in new),
            before_digest=old[path]["digest"] if path in old else None,
            after_digest=new[path]["digest"] if path in new else None,
            before_size=old[path]["size"] if path in old else None,
            after_size=new[path]["size"] if path in new else None,
        )
        for path in sorted({*old, *new})
        if path not in old or path not in new or _content(old[path]) != _content(new[path])
    ]


def _content(entry: Mapping[str, Any]) -> tuple[str, bool]:
    return entry["digest"], bool(entry.get("executable"))
