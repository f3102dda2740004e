"""What is decided about an issuer that was discovered: by manifests, by operators, or by nobody yet."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from verifier.core.discovery import DiscoveredIssuer
from verifier.core.trust.bundle import AuthorityIdentity, CloudTrust, Origin, State, TrustBundle
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions, certificates_of


class ReviewStatus(StrEnum):
    """What is decided about a discovered issuer, or about one of its authorities."""

    #: No certificate of it is known that chains to an anchor: there is nothing to approve yet.
    UNRESOLVED = "unresolved"
    #: It is known and checked, and waits for an operator.
    APPROVABLE = "approvable"
    #: It is accepted because it chains to an anchor, and nobody decided.
    ADMITTED = "admitted"
    #: A manifest or an operator pins it for the cloud.
    PINNED = "pinned"
    #: An operator rejected its CA, in this certificate or in another one.
    REJECTED = "rejected"
    #: Its key or serial number is on the deny list, or that of another certificate of its CA, and it is not pinned.
    DENIED = "denied"
    #: The manifest retired its CA, and it is not pinned itself.
    RETIRED = "retired"

    @property
    def is_open(self) -> bool:
        """Whether an operator has something to decide."""
        return self in {ReviewStatus.UNRESOLVED, ReviewStatus.APPROVABLE, ReviewStatus.ADMITTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedAuthority:
    certificate: Certificate
    standing: ReviewStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedIssuer:
    """A discovered issuer, with its checked authorities, its own first. What `issuer` says is what strangers say."""

    issuer: DiscoveredIssuer
    standing: ReviewStatus
    authorities: tuple[SurveyedAuthority, ...]


def survey_issuer(
    issuer: DiscoveredIssuer, bundle: TrustBundle, decisions: OperatorDecisions, *, at: datetime
) -> SurveyedIssuer:
    """Return the issuer with its standing at that moment, which is its own authority's if one is known."""
    cloud = issuer.sighting.cloud
    trust = bundle.clouds.get(cloud)
    certificates = certificates_of(issuer.authorities)
    denied = decisions.denied_among((*(entry.certificate for entry in bundle.entries), *certificates))
    authorities = tuple(
        SurveyedAuthority(
            certificate=certificate, standing=_standing_of(certificate, cloud, bundle, decisions, denied, at)
        )
        for certificate in certificates
    )
    standing = authorities[0].standing if authorities else _standing_by_name(issuer, trust, at)
    if authorities and standing in _IN_ITS_TIME and authorities[0].certificate.not_after < issuer.last_seen:
        # The known certificate had expired when the last document came: a renewed one signs now.
        standing = ReviewStatus.UNRESOLVED
    return SurveyedIssuer(issuer=issuer, standing=standing, authorities=authorities)


#: What an authority stands for until its certificate expires.
_IN_ITS_TIME = frozenset({ReviewStatus.APPROVABLE, ReviewStatus.ADMITTED, ReviewStatus.PINNED})


def _standing_of(
    certificate: Certificate,
    cloud: Cloud,
    bundle: TrustBundle,
    decisions: OperatorDecisions,
    denied: frozenset[AuthorityIdentity],
    at: datetime,
) -> ReviewStatus:
    trust = bundle.clouds.get(cloud)
    try:
        entry = None if trust is None else trust.entry(certificate.sha256)
    except KeyError:
        entry = None
    authority = AuthorityIdentity.of(certificate)
    _, retire_at = bundle.planned_times(authority)
    is_pinned = entry is not None and entry.origin is not Origin.ADMITTED
    for standing, applies in (
        (ReviewStatus.DENIED, decisions.denials.names(certificate)),
        (ReviewStatus.PINNED, is_pinned),
        (ReviewStatus.REJECTED, authority in decisions.rejected),
        (ReviewStatus.DENIED, authority in denied),
        (ReviewStatus.RETIRED, retire_at is not None and at >= retire_at),
        (ReviewStatus.ADMITTED, entry is not None),
    ):
        if applies:
            return standing
    return ReviewStatus.APPROVABLE


def _standing_by_name(issuer: DiscoveredIssuer, trust: CloudTrust | None, at: datetime) -> ReviewStatus:
    """Return PINNED if an authority of this name and key identifier is pinned and has not expired: for show alone."""
    for entry in () if trust is None else (*trust.anchors, *trust.pins):
        identifier = (entry.certificate.subject_key_identifier or b"").hex()
        named = (entry.certificate.subject, identifier)
        if (
            named == (issuer.sighting.issuer, issuer.sighting.authority_key_identifier)
            and entry.state_at(at) is not State.EXPIRED
        ):
            return ReviewStatus.PINNED
    return ReviewStatus.UNRESOLVED
