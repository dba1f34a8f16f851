"""Settings: built once from the environment (`TENFOLD_*`), then passed in."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tenfold_deploy.isolation import find_isolation
from tenfold_deploy.scheduler import Isolation, Network
from tenfold_platform.defaults import DISK_KEPT_FREE_BYTES, ENVIRONMENTS_KEPT_DAYS, MAX_PACKAGE_BYTES
from tenfold_platform.errors import Forbidden


class Settings(BaseSettings):
    """What every platform process is told at its start.

    `tenfold up` fills these for its processes; elsewhere the operator sets the variables.
    """

    model_config = SettingsConfigDict(env_prefix="TENFOLD_", extra="ignore")

    database_url: SecretStr
    redis_url: SecretStr
    data_dir: Path
    signing_key: SecretStr = Field(description="at least 32 random bytes, hex; signs tokens and share links")
    secrets_key: SecretStr | None = Field(
        None, description="seals secrets: 32 random bytes in hex; older keys may follow after commas, to be replaced"
    )
    console_url: str = Field("http://localhost:7070", description="public address of api and studio")
    gateway_url: str = Field("http://127.0.0.1:7071", description="public address of the data plane and of views")
    host: str = "127.0.0.1"
    api_port: int = 7070
    gateway_port: int = 7071
    studio_dir: Path | None = Field(None, description="the built studio; found beside the package when not set")
    max_body_bytes: int = 64 * 1024 * 1024
    queue_length: int = Field(100, ge=1, description="calls that may wait for one model version, in each gateway")
    max_package_bytes: int = Field(
        MAX_PACKAGE_BYTES, ge=1, description="the most that the files of one version may come to, with what is fetched"
    )
    disk_kept_free_bytes: int = Field(
        DISK_KEPT_FREE_BYTES,
        ge=0,
        description="uploads and fetches are refused before the disk has less than this left",
    )
    python_downloads: bool = Field(default=False, description="fetch Python versions that the machine does not have")
    compile_models: bool = Field(
        default=True, description="serve the compiled form of models whose package brings a compiler, once it is proven"
    )
    environments_kept_days: int = Field(
        ENVIRONMENTS_KEPT_DAYS,
        ge=0,
        description="an environment that nothing uses goes so long after it was last asked for; 0: never",
    )
    egress_allow: str = Field(
        default="", description="private networks (10.1.0.0/16) and host names that fetches for users may reach"
    )
    worker_network: Network | None = Field(
        None,
        description="what user code reaches of the network: none or open; open while only this machine is served, "
        "else none, when not set",
    )
    allow_unisolated_code: bool = Field(
        default=False, description="serve beyond this machine although user code is not isolated from the platform"
    )

    @field_validator("secrets_key")
    @classmethod
    def _check_secrets_key(cls, given: SecretStr | None) -> SecretStr | None:
        keys = [part.strip().lower() for part in given.get_secret_value().split(",")] if given else []
        if not all(re.fullmatch(r"[0-9a-f]{64}", key) for key in keys):
            raise ValueError("a key for secrets is 32 bytes in hex, such as `openssl rand -hex 32` prints")
        return SecretStr(",".join(keys)) if keys else None

    @property
    def artifacts_dir(self) -> Path:
        """Content-addressed blobs: `<first two hex digits>/<sha256>`."""
        return self.data_dir / "artifacts"

    @property
    def environments_dir(self) -> Path:
        return self.data_dir / "environments"

    @property
    def wheels_dir(self) -> Path:
        """uv's cache of downloaded and built packages, unless the machine names another (UV_CACHE_DIR)."""
        return self.data_dir / "wheels"

    @property
    def pythons_dir(self) -> Path:
        """Python versions that were fetched, where that is allowed."""
        return self.data_dir / "pythons"

    @property
    def workers_dir(self) -> Path:
        """State of the local scheduler: replicas, packages laid out, code bundles."""
        return self.data_dir / "workers"

    @property
    def spool_dir(self) -> Path:
        """Where a gateway notes finished runs before it answers, until PostgreSQL has them."""
        return self.data_dir / "spool"

    def find_isolation(self) -> Isolation:
        """How well this machine isolates user code, under these settings."""
        return find_isolation(self.worker_network or ("open" if self._is_on_loopback() else "none"))

    def builds_wheels_only(self) -> bool:
        """Whether environments may hold no package that is built from source: where no sandbox is around that."""
        is_trusted = self._is_on_loopback() or self.allow_unisolated_code
        return not is_trusted and self.find_isolation().level != "strict"

    def check_exposure(self) -> None:
        """Refuses to serve beyond this machine while user code runs unisolated, or without public addresses."""
        if self._is_on_loopback():
            return
        if not self._has_loopback_host() and any(map(_names_loopback, (self.console_url, self.gateway_url))):
            raise Forbidden(
                f"{self._exposure()} needs the addresses that others use.",
                code="public_url_missing",
                hint="Name them with --console-url and --gateway-url (two different host names).",
            )
        isolation = self.find_isolation()
        if self.allow_unisolated_code or (isolation.level, isolation.network) == ("strict", "none"):
            return
        if isolation.level == "strict":
            raise Forbidden(
                f"{self._exposure()} would let others run code that reaches this machine's network.",
                code="not_isolated",
                hint="Leave --worker-network out, or say --allow-unisolated-code if everybody who deploys is trusted.",
            )
        raise Forbidden(
            f"{self._exposure()} would let others run code that is not isolated from this machine "
            f"(isolation: {isolation.level}). {' '.join(isolation.missing)}",
            code="not_isolated",
            hint="Do that, serve this machine only (host and both addresses), or say --allow-unisolated-code if "
            "everybody who deploys is trusted.",
        )

    def _is_on_loopback(self) -> bool:
        """Whether only this machine is served: a public address means that a proxy forwards what others send."""
        return self._has_loopback_host() and all(map(_names_loopback, (self.console_url, self.gateway_url)))

    def _has_loopback_host(self) -> bool:
        return _is_loopback(self.host)

    def _exposure(self) -> str:
        return "Serving at a public address" if self._has_loopback_host() else f"Binding to {self.host}"

    def as_environment(self) -> dict[str, str]:
        """The variables from which another process builds the same settings."""
        values: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None:
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                values[f"TENFOLD_{name.upper()}"] = str(plain)
        return values


def _is_loopback(host: str | None) -> bool:
    """Of a host as it is bound to, or stands in an address; names below localhost never leave the machine."""
    name = (host or "").strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _names_loopback(url: str) -> bool:
    return _is_loopback(urlsplit(url).hostname)


def load_settings() -> Settings:
    return Settings()  # type: ignore[call-arg]  # the fields come from the environment
