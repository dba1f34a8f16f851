"""Packages: read a Truss directory's `config.yaml` with every default filled in, and lay a package out on disk.

`read_package` reports everything that is wrong at once. Its result names the environment the package needs, what
must be fetched for it (`downloads`), and what a worker is told (`starts_from`). `explain` says of every key what
becomes of it. `materialise` makes the folder that a worker runs from, out of content-addressed files.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from tenfold_deploy.archive import ArchiveError, check_path, new_directory
from tenfold_deploy.environments import (
    EnvironmentFailed,
    EnvironmentSpec,
    canonical_python,
    canonical_requirements,
    own_python_version,
)
from tenfold_expressions import Document, DocumentError, Problem, load_yaml
from tenfold_runtime.places import cache_path, mounted_path

CONFIG_NAME: Final = "config.yaml"
WORKER_CONFIG_PATH: Final = ".tenfold/config.json"
MAX_DOCUMENT_BYTES: Final = 4 << 20

DEFAULTS: Final[Mapping[str, Any]] = {
    "model_name": None,
    "description": None,
    "model_metadata": {},
    "examples_filename": "examples.yaml",
    "model_module_dir": "model",
    "model_class_filename": "model.py",
    "model_class_name": "Model",
    "data_dir": "data",
    "bundled_packages_dir": "packages",
    "external_package_dirs": [],
    "external_data": [],
    "python_version": None,
    "requirements": [],
    "requirements_file": None,
    "environment_variables": {},
    "secrets": {},
    "resources": {"cpu": "1", "memory": "2Gi", "accelerator": None, "use_gpu": False},
    "runtime": {
        "predict_concurrency": 1,
        "streaming_read_timeout": 60,
        "enable_debug_logs": False,
        "batch": None,
        "packed": False,
        "transport": {"kind": "http"},
        "health_checks": {
            "restart_check_delay_seconds": None,
            "restart_threshold_seconds": None,
            "stop_traffic_threshold_seconds": None,
            "startup_threshold_seconds": None,
        },
    },
    "build_commands": [],
    "weights": [],
    "model_cache": [],
    "docker_server": None,
    "base_image": None,
    "system_packages": [],
    "spec_version": "2.0",
    "input_type": "Any",
    "model_framework": "custom",
    "model_type": "Model",
}
"""Every key that is honoured, with its default; the names and the shape are Truss's."""

IMPLIED_BY_WORKER: Final = ("orjson",)
"""What makes a worker's own part of a call cheaper, in an environment that holds something anyway."""

IMPLIED_BY_TRUSS: Final = (
    "aiofiles",
    "aiohttp",
    "fastapi",
    "joblib",
    "loguru",
    "msgpack",
    "msgpack-numpy",
    "numpy <2 ; python_version < '3.13'",
    "numpy ; python_version >= '3.13'",
    "opentelemetry-api",
    "opentelemetry-exporter-otlp",
    "opentelemetry-sdk",
    "prometheus-client",
    "psutil",
    "pydantic",
    "pyyaml",
    "requests",
    "starlette",
    "uvicorn",
    "websockets",
)
"""What the Truss server has in its image, so that a folder written for it may import it undeclared."""


@dataclass(frozen=True)
class Resources:
    """What one replica asks for. `accelerator` is a name as in "A10G", or None."""

    cpu_millicores: int
    memory_bytes: int
    accelerator: str | None
    accelerator_count: int


@dataclass(frozen=True)
class Download:
    """Something that is fetched for a version, once, before a replica of it starts.

    Either one file from `url`, which becomes the package's file `path`; or a Hugging Face repository `repo` at
    `revision`, whose files go below the folder `path`, those that match `allow_patterns` and none of
    `ignore_patterns` (empty: no filter). `key` is where the package asks for it, as in `weights[0]`; `secret` names
    the secret with the token it needs, if it declares one.
    """

    key: str
    path: str
    url: str | None = None
    repo: str | None = None
    revision: str | None = None
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    secret: str | None = None


NoteStatus = Literal["honoured", "container", "reachable", "ignored", "refused", "unknown", "wrong"]


@dataclass(frozen=True)
class KeyNote:
    """What becomes of one key of a package (`path`), or of one line of its code (`path` is the file's name).

    `honoured`: carried out. `reachable`: carried out if what it names can be fetched, or found in another place than
    in a container. `container`: needs a container, and is left out. `ignored`: kept, without effect. `unknown`: kept,
    and Tenfold knows nothing of it. `refused` and `wrong` keep the package from being deployed.
    """

    path: str
    status: NoteStatus
    message: str
    hint: str = ""
    line: int | None = None


@dataclass(frozen=True)
class PackageConfig:
    """A package's configuration, complete and checked.

    `values` is the Truss configuration with every default filled in, unknown keys included; treat it as
    read-only. `secrets` are declared names. `foreign` says that the folder was not written by Tenfold.
    """

    values: Mapping[str, Any]
    environment: EnvironmentSpec
    resources: Resources
    warnings: tuple[Problem, ...]
    foreign: bool
    downloads: tuple[Download, ...] = ()

    @property
    def model_name(self) -> str | None:
        return cast("str | None", self.values["model_name"])

    @property
    def description(self) -> str | None:
        return cast("str | None", self.values["description"])

    @property
    def model_metadata(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self.values["model_metadata"])

    @property
    def environment_variables(self) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self.values["environment_variables"])

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(self.values["secrets"])

    @property
    def predict_concurrency(self) -> int:
        return cast("int", self.values["runtime"]["predict_concurrency"])

    @property
    def packed(self) -> bool:
        return cast("bool", self.values["runtime"]["packed"])

    @property
    def streaming_read_timeout_seconds(self) -> int:
        return cast("int", self.values["runtime"]["streaming_read_timeout"])


class PackageFile(NamedTuple):
    """One file of a package. `open` gives its content, which must have the digest `sha256`."""

    path: str
    sha256: str
    executable: bool
    open: Callable[[], BinaryIO]


