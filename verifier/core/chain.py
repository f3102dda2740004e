"""Build a path from the signer to an anchor of its cloud that two independent path validators accept: check 6.

pyca/cryptography finds the path. It applies the CA/Browser profile, and its search is bounded. core.leaf_profile
refuses what RFC 5280 forbids in a signer and neither validator checks. pyhanko-certvalidator then validates the path
that was found. It never searches: a sender could keep its search running, and on its own it accepts expired anchors,
small keys and violated name constraints. docs/adr/0027-validate-the-path-found.md explains why there are two.

Both validators parse bytes that a sender chose. If one raises any exception on them, the document is refused.
"""

from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.errors import PathError, ValidationError
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.validate import async_validate_path, validate_usage

from verifier.core import leaf_profile
from verifier.core.bounds import AUTHORITY_CACHE_BYTES
from verifier.core.byte_cache import ByteCache
from verifier.core.encoding.asn1 import x509 as asn1_x509
from verifier.core.encoding.printable import printable
from verifier.core.model import AuthenticContent, ChainLink, UnverifiedClaims
from verifier.core.reasons import ChainRefused, ProfileRefused, Reason
from verifier.core.trust.bundle import CloudTrust, Role, State, TrustBundle, TrustedCertificate
from verifier.core.trust.certificates import Certificate

#: Certificate authorities above the signer, the anchor included.
MAX_AUTHORITIES = 4
#: Each search after the first leaves out an authority that may be why the one before found no valid path.
MAX_SEARCHES = 8

#: Of the first validator's sentence on the signer, a refusal repeats at most this many characters.
_MAX_FAULT_SHOWN = 200
#: The DER of the object identifier of nameConstraints (RFC 5280 4.2.1.10).
_NAME_CONSTRAINTS = bytes.fromhex("0603551d1e")
_WEAK_DIGESTS = ("md2", "md5", "sha1")
#: The memory of a decoded certificate, per byte of its DER. The shipped ones have 11 to 19.
_MEMORY_PER_BYTE = 20

#: The authorities above the signer, from its issuer to the anchor.
_Path = tuple[TrustedCertificate, ...]

#: The authorities of accepted paths, by their DER. asn1crypto decodes a certificate while it is read, so no two threads
#: may share one: each validation takes it out of the cache, and puts it back.
_AUTHORITIES: ByteCache[bytes, asn1_x509.Certificate] = ByteCache(
    AUTHORITY_CACHE_BYTES, lambda der_, _: _MEMORY_PER_BYTE * len(der_)
)


