"""The states of the model of redemption, and the setups that it explores."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Value(IntEnum):
    """What a server has under the key. A replica gets the values of its primary in this order."""

    __hash__ = int.__hash__  # that of Enum takes a third of the search

    ABSENT = 0
    UNUSED = 1
    USED = 2


class Role(StrEnum):
    __hash__ = str.__hash__

    PRIMARY = "primary"
    #: A replica that has copied the data set, and gets each later write.
    REPLICA = "replica"
    #: A replica that has not copied the data set of its primary yet. It still has its own.
    JOINING = "joining"
    DOWN = "down"


class Step(StrEnum):
    __hash__ = str.__hash__

    UNSENT = "unsent"
    SENT = "sent"
    #: The command is under way, but no process waits for its answer.
    ABANDONED = "abandoned"
    #: Only if the redemption is not atomic: the value was read, and the mark is not written yet.
    READ = "read"
    #: The command found the nonce unused and marked it. Its `WAIT` is not answered yet.
    FIRST = "first"
    ACCEPTED = "accepted"
    #: The answer was a refusal or 503, or there was none.
    OVER = "over"


class Clock(IntEnum):
    """What the clocks of the replicas of the service, which differ by the skew, and of Redis say."""

    __hash__ = int.__hash__

    VALID = 0
    EXPIRED_FOR_SOME = 1
    UNUSED_FORGOTTEN = 2
    DOCUMENT_EXPIRED = 3
    USED_FORGOTTEN = 4


class Restart(StrEnum):
    """What a crashed server can have after its restart: `appendfsync always`, `everysec`, or no persistence."""

    COMPLETE = "complete"
    OLDER = "older"
    EMPTY = "empty"


class Server(NamedTuple):
    role: Role
    value: Value
    #: The number of the primary that it follows. A primary has its own, also while it is down.
    leader: int


class Post(NamedTuple):
    """`server` got the command. `can_pass` is False if the process of the service found that the nonce has expired."""

    step: Step = Step.UNSENT
    server: int = 0
    can_pass: bool = False


class State(NamedTuple):
    servers: tuple[Server, ...]
    posts: tuple[Post, ...]
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The deployment, its failures, and faults of the implementation that a test can put in.

    `remembers_documents` is for a document without a nonce (`SET … NX` instead of `SET … XX GET`).
    """

    posts: int = 3
    replicas: int = 1
    wait_replicas: int = 0
    remembers_documents: bool = False
    restart: Restart = Restart.COMPLETE
    #: A server can become the primary, by promotion or restart, although another one has a later write.
    has_lagging_primary: bool = True
    #: A replaced primary can still take commands: it is cut off from the others, or it restarted.
    has_two_primaries: bool = True
    time_passes: bool = True
    is_atomic: bool = True
    checks_count: bool = True
    waits_for_own_write: bool = True
    forgets_early: bool = False
