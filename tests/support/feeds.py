"""Make bundles as a trust feed publishes them."""

from datetime import datetime, timedelta

from support.documents import NOW, der

from verifier.adapters.trust.published import read_bundle
from verifier.core.trust.bundle import Origin, Role, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.published import FeedMode, PublishedBundle
from verifier.emulator import pki
from verifier.ports.trust import FeedClient
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_feed import TrustFeed

PUBLIC = frozenset({Cloud.PUBLIC})


def entry(
    identity: pki.Identity,
    *,
    clouds: frozenset[Cloud] = PUBLIC,
    role: Role = Role.INTERMEDIATE,
    origin: Origin = Origin.PUBLISHED,
    activate_at: datetime | None = None,
    retire_at: datetime | None = None,
) -> TrustedCertificate:
    return TrustedCertificate(
        certificate=Certificate.from_der(der(identity.certificate)),
        role=role,
        clouds=clouds,
        source="https://www.microsoft.com/pkiops/docs/repository.htm",
        origin=origin,
        activate_at=activate_at,
        retire_at=retire_at,
    )


def anchor(
    identity: pki.Identity,
    *,
    clouds: frozenset[Cloud] = PUBLIC,
    origin: Origin = Origin.PUBLISHED,
    retire_at: datetime | None = None,
) -> TrustedCertificate:
    return entry(identity, clouds=clouds, role=Role.ROOT, origin=origin, retire_at=retire_at)


def published(
    *entries: TrustedCertificate, version: int = 1, lasting: timedelta = timedelta(days=30), at: datetime = NOW
) -> PublishedBundle:
    return PublishedBundle(version=version, published_at=at, expires_at=at + lasting, entries=entries)


def feed_of(
    administration: TrustAdministration,
    client: FeedClient | None = None,
    *,
    mode: FeedMode = FeedMode.PROPOSE,
    source: str = "",
) -> TrustFeed:
    """Return the use cases of a feed over the registry and the clock of `administration`."""
    return TrustFeed(
        client=client,
        administration=administration,
        registry=administration.registry,
        read=read_bundle,
        recorder=administration.recorder,
        clock=administration.clock,
        mode=mode,
        source=source,
    )