def read_package(source: Mapping[str, bytes] | Path) -> PackageConfig:
    """Read the configuration of a package: a folder, or its files by name (contents are read only where needed).

    Raises DocumentError with every problem found.
    """
    files = _Folder(source) if isinstance(source, Path) else source
    return _Reader(files).read()


def explain(source: Mapping[str, bytes] | Path) -> tuple[KeyNote, ...]:
    """What becomes of every key that a package sets, and of paths in its code that only a container has.

    Never raises for a package that cannot be deployed: that is what `refused` and `wrong` are for.
    """
    files = _Folder(source) if isinstance(source, Path) else source
    reader = _Reader(files)
    try:
        reader.read()
    except DocumentError as error:
        if not reader.was_read:  # no document at all: nothing can be said key by key
            return tuple(_note(problem) for problem in error.problems)
    noted = [_note(problem) for problem in (*reader.problems, *reader.warnings)]
    covered = {_key_of(note.path) for note in noted}
    noted += [
        KeyNote(download.key, "reachable", _fetched(download), line=reader.line(download.key))
        for download in reader.downloads
    ]
    honoured = [
        KeyNote(path, "honoured", message, line=reader.line(path))
        for path, message in _meanings(reader.given)
        if path not in covered and not (path in _FETCHED and reader.downloads)
    ]
    notes = sorted((*noted, *honoured), key=lambda note: (note.line or 0, note.path))
    return (*notes, *_container_paths(files, reader.given))


def starts_from(config: PackageConfig) -> dict[str, Any]:
    """What a worker reads as `.tenfold/config.json`, and hands to the model as `config`."""
    return deepcopy(dict(config.values))


def manifest_digest(entries: Iterable[tuple[str, str, bool]]) -> str:
    """The digest of a package: SHA-256 over its files' lines `path NUL sha256 NUL 1-if-executable-else-0 LF`.

    The lines are sorted by the UTF-8 bytes of the path.
    """
    lines = sorted(
        (path.encode(), sha256.encode(), b"1" if executable else b"0") for path, sha256, executable in entries
    )
    return hashlib.sha256(b"".join(b"\0".join(line) + b"\n" for line in lines)).hexdigest()


def materialise(
    files: Iterable[PackageFile | tuple[str, str, bool, Callable[[], BinaryIO]]],
    destination: Path,
    *,
    worker_config: Mapping[str, Any] | None = None,
    digest: str | None = None,
) -> str:
    """Lay out a package as the folder `destination`; return its digest.

    `worker_config` is what `starts_from` made of its configuration; the worker finds it in the folder.
    Every content is checked against its SHA-256, and the whole against `digest` if given. The folder appears
    complete or not at all; one that is there is left as it is, since a package never changes.
    Raises ArchiveError: bad_path, name_collision, duplicate_name, digest_mismatch, no_space.
    """
    wanted = [PackageFile(*file) for file in files]
    found = manifest_digest((file.path, file.sha256, file.executable) for file in wanted)
    if digest is not None and found != digest:
        message = f"the files have the digest {found}, not {digest}"
        raise ArchiveError("digest_mismatch", message, "Upload the package again.")
    try:
        with new_directory(destination) as tree:
            for file in wanted:
                if worker_config is not None and file.path == WORKER_CONFIG_PATH:
                    continue
                with file.open() as content:
                    written = tree.add_file(file.path, _chunks(content), executable=file.executable)
                if written.sha256 != file.sha256:
                    message = f"the content of {file.path!r} has the digest {written.sha256}, not {file.sha256}"
                    raise ArchiveError("digest_mismatch", message, "Upload the file again.")
            if worker_config is not None:
                text = json.dumps(worker_config, ensure_ascii=False, indent=1).encode()
                tree.add_file(WORKER_CONFIG_PATH, [text], executable=False)
    except FileExistsError:
        if not destination.is_dir() or destination.is_symlink():
            raise
    return found


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    while chunk := content.read(1 << 20):
        yield chunk