def build_chain(claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
    """Build the signer's chain at `now` to an anchor of the cloud that its names claim.

    Every certificate between is a pin of that cloud that is usable at `now`, without tolerance. The signer is validated
    as a TLS server of the matched name (RFC 5280 section 6).

    Not checked: revocation by the issuer (CRL, OCSP). Raises ChainRefused.
    """
    named = claims.decoded.named
    signer = named.signed.signer
    trust = bundle.clouds.get(named.cloud)
    if trust is None:
        raise _untrusted(f"No trust is configured for {named.cloud}.")
    if named.server_name is None:
        raise _untrusted(
            "The signer's certificate has no alternative name. Public authorities no longer issue such certificates."
        )
    if trust.denials.names(signer):
        raise _untrusted("The signer's certificate is on the deny list.")
    usable = (*trust.usable_anchors(now), *trust.usable_pins_above(signer, now))
    unreadable = "The signer's certificate has a field that cannot be read"
    with _refusing(unreadable):
        _require_issuer(signer, trust, usable, now)
    with _refusing(unreadable, is_genuine=True):
        leaf_profile.check(signer)
    path = _accepted_path(signer, named.server_name, usable, now)
    links = tuple(
        ChainLink(
            subject=entry.certificate.subject,
            sha256=entry.certificate.sha256,
            not_before=entry.certificate.not_before,
            not_after=entry.certificate.not_after,
            state=entry.state_at(now),
            origin=entry.origin,
        )
        for entry in path
    )
    signer.remember_signer()
    return AuthenticContent(decoded=claims.decoded, chain=links, trust_generation=bundle.generation)


def _require_issuer(
    signer: Certificate, trust: CloudTrust, usable: tuple[TrustedCertificate, ...], now: datetime
) -> None:
    """Require a usable pin or anchor that issued the signer, by name and by signature. Raises ChainRefused.

    So the path validators search only if a trusted authority issued the signer. The refusal says whether the pin is
    missing or is not usable now.

    If all pinned certificates of a CA have expired and its key signed the signer, the pin counts as missing: the CA was
    renewed, and discovery can find its new certificate. This does not apply if a certificate of that name is retired,
    staged or denied.
    """
    if signer.is_self_issued:
        raise _untrusted("The signer's certificate is self-signed.")
    if not signer.not_before <= now <= signer.not_after:
        raise _untrusted("The signer's certificate is expired, or not valid yet.")
    named = [
        entry for entry in (*trust.anchors, *trust.pins_above(signer)) if _may_have_issued(entry.certificate, signer)
    ]
    if not named:
        raise ChainRefused(
            Reason.ISSUER_UNPINNED, f"The signer's issuer, {signer.issuer}, is not pinned for its cloud."
        )
    usable_named = [entry for entry in usable if _may_have_issued(entry.certificate, signer)]
    have_issued = any(signer.is_issued_by(entry.certificate) for entry in usable_named or named)
    if not usable_named:
        states = {entry.state_at(now) for entry in named}
        denied = any(trust.denials.names(entry.certificate) for entry in named)
        if states == {State.EXPIRED} and have_issued and not denied:
            raise ChainRefused(
                Reason.ISSUER_UNPINNED,
                f"The pinned certificates of the signer's issuer, {signer.issuer}, have expired. Its renewed "
                "certificate is not pinned.",
            )
        obstacles = ", ".join(sorted({*states, *(("denied",) if denied else ())}))
        raise _untrusted(f"The signer's issuer, {signer.issuer}, is pinned, but not usable now: {obstacles}.")
    if not have_issued:
        raise _untrusted(f"The signer's certificate was not signed by its issuer, {signer.issuer}.")


def _accepted_path(
    signer: Certificate, server_name: str, usable: tuple[TrustedCertificate, ...], now: datetime
) -> _Path:
    """Return the first path that both validators accept.

    One authority may have several certificates (direct, cross-signed, renewed). If the second validator refuses a path,
    the search continues without each authority of that path in turn. The first validator stops its search at name
    constraints that it does not support. So if it finds no path, the search continues without each authority that has
    name constraints. An odd certificate in the bundle thus does not hide a good one. Raises ChainRefused with the
    reason of the first path.
    """
    refusals: list[ChainRefused] = []
    waiting: deque[frozenset[str]] = deque([frozenset()])
    seen = set(waiting)
    while waiting and len(refusals) < MAX_SEARCHES:
        left_out = waiting.popleft()
        path: _Path = ()
        entries = tuple(entry for entry in usable if entry.certificate.sha256 not in left_out)
        try:
            path = _find_path(signer, server_name, entries, now)
            _confirm_path(signer, path, now)
        except ChainRefused as refused:
            refusals.append(refused)
        else:
            return path
        suspects = path or tuple(entry for entry in entries if _NAME_CONSTRAINTS in entry.certificate.der)
        fewer = [left_out | {entry.certificate.sha256} for entry in suspects]
        waiting.extend(one for one in fewer if one not in seen)
        seen.update(fewer)
    raise refusals[0]


def _find_path(signer: Certificate, server_name: str, entries: tuple[TrustedCertificate, ...], now: datetime) -> _Path:
    """Return the first validator's path over these anchors and pins. Raises ChainRefused."""
    anchors = [entry.certificate.parsed for entry in entries if entry.role is Role.ROOT]
    pins = [entry.certificate.parsed for entry in entries if entry.role is Role.INTERMEDIATE]
    if not anchors:
        raise _untrusted("No anchor of the signer's cloud is usable now.")
    with _refusing("The first path validator cannot read the signer's chain"):
        try:
            found = (
                verification.PolicyBuilder()
                .store(verification.Store(anchors))
                .time(now)
                .max_chain_depth(MAX_AUTHORITIES - 1)
                .build_server_verifier(x509.DNSName(server_name))
                .verify(signer.parsed, pins)
            )
        except verification.VerificationError as error:
            raise _untrusted(
                _fault_of_signer(signer, error)
                or f"No valid chain leads from {signer.issuer}, the signer's issuer, to an anchor."
            ) from error
    return _known(signer, found, entries)


def _fault_of_signer(signer: Certificate, error: verification.VerificationError) -> str:
    """Return the sentence for a fault of the signer's own certificate, or "" if the fault is above it."""
    fault, separator, faulty = str(error).removeprefix("validation failed: ").partition(" (encountered processing ")
    if not separator or faulty != f"{signer.parsed!r})":
        return ""
    named = fault.replace(ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string, "authorityKeyIdentifier")
    return f"The path validator refuses the signer's own certificate: {printable(named[:_MAX_FAULT_SHOWN])}."


def _known(signer: Certificate, found: list[x509.Certificate], entries: tuple[TrustedCertificate, ...]) -> _Path:
    """Return the entries of the path that the first validator found.

    The second validator takes the last entry as the anchor. So the path must start at the signer and have at most
    MAX_AUTHORITIES entries, of which only the last is an anchor. Raises ChainRefused.
    """
    path = tuple(entry for one in found[1:] for entry in entries if entry.certificate.parsed == one)
    expected = [Role.INTERMEDIATE] * (len(found) - 2) + [Role.ROOT]
    if found[0] != signer.parsed or [entry.role for entry in path] != expected or len(path) > MAX_AUTHORITIES:
        raise _untrusted("The first path validator did not return a path over pins to an anchor.")
    return path


def _confirm_path(signer: Certificate, path: _Path, now: datetime) -> None:
    """Validate exactly this path with the second validator, without a search. Raises ChainRefused."""
    with _refusing("The second path validator cannot read the signer's chain"):
        leaf = asn1_x509.Certificate.load(signer.der, strict=True)
        authorities = [_take_authority(entry.certificate) for entry in path]
        *pins, anchor = authorities
        context = ValidationContext(
            trust_roots=[],  # the path names its anchor
            moment=now,
            allow_fetching=False,
            revocation_mode="none",
            weak_hash_algos=_WEAK_DIGESTS,
            time_tolerance=timedelta(0),
        )
        try:
            _run(async_validate_path(context, ValidationPath(CertTrustAnchor(anchor), list(reversed(pins)), leaf)))
            # Require serverAuth only: core.names has checked keyUsage, which may be absent.
            validate_usage(leaf, set(), {"server_auth"}, extended_optional=True)
        except (PathError, ValidationError) as error:
            raise _untrusted("The second path validator does not accept the signer's chain.") from error
    for entry, authority in zip(path, authorities, strict=True):
        _AUTHORITIES.keep(entry.certificate.der, authority)


def _take_authority(authority: Certificate) -> asn1_x509.Certificate:
    """Return the certificate as the second validator reads it, from the cache if possible."""
    return _AUTHORITIES.take(authority.der) or asn1_x509.Certificate.load(authority.der, strict=True)


@contextmanager
def _refusing(sentence: str, *, is_genuine: bool = False) -> Iterator[None]:
    """Refuse the document with this sentence if a parser raises any exception on the sender's bytes.

    A MemoryError is raised unchanged, because it does not depend on the document. Raises ChainRefused: with
    `is_genuine`, the subclass for signers that a pin or anchor issued.
    """
    try:
        yield
    except (ChainRefused, MemoryError):
        raise
    except Exception as error:
        detail = f"{sentence}: {type(error).__name__}."
        raise (ProfileRefused(Reason.CHAIN_UNTRUSTED, detail) if is_genuine else _untrusted(detail)) from error


def _run(work: Coroutine[object, None, object]) -> None:
    """Run a coroutine without an event loop. It never waits, because fetching is off.

    An event loop would open sockets and could not run inside another loop. Raises ChainRefused if the coroutine waits.
    """
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise _untrusted("The second path validator tried to fetch data.")


def _may_have_issued(authority: Certificate, signer: Certificate) -> bool:
    """Compare names and, if both certificates have one, key identifiers (RFC 5280 4.2.1.1).

    One name may have several keys.
    """
    if authority.subject_der != signer.issuer_der:
        return False
    identifiers = (authority.subject_key_identifier, signer.authority_key_identifier)
    return None in identifiers or identifiers[0] == identifiers[1]


def _untrusted(detail: str) -> ChainRefused:
    return ChainRefused(Reason.CHAIN_UNTRUSTED, detail)
