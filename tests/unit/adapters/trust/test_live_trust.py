"""The bundle in force, over real directories and a real registry, while both change under it."""

import os
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.certificates import make_signer
from support.chains import authority, claims_of, key, root
from support.documents import NOW, der
from support.feeds import anchor as feed_anchor
from support.feeds import entry, published

from verifier.adapters.polling import poll, start_polling
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust import live_trust
from verifier.adapters.trust.files import load_bundle
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.adapters.trust.published import read_bundle, write_bundle
from verifier.core.chain import build_chain
from verifier.core.discovery import IssuerObservation
from verifier.core.reasons import ChainRefused
from verifier.core.trust.bundle import AuthorityIdentity, Denials, Origin, TrustBundle, TrustError
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import (
    Change,
    Deny,
    Follow,
    FollowedBundle,
    Pin,
    PinDecision,
    Reject,
    Unpin,
    decide,
)
from verifier.emulator import pki
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Event, RefreshFailed, ReloadOutcome, TrustReloaded
from verifier.ports.trust import LiveTrustSource, TrustAuditEvent

WAIT_SECONDS = 30
PUBLIC = frozenset({Cloud.PUBLIC})


@dataclass(frozen=True, slots=True)
class KeptReloads:
    """Implements the Recorder port: keeps what it is told of reloads, and of failures."""

    reloads: list[tuple[ReloadOutcome, str, str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    @property
    def outcomes(self) -> list[ReloadOutcome]:
        return [outcome for outcome, _, _ in self.reloads]

    @property
    def details(self) -> list[str]:
        return [detail for _, _, detail in self.reloads]

    def record(self, event: Event) -> None:
        match event:
            case TrustReloaded(outcome=outcome, generation=generation, detail=detail):
                self.reloads.append((outcome, generation, detail))
            case RefreshFailed(error=error):
                self.failures.append(error)
            case _:
                raise AssertionError(event)


class Registry(SqliteTrustRegistry):
    """The real one, which a test can take away, and which tells when it is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_away = False
        self.asked: Callable[[], None] = lambda: None

    def revision(self) -> int:
        self.asked()
        if self.is_away:
            raise StoreUnavailable("The registry is away.")
        return super().revision()

    def change(self, change: Change) -> None:
        """As another replica's operator decides."""
        decisions, revision = self.decisions()
        event = TrustAuditEvent(at=NOW, by="other", what="change", subject="", before="", after="")
        assert self.decide(decide(decisions, change), event, expected=revision)

    def pin(self, certificate: x509.Certificate, clouds: frozenset[Cloud] = PUBLIC) -> str:
        raw = der(certificate)
        sha256 = Certificate.from_der(raw).sha256
        self.change(Pin(pins={sha256: decision(raw, clouds)}))
        return sha256

    def follow(self, raw: bytes | None, *, version: int = 1) -> None:
        self.change(Follow(bundle=FollowedBundle(raw=raw, version=version, decided_by="alice", decided_at=NOW)))

    def discover(self, *authorities: x509.Certificate, cloud: Cloud = Cloud.PUBLIC) -> None:
        observation = IssuerObservation(
            cloud=cloud,
            issuer="CN=Unknown",
            authority_key_identifier=os.urandom(4).hex(),
            issuer_urls=(),
            signer_sha256="0" * 64,
            seen_at=NOW,
        )
        assert self.record(observation, [der(one) for one in authorities])


def decision(raw: bytes, clouds: frozenset[Cloud] = PUBLIC) -> PinDecision:
    return PinDecision(der=raw, clouds=clouds, decided_by="alice", decided_at=NOW, note="seen in eastus")


def feed_of(*certificates: x509.Certificate) -> bytes:
    """Return the bundle of a feed with these anchors and pins."""
    made = [pki.Identity(certificate=one, key=key()) for one in certificates]
    return write_bundle(
        published(
            *(feed_anchor(one) if one.certificate.subject == one.certificate.issuer else entry(one) for one in made)
        )
    )


@cache
def anchor(name: str = "Live Root") -> x509.Certificate:
    return root(name).certificate


@cache
def pin(name: str, *, under: str = "Live Root") -> x509.Certificate:
    return authority(name, issuer=root(under)).certificate


def write_trust(
    directory: Path,
    *certificates: x509.Certificate,
    clouds: Iterable[Cloud] = PUBLIC,
    planned: str = "",
    note: str = "",
) -> None:
    """`directory` trusts these, in the place of whatever it trusted: edited in place, the manifest last. `planned` is
    said of every one that is not a root."""
    for folder in ("roots", "intermediates"):
        shutil.rmtree(directory / folder, ignore_errors=True)
        (directory / folder).mkdir(parents=True)
    named = [f'"{cloud}"' for cloud in sorted(clouds)]
    entries, anchors = "", []
    for position, certificate in enumerate(certificates):
        is_root = certificate.subject == certificate.issuer
        file = f"{'roots' if is_root else 'intermediates'}/{position}.pem"
        if is_root:
            anchors.append(f'"{file}"')
        (directory / file).write_bytes(certificate.public_bytes(Encoding.PEM))
        entries += (
            f'[[certificates]]\nfile = "{file}"\nsha256 = "{fingerprint(certificate)}"\n'
            f'role = "{"root" if is_root else "intermediate"}"\nclouds = [{", ".join(named)}]\nsource = "urn:test"\n'
            f'note = "{note}"\n{"" if is_root else planned}\n'
        )
    tables = "".join(
        f'[clouds.{cloud}]\ndomain = "{cloud.domain}"\nanchors = [{", ".join(anchors)}]\n' for cloud in sorted(clouds)
    )
    (directory / "manifest.toml").write_text(f'format = 1\nmode = "replace"\n{tables}{entries}', encoding="utf-8")


def flip(mount: Path, version: str, *certificates: x509.Certificate) -> None:
    """`mount` is a ConfigMap's volume of this version: kubelet writes it beside, and swaps one symbolic link."""
    before = (mount / "..data").readlink() if (mount / "..data").is_symlink() else None
    write_trust(mount / f"..{version}", *certificates)
    (mount / "..data_tmp").symlink_to(f"..{version}")
    (mount / "..data_tmp").rename(mount / "..data")
    for name in ("manifest.toml", "roots", "intermediates"):
        if not (mount / name).is_symlink():
            (mount / name).symlink_to(f"..data/{name}")
    if before:
        shutil.rmtree(mount / before)


def identity(certificate: x509.Certificate) -> AuthorityIdentity:
    return AuthorityIdentity.of(Certificate.from_der(der(certificate)))


def fingerprint(certificate: x509.Certificate) -> str:
    return Certificate.from_der(der(certificate)).sha256


def fingerprints(bundle: TrustBundle) -> set[str]:
    return {entry.certificate.sha256 for entry in bundle.entries}


def fingerprints_of(*certificates: x509.Certificate) -> set[str]:
    return {fingerprint(one) for one in certificates}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A root and one pin."""
    write_trust(tmp_path / "trust", anchor(), pin("Live CA"))
    return tmp_path / "trust"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry.sqlite3")


@pytest.fixture
def told() -> KeptReloads:
    return KeptReloads()


@pytest.fixture
def trust(directory: Path, registry: Registry, told: KeptReloads) -> LiveTrust:
    return LiveTrust(directory, registry, admit=False, recorder=told)


class TestFiles:
    def test_are_in_force_from_construction_on(self, trust: LiveTrustSource, told: KeptReloads) -> None:
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"))
        assert told.reloads == []

    def test_are_the_shipped_ones_without_an_overlay(self, registry: Registry, told: KeptReloads) -> None:
        trust = LiveTrust(None, registry, admit=False, recorder=told)
        trust.refresh()
        assert trust.bundle().generation == load_bundle().generation
        assert told.reloads == []

    def test_must_be_a_bundle_at_construction(self, tmp_path: Path, registry: Registry, told: KeptReloads) -> None:
        with pytest.raises(TrustError, match=r"away/manifest\.toml: cannot be read"):
            LiveTrust(tmp_path / "away", registry, admit=False, recorder=told)

    def test_give_one_object_until_another_bundle_is_in_force(self, directory: Path, trust: LiveTrust) -> None:
        before = trust.bundle()
        trust.refresh()
        write_trust(directory, anchor(), pin("Live CA"), note="other words")
        trust.refresh()
        assert trust.bundle() is before

    def test_edited_in_place_are_in_force_and_told_once(
        self, directory: Path, trust: LiveTrust, told: KeptReloads
    ) -> None:
        write_trust(directory, anchor(), pin("Live CA"), pin("Second CA"))
        trust.refresh()
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"), pin("Second CA"))
        assert told.reloads == [
            (
                ReloadOutcome.LOADED,
                trust.bundle().generation,
                "3 certificates: 3 listed, 0 published, 0 approved, 0 admitted",
            )
        ]

    def test_may_come_and_go_often_within_one_tick_of_the_file_systems_clock(
        self, directory: Path, trust: LiveTrust
    ) -> None:
        for round_ in range(20):
            chosen = pin(f"Tick CA {round_ % 2}")  # names, and so files, of one length
            write_trust(directory, anchor(), chosen)
            trust.refresh()
            assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), chosen)

    def test_of_a_config_map_are_in_force_once_its_link_is_swapped(
        self, tmp_path: Path, registry: Registry, told: KeptReloads
    ) -> None:
        mount = tmp_path / "mount"
        flip(mount, "1", anchor(), pin("Live CA"))
        trust = LiveTrust(mount, registry, admit=False, recorder=told)
        flip(mount, "2", anchor(), pin("Second CA"))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Second CA"))
        flip(mount, "3", anchor(), pin("Live CA"))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"))
        assert told.outcomes == [ReloadOutcome.LOADED] * 2

    def test_that_look_the_same_for_long_are_not_read_again(
        self, trust: LiveTrust, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = count_reads(monkeypatch)
        monkeypatch.setattr(live_trust, "SETTLING_SECONDS", 0)
        trust.refresh()  # they were made just now
        assert len(read) == 1
        for _ in range(5):
            trust.refresh()
        assert len(read) == 1

    def test_that_changed_just_now_are_read_again(self, trust: LiveTrust, monkeypatch: pytest.MonkeyPatch) -> None:
        read = count_reads(monkeypatch)
        monkeypatch.setattr(live_trust, "SETTLING_SECONDS", 3600)
        for _ in range(3):
            trust.refresh()
        assert len(read) == 3


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    read: list[Path | None] = []

    def load_counted(overlay: Path | None) -> TrustBundle:
        read.append(overlay)
        return load_bundle(overlay)

    monkeypatch.setattr(live_trust, "load_bundle", load_counted)
    return read


class TestBrokenFiles:
    def test_are_refused_once_and_the_bundle_before_stays(
        self, directory: Path, trust: LiveTrust, told: KeptReloads
    ) -> None:
        before = trust.bundle()
        (directory / "manifest.toml").write_text("format = 2\n", encoding="utf-8")
        for _ in range(3):
            trust.refresh()
        assert trust.bundle() is before
        ((outcome, generation, detail),) = told.reloads
        assert (outcome, generation) == (ReloadOutcome.REFUSED, before.generation)
        assert detail.endswith("manifest.toml has format 2, and this release knows format 1: update imds-verifier")

    def test_record_a_different_fault_again(self, directory: Path, trust: LiveTrust, told: KeptReloads) -> None:
        (directory / "manifest.toml").write_text("format = 2\n", encoding="utf-8")
        trust.refresh()
        (directory / "manifest.toml").write_text("format = \n", encoding="utf-8")
        trust.refresh()
        assert told.outcomes == [ReloadOutcome.REFUSED] * 2

    def test_that_are_repaired_are_in_force(self, directory: Path, trust: LiveTrust, told: KeptReloads) -> None:
        (directory / "manifest.toml").unlink()
        trust.refresh()
        write_trust(directory, anchor(), pin("Second CA"))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Second CA"))
        assert told.outcomes == [ReloadOutcome.REFUSED, ReloadOutcome.LOADED]

    def test_that_are_as_they_were_again_are_told(self, directory: Path, trust: LiveTrust, told: KeptReloads) -> None:
        before = trust.bundle()
        write_trust(directory, pin("Live CA"))
        trust.refresh()
        write_trust(directory, anchor(), pin("Live CA"))
        trust.refresh()
        trust.refresh()
        assert trust.bundle() is before
        assert told.outcomes == [ReloadOutcome.REFUSED, ReloadOutcome.LOADED]

    def test_may_be_the_whole_directory(self, directory: Path, trust: LiveTrust, told: KeptReloads) -> None:
        before = trust.bundle()
        directory.rename(directory.parent / "elsewhere")
        trust.refresh()
        assert trust.bundle() is before
        (directory.parent / "elsewhere").rename(directory)
        trust.refresh()
        assert told.outcomes == [ReloadOutcome.REFUSED, ReloadOutcome.LOADED]

    def test_may_be_a_loop_of_symbolic_links(self, directory: Path, trust: LiveTrust, told: KeptReloads) -> None:
        (directory / "manifest.toml").unlink()
        (directory / "manifest.toml").symlink_to("manifest.toml")
        trust.refresh()
        assert told.outcomes == [ReloadOutcome.REFUSED]

    def test_do_not_keep_a_decision_from_counting(self, directory: Path, trust: LiveTrust, registry: Registry) -> None:
        (directory / "manifest.toml").unlink()
        pinned = registry.pin(pin("Pinned CA"))
        trust.refresh()
        assert fingerprints(trust.bundle()) == {*fingerprints_of(anchor(), pin("Live CA")), pinned}

    def test_do_not_record_a_fault_that_a_second_read_resolves(
        self, directory: Path, trust: LiveTrust, told: KeptReloads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_trust(directory, pin("Live CA"))  # without its root: half of what is being written

        def load_torn(overlay: Path | None) -> TrustBundle:
            try:
                return load_bundle(overlay)
            finally:
                write_trust(directory, anchor(), pin("Second CA"))

        monkeypatch.setattr(live_trust, "load_bundle", load_torn)
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Second CA"))
        assert told.outcomes == [ReloadOutcome.LOADED]


class TestConcurrency:
    def test_no_reader_ever_sees_half_a_bundle(self, tmp_path: Path, registry: Registry, told: KeptReloads) -> None:
        mount = tmp_path / "mount"
        versions = [
            (anchor("Odd Root"), pin("Odd CA 1", under="Odd Root"), pin("Odd CA 2", under="Odd Root")),
            (anchor("Even Root"), pin("Even CA 1", under="Even Root"), pin("Even CA 2", under="Even Root")),
        ]
        flip(mount, "0", *versions[0])
        trust = LiveTrust(mount, registry, admit=False, recorder=told)
        whole = [fingerprints_of(*version) for version in versions]
        done = threading.Event()
        seen: set[str] = set()
        wrong: list[set[str]] = []

        def read() -> None:
            while not done.wait(0.0001):  # a reader that never rests keeps the others from running
                bundle = trust.bundle()
                cloud = bundle.clouds[Cloud.PUBLIC]
                used = {entry.certificate.sha256 for entry in (*cloud.anchors, *cloud.pins)}
                if used not in whole or fingerprints(bundle) != used:
                    wrong.append(used)
                seen.add(bundle.generation)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            for number in range(1, 101):
                flip(mount, str(number), *versions[number % 2])
                trust.refresh()
                assert fingerprints(trust.bundle()) == whole[number % 2]
        finally:
            done.set()
            for reader in readers:
                reader.join(WAIT_SECONDS)
        assert wrong == []
        assert len(seen) == 2
        assert told.outcomes == [ReloadOutcome.LOADED] * 100

    def test_refreshes_at_once_follow_one_another(self, trust: LiveTrust, registry: Registry) -> None:
        inside = threading.Lock()
        together = threading.Barrier(4)
        overlaps: list[str] = []

        def ask() -> None:
            if not inside.acquire(blocking=False):
                overlaps.append(threading.current_thread().name)
                return
            threading.Event().wait(0.001)
            inside.release()

        def refresh() -> None:
            together.wait(WAIT_SECONDS)
            for _ in range(5):
                trust.refresh()

        registry.asked = ask
        threads = [threading.Thread(target=refresh) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_SECONDS)
        assert overlaps == []


class TestDecisions:
    def test_pin_an_authority_and_say_who_did(self, trust: LiveTrust, registry: Registry, told: KeptReloads) -> None:
        pinned = registry.pin(pin("Pinned CA"))
        assert pinned not in fingerprints(trust.bundle())
        trust.refresh()
        entry = trust.bundle().clouds[Cloud.PUBLIC].entry(pinned)
        assert (entry.origin, entry.note) == (Origin.APPROVED, "seen in eastus")
        assert entry.source == "pinned by alice at 2026-11-23T08:00:00Z"
        assert told.details == ["3 certificates: 2 listed, 0 published, 1 approved, 0 admitted"]

    def test_take_a_pin_back(self, trust: LiveTrust, registry: Registry) -> None:
        pinned = registry.pin(pin("Pinned CA"))
        trust.refresh()
        registry.change(Unpin(sha256=pinned))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"))

    def test_leave_a_listed_entry_as_it_is_and_extend_its_clouds(
        self, tmp_path: Path, registry: Registry, told: KeptReloads
    ) -> None:
        overlay = tmp_path / "two"
        write_trust(overlay, anchor(), pin("Live CA"), clouds=(Cloud.PUBLIC, Cloud.CHINA))
        manifest = overlay / "manifest.toml"
        head, mark, rest = manifest.read_text(encoding="utf-8").rpartition("[[certificates]]")
        manifest.write_text(head + mark + rest.replace('"AzureChinaCloud", ', ""), encoding="utf-8")
        trust = LiveTrust(overlay, registry, admit=False, recorder=told)
        listed = registry.pin(pin("Live CA"), frozenset({Cloud.CHINA}))
        assert trust.bundle().clouds[Cloud.CHINA].pins == ()
        trust.refresh()
        entry = trust.bundle().clouds[Cloud.CHINA].entry(listed)
        assert (entry.origin, entry.source) == (Origin.LISTED, "urn:test")
        assert entry.clouds == {Cloud.PUBLIC, Cloud.CHINA}

    def test_deny_at_once(self, trust: LiveTrust, registry: Registry) -> None:
        issuer = authority("Live CA", issuer=root("Live Root"))
        claims = claims_of(make_signer(issuer=issuer).certificate)
        build_chain(claims, now=NOW, bundle=trust.bundle())
        denied = Certificate.from_der(der(pin("Live CA"))).spki_sha256
        registry.change(Deny(denials=Denials(spki_sha256=frozenset({denied}))))
        trust.refresh()
        with pytest.raises(ChainRefused):
            build_chain(claims, now=NOW, bundle=trust.bundle())

    def test_are_in_force_at_construction(self, directory: Path, registry: Registry, told: KeptReloads) -> None:
        pinned = registry.pin(pin("Pinned CA"))
        trust = LiveTrust(directory, registry, admit=False, recorder=told)
        assert pinned in fingerprints(trust.bundle())
        assert told.reloads == []

    def test_for_a_cloud_that_is_not_configured_any_more_are_left_out_and_told_once(
        self, trust: LiveTrust, registry: Registry, told: KeptReloads
    ) -> None:
        gone = registry.pin(pin("China CA"), frozenset({Cloud.CHINA}))
        half = registry.pin(pin("Both CA"), frozenset({Cloud.CHINA, Cloud.PUBLIC}))
        for _ in range(3):
            trust.refresh()
        assert fingerprints(trust.bundle()) == {*fingerprints_of(anchor(), pin("Live CA")), half}
        assert trust.bundle().clouds.keys() == {Cloud.PUBLIC}
        refused = [detail for outcome, _, detail in told.reloads if outcome is ReloadOutcome.REFUSED]
        assert len(refused) == 1
        assert f"{gone}, pinned by alice at 2026-11-23T08:00:00Z: AzureChinaCloud is not configured" in refused[0]

    @pytest.mark.parametrize(
        ("sha256", "raw", "why"),
        [
            ("0" * 64, b"\x30\x00", "can be read: it is not exact DER"),
            ("0" * 64, der(pin("Other CA")), "the stored certificate does not have this SHA-256"),
            (fingerprint(anchor("New Root")), der(anchor("New Root")), "only a manifest can add a root"),
            (fingerprint(anchor()), der(anchor()), "only a manifest can add a root"),
            (fingerprint(make_signer().certificate), b"", "can be read: it is not exact DER"),
        ],
        ids=["unreadable", "another", "new-root", "listed-root", "empty"],
    )
    def test_invalid_pins_are_omitted_and_denials_stay_effective(
        self, trust: LiveTrust, registry: Registry, told: KeptReloads, sha256: str, raw: bytes, why: str
    ) -> None:
        registry.change(Pin(pins={sha256: decision(raw)}))
        registry.change(Deny(denials=Denials(serial_numbers=frozenset({7}))))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"))
        assert trust.bundle().denials.serial_numbers == {7}
        assert told.outcomes == [ReloadOutcome.REFUSED, ReloadOutcome.LOADED]
        assert why in told.details[0]


class TestFeed:
    """The bundle of the trust feed that is in force."""

    @pytest.fixture
    def stranger(self) -> bytes:
        """A bundle whose only pin is under no trusted anchor."""
        return feed_of(pin("Strange CA", under="Strange Root"))

    def test_adds_its_pins_and_anchors(self, trust: LiveTrust, registry: Registry, told: KeptReloads) -> None:
        registry.follow(feed_of(pin("Fed CA"), anchor("Fed Root"), pin("Lower CA", under="Fed Root")))
        trust.refresh()
        fed = {pin("Fed CA"), anchor("Fed Root"), pin("Lower CA", under="Fed Root")}
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"), *fed)
        origins = {one.certificate.sha256: one.origin for one in trust.bundle().entries}
        assert origins[fingerprint(pin("Fed CA"))] is Origin.PUBLISHED
        assert told.outcomes == [ReloadOutcome.LOADED]
        assert "5 certificates: 2 listed, 3 published, 0 approved, 0 admitted" in told.details[0]

    def test_is_in_force_at_construction(self, directory: Path, registry: Registry, told: KeptReloads) -> None:
        registry.follow(feed_of(pin("Fed CA")))
        trust = LiveTrust(directory, registry, admit=False, recorder=told)
        assert fingerprint(pin("Fed CA")) in fingerprints(trust.bundle())
        assert told.outcomes == []

    def test_ends_when_an_operator_leaves_it(self, trust: LiveTrust, registry: Registry) -> None:
        before = trust.bundle().generation
        registry.follow(feed_of(pin("Fed CA")))
        trust.refresh()
        registry.follow(None, version=1)
        trust.refresh()
        assert trust.bundle().generation == before

    def test_counts_for_the_clouds_that_may_follow_it(
        self, directory: Path, registry: Registry, told: KeptReloads
    ) -> None:
        registry.follow(feed_of(pin("Fed CA")))
        china = LiveTrust(directory, registry, admit=False, recorder=told, feed_clouds=frozenset({Cloud.CHINA}))
        assert fingerprints(china.bundle()) == fingerprints_of(anchor(), pin("Live CA"))
        china.refresh()
        assert told.outcomes == []

    def test_names_what_has_no_effect_when_it_is_loaded(
        self, trust: LiveTrust, registry: Registry, told: KeptReloads, stranger: bytes
    ) -> None:
        registry.follow(feed_of(pin("Fed CA"), pin("Strange CA", under="Strange Root")))
        trust.refresh()
        assert "without effect in the trust feed: " in told.details[0]
        assert "no trusted authority of AzurePublicCloud issued it" in told.details[0]
        assert told.outcomes == [ReloadOutcome.LOADED]
        bundle, ignored = trust.preview(read_bundle(stranger))
        assert (len(ignored), fingerprints(bundle)) == (1, fingerprints_of(anchor(), pin("Live CA")))

    def test_denials_and_pins_of_operators_apply_after_it(self, trust: LiveTrust, registry: Registry) -> None:
        registry.follow(feed_of(pin("Fed CA")))
        lower = authority("Lowest CA", issuer=authority("Fed CA", issuer=root("Live Root"))).certificate
        registry.pin(lower)
        spki = Certificate.from_der(der(pin("Fed CA"))).spki_sha256
        registry.change(Deny(denials=Denials(spki_sha256=frozenset({spki}))))
        trust.refresh()
        assert fingerprint(lower) in fingerprints(trust.bundle())
        assert trust.bundle().clouds[Cloud.PUBLIC].denials.spki_sha256 == {spki}

    def test_that_this_release_cannot_read_is_told_once_and_the_one_before_stays(
        self, trust: LiveTrust, registry: Registry, told: KeptReloads
    ) -> None:
        registry.follow(feed_of(pin("Fed CA")))
        trust.refresh()
        fed = trust.bundle()
        registry.follow(b'{"format": 2}', version=2)
        trust.refresh()
        registry.change(Deny(denials=Denials(serial_numbers=frozenset({7}))))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints(fed)
        assert trust.bundle().denials.serial_numbers == {7}
        assert told.outcomes == [ReloadOutcome.LOADED, ReloadOutcome.REFUSED, ReloadOutcome.LOADED]
        assert told.details[1].startswith("version 2 of the trust feed is not used: the bundle has format 2")

    def test_that_a_new_process_cannot_read_leaves_the_files(
        self, directory: Path, registry: Registry, told: KeptReloads
    ) -> None:
        registry.follow(b'{"format": 2}', version=2)
        trust = LiveTrust(directory, registry, admit=False, recorder=told)
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"))
        assert told.outcomes == [ReloadOutcome.REFUSED]

    def test_follows_the_files_when_they_change(self, directory: Path, trust: LiveTrust, registry: Registry) -> None:
        """Its pins need an issuer among the files: without one, they have no effect, and with it they are back."""
        registry.follow(feed_of(pin("Fed CA")))
        trust.refresh()
        write_trust(directory, anchor("Strange Root"))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor("Strange Root"))
        write_trust(directory, anchor(), pin("Live CA"))
        trust.refresh()
        assert fingerprint(pin("Fed CA")) in fingerprints(trust.bundle())

    def test_a_preview_changes_nothing_and_tells_nothing(self, trust: LiveTrust, told: KeptReloads) -> None:
        before = trust.bundle()
        bundle, ignored = trust.preview(read_bundle(feed_of(pin("Fed CA"))))
        assert (fingerprint(pin("Fed CA")) in fingerprints(bundle), ignored) == (True, ())
        assert trust.bundle() is before
        trust.refresh()
        assert trust.bundle() is before
        assert told.reloads == []

    def test_a_preview_needs_the_registry(self, trust: LiveTrust, registry: Registry) -> None:
        registry.is_away = True
        with pytest.raises(StoreUnavailable):
            trust.preview(read_bundle(feed_of(pin("Fed CA"))))


class TestDiscovered:
    def test_are_admitted_in_the_mode_that_says_so_alone(
        self, directory: Path, registry: Registry, told: KeptReloads
    ) -> None:
        trusts = [LiveTrust(directory, registry, admit=admit, recorder=told) for admit in (False, True)]
        registry.discover(pin("Found CA"))
        for trust in trusts:
            trust.refresh()
        pinned, admitted = (trust.bundle() for trust in trusts)
        assert fingerprint(pin("Found CA")) not in fingerprints(pinned)
        assert admitted.clouds[Cloud.PUBLIC].entry(fingerprint(pin("Found CA"))).origin is Origin.ADMITTED

    def test_are_admitted_no_more_once_rejected(self, directory: Path, registry: Registry, told: KeptReloads) -> None:
        trust = LiveTrust(directory, registry, admit=True, recorder=told)
        registry.discover(pin("Found CA"), pin("Above CA"))
        trust.refresh()
        registry.change(Reject(authority=identity(pin("Found CA"))))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Live CA"), pin("Above CA"))

    def test_are_approved_ones_once_pinned(self, directory: Path, registry: Registry, told: KeptReloads) -> None:
        trust = LiveTrust(directory, registry, admit=True, recorder=told)
        registry.discover(pin("Found CA"))
        pinned = registry.pin(pin("Found CA"))
        trust.refresh()
        assert trust.bundle().clouds[Cloud.PUBLIC].entry(pinned).origin is Origin.APPROVED

    def test_are_listed_ones_where_a_manifest_lists_them_though_rejected(
        self, directory: Path, registry: Registry, told: KeptReloads
    ) -> None:
        trust = LiveTrust(directory, registry, admit=True, recorder=told)
        registry.discover(pin("Live CA"))
        registry.change(Reject(authority=identity(pin("Live CA"))))
        trust.refresh()
        assert trust.bundle().clouds[Cloud.PUBLIC].entry(fingerprint(pin("Live CA"))).origin is Origin.LISTED


class TestRegistryAway:
    def test_leaves_the_bundle_as_it_is(self, trust: LiveTrust, registry: Registry) -> None:
        pinned = registry.pin(pin("Pinned CA"))
        trust.refresh()
        before = trust.bundle()
        registry.is_away = True
        with pytest.raises(StoreUnavailable):
            trust.refresh()
        assert trust.bundle() is before
        assert pinned in fingerprints(before)

    def test_does_not_keep_a_change_of_the_files_from_being_in_force(
        self, directory: Path, trust: LiveTrust, registry: Registry
    ) -> None:
        pinned = registry.pin(pin("Pinned CA"))
        trust.refresh()
        registry.is_away = True
        write_trust(directory, anchor(), pin("Second CA"))
        with pytest.raises(StoreUnavailable):
            trust.refresh()
        assert fingerprints(trust.bundle()) == {*fingerprints_of(anchor(), pin("Second CA")), pinned}

    def test_at_construction_there_is_no_bundle_until_it_answers(
        self, directory: Path, registry: Registry, told: KeptReloads
    ) -> None:
        pinned = registry.pin(pin("Pinned CA"))
        registry.is_away = True
        trust = LiveTrust(directory, registry, admit=True, recorder=told)
        with pytest.raises(StoreUnavailable):
            trust.refresh()
        with pytest.raises(StoreUnavailable):
            trust.bundle()
        registry.is_away = False
        assert pinned in fingerprints(trust.bundle())


class TestLastGood:
    """A worker that starts while the directory is broken, in a service that started with a good one."""

    def test_is_used_if_the_directory_is_invalid(self, directory: Path, registry: Registry, told: KeptReloads) -> None:
        last_good = load_bundle(directory)
        (directory / "manifest.toml").write_text("broken", "utf-8")
        trust = LiveTrust(directory, registry, admit=False, recorder=told, last_good=last_good)
        assert fingerprints(trust.bundle()) == fingerprints(last_good)
        assert [outcome for outcome, *_ in told.reloads] == [ReloadOutcome.REFUSED]

    def test_gives_way_to_the_directory_once_it_is_repaired(
        self, directory: Path, registry: Registry, told: KeptReloads
    ) -> None:
        last_good = load_bundle(directory)
        (directory / "manifest.toml").write_text("broken", "utf-8")
        trust = LiveTrust(directory, registry, admit=False, recorder=told, last_good=last_good)
        write_trust(directory, anchor(), pin("Second CA"))
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Second CA"))

    def test_without_one_a_broken_directory_is_an_error(
        self, directory: Path, registry: Registry, told: KeptReloads
    ) -> None:
        (directory / "manifest.toml").write_text("broken", "utf-8")
        with pytest.raises(TrustError):
            LiveTrust(directory, registry, admit=False, recorder=told)


class TestPlannedTimes:
    def test_take_effect_by_the_clock_without_a_reload(
        self, directory: Path, trust: LiveTrust, told: KeptReloads
    ) -> None:
        moment = datetime(2026, 12, 1, tzinfo=UTC)
        write_trust(directory, anchor(), pin("Live CA"), planned=f"activate_at = {moment.isoformat()}")
        trust.refresh()
        reloads = len(told.reloads)
        issuer = authority("Live CA", issuer=root("Live Root"))
        claims = claims_of(make_signer(issuer=issuer).certificate)
        with pytest.raises(ChainRefused, match="staged"):
            build_chain(claims, now=moment - timedelta(microseconds=1), bundle=trust.bundle())
        build_chain(claims, now=moment, bundle=trust.bundle())
        assert len(told.reloads) == reloads


class TestWatch:
    def test_refreshes_until_it_is_stopped(
        self, directory: Path, trust: LiveTrust, registry: Registry, told: KeptReloads
    ) -> None:
        stop, asked = threading.Event(), threading.Semaphore(0)
        registry.asked = asked.release
        watcher = threading.Thread(
            target=poll, args=(trust.refresh, stop), kwargs={"recorder": told, "interval_seconds": 0.001}
        )
        watcher.start()
        try:
            write_trust(directory, anchor(), pin("Second CA"))
            assert all(asked.acquire(timeout=WAIT_SECONDS) for _ in range(3))
        finally:
            stop.set()
            watcher.join(WAIT_SECONDS)
        assert not watcher.is_alive()
        trust.refresh()
        assert fingerprints(trust.bundle()) == fingerprints_of(anchor(), pin("Second CA"))

    def test_survives_errors_and_records_each_once(
        self, trust: LiveTrust, registry: Registry, told: KeptReloads
    ) -> None:
        stop = threading.Event()
        faults: list[Exception | None] = [
            StoreUnavailable("away"),
            StoreUnavailable("away"),
            MemoryError("full"),
            None,
            StoreUnavailable("away"),
        ]

        def fail() -> None:
            if not faults:
                stop.set()
                return
            fault = faults.pop(0)
            if fault is not None:
                raise fault

        registry.asked = fail
        poll(trust.refresh, stop, recorder=told, interval_seconds=0.001)
        assert [str(failure) for failure in told.failures] == ["away", "full", "away"]

    def test_runs_in_a_daemon_thread_until_it_is_stopped(
        self, trust: LiveTrust, registry: Registry, told: KeptReloads
    ) -> None:
        watchers: list[threading.Thread] = []
        asked = threading.Event()

        def ask() -> None:
            watchers.append(threading.current_thread())
            asked.set()

        registry.asked = ask
        stop = start_polling(trust.refresh, recorder=told, name="trust", interval_seconds=0.001)
        assert asked.wait(WAIT_SECONDS)
        stop.set()
        watchers[0].join(WAIT_SECONDS)
        assert watchers[0].daemon
        assert not watchers[0].is_alive()
