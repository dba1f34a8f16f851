"""Package configuration as people write it, and packages laid out for a worker."""

import hashlib
import io
import json
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tenfold_deploy.archive import ArchiveError
from tenfold_deploy.environments import EnvironmentSpec, own_python_version
from tenfold_deploy.packages import (
    DEFAULTS,
    IMPLIED_BY_TRUSS,
    Download,
    PackageConfig,
    PackageFile,
    Resources,
    explain,
    manifest_digest,
    materialise,
    read_package,
    starts_from,
)
from tenfold_expressions import DocumentError

MODEL = {"model/model.py": b"class Model: ..."}


def package(config: str = "", **files: bytes | str) -> dict[str, bytes]:
    more = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    return {"config.yaml": config.encode(), **MODEL, **more}


def read(config: str = "", files: Mapping[str, bytes] | None = None) -> PackageConfig:
    return read_package(package(config) | dict(files or {}))


def problems(config: str, files: Mapping[str, bytes] | None = None) -> dict[str, str]:
    """What is wrong, by path."""
    with pytest.raises(DocumentError) as caught:
        read(config, files)
    assert caught.value.filename == "config.yaml"
    return {problem.path: problem.message for problem in caught.value.problems}


def warnings(config: str, files: Mapping[str, bytes] | None = None) -> dict[str, str]:
    return {problem.path: problem.message for problem in read(config, files).warnings}


# --- defaults ---


def test_an_empty_config_is_complete() -> None:
    config = read()

    assert starts_from(config) == dict(DEFAULTS) | {"python_version": own_python_version()}
    assert config.environment == EnvironmentSpec(None, (), implied=IMPLIED_BY_TRUSS)
    assert config.resources == Resources(1000, 2 << 30, None, 0)
    assert (config.predict_concurrency, config.streaming_read_timeout_seconds) == (1, 60)
    assert config.warnings == ()


def test_what_is_written_replaces_the_default_and_only_that() -> None:
    config = read("""
        model_name: churn
        description: Who leaves
        model_metadata: {example_model_input: [1, 2]}
        python_version: py312
        requirements: [numpy==2.1.0]
        environment_variables: {DEBUG: true, LEVEL: 3, NAME: text}
        secrets: {hf_access_token: null}
        resources: {cpu: 500m, memory: 512Mi, accelerator: "H100:2", use_gpu: true}
        runtime: {predict_concurrency: 4}
        data_dir:
    """)

    values = starts_from(config)
    assert values["runtime"] == DEFAULTS["runtime"] | {"predict_concurrency": 4}
    assert values["data_dir"] == "data"
    assert config.model_name == "churn"
    assert config.description == "Who leaves"
    assert config.environment_variables == {"DEBUG": "true", "LEVEL": "3", "NAME": "text"}
    assert config.secrets == ("hf_access_token",)
    assert config.resources == Resources(500, 512 << 20, "H100", 2)
    assert config.environment.python_version == values["python_version"] == "3.12"
    assert config.environment.requirements == ("numpy==2.1.0",)


def test_the_defaults_are_never_changed_by_what_is_done_with_a_result() -> None:
    starts_from(read())["runtime"]["transport"]["kind"] = "changed"
    assert starts_from(read())["runtime"]["transport"] == {"kind": "http"}


def test_the_workers_settings_are_json() -> None:
    config = read("model_metadata: {trained: 2024-01-01, tags: [a, 1, 1.5, null, yes]}")
    assert json.loads(json.dumps(starts_from(config)))["model_metadata"] == {
        "trained": "2024-01-01",
        "tags": ["a", 1, 1.5, None, "yes"],
    }


@pytest.mark.parametrize(
    ("cpu", "millicores"), [("1", 1000), ('"2"', 2000), ("0.5", 500), ("250m", 250), ("1.5", 1500)]
)
def test_amounts_of_cpu(cpu: str, millicores: int) -> None:
    assert read(f"resources: {{cpu: {cpu}}}").resources.cpu_millicores == millicores


