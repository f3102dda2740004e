"""Step 6: a path from the signer to an anchor of its cloud, which two independent judges accept.

pyca/cryptography's verifier finds the path: it is strict (the CA/Browser profile) and its search is bounded.
pyhanko-certvalidator then builds and validates over exactly the certificates of that path: alone it accepts
expired anchors, small keys and violated name constraints, and its search need not end on what a sender chose.
Why two: docs/adr/0004-two-judges.md.
"""

import hashlib
from collections.abc import Coroutine
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509 import verification
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError, ValidationError
from pyhanko_certvalidator.path import ValidationPath

from verifier.core import der
from verifier.core.asn1 import x509 as asn1_x509
from verifier.core.certificates import Certificate
from verifier.core.model import AuthenticContent, ChainLink, UnverifiedClaims
from verifier.core.reasons import ChainRefused, Reason
from verifier.core.trust import CloudTrust, State, TrustBundle

#: Certificate authorities above the signer, the anchor included.
MAX_AUTHORITIES = 4

_WEAK_DIGESTS = ("md2", "md5", "sha1")


def build_chain(claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
    """The signer chains at `now`, with no tolerance, to an anchor of the cloud that its names claim, over pins
    of that cloud that are usable at `now`, as a TLS server of the matched name (RFC 5280 section 6).

    Not checked: revocation by the issuer (CRL, OCSP). Raises ChainRefused.
    """
    named = claims.decoded.named
    signer = named.signed.signer
    trust = bundle.clouds.get(named.cloud)
    if trust is None:
        raise _untrusted(f"No trust is configured for {named.cloud}.")
    if named.server_name is None:
        raise _untrusted("The signer's certificate has no alternative name; no public authority issues such any more.")
    if trust.denials.names(signer):
        raise _untrusted("The signer's certificate is on the deny list.")
    _require_issuer(signer, trust, now)
    path = _find_path(signer, named.server_name, trust, now)
    _confirm_path(path, now)
    links: list[ChainLink] = []
    for authority in path[1:]:
        entry = trust.entry(hashlib.sha256(authority).hexdigest())
        links.append(
            ChainLink(
                subject=entry.certificate.subject,
                sha256=entry.certificate.sha256,
                not_after=entry.certificate.not_after,
                state=entry.state_at(now),
                origin=entry.origin,
            )
        )
    return AuthenticContent(decoded=claims.decoded, chain=tuple(links), trust_generation=bundle.generation)


def _require_issuer(signer: Certificate, trust: CloudTrust, now: datetime) -> None:
    """Require a usable pin or anchor that issued the signer, by name and by signature. Raises ChainRefused.

    A sender without a certificate of a trusted authority cannot make the judges search. The refusal tells the
    operator whether a pin is missing, or is there and does not help (now). A CA whose pinned certificates have all
    expired counts as missing if its key signed the signer: it was renewed, and its new certificate can be discovered.
    A retired, staged or denied certificate of its name speaks against that.
    """
    if signer.is_self_issued:
        raise _untrusted("The signer's certificate is self-signed.")
    if not signer.not_before <= now <= signer.not_after:
        raise _untrusted("The signer's certificate is expired, or not valid yet.")
    named = [entry for entry in (*trust.anchors, *trust.pins) if _may_have_issued(entry.certificate, signer)]
    if not named:
        raise ChainRefused(
            Reason.ISSUER_UNPINNED, f"The signer's issuer, {signer.issuer}, is not pinned for its cloud."
        )
    usable = [entry for entry in (*trust.usable_anchors(now), *trust.usable_pins(now)) if entry in named]
    have_issued = any(signer.is_issued_by(entry.certificate) for entry in usable or named)
    if not usable:
        states = {entry.state_at(now) for entry in named}
        denied = any(trust.denials.names(entry.certificate) for entry in named)
        if states == {State.EXPIRED} and have_issued and not denied:
            raise ChainRefused(
                Reason.ISSUER_UNPINNED,
                f"The pinned certificates of the signer's issuer, {signer.issuer}, have expired; a renewed one is not "
                "pinned.",
            )
        told = ", ".join(sorted({*states, *(("denied",) if denied else ())}))
        raise _untrusted(f"The signer's issuer, {signer.issuer}, is pinned, but not usable now: {told}.")
    if not have_issued:
        raise _untrusted(f"The signer's certificate was not signed by its issuer, {signer.issuer}.")


def _find_path(signer: Certificate, server_name: str, trust: CloudTrust, now: datetime) -> tuple[bytes, ...]:
    """The first judge's path, the signer first, the anchor last."""
    anchors = [anchor.certificate.parsed for anchor in trust.usable_anchors(now)]
    pins = [pin.certificate.parsed for pin in trust.usable_pins(now)]
    if not anchors:
        raise _untrusted("No anchor of the signer's cloud is usable now.")
    try:
        path = (
            verification.PolicyBuilder()
            .store(verification.Store(anchors))
            .time(now)
            .max_chain_depth(MAX_AUTHORITIES - 1)
            .build_server_verifier(x509.DNSName(server_name))
            .verify(signer.parsed, pins)
        )
    except (verification.VerificationError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        raise _untrusted(f"No chain holds above the signer's issuer, {signer.issuer}.") from error
    except ValueError as error:
        raise _untrusted("The signer's names are not ones that a TLS server can have.") from error
    # Self-issued authorities do not count towards the depth (RFC 5280 4.2.1.9), so the length is bounded as well.
    if len(path) - 1 > MAX_AUTHORITIES:
        raise _untrusted(f"The chain has more than {MAX_AUTHORITIES} certificate authorities.")
    return tuple(der.from_certificate(certificate) for certificate in path)


def _confirm_path(path: tuple[bytes, ...], now: datetime) -> None:
    """The second judge finds the same path, in nothing but its certificates. Raises ChainRefused."""
    signer, *pins, anchor = (asn1_x509.Certificate.load(certificate, strict=True) for certificate in path)
    context = ValidationContext(
        trust_roots=[anchor],
        other_certs=pins,
        moment=now,
        allow_fetching=False,
        weak_hash_algos=_WEAK_DIGESTS,
        time_tolerance=timedelta(0),
    )
    validator = CertificateValidator(signer, validation_context=context)
    try:
        # No usage is asked for beyond serverAuth: core.names has seen keyUsage, which may be absent.
        validated = _run(
            validator.async_validate_usage(  # type: ignore[no-untyped-call]  # untyped in the library
                set(), extended_key_usage={"server_auth"}, extended_optional=True
            )
        )
    except (PathError, ValidationError) as error:
        raise _untrusted("The second judge does not accept the signer's chain.") from error
    confirmed = [certificate.dump() for certificate in validated.iter_certs(include_root=True)]
    if confirmed != list(reversed(path)):
        raise _untrusted("The two judges do not agree on one chain.")


def _run(work: Coroutine[object, None, ValidationPath]) -> ValidationPath:
    """The result of a coroutine that has nothing to wait for, since fetching is off: no event loop, which
    would open sockets and could not run inside another one."""
    try:
        work.send(None)
    except StopIteration as finished:
        path: ValidationPath = finished.value
        return path
    work.close()
    raise _untrusted("The second judge asked for something from outside.")


def _may_have_issued(authority: Certificate, signer: Certificate) -> bool:
    """By name and, where both say, by key identifier (RFC 5280 4.2.1.1); one name may have several keys."""
    if authority.subject_der != signer.issuer_der:
        return False
    identifiers = (authority.subject_key_identifier, signer.authority_key_identifier)
    return None in identifiers or identifiers[0] == identifiers[1]


def _untrusted(detail: str) -> ChainRefused:
    return ChainRefused(Reason.CHAIN_UNTRUSTED, detail)
