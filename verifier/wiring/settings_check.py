"""Check a settings file as `serve` loads it, without a service and without a store."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.settings.locations import line_in, line_of
from verifier.adapters.settings.secret_files import SUFFIX
from verifier.adapters.settings.settings import (
    CONFIG_VARIABLE,
    PREFIX,
    Settings,
    SettingsError,
    faults_of,
    load_settings,
)
from verifier.adapters.stores.factory import sqlite_path
from verifier.startup import load_spans, redis_options
from verifier.wiring.service import callers_of

#: So starts the message about a variable that is no setting.
_UNKNOWN = f"unknown setting {PREFIX}"


def check_settings(file: Path) -> Sequence[str]:
    """Return one line for each fault of the settings. There is none if `serve` would load them.

    The environment counts, except the file that it names. A fault has the number of its line, if it has one.
    Not checked: that trust, keys and stores can be reached. No message has the value of a secret.
    """
    os.environ[CONFIG_VARIABLE] = str(file)
    try:
        settings = load_settings()
        callers_of(settings)
        load_spans(settings.otlp_endpoint)
        _check_url("nonce_store", settings.nonce_store.get_secret_value(), settings)
        if settings.decision_url is not None:
            _check_url("decision_store", settings.decision_url, settings)
    except SettingsError as error:
        return [*_faults(error, file)]
    return []


def _check_url(name: str, url: str, settings: Settings) -> None:
    try:
        if sqlite_path(url) is None:
            RedisLink.open(url, options=redis_options(settings, url)).close()
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error


def _faults(error: SettingsError, file: Path) -> Iterator[str]:
    if isinstance(error.__cause__, ValidationError):
        faults = faults_of(error.__cause__)
    else:
        message = str(error).removeprefix(f"{CONFIG_VARIABLE}: ")
        name = message.partition(":")[0]
        faults = [((name,) if name in Settings.model_fields else (), message)]
    text, variables = _text(file), {name.upper() for name in os.environ}
    for place, message in faults:
        variable = f"{PREFIX}{place[0].upper()}" if place else ""
        number = line_in(message) or line_of(text, place)
        if {variable, f"{variable}{SUFFIX}"} & variables:
            yield f"{variable}: {message}"
        elif number:
            yield f"{file}:{number}: {message}"
        else:
            yield message if message.startswith((str(file), _UNKNOWN)) else f"{file}: {message}"


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return ""
