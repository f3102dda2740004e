"""Verify a result token for one relying party. The checks are in order in `ResultVerifier.verify`."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from verifier.relying_party.compact_jws import MAX_BYTES, CompactJws, Json, JwsError, is_too_large, read_jws
from verifier.relying_party.key_cache import CachedKeys, FixedKeys, Keys, KeySetUrl, KeysUnavailable
from verifier.relying_party.machine import (
    ClaimsError,
    VerifiedMachine,
    member,
    moment,
    numeric_date,
    optional_moment,
    optional_plan,
    optional_text,
    seconds_of,
    text,
    texts,
)
from verifier.relying_party.proof import ProofExpectations, check_proof, digest, normalize_url, remember_once
from verifier.relying_party.public_keys import ALGORITHMS
from verifier.relying_party.refusals import NotVerified, RefusalCode
from verifier.relying_party.replay import ReplayStore

TOKEN_TYPE = "eat+jwt"  # noqa: S105 - a media type
PROFILE = "tag:ietf.org,2026:rats/ear#04"
TENANT_CLAIM = "imds-verifier.tenant"
SUBMODULE = "azure-imds"
MACHINE_CLAIM = "imds-verifier.claims"
#: How far the clocks of the verifier, the VM and the relying party may be apart.
LEEWAY = timedelta(seconds=60)
#: Parameters that carry a key, name one elsewhere or change how a token is read (RFC 7515 section 4.1, RFC 7797).
_REFUSED_PARAMETERS = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ResultVerifier:
    """Verify the result tokens that one verifier signs for one tenant. Threads may share it.

    - `issuer` is the verifier's `iss`, `audience` the only value of `aud`.
    - `tenant` is this relying party's name at the verifier.
    - `policies` names the policies that each token must name, at least one.
    - `jwks` is the https URL of the verifier's key set, or the key set itself: `KeyRefused` if it has no usable key.
    - `replay_store` remembers proofs, and tokens for single use. All processes of a backend share one store.
    - `bound_only` refuses tokens that are not bound to a key. `single_use` accepts each token once.
    - `clock` returns the present time, aware of its zone.

    Another option that cannot be used raises ValueError.
    """

    def __init__(  # noqa: PLR0913 - keyword-only: what a relying party has to know
        self,
        *,
        issuer: str,
        audience: str,
        tenant: str,
        policies: Collection[str],
        jwks: str | Mapping[str, object],
        replay_store: ReplayStore,
        bound_only: bool = False,
        single_use: bool = False,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        if not (issuer and audience and tenant):
            raise ValueError("issuer, audience and tenant must not be empty")
        if isinstance(policies, str) or not policies:
            raise ValueError("policies must be a collection of at least one name")
        self._issuer = issuer
        self._audience = audience
        self._tenant = tenant
        self._policies = frozenset(policies)
        self._keys: Keys = CachedKeys(KeySetUrl(jwks)) if isinstance(jwks, str) else FixedKeys(jwks)
        self._replay_store = replay_store
        self._bound_only = bound_only
        self._single_use = single_use
        self._clock = clock

    def verify(
        self, token: str, proof: str | None = None, *, method: str | None = None, url: str | None = None
    ) -> VerifiedMachine:
        """Return the VM that the verifier vouches for. Raises NotVerified.

        `proof` is the DPoP proof that came with the token. `method` and `url` are the HTTP method of the request and
        the configured external URL of the endpoint; they are required if a proof is given. Do not take the URL from
        the request: its Host header is the caller's choice. A `url` that is not such a URL raises ValueError, with or
        without a proof.
        """
        if url is not None and normalize_url(url) is None:
            raise ValueError("url must be the external URL of the endpoint: https://HOST[:PORT]/PATH, in ASCII")
        if proof is not None and (not method or url is None):
            raise ValueError("a proof needs the method and the external URL of the endpoint")
        # 1. Form and header.
        jws = _read_token(token)
        # 2. Key and signature.
        self._check_signature(jws)
        # 3. Claims of the token.
        now = self._clock()
        try:
            claims = jws.payload()
            self._check_claims(claims, now)
            # 4. Appraisal and machine.
            thumbprint = _bound_key(claims)
            machine = self._read_machine(claims, thumbprint)
        except (ClaimsError, JwsError) as error:
            raise NotVerified(RefusalCode.CLAIMS_INVALID, f"The token's claims are invalid: {error}.") from error
        # 5. Proof of possession.
        if thumbprint is None:
            if self._bound_only or proof is not None:
                _refuse(RefusalCode.TOKEN_NOT_BOUND, "The token is not bound to a key.")
        elif proof is None or method is None or url is None:
            _refuse(RefusalCode.PROOF_MISSING, "The token is bound to a key. Send a DPoP proof with it.")
        else:
            expected = ProofExpectations(
                token=token,
                thumbprint=thumbprint,
                vm_id=machine.vm_id,
                method=method,
                url=url,
                now=now,
                leeway=LEEWAY,
            )
            check_proof(proof, expected, self._replay_store)
        # 6. Single use.
        if self._single_use:
            remember_once(
                self._replay_store,
                digest(machine.vm_id),
                machine.token_id,
                now=now,
                until=machine.token_expires_at + LEEWAY,
                code=RefusalCode.TOKEN_REPLAYED,
                message="The token was used before.",
            )
        return machine

    def _check_signature(self, jws: CompactJws) -> None:
        try:
            key = self._keys.find(str(jws.header["kid"]))
        except KeysUnavailable as error:
            raise NotVerified(RefusalCode.KEYS_UNAVAILABLE, "The verifier's keys are unavailable.") from error
        if key is None:
            _refuse(RefusalCode.KEY_UNKNOWN, "The token names a key that the verifier does not publish.")
        if key.algorithm != jws.header["alg"]:
            _refuse(RefusalCode.ALGORITHM_REFUSED, "The token's algorithm does not belong to its key.")
        if not key.verifies(jws.signature, jws.signing_input):
            _refuse(RefusalCode.SIGNATURE_INVALID, "The token's signature is invalid.")

    def _check_claims(self, claims: Json, now: datetime) -> None:
        if text(claims, "eat_profile") != PROFILE:
            _refuse(RefusalCode.PROFILE_MISMATCH, "The token has another profile.")
        if text(claims, "iss") != self._issuer:
            _refuse(RefusalCode.ISSUER_MISMATCH, "The token is from another issuer.")
        if claims.get("aud") != self._audience:
            _refuse(RefusalCode.AUDIENCE_MISMATCH, "The token is for another audience.")
        if text(claims, TENANT_CLAIM) != self._tenant:
            _refuse(RefusalCode.TENANT_MISMATCH, "The token is for another tenant.")
        seconds, leeway = seconds_of(now), LEEWAY.total_seconds()
        if seconds - numeric_date(claims, "exp") >= leeway:
            _refuse(RefusalCode.TOKEN_EXPIRED, "The token is expired.")
        starts = [numeric_date(claims, name) for name in ("iat", "nbf") if name == "iat" or name in claims]
        if max(starts) - seconds > leeway:
            _refuse(RefusalCode.TOKEN_NOT_YET_VALID, "The token is not valid yet. Check the clocks.")

    def _read_machine(self, claims: Json, thumbprint: str | None) -> VerifiedMachine:
        appraisal = member(member(claims, "submods"), SUBMODULE)
        if text(appraisal, "ear_status") != "affirming":
            _refuse(RefusalCode.NOT_AFFIRMED, "The verifier does not affirm the VM.")
        policies = texts(appraisal, "ear_appraisal_policy_ids")
        if not self._policies.issubset(policies):
            _refuse(RefusalCode.POLICY_MISSING, "The token does not name each policy that is required.")
        machine = member(appraisal, MACHINE_CLAIM)
        return VerifiedMachine(
            vm_id=text(machine, "vmId"),
            subscription_id=optional_text(machine, "subscriptionId"),
            sku=optional_text(machine, "sku"),
            license_type=optional_text(machine, "licenseType"),
            plan=optional_plan(machine, "plan"),
            cloud=text(machine, "cloud"),
            created_on=optional_moment(machine, "createdOn"),
            expires_on=optional_moment(machine, "expiresOn"),
            trust_generation=text(machine, "trustGeneration"),
            signer_sha256=text(machine, "signerSha256"),
            nonce=text(claims, "eat_nonce"),
            tenant=self._tenant,
            policies=policies,
            token_id=text(claims, "jti"),
            token_issued_at=moment(numeric_date(claims, "iat")),
            token_expires_at=moment(numeric_date(claims, "exp")),
            key_thumbprint=thumbprint,
        )


def _read_token(token: object) -> CompactJws:
    if not isinstance(token, str):
        _refuse(RefusalCode.TOKEN_MALFORMED, "The token is not a string.")
    if is_too_large(token):
        _refuse(RefusalCode.TOKEN_TOO_LARGE, f"The token is larger than {MAX_BYTES} bytes.")
    try:
        jws = read_jws(token)
    except JwsError as error:
        raise NotVerified(RefusalCode.TOKEN_MALFORMED, f"The token is malformed: {error}.") from error
    header = jws.header
    if header.get("typ") != TOKEN_TYPE:
        _refuse(RefusalCode.TOKEN_TYPE_REFUSED, f"The token has another type than {TOKEN_TYPE}.")
    if not _REFUSED_PARAMETERS.isdisjoint(header):
        _refuse(RefusalCode.TOKEN_HEADER_REFUSED, "The token's header has a parameter that is refused.")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        _refuse(RefusalCode.ALGORITHM_REFUSED, "The token's algorithm is neither ES256 nor EdDSA.")
    if not isinstance(kid, str):
        _refuse(RefusalCode.KEY_UNKNOWN, "The token names no key.")
    return jws


def _bound_key(claims: Json) -> str | None:
    """Return the thumbprint of the key that the token is bound to. No other confirmation is supported (RFC 7800)."""
    if "cnf" not in claims:
        return None
    confirmation = claims["cnf"]
    thumbprint = confirmation.get("jkt") if isinstance(confirmation, dict) and len(confirmation) == 1 else None
    if not isinstance(thumbprint, str) or not _THUMBPRINT.fullmatch(thumbprint):
        _refuse(RefusalCode.CONFIRMATION_UNSUPPORTED, "The token is bound in a way that is not supported.")
    return thumbprint


def _refuse(code: RefusalCode, message: str) -> NoReturn:
    raise NotVerified(code, message)
