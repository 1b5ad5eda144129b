"""Settings come from the environment (prefix ``HUB_``) or a ``.env``; read once, validated whole, passed down."""

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import Misconfigured


SOURCES = SettingsConfigDict(
    env_prefix="HUB_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
)


class Settings(BaseSettings):
    """What every process of the hub needs; a service's own settings stand beside the service."""

    model_config = SOURCES

    database_url: SecretStr | None = None  # absent: DB_HOST and its sisters, else the embedded PostgreSQL
    amqp_url: SecretStr | None = None  # absent: the in-process bus
    home: Path = Path.home() / ".project88hub"  # the embedded database and its secret key live here
    secret_key: SecretStr | None = None  # 32 bytes, base64; absent and embedded: made once, kept under home
    runsignup_base_url: str = "https://api.runsignup.com/rest"
    runsignup_caller: str | None = None  # caller registration `<id>.<token>`; together with its secret, or not at all
    runsignup_caller_secret: SecretStr | None = None
    runsignup_include: str = ""  # extras with each participant: questions, addons, fundraisers, bundles, waivers
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)  # 0: none is served
    log_format: str = Field(default="human", pattern="^(human|json)$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    database_connections: int = Field(default=8, ge=2, le=100)  # of each process
    grace_seconds: float = Field(default=20.0, ge=0)  # how long a stopping service may finish what it has begun

    def database(self) -> str | None:
        """The database's address, from ``HUB_DATABASE_URL`` or from ``DB_HOST`` and its sisters; None: embedded."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        host = os.environ.get("DB_HOST")
        if not host:
            return None
        from urllib.parse import quote

        user, password = os.environ.get("DB_USER", "postgres"), os.environ.get("DB_PASSWORD", "")
        name, port = os.environ.get("DB_NAME", "postgres"), os.environ.get("DB_PORT", "5432")
        return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{quote(name, safe='')}"

    def caller(self) -> tuple[str, str] | None:
        """The caller registration; raises Misconfigured when only half of it is set."""
        if (self.runsignup_caller is None) != (self.runsignup_caller_secret is None):
            raise Misconfigured("HUB_RUNSIGNUP_CALLER and HUB_RUNSIGNUP_CALLER_SECRET must be set together")
        if self.runsignup_caller is None or self.runsignup_caller_secret is None:
            return None
        return self.runsignup_caller, self.runsignup_caller_secret.get_secret_value()


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **overrides: Any) -> S:
    """Read some settings; raises Misconfigured, naming each wrong one without its value."""
    try:
        return kind(**overrides)
    except ValidationError as error:
        wrong = "; ".join(
            f"HUB_{'_'.join(str(part) for part in each['loc']).upper()}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise Misconfigured(f"a setting is unusable ({wrong}); correct the environment or .env") from None
    except (UnicodeDecodeError, OSError) as error:
        raise Misconfigured(f".env cannot be read ({type(error).__name__}); correct or remove it") from None
