"""Packages: read a Truss directory's `config.yaml` with every default filled in, and lay a package out on disk.

`read_package` reports everything that is wrong at once. Its result names the environment the package needs
and what a worker is told (`starts_from`). `materialise` makes the folder that a worker runs from, out of
content-addressed files.
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
from typing import Any, BinaryIO, Final, NamedTuple, cast

from tenfold_deploy.archive import ArchiveError, check_path, new_directory
from tenfold_deploy.environments import (
    EnvironmentFailed,
    EnvironmentSpec,
    canonical_python,
    canonical_requirements,
    own_python_version,
)
from tenfold_expressions import Document, DocumentError, Problem, load_yaml

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
_MEMORY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kMGT]|[KMGT]i)?")
_MEMORY_UNITS: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}  # fmt: skip


class _Reader:
    """Reads one package, collecting what is wrong on the way."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._config = Document(None)
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []

    def read(self) -> PackageConfig:
        given = self._document()
        values = self._with_defaults(given)
        self._check_refused(given)
        self._check_container_keys(values)
        self._check_text(values)
        self._check_model_class(values)
        self._check_variables(values)
        self._check_secrets(values)
        self._check_runtime(values)
        resources = self._resources(values)
        foreign = not _is_ours(self._files, values)
        environment = self._environment(values, foreign)
        if self._problems or resources is None or environment is None:
            raise DocumentError(sorted(self._problems, key=_line_of), filename=CONFIG_NAME)
        return PackageConfig(values, environment, resources, tuple(self._warnings), foreign)

    def _wrong(self, path: str, message: str, hint: str = "", code: str = "bad_value") -> None:
        self._problems.append(Problem(path, message, hint, code, line=self._line(path)))

    def _warn(self, path: str, message: str, hint: str = "", code: str = "ignored") -> None:
        self._warnings.append(Problem(path, message, hint, code, line=self._line(path)))

    def _line(self, path: str) -> int | None:
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
        runtime = given.get("runtime")
        sections = [("", given), ("runtime.", runtime if isinstance(runtime, dict) else {})]
        for prefix, section in sections:
            if section.get("num_workers", 1) != 1:
                hint = "Remove it and set the number of replicas of the deployment instead."
                self._wrong(f"{prefix}num_workers", "a worker is one process; only 1 is possible", hint, "refused")

    def _check_container_keys(self, values: Mapping[str, Any]) -> None:
        for key, what in _NOT_CARRIED_OUT.items():
            if values[key]:
                self._warn(key, f"is not carried out without a container: {what}", code="needs_container")

    def _check_text(self, values: Mapping[str, Any]) -> None:
        for key in ("model_name", "description", "requirements_file"):
            if values[key] is not None and not isinstance(values[key], str):
                self._wrong(key, "is not text", "Put it in quotes.")
        if not isinstance(values["model_metadata"], dict):
            self._wrong("model_metadata", "is not a group of keys")
        for key in ("requirements", "system_packages", "build_commands", "external_package_dirs"):
            if not isinstance(values[key], list) or not all(isinstance(line, str) for line in values[key]):
                self._wrong(key, "is not a list of texts", "Write each on a line of its own, after `- `.")
        for key in (
            "examples_filename",
            "model_module_dir",
            "model_class_filename",
            "data_dir",
            "bundled_packages_dir",
        ):
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
        if path not in self._files and not values["docker_server"]:
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
        if not isinstance(runtime["enable_debug_logs"], bool):
            self._wrong("runtime.enable_debug_logs", "is neither true nor false")
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

    def _check_count(self, path: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            self._wrong(path, f"{value!r} is not a whole number from 1 on")

    def _resources(self, values: Mapping[str, Any]) -> Resources | None:
        given = values["resources"]
        cpu = _millicores(given["cpu"])
        memory = _bytes(given["memory"])
        accelerator = re.fullmatch(
            r"([A-Za-z0-9][A-Za-z0-9_-]*)(?::([1-9][0-9]?))?", str(given["accelerator"] or "none")
        )
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
        if not given["accelerator"]:
            return Resources(cpu, memory, None, 1 if given["use_gpu"] is True else 0)
        return Resources(cpu, memory, accelerator[1], int(accelerator[2] or 1))

    def _environment(self, values: dict[str, Any], foreign: bool) -> EnvironmentSpec | None:
        version = self._python_version(values)
        requirements, constraints = self._requirements(values)
        if self._problems:
            return None
        implied = IMPLIED_BY_TRUSS if foreign else ()
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


_NOT_CARRIED_OUT: Final = {
    "base_image": "the environment comes from python_version and requirements alone",
    "system_packages": "install them on the machine itself if the model needs them",
    "build_commands": "run them before the upload and put what they make into the package",
    "docker_server": "only a Model class is served",
    "external_data": "put the files into the package's data folder",
    "weights": "put the files into the package's data folder, or fetch them in load()",
    "model_cache": "put the files into the package's data folder, or fetch them in load()",
}

_KNOWN_ELSEWHERE: Final = frozenset(
    {"trt_llm", "num_workers", "runtime.num_workers", "runtime.is_websocket_endpoint", "apply_library_patches",
     "live_reload", "build", "runtime.enable_tracing_data", "resources.node_count"}
)  # fmt: skip
"""Keys of Truss that need no default here: refused by name, an older spelling, or about Truss's own builds."""


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
    match = re.fullmatch(
        r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kMGT]|[KMGT]i)?", "" if isinstance(value, bool) else str(value)
    )
    amount = 0 if match is None else int(float(match[1]) * _MEMORY_UNITS[match[2] or ""])
    return amount if amount > 0 else None


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