@pytest.mark.parametrize(
    ("memory", "size"), [("2Gi", 2 << 30), ("512Mi", 512 << 20), ("1.5Gi", 3 << 29), ("1G", 10**9), ("1000000", 10**6)]
)
def test_amounts_of_memory(memory: str, size: int) -> None:
    assert read(f"resources: {{memory: {memory}}}").resources.memory_bytes == size


def test_a_gpu_of_any_kind() -> None:
    assert read("resources: {use_gpu: true}").resources == Resources(1000, 2 << 30, None, 1)


def test_the_older_spelling_of_a_websocket_model() -> None:
    assert starts_from(read("runtime: {is_websocket_endpoint: true}"))["runtime"]["transport"] == {"kind": "websocket"}


def test_a_folder_reads_like_its_files(tmp_path: Path) -> None:
    files = package("requirements_file: deps/requirements.txt", **{"deps/requirements.txt": "numpy"})
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert read_package(tmp_path) == read_package(files)


def test_a_link_out_of_a_folder_is_no_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret==1")
    folder = tmp_path / "package"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.py").touch()
    (folder / "config.yaml").write_text("requirements_file: requirements.txt")
    (folder / "requirements.txt").symlink_to(tmp_path / "outside")
    with pytest.raises(DocumentError, match=r"there is no file requirements\.txt"):
        read_package(folder)


# --- whose package ---


@pytest.mark.parametrize(
    ("config", "files"),
    [("model_metadata: {tenfold: {framework: sklearn}}", {}), ("", {".tenfold/schema.json": b"{}"})],
)
def test_a_package_of_ours_gets_only_what_it_asks_for(config: str, files: dict[str, bytes]) -> None:
    result = read(config, files)
    assert not result.foreign
    assert result.environment.implied == ()


def test_a_truss_folder_may_import_what_its_server_brings() -> None:
    result = read()
    assert result.foreign
    assert {"fastapi", "pydantic", "requests"} < set(result.environment.implied)


# --- problems ---


def test_everything_wrong_is_said_at_once_with_its_line() -> None:
    with pytest.raises(DocumentError) as caught:
        read("resources:\n  cpu: lots\n  memory: 2GB\nruntime:\n  predict_concurrency: 0\npython_version: '2.7'\n")
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [
        (2, "resources.cpu"),
        (3, "resources.memory"),
        (5, "runtime.predict_concurrency"),
        (6, "python_version"),
    ]
    assert all(problem.hint or "whole number" in problem.message for problem in caught.value.problems)


def test_the_name_of_the_file() -> None:
    with pytest.raises(DocumentError, match=r"Rename it to config\.yaml"):
        read_package({"config.yml": b"", **MODEL})
    with pytest.raises(DocumentError, match=r"there is no config\.yaml"):
        read_package(MODEL)
    assert problems("", {"config.yml": b""}) == {"": "there is a config.yml beside config.yaml"}


def test_what_is_not_yaml_or_not_text() -> None:
    for content in (b"a: [", b"\xff\xfe", b"- a\n- b", b"text", b"a: 1\na: 2"):
        with pytest.raises(DocumentError):
            read_package({"config.yaml": content, **MODEL})


