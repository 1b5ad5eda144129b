"""Settings come from the environment (prefix ``HUB_``) or a ``.env``; read once, validated whole, passed down."""

import re
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import Misconfigured

SOURCES = SettingsConfigDict(env_prefix="HUB_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)


class Settings(BaseSettings):
    """What every process of the hub needs; a service's own settings stand beside the service."""

    model_config = SOURCES

    database_url: SecretStr | None = None  # absent: DB_HOST and its sisters, else the embedded PostgreSQL
    amqp_url: SecretStr | None = None  # absent: the in-process bus
    home: Path = Path.home() / ".project88hub"  # the embedded database and its secret key live here
    secret_key: SecretStr | None = None  # 32 bytes, base64; absent and embedded: made once, kept under home
    former_secret_keys: SecretStr = SecretStr("")  # more of them, after commas: they open, and seal nothing
    runsignup_base_url: str = "https://api.runsignup.com/rest"
    runsignup_caller: str | None = None  # caller registration `<id>.<token>`; together with its secret, or not at all
    runsignup_caller_secret: SecretStr | None = None
    runsignup_include: str = ""  # extras with each participant: questions, addons, fundraisers, bundles, waivers
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)  # 0: none is served
    log_format: str = Field(default="human", pattern="^(human|json)$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    otlp_endpoint: str | None = None  # a collector of traces, http://host:4318; absent: none are made
    database_connections: int = Field(default=8, ge=2, le=100)  # of each process
    grace_seconds: float = Field(default=20.0, ge=0)  # how long a stopping service may finish what it has begun

    def database(self) -> str | None:
        """The database's address, from ``HUB_DATABASE_URL`` or from ``DB_HOST`` and its sisters; None: embedded."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return load(DatabaseParts).address()

    def caller(self) -> tuple[str, str] | None:
        """The caller registration; raises Misconfigured when only half of it is set."""
        if (self.runsignup_caller is None) != (self.runsignup_caller_secret is None):
            raise Misconfigured("HUB_RUNSIGNUP_CALLER and HUB_RUNSIGNUP_CALLER_SECRET must be set together")
        if self.runsignup_caller is None or self.runsignup_caller_secret is None:
            return None
        return self.runsignup_caller, self.runsignup_caller_secret.get_secret_value()


class DatabaseParts(BaseSettings):
    """The names that the former system's deployments set: ``DB_HOST``, ``DB_PORT``, ``DB_NAME``, …"""

    model_config = SettingsConfigDict(**{**SOURCES, "env_prefix": "DB_"})

    host: str | None = None  # a name, an address, or the folder of a socket
    port: int = Field(default=5432, ge=1, le=65535)
    name: str = "postgres"
    user: str = "postgres"
    password: SecretStr = SecretStr("")

    def address(self) -> str | None:
        """The parts as one address; None without a host."""
        if self.host is None:
            return None
        login = f"{quote(self.user, safe='')}:{quote(self.password.get_secret_value(), safe='')}"
        if self.host.startswith("/"):
            return f"postgresql://{login}@/{quote(self.name, safe='')}?host={quote(self.host)}&port={self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{login}@{host}:{self.port}/{quote(self.name, safe='')}"


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **overrides: Any) -> S:
    """Read some settings; raises Misconfigured, naming each wrong one without its value."""
    try:
        if "_env_file" not in overrides:
            _check_file(Path(".env"))
        return kind(**overrides)
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        wrong = "; ".join(
            f"{prefix}{'_'.join(str(part) for part in each['loc']).upper()}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise Misconfigured(f"a setting is unusable ({wrong})", remedy="correct the environment or .env") from None
    except (UnicodeDecodeError, OSError) as error:
        raise Misconfigured(f".env cannot be read ({type(error).__name__})", remedy="correct or remove it") from None


#: NAME=VALUE, perhaps exported, perhaps quoted over several lines; a line that is none of it is a mistake, not nothing.
_ASSIGNMENT = re.compile(r"""\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=""")


def _check_file(path: Path) -> None:
    """Raise Misconfigured, with the line's number, for a line that the reader would pass over in silence."""
    if not path.is_file():
        return
    quoted: str | None = None
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if quoted is not None:
            quoted = None if line.count(quoted) % 2 else quoted
        elif line.strip() and not line.lstrip().startswith("#"):
            if not _ASSIGNMENT.match(line):
                raise Misconfigured(
                    f"line {number} of .env is not NAME=value", remedy="correct it or put a # before it"
                )
            value = line.partition("=")[2].lstrip()
            if value[:1] in {'"', "'"} and value.count(value[0]) % 2:
                quoted = value[0]
    if quoted is not None:
        raise Misconfigured(".env ends inside a quoted value", remedy="close the quotation mark")
