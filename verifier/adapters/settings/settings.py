"""Define and load the settings: environment variables `VERIFIER_*`, then one TOML file, then the defaults."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableSettingError

from verifier.adapters.settings.file import FORMAT_KEY, read_file
from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.settings.secret_files import SUFFIX, read_secret_files
from verifier.adapters.settings.tenants import CallerName, KeyHash, TenantTable
from verifier.adapters.settings.values import (
    Host,
    check_absolute,
    check_base_url,
    check_feed,
    is_loopback,
    split,
    state_directory,
)
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.discovery import DiscoveryMode
from verifier.core.encoding.unknown_fields import explain_unknown_field, find_nearest
from verifier.core.model import Limits
from verifier.core.nonces import NonceForm, NonceMode
from verifier.core.policy import Policies
from verifier.core.tenancy import Tenant
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.published import FeedMode

PREFIX = "VERIFIER_"
#: Names the TOML file. It is the only variable that is not a setting.
CONFIG_VARIABLE = f"{PREFIX}CONFIG"

#: The settings that may change while the service runs. The others need a restart.
RELOADABLE = frozenset({"admin_keys", "policies", "tenants"})


class SettingsError(ValueError):
    """Report an unknown or invalid setting. The message names it and states the expected value."""


class Settings(BaseSettings):
    """Hold all settings. The file uses these names; the environment uses them in upper case with the prefix."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    trust_dir: Path | None = None
    # The clouds whose documents are accepted live; archives are appraised for every cloud.
    clouds: Annotated[frozenset[Cloud], NoDecode, BeforeValidator(split), Field(min_length=1)] = SERVED_BY_DEFAULT
    discovery: DiscoveryMode = DiscoveryMode.PINNED
    # The interval at which the service checks the trust directory, the trust registry, the settings file and the keys.
    trust_refresh_seconds: Annotated[float, Field(ge=0.2, le=60)] = 1.0
    # An https URL without credentials, or an absolute directory. Without it, the service looks at no feed.
    trust_feed: Annotated[str, Field(max_length=512), AfterValidator(check_feed)] | None = None
    trust_feed_mode: FeedMode = FeedMode.PROPOSE
    # The root metadata (TUF) that the operator trusts at first. Without it, those of the project's own feed, if any.
    trust_feed_root: Path | None = None
    # The clouds that may follow the feed. Without it, the clouds of the setting above.
    trust_feed_clouds: Annotated[frozenset[Cloud], NoDecode, BeforeValidator(split), Field(min_length=1)] | None = None
    trust_feed_seconds: Annotated[int, Field(ge=1, le=24 * 3600)] = 3600
    # For a feed over https. Without it, the system's certificate authorities are trusted.
    trust_feed_ca_file: Path | None = None
    # The URL of a store may contain its password.
    nonce_store: SecretStr = Field(default_factory=lambda: SecretStr(f"sqlite://{state_directory()}/nonces.sqlite3"))
    # The number of Redis replicas that must acknowledge a redemption, and the time limit for them.
    nonce_wait_replicas: Annotated[int, Field(ge=0, le=16)] = 0
    nonce_wait_seconds: Annotated[float, Field(ge=0.01, le=1.5)] = 0.5
    # For the Redis of `nonce_store`, if its URL has no password.
    redis_password: SecretStr | None = None
    # For Redis over TLS. Without a CA file, the system's certificate authorities are trusted.
    redis_ca_file: Path | None = None
    redis_certificate_file: Path | None = None
    redis_key_file: Path | None = None
    # Sentinels do not use the credentials of the Redis data nodes.
    redis_sentinel_username: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    redis_sentinel_password: SecretStr | None = None
    nonce_form: NonceForm = NonceForm.DIGITS_10
    nonce_mode: NonceMode = NonceMode.REQUIRED
    nonce_lifetime_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    clock_skew_seconds: Annotated[int, Field(ge=0, le=600)] = 60
    maximum_age_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 6 * 3600
    maximum_body_bytes: Annotated[int, Field(ge=4096, le=1024 * 1024)] = MAX_EVIDENCE_BYTES
    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    # Without tenants, any client can use the service. Outside loopback, an operator must confirm that here.
    allow_open_listening: bool = False
    # Without it, the service serves its pages if it listens on loopback.
    pages: bool | None = None
    # The number of proxies that add the address of their peer to X-Forwarded-For. Limits of agent keys need it.
    trusted_proxies: Annotated[int, Field(ge=0, le=16)] = 0
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    # Of one worker: how many callers it has at once, and how many connections to each Redis server.
    worker_connections: Annotated[int, Field(ge=16, le=65536)] = 2048
    redis_connections: Annotated[int, Field(ge=1, le=256)] = 16
    request_seconds: Annotated[int, Field(ge=1, le=600)] = 20
    # Longer than a balancer keeps an idle connection, so that no request meets a connection that closes.
    keep_alive_seconds: Annotated[int, Field(ge=1, le=7200)] = 75
    graceful_stop_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    # Without a separate port, the service's port serves the metrics.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    metrics_host: Host = "127.0.0.1"
    # Lines of decisions do not depend on it.
    log_level: Literal["info", "warning"] = "info"
    # A base URL without credentials, because it is printed. Without it, no spans are sent.
    otlp_endpoint: Annotated[str, AfterValidator(check_base_url)] | None = None
    # The URL of a store, or `none`. Without it, decisions are in the store of the nonces.
    decision_store: Literal["none"] | SecretStr | None = None
    # Of each tenant.
    decision_bytes: Annotated[int, Field(ge=1024 * 1024, le=2**40)] = 64 * 1024 * 1024
    # Whether an appraisal without a kept decision ends without a verdict.
    audit_required: bool = False
    policies: dict[str, PolicyTable] = Field(default_factory=dict)
    # Without keys, results are not signed.
    token_keys_dir: Path | None = None
    token_issuer: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    # Without it, the audience of a token is the name of the tenant.
    token_audience: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    token_lifetime_seconds: Annotated[int, Field(ge=30, le=24 * 3600)] = 600
    # For keys in an HSM or a KMS. Only the settings name code that the service loads.
    pkcs11_module: Annotated[Path, AfterValidator(check_absolute)] | None = None
    pkcs11_pin: SecretStr | None = None
    # Of one worker: how many signatures it asks for at once.
    pkcs11_sessions: Annotated[int, Field(ge=1, le=64)] = 8
    # Each name with the SHA-256 of its key in hex. A copy of the settings does not grant access.
    admin_keys: dict[CallerName, KeyHash] = Field(default_factory=dict)
    # Without tenants, only the trust endpoints require an API key.
    tenants: dict[CallerName, TenantTable] = Field(default_factory=dict)

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
        return (init_settings, env_settings, *([InitSettingsSource(settings_cls, read_file(file))] if file else []))

    @model_validator(mode="after")
    def _guard_open_listening(self) -> Self:
        if not (self.tenants or self.allow_open_listening or is_loopback(self.host)):
            raise ValueError(
                f"{PREFIX}HOST is {self.host}, but there are no tenants, so any client could use the service: set "
                f"{PREFIX}TENANTS, listen on loopback, or set {PREFIX}ALLOW_OPEN_LISTENING=true if the network "
                "restricts access"
            )
        return self

    @model_validator(mode="after")
    def _tell_callers_apart(self) -> Self:
        known = {Policies.DEFAULT, *self.policies}
        for name, table in self.tenants.items():
            if table.policy not in known:
                raise ValueError(f"tenants.{name}.policy: there is no policy with this name")
        every = [key_hash for table in self.tenants.values() for key_hash in (*table.keys, *table.agent_keys)]
        every += self.admin_keys.values()
        if len(set(every)) != len(every):
            raise ValueError("tenants and admin_keys: the same key is listed twice; give each caller its own key")
        return self

    @model_validator(mode="after")
    def _keep_metrics_apart(self) -> Self:
        if self.metrics_port and self.metrics_port == self.port:
            raise ValueError(
                f"{PREFIX}METRICS_PORT equals {PREFIX}PORT: unset it to serve the metrics on the service's port"
            )
        if self.audit_required and self.decision_url is None:
            raise ValueError(f"{PREFIX}AUDIT_REQUIRED is set: {PREFIX}DECISION_STORE must name a store, not none")
        return self

    @model_validator(mode="after")
    def _complete_the_tokens(self) -> Self:
        if self.token_keys_dir is not None and self.token_issuer is None:
            raise ValueError(
                f"{PREFIX}TOKEN_KEYS_DIR is set: set {PREFIX}TOKEN_ISSUER too, "
                f"the URL or name by which relying parties know this service"
            )
        if self.pkcs11_pin is not None and self.pkcs11_module is None:
            raise ValueError(f"{PREFIX}PKCS11_PIN is set: set {PREFIX}PKCS11_MODULE too, the library of the token")
        return self

    @model_validator(mode="after")
    def _pair_the_certificate(self) -> Self:
        if (self.redis_certificate_file is None) != (self.redis_key_file is None):
            raise ValueError(f"{PREFIX}REDIS_CERTIFICATE_FILE and {PREFIX}REDIS_KEY_FILE must be set together")
        return self

    @property
    def decision_url(self) -> str | None:
        """Return the URL of the decision store, or None if the service keeps no decisions."""
        if self.decision_store == "none":
            return None
        return (self.decision_store or self.nonce_store).get_secret_value()

    @property
    def clouds_of_feed(self) -> frozenset[Cloud]:
        return self.trust_feed_clouds or self.clouds

    @property
    def limits(self) -> Limits:
        return Limits(
            clock_skew=timedelta(seconds=self.clock_skew_seconds),
            maximum_age=timedelta(seconds=self.maximum_age_seconds),
            nonce_lifetime=timedelta(seconds=self.nonce_lifetime_seconds),
        )

    @property
    def tenant_keys(self) -> dict[Tenant, tuple[str, ...]]:
        """Return each tenant with the hashes of its backend keys."""
        return {table.tenant(name): table.keys for name, table in self.tenants.items()}

    @property
    def agent_keys(self) -> dict[Tenant, tuple[str, ...]]:
        """Return each tenant with the hashes of its agent keys."""
        return {table.tenant(name): table.agent_keys for name, table in self.tenants.items()}

    @property
    def tenants_sharing_an_audience(self) -> tuple[str, ...]:
        """Return the tenants whose tokens have the same `aud`. Empty if each has its own, or if there are no tokens."""
        shared = self.token_keys_dir is not None and self.token_audience is not None and len(self.tenants) > 1
        return tuple(sorted(self.tenants)) if shared else ()

    @property
    def named_policies(self) -> Policies:
        return Policies({name: table.rule() for name, table in self.policies.items()})