def test_no_model() -> None:
    with pytest.raises(DocumentError, match=r"there is no file model/model\.py in the package"):
        read_package({"config.yaml": b""})
    assert problems("model_module_dir: src\nmodel_class_filename: net.py") == {
        "model_class_filename": "there is no file src/net.py in the package"
    }
    moved = read("model_module_dir: src\nmodel_class_filename: net.py", {"src/net.py": b""})
    assert starts_from(moved)["model_module_dir"] == "src"


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("trt_llm: {build: {}}", "trt_llm"),
        ("runtime: {transport: {kind: grpc}}", "runtime.transport.kind"),
        ("runtime: {transport: {kind: pigeon}}", "runtime.transport.kind"),
        ("runtime: {num_workers: 2}", "runtime.num_workers"),
        ("num_workers: 2", "num_workers"),
        ("runtime: fast", "runtime"),
        ("runtime: {predict_concurrency: true}", "runtime.predict_concurrency"),
        ("runtime: {predict_concurrency: many}", "runtime.predict_concurrency"),
        ("runtime: {streaming_read_timeout: -1}", "runtime.streaming_read_timeout"),
        ("runtime: {enable_debug_logs: maybe}", "runtime.enable_debug_logs"),
        ("runtime: {health_checks: [1]}", "runtime.health_checks"),
        (
            "runtime: {health_checks: {restart_threshold_seconds: soon}}",
            "runtime.health_checks.restart_threshold_seconds",
        ),
        ("resources: [1]", "resources"),
        ("resources: {cpu: 0}", "resources.cpu"),
        ("resources: {cpu: true}", "resources.cpu"),
        ("resources: {memory: -1Gi}", "resources.memory"),
        ("resources: {accelerator: 'H100:0'}", "resources.accelerator"),
        ("resources: {use_gpu: perhaps}", "resources.use_gpu"),
        ("python_version: 3.10", "python_version"),
        ("python_version: [3]", "python_version"),
        ("model_class_name: not a name", "model_class_name"),
        ("model_module_dir: ../outside", "model_module_dir"),
        ("data_dir: /etc", "data_dir"),
        ("bundled_packages_dir: 3", "bundled_packages_dir"),
        ("model_name: [a]", "model_name"),
        ("model_metadata: text", "model_metadata"),
        ("system_packages: git", "system_packages"),
        ("environment_variables: [A]", "environment_variables"),
        ("environment_variables: {PORT: 80}", "environment_variables.PORT"),
        ("environment_variables: {HOSTNAME: a}", "environment_variables.HOSTNAME"),
        ("environment_variables: {A-B: a}", "environment_variables.A-B"),
        ("environment_variables: {A: [1]}", "environment_variables.A"),
        ("environment_variables: {A: }", "environment_variables.A"),
        ("secrets: [token]", "secrets"),
        ("secrets: {../token: null}", "secrets.../token"),
        ("requirements: numpy", "requirements"),
        ("requirements: [numpy, '-e .']", "requirements[1]"),
        ("requirements: [1]", "requirements"),
        ("requirements_file: [a]", "requirements_file"),
        ("requirements_file: ../requirements.txt", "requirements_file"),
        ("requirements_file: missing.txt", "requirements_file"),
        ("bis_llm: {version: a}", "bis_llm"),
        ("build: {model_server: TRT_LLM}", "build.model_server"),
        ("base_image: python", "base_image"),
        ("runtime: {packed: perhaps}", "runtime.packed"),
        ("runtime: {packed: 1}", "runtime.packed"),
        ("runtime: {batch: 32}", "runtime.batch"),
        ("runtime: {batch: {size: 1}}", "runtime.batch"),
        ("runtime: {batch: {max_size: 0}}", "runtime.batch.max_size"),
        ("runtime: {batch: {max_wait_ms: -1}}", "runtime.batch.max_wait_ms"),
        ("external_data: {url: a}", "external_data"),
        ("external_data: [text]", "external_data[0]"),
        ("external_data: [{url: 'ftp://a/b', local_data_path: c}]", "external_data[0].url"),
        ("external_data: [{url: 'https://', local_data_path: c}]", "external_data[0].url"),
        ("external_data: [{url: 'https://a/b', local_data_path: ../c}]", "external_data[0].local_data_path"),
        ("external_data: [{url: 'https://a/b'}]", "external_data[0].local_data_path"),
        ("weights: [{source: a/b, mount_location: /m}]", "weights[0].source"),
        ("weights: [{source: 'ftp://a/b', mount_location: /m}]", "weights[0].source"),
        ("weights: [{source: 'hf://a b', mount_location: /m}]", "weights[0].source"),
        ("weights: [{source: 'hf://a/b@-x', mount_location: /m}]", "weights[0].source"),
        ("weights: [{source: 'https://a/', mount_location: /m}]", "weights[0].source"),
        ("weights: [{source: 'hf://a/b', mount_location: m}]", "weights[0].mount_location"),
        ("weights: [{source: 'hf://a/b', mount_location: /a/../../m}]", "weights[0].mount_location"),
        ("weights: [{source: 'hf://a/b', mount_location: /m, allow_patterns: x}]", "weights[0].allow_patterns"),
        ("weights: [{source: 'hf://a/b', mount_location: /m}, {source: 'hf://c/d', mount_location: /m}]", "weights[1]"),
        ("model_cache: [{repo_id: ../x}]", "model_cache[0].repo_id"),
        ("model_cache: [{repo_id: a/b, use_volume: true}]", "model_cache[0].volume_folder"),
        ("model_cache: [{repo_id: a/b, use_volume: true, volume_folder: ../c}]", "model_cache[0].volume_folder"),
        ("docker_server: text", "docker_server"),
    ],
)
def test_values_that_cannot_be(config: str, path: str) -> None:
    found = problems(config, {"src/model.py": b""})
    assert path in found
    assert found.keys() <= {path, "model_class_filename"}


