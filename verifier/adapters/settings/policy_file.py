"""Read the policies of a settings file alone, to test them before they are in force."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verifier.adapters.settings.file import FORMAT_KEY, read_file
from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.settings.settings import Settings, SettingsError, explain
from verifier.core.encoding.printable import printable
from verifier.core.encoding.unknown_fields import explain_unknown_field
from verifier.core.policy import Rule


class _PolicyFile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    policies: Annotated[dict[str, PolicyTable], Field(min_length=1)]


def read_policy_file(file: Path) -> dict[str, Rule]:
    """Return the policies of a TOML file, by name, in the order of the file. There is at least one.

    A settings file may have other settings. Not checked: their values. A name that is no setting is refused, because it
    may be a misspelt `policies`. Raises SettingsError, which names the file and is printable.
    """
    try:
        tables = read_file(file)
    except ValueError as error:
        raise SettingsError(printable(str(error))) from error
    except OSError as error:
        raise SettingsError(printable(f"{file}: {error.strerror or type(error).__name__}")) from error
    try:
        return _read(tables)
    except ValidationError as error:
        fault = explain(error)
    except RecursionError:
        fault = "values are nested too deeply"
    except ValueError as error:
        fault = str(error)
    raise SettingsError(printable(f"{file}: {fault}"))


def _read(tables: dict[str, object]) -> dict[str, Rule]:
    for name in tables:
        if name not in Settings.model_fields:
            raise ValueError(explain_unknown_field(name, (*Settings.model_fields, FORMAT_KEY)))
    if not tables.get("policies"):
        raise ValueError("the file has no policy: add a table such as [policies.gold]")
    return {name: table.rule() for name, table in _PolicyFile.model_validate(tables).policies.items()}
