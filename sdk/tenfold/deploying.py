"""`tenfold.deploy`: package an object, send what the platform does not have yet, and watch it come alive."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal

from tenfold.client import Client, connect
from tenfold.errors import CannotPackage, Conflict, DeployFailed, TenfoldError, TimedOut, Unavailable, problem_line
from tenfold.http import Event
from tenfold.models import Model
from tenfold.packaging.detect import Detected, detect
from tenfold.packaging.package import ManifestEntry, Package, as_schema
from tenfold.packaging.wishes import Wishes, with_wishes
from tenfold.progress import Progress, Stage, make_progress
from tenfold.schema import ModelSchema

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
UPLOADS_AT_ONCE = 4
POLL_SECONDS = 1.0
SHOWN_LOG_LINES = 15
SHOWN_FILES = 5
STREAMS_TRIED = 3
TOO_MUCH = (413, 507)
"""The body, or the disk: what answers to that is a smaller package."""
VERSION_STAGES = ("upload", "environment", "start", "load", "example", "app")


def deploy(
    model: Any,
    name: str | None = None,
    *,
    example: Any = None,
    schema: ModelSchema | dict[str, Any] | None = None,
    alias: str | None = None,
    requirements: Sequence[str] | None = None,
    python: str | None = None,
    description: str | None = None,
    resources: Mapping[str, Any] | None = None,
    batch: Literal["off"] | Mapping[str, Any] | None = None,
    secrets: Sequence[str] | None = None,
    environment: str | None = None,
    replicas: int | tuple[int, int] | None = None,
    scale_to_zero: bool | int | None = None,
    compile: Literal["auto", "off"] = "auto",
    packed: bool | None = None,
    app: bool = True,
    wait: bool = True,
    workspace: str | None = None,
    profile: str | None = None,
    client: Client | None = None,
    progress: Progress | None = None,
) -> Model:
    """Deploy a model; a second time under the same name makes a new version of it.

    `model` is a trained model (scikit-learn, XGBoost, LightGBM, Keras, TensorFlow, PyTorch, a transformers pipeline,
    ONNX), a function, a class (or an instance) with the methods `load` and `predict`, or a path: of an .onnx file, a
    SavedModel, an MLflow model or a Truss folder. Functions and classes of a notebook travel with their source.

    name: lower-case letters, digits and hyphens. A folder, function or class may go without: its own name is used.
    example: a few rows, or one input. It teaches the schema its types, is tried once the model is up, and fills the
        form of the model's app.
    schema: what the model takes and gives, where it should not be learned.
    alias: what to point at this version when it is ready. The first version of a model becomes "production".
    requirements: packages to add to (or put in the place of) the ones found, such as ["pandas==2.2.3"].
    python: such as "3.12", when it is not the one running here.
    resources: what one replica gets: {"cpu": "2", "memory": "4Gi", "accelerator": "A10G"}, each if need be.
    batch: how calls may be put together: {"max_size": 32, "max_wait_ms": 5}, or "off" where rows depend on each other.
    secrets: names of the workspace's secrets that the model gets: ["HF_TOKEN"]. Never their values.
    environment: a named environment to run in, in the place of the packages and the Python found here.
    replicas: how many run: 2, or from how many to how many, (1, 4). Kept for later versions: see `Model.scale`.
    scale_to_zero: True lets the model sleep when nobody calls it for five minutes; a number is that many seconds; False
        lets it not sleep.
    compile: "auto" serves a scikit-learn model's compiled form (ONNX) once the platform has proven that it answers
        alike; "off" serves the model as it is.
    packed: True lets a small model share a worker with others of the workspace, to take less memory. A crash of one
        then ends all who share.
    app: whether to make an app for the model from its schema.
    wait: whether to watch until it is ready. Ctrl+C stops watching; the deploy goes on.

    Returns the model's handle, at this version. Raises CannotPackage (before anything is sent), DeployFailed, and what
    else TenfoldError covers.
    """
    detected = detect(model)
    name = _name(name, model, detected)
    wishes = Wishes(
        resources,
        batch,
        secrets,
        description,
        alias,
        environment,
        python,
        requirements,
        replicas,
        scale_to_zero,
        compile,
        packed,
    )
    wishes.check()
    given = None if schema is None else as_schema(schema)
    own_client = client or (
        connect(profile=profile) if workspace is None else connect(workspace=workspace, profile=profile)
    )
    shown = progress or make_progress()
    with shown, tempfile.TemporaryDirectory(prefix="tenfold-") as scratch:
        shown.begin(f"Deploying {name}", ("packaging", *VERSION_STAGES))
        with shown.stage("packaging") as stage:
            root = Path(scratch, "package")
            root.mkdir()
            package = detected.packager(
                detected.path or model,
                name,
                root,
                example=example,
                schema=given,
                requirements=requirements,
                python=python,
                description=description,
            )
            package = with_wishes(package, wishes, Path(scratch, "wishes"))
            manifest = package.manifest()
            stage.detail = f"{package.framework}, {len(manifest)} files, {_size(sum(one.size for one in manifest))}"
        for note in package.notes:
            shown.note(note)
        with shown.stage("upload") as stage:
            body = _body(package, manifest, alias, app, requirements, python, environment)
            version = _send(own_client, name, body, manifest, stage)
        tell_warnings(version, shown)
        handle = Model(own_client, name, version["number"], version)
        scaling = wishes.scaling()
        if not wishes.may_sleep and "min" not in scaling:
            scaling |= _awake(own_client.get("models", name)["scaling"])
        handle.scale(**scaling)
        if not wait:
            shown.note(f"Version {version['number']} is being prepared; look with `tenfold models show {name}`.")
            return handle
        watch(handle, version, shown)
    return handle


def _awake(scaling: Mapping[str, int]) -> dict[str, int]:
    """What changes for a model that may not sleep: one that has more replicas than one at least keeps them."""
    return {} if scaling["min"] >= 1 else {"min": 1}


# --- packaging


def _name(name: str | None, model: Any, detected: Detected) -> str:
    if name is None:
        if detected.path is not None:
            place = detected.path.resolve()
            name = _as_name(_folder_name(detected) or (place.stem if place.is_file() else place.name))
        elif isinstance(getattr(model, "__name__", None), str):
            name = _as_name(model.__name__)
        else:
            raise CannotPackage("The model has no name.", hint='Give it one: tenfold.deploy(model, "churn").')
    if not NAME.match(name):
        raise CannotPackage(
            f"{name!r} is not a name for a model.",
            hint=f"Use lower-case letters, digits and hyphens, beginning with a letter, such as {_as_name(name)!r}.",
        )
    return name


def _folder_name(detected: Detected) -> str | None:
    if detected.kind != "folder" or detected.path is None:
        return None
    from tenfold.packaging.folders import name_of  # only folders need YAML

    return name_of(detected.path)


def _as_name(text: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text)
    name = re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-")[:63]
    return name if NAME.match(name) else f"model-{name}"[:63].rstrip("-")


# --- sending


def _body(
    package: Package,
    manifest: Sequence[ManifestEntry],
    alias: str | None,
    app: bool,
    requirements: Sequence[str] | None,
    python: str | None,
    environment: str | None,
) -> dict[str, Any]:
    """The request for a version."""
    body: dict[str, Any] = {
        "files": [entry.to_json() for entry in manifest],
        "framework": package.framework,
        "make_app": app,
        "alias": alias,
    }
    if package.schema is not None:
        body["schema"] = package.schema.to_json()
    if package.example is not None:
        body["example"] = package.example
    if environment is not None:
        body["environment"] = environment
    if package.is_folder:  # its config.yaml says the rest, except for what was asked for here
        body |= {"requirements": list(requirements)} if requirements is not None else {}
        body |= {"python_version": python} if python is not None else {}
    return body


def _send(
    client: Client, name: str, body: Mapping[str, Any], manifest: Sequence[ManifestEntry], stage: Stage
) -> dict[str, Any]:
    """Uploads what is missing and makes the version."""
    by_digest = {entry.digest: entry for entry in manifest}
    for attempt in (1, 2):
        try:
            _upload(client, by_digest, sum(entry.size for entry in manifest), stage)
            version: dict[str, Any] = client.create("models", name, "versions", body=body)
            return version
        except Conflict as conflict:
            if conflict.code != "missing_blobs" or attempt == 2:
                raise
        except TenfoldError as refusal:
            if refusal.status not in TOO_MUCH:
                raise
            raise _too_much(refusal, manifest) from None
    raise AssertionError("the second attempt returns or raises")


def _upload(client: Client, by_digest: dict[str, ManifestEntry], package_bytes: int, stage: Stage) -> None:
    digests = sorted(by_digest)
    missing: list[str] = []
    for start in range(0, len(digests), 1000):
        asked = {"digests": digests[start : start + 1000], "package_bytes": package_bytes}
        missing += client.ask("blobs", "missing", body=asked)["missing"]
    entries = [by_digest[digest] for digest in missing]
    total = sum(entry.size for entry in entries)
    if not entries:
        stage.detail = "nothing new"
        return
    sent = 0
    stage.detail = f"{_size(total)} in {len(entries)} files"
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        jobs = {pool.submit(client.upload, entry.digest, entry.source): entry for entry in entries}
        for job in as_completed(jobs):
            job.result()
            sent += jobs[job].size
            stage.progress(sent, total)


def _too_much(refusal: TenfoldError, manifest: Sequence[ManifestEntry]) -> TenfoldError:
    """The platform's refusal of so many bytes, with the files to look at."""
    largest = sorted(manifest, key=lambda entry: -entry.size)[:SHOWN_FILES]
    files = ", ".join(f"{entry.path} {_size(entry.size)}" for entry in largest)
    size = _size(sum(entry.size for entry in manifest))
    return type(refusal)(
        f"The package has {size} in {len(manifest)} files, and the platform does not take it: {refusal.message}",
        code=refusal.code,
        status=refusal.status,
        request_id=refusal.request_id,
        hint=f"Leave out what the model does not need (a line in .truss_ignore of a folder). The largest: {files}. "
        f"{refusal.hint}".rstrip(),
    )


