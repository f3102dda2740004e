"""The settings: environment variables `VERIFIER_*`, over one TOML file, over the defaults. Checked whole at start."""

import ipaddress
import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableSettingError

from verifier.core.discovery import DiscoveryMode
from verifier.core.model import MAX_EVIDENCE_OCTETS, Limits, NonceForm
from verifier.core.policy import Policies
from verifier.edge.policies import PolicyTable

PREFIX = "VERIFIER_"
#: Names the TOML file; the one variable that is not a setting.
CONFIG_VARIABLE = f"{PREFIX}CONFIG"


#: No colon: on the command line people are named `cli:NAME`.
AdminName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
KeyHash = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9A-Fa-f]{64}$")]


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
    nonce_form: NonceForm = NonceForm.DIGITS_10
    nonce_lifetime_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    clock_skew_seconds: Annotated[int, Field(ge=0, le=600)] = 60
    maximum_age_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 6 * 3600
    maximum_body_octets: Annotated[int, Field(ge=4096, le=1024 * 1024)] = MAX_EVIDENCE_OCTETS
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    # Without keys, whoever reaches the service may use it: elsewhere than on loopback that has to be said.
    allow_open_listening: bool = False
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=1, le=64)] = 8
    request_seconds: Annotated[int, Field(ge=1, le=600)] = 20
    graceful_stop_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    policies: dict[str, PolicyTable] = Field(default_factory=dict)
    # Names, each with the SHA-256 of its key in hex: a copy of the settings lets nobody in.
    admin_keys: dict[AdminName, KeyHash] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get(CONFIG_VARIABLE)
        return (init_settings, env_settings, *([TomlConfigSettingsSource(settings_cls, Path(file))] if file else []))

    @model_validator(mode="after")
    def _guard_open_listening(self) -> Self:
        if not (self.allow_open_listening or _is_loopback(self.host)):
            raise ValueError(
                f"{PREFIX}HOST is {self.host}, where anybody may reach a service without keys: "
                f"keep to loopback, or set {PREFIX}ALLOW_OPEN_LISTENING=true where something else guards the way"
            )
        return self

    @property
    def limits(self) -> Limits:
        return Limits(
            clock_skew=timedelta(seconds=self.clock_skew_seconds),
            maximum_age=timedelta(seconds=self.maximum_age_seconds),
            nonce_lifetime=timedelta(seconds=self.nonce_lifetime_seconds),
        )

    @property
    def named_policies(self) -> Policies:
        return Policies({name: table.rule() for name, table in self.policies.items()})


def load_settings() -> Settings:
    """The settings in force, from the environment and the file that VERIFIER_CONFIG names.

    Every value has its type and lies in its bounds, and nothing that is set is unknown. Not checked: that what
    they name can be reached. Raises SettingsError.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; expected one of {', '.join(sorted(known))}")
    file = os.environ.get(CONFIG_VARIABLE)
    if file is not None and not Path(file).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {file}")
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    except UnreadableSettingError as error:
        # JSON that is none, in the variable of a setting that is a table; the value is not repeated.
        raise SettingsError(str(error)) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: {error}") from error


def _explain(error: ValidationError) -> str:
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