# --- warnings ---


def test_unknown_keys_are_kept_and_reported() -> None:
    config = read("modle_name: churn\nmine: {a: 1}\nresources: {gpu: 1}")

    assert starts_from(config)["mine"] == {"a": 1}
    assert starts_from(config)["resources"]["gpu"] == 1
    assert {problem.path: problem.hint for problem in config.warnings} == {
        "modle_name": "Did you mean model_name?",
        "mine": "It is kept, and the model sees it in its config.",
        "resources.gpu": "It is kept, and the model sees it in its config.",
    }


def test_what_needs_a_container_is_said_not_silently_dropped() -> None:
    config = "base_image: {image: a}\nsystem_packages: [git]\nbuild_commands: [apt-get install -y git, make]"
    read_ = read(config)
    assert {problem.path: problem.code for problem in read_.warnings} == dict.fromkeys(
        ("base_image", "system_packages", "build_commands[0]"), "needs_container"
    )


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("live_reload: true", "live_reload"),
        ("runtime: {remote_ssh: {enabled: true}}", "runtime.remote_ssh"),
        ("runtime: {egress_restrictions: {ip_allow_list: []}}", "runtime.egress_restrictions"),
        ("resources: {instance_type: L4:4x16}", "resources.instance_type"),
        ("build: {secret_to_path_mapping: {a: /b}}", "build.secret_to_path_mapping"),
        ("training_checkpoints: {loops_checkpoint_ids: [a]}", "training_checkpoints"),
    ],
)
def test_keys_without_effect_are_named(config: str, path: str) -> None:
    assert set(warnings(config)) == {path}


def test_a_gpu_that_is_not_there_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenfold_deploy.packages._has_gpu", lambda: False)
    config = read("resources: {accelerator: L4}")
    assert [(problem.path, problem.code) for problem in config.warnings] == [("resources.accelerator", "no_gpu")]
    assert config.values["resources"]["use_gpu"] is True
    monkeypatch.setattr("tenfold_deploy.packages._has_gpu", lambda: True)
    assert read("resources: {accelerator: L4}").warnings == ()


def test_keys_of_truss_without_a_meaning_here_are_not_unknown() -> None:
    assert warnings("apply_library_patches: true\nlive_reload: false\nruntime: {num_workers: 1}") == {}


def test_a_secret_in_the_file_goes_no_further() -> None:
    config = read("secrets: {token: planted}")
    assert config.warnings[0].path == "secrets.token"
    assert "planted" not in json.dumps(starts_from(config)) + str(config.warnings)


def test_a_requirements_file_that_is_not_named() -> None:
    assert set(warnings("", {"requirements.txt": b"numpy"})) == {"requirements_file"}
    assert warnings("requirements: [numpy]", {"requirements.txt": b"numpy"}) == {}


