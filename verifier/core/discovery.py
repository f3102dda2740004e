"""Observe issuers that are not pinned, and confirm those that chain to an anchor of their cloud."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime
from enum import StrEnum

from verifier.core.chain import build_chain
from verifier.core.model import UnverifiedClaims
from verifier.core.reasons import ChainRefused
from verifier.core.trust.bundle import AuthorityIdentity, Origin, Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.core.values import dataclass

#: How many certificates that a sender embeds are tried as issuers.
MAX_CANDIDATES = 4


class DiscoveryMode(StrEnum):
    """Say how the service treats an issuer that is not pinned."""

    #: The service refuses its documents, and fetches no certificate.
    PINNED = "pinned"
    #: The service refuses its documents, and fetches its certificate, so that one command approves it.
    OBSERVE = "observe"
    #: The service accepts its documents if it chains to an anchor of the cloud.
    ADMIT = "admit"

    @property
    def fetches(self) -> bool:
        return self is not DiscoveryMode.PINNED


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerObservation:
    """Record one document whose issuer is not pinned. Every field comes from an untrusted sender."""

    cloud: Cloud
    issuer: str
    authority_key_identifier: str
    issuer_urls: tuple[str, ...]
    signer_sha256: str
    seen_at: datetime

    @property
    def id(self) -> str:
        """Return the same value for all documents of one issuer. One name with two keys is two issuers."""
        identity = f"{self.cloud}|{self.authority_key_identifier}|{self.issuer}"
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredIssuer:
    """Summarise the observations of one issuer that is not pinned.

    `authorities` are checked certificates: first the issuer's own, then each unpinned one above it, up to the one that
    an anchor of the cloud issued.
    """

    observation: IssuerObservation
    first_seen: datetime
    last_seen: datetime
    documents: int
    authorities: tuple[bytes, ...] = field(default=(), repr=False)


def observe_issuer(claims: UnverifiedClaims, *, now: datetime) -> IssuerObservation:
    """Return the observation that a document with an unpinned issuer makes."""
    named = claims.decoded.named
    signer = named.signed.signer
    return IssuerObservation(
        cloud=named.cloud,
        issuer=signer.issuer,
        authority_key_identifier=(signer.authority_key_identifier or b"").hex(),
        issuer_urls=signer.unverified_issuer_urls[:MAX_CANDIDATES],
        signer_sha256=signer.sha256,
        seen_at=now,
    )


def read_candidates(unverified: Sequence[bytes]) -> tuple[Certificate, ...]:
    """Return the certificates of authorities among the first MAX_CANDIDATES, and skip what cannot be read."""
    candidates: list[Certificate] = []
    for raw in unverified[:MAX_CANDIDATES]:
        with suppress(CertificateError):
            candidate = Certificate.from_der(raw)
            if candidate.is_ca and not candidate.is_self_issued:
                candidates.append(candidate)
    return tuple(candidates)


def admissible(
    candidates: Sequence[Certificate], *, decisions: OperatorDecisions, known: Iterable[Certificate]
) -> tuple[Certificate, ...]:
    """Return the candidates whose CA is neither rejected nor denied in any of its certificates.

    `known` and the candidates say which CAs a denied serial number belongs to.
    Not checked: whether a manifest retired the CA. `admit` applies that by time.
    """
    barred = decisions.rejected | decisions.denied_among((*known, *candidates))
    return tuple(one for one in candidates if AuthorityIdentity.of(one) not in barred)


def confirm_authorities(
    claims: UnverifiedClaims,
    candidates: Sequence[Certificate],
    *,
    now: datetime,
    bundle: TrustBundle,
    decisions: OperatorDecisions,
) -> tuple[Certificate, ...]:
    """Return the admissible candidates on the signer's path to an anchor of its cloud, its issuer first.

    Both path validators have accepted the whole path at `now`, as for any other chain. If they refuse it, the result
    is empty. The result does not change what is trusted.
    """
    cloud = claims.cloud
    known = [entry.certificate for entry in bundle.entries]
    reachable = _above(claims.signer, admissible(candidates, decisions=decisions, known=known))
    entries: list[TrustedCertificate] = []
    for one in reachable:
        with suppress(TrustError):
            entries.append(admit(one, cloud, bundle=bundle))
    if not entries:
        return ()
    try:
        content = build_chain(claims, now=now, bundle=extend(bundle, entries))
    except (ChainRefused, TrustError):
        return ()
    # Compare with the trust of this cloud: an authority that is listed only for another cloud counts as new here.
    trust = bundle.clouds[cloud]
    trusted = {entry.certificate.sha256 for entry in (*trust.anchors, *trust.pins)}
    by_fingerprint = {one.sha256: one for one in reachable if one.sha256 not in trusted}
    return tuple(by_fingerprint[link.sha256] for link in content.chain if link.sha256 in by_fingerprint)


def admit(certificate: Certificate, cloud: Cloud, *, bundle: TrustBundle) -> TrustedCertificate:
    """Return the entry that admits the certificate to the cloud, within the times that the bundle plans for its CA.

    If the manifest retires or stages a CA, this applies to every certificate of that CA. Raises TrustError if the
    certificate is not one of an authority, or if the planned times leave no time for it.
    """
    activate_at, retire_at = bundle.planned_times(AuthorityIdentity.of(certificate))
    return TrustedCertificate(
        certificate=certificate,
        role=Role.INTERMEDIATE,
        clouds=frozenset({cloud}),
        source="discovered",
        origin=Origin.ADMITTED,
        activate_at=activate_at,
        retire_at=retire_at,
    )


def extend(bundle: TrustBundle, entries: Sequence[TrustedCertificate]) -> TrustBundle:
    """Return the bundle with these entries added.

    A certificate that the bundle already has keeps its entry, which then also serves the new clouds. An admitted
    certificate serves them only if its planned times equal those of the entry. The reason is that an operator's pin of
    a retired CA holds only for the clouds that it names.
    """
    known = {entry.certificate.sha256: entry for entry in bundle.entries}
    for entry in entries:
        present = known.get(entry.certificate.sha256, entry)
        has_same_times = (present.activate_at, present.retire_at) == (entry.activate_at, entry.retire_at)
        if has_same_times or entry.origin is not Origin.ADMITTED:
            known[entry.certificate.sha256] = replace(present, clouds=present.clouds | entry.clouds)
    return TrustBundle.of(tuple(known.values()), denials=bundle.denials)


def _above(signer: Certificate, candidates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return the candidates that issued the signer or one another, by name and signature.

    All certificates of one authority (direct, cross-signed) are included.
    """
    found: list[Certificate] = []
    below = [signer]
    while below:
        issued = below.pop()
        for candidate in candidates:
            if candidate not in found and issued.is_issued_by(candidate):
                found.append(candidate)
                below.append(candidate)
    return tuple(found)
