"""Settings: built once from the environment (`TENFOLD_*`), then passed in."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

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
    console_url: str = Field("http://localhost:7070", description="public address of api and studio")
    gateway_url: str = Field("http://127.0.0.1:7071", description="public address of the data plane and of views")
    host: str = "127.0.0.1"
    api_port: int = 7070
    gateway_port: int = 7071
    studio_dir: Path | None = Field(None, description="the built studio; found beside the package when not set")
    max_body_bytes: int = 64 * 1024 * 1024
    allow_unisolated_code: bool = Field(
        default=False, description="serve beyond this machine although user code is not isolated from the platform"
    )

    @property
    def artifacts_dir(self) -> Path:
        """Content-addressed blobs: `<first two hex digits>/<sha256>`."""
        return self.data_dir / "artifacts"

    @property
    def environments_dir(self) -> Path:
        return self.data_dir / "environments"

    @property
    def workers_dir(self) -> Path:
        """State of the local scheduler: replicas, packages laid out, code bundles."""
        return self.data_dir / "workers"

    @property
    def spool_dir(self) -> Path:
        """Where a gateway notes finished runs before it answers, until PostgreSQL has them."""
        return self.data_dir / "spool"

    def check_exposure(self) -> None:
        """Refuses to serve beyond this machine while user code runs unisolated, or without public addresses."""
        if self.host in ("127.0.0.1", "::1", "localhost"):
            return
        if "localhost" in self.console_url or "127.0.0.1" in self.gateway_url:
            raise Forbidden(
                f"Binding to {self.host} needs the addresses that others use.",
                code="public_url_missing",
                hint="Name them with --console-url and --gateway-url (two different host names).",
            )
        if not self.allow_unisolated_code:
            raise Forbidden(
                f"Binding to {self.host} would let others run code that is not isolated from this machine.",
                code="not_isolated",
                hint="Bind to 127.0.0.1, or say --allow-unisolated-code if everybody who can reach it is trusted.",
            )

    def as_environment(self) -> dict[str, str]:
        """The variables from which another process builds the same settings."""
        values: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None:
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                values[f"TENFOLD_{name.upper()}"] = str(plain)
        return values


def load_settings() -> Settings:
    return Settings()  # type: ignore[call-arg]  # the fields come from the environment
