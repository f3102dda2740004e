"""The settings: environment variables `VERIFIER_*`, over one TOML file, over the defaults. Checked whole at start."""

import ipaddress
import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self, get_args

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableSettingError

from verifier.core.discovery import DiscoveryMode
from verifier.core.model import MAX_EVIDENCE_OCTETS, Limits, NonceForm, NonceMode
from verifier.core.policy import Policies
from verifier.core.tenancy import Tenant
from verifier.edge.policies import PolicyTable
from verifier.edge.redis_urls import Login, RedisOptions
from verifier.edge.secret_files import SUFFIX, read_secret_files
from verifier.edge.tenants import KeyHash, TenantName, TenantTable

PREFIX = "VERIFIER_"
#: Names the TOML file; the one variable that is not a setting.
CONFIG_VARIABLE = f"{PREFIX}CONFIG"

#: What may change while the service runs; the rest is as it was at the start.
RELOADABLE = frozenset({"admin_keys", "policies", "tenants"})


#: No colon: on the command line people are named `cli:NAME`.
AdminName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]


class SettingsError(ValueError):
    """A setting is unknown or bad; the message names it and says what was expected."""


class Settings(BaseSettings):
    """What can be set. In the environment, names are upper-case with the prefix; in the file they stand as here."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    trust_dir: Path | None = None
    # How soon a change of the trust directory, or of another replica's operator, is in force here.
    discovery: DiscoveryMode = DiscoveryMode.PINNED
    trust_refresh_seconds: Annotated[float, Field(ge=0.2, le=60)] = 1.0
    # A URL of a store may hold its password.
    nonce_store: SecretStr = Field(default_factory=lambda: SecretStr(f"sqlite:///{_state_directory()}/nonces.sqlite3"))
    # How many replicas of a Redis have to have a redemption before it counts, and how long they may take.
    nonce_wait_replicas: Annotated[int, Field(ge=0, le=16)] = 0
    nonce_wait_seconds: Annotated[float, Field(ge=0.01, le=1.5)] = 0.5
    # Of a Redis over TLS. Without a CA file, the system's certificate authorities count.
    redis_ca_file: Path | None = None
    redis_certificate_file: Path | None = None
    redis_key_file: Path | None = None
    # Sentinels have credentials of their own, or none.
    redis_sentinel_username: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    redis_sentinel_password: SecretStr | None = None
    nonce_form: NonceForm = NonceForm.DIGITS_10
    nonce_mode: NonceMode = NonceMode.REQUIRED
    nonce_lifetime_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    clock_skew_seconds: Annotated[int, Field(ge=0, le=600)] = 60
    maximum_age_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 6 * 3600
    maximum_body_octets: Annotated[int, Field(ge=4096, le=1024 * 1024)] = MAX_EVIDENCE_OCTETS
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    # Without keys, whoever reaches the service may use it: elsewhere than on loopback that has to be said.
    allow_open_listening: bool = False
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    # Of one worker: how many callers it has at once, and how many connections to each Redis server.
    worker_connections: Annotated[int, Field(ge=16, le=65536)] = 2048
    redis_connections: Annotated[int, Field(ge=1, le=256)] = 16
    request_seconds: Annotated[int, Field(ge=1, le=600)] = 20
    # Longer than a balancer keeps an idle connection, so that no request meets a connection that closes.
    keep_alive_seconds: Annotated[int, Field(ge=1, le=7200)] = 75
    graceful_stop_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    # Without a port of their own, the metrics are on the service's.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    metrics_host: str = "127.0.0.1"
    # A base URL, without credentials: it is printed. Without one, there are no spans.
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s@/?#]+(/[^\s@?#]*)?$")] | None = None
    # none, store, or the absolute path of a file.
    audit: Annotated[str, Field(pattern=r"^(none|store|/.*[^/])$")] = "none"
    audit_required: bool = False
    audit_maximum_octets: Annotated[int, Field(ge=64 * 1024, le=2**40)] = 64 * 1024 * 1024
    audit_maximum_entries: Annotated[int, Field(ge=100, le=10**8)] = 100_000
    policies: dict[str, PolicyTable] = Field(default_factory=dict)
    # Without keys, results are not signed.
    token_keys_dir: Path | None = None
    token_issuer: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    # Without one, a token is for the tenant that asked for it.
    token_audience: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    token_lifetime_seconds: Annotated[int, Field(ge=30, le=24 * 3600)] = 600
    # Names, each with the SHA-256 of its key in hex: a copy of the settings lets nobody in.
    admin_keys: dict[AdminName, KeyHash] = Field(default_factory=dict)
    # Without any, whoever reaches the service may use it, but for trust.
    tenants: dict[TenantName, TenantTable] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = settings_file()
        return (init_settings, env_settings, *([TomlConfigSettingsSource(settings_cls, file)] if file else []))

    @model_validator(mode="after")
    def _guard_open_listening(self) -> Self:
        if not (self.tenants or self.allow_open_listening or _is_loopback(self.host)):
            raise ValueError(
                f"{PREFIX}HOST is {self.host}, where anybody may reach a service without keys: name {PREFIX}TENANTS, "
                f"keep to loopback, or set {PREFIX}ALLOW_OPEN_LISTENING=true where something else guards the way"
            )
        return self

    @model_validator(mode="after")
    def _tell_callers_apart(self) -> Self:
        known = {Policies.DEFAULT, *self.policies}
        for name, table in self.tenants.items():
            if table.policy not in known:
                raise ValueError(f"tenants.{name}.policy: there is no policy of this name")
        every = [key_hash for table in self.tenants.values() for key_hash in table.keys]
        every += self.admin_keys.values()
        if len(set(every)) != len(every):
            raise ValueError("tenants and admin_keys: a key is given twice, so that nobody could say whose it is")
        return self

    @model_validator(mode="after")
    def _keep_metrics_apart(self) -> Self:
        if self.metrics_port and self.metrics_port == self.port:
            raise ValueError(f"{PREFIX}METRICS_PORT is the service's own: leave it unset to have the metrics there")
        if self.audit_required and self.audit == "none":
            raise ValueError(f"{PREFIX}AUDIT_REQUIRED is set: {PREFIX}AUDIT has to name a trail")
        return self

    @model_validator(mode="after")
    def _name_the_issuer(self) -> Self:
        if self.token_keys_dir is not None and self.token_issuer is None:
            raise ValueError(
                f"{PREFIX}TOKEN_KEYS_DIR is set: {PREFIX}TOKEN_ISSUER is needed too, "
                f"the URL or name of this service by which relying parties know it"
            )
        return self

    @model_validator(mode="after")
    def _pair_the_certificate(self) -> Self:
        if (self.redis_certificate_file is None) != (self.redis_key_file is None):
            raise ValueError(f"{PREFIX}REDIS_CERTIFICATE_FILE and {PREFIX}REDIS_KEY_FILE have to be set together")
        return self

    @property
    def redis_options(self) -> RedisOptions:
        return RedisOptions(
            ca_file=self.redis_ca_file,
            certificate_file=self.redis_certificate_file,
            key_file=self.redis_key_file,
            sentinel=Login(
                username=self.redis_sentinel_username or "",
                password=self.redis_sentinel_password.get_secret_value() if self.redis_sentinel_password else "",
            ),
            wait_replicas=self.nonce_wait_replicas,
            wait_timeout=timedelta(seconds=self.nonce_wait_seconds),
        )

    @property
    def limits(self) -> Limits:
        return Limits(
            clock_skew=timedelta(seconds=self.clock_skew_seconds),
            maximum_age=timedelta(seconds=self.maximum_age_seconds),
            nonce_lifetime=timedelta(seconds=self.nonce_lifetime_seconds),
        )

    @property
    def tenant_keys(self) -> dict[Tenant, tuple[str, ...]]:
        """Each tenant, with the hashes of its keys."""
        return {table.tenant(name): table.keys for name, table in self.tenants.items()}

    @property
    def named_policies(self) -> Policies:
        return Policies({name: table.rule() for name, table in self.policies.items()})


def settings_file() -> Path | None:
    """The file that VERIFIER_CONFIG names, where it names one."""
    name = os.environ.get(CONFIG_VARIABLE)
    return Path(name) if name else None


def load_settings() -> Settings:
    """The settings in force, from the environment and the file that VERIFIER_CONFIG names.

    Every value has its type and lies in its bounds, and nothing that is set is unknown. Not checked: that what
    they name can be reached. Raises SettingsError.
    """
    secrets = {f"{PREFIX}{name.upper()}": name for name in secret_settings()}
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE}
    known |= {f"{variable}{SUFFIX}" for variable in secrets}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; expected one of {', '.join(sorted(known))}")
    file = os.environ.get(CONFIG_VARIABLE)
    if file is not None and not Path(file).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {file}")
    try:
        from_files = read_secret_files(os.environ, secrets)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    try:
        return Settings(**from_files)  # type: ignore[arg-type]  # each is checked as what its setting is
    except ValidationError as error:
        raise SettingsError(explain(error)) from error
    except UnreadableSettingError as error:
        # JSON that is none, in the variable of a setting that is a table; the value is not repeated.
        raise SettingsError(str(error)) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: values stand too deep in one another") from error


def secret_settings() -> tuple[str, ...]:
    """The names of the settings that may hold a secret, which a file can hold instead."""
    return tuple(name for name, field in Settings.model_fields.items() if SecretStr in _types_of(field.annotation))


def _types_of(annotation: object) -> tuple[object, ...]:
    return (annotation, *get_args(annotation))


def explain(error: ValidationError) -> str:
    """What is wrong with which setting."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in fault["loc"])
        faults.append(f"{name}: {fault['msg']}" if name else fault["msg"])
    return "; ".join(faults)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _state_directory() -> Path:
    """XDG Base Directory: state that should persist between restarts."""
    state_home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state_home) / "imds-verifier"
