"""Combine the trust bundle, the operators' decisions and the discovered issuers into one survey."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from verifier.core.issuer_review import SurveyedIssuer, survey_issuer
from verifier.core.trust.bundle import AuthorityIdentity, CloudTrust, Denials, State, TrustedCertificate
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.horizon import horizon, is_chainable
from verifier.core.trust.operator_decisions import PinDecision
from verifier.core.values import dataclass
from verifier.ports.trust import NonconformingRecord, TrustAuditEvent
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_feed import FeedStatus, TrustFeed

#: The number of audit events in a survey.
AUDIT_EVENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedEntry:
    """Describe one certificate in one cloud. If it is `chainable`, chains can contain it at the time of the survey."""

    entry: TrustedCertificate
    state: State
    chainable: bool
    denied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedCloud:
    """Describe the trust for one cloud. `horizon` is None if no chain can be built at the time of the survey.

    The service accepts live documents only from clouds that are `served` and not `closed`.
    """

    cloud: Cloud
    served: bool
    closed: bool
    horizon: datetime | None
    anchors: tuple[SurveyedEntry, ...]
    pins: tuple[SurveyedEntry, ...]

    @property
    def is_counted(self) -> bool:
        """Return True if the service needs this cloud's horizon."""
        return self.served and not self.closed

    def ends_within(self, warning: timedelta, *, at: datetime) -> bool:
        """Return True if there is no chain now, or chains end within `warning`."""
        return self.horizon is None or self.horizon - at <= warning


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedDenial:
    """Describe one denied key or serial number, and the known CA certificates that it names.

    The list is empty if the denial names a signer's certificate.
    """

    denials: Denials
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedRejection:
    """Describe one rejected CA and its known certificates."""

    authority: AuthorityIdentity
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSurvey:
    at: datetime
    generation: str
    entries: tuple[TrustedCertificate, ...]
    clouds: tuple[SurveyedCloud, ...]
    discovered: tuple[SurveyedIssuer, ...]
    operator_pins: tuple[PinDecision, ...]
    rejected: tuple[SurveyedRejection, ...]
    denied: tuple[SurveyedDenial, ...]
    nonconforming: tuple[NonconformingRecord, ...]
    #: Formal oddities of trusted certificates. They do not refuse a document.
    oddities: tuple[str, ...]
    audit: tuple[TrustAuditEvent, ...]
    feed: FeedStatus

    def ending_within(self, warning: timedelta) -> tuple[TrustedCertificate, ...]:
        """Return the usable certificates that end within `warning`, the earliest first."""
        ending = [
            entry
            for entry in self.entries
            if entry.state_at(self.at).is_usable and entry.usable_until - self.at <= warning
        ]
        return tuple(sorted(ending, key=lambda entry: entry.usable_until))


def survey_trust(administration: TrustAdministration, feed: TrustFeed, *, at: datetime) -> TrustSurvey:
    """Survey the trust. States that depend on time are those of `at`; operators' decisions are the current ones.

    Raises StoreUnavailable.
    """
    bundle = administration.bundle()
    decisions = administration.decisions()
    known = administration.known_authorities()
    return TrustSurvey(
        at=at,
        generation=bundle.generation,
        entries=bundle.entries,
        clouds=tuple(
            _survey_cloud(cloud, trust, at, served=cloud in administration.served)
            for cloud, trust in bundle.clouds.items()
        ),
        discovered=tuple(survey_issuer(issuer, bundle, decisions, at=at) for issuer in administration.discovered()),
        operator_pins=tuple(decisions.pins.values()),
        rejected=tuple(
            SurveyedRejection(
                authority=authority,
                certificates=tuple(one for one in known if AuthorityIdentity.of(one) == authority),
            )
            for authority in sorted(
                decisions.rejected, key=lambda authority: (authority.subject, authority.spki_sha256)
            )
        ),
        denied=_survey_denials(decisions.denials, known),
        nonconforming=administration.nonconforming(),
        oddities=bundle.oddities(),
        audit=administration.audit_log(most=AUDIT_EVENTS),
        feed=feed.status(),
    )


def _survey_cloud(cloud: Cloud, trust: CloudTrust, at: datetime, *, served: bool) -> SurveyedCloud:
    def survey_entry(entry: TrustedCertificate) -> SurveyedEntry:
        return SurveyedEntry(
            entry=entry,
            state=entry.state_at(at),
            chainable=is_chainable(entry, trust, at=at),
            denied=trust.denials.names(entry.certificate),
        )

    return SurveyedCloud(
        cloud=cloud,
        served=served,
        closed=trust.is_closed(at),
        horizon=horizon(trust, now=at),
        anchors=tuple(survey_entry(anchor) for anchor in trust.anchors),
        pins=tuple(survey_entry(pin) for pin in trust.pins),
    )


def _survey_denials(denials: Denials, known: Sequence[Certificate]) -> tuple[SurveyedDenial, ...]:
    single = [
        *(Denials(spki_sha256=frozenset({spki})) for spki in sorted(denials.spki_sha256)),
        *(Denials(serial_numbers=frozenset({serial})) for serial in sorted(denials.serial_numbers)),
    ]
    return tuple(
        SurveyedDenial(denials=one, certificates=tuple(certificate for certificate in known if one.names(certificate)))
        for one in single
    )