# --- what is fetched ---


def test_what_is_fetched_and_where_it_goes() -> None:
    config = """
        data_dir: files
        secrets: {hf_token: null}
        external_data:
          - {url: "https://example.com/a.bin?x=1", local_data_path: deep/a.bin, name: a}
        weights:
          - source: hf://org/model@v1
            mount_location: /models/base
            allow_patterns: ["*.safetensors"]
            ignore_patterns: ["*.md"]
            auth: {auth_method: CUSTOM_SECRET, auth_secret_name: hf_token}
          - {source: "https://example.com/w/b%20c.bin", mount_location: /app/data/w}
          - {source: "hf://solo", mount_location: /packages/solo}
    """
    assert read(config).downloads == (
        Download("external_data[0]", "files/deep/a.bin", url="https://example.com/a.bin?x=1"),
        Download(
            "weights[0]",
            "weights/models/base",
            repo="org/model",
            revision="v1",
            allow_patterns=("*.safetensors",),
            ignore_patterns=("*.md",),
            secret="hf_token",
        ),
        Download("weights[1]", "data/w/b c.bin", url="https://example.com/w/b%20c.bin"),
        Download("weights[2]", "packages/solo", repo="solo"),
    )


@pytest.mark.parametrize("key", ["model_cache", "hf_cache"])
def test_cached_repositories_in_both_spellings(key: str) -> None:
    config = f"""
        secrets: {{hf_access_token: null}}
        {key}:
          - {{repo_id: org/model}}
          - {{repo_id: org/other, revision: abc123, use_volume: true, volume_folder: other}}
    """
    first, second = read(config).downloads
    assert (first.path, first.repo, first.revision) == ("model_cache/models--org--model/main", "org/model", None)
    assert first.secret == "hf_access_token"
    assert (second.path, second.revision) == ("model_cache/other", "abc123")
    assert "hf_cache" not in read(config).values


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("external_data: [{url: 's3://a/b', local_data_path: c, backend: s3}]", "external_data[0].backend"),
        ("weights: [{source: 's3://bucket/a', mount_location: /m}]", "weights[0].source"),
        ("weights: [{source: 'gs://bucket/a', mount_location: /m}]", "weights[0].source"),
        ("model_cache: [{repo_id: 'gs://a', kind: gcs}]", "model_cache[0].kind"),
    ],
)
def test_sources_that_cannot_be_reached_are_named_and_left_out(config: str, path: str) -> None:
    assert set(warnings(config)) == {path}
    assert read(config).downloads == ()


# --- a server of its own, build commands, batches ---

SERVER = """
    docker_server:
      start_command: python data/app.py --port 8000
      server_port: 8000
      predict_endpoint: /predict
      readiness_endpoint: /health
      liveness_endpoint: /health
"""


def test_a_package_may_bring_a_server_instead_of_a_class() -> None:
    files = {"config.yaml": SERVER.encode(), "data/app.py": b""}
    config = read_package(files)
    assert config.warnings == ()
    assert config.environment.implied == ()
    assert config.predict_concurrency == 32
    assert read_package({**files, "config.yaml": (SERVER + "    runtime: {predict_concurrency: 2}").encode()}) != config


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("start_command: python data/app.py --port 8000", "run_as_user_id: 5", "docker_server.start_command"),
        ("server_port: 8000", "server_port: http", "docker_server.server_port"),
        ("predict_endpoint: /predict", "predict_endpoint: predict", "docker_server.predict_endpoint"),
        ("readiness_endpoint: /health", "mine: 1", "docker_server.readiness_endpoint"),
    ],
)
def test_a_server_that_cannot_be_started(old: str, new: str, path: str) -> None:
    assert path in problems(SERVER.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("python data/app.py --port 8000", "vllm serve org/llama", "docker_server.start_command"),
        ("start_command: python data/app.py --port 8000", "no_build: true", "docker_server.no_build"),
    ],
)
def test_a_server_that_needs_its_image_is_a_warning(old: str, new: str, path: str) -> None:
    config = read(SERVER.replace(old, new) + "    base_image: {image: vllm/vllm-openai}")
    assert {problem.path for problem in config.warnings} == {path, "base_image"}
    assert {problem.code for problem in config.warnings} == {"needs_container"}


