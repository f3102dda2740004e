"""Metadata with one changed value, also signed again by a thief of keys: a sentence, or the genuine bundle."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical
from support.tuf_feeds import Feed

from verifier.adapters.feed.client import open_feed
from verifier.ports.trust import FeedFailed

Fields = dict[str, Any]
BUNDLE = b'{"bundle": 1}'
VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**40,
    1.5,
    "",
    "x",
    "\x00",
    "../../../etc/passwd",
    "é",
    [],
    {},
    [[]],
    {"a": {}},
)
#: Who can sign each file: the online key, or all maintainers.
SIGNERS: dict[str, tuple[str | int, ...]] = {
    "timestamp.json": ("online",),
    "1.snapshot.json": ("online",),
    "1.targets.json": (1, 2, 3),
    "2.root.json": (1, 2, 3),
}


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    feed = Feed.make(tmp_path_factory.mktemp("feed"))
    feed.publish(BUNDLE)
    root = feed.load("1.root.json")
    root.signed.version = 2
    root.signatures.clear()
    for number in (1, 2, 3):
        root.sign(feed.signer(number), append=True)
    (feed.public / "2.root.json").write_bytes(root.to_bytes())
    return feed


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


def changed(fields: Fields, path: tuple[str | int, ...], value: object) -> Fields:
    copy: Fields = json.loads(json.dumps(fields))
    holder: Any = copy
    for key in path[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return copy


def signed_again(feed: Feed, fields: Fields, signers: tuple[str | int, ...]) -> Fields:
    try:
        payload = str(encode_canonical(fields["signed"])).encode()
    except Exception:  # noqa: BLE001 - floats have no canonical form
        return fields
    signatures = [feed.signer(name).sign(payload).to_dict() for name in signers]
    return {**fields, "signatures": signatures}


def look(feed: Feed) -> None:
    client = open_feed(str(feed.public), root=feed.first_root)
    try:
        found = client.fetch({})
    except FeedFailed as error:
        sentence = str(error)
        assert sentence.endswith(".")
        assert len(sentence) < 400
        assert sentence.isprintable()
    else:
        assert found.bundle == BUNDLE


@pytest.mark.parametrize("again", [False, True], ids=["as it is", "signed again"])
@pytest.mark.parametrize("name", sorted(SIGNERS))
def test_one_changed_value_gives_a_sentence(feed: Feed, name: str, again: bool) -> None:  # noqa: FBT001 - a parameter
    path_of_file: Path = feed.public / name
    genuine = path_of_file.read_bytes()
    fields = json.loads(genuine)
    chosen = random.Random(f"{name}{again}")  # noqa: S311 - to choose cases
    places_of_file = list(places(fields))
    cases = [(place, value) for place in places_of_file for value in (..., *VALUES)]
    try:
        for place, value in chosen.sample(cases, min(len(cases), 60)):
            made = changed(fields, place, value)
            if again and isinstance(made.get("signed"), dict):
                made = signed_again(feed, made, SIGNERS[name])
            path_of_file.write_bytes(json.dumps(made).encode())
            look(feed)
    finally:
        path_of_file.write_bytes(genuine)


@pytest.mark.parametrize("hash_", ["../../escape", "a\r\nX-Injected: 1", "a?b", "A", "a/b", "." * 5, "a" * 300, ""])
def test_a_hash_chooses_no_other_file(feed: Feed, hash_: str) -> None:
    """Even if the threshold of maintainers signs it."""
    targets = feed.load("1.targets.json")
    [target] = targets.signed.targets.values()
    target.hashes = {"sha256": hash_, **target.hashes}
    target.hashes["sha256"] = hash_
    targets.signed.version = 2
    targets.signatures.clear()
    for number in (1, 2):
        targets.sign(feed.signer(number), append=True)
    before = feed.files()
    content = targets.to_bytes()
    (feed.public / "2.targets.json").write_bytes(content)
    feed.forge(targets=content)
    try:
        with pytest.raises(FeedFailed):
            open_feed(str(feed.public), root=feed.first_root).fetch({})
    finally:
        feed.put(before)
