"""Change trust on a running service, for all replicas."""

from collections.abc import Callable, Mapping

from verifier.core.discovery import DiscoveredIssuer
from verifier.core.trust.bundle import AuthorityIdentity, Denials, TrustBundle
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import SERVED_BY_DEFAULT, Cloud
from verifier.core.trust.operator_decisions import (
    Allow,
    Change,
    Deny,
    Follow,
    FollowedBundle,
    OperatorDecisions,
    Pin,
    PinDecision,
    Reject,
    RejectBundle,
    RejectedBundle,
    Unpin,
    certificates_of,
    decide,
)
from verifier.core.trust.published import PublishedBundle
from verifier.core.values import dataclass
from verifier.ports.clock import Clock
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import Recorder, TrustChanged
from verifier.ports.trust import LiveTrustSource, NonconformingRecord, TrustAuditEvent, TrustRegistry

# Retries after another operator changed the decisions at the same time.
_ATTEMPTS = 8


class UnknownAuthorityError(ValueError):
    """Report that no known authority has this fingerprint."""


class UnfitAuthorityError(ValueError):
    """Report why a certificate cannot be pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAdministration:
    """Make and show the operators' decisions about trust. `by` names the operator.

    Each decision is an audit event. It is in force on this replica when the call returns, and on the other replicas
    after their next refresh. The service accepts live documents from the clouds in `served`.
    """

    trust: LiveTrustSource
    registry: TrustRegistry
    recorder: Recorder
    clock: Clock
    served: frozenset[Cloud] = SERVED_BY_DEFAULT

    def bundle(self) -> TrustBundle:
        return self.trust.bundle()

    def decisions(self) -> OperatorDecisions:
        return self.registry.decisions()[0]

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        return self.registry.discovered()

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        return self.registry.nonconforming()

    def known_authorities(self) -> tuple[Certificate, ...]:
        """Return every CA certificate that is trusted, pinned or discovered, each once. Raises StoreUnavailable."""
        trusted = [entry.certificate.der for entry in self.bundle().entries]
        pinned = [pin.der for pin in self.decisions().pins.values()]
        found = [der for issuer in self.discovered() for der in issuer.authorities]
        return certificates_of((*trusted, *pinned, *found))

    def read_denial(self, text: str) -> Denials:
        """Read the SHA-256 of a subjectPublicKeyInfo (64 hex digits) or a serial number (in hex).

        Raises ValueError for any other length, because a mistyped key must not pass as an unused serial number, and for
        the SHA-256 of a known certificate, because denials name public keys. Raises StoreUnavailable.
        """
        denials = _parse_denial(text)
        for certificate in self.known_authorities():
            if certificate.sha256 in denials.spki_sha256:
                raise ValueError(
                    "This is the SHA-256 of a certificate. Deny its public key "
                    f"({certificate.spki_sha256}) or its serial number ({certificate.serial_hex})"
                )
        return denials

    def audit_log(self, *, most: int = 100) -> tuple[TrustAuditEvent, ...]:
        return self.registry.audit_log(most=most)

    def approve(self, sha256: str, *, by: str) -> None:
        """Pin the discovered authority, and the authorities above it, for each cloud that it was seen in.

        The approval revokes an earlier rejection of its CA. Raises UnknownAuthorityError, StoreUnavailable, and
        UnfitAuthorityError if a CA above it is rejected.
        """
        approved: dict[bytes, frozenset[Cloud]] = {}
        for issuer in self.registry.discovered():
            for position, authority in enumerate(issuer.authorities):
                if Certificate.from_der(authority).sha256 == sha256:
                    for needed in issuer.authorities[position:]:
                        approved[needed] = approved.get(needed, frozenset()) | {issuer.observation.cloud}
        if not approved:
            raise UnknownAuthorityError(f"no discovered authority has the SHA-256 {sha256}")
        rejected = self.decisions().rejected
        for above in certificates_of(approved):
            if above.sha256 != sha256 and AuthorityIdentity.of(above) in rejected:
                raise UnfitAuthorityError(f"it needs {above.subject}, which is rejected: approve {above.sha256} first")
        self._pin(approved, sha256, "approve", by=by)

    def reject(self, sha256: str, *, by: str) -> None:
        """Reject the CA of the known certificate. The mode `admit` never admits a certificate of it. Its pins stay.

        Raises UnknownAuthorityError and StoreUnavailable.
        """
        for certificate in self.known_authorities():
            if certificate.sha256 == sha256:
                self._decide(Reject(authority=AuthorityIdentity.of(certificate)), "reject", sha256, by=by)
                return
        raise UnknownAuthorityError(f"no trusted or discovered authority has the SHA-256 {sha256}")

    def pin(self, certificate: Certificate, clouds: frozenset[Cloud], *, by: str, note: str = "") -> None:
        """Pin an intermediate certificate for these clouds.

        Raises StoreUnavailable, and UnfitAuthorityError if a cloud has no trusted authority that issued it.
        Not checked: that the chain above it is usable now.
        """
        if not certificate.is_ca or certificate.is_self_issued:
            raise UnfitAuthorityError(
                "only an intermediate authority can be pinned on a running service; add a root to the trust manifest"
            )
        bundle = self.trust.bundle()
        for cloud in sorted(clouds):
            trust = bundle.clouds.get(cloud)
            authorities = () if trust is None else (*trust.anchors, *trust.pins)
            if not any(certificate.is_issued_by(authority.certificate) for authority in authorities):
                raise UnfitAuthorityError(f"no trusted authority of {cloud} issued it: pin its issuer first")
        self._pin({certificate.der: clouds}, certificate.sha256, "pin", by=by, note=note)

    def unpin(self, sha256: str, *, by: str) -> None:
        """Remove the operators' pin of the authority. Raises UnknownAuthorityError and StoreUnavailable."""
        if sha256 not in self.decisions().pins:
            raise UnknownAuthorityError(f"no operator pinned an authority with the SHA-256 {sha256}")
        self._decide(Unpin(sha256=sha256), "unpin", sha256, by=by)

    def deny(self, denials: Denials, *, by: str) -> None:
        """Deny these keys and serial numbers: no chain may contain them. Raises StoreUnavailable.

        The decision also names the CAs that are known under a denied serial number. The mode `admit` admits none of
        their certificates, even after the registry has deleted the denied certificate.
        """
        known = self.known_authorities()
        authorities = {
            serial: frozenset(AuthorityIdentity.of(one) for one in known if one.serial_number == serial)
            for serial in denials.serial_numbers
        }
        self._decide(Deny(denials=denials, denied_authorities=authorities), "deny", _name_denials(denials), by=by)

    def allow(self, denials: Denials, *, by: str) -> None:
        """Remove these denials. Raises UnknownAuthorityError if one is not in force, and StoreUnavailable."""
        present = self.decisions().denials
        if not (denials.serial_numbers <= present.serial_numbers and denials.spki_sha256 <= present.spki_sha256):
            raise UnknownAuthorityError("this key or serial number is not denied")
        self._decide(Allow(denials=denials), "allow", _name_denials(denials), by=by)

    def follow(self, bundle: FollowedBundle, *, by: str, judge: Callable[[OperatorDecisions], None]) -> None:
        """Put a bundle of the trust feed in force, or take it out of force if it has no `raw`.

        `judge` gets the decisions that this one replaces, and raises if it may not replace them. If another operator
        changes them meanwhile, it judges again. Raises what `judge` raises, and StoreUnavailable.
        """
        what = "leave feed" if bundle.raw is None else "follow feed"
        self._decide(Follow(bundle=bundle), what, f"version {bundle.version}", by=by, judge=judge)

    def reject_bundle(self, bundle: RejectedBundle, *, by: str, judge: Callable[[OperatorDecisions], None]) -> None:
        """Reject a bundle of the trust feed. `judge` works as in `follow`. Raises the same."""
        self._decide(RejectBundle(bundle=bundle), "reject feed", f"version {bundle.version}", by=by, judge=judge)

    def forget_followed(self, *, by: str) -> None:
        """Take the bundle of the trust feed out of force, and forget its version. Raises StoreUnavailable."""
        self._decide(Follow(bundle=None), "forget feed", "every version", by=by)

    def preview(self, bundle: PublishedBundle) -> tuple[TrustBundle, tuple[str, ...]]:
        """Return the trust with this bundle of the feed in force, and a sentence for each part that has no effect.

        Raises TrustError if the bundle does not fit the manifests, and StoreUnavailable.
        """
        return self.trust.preview(bundle)

    def _pin(
        self, authorities: Mapping[bytes, frozenset[Cloud]], subject: str, what: str, *, by: str, note: str = ""
    ) -> None:
        now = self.clock.now()
        pins = {
            Certificate.from_der(der).sha256: PinDecision(
                der=der, clouds=clouds, decided_by=by, decided_at=now, note=note
            )
            for der, clouds in authorities.items()
        }
        self._decide(Pin(pins=pins), what, subject, by=by)

    def _decide(
        self,
        change: Change,
        what: str,
        subject: str,
        *,
        by: str,
        judge: Callable[[OperatorDecisions], None] | None = None,
    ) -> None:
        for _ in range(_ATTEMPTS):
            before, revision = self.registry.decisions()
            if judge is not None:
                judge(before)
            after = decide(before, change)
            event = TrustAuditEvent(
                at=self.clock.now(),
                by=by,
                what=what,
                subject=subject,
                before=_describe_state(before, change),
                after=_describe_state(after, change),
            )
            if self.registry.decide(after, event, expected=revision):
                self.recorder.record(TrustChanged(change=event))
                self.trust.refresh()
                return
        raise StoreUnavailable("Other operators changed the trust decisions at the same time. Try again.")


