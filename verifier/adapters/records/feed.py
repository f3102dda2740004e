"""Encode and decode what the trust registries hold of the trust feed, as the records of `trust`."""

import json
from dataclasses import replace

from pydantic import TypeAdapter

from verifier.adapters.records.lines import Der, decode, dump, to_base64, writable
from verifier.adapters.records.nonces import Moment, microseconds
from verifier.ports.trust import FeedState

#: The limit of the reason why a look at the trust feed failed. It may contain text of the feed's server.
MAX_PROBLEM_CHARACTERS = 1024

_FEED_FILES = TypeAdapter(tuple[int, list[tuple[str, Der]], Der | None, str])
_FEED_LOOK = TypeAdapter(tuple[int, Moment | None, str])


def encode_feed_files(state: FeedState) -> str:
    """Write a JSON array: format, the metadata files by name, the offered bundle, if there is one, and its feed."""
    files = [[name, to_base64(raw)] for name, raw in sorted(state.metadata.items())]
    return dump(files, None if state.offered is None else to_base64(state.offered), state.root_sha256)


def encode_feed_look(state: FeedState) -> str:
    """Write a JSON array: format, the last look that did not fail, if there was one, and the bounded problem."""
    checked_at = None if state.checked_at is None else microseconds(state.checked_at)
    return dump(checked_at, writable(state.problem)[:MAX_PROBLEM_CHARACTERS])


def decode_feed(files: str, look: str) -> FeedState:
    """Read the two records of a feed. They are apart because a look seldom changes the files, which are large."""
    known, latest = decode(files, _feed_files, encode_feed_files), decode(look, _feed_look, encode_feed_look)
    return replace(known, checked_at=latest.checked_at, problem=latest.problem)


def _feed_files(encoded: str) -> FeedState:
    _, files, offered, root = _FEED_FILES.validate_python(json.loads(encoded))
    return FeedState(metadata=dict(files), offered=offered, root_sha256=root)


def _feed_look(encoded: str) -> FeedState:
    _, checked_at, problem = _FEED_LOOK.validate_python(json.loads(encoded))
    return FeedState(checked_at=checked_at, problem=problem)