#: The tables of the file whose fields are not settings.
_TABLES: Mapping[str, type[BaseModel]] = {"policies": PolicyTable, "tenants": TenantTable}


def settings_file() -> Path | None:
    """Return the file that VERIFIER_CONFIG names, or None."""
    name = os.environ.get(CONFIG_VARIABLE)
    return Path(name) if name else None


def load_settings() -> Settings:
    """Load the settings from the environment and the file that VERIFIER_CONFIG names.

    Every setting is known, and every value has its type and is within its bounds. Not checked: that the files and
    servers that they name can be reached. Raises SettingsError.
    """
    secrets = {f"{PREFIX}{name.upper()}": name for name in secret_settings()}
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE}
    known |= {f"{variable}{SUFFIX}" for variable in secrets}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        nearest = find_nearest(unknown[0][len(PREFIX) : 64], (name.removeprefix(PREFIX) for name in sorted(known)))
        hint = f". Did you mean {PREFIX}{nearest}?" if nearest else ""
        raise SettingsError(f"unknown setting {', '.join(unknown)}; expected one of {', '.join(sorted(known))}{hint}")
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
        # The variable of a table does not contain valid JSON. The message does not repeat the value.
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: values are nested too deeply") from error
    except ValueError as error:  # of read_file
        raise SettingsError(f"{CONFIG_VARIABLE}: {error}") from error