class _Folder(Mapping[str, bytes]):
    """The files of a folder on this machine by name. Links are not followed out of it: they are no files of it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __getitem__(self, name: str) -> bytes:
        if name not in self:
            raise KeyError(name)
        return (self._root / name).read_bytes()

    def __contains__(self, name: object) -> bool:
        path = self._root / str(name)
        return path.is_file() and path.resolve().is_relative_to(self._root.resolve())

    def __iter__(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._root):
            yield from (Path(folder, name).relative_to(self._root).as_posix() for name in names)

    def __len__(self) -> int:
        return sum(1 for _ in self)


# --- reading -----------------------------------------------------------------------------------------------

_RESERVED_VARIABLES: Final = frozenset({"PORT", "HOSTNAME"})
_PATHS_INSIDE: Final = (
    "examples_filename",
    "model_module_dir",
    "model_class_filename",
    "data_dir",
    "bundled_packages_dir",
)
_ACCELERATOR: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)(?::([1-9][0-9]?))?")
_MEMORY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kMGTPE]|[KMGTPE]i)?")
_MEMORY_UNITS: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}  # fmt: skip


class _Reader:
    """Reads one package, collecting what is wrong on the way."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._config = Document(None)
        self.given: Mapping[str, Any] = {}
        self.downloads: tuple[Download, ...] = ()
        self.was_read = False
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def read(self) -> PackageConfig:
        self.given = given = self._document()
        self.was_read = True
        values = self._with_defaults(given)
        self._check_refused(given)
        self._check_container_keys(given, values)
        self._check_without_effect(given)
        self._check_text(values)
        self._check_build_commands(values)
        self._check_server(values)
        self._check_model_class(values)
        self._check_variables(values)
        self._check_secrets(values)
        self._check_runtime(values)
        self._check_packed(values)
        resources = self._resources(values)
        self.downloads = tuple(self._downloads(values))
        foreign = not _is_ours(self._files, values)
        environment = self._environment(values, foreign)
        if self.problems or resources is None or environment is None:
            raise DocumentError(sorted(self.problems, key=_line_of), filename=CONFIG_NAME)
        return PackageConfig(values, environment, resources, tuple(self.warnings), foreign, self.downloads)

    def _wrong(self, path: str, message: str, hint: str = "", code: str = "bad_value") -> None:
        self.problems.append(Problem(path, message, hint, code, line=self.line(path)))

    def _warn(self, path: str, message: str, hint: str = "", code: str = "ignored") -> None:
        self.warnings.append(Problem(path, message, hint, code, line=self.line(path)))

    def line(self, path: str) -> int | None:
        keys = tuple(int(index) if index else key for key, index in re.findall(r"([^.\[\]]+)|\[([0-9]+)\]", path))
        is_there = bool(keys) and (keys[0],) in self._config.lines
        return self._config.line_of(keys) if is_there else None

    def _document(self) -> dict[str, Any]:
        if CONFIG_NAME not in self._files:
            if "config.yml" in self._files:
                problem = Problem("", "the file is called config.yml", "Rename it to config.yaml.", "wrong_name")
            else:
                problem = Problem(
                    "", "there is no config.yaml", "Add one to the top folder; it may be empty.", "missing"
                )
            raise DocumentError([problem], filename=CONFIG_NAME)
        if "config.yml" in self._files:
            self._wrong("", "there is a config.yml beside config.yaml", "Delete one of the two.", "wrong_name")
        self._config = load_yaml(self._text(CONFIG_NAME) or "", filename=CONFIG_NAME)
        match self._config.data:
            case None:
                return {}
            case dict() as document:
                return document
        problem = Problem("", "the file does not hold keys and values", "Write it as `key: value` lines.")
        raise DocumentError([problem], filename=CONFIG_NAME)

    def _text(self, name: str) -> str | None:
        """The text of a file of the package; what is wrong with it is noted."""
        content = self._files[name]
        if len(content) > MAX_DOCUMENT_BYTES:
            self._wrong("", f"{name} is larger than {MAX_DOCUMENT_BYTES} bytes", code="too_large")
            return None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            self._wrong("", f"{name} is not UTF-8 text", "Save it as UTF-8.", "not_text")
            return None

    def _with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given values over the defaults, two levels deep. Unknown keys are kept, and reported."""
        values = _merged(DEFAULTS, given)
        if values.pop("hf_cache", None) and not given.get("model_cache"):  # what model_cache was called before
            values["model_cache"] = deepcopy(given["hf_cache"])
        self._check_known(given, DEFAULTS, _KNOWN_ELSEWHERE, "")
        for section in ("resources", "runtime"):
            if isinstance(values[section], dict):
                self._check_known(values[section], DEFAULTS[section], _KNOWN_ELSEWHERE, f"{section}.")
            else:
                self._wrong(section, "is not a group of keys", f"Write the keys of {section} indented below it.")
                values[section] = deepcopy(DEFAULTS[section])
        return values

    def _check_known(
        self, given: Mapping[str, Any], known: Mapping[str, Any], elsewhere: frozenset[str], prefix: str
    ) -> None:
        for key in given:
            if key in known or f"{prefix}{key}" in elsewhere:
                continue
            near = difflib.get_close_matches(key, known, 1, cutoff=0.75)
            hint = f"Did you mean {near[0]}?" if near else "It is kept, and the model sees it in its config."
            self._warn(f"{prefix}{key}", "is not a key that Tenfold knows", hint, "unknown_key")

    def _check_refused(self, given: Mapping[str, Any]) -> None:
        if given.get("trt_llm"):
            hint = "Deploy the model with a Model class that loads it, for example with transformers or vllm."
            self._wrong("trt_llm", "TensorRT-LLM engines are not built here", hint, "refused")
        if given.get("bis_llm"):
            hint = "Deploy the model with a Model class that loads it."
            self._wrong("bis_llm", "this engine is Baseten's own", hint, "refused")
        build = given.get("build")
        if isinstance(build, dict) and build.get("model_server") not in (None, "TrussServer"):
            hint = "Deploy the model with a Model class that loads it."
            self._wrong("build.model_server", f"{build['model_server']} is not built here", hint, "refused")
        runtime = given.get("runtime")
        sections = [("", given), ("runtime.", runtime if isinstance(runtime, dict) else {})]
        for prefix, section in sections:
            if section.get("num_workers", 1) != 1:
                hint = "Remove it and set the number of replicas of the deployment instead."
                self._wrong(f"{prefix}num_workers", "a worker is one process; only 1 is possible", hint, "refused")

    def _check_container_keys(self, given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        for key, what in _NEEDS_CONTAINER.items():
            if given.get(key):
                self._warn(key, f"is not carried out without a container: {what}", code="needs_container")
        image = values["base_image"]
        if image is not None and not isinstance(image, dict):
            self._wrong("base_image", "is not a group of keys", "Write `image: NAME` below it.")

    def _check_without_effect(self, given: Mapping[str, Any]) -> None:
        for path, message in _WITHOUT_EFFECT.items():
            section, _, key = path.rpartition(".")
            holder = given.get(section) if section else given
            value = holder.get(key) if isinstance(holder, dict) else None
            if value and value not in ({"enabled": False}, {"enabled": None}):
                self._warn(path, message)

    def _check_build_commands(self, values: Mapping[str, Any]) -> None:
        commands = values["build_commands"]
        for index, command in enumerate(commands if isinstance(commands, list) else ()):
            if isinstance(command, str) and re.match(r"\s*(sudo\s+)?(apt|apt-get|apk|yum|dnf)\s", command):
                message = "installs packages of the system, which needs a container; the command will fail"
                hint = "Remove it, and install what it installs on the machine itself."
                self._warn(f"build_commands[{index}]", message, hint, "needs_container")

    def _check_server(self, values: Mapping[str, Any]) -> None:
        """`docker_server`: a server of the package's own, run as a process."""
        server = values["docker_server"]
        if server is None:
            return
        if not isinstance(server, dict):
            self._wrong("docker_server", "is not a group of keys")
            return
        self._check_known(server, _SERVER_KEYS, frozenset(), "docker_server.")
        runtime = self.given.get("runtime")
        if not isinstance(runtime, dict) or runtime.get("predict_concurrency") is None:
            values["runtime"]["predict_concurrency"] = _SERVER_CONCURRENCY
        for key in ("predict_endpoint", "readiness_endpoint", "liveness_endpoint"):
            endpoint = server.get(key)
            if not isinstance(endpoint, str) or not endpoint.startswith("/"):
                self._wrong(f"docker_server.{key}", f"{endpoint!r} is not a path", "Write it like /predict.")
        port = server.get("server_port")
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
            self._wrong("docker_server.server_port", f"{port!r} is not a port", "Write a number, such as 8000.")
        if server.get("run_as_user_id") is not None:
            self._warn("docker_server.run_as_user_id", "has no effect: the server runs as the platform's own user")
        command = server.get("start_command")
        if server.get("no_build"):
            message = "runs an image as it is, which needs a container; the version will fail to load"
            self._warn("docker_server.no_build", message, _OWN_SERVER_HINT, "needs_container")
        elif not isinstance(command, str) or not command.strip():
            self._wrong("docker_server.start_command", "is missing", "Write the command that starts the server.")
        elif not self._brings(command, values):
            message = "starts nothing that the package brings, so it needs its image; the version will fail to load"
            self._warn("docker_server.start_command", message, _OWN_SERVER_HINT, "needs_container")

    def _brings(self, command: str, values: Mapping[str, Any]) -> bool:
        """Whether a command can be about something in the package, or that its requirements install."""
        if values["requirements"] or values["requirements_file"]:
            return True
        words = re.findall(r"[\w./-]+", command)
        names = {word.removeprefix("/app/").removeprefix("./") for word in words}
        names |= {f"{name.replace('.', '/')}.py" for name in names}
        return any(name in names or name.partition("/")[0] in names for name in self._files if name != CONFIG_NAME)

    def _check_text(self, values: Mapping[str, Any]) -> None:
        for key in ("model_name", "description", "requirements_file"):
            if values[key] is not None and not isinstance(values[key], str):
                self._wrong(key, "is not text", "Put it in quotes.")
        if not isinstance(values["model_metadata"], dict):
            self._wrong("model_metadata", "is not a group of keys")
        for key in _LISTS_OF_TEXTS:
            if not isinstance(values[key], list) or not all(isinstance(line, str) for line in values[key]):
                self._wrong(key, "is not a list of texts", "Write each on a line of its own, after `- `.")
        for key in _PATHS_INSIDE:
            self._check_inside(key, values[key])

    def _check_inside(self, key: str, value: object) -> bool:
        try:
            check_path(value.rstrip("/") if isinstance(value, str) else "")
        except ArchiveError as error:
            self._wrong(key, error.message, error.hint or "", error.code)
            return False
        return True

    def _check_model_class(self, values: Mapping[str, Any]) -> None:
        name = values["model_class_name"]
        if not isinstance(name, str) or not name.isidentifier():
            self._wrong("model_class_name", f"{name!r} is not the name of a class")
        folder, file = values["model_module_dir"], values["model_class_filename"]
        if not isinstance(folder, str) or not isinstance(file, str):
            return
        path = f"{folder.rstrip('/')}/{file}"
        if path not in self._files and values["docker_server"] is None:
            hint = f"Put the class {name} into it, or say where it is with model_module_dir and model_class_filename."
            self._wrong("model_class_filename", f"there is no file {path} in the package", hint, "missing")

    def _check_variables(self, values: dict[str, Any]) -> None:
        variables = values["environment_variables"]
        if not isinstance(variables, dict):
            self._wrong("environment_variables", "is not a group of names and values")
            return
        texts: dict[str, str] = {}
        for name, value in variables.items():
            path = f"environment_variables.{name}"
            if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
                self._wrong(path, "is not a name for a variable", "Use letters, digits and underscores.")
            elif name in _RESERVED_VARIABLES:
                self._wrong(path, "is set by the platform", "Choose another name.", "reserved")
            elif value is None or isinstance(value, (dict, list)) or "\0" in str(value):
                self._wrong(path, "is not text", "Put the value in quotes.")
            else:
                texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
        values["environment_variables"] = texts

    def _check_secrets(self, values: dict[str, Any]) -> None:
        secrets = values["secrets"]
        if not isinstance(secrets, dict):
            self._wrong("secrets", "is not a group of names", "Write `name: null` for each secret.")
            return
        for name, value in secrets.items():
            if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", name) is None:
                self._wrong(f"secrets.{name}", "is not a name for a secret", "Use letters, digits, `_`, `-` and `.`.")
            if value not in (None, ""):
                hint = "Set the secret in the workspace, and write `null` here. What was written is no longer secret."
                self._warn(f"secrets.{name}", "the value in the file is ignored", hint, "secret_in_file")
        values["secrets"] = dict.fromkeys(secrets)

    def _check_runtime(self, values: dict[str, Any]) -> None:
        runtime = values["runtime"]
        self._check_count("runtime.predict_concurrency", runtime["predict_concurrency"])
        self._check_count("runtime.streaming_read_timeout", runtime["streaming_read_timeout"])
        for switch in ("enable_debug_logs", "packed"):
            if not isinstance(runtime[switch], bool):
                self._wrong(f"runtime.{switch}", "is neither true nor false")
        runtime["batch"] = self._batch(runtime["batch"])
        if not isinstance(runtime["health_checks"], dict):
            self._wrong("runtime.health_checks", "is not a group of keys")
        elif runtime["health_checks"]:
            for name in DEFAULTS["runtime"]["health_checks"]:
                seconds = runtime["health_checks"][name]
                if seconds is not None:
                    self._check_count(f"runtime.health_checks.{name}", seconds)
        transport = runtime["transport"]
        kind = transport.get("kind") if isinstance(transport, dict) else transport
        if kind == "grpc":
            hint = "Use http (the default) or websocket."
            self._wrong("runtime.transport.kind", "gRPC is not spoken to models", hint, "refused")
        elif kind not in ("http", "websocket"):
            self._wrong("runtime.transport.kind", f"{kind!r} is not a transport", "Use http or websocket.")
        elif runtime.get("is_websocket_endpoint") is True:
            kind = "websocket"
        runtime["transport"] = {**(transport if isinstance(transport, dict) else {}), "kind": kind}

    def _check_packed(self, values: Mapping[str, Any]) -> None:
        if values["runtime"]["packed"] is not True:
            return
        keepers = [key for key in _KEEP_APART if values[key]]
        keepers += ["runtime.enable_debug_logs"] if values["runtime"]["enable_debug_logs"] is True else []
        if keepers:
            message = f"has no effect: a package with {' and '.join(keepers)} has a worker of its own"
            self._warn("runtime.packed", message)

    def _batch(self, given: object) -> object:
        if given is None:
            return None
        if given == "off" or given is False:
            return "off"
        path, hint = "runtime.batch", "Write off, or {max_size: 32, max_wait_ms: 5}."
        if not isinstance(given, dict) or given.keys() - {"max_size", "max_wait_ms"}:
            self._wrong(path, f"{given!r} says nothing about batches", hint)
            return None
        batch = {"max_size": given.get("max_size", 32), "max_wait_ms": given.get("max_wait_ms", 0)}
        self._check_count(f"{path}.max_size", batch["max_size"])
        wait = batch["max_wait_ms"]
        if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not 0 <= wait <= 60_000:
            self._wrong(f"{path}.max_wait_ms", f"{wait!r} is not a number of milliseconds from 0 to 60000", hint)
        return batch

    def _check_count(self, path: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            self._wrong(path, f"{value!r} is not a whole number from 1 on")

    def _resources(self, values: Mapping[str, Any]) -> Resources | None:
        given = values["resources"]
        cpu = _millicores(given["cpu"])
        memory = _bytes(given["memory"])
        accelerator = _ACCELERATOR.fullmatch(str(given["accelerator"] or "none"))
        if cpu is None:
            self._wrong("resources.cpu", f"{given['cpu']!r} is not an amount of CPU", 'Write it like "1" or "500m".')
        if memory is None:
            hint = 'Write it like "512Mi" or "2Gi".'
            self._wrong("resources.memory", f"{given['memory']!r} is not an amount of memory", hint)
        if accelerator is None:
            hint = 'Write it like "A10G" or "H100:2".'
            self._wrong("resources.accelerator", f"{given['accelerator']!r} is not an accelerator", hint)
        if not isinstance(given["use_gpu"], bool):
            self._wrong("resources.use_gpu", "is neither true nor false")
        if cpu is None or memory is None or accelerator is None:
            return None
        wants_gpu = bool(given["accelerator"]) or given["use_gpu"] is True
        given["use_gpu"] = wants_gpu
        if wants_gpu and not _has_gpu():
            key = "accelerator" if given["accelerator"] else "use_gpu"
            hint = "The model runs on the CPU, if it can: torch.cuda.is_available() says no."
            self._warn(f"resources.{key}", "there is no GPU on this machine", hint, "no_gpu")
        if not given["accelerator"]:
            return Resources(cpu, memory, None, 1 if wants_gpu else 0)
        return Resources(cpu, memory, accelerator[1], int(accelerator[2] or 1))

    # --- what is fetched ---

    def _downloads(self, values: Mapping[str, Any]) -> Iterator[Download]:
        readers = {"external_data": self._external_data, "weights": self._weights, "model_cache": self._cached_repo}
        if values["weights"] and values["model_cache"]:
            self._wrong("weights", "is given together with model_cache", "Keep one of the two.", "exclusive")
        seen: dict[str, str] = {}
        for key, read in readers.items():
            entries = values[key]
            if not isinstance(entries, list):
                self._wrong(key, "is not a list", "Begin each entry with `- `.")
                continue
            for index, entry in enumerate(entries):
                path = f"{key}[{index}]"
                if not isinstance(entry, dict):
                    self._wrong(path, "is not a group of keys")
                    continue
                download = read(path, entry, values)
                if download is None:
                    continue
                if download.path in seen:
                    self._wrong(path, f"goes to the same place as {seen[download.path]}", code="duplicate")
                seen[download.path] = path
                yield download

    def _external_data(self, path: str, entry: Mapping[str, Any], values: Mapping[str, Any]) -> Download | None:
        url, local = entry.get("url"), entry.get("local_data_path")
        if entry.get("backend", "http_public") != "http_public":
            hint = "Use http_public (the default), or put the file into the data folder."
            self._warn(f"{path}.backend", f"{entry['backend']!r} cannot be fetched from here", hint)
            return None
        is_right = self._check_url(f"{path}.url", url) & self._check_inside(f"{path}.local_data_path", local)
        return Download(path, f"{str(values['data_dir']).rstrip('/')}/{local}", url=str(url)) if is_right else None

    def _weights(self, path: str, entry: Mapping[str, Any], _: Mapping[str, Any]) -> Download | None:
        source, location = entry.get("source"), entry.get("mount_location")
        if not isinstance(location, str) or not location.startswith("/") or ".." in location.split("/"):
            self._wrong(
                f"{path}.mount_location", f"{location!r} is not an absolute path", "Write it like /models/base."
            )
            return None
        if not isinstance(source, str) or "://" not in source:
            self._wrong(f"{path}.source", f"{source!r} is not an address", "Begin it with hf:// or https://.")
            return None
        target = mounted_path(location)
        if not self._check_inside(f"{path}.mount_location", target):
            return None
        scheme, _separator, rest = source.partition("://")
        filters = self._patterns(path, entry, "allow_patterns"), self._patterns(path, entry, "ignore_patterns")
        auth = entry.get("auth")
        secret = entry.get("auth_secret_name") or (auth.get("auth_secret_name") if isinstance(auth, dict) else None)
        if not isinstance(secret, str | None):
            self._wrong(f"{path}.auth_secret_name", f"{secret!r} is not the name of a secret")
            return None
        match scheme:
            case "hf":
                repo, _at, revision = rest.partition("@")
                return self._repo(
                    f"{path}.source", Download(path, target, None, repo, revision or None, *filters, secret)
                )
            case "https" | "http":
                name = posixpath.basename(unquote(urlsplit(source).path))
                if not self._check_url(f"{path}.source", source) or not self._check_inside(f"{path}.source", name):
                    return None
                return Download(path, f"{target}/{name}", url=source, secret=secret)
            case "s3" | "gs" | "azure" | "r2" | "cw":
                hint = "Put the files into the package's data folder, or fetch them in load() with a secret."
                self._warn(f"{path}.source", f"{scheme}:// cannot be fetched from here", hint)
            case _:
                self._wrong(f"{path}.source", f"{scheme}:// is not known", "Use hf:// or https://.")
        return None

    def _cached_repo(self, path: str, entry: Mapping[str, Any], values: Mapping[str, Any]) -> Download | None:
        kind, revision = entry.get("kind") or "hf", entry.get("revision")
        if kind != "hf":
            hint = "Put the files into the package's data folder, or fetch them in load() with a secret."
            self._warn(f"{path}.kind", f"{kind!r} cannot be fetched from here", hint)
            return None
        folder = entry.get("volume_folder")
        if entry.get("use_volume") and not folder:
            self._wrong(
                f"{path}.volume_folder", "is missing", "use_volume needs it: the folder below /app/model_cache."
            )
            return None
        if folder and not self._check_inside(f"{path}.volume_folder", folder):
            return None
        secret = entry.get("runtime_secret_name", "hf_access_token")
        declared = secret if isinstance(values["secrets"], dict) and secret in values["secrets"] else None
        filters = self._patterns(path, entry, "allow_patterns"), self._patterns(path, entry, "ignore_patterns")
        repo, revision = str(entry.get("repo_id") or ""), str(revision) if revision else None
        return self._repo(
            f"{path}.repo_id", Download(path, cache_path(entry), None, repo, revision, *filters, declared)
        )

    def _repo(self, path: str, download: Download) -> Download | None:
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", download.repo or "") is None:
            self._wrong(path, f"{download.repo!r} is not the name of a repository", "Write it like owner/name.")
            return None
        if download.revision is not None and re.fullmatch(r"[\w][\w./-]*", download.revision) is None:
            self._wrong(path, f"{download.revision!r} is not a revision", "Write a branch, a tag or a commit.")
            return None
        return download

    def _patterns(self, path: str, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        given = entry.get(key) or []
        if not isinstance(given, list) or not all(isinstance(pattern, str) for pattern in given):
            self._wrong(f"{path}.{key}", "is not a list of texts", 'Write it like ["*.safetensors"].')
            return ()
        return tuple(given)

    def _check_url(self, path: str, url: object) -> bool:
        try:
            parts = urlsplit(url) if isinstance(url, str) else None
            is_right = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_right = False
        if not is_right:
            self._wrong(path, f"{url!r} is not an address", "Begin it with https://.")
        return is_right

    # --- the environment ---

    def _environment(self, values: dict[str, Any], foreign: bool) -> EnvironmentSpec | None:
        version = self._python_version(values)
        requirements, constraints = self._requirements(values)
        if self.problems:
            return None
        implied: tuple[str, ...] = ()
        if values["docker_server"] is None:
            implied = (*(IMPLIED_BY_TRUSS if foreign else ()), *(IMPLIED_BY_WORKER if requirements else ()))
        if values["build_commands"] and not any(re.match(r"pip\b(?![-_.])", line) for line in requirements):
            requirements.append("pip")  # most build commands are pip's
        return EnvironmentSpec(version, tuple(requirements), tuple(constraints), implied)

    def _python_version(self, values: dict[str, Any]) -> str | None:
        given = values["python_version"]
        if isinstance(given, float) and given == 3.1:
            self._wrong("python_version", "3.10 without quotes reads as 3.1", 'Write python_version: "3.10".')
            return None
        try:
            version = canonical_python(None if given is None else str(given))
        except EnvironmentFailed as error:
            self._wrong("python_version", error.message, error.hint or "", error.code)
            return None
        values["python_version"] = version or own_python_version()
        return version

    # --- requirements ---

    def _requirements(self, values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        listed, file = values["requirements"], values["requirements_file"]
        if listed and file:
            hint = "Keep one: the list, or the file."
            self._wrong("requirements", "is given together with requirements_file", hint, "exclusive")
        if file is None:
            if not listed and "requirements.txt" in self._files:
                hint = "Write requirements_file: requirements.txt if it should count."
                self._warn("requirements_file", "there is a requirements.txt that config.yaml does not name", hint)
            lines = listed if isinstance(listed, list) else []
            return self._checked((f"requirements[{index}]", line) for index, line in enumerate(lines)), []
        if not isinstance(file, str) or not self._check_inside("requirements_file", file.removeprefix("./")):
            return [], []
        name = file.removeprefix("./")
        match name.rpartition("/")[2]:
            case "pyproject.toml":
                return self._pyproject(name), []
            case "uv.lock":
                return self._pyproject(name.removesuffix("uv.lock") + "pyproject.toml"), self._uv_lock(name)
            case _:
                return self._requirements_text(name, depth=0)

    def _checked(self, lines: Iterable[tuple[str, object]]) -> list[str]:
        good: list[str] = []
        for path, line in lines:
            if not isinstance(line, str):
                continue
            try:
                good.extend(canonical_requirements([line]))
            except EnvironmentFailed as error:
                self._wrong(path, error.message, error.hint or "", error.code)
        return good

    def _named_text(self, name: str) -> str | None:
        if name not in self._files:
            hint = "Correct the name, or add the file to the package."
            self._wrong("requirements_file", f"there is no file {name} in the package", hint, "missing")
            return None
        return self._text(name)

    def _requirements_text(self, name: str, depth: int) -> tuple[list[str], list[str]]:
        """A requirements.txt, with the files of the package it includes (`-r`, `-c`)."""
        text = self._named_text(name)
        if text is None:
            return [], []
        requirements: list[str] = []
        constraints: list[str] = []
        for number, line in _logical_lines(text):
            include = re.fullmatch(r"(-r|--requirement|-c|--constraint)(?:\s+|=)?(\S+)", line)
            if include is None:
                requirements += self._checked([(f"{name} line {number}", _without_hashes(line))])
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), include[2]))
            if depth >= 5:
                self._wrong(f"{name} line {number}", "files include each other too deeply", code="too_deep")
            elif self._check_inside(f"{name} line {number}", path):
                included, bounds = self._requirements_text(path, depth + 1)
                is_requirement = include[1] in ("-r", "--requirement")
                requirements += included if is_requirement else []
                constraints += bounds if is_requirement else included + bounds
        return requirements, constraints

    def _pyproject(self, name: str) -> list[str]:
        project = self._toml(name).get("project", {})
        lines = project.get("dependencies", []) if isinstance(project, dict) else None
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            self._wrong("requirements_file", f"project.dependencies in {name} is not a list of texts")
            return []
        return self._checked((f"{name} project.dependencies[{index}]", line) for index, line in enumerate(lines))

    def _uv_lock(self, name: str) -> list[str]:
        """The versions of a uv.lock as bounds; a package locked in several versions is left to the resolver."""
        packages = self._toml(name).get("package", [])
        versions: dict[str, set[str]] = {}
        for package in packages if isinstance(packages, list) else []:
            if (
                isinstance(package, dict)
                and isinstance(package.get("source"), dict)
                and "registry" in package["source"]
            ):
                versions.setdefault(str(package.get("name")), set()).add(str(package.get("version")))
        pins = [f"{package}=={min(found)}" for package, found in versions.items() if len(found) == 1]
        return self._checked((f"{name} {pin}", pin) for pin in pins)

    def _toml(self, name: str) -> dict[str, Any]:
        text = self._named_text(name)
        try:
            return tomllib.loads(text or "")
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self._wrong("requirements_file", f"{name} cannot be read: {error}", "Correct it.", "syntax")
            return {}


