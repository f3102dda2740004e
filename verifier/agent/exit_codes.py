"""The ends of a run: each has an exit status of its own, and is told in one sentence."""

from enum import IntEnum


class End(IntEnum):
    """Exit statuses. 0 to 3 mean what they mean for every command; those above tell IMDS (10 and on), the verifier
    (20 and on) and the agent itself apart. The shell and PowerShell agents of `examples` end with the same ones.
    """

    VERIFIED = 0
    REFUSED = 1
    USAGE = 2
    IMDS_MISSING = 3
    IMDS_REFUSES = 10
    IMDS_LIMITING = 11
    IMDS_UPDATING = 12
    IMDS_FAILING = 13
    NOT_IMDS = 14
    VERIFIER_UNREACHABLE = 20
    VERIFIER_UNAVAILABLE = 21
    NOT_A_VERIFIER = 22
    NOT_ADMITTED = 23
    RATE_LIMITED = 24
    REFUSED_FOR_NOW = 25
    NO_TOKEN = 26
    OUT_OF_TIME = 30
    INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


class NotAttested(Exception):
    """A run came to another end than `VERIFIED`; the message is the sentence that tells it.

    `retryable`: a round with a nonce and a document of its own may end otherwise. `retry_after` is how many seconds
    to wait first, where that was said.
    """

    def __init__(self, end: End, sentence: str, *, retryable: bool = False, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.end = end
        self.retryable = retryable
        self.retry_after = retry_after