def secret_settings() -> tuple[str, ...]:
    """Return the names of the settings that may hold a secret. A file can hold their value instead."""
    types = {name: (field.annotation, *get_args(field.annotation)) for name, field in Settings.model_fields.items()}
    return tuple(name for name, possible in types.items() if SecretStr in possible)


#: For errors that Pydantic explains with types of Python.
_OWN_WORDS = {
    "too_short": "the list is empty: name at least one value",
    "frozen_set_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
}


def explain(error: ValidationError) -> str:
    """Format the errors, each with the name of its setting."""
    return "; ".join(message for _, message in faults_of(error))


def faults_of(error: ValidationError) -> list[tuple[tuple[str, ...], str]]:
    """Return the place of each fault, such as `("tenants", "contoso", "rate")`, and what `explain` says of it."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        place = tuple(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append((place, _explain_unknown(*place)))
            continue
        name = ".".join(place)
        message = _OWN_WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        faults.append((place, f"{name}: {message}" if name else message))
    return faults


def _explain_unknown(*place: str) -> str:
    *outer, name = place
    table: type[BaseModel] = _TABLES.get(outer[0], Settings) if outer else Settings
    known = [field.alias or one for one, field in table.model_fields.items()]
    if table is Settings:
        known.append(FORMAT_KEY)
    return f"{'.'.join(place)}: {explain_unknown_field(name, known)}".removesuffix(".")
