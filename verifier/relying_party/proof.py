"""Check a DPoP proof (RFC 9449 section 4.3): the presenter of a token holds the key that the token is bound to."""

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from verifier.relying_party.compact_jws import (
    MAX_BYTES,
    CompactJws,
    Json,
    JwsError,
    encode_segment,
    is_too_large,
    read_jws,
)
from verifier.relying_party.machine import ClaimsError, moment, numeric_date, seconds_of, text
from verifier.relying_party.public_keys import ALGORITHMS, KeyRefused, PublicKey, read_key
from verifier.relying_party.refusals import NotVerified, RefusalCode
from verifier.relying_party.replay import ReplayStore, ReplayStoreError

#: A proof is good for so long after it was made, beside the leeway between the clocks.
PROOF_LIFETIME = timedelta(seconds=60)
_MAX_ID_BYTES = 256
_DEFAULT_PORTS = {"https": "443", "http": "80"}
#: The only parameters of a proof's header (RFC 9449 section 4.2).
_HEADER = frozenset({"typ", "alg", "jwk"})
#: Scheme, host, port and path; then the query and fragment, which are ignored. All of it is visible ASCII.
_URL = re.compile(
    r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(/[!-\"$->@-~]*)?(?:[?#][!-~]*)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofExpectations:
    """Hold what a proof must say. `url` is the configured external URL of the endpoint, never one from a request."""

    token: str
    thumbprint: str
    #: The proof is remembered for this VM and not for its key, because one VM can have any number of keys.
    vm_id: str
    method: str
    url: str
    now: datetime
    leeway: timedelta


def check_proof(proof: str, expected: ProofExpectations, replay_store: ReplayStore) -> None:
    """Accept the proof once. Raises NotVerified."""
    if not isinstance(proof, str):
        _refuse(RefusalCode.PROOF_MALFORMED, "The proof is not a string.")
    if is_too_large(proof):
        raise NotVerified(RefusalCode.PROOF_TOO_LARGE, f"The proof is larger than {MAX_BYTES} bytes.")
    try:
        jws = read_jws(proof)
    except JwsError as error:
        raise NotVerified(RefusalCode.PROOF_MALFORMED, f"The proof is malformed: {error}.") from error
    key = _read_header(jws.header)
    if key.thumbprint != expected.thumbprint:
        raise NotVerified(RefusalCode.PROOF_KEY_MISMATCH, "The proof was made with another key than the token's.")
    if not key.verifies(jws.signature, jws.signing_input):
        raise NotVerified(RefusalCode.PROOF_SIGNATURE_INVALID, "The signature of the proof is invalid.")
    made_at, identifier = _check_claims(jws, expected)
    until = moment(math.ceil(made_at)) + PROOF_LIFETIME + expected.leeway
    remember_once(
        replay_store,
        digest(expected.vm_id),
        identifier,
        now=expected.now,
        until=until,
        code=RefusalCode.PROOF_REPLAYED,
        message="The proof was used before. Make a new proof for each request.",
    )


def remember_once(
    store: ReplayStore, scope: str, identifier: str, *, now: datetime, until: datetime, code: RefusalCode, message: str
) -> None:
    """Store the digest of the identifier, so that its length is bounded. Raises NotVerified."""
    try:
        is_new = store.remember(scope, digest(identifier), now=now, until=until)
    except ReplayStoreError as error:
        raise NotVerified(RefusalCode.REPLAY_STORE_UNAVAILABLE, "The replay store is unavailable.") from error
    if not is_new:
        raise NotVerified(code, message)


def digest(value: str) -> str:
    return encode_segment(hashlib.sha256(value.encode()).digest())


def normalize_url(url: str) -> str | None:
    """Return scheme, host, port and path as RFC 9449 section 4.3 compares them, or None if it is no such URL.

    Query and fragment are ignored. Scheme and host are lower case, and the default port is omitted.
    """
    match = _URL.fullmatch(url)
    if match is None:
        return None
    scheme, host, port, path = match.groups()
    scheme = scheme.lower()
    suffix = "" if port in {None, _DEFAULT_PORTS[scheme]} else f":{port}"
    return f"{scheme}://{host.lower()}{suffix}{path or '/'}"


def _read_header(header: Json) -> PublicKey:
    if header.get("typ") != "dpop+jwt":
        raise NotVerified(RefusalCode.PROOF_TYPE_REFUSED, "The proof has another type than dpop+jwt.")
    if not _HEADER.issuperset(header):
        raise NotVerified(RefusalCode.PROOF_HEADER_REFUSED, "The proof's header has other parameters than its own.")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise NotVerified(RefusalCode.PROOF_ALGORITHM_REFUSED, "The proof's algorithm is neither ES256 nor EdDSA.")
    try:
        key = read_key(header.get("jwk"))
    except KeyRefused as error:
        raise NotVerified(RefusalCode.PROOF_KEY_REFUSED, f"The proof's key is refused: {error}.") from error
    if key.algorithm != algorithm:
        raise NotVerified(RefusalCode.PROOF_ALGORITHM_REFUSED, "The proof's algorithm does not belong to its key.")
    return key


def _check_claims(jws: CompactJws, expected: ProofExpectations) -> tuple[float, str]:
    """Return the time and the identifier of the proof."""
    try:
        claims = jws.payload()
        identifier = text(claims, "jti")
        method, url, token_digest = (text(claims, name) for name in ("htm", "htu", "ath"))
        made_at = numeric_date(claims, "iat")
    except (JwsError, ClaimsError) as error:
        _refuse(RefusalCode.PROOF_CLAIMS_INVALID, f"The proof's claims are invalid: {error}.")
    if len(identifier.encode()) > _MAX_ID_BYTES:
        _refuse(RefusalCode.PROOF_CLAIMS_INVALID, f"The proof's jti has more than {_MAX_ID_BYTES} bytes.")
    if method != expected.method:
        _refuse(RefusalCode.PROOF_METHOD_MISMATCH, "The proof is for another HTTP method.")
    found = normalize_url(url)
    if found is None or found != normalize_url(expected.url):
        _refuse(RefusalCode.PROOF_URL_MISMATCH, "The proof is for another URL.")
    if token_digest != digest(expected.token):
        _refuse(RefusalCode.PROOF_TOKEN_MISMATCH, "The proof is for another token.")
    age = seconds_of(expected.now) - made_at
    if age > (PROOF_LIFETIME + expected.leeway).total_seconds():
        _refuse(RefusalCode.PROOF_EXPIRED, "The proof is too old. Make a new proof for each request.")
    if age < -expected.leeway.total_seconds():
        _refuse(RefusalCode.PROOF_NOT_YET_VALID, "The proof is from the future. Check the clocks.")
    return made_at, identifier


def _refuse(code: RefusalCode, message: str) -> NoReturn:
    raise NotVerified(code, message)
