"""What is decided about an issuer that was discovered: by manifests, by operators, or by nobody yet."""

from dataclasses import dataclass
from enum import StrEnum

from verifier.core.certificates import Certificate
from verifier.core.decisions import Decisions
from verifier.core.discovery import DiscoveredIssuer
from verifier.core.trust import CloudTrust, Origin, TrustBundle


class Standing(StrEnum):
    """What is decided about a discovered issuer, or about one of its authorities."""

    #: No certificate of it is known that chains to an anchor: there is nothing to approve yet.
    UNRESOLVED = "unresolved"
    #: It is known and checked, and waits for an operator.
    APPROVABLE = "approvable"
    #: It is accepted because it chains to an anchor, and nobody decided.
    ADMITTED = "admitted"
    #: A manifest or an operator pins it for the cloud.
    PINNED = "pinned"
    REJECTED = "rejected"
    #: Its key or serial number is on the deny list, whatever else is decided.
    DENIED = "denied"

    @property
    def is_open(self) -> bool:
        """Whether an operator has something to decide."""
        return self in {Standing.UNRESOLVED, Standing.APPROVABLE, Standing.ADMITTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedAuthority:
    certificate: Certificate
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedIssuer:
    """A discovered issuer, with its checked authorities, its own first. What `issuer` says is what strangers say."""

    issuer: DiscoveredIssuer
    standing: Standing
    authorities: tuple[SurveyedAuthority, ...]


def survey_issuer(issuer: DiscoveredIssuer, bundle: TrustBundle, decisions: Decisions) -> SurveyedIssuer:
    """The issuer with its standing, which is its own authority's where one is known."""
    cloud = issuer.sighting.cloud
    trust = bundle.clouds.get(cloud)
    authorities = tuple(
        SurveyedAuthority(certificate=certificate, standing=_standing_of(certificate, trust, decisions))
        for certificate in (Certificate.from_der(der) for der in issuer.authorities)
    )
    return SurveyedIssuer(
        issuer=issuer,
        standing=authorities[0].standing if authorities else _standing_by_name(issuer, trust),
        authorities=authorities,
    )


def _standing_of(certificate: Certificate, trust: CloudTrust | None, decisions: Decisions) -> Standing:
    if decisions.denials.names(certificate):
        return Standing.DENIED
    try:
        pinned = None if trust is None else trust.entry(certificate.sha256)
    except KeyError:
        pinned = None
    if pinned is not None and pinned.origin is not Origin.ADMITTED:
        return Standing.PINNED
    if certificate.sha256 in decisions.rejected:
        return Standing.REJECTED
    return Standing.APPROVABLE if pinned is None else Standing.ADMITTED


def _standing_by_name(issuer: DiscoveredIssuer, trust: CloudTrust | None) -> Standing:
    """PINNED where somebody has since pinned an authority of this name and key identifier: shown, and nothing else."""
    for entry in () if trust is None else (*trust.anchors, *trust.pins):
        identifier = (entry.certificate.subject_key_identifier or b"").hex()
        if (entry.certificate.subject, identifier) == (
            issuer.sighting.issuer,
            issuer.sighting.authority_key_identifier,
        ):
            return Standing.PINNED
    return Standing.UNRESOLVED
