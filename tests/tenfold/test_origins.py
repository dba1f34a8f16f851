from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold.errors import CannotPackage
from tenfold.packaging.origins import (
    Distribution,
    LocalModule,
    origin_of,
    pins_of,
    requirement_name,
    with_own,
    without_local_version,
)

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution with one module where installed ones lie. Names must differ: what is found is remembered."""
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))

    def put(
        module: str, distribution: str, version: str = "1.0", direct_url: object = None, installer: str = "pip"
    ) -> Path:
        package = place / module
        package.mkdir()
        (package / "__init__.py").write_text("")
        told = place / f"{distribution.replace('-', '_')}-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (told / "RECORD").write_text(f"{module}/__init__.py,,\n{told.name}/METADATA,,\n")
        (told / "INSTALLER").write_text(f"{installer}\n")
        (told / "top_level.txt").write_text(f"{module}\n")
        if direct_url is not None:
            (told / "direct_url.json").write_text(json.dumps(direct_url))
        return package

    return put


def test_a_distribution_is_pinned_without_the_label_of_its_build(install: Install) -> None:
    install("origin_a", "origin-a", "2.13.0+cpu")
    assert origin_of("origin_a.inner") == Distribution("origin-a", "2.13.0+cpu")
    assert pins_of({"origin_a"}) == {"origin-a": "origin-a==2.13.0"}


def test_a_module_may_come_from_a_distribution_of_another_name(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenfold.packaging import origins

    install("origin_b", "origin-b-cpu", "3.2.0")
    origins._distributions.cache_clear()
    monkeypatch.setattr(origins, "_distributions", origins._distributions.__wrapped__)
    assert pins_of({"origin_b"}) == {"origin-b-cpu": "origin-b-cpu==3.2.0"}


def test_what_was_installed_from_a_folder_travels_as_files(install: Install) -> None:
    package = install("origin_c", "origin-c", direct_url={"url": "file:///sources/c", "dir_info": {}})
    assert origin_of("origin_c") == LocalModule("origin_c", package)


def test_what_conda_built_from_a_folder_of_another_machine_is_pinned(install: Install) -> None:
    told = {"url": "file:///croot/origin_f_1/work", "dir_info": {}}
    install("origin_f", "origin-f", direct_url=told, installer="conda")
    assert origin_of("origin_f") == Distribution("origin-f", "1.0")


def test_what_was_installed_from_an_archive_is_pinned(install: Install) -> None:
    install("origin_d", "origin-d", direct_url={"url": "file:///wheels/d.whl", "archive_info": {}})
    assert origin_of("origin_d") == Distribution("origin-d", "1.0")


def test_a_module_whose_file_is_gone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "origin_e.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("origin_e")
    (tmp_path / "origin_e.py").unlink()
    with pytest.raises(CannotPackage, match=r"origin_e\.py, and that file is gone") as refused:
        origin_of("origin_e")
    assert refused.value.hint == "Put it back, import it again, and deploy."


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("numpy", "numpy"),
        ("Scikit_Learn >= 1.5", "scikit-learn"),
        ("uvicorn[standard]==0.34", "uvicorn"),
        ("torch==2.7.0; python_version < '3.13'", "torch"),
        ("pip @ https://example.test/pip.whl", "pip"),
        ("git+https://example.test/a.git", None),
        ("-r more.txt", None),
        ("./wheels/a.whl", None),
        ("two words", None),
    ],
)
def test_a_requirement_has_a_name(line: str, name: str | None) -> None:
    assert requirement_name(line) == name


@pytest.mark.parametrize(
    ("line", "without"),
    [
        ("torch==2.13.0+cpu", "torch==2.13.0"),
        ("torch == 2.13.0+cpu ; python_version < '4'", "torch == 2.13.0 ; python_version < '4'"),
        ("a @ git+https://example.test/a.git", "a @ git+https://example.test/a.git"),
        ("numpy>=2,<3", "numpy>=2,<3"),
    ],
)
def test_the_label_of_a_build_is_dropped(line: str, without: str) -> None:
    assert without_local_version(line) == without


def test_own_requirements_come_first_by_name() -> None:
    pins = {"numpy": "numpy==2.1.0", "pandas": "pandas==2.2.0"}
    own = ["NumPy<2", "git+https://example.test/a.git"]
    assert with_own(pins, own) == ["git+https://example.test/a.git", "NumPy<2", "pandas==2.2.0"]
