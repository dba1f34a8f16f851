"""Serving beyond this machine: what it takes, and how a refusal says so."""

from __future__ import annotations

import pytest

from tenfold_deploy.scheduler import Isolation, Network
from tenfold_platform import settings as module
from tenfold_platform.environments.service import tools_of
from tenfold_platform.errors import Forbidden
from tenfold_platform.settings import Settings

MISSING = "Bubblewrap is not on this machine: install it."


def make_settings(**given: object) -> Settings:
    required = {"database_url": "x", "redis_url": "x", "data_dir": "/nowhere", "signing_key": "5e" * 32}
    addresses = {"console_url": "https://a.example.org", "gateway_url": "https://b.example.org"}
    return Settings.model_validate({**required, **addresses, **given})


@pytest.fixture
def level(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    missing = () if request.param == "strict" else (MISSING,)

    def find(network: Network) -> Isolation:
        return Isolation(request.param, "open" if request.param == "none" else network, missing)

    monkeypatch.setattr(module, "find_isolation", find)


@pytest.mark.parametrize("level", ["strict", "reduced", "none"], indirect=True)
@pytest.mark.usefixtures("level")
def test_loopback_is_always_served_with_the_network_open() -> None:
    settings = make_settings(console_url="http://localhost:7070", gateway_url="http://[::1]:7071")
    settings.check_exposure()
    assert settings.find_isolation().network == "open"
    assert not tools_of(settings).wheels_only


@pytest.mark.parametrize("level", ["strict"], indirect=True)
@pytest.mark.usefixtures("level")
def test_beyond_loopback_strict_workers_without_a_network_are_enough() -> None:
    settings = make_settings(host="0.0.0.0")
    settings.check_exposure()
    assert settings.find_isolation() == Isolation("strict", "none")
    assert not tools_of(settings).wheels_only
    assert tools_of(settings).isolation == "strict"


@pytest.mark.parametrize("level", ["strict"], indirect=True)
@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("public", ["console_url", "gateway_url"])
def test_a_public_address_in_front_of_loopback_serves_beyond_it(public: str) -> None:
    local = {"console_url": "http://localhost:7070", "gateway_url": "http://127.0.0.1:7071"}
    settings = make_settings(**(local | {public: "https://models.example.org"}))
    settings.check_exposure()
    assert settings.find_isolation() == Isolation("strict", "none")


@pytest.mark.parametrize("level", ["reduced", "none"], indirect=True)
@pytest.mark.usefixtures("level")
def test_a_proxy_in_front_of_loopback_needs_isolation() -> None:
    with pytest.raises(Forbidden) as refused:
        make_settings().check_exposure()
    assert refused.value.code == "not_isolated"
    assert "public address" in refused.value.message


@pytest.mark.parametrize("level", ["strict"], indirect=True)
@pytest.mark.usefixtures("level")
def test_an_open_network_is_refused_beyond_loopback() -> None:
    with pytest.raises(Forbidden) as refused:
        make_settings(host="0.0.0.0", worker_network="open").check_exposure()
    assert refused.value.code == "not_isolated"
    assert "--worker-network" in refused.value.hint


@pytest.mark.parametrize("level", ["reduced", "none"], indirect=True)
@pytest.mark.usefixtures("level")
def test_less_than_strict_is_refused_with_what_to_install() -> None:
    with pytest.raises(Forbidden) as refused:
        make_settings(host="0.0.0.0").check_exposure()
    assert refused.value.code == "not_isolated"
    assert MISSING in refused.value.message


@pytest.mark.parametrize("level", ["strict", "reduced", "none"], indirect=True)
@pytest.mark.parametrize("network", ["open", None])
@pytest.mark.usefixtures("level")
def test_the_loud_flag_overrides(network: Network | None) -> None:
    make_settings(host="0.0.0.0", worker_network=network, allow_unisolated_code=True).check_exposure()
