"""The exit codes of the agent, and the exception that carries one."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a run ended. The shell and PowerShell agents in `examples` use the same codes.

    0 to 3 mean the same for every command. Codes from 10 are about IMDS, from 20 about the verifier, from 30 about
    the agent itself.
    """

    VERIFIED = 0
    REFUSED = 1
    USAGE = 2
    IMDS_UNREACHABLE = 3
    IMDS_REJECTED = 10
    IMDS_RATE_LIMITED = 11
    IMDS_UPDATING = 12
    IMDS_ERROR = 13
    NOT_IMDS = 14
    VERIFIER_UNREACHABLE = 20
    VERIFIER_UNAVAILABLE = 21
    NOT_A_VERIFIER = 22
    ACCESS_DENIED = 23
    VERIFIER_RATE_LIMITED = 24
    REFUSED_RETRYABLE = 25
    NO_TOKEN = 26
    TIMEOUT = 30
    INTERRUPTED = 130  # 128 plus the number of SIGINT, as in shells


class NotAttested(Exception):
    """The verifier did not verify this machine. The message is one sentence for the user.

    `retryable`: another round, with a new nonce and a new document, may succeed. `retry_after`: seconds to wait before
    it, or None if the server named none. `code`: the code of the problem that the server reported, if any.
    """

    def __init__(
        self,
        exit_code: ExitCode,
        sentence: str,
        *,
        retryable: bool = False,
        retry_after: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
        self.retryable = retryable
        self.retry_after = retry_after
        self.code = code