# --- watching


def tell_warnings(version: Mapping[str, Any], shown: Progress) -> None:
    """Shows what the platform remarks about a version's package."""
    for warning in version.get("warnings") or ():
        shown.note(f"config.yaml: {problem_line(warning)}")


def watch(handle: Model, version: dict[str, Any], shown: Progress) -> None:
    """Follows a version until it is ready, and tells what came of it. Raises DeployFailed."""
    _conclude(handle, _watch(handle, version, shown), shown)


def _watch(handle: Model, version: dict[str, Any], shown: Progress) -> dict[str, Any]:
    """Follows the version until it is ready or has failed, and every stage has ended."""
    try:
        for event in follow_version(handle.client, handle.name, version["number"]):
            if event.name == "version":
                version = event.data
                shown.update(version["stages"])
            elif event.name == "log":
                shown.log(event.data["source"], event.data["text"])
    except KeyboardInterrupt:
        shown.note(f"Stopped watching; the deploy goes on. Look with `tenfold models show {handle.name}`.")
        raise
    return version


def follow_version(client: Client, name: str, number: int, *, after: int = 0, follow: bool = False) -> Iterator[Event]:
    """`version` and `log` events, across lost connections; polls where streams do not get through."""
    failures = 0
    while True:
        ended = False
        try:
            for event in client.events(
                "models", name, "versions", number, "events", after=after, follow=follow or None
            ):
                failures = 0
                if event.name == "log":
                    after = event.data["id"]
                elif event.name == "version":
                    ended = _has_ended(event.data)
                yield event
            if ended and not follow:
                return
        except Unavailable:
            pass
        except TimedOut:  # something on the way holds the stream back, and would hold back the next one
            failures = STREAMS_TRIED
        failures += 1
        if failures >= STREAMS_TRIED:
            yield from _poll(client, name, number, after, follow)
            return
        time.sleep(0.2 * failures)


