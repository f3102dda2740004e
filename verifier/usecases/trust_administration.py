"""The use cases of trust on a running service: what operators decide about it, on all replicas at once."""

from collections.abc import Mapping

from verifier.core.discovery import DiscoveredIssuer
from verifier.core.trust.bundle import AuthorityIdentity, Denials, TrustBundle
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.operator_decisions import (
    Allow,
    Change,
    Deny,
    OperatorDecisions,
    Pin,
    PinDecision,
    Reject,
    Unpin,
    certificates_of,
    decide,
)
from verifier.ports.clock import Clock
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Recorder, TrustChanged
from verifier.ports.trust import LiveTrustSource, NonconformingRecord, TrustAuditEvent, TrustRegistry

# Another operator's decision in between is the only reason to decide again.
_ATTEMPTS = 8


class UnknownAuthorityError(ValueError):
    """No discovered or pinned authority has this fingerprint."""


class UnfitAuthorityError(ValueError):
    """The certificate cannot be pinned; the message says why."""


class TrustAdministration:
    """Decide about trust. Each decision is an audit event, and in force on this replica when the call returns; on the
    others as soon as they look at the registry again. `by` names who decides."""

    def __init__(
        self,
        *,
        trust: LiveTrustSource,
        registry: TrustRegistry,
        recorder: Recorder,
        clock: Clock,
        served: frozenset[Cloud] = SERVED_BY_DEFAULT,
    ) -> None:
        #: The clouds that the service serves live.
        self.served = served
        self._trust = trust
        self._registry = registry
        self._recorder = recorder
        self._clock = clock

    def bundle(self) -> TrustBundle:
        return self._trust.bundle()

    def decisions(self) -> OperatorDecisions:
        return self._registry.decisions()[0]

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        return self._registry.discovered()

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        return self._registry.nonconforming()

    def known_authorities(self) -> tuple[Certificate, ...]:
        """Return every CA certificate that is trusted, pinned or discovered, each once. Raises StoreUnavailable."""
        trusted = [entry.certificate.der for entry in self.bundle().entries]
        pinned = [pin.der for pin in self.decisions().pins.values()]
        found = [der for issuer in self.discovered() for der in issuer.authorities]
        return certificates_of((*trusted, *pinned, *found))

    def audit_trail(self, *, most: int = 100) -> tuple[TrustAuditEvent, ...]:
        return self._registry.audit_trail(most=most)

    def approve(self, sha256: str, *, by: str) -> None:
        """Pin the discovered authority for each cloud that it was seen in, with those above it that it needs.

        A rejection of its CA is taken back. Raises UnknownAuthorityError, UnfitAuthorityError if a CA above it is
        rejected, and StoreUnavailable.
        """
        approved: dict[bytes, frozenset[Cloud]] = {}
        for issuer in self._registry.discovered():
            for position, authority in enumerate(issuer.authorities):
                if Certificate.from_der(authority).sha256 == sha256:
                    for needed in issuer.authorities[position:]:
                        approved[needed] = approved.get(needed, frozenset()) | {issuer.sighting.cloud}
        if not approved:
            raise UnknownAuthorityError(f"no discovered authority has the SHA-256 {sha256}")
        rejected = self.decisions().rejected
        for above in certificates_of(approved):
            if above.sha256 != sha256 and AuthorityIdentity.of(above) in rejected:
                raise UnfitAuthorityError(f"it needs {above.subject}, which is rejected: approve {above.sha256} first")
        self._pin(approved, sha256, "approve", by=by)

    def reject(self, sha256: str, *, by: str) -> None:
        """Reject the CA of the known certificate: no certificate of it is ever admitted. Its pins stay.

        Raises UnknownAuthorityError and StoreUnavailable.
        """
        for certificate in self.known_authorities():
            if certificate.sha256 == sha256:
                self._decide(Reject(authority=AuthorityIdentity.of(certificate)), "reject", sha256, by=by)
                return
        raise UnknownAuthorityError(f"no trusted or discovered authority has the SHA-256 {sha256}")

    def pin(self, certificate: Certificate, clouds: frozenset[Cloud], *, by: str, note: str = "") -> None:
        """The certificate is pinned for these clouds, in each of which a trusted authority issued it.

        Not checked: that the chain above it is usable now. Raises UnfitAuthorityError and StoreUnavailable.
        """
        if not certificate.is_ca or certificate.is_self_issued:
            raise UnfitAuthorityError(
                "an intermediate authority can be pinned on a running service; a root only in a manifest"
            )
        bundle = self._trust.bundle()
        for cloud in sorted(clouds):
            trust = bundle.clouds.get(cloud)
            authorities = () if trust is None else (*trust.anchors, *trust.pins)
            if not any(certificate.is_issued_by(authority.certificate) for authority in authorities):
                raise UnfitAuthorityError(f"no trusted authority of {cloud} issued it: pin its issuer first")
        self._pin({certificate.der: clouds}, certificate.sha256, "pin", by=by, note=note)

    def unpin(self, sha256: str, *, by: str) -> None:
        """No operator pins the authority any more. Raises UnknownAuthorityError and StoreUnavailable."""
        if sha256 not in self.decisions().pins:
            raise UnknownAuthorityError(f"no operator pinned an authority with the SHA-256 {sha256}")
        self._decide(Unpin(sha256=sha256), "unpin", sha256, by=by)

    def deny(self, denials: Denials, *, by: str) -> None:
        """Build no chain with these from now on. Raises StoreUnavailable.

        The CAs that are known under a denied serial number are put on record: `admit` admits none of their
        certificates, also after the denied one is forgotten.
        """
        known = self.known_authorities()
        authorities = {
            serial: frozenset(AuthorityIdentity.of(one) for one in known if one.serial_number == serial)
            for serial in denials.serial_numbers
        }
        self._decide(Deny(denials=denials, denied_authorities=authorities), "deny", _named(denials), by=by)

    def allow(self, denials: Denials, *, by: str) -> None:
        """These are denied no longer. Raises StoreUnavailable."""
        self._decide(Allow(denials=denials), "allow", _named(denials), by=by)

    def _pin(
        self, authorities: Mapping[bytes, frozenset[Cloud]], subject: str, what: str, *, by: str, note: str = ""
    ) -> None:
        now = self._clock.now()
        pins = {
            Certificate.from_der(der).sha256: PinDecision(
                der=der, clouds=clouds, decided_by=by, decided_at=now, note=note
            )
            for der, clouds in authorities.items()
        }
        self._decide(Pin(pins=pins), what, subject, by=by)

    def _decide(self, change: Change, what: str, subject: str, *, by: str) -> None:
        for _ in range(_ATTEMPTS):
            before, revision = self._registry.decisions()
            after = decide(before, change)
            event = TrustAuditEvent(
                at=self._clock.now(),
                by=by,
                what=what,
                subject=subject,
                before=_standing(before, change),
                after=_standing(after, change),
            )
            if self._registry.decide(after, event, expected=revision):
                self._recorder.record(TrustChanged(change=event))
                self._trust.refresh()
                return
        raise StoreUnavailable("Other decisions about trust came in between each time.")


