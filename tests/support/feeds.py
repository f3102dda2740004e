"""Make bundles as a trust feed publishes them."""

from datetime import datetime, timedelta

from support.documents import NOW, der

from verifier.core.trust.bundle import Origin, Role, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.published import PublishedBundle
from verifier.emulator import pki

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
