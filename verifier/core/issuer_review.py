"""Find out what manifests and operators have decided about a discovered issuer."""

from datetime import datetime
from enum import StrEnum

from verifier.core.discovery import DiscoveredIssuer
from verifier.core.trust.bundle import AuthorityIdentity, CloudTrust, Origin, State, TrustBundle
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.operator_decisions import OperatorDecisions, certificates_of
from verifier.core.values import dataclass


class ReviewStatus(StrEnum):
    """Say what is decided about a discovered issuer, or about one of its authorities."""

    #: No known certificate of it chains to an anchor, so there is no certificate to approve yet.
    UNRESOLVED = "unresolved"
    #: Its certificate is known and checked, and an operator can approve it.
    APPROVABLE = "approvable"
    #: The service accepts it because it chains to an anchor. No operator has decided yet.
    ADMITTED = "admitted"
    #: A manifest or an operator pins it for the cloud.
    PINNED = "pinned"
    #: An operator rejected its CA. The operator may have seen another certificate of that CA.
    REJECTED = "rejected"
    #: The deny list names its key or serial number. Or it names another certificate of its CA, and this one is not
    #: pinned.
    DENIED = "denied"
    #: The manifest retired its CA, and this certificate is not pinned.
    RETIRED = "retired"

    @property
    def is_open(self) -> bool:
        """Return whether the issuer needs a decision by an operator."""
        return self in {ReviewStatus.UNRESOLVED, ReviewStatus.APPROVABLE, ReviewStatus.ADMITTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedAuthority:
    """Pair a checked certificate of a discovered authority with its status."""

    certificate: Certificate
    review_status: ReviewStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedIssuer:
    """Pair a discovered issuer with its status and its checked authorities, of which its own comes first.

    Not checked: what `issuer` says, because it comes from untrusted senders.
    """

    issuer: DiscoveredIssuer
    review_status: ReviewStatus
    authorities: tuple[SurveyedAuthority, ...]


def survey_issuer(
    issuer: DiscoveredIssuer, bundle: TrustBundle, decisions: OperatorDecisions, *, at: datetime
) -> SurveyedIssuer:
    """Return the issuer with its status at that moment.

    If the certificate of the issuer is known, its status is that of the certificate. Otherwise the name decides.
    """
    cloud = issuer.observation.cloud
    trust = bundle.clouds.get(cloud)
    certificates = certificates_of(issuer.authorities)
    denied = decisions.denied_among((*(entry.certificate for entry in bundle.entries), *certificates))
    authorities = tuple(
        SurveyedAuthority(
            certificate=certificate, review_status=_status_of(certificate, cloud, bundle, decisions, denied, at)
        )
        for certificate in certificates
    )
    status = authorities[0].review_status if authorities else _status_by_name(issuer, trust, at)
    if authorities and status in _UNTIL_EXPIRY and authorities[0].certificate.not_after < issuer.last_seen:
        # The known certificate had expired when the last document arrived, so a renewed one signs now.
        status = ReviewStatus.UNRESOLVED
    return SurveyedIssuer(issuer=issuer, review_status=status, authorities=authorities)


#: An authority has these only until its certificate expires.
_UNTIL_EXPIRY = frozenset({ReviewStatus.APPROVABLE, ReviewStatus.ADMITTED, ReviewStatus.PINNED})


def _status_of(
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
    for status, applies in (
        (ReviewStatus.DENIED, decisions.denials.names(certificate)),
        (ReviewStatus.PINNED, is_pinned),
        (ReviewStatus.REJECTED, authority in decisions.rejected),
        (ReviewStatus.DENIED, authority in denied),
        (ReviewStatus.RETIRED, retire_at is not None and at >= retire_at),
        (ReviewStatus.ADMITTED, entry is not None),
    ):
        if applies:
            return status
    return ReviewStatus.APPROVABLE


def _status_by_name(issuer: DiscoveredIssuer, trust: CloudTrust | None, at: datetime) -> ReviewStatus:
    """Return PINNED if an unexpired pin has the issuer's name and key identifier. Use it only for display."""
    for entry in () if trust is None else (*trust.anchors, *trust.pins):
        identifier = (entry.certificate.subject_key_identifier or b"").hex()
        named = (entry.certificate.subject, identifier)
        if (
            named == (issuer.observation.issuer, issuer.observation.authority_key_identifier)
            and entry.state_at(at) is not State.EXPIRED
        ):
            return ReviewStatus.PINNED
    return ReviewStatus.UNRESOLVED
