"""Set up a real trust directory, a real registry and the use cases of an operator over both."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from support.certificates import make_authority
from support.clocks import ManualClock
from support.documents import NOW, around, der, shared_pki, spare_key
from support.feeds import feed_of
from support.live_documents import write_trust_in

from verifier.adapters.feed.client import open_feed
from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.files import load_directory
from verifier.adapters.trust.live_trust import LiveTrust
from verifier.cli.trust import OpenTrust
from verifier.cli.trust_feed import FeedWorkshop
from verifier.core.discovery import IssuerObservation
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.ports.telemetry import Event, TrustChanged
from verifier.ports.trust import TrustAuditEvent
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_feed import TrustFeed

ISSUER_URL = "http://www.microsoft.com/pkiops/certs/New%20Issuing%20CA.crt"
_TEN_YEARS = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class KeptTrustEvents:
    """Implements the Recorder port: keeps the changes of trust."""

    changes: list[TrustAuditEvent] = field(default_factory=list)

    def record(self, event: Event) -> None:
        if isinstance(event, TrustChanged):
            self.changes.append(event.change)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    administration: TrustAdministration
    registry: SqliteTrustRegistry
    clock: ManualClock
    events: KeptTrustEvents

    def opened(self, *, create: bool) -> OpenTrust:
        """Open the use cases as the command line does, for a store that exists."""
        del create
        return OpenTrust(
            administration=self.administration,
            feed=self.feed,
            open_feed=self.open_feed,
            store="sqlite:///state",
            trust_directory="/etc/trust",
            load_directory=load_directory,
        )

    @property
    def feed(self) -> TrustFeed:
        return feed_of(self.administration)

    def open_feed(self, source: str | None, root: Path | None) -> TrustFeed:
        """Open the real client of a feed in a directory or an archive."""
        assert source is not None
        assert root is not None
        return feed_of(self.administration, open_feed(source, root=root.read_bytes()))

    def discover(
        self,
        *authorities: pki.Identity,
        issuer: str | None = None,
        cloud: Cloud = Cloud.PUBLIC,
        key_identifier: str = "",
        url: str = ISSUER_URL,
        seen_at: datetime = NOW,
    ) -> IssuerObservation:
        """Record a document under these authorities, the issuer first, or under an untrusted `issuer` without any."""
        certificates = [read(authority) for authority in authorities]
        observation = IssuerObservation(
            cloud=cloud,
            issuer=issuer or certificates[0].subject,
            authority_key_identifier=key_identifier,
            issuer_urls=(url,),
            signer_sha256="5a" * 32,
            seen_at=seen_at,
        )
        self.registry.record(observation, [certificate.der for certificate in certificates])
        return observation


@cache
def new_authority(name: str = "New Issuing CA", *, under: str = "") -> pki.Identity:
    """Return an issuing CA that no bundle has, under the shared root or under the new authority `under`."""
    issuer = new_authority(under) if under else shared_pki().root
    return make_authority(issuer=issuer, name=name, key=pki.make_ec_key(ec.SECP256R1()))


@cache
def renewed_authority(*, days: int = 900) -> pki.Identity:
    """Return another certificate of the new issuing CA, valid for `days` around NOW."""
    return make_authority(
        issuer=shared_pki().root, name="New Issuing CA", key=new_authority().key, validity=around(days=days)
    )


def untimely_authority(*, years: int) -> pki.Identity:
    """Return an issuing CA whose certificate is valid around a time `years` after NOW (or before, if negative)."""
    validity = around(NOW + timedelta(days=365 * years))
    return make_authority(issuer=shared_pki().root, name="Untimely CA", key=spare_key(), validity=validity)


@cache
def stranger() -> pki.Identity:
    """Return an issuing CA under an untrusted root."""
    subject = pki.make_name("Nobody's Root")
    root = pki.make_root(subject=subject, key=spare_key(), validity=pki.Validity.around(NOW, _TEN_YEARS))
    return make_authority(issuer=root, name="Nobody's CA", key=pki.make_ec_key(ec.SECP256R1()))


def read(authority: pki.Identity) -> Certificate:
    return Certificate.from_der(der(authority.certificate))


def pem(authority: pki.Identity) -> str:
    return authority.certificate.public_bytes(Encoding.PEM).decode("ascii")


def make_operations(directory: Path) -> Operations:
    """Trust the shared PKI for the clouds Public and US Government, with the registry in `directory`."""
    overlay = directory / "trust"
    if not overlay.exists():
        write_trust(overlay)
    registry = SqliteTrustRegistry(directory / "trust.sqlite3")
    clock, events = ManualClock(NOW), KeptTrustEvents()
    trust = LiveTrust(overlay, registry, admit=False, recorder=events)
    administration = TrustAdministration(trust=trust, registry=registry, recorder=events, clock=clock)
    return Operations(administration=administration, registry=registry, clock=clock, events=events)


def write_trust(directory: Path) -> None:
    write_trust_in(shared_pki(), directory)
    # Trust the same two certificates for another cloud. The emulator cannot write that.
    manifest = directory / "manifest.toml"
    text = manifest.read_text("utf-8")
    table = text[text.index("[clouds.") : text.index("[[certificates]]")]
    other = table.replace(Cloud.PUBLIC.value, Cloud.US_GOVERNMENT.value).replace(
        Cloud.PUBLIC.domain, Cloud.US_GOVERNMENT.domain
    )
    text = text.replace(
        f'clouds = ["{Cloud.PUBLIC.value}"]', f'clouds = ["{Cloud.PUBLIC.value}", "{Cloud.US_GOVERNMENT.value}"]'
    )
    manifest.write_text(text.replace(table, table + other), "utf-8")


def no_workshop() -> FeedWorkshop:
    raise AssertionError("no feed is to be made")