def test_build_commands_bring_pip_unless_the_package_pins_it() -> None:
    assert read("build_commands: [pip install x]").environment.requirements == ("pip",)
    pinned = "build_commands: [pip install x]\nrequirements: [pip==24.0, pip-tools]"
    assert read(pinned).environment.requirements == ("pip-tools", "pip==24.0")
    assert read("requirements: [pip-tools]").environment.requirements == ("pip-tools",)
    assert "pip" in read("build_commands: [make]\nrequirements: [pip-tools]").environment.requirements


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("off", "off"),
        ("false", "off"),
        ("{max_size: 8}", {"max_size": 8, "max_wait_ms": 0}),
        ("{max_size: 32, max_wait_ms: 2.5}", {"max_size": 32, "max_wait_ms": 2.5}),
    ],
)
def test_batches(written: str, kept: object) -> None:
    assert starts_from(read(f"runtime: {{batch: {written}}}"))["runtime"]["batch"] == kept


def test_one_of_many_that_share_a_worker() -> None:
    assert (read("").packed, read("runtime: {packed: true}").packed) == (False, True)
    assert starts_from(read("runtime: {packed: true}"))["runtime"]["packed"] is True
    assert warnings("runtime: {packed: true}") == {}
    assert explained("runtime: {packed: true}")["runtime.packed"] == ("honoured", 1)


@pytest.mark.parametrize(
    ("config", "keepers"),
    [
        ("runtime: {packed: true}\nsecrets: {token: null}", "secrets"),
        ("runtime: {packed: true}\nsecrets: {token: null}\nbuild_commands: [make]", "secrets and build_commands"),
        ("runtime: {packed: true, enable_debug_logs: true}", "runtime.enable_debug_logs"),
    ],
)
def test_what_keeps_a_package_from_sharing_a_worker_is_said(config: str, keepers: str) -> None:
    (warning,) = [one for one in read(config).warnings if one.path == "runtime.packed"]
    assert warning.message == f"has no effect: a package with {keepers} has a worker of its own"


# --- explain ---


def explained(config: str, **files: str) -> dict[str, tuple[str, int | None]]:
    """Status and line by path."""
    given = package(config, **files)
    return {note.path: (note.status, note.line) for note in explain(given)}


def test_every_key_is_explained_with_its_line() -> None:
    config = """model_name: a
base_image: {image: b}
zzz: 1
resources: {cpu: "2", instance_type: x}
runtime:
  predict_concurrency: 2
  transport: {kind: grpc}
weights:
  - {source: "hf://a/b@main", mount_location: /models/a}
  - {source: "s3://a/b", mount_location: /models/b}
secrets: {token: null}
trt_llm: {build: {}}
data_dir: /etc
"""
    assert explained(config) == {
        "model_name": ("honoured", 1),
        "base_image": ("container", 2),
        "zzz": ("unknown", 3),
        "resources.cpu": ("honoured", 4),
        "resources.instance_type": ("ignored", 4),
        "runtime.predict_concurrency": ("honoured", 6),
        "runtime.transport.kind": ("refused", 7),
        "weights[0]": ("reachable", 9),
        "weights[1].source": ("ignored", 10),
        "secrets": ("honoured", 11),
        "trt_llm": ("refused", 12),
        "data_dir": ("wrong", 13),
    }


def test_every_key_that_has_a_default_has_a_meaning() -> None:
    elsewhere = {"resources", "runtime", "docker_server", "base_image", "system_packages"}
    for key in DEFAULTS.keys() - elsewhere:
        assert explained(f"{key}:")[key][0] == "honoured", key
    for section in ("resources", "runtime"):
        for key in DEFAULTS[section]:
            assert explained(f"{section}: {{{key}: }}")[f"{section}.{key}"][0] == "honoured", key


