from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tenfold.errors import CannotPackage
from tenfold.packaging.package import Package
from tenfold.packaging.wishes import Wishes, with_wishes
from tenfold_expressions import load_yaml

CONFIG = "# ours\nresources: {cpu: '1', memory: 1Gi}\nsecrets: {OTHER: null}\nruntime: {predict_concurrency: 2}\n"


@pytest.fixture
def package(tmp_path: Path) -> Package:
    root = tmp_path / "package"
    root.mkdir()
    (root / "config.yaml").write_text(CONFIG)
    return Package(root, "custom", is_folder=True)


def config_of(package: Package) -> Any:
    (entry,) = package.manifest()
    return yaml.safe_load(entry.source.read_text())


def test_wishes_go_into_the_configuration_that_is_sent_and_not_into_the_users_own(
    package: Package, tmp_path: Path
) -> None:
    wishes = Wishes({"memory": "4Gi", "cpu": 2}, {"max_size": 32, "max_wait_ms": 5}, ["HF_TOKEN"], "What it is")
    wishes.check()
    assert config_of(with_wishes(package, wishes, tmp_path / "scratch")) == {
        "resources": {"cpu": "2", "memory": "4Gi"},
        "secrets": {"HF_TOKEN": None, "OTHER": None},
        "runtime": {"predict_concurrency": 2, "batch": {"max_size": 32, "max_wait_ms": 5}},
        "description": "What it is",
    }
    assert (package.root / "config.yaml").read_text() == CONFIG


def test_without_wishes_the_configuration_is_sent_as_it_is(package: Package, tmp_path: Path) -> None:
    assert with_wishes(package, Wishes(), tmp_path / "scratch") is package


def test_a_batch_that_is_off_stays_a_word(package: Package, tmp_path: Path) -> None:
    sent = with_wishes(package, Wishes(batch="off"), tmp_path / "scratch")
    assert config_of(sent)["runtime"]["batch"] == "off"


@pytest.mark.parametrize("packed", [True, False])
def test_whether_it_shares_a_worker_is_said_beside_what_else_is_about_running(
    package: Package, tmp_path: Path, packed: bool
) -> None:
    sent = with_wishes(package, Wishes(batch="off", packed=packed), tmp_path / "scratch")
    assert config_of(sent)["runtime"] == {"predict_concurrency": 2, "batch": "off", "packed": packed}


def test_what_the_configuration_says_keeps_its_meaning(package: Package, tmp_path: Path) -> None:
    (package.root / "config.yaml").write_text("environment_variables: {DEBUG: yes, CODE: '12e5', AT: 12:30}\n")
    sent = with_wishes(package, Wishes(description="What it is"), tmp_path / "scratch")
    assert config_of(sent)["environment_variables"] == {"DEBUG": "yes", "CODE": "12e5", "AT": "12:30"}
    (entry,) = sent.manifest()
    assert load_yaml(entry.source.read_text()).data == config_of(sent)


def test_a_key_that_stands_twice_does_not_vanish(package: Package, tmp_path: Path) -> None:
    (package.root / "config.yaml").write_text("resources: {cpu: '1'}\nresources: {cpu: '2'}\n")
    with pytest.raises(CannotPackage, match="`resources` is written twice, first on line 1"):
        with_wishes(package, Wishes(resources={"memory": "4Gi"}), tmp_path / "scratch")


@pytest.mark.parametrize(
    ("config", "wishes"),
    [
        ("resources: 5", Wishes(resources={"cpu": 2})),
        ("runtime: [a]", Wishes(batch="off")),
        ("secrets: [HF_TOKEN]", Wishes(secrets=["HF_TOKEN"])),
    ],
)
def test_a_wish_for_what_is_no_group_of_keys_is_refused(
    package: Package, tmp_path: Path, config: str, wishes: Wishes
) -> None:
    (package.root / "config.yaml").write_text(config)
    with pytest.raises(CannotPackage, match=r"in config\.yaml is .*, and must be a group of keys"):
        with_wishes(package, wishes, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"resources": "4Gi"}, "resources is '4Gi', and must be a dict"),
        ({"resources": {"memory": "4 gigs"}}, 'Write memory like "4Gi"'),
        ({"resources": {"memory": "0Gi"}}, "which is nothing"),
        ({"resources": {"cpu": True}}, "resources['cpu'] is True"),
        ({"resources": {"use_gpu": "yes"}}, "must be True or False"),
        ({"resources": {"ram": "4Gi"}}, "'ram', which is not one of: cpu, memory, accelerator, use_gpu"),
        ({"batch": "on"}, "batch is 'on'"),
        ({"batch": {"size": 3}}, "batch has size"),
        ({"batch": {"max_size": 0}}, "batch['max_size'] is 0"),
        ({"batch": {"max_wait_ms": -1}}, "batch['max_wait_ms'] is -1"),
        ({"packed": "yes"}, "packed is 'yes', and must be True or False. Write packed=True"),
        ({"secrets": "HF_TOKEN"}, "secrets is str, and must be a list of names"),
        ({"secrets": ["a token/value"]}, "secrets names 'a to…', which is not a name"),
        (
            {"requirements": "pandas"},
            "requirements is the text 'pandas', and must be a list. Write requirements=['pandas'].",
        ),
        ({"requirements": {"pandas": "2"}}, "requirements is dict, and must be a list"),
        ({"requirements": ["pandas", "not one!", 3]}, "'not one!' is not a requirement. 3 is not a requirement."),
        ({"replicas": 0}, "replicas is 0. Write replicas=2"),
        ({"replicas": (3, 2)}, "replicas is (3, 2)"),
        ({"replicas": "2"}, "replicas is '2'"),
        ({"replicas": (1, 65)}, "at most 64"),
        ({"scale_to_zero": 0.5}, "scale_to_zero is 0.5"),
        ({"scale_to_zero": 0}, "scale_to_zero is 0"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_with_how_to_write_it(wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(CannotPackage) as refused:
        Wishes(**wishes).check()
    assert said in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(
    ("wishes", "scaling"),
    [
        ({}, {}),
        ({"replicas": 2}, {"min": 2, "max": 2}),
        ({"replicas": (1, 4)}, {"min": 1, "max": 4}),
        ({"scale_to_zero": True}, {"min": 0}),
        ({"scale_to_zero": False}, {}),  # what it has at least already stays
        ({"replicas": (0, 4), "scale_to_zero": False}, {"min": 1, "max": 4}),
        ({"scale_to_zero": 60}, {"min": 0, "idle": 60}),
        ({"replicas": (1, 4), "scale_to_zero": 60}, {"min": 0, "max": 4, "idle": 60}),
    ],
)
def test_replicas_are_said_beside_the_package(wishes: dict[str, Any], scaling: dict[str, int]) -> None:
    wanted = Wishes(**wishes)
    wanted.check()
    assert wanted.scaling() == scaling


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(CannotPackage) as refused:
        Wishes({"cpu": "two"}, "on", ["!"]).check()  # type: ignore[arg-type]
    assert [word in refused.value.message for word in ("resources", "batch", "secrets")] == [True, True, True]
