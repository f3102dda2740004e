"""Report the failures that end a command."""

import sys

from verifier.adapters.settings.settings import SettingsError
from verifier.cli.commands import ExitStatus
from verifier.core.trust.bundle import TrustError
from verifier.ports.stores import Unavailable


def status_of_failure(error: Exception) -> ExitStatus:
    """Write one sentence to standard error, and return the exit status. Raises an error that is a fault of the code."""
    if isinstance(error, SettingsError | TrustError):
        sys.stderr.write(f"imds-verifier: {error}\n")
        return ExitStatus.USAGE
    if isinstance(error, Unavailable):
        sys.stderr.write(f"imds-verifier: {error.detail}\n")
        return ExitStatus.UNAVAILABLE
    raise error