_NEEDS_CONTAINER: Final = {
    "base_image": "the environment comes from python_version and requirements alone",
    "system_packages": "install them on the machine itself if the model needs them",
}

_WITHOUT_EFFECT: Final = {
    "live_reload": "has no effect: a version never changes, deploy a new one",
    "training_checkpoints": "are not fetched: they are Baseten's own; put the files into the package's data folder",
    "runtime.egress_restrictions": "are not enforced on this machine; the model reaches what the machine reaches",
    "runtime.enable_tracing_data": "has no effect: traces are not exported",
    "runtime.oidc": "has no effect: no token is mounted",
    "runtime.remote_ssh": "has no effect: nobody signs in to a replica",
    "runtime.truss_server_version_override": "has no effect: no Truss server runs here",
    "resources.instance_type": "has no effect: say cpu and memory",
    "resources.node_count": "has no effect: a replica runs on one machine",
    "resources.fabric": "has no effect: a replica runs on one machine",
    "build.secret_to_path_mapping": "has no effect: build commands see no secret",
}
"""Keys of Truss that are kept without being carried out, with what to know about it."""

_SERVER_CONCURRENCY: Final = 32  # a server of one's own decides by itself what runs beside what
_OWN_SERVER_HINT: Final = "Put the server's code into the package, and what it imports into requirements."
_SERVER_KEYS: Final = {
    "start_command": "run in the package's folder",
    "server_port": "where the server listens; a command that names the port gets a free one in its place",
    "predict_endpoint": "where predictions go",
    "readiness_endpoint": "asked until it answers, and with every health check",
    "liveness_endpoint": "kept; readiness decides",
    "run_as_user_id": "",
    "no_build": "",
}
_LISTS_OF_TEXTS: Final = ("requirements", "system_packages", "build_commands", "external_package_dirs")