def _poll(client: Client, name: str, number: int, after: int, follow: bool) -> Iterator[Event]:
    while True:
        version = client.get("models", name, "versions", number)
        yield Event("version", version, None)
        page = client.get("models", name, "versions", number, "logs", after=after)
        for line in page["items"]:
            after = line["id"]
            yield Event("log", line, str(after))
        if _has_ended(version) and not page["items"] and not follow:
            return
        time.sleep(POLL_SECONDS)


def _has_ended(version: dict[str, Any]) -> bool:
    if version["state"] == "failed":
        return True
    open_stages = [stage for stage in version["stages"] if stage["state"] in ("waiting", "running")]
    return version["state"] == "ready" and not open_stages


# --- telling


SOURCES: dict[str, Any] = {
    "packaging": "your package",
    "upload": "your package",
    "fetch": "your package",
    "environment": "your requirements",
    "start": "the platform",
    "load": "your code",
    "example": "your code",
    "app": "the platform",
}


def _conclude(handle: Model, version: dict[str, Any], shown: Progress) -> None:
    handle.refresh(version)
    if version["state"] != "ready":
        failure = _failure(handle, version)
        shown.failed(failure)
        raise failure
    shown.result(handle.summary())
    late = next((stage for stage in version["stages"] if stage["state"] == "failed"), None)
    if late is not None:
        shown.note(f"The stage {late['name']} failed: {late['detail']}")


def _failure(handle: Model, version: dict[str, Any]) -> DeployFailed:
    stage = next((one["name"] for one in version["stages"] if one["state"] == "failed"), "")
    source = stage if stage in ("environment", "fetch") else "worker"
    try:
        lines = handle.log_lines(sources=(source,))[-SHOWN_LOG_LINES:]
    except TenfoldError:
        lines = []
    return DeployFailed(
        f"Version {version['number']} of {handle.name} failed at {stage or 'its preparation'}: {version['reason']}",
        stage=stage,
        source=SOURCES.get(stage, "the platform"),
        log="\n".join(lines),
        hint=version.get("hint") or "",
    )


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