def read_authority(raw: bytes) -> Certificate:
    """Read exactly one certificate in PEM or DER. Raises UnfitAuthorityError."""
    try:
        return Certificate.from_pem(raw) if raw.lstrip().startswith(b"-----BEGIN") else Certificate.from_der(raw)
    except CertificateError as error:
        raise UnfitAuthorityError(f"not one certificate: {error}") from error


def _parse_denial(text: str) -> Denials:
    digits = text.lower().removeprefix("0x").replace(":", "")
    if all(digit in "0123456789abcdef" for digit in digits):
        if len(digits) == _SPKI_DIGITS:
            return Denials(spki_sha256=frozenset({digits}))
        # RFC 5280 section 4.1.2.2: positive, and at most 20 bytes. openssl may write a leading zero byte.
        serial = digits.lstrip("0")
        if len(serial) > 0 and len(digits) <= _SERIAL_DIGITS:
            return Denials(serial_numbers=frozenset({int(serial, 16)}))
    raise ValueError(
        "expected the SHA-256 of a public key (64 hex digits) or a serial number (at most 40 hex digits, not zero)"
    )


_SPKI_DIGITS = 64
_SERIAL_DIGITS = 42


def _name_denials(denials: Denials) -> str:
    return " ".join(
        [f"spki:{spki}" for spki in sorted(denials.spki_sha256)]
        + [f"serial:{serial:x}" for serial in sorted(denials.serial_numbers)]
    )