_KEEP_APART: Final = ("secrets", "build_commands", "docker_server", "weights", "model_cache")
"""What is for one model in a process: those who have it do not share a worker."""

_KNOWN_ELSEWHERE: Final = frozenset(
    {"trt_llm", "bis_llm", "num_workers", "runtime.num_workers", "runtime.is_websocket_endpoint", "hf_cache",
     "apply_library_patches", "build", "cache_internal", "use_local_src", *_WITHOUT_EFFECT}
)  # fmt: skip
"""Keys of Truss that need no default here: refused by name, an older spelling, or about Truss's own builds."""

_MEANINGS: Final = {
    "model_name": "the name to deploy under, when none is given",
    "description": "shown on the model's page",
    "model_metadata": "kept; example_model_input is tried after loading and fills the playground",
    "examples_filename": "handed on in the configuration",
    "model_module_dir": "where the class is",
    "model_class_filename": "the file of the class",
    "model_class_name": "the name of the class",
    "data_dir": "given to the constructor",
    "bundled_packages_dir": "put on the import path",
    "external_package_dirs": "copied into the packages folder before the upload",
    "external_data": "fetched into the data folder",
    "python_version": "the environment's Python",
    "requirements": "installed in the environment",
    "requirements_file": "installed in the environment",
    "environment_variables": "set for the model",
    "secrets": "given to the constructor, by name",
    "resources.cpu": "the threads that libraries use",
    "resources.memory": "the most a replica may use",
    "resources.accelerator": "kept; the model sees the machine's GPUs",
    "resources.use_gpu": "kept; the model sees the machine's GPUs",
    "runtime.predict_concurrency": "calls of predict at a time in one replica",
    "runtime.streaming_read_timeout": "seconds to wait for the next part of a stream",
    "runtime.enable_debug_logs": "the log shows DEBUG messages too",
    "runtime.batch": "kept, and shown on the model's page",
    "runtime.packed": "true lets it share a worker with other small models",
    "runtime.transport": "http and websocket are both spoken",
    "runtime.is_websocket_endpoint": "an older spelling of transport",
    "runtime.health_checks": "startup_threshold_seconds bounds loading; the rest is kept",
    "runtime.num_workers": "a worker is one process",
    "build_commands": "run once on a machine, before the first load",
    **{f"docker_server.{key}": meaning for key, meaning in _SERVER_KEYS.items() if meaning},
    "model_cache": "fetched when the version is made",
    "hf_cache": "an older spelling of model_cache",
    "weights": "fetched when the version is made",
    "spec_version": "kept",
    "input_type": "kept",
    "model_framework": "kept",
    "model_type": "kept",
    "apply_library_patches": "kept; there is nothing to patch",
    "num_workers": "a worker is one process",
    "build": "kept; there is no image to build",
}
"""What becomes of a key that nothing is said against."""