def test_a_package_without_a_readable_configuration_is_explained_too() -> None:
    assert [note.status for note in explain({"model/model.py": b""})] == ["wrong"]
    (note,) = explain(package("a: 1\na: 2"))
    assert note.status == "wrong"
    assert note.line == 2
    assert [note.path for note in explain(package("[1]"))] == [""]


def test_paths_of_a_container_in_the_code_are_pointed_out() -> None:
    source = """import os
TOKEN = open("/secrets/hf_token").read()
WORDS = open('/app/data/words.txt')
sys.path.append("/packages")
W = torch.load("/models/base/w.pt")
FINE = os.environ.get("TENFOLD_ROOT", "") + "/packages/x"
URL = "https://example.com/app/x"
"""
    config = 'weights: [{source: "hf://a/b", mount_location: /models/base}]'
    files = package(config) | {"model/model.py": source.encode(), "data/big.py": b"'/app/x'"}
    notes = [note for note in explain(files) if note.path == "model/model.py"]
    assert [(note.line, note.status) for note in notes] == [(line, "reachable") for line in (2, 3, 4, 5)]
    hints = [note.hint for note in notes]
    assert "secrets['hf_token']" in hints[0]
    assert "data_dir" in hints[1]
    assert 'os.environ.get("TENFOLD_ROOT", "") + "/packages"' in hints[2]
    assert '"/models/base"' in hints[3]


# --- requirements ---


def requirements(name: str, **files: str) -> EnvironmentSpec:
    named = {path: text.encode() for path, text in files.items()}
    return read(f"requirements_file: {name}", named).environment


def test_a_requirements_file_with_all_that_pip_understands() -> None:
    spec = requirements(
        "./deps/all.txt",
        **{
            "deps/all.txt": "# heading\nnumpy>=2,\\\n  <3   # why\n-r more.txt\n--constraint=../bounds.txt\n\n",
            "deps/more.txt": "Pandas==2.2.3 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n",
            "bounds.txt": "six==1.17.0",
        },
    )
    assert spec.requirements == ("numpy<3,>=2", "pandas==2.2.3")
    assert spec.constraints == ("six==1.17.0",)


@pytest.mark.parametrize(
    "line", ["-r ../../etc/passwd", "-r /etc/passwd", "-r missing.txt", "-r requirements.txt", "-i http://x", "a @ b"]
)
def test_a_requirements_file_cannot_reach_out_of_the_package(line: str) -> None:
    assert problems("requirements_file: requirements.txt", {"requirements.txt": line.encode()})


def test_a_list_and_a_file_exclude_each_other() -> None:
    found = problems("requirements: [a]\nrequirements_file: requirements.txt", {"requirements.txt": b"b"})
    assert found == {"requirements": "is given together with requirements_file"}


def test_a_pyproject_and_its_lock() -> None:
    project = '[project]\nname = "mine"\ndependencies = ["numpy>=2", "requests"]\n'
    lock = """
        [[package]]
        name = "numpy"
        version = "2.1.0"
        source = { registry = "main" }
        [[package]]
        name = "mine"
        version = "0.1.0"
        source = { virtual = "." }
        [[package]]
        name = "forked"
        version = "1.0"
        source = { registry = "main" }
        [[package]]
        name = "forked"
        version = "2.0"
        source = { registry = "main" }
    """
    files = {"pyproject.toml": project, "uv.lock": lock}

    assert requirements("pyproject.toml", **files).requirements == ("numpy>=2", "requests")
    spec = requirements("uv.lock", **files)
    assert (spec.requirements, spec.constraints) == (("numpy>=2", "requests"), ("numpy==2.1.0",))


@pytest.mark.parametrize("project", ["[project", "[project]\ndependencies = 'numpy'", "project = 1"])
def test_a_pyproject_that_cannot_be_used(project: str) -> None:
    assert set(problems("requirements_file: pyproject.toml", {"pyproject.toml": project.encode()})) == {
        "requirements_file"
    }