def _describe_state(decisions: OperatorDecisions, change: Change) -> str:
    """Describe what `decisions` say about the subject of the change."""
    match change:
        case Pin(pins=pins):
            return "; ".join(_describe_pin(decisions, sha256, pin) for sha256, pin in pins.items())
        case Unpin(sha256=sha256):
            return _describe_pin(decisions, sha256, None)
        case Follow():
            followed = decisions.followed
            return "none" if followed is None or followed.raw is None else f"version {followed.version}"
        case RejectBundle(bundle=bundle):
            is_rejected = decisions.rejected_bundle is not None and decisions.rejected_bundle.sha256 == bundle.sha256
            return f"version {bundle.version} {'rejected' if is_rejected else 'undecided'}"
        case Reject(authority=authority):
            return f"{_name_authority(authority)} {'rejected' if authority in decisions.rejected else 'undecided'}"
        case Deny(denials=denials) | Allow(denials=denials):
            both = Denials(
                serial_numbers=decisions.denials.serial_numbers & denials.serial_numbers,
                spki_sha256=decisions.denials.spki_sha256 & denials.spki_sha256,
            )
            authorities = {
                _name_authority(one)
                for serial in both.serial_numbers
                for one in decisions.denied_authorities.get(serial, frozenset())
            }
            state = f"denied {_name_denials(both)}" if _name_denials(both) else "not denied"
            return f"{state} of {'; '.join(sorted(authorities))}" if authorities else state


def _describe_pin(decisions: OperatorDecisions, sha256: str, new_pin: PinDecision | None) -> str:
    pin = decisions.pins.get(sha256)
    if pin is not None:
        return f"{sha256} pinned for {', '.join(sorted(pin.clouds))} by {pin.decided_by}"
    identities = {AuthorityIdentity.of(one) for one in certificates_of([new_pin.der] if new_pin else [])}
    return f"{sha256} rejected" if identities & decisions.rejected else f"{sha256} undecided"


def _name_authority(authority: AuthorityIdentity) -> str:
    return f"{authority.subject} with the key {authority.spki_sha256}"
