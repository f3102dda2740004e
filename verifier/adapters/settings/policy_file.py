"""Read the policies of a settings file alone, to test them before they are in force."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.settings.settings import Settings, SettingsError, explain
from verifier.core.encoding.printable import printable
from verifier.core.encoding.unknown_fields import explain_unknown_field
from verifier.core.policy import Rule

#: As much as a ConfigMap of Kubernetes holds.
MAX_FILE_BYTES = 1024 * 1024


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    policies: Annotated[dict[str, PolicyTable], Field(min_length=1)]


def read_policy_file(file: Path) -> dict[str, Rule]:
    """Return the policies of a TOML file, by name, in the order of the file. There is at least one.

    A settings file may have other settings. Not checked: their values. A name that is no setting is refused, because it
    may be a misspelt `policies`. Raises SettingsError, which names the file and is printable.
    """
    try:
        return _read(file)
    except ValidationError as error:
        fault = explain(error)
    except OSError as error:
        fault = error.strerror or type(error).__name__
    except RecursionError:
        fault = "values are nested too deeply"
    except ValueError as error:
        fault = str(error)
    raise SettingsError(printable(f"{file}: {fault}"))


def _read(file: Path) -> dict[str, Rule]:
    with file.open("rb") as opened:
        raw = opened.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise ValueError(f"the file has more than {MAX_FILE_BYTES} bytes")
    try:
        tables = tomllib.loads(raw.decode("utf-8"))
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and an integer of too many digits
        raise ValueError(f"the file is not TOML in UTF-8 without a byte order mark: {error}") from error
    for name in tables:
        if name not in Settings.model_fields:
            raise ValueError(explain_unknown_field(name, Settings.model_fields))
    if not tables.get("policies"):
        raise ValueError("the file has no policy: add a table such as [policies.gold]")
    return {name: table.rule() for name, table in _PolicyFile.model_validate(tables).policies.items()}