# --- laying out ---


def stored(path: str, content: bytes = b"content", *, executable: bool = False) -> PackageFile:
    return PackageFile(path, hashlib.sha256(content).hexdigest(), executable, lambda: io.BytesIO(content))


def test_a_package_is_laid_out_with_what_its_worker_needs(tmp_path: Path) -> None:
    files = [stored("model/model.py", b"code"), stored("run.sh", executable=True), stored("config.yaml", b"")]
    config = read("model_name: churn")
    destination = tmp_path / "packages" / "one"

    digest = materialise(files, destination, worker_config=starts_from(config))

    assert digest == manifest_digest((file.path, file.sha256, file.executable) for file in files)
    assert (destination / "model/model.py").read_bytes() == b"code"
    assert stat.S_IMODE((destination / "run.sh").stat().st_mode) == 0o755
    assert json.loads((destination / ".tenfold/config.json").read_text()) == starts_from(config)
    assert [path.name for path in destination.parent.iterdir()] == ["one"]


def test_a_digest_does_not_depend_on_order_but_on_everything_else() -> None:
    one, two = ("a", "1" * 64, False), ("b", "2" * 64, False)
    assert manifest_digest([one, two]) == manifest_digest([two, one])
    line = b"a\0" + b"1" * 64 + b"\x000\n"
    assert manifest_digest([one]) == hashlib.sha256(line).hexdigest()
    different = [[one], [one, two], [("a", "1" * 64, True)], [("c", "1" * 64, False)], [("a", "3" * 64, False)], []]
    assert len({manifest_digest(entries) for entries in different}) == len(different)


def test_a_package_that_is_there_stays(tmp_path: Path) -> None:
    destination = tmp_path / "one"
    materialise([stored("a", b"first")], destination)
    materialise([stored("a", b"first")], destination)
    assert (destination / "a").read_bytes() == b"first"


def test_many_lay_out_the_same_package(tmp_path: Path) -> None:
    files = [stored(f"folder/{number}", bytes(1000)) for number in range(50)]
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(materialise(files, tmp_path / "one"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert digests == [manifest_digest(file[:3] for file in files)] * 4
    assert len(list((tmp_path / "one" / "folder").iterdir())) == 50
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([stored("../out")], "bad_path"),
        ([stored("/out")], "bad_path"),
        ([stored("a"), stored("a")], "duplicate_name"),
        ([stored("a"), stored("A")], "name_collision"),
        ([stored("a"), stored("a/b")], "name_collision"),
        ([stored(".tenfold")], "name_collision"),
        ([stored("good"), stored("changed")._replace(sha256="0" * 64)], "digest_mismatch"),
    ],
)
def test_what_is_not_laid_out(files: list[PackageFile], code: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        materialise(files, tmp_path / "one", worker_config=starts_from(read()))
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_package_of_another_digest_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    def never() -> io.BytesIO:
        raise AssertionError

    with pytest.raises(ArchiveError) as caught:
        materialise([PackageFile("a", "0" * 64, False, never)], tmp_path / "one", digest="f" * 64)
    assert caught.value.code == "digest_mismatch"


def test_an_uploaded_worker_configuration_does_not_count(tmp_path: Path) -> None:
    forged = stored(".tenfold/config.json", b'{"model_class_name": "Other"}')
    materialise([forged, stored("model/model.py")], tmp_path / "one", worker_config=starts_from(read()))
    assert json.loads((tmp_path / "one/.tenfold/config.json").read_text())["model_class_name"] == "Model"


def test_a_content_that_cannot_be_opened_leaves_nothing(tmp_path: Path) -> None:
    def missing() -> io.BytesIO:
        raise FileNotFoundError("the blob is gone")

    with pytest.raises(FileNotFoundError):
        materialise([stored("a"), PackageFile("b", "0" * 64, False, missing)], tmp_path / "one")
    assert list(tmp_path.iterdir()) == []
