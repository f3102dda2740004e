"""Read secrets from files: the variable of a secret setting with the suffix `_FILE` names the file."""

from collections.abc import Mapping
from pathlib import Path

from verifier.core.encoding.text import TextError, decode_text

SUFFIX = "_FILE"
#: The largest file that is read.
MAX_BYTES = 64 * 1024


def read_secret_files(environment: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the settings whose secret is in a file.

    `variables` maps the variable of each secret setting to the name of the setting. The case of names in `environment`
    does not matter. A file is UTF-8, or UTF-16 with a byte order mark. The mark and one line break at the end are not
    parts of the secret, because editors add them.
    Not checked: who else may read the file.

    Raises ValueError with the name of the variable, and without the content of the file.
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
        text = decode_text(data)
    except OSError as error:
        raise ValueError(f"{source}: {path}: {error.strerror}") from error
    except TextError as error:
        # The cause of a TextError would show bytes of the secret.
        raise ValueError(f"{source}: {path}: {error}") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{source}: {path} is larger than {MAX_BYTES} bytes")
    secret = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not secret:
        raise ValueError(f"{source}: {path} is empty")
    return secret
