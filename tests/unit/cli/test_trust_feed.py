"""`imds-verifier trust feed` as a maintainer runs it, on the shipped trust directory and on bundles."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.command_line import Ended, call, run

from verifier.adapters.feed.client import open_feed
from verifier.adapters.feed.keys import read_signer
from verifier.adapters.trust.files import load_bundle, read_entries, shipped_directory
from verifier.adapters.trust.published import read_bundle, write_bundle
from verifier.core.trust.bundle import Origin, TrustError
from verifier.core.trust.published import PublishedBundle
from verifier.usecases.feed_publication import next_bundle

Feed = Callable[..., Ended]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "feed"


@pytest.fixture
def feed(directory: Path) -> Feed:
    def command(action: str, *arguments: str | Path) -> Ended:
        return call("trust", "feed", action, str(directory), *map(str, arguments))

    assert command("init", "--keys", "3", "--threshold", "2").status == 0
    return command


def key(directory: Path, name: str) -> str:
    return str(directory / "keys" / f"{name}.pem")


def published(directory: Path) -> PublishedBundle:
    public = directory / "public"
    return read_bundle(open_feed(str(public), root=(public / "1.root.json").read_bytes()).fetch({}).bundle)


def publish(feed: Feed, directory: Path, source: Path, *arguments: str) -> Ended:
    keys = [part for name in ("maintainer-1", "maintainer-3") for part in ("--key", key(directory, name))]
    return feed("publish", "--from", source, *keys, *arguments)


def test_publishes_the_shipped_trust_directory(feed: Feed, directory: Path) -> None:
    ended = feed("publish", "--from", shipped_directory(), "--key", key(directory, "maintainer-1"))
    assert ended.status == 0
    assert "waits for 1 more signature:" in ended.out
    ended = feed("sign", "--key", key(directory, "maintainer-2"))
    assert ended.status == 0
    assert "published in" in ended.err
    # The maintainer sees what the signature is for.
    assert "version 1 of the bundle" in ended.err
    assert "adds the anchor CN=DigiCert Global Root G2" in ended.err
    bundle = published(directory)
    assert bundle.version == 1
    assert {entry.certificate.sha256 for entry in bundle.entries} == {
        entry.certificate.sha256 for entry in load_bundle().entries
    }
    assert all(entry.origin is Origin.PUBLISHED for entry in bundle.entries)


def test_publishes_the_next_version_of_a_bundle(feed: Feed, directory: Path, tmp_path: Path) -> None:
    publish(feed, directory, shipped_directory())
    source = tmp_path / "bundle.json"
    source.write_bytes(write_bundle(published(directory)))
    assert publish(feed, directory, source).status == 0
    assert published(directory).version == 2
    assert publish(feed, directory, source, "--version", "7").status == 0
    assert published(directory).version == 7
    for version in ("7", "6", "0"):
        ended = publish(feed, directory, source, "--version", version)
        assert ended.status == 1
        assert f"version {version} is not higher than version 7" in ended.err
    assert published(directory).version == 7


def test_refuses_a_bundle_that_removes_a_certificate(feed: Feed, directory: Path, tmp_path: Path) -> None:
    publish(feed, directory, shipped_directory())
    whole = published(directory)
    removed = min(whole.entries, key=lambda entry: entry.certificate.subject)
    source = tmp_path / "bundle.json"
    fewer = tuple(entry for entry in whole.entries if entry is not removed)
    source.write_bytes(
        write_bundle(
            PublishedBundle(version=1, published_at=whole.published_at, expires_at=whole.expires_at, entries=fewer)
        )
    )
    ended = publish(feed, directory, source)
    assert ended.status == 1
    assert f"removes {removed.certificate.subject}" in ended.err
    assert published(directory).version == 1


def test_refuses_a_bundle_that_has_expired(feed: Feed, directory: Path, tmp_path: Path) -> None:
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    old = next_bundle(load_bundle().entries, previous=None, version=None, now=long_ago, lasting=timedelta(days=30))
    (tmp_path / "bundle.json").write_bytes(write_bundle(old))
    ended = publish(feed, directory, tmp_path / "bundle.json")
    assert ended.status == 1
    assert "has expired" in ended.err


def test_refuses_to_add_an_expired_certificate() -> None:
    [first, *others] = sorted(load_bundle().entries, key=lambda entry: entry.certificate.not_after)
    now = first.certificate.not_after + timedelta(days=1)
    lasting = timedelta(days=1)
    previous = next_bundle(others, previous=None, version=None, now=now, lasting=lasting)
    with pytest.raises(TrustError, match="expired at"):
        next_bundle([first, *others], previous=previous, version=None, now=now, lasting=lasting)
    # What was published before stays, for documents of earlier times.
    both = next_bundle([first, *others], previous=None, version=None, now=now, lasting=lasting)
    assert next_bundle([first, *others], previous=both, version=None, now=now, lasting=lasting).version == 2


def test_refuses_a_bundle_whose_chains_followers_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.core.trust.published.MAX_STEPS", 10)
    with pytest.raises(TrustError, match="more than 10 steps"):
        next_bundle(
            load_bundle().entries, previous=None, version=None, now=datetime.now(UTC), lasting=timedelta(days=1)
        )


def test_publishes_only_the_entries_of_an_overlay(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    shutil.copytree(shipped_directory(), overlay)
    manifest = overlay / "manifest.toml"
    manifest.write_text(
        manifest.read_text("utf-8").replace("format = 1\n", 'format = 1\nmode = "replace"\n', 1), "utf-8"
    )
    assert read_entries(overlay) == read_entries(shipped_directory())
    shutil.rmtree(overlay)
    overlay.mkdir()
    manifest.write_text('format = 1\nmode = "add"\n', "utf-8")
    assert read_entries(overlay) == ()


def test_rotates_a_lost_key(feed: Feed, directory: Path) -> None:
    publish(feed, directory, shipped_directory())
    shown = json.loads(feed("keys", "--json").out)
    lost = shown["roles"][0]["keys"][0]
    made = call("trust", "feed", "keys", "--new", key(directory, "maintainer-4"))
    assert made.status == 0
    ended = feed(
        *("rotate", "--add", f"{key(directory, 'maintainer-4')}.pub", "--remove", lost),
        *("--key", key(directory, "maintainer-2"), "--key", key(directory, "maintainer-3"), "--json"),
    )
    # Two of the old keys remain, so the old threshold is reached.
    assert ended.status == 0
    after = json.loads(ended.out)
    assert after["pending"] == []
    assert lost not in after["roles"][0]["keys"]
    assert made.out.strip() in after["roles"][0]["keys"]
    assert after["roles"][0]["version"] == 2
    assert published(directory).version == 1


def test_a_follower_that_was_off_takes_two_rotations_and_a_renewal(feed: Feed, directory: Path) -> None:
    publish(feed, directory, shipped_directory())
    first_root = (directory / "public" / "1.root.json").read_bytes()
    seen = open_feed(str(directory / "public"), root=first_root).fetch({}).metadata
    for lost, signers in ((1, (2, 3)), (2, (3, 4))):
        new = key(directory, f"maintainer-{lost + 3}")
        identifier = read_signer(Path(key(directory, f"maintainer-{lost}"))).public_key.keyid
        assert call("trust", "feed", "keys", "--new", new).status == 0
        signed = [part for one in signers for part in ("--key", key(directory, f"maintainer-{one}"))]
        ended = feed("rotate", "--add", f"{new}.pub", "--remove", identifier, *signed)
        assert ended.status == 0, ended.err
    assert feed("renew").status == 0
    found = open_feed(str(directory / "public"), root=first_root).fetch(seen)
    assert "root_history/3.root.json" in found.metadata
    assert found.metadata["timestamp.json"] != seen["timestamp.json"]
    # Only the keys of the last root sign the next version.
    bundle = directory / "next.json"
    bundle.write_bytes(write_bundle(published(directory)))
    ended = feed("publish", "--from", bundle, "--key", key(directory, "maintainer-1"))
    assert ended.status != 0
    signed = [part for one in (4, 5) for part in ("--key", key(directory, f"maintainer-{one}"))]
    assert feed("publish", "--from", bundle, *signed).status == 0
    after = open_feed(str(directory / "public"), root=first_root).fetch(found.metadata)
    assert read_bundle(after.bundle).version == 2


def test_renews_and_completes(feed: Feed, directory: Path, tmp_path: Path) -> None:
    feed("publish", "--from", shipped_directory(), "--key", key(directory, "maintainer-1"))
    assert feed("renew").status == 1
    copy = Path(shutil.copy(directory / "pending" / "targets.json", tmp_path))
    shutil.copy(directory / "pending" / "trust-bundle.json", tmp_path)
    ended = call("trust", "feed", "sign", str(copy), "--key", key(directory, "maintainer-2"))
    assert (ended.status, ended.out) == (0, "")
    assert "adds the anchor CN=DigiCert Global Root G2" in ended.err
    shutil.copy(copy, directory / "pending" / "targets.json")
    assert feed("renew").status == 0
    assert published(directory).version == 1
    assert feed("renew", "--online-days", "1").status == 0
    roles = {role["role"]: role for role in json.loads(feed("keys", "--json").out)["roles"]}
    assert (roles["timestamp"]["version"], roles["targets"]["version"]) == (2, 1)


def test_a_follower_that_was_off_follows_two_rotations_and_a_renewal(feed: Feed, directory: Path) -> None:
    publish(feed, directory, shipped_directory())
    client = open_feed(str(directory / "public"), root=(directory / "public" / "1.root.json").read_bytes())
    seen = client.fetch({})
    lost = json.loads(feed("keys", "--json").out)["roles"][0]["keys"][0]
    two, three, four = (key(directory, f"maintainer-{number}") for number in (2, 3, 4))
    online = key(directory, "online-2")
    for new in (four, online):
        assert call("trust", "feed", "keys", "--new", new).status == 0
    assert feed("rotate", "--add", f"{four}.pub", "--remove", lost, "--key", two, "--key", three).status == 0
    assert feed("rotate", "--online", f"{online}.pub", "--key", three).status == 0
    assert feed("sign", "--key", four, "--online-key", online).status == 0
    refused = feed("renew")
    assert refused.status == 1
    assert "not the online key of this feed; name it with --online-key" in refused.err
    assert feed("renew", "--online-key", online).status == 0
    signed = feed("publish", "--from", shipped_directory(), "--key", three, "--key", four, "--online-key", online)
    assert signed.status == 0
    found = client.fetch(seen.metadata)
    assert read_bundle(found.bundle).version == 2
    assert {"root_history/2.root.json", "root_history/3.root.json"} <= found.metadata.keys()
    # The removed key signs for no follower.
    assert feed("publish", "--from", shipped_directory(), "--key", key(directory, "maintainer-1")).status == 1


def test_shows_what_a_signature_would_be_for(feed: Feed, directory: Path) -> None:
    publish(feed, directory, shipped_directory())
    assert "nothing waits" in feed("show").err
    new_key = call("trust", "feed", "keys", "--new", key(directory, "maintainer-4")).out.strip()
    old_key = json.loads(feed("keys", "--json").out)["roles"][0]["keys"][0]
    added = f"{key(directory, 'maintainer-4')}.pub"
    told = feed("rotate", "--add", added, "--remove", old_key, "--threshold", "1").err
    for line in (
        f"adds the key {new_key} of root",
        f"removes the key {old_key} of targets",
        "needs 1 signatures of root",
    ):
        assert line in told
    assert feed("show").err == told
    # The bundle that the new keys sign again.
    assert "version 1 of the bundle" in told
    assert "changes no certificate" in told
    ended = call("trust", "feed", "show", str(directory / "pending" / "root.json"))
    assert ended.status == 0
    assert "version 2 of the root, until " in ended.err
    assert "needs 1 signatures of timestamp" in ended.err


def test_says_what_cannot_be_used(feed: Feed, tmp_path: Path) -> None:
    assert feed("init").status == 1
    assert feed("publish", "--from", tmp_path / "absent").status == 2
    assert feed("publish", "--from", tmp_path).status == 1
    assert feed("sign", "--key", tmp_path / "absent.pem").status == 2
    assert feed("renew", "--online-days", "0").status == 2
    assert feed("rotate", "--root-days", "4000").status == 2
    assert call("trust", "feed", "keys").status == 2
    assert call("trust", "feed", "keys", str(tmp_path)).status == 1
    (tmp_path / "bundle.json").write_text('{"format": 2}')
    ended = feed("publish", "--from", tmp_path / "bundle.json")
    assert ended.status == 1
    assert "format 2" in ended.err


@pytest.mark.parametrize("arguments", [("trust", "--help"), ("trust", "feed", "--help"), ("verify", "--help")])
def test_other_commands_do_not_import_tuf(arguments: tuple[str, ...]) -> None:
    code = f"import sys; from verifier.wiring import main; sys.argv[1:] = {list(arguments)!r}\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('tuf', 'securesystemslib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_one_command_publishes_with_a_threshold_of_one(directory: Path) -> None:
    assert run("trust", "feed", "init", str(directory)).status == 0
    key_file = key(directory, "maintainer-1")
    ended = run("trust", "feed", "publish", str(directory), "--from", str(shipped_directory()), "--key", key_file)
    assert ended.status == 0
    assert "published in" in ended.err
    assert published(directory).version == 1
