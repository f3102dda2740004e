"""Read the TOML file of the settings, and check its format."""

import tomllib
from pathlib import Path

from verifier.core.encoding.formats import explain_newer_format

#: The format of the file. A file without `format` has this one.
FORMAT = 1
#: The key of the format. It is not a setting, so no environment variable has it.
FORMAT_KEY = "format"

#: Room for 400,000 ids of VMs. A ConfigMap of Kubernetes holds 1 MiB.
MAX_FILE_BYTES = 16 * 1024 * 1024


def read_file(file: Path) -> dict[str, object]:
    """Return the settings of the file. Not checked: their names and values.

    Raises OSError, and ValueError if the file is not TOML or has another format. The ValueError names the file.
    """
    with file.open("rb") as opened:
        raw = opened.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise ValueError(f"{file} has more than {MAX_FILE_BYTES} bytes")
    try:
        tables = tomllib.loads(raw.decode("utf-8"))
    except RecursionError as error:  # tomllib reads nested arrays by recursion
        raise ValueError(f"{file}: values are nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and an integer of too many digits
        raise ValueError(f"{file} is not TOML in UTF-8 without a byte order mark: {error}") from error
    found = tables.pop(FORMAT_KEY, FORMAT)
    # Before the settings: a later format may have others.
    explained = explain_newer_format(str(file), found, FORMAT)
    if explained:
        raise ValueError(explained)
    if type(found) is not int or found != FORMAT:
        raise ValueError(f"{file}: {FORMAT_KEY}: expected {FORMAT}")
    return tables