def read_authority(raw: bytes) -> Certificate:
    """The one certificate in `raw`, PEM or DER. Raises UnfitAuthorityError."""
    try:
        return Certificate.from_pem(raw) if raw.lstrip().startswith(b"-----BEGIN") else Certificate.from_der(raw)
    except CertificateError as error:
        raise UnfitAuthorityError(f"not one certificate: {error}") from error


def read_denial(text: str) -> Denials:
    """What `text` denies: a SHA-256 of a subjectPublicKeyInfo (64 hex digits), else a serial number in hex.

    What is neither by its length is refused: a mistyped key must not pass as the serial number of nothing. Raises
    ValueError.
    """
    told = text.lower().removeprefix("0x").replace(":", "")
    if told and all(digit in "0123456789abcdef" for digit in told):
        if len(told) == _SPKI_DIGITS:
            return Denials(spki_sha256=frozenset({told}))
        # RFC 5280 4.1.2.2: positive, and at most 20 bytes; openssl may write a zero byte in front.
        serial = told.lstrip("0")
        if len(serial) > 0 and len(told) <= _SERIAL_DIGITS:
            return Denials(serial_numbers=frozenset({int(serial, 16)}))
    raise ValueError(
        "expected the SHA-256 of a public key (64 hex digits) or a serial number (at most 40 hex digits, not zero)"
    )


_SPKI_DIGITS = 64
_SERIAL_DIGITS = 42


def _named(denials: Denials) -> str:
    return " ".join(
        [f"spki:{spki}" for spki in sorted(denials.spki_sha256)]
        + [f"serial:{serial:x}" for serial in sorted(denials.serial_numbers)]
    )


def _standing(decisions: OperatorDecisions, change: Change) -> str:
    """What the decisions say of that which the change is about."""
    match change:
        case Pin(pins=pins):
            return "; ".join(_standing_of(decisions, sha256, pin) for sha256, pin in pins.items())
        case Unpin(sha256=sha256):
            return _standing_of(decisions, sha256, None)
        case Reject(authority=authority):
            return f"{_shown(authority)} {'rejected' if authority in decisions.rejected else 'undecided'}"
        case Deny(denials=denials) | Allow(denials=denials):
            both = Denials(
                serial_numbers=decisions.denials.serial_numbers & denials.serial_numbers,
                spki_sha256=decisions.denials.spki_sha256 & denials.spki_sha256,
            )
            authorities = {
                _shown(one)
                for serial in both.serial_numbers
                for one in decisions.denied_authorities.get(serial, frozenset())
            }
            told = f"denied {_named(both)}" if _named(both) else "not denied"
            return f"{told} of {'; '.join(sorted(authorities))}" if authorities else told


def _standing_of(decisions: OperatorDecisions, sha256: str, new_pin: PinDecision | None) -> str:
    pin = decisions.pins.get(sha256)
    if pin is not None:
        return f"{sha256} pinned for {', '.join(sorted(pin.clouds))} by {pin.decided_by}"
    identities = {AuthorityIdentity.of(one) for one in certificates_of([new_pin.der] if new_pin else [])}
    return f"{sha256} rejected" if identities & decisions.rejected else f"{sha256} undecided"


def _shown(authority: AuthorityIdentity) -> str:
    return f"{authority.subject} with the key {authority.spki_sha256}"