_STATUSES: Final[Mapping[str, NoteStatus]] = {
    "needs_container": "container",
    "unknown_key": "unknown",
    "refused": "refused",
    "ignored": "ignored",
    "no_gpu": "ignored",
    "secret_in_file": "ignored",
}
_SECTIONS: Final = ("resources", "runtime", "docker_server")
_FETCHED: Final = ("external_data", "weights", "model_cache", "hf_cache")
_CONTAINER_PATH: Final = re.compile(rb"""["'](/(?:app|packages|secrets)(?:/[^"'\n]{0,200})?)["']""")
_SCANNED_BYTES: Final = 1 << 20


def _note(problem: Problem) -> KeyNote:
    status = _STATUSES.get(problem.code, "wrong")
    return KeyNote(problem.path, status, problem.message, problem.hint, problem.line)


def _key_of(path: str) -> str:
    """The key that a problem is about: two levels in the sections that have notes of their own, else one."""
    section, _, rest = path.partition(".")
    key = re.split(r"[.\[]", rest if section in _SECTIONS else path)[0]
    return f"{section}.{key}" if section in _SECTIONS else key


def _meanings(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        paths = [f"{key}.{inner}" for inner in value] if key in _SECTIONS and isinstance(value, dict) else [key]
        yield from ((path, _MEANINGS[path]) for path in paths if path in _MEANINGS)


def _fetched(download: Download) -> str:
    what = download.url or f"{download.repo} of the Hugging Face Hub" + (
        f" at {download.revision}" if download.revision else ""
    )
    return f"{what} is fetched when the version is made, into {download.path}"


def _container_paths(files: Mapping[str, bytes], given: Mapping[str, Any]) -> Iterator[KeyNote]:
    """Lines of the package's code that name a place of a container."""
    mounts = [entry.get("mount_location") for entry in given.get("weights") or () if isinstance(entry, dict)]
    known = [re.escape(mount.encode()) for mount in mounts if isinstance(mount, str) and mount.startswith("/")]
    pattern = re.compile(b"[\"'](" + b"|".join(known) + rb")[/\"']") if known else None
    for name in sorted(files):
        if not name.endswith(".py") or name.startswith(f"{str(given.get('data_dir') or 'data').rstrip('/')}/"):
            continue
        content = files[name]
        if len(content) > _SCANNED_BYTES:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            found = _CONTAINER_PATH.search(line) or (pattern.search(line) if pattern else None)
            if found and b"TENFOLD_ROOT" not in line:
                path = found[1].decode("utf-8", "replace")
                yield KeyNote(name, "reachable", f"{path} is a path of a container", _path_hint(path), number)


def _path_hint(path: str) -> str:
    if path.startswith("/secrets/"):
        return f"Read it from the constructor's `secrets` argument: secrets[{path.removeprefix('/secrets/')!r}]."
    if path.startswith("/app/data"):
        return "Use the constructor's `data_dir` argument."
    return f'Write os.environ.get("TENFOLD_ROOT", "") + "{path}": it is right here and in a container.'


def _line_of(problem: Problem) -> int:
    return problem.line or 0


def _is_ours(files: Mapping[str, bytes], values: Mapping[str, Any]) -> bool:
    metadata = values["model_metadata"]
    return (isinstance(metadata, dict) and "tenfold" in metadata) or any(name.startswith(".tenfold/") for name in files)


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`. A key left empty (`data_dir:`) has its default, as in Truss."""
    merged = deepcopy(dict(defaults))
    for key, value in given.items():
        default = merged.get(key)
        if isinstance(default, dict) and isinstance(value, dict):
            merged[key] = _merged(default, value)
        elif value is not None or key not in merged:
            merged[key] = deepcopy(value)
    return merged


def _millicores(value: object) -> int | None:
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(m?)", "" if isinstance(value, bool) else str(value))
    amount = 0 if match is None else round(float(match[1]) * (1 if match[2] else 1000))
    return amount if amount > 0 else None


def _bytes(value: object) -> int | None:
    match = _MEMORY.fullmatch("" if isinstance(value, bool) else str(value))
    amount = 0 if match is None else int(float(match[1]) * _MEMORY_UNITS[match[2] or ""])
    return amount if amount > 0 else None


def _has_gpu() -> bool:
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/kfd")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a requirements file with continuations joined, numbered by their first, comments left out."""
    joined, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first or number
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if complete := (joined + line).strip():
            yield first, complete
        joined, first = "", 0
    if joined.strip():
        yield first, joined.strip()


def _without_hashes(line: str) -> str:
    """Hashes written by another tool: every lock gets its own."""
    return re.sub(r"\s--hash[=\s]\S+", "", line).strip()
