"""Secrets from files: the variable of a secret setting, with `_FILE` after it, names the file that holds its value."""

from collections.abc import Mapping
from pathlib import Path

SUFFIX = "_FILE"
#: The largest file that is read.
MAX_BYTES = 64 * 1024


def read_secret_files(environment: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The values of the settings whose secret a file holds. `variables` are the names of the secret settings, by the
    variables that set them directly; in `environment`, upper and lower case are one.

    One line feed, or carriage return and line feed, at the end of a file is not a part of its secret: editors put it
    there. Not checked: who else may read the file. Raises ValueError, with the variable's name and nothing of the
    file's content.
    """
    given = {name.upper(): value for name, value in environment.items()}
    secrets: dict[str, str] = {}
    for variable, setting in variables.items():
        source = f"{variable}{SUFFIX}"
        if source in given:
            if variable in given:
                raise ValueError(f"{variable} and {source} are both set; expected one of them")
            secrets[setting] = _read(source, Path(given[source]))
    return secrets


def _read(source: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise ValueError(f"{source}: {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # The cause would show bytes of the secret.
        raise ValueError(f"{source}: {path} is not UTF-8 text") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{source}: {path} is larger than {MAX_BYTES} bytes")
    secret = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not secret:
        raise ValueError(f"{source}: {path} is empty")
    return secret
