"""An issuer that nobody pinned: what is known of it, and whether it would chain."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from verifier.core.chain import build_chain
from verifier.core.model import UnverifiedClaims
from verifier.core.reasons import ChainRefused
from verifier.core.trust.bundle import AuthorityIdentity, Origin, Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions

#: Of the certificates that a sender embeds, this many are looked at as its issuers.
MAX_CANDIDATES = 4


class DiscoveryMode(StrEnum):
    """What an issuer that nobody pinned means."""

    #: Its documents are refused; nothing is fetched.
    PINNED = "pinned"
    #: Its documents are refused; its certificate is fetched, so that approving it is one command.
    OBSERVE = "observe"
    #: Its documents are accepted where it chains to an anchor of the cloud.
    ADMIT = "admit"

    @property
    def fetches(self) -> bool:
        return self is not DiscoveryMode.PINNED


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerObservation:
    """One document under an issuer that nobody pinned. All of it is what a stranger says."""

    cloud: Cloud
    issuer: str
    authority_key_identifier: str
    issuer_urls: tuple[str, ...]
    signer_sha256: str
    seen_at: datetime

    @property
    def id(self) -> str:
        """The same for all documents of one issuer: one name with two keys is two issuers."""
        told = f"{self.cloud}|{self.authority_key_identifier}|{self.issuer}"
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredIssuer:
    """What was seen of one such issuer. `authorities` are certificates that were checked: the issuer's own first,
    then each one above it that nobody pinned either, up to what an anchor of the cloud issued."""

    sighting: IssuerObservation
    first_seen: datetime
    last_seen: datetime
    documents: int
    authorities: tuple[bytes, ...] = field(default=(), repr=False)


def observe_issuer(claims: UnverifiedClaims, *, now: datetime) -> IssuerObservation:
    """The sighting that this document is, whose signer's issuer nobody pinned."""
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
    """The first MAX_CANDIDATES of these that are certificates of authorities; what cannot be read is passed over."""
    candidates: list[Certificate] = []
    for raw in unverified[:MAX_CANDIDATES]:
        try:
            candidate = Certificate.from_der(raw)
        except CertificateError:
            continue
        if candidate.is_ca and not candidate.is_self_issued:
            candidates.append(candidate)
    return tuple(candidates)


def admissible(
    candidates: Sequence[Certificate], *, decisions: OperatorDecisions, known: Iterable[Certificate]
) -> tuple[Certificate, ...]:
    """Return the candidates whose CA is neither rejected nor denied in any of its certificates.

    A denied serial number is looked up among the candidates and the `known` certificates too. Not checked here: that
    a manifest retired the CA, which `admit` applies by the clock.
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
    """Those of the admissible candidates over which the signer chains to an anchor of its cloud, its issuer first.

    Both judges have accepted the whole path at `now`, as for any other chain, where the result is not empty;
    it is empty where they have not. Nobody trusts any of them by that.
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
    # By what this cloud lacked, not by origin: an authority that is listed for another cloud is found here too.
    trust = bundle.clouds[cloud]
    trusted = {entry.certificate.sha256 for entry in (*trust.anchors, *trust.pins)}
    by_fingerprint = {one.sha256: one for one in reachable if one.sha256 not in trusted}
    return tuple(by_fingerprint[link.sha256] for link in content.chain if link.sha256 in by_fingerprint)


def admit(certificate: Certificate, cloud: Cloud, *, bundle: TrustBundle) -> TrustedCertificate:
    """Return the entry that admits the certificate to the cloud, within the times that the bundle plans for its CA.

    So a CA that the manifest retires or stages is retired or staged in each of its certificates. Raises TrustError if
    it is no authority, or if the plans for its certificates leave no time for another one.
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
    """Return the bundle with these entries too.

    A certificate that it has already keeps its entry, which serves the new clouds as well. An admitted one serves them
    only if its planned times are those of the entry: an operator's pin of a retired CA is for the clouds it names.
    """
    known = {entry.certificate.sha256: entry for entry in bundle.entries}
    for entry in entries:
        there = known.get(entry.certificate.sha256, entry)
        planned_alike = (there.activate_at, there.retire_at) == (entry.activate_at, entry.retire_at)
        if planned_alike or entry.origin is not Origin.ADMITTED:
            known[entry.certificate.sha256] = replace(there, clouds=there.clouds | entry.clouds)
    return TrustBundle.of(tuple(known.values()), denials=bundle.denials)


def _above(signer: Certificate, candidates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The candidates that issued the signer, or one another above it, by name and signature: several forms of one
    authority (direct, cross-signed) are all there."""
    found: list[Certificate] = []
    below = [signer]
    while below:
        issued = below.pop()
        for candidate in candidates:
            if candidate not in found and issued.is_issued_by(candidate):
                found.append(candidate)
                below.append(candidate)
    return tuple(found)
