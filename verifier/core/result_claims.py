"""The claims of a result token: the one module that knows the EAR profile (draft-ietf-rats-ear-04, over RFC 9711).

The profile is a draft. A later draft changes only this module.
"""

from datetime import datetime, timedelta
from typing import assert_never

from verifier.core.encoding.moments import moment_json
from verifier.core.model import Claims, FirstSight, LiveResult, Redeemed
from verifier.core.nonces import NonceRecord

#: RFC 9711 section 4.3.2: names the whole profile, so that a relying party never guesses which draft this is.
PROFILE = "tag:ietf.org,2026:rats/ear#04"
#: RFC 7515 section 4.1.9, RFC 9782: says what the token is, so that no other JWT of this issuer passes for one.
TOKEN_TYPE = "eat+jwt"  # noqa: S105 - a media type
#: The submodule: the attester is the instance metadata service of a VM.
SUBMODULE = "azure-imds"
#: What the EAR profile has no name for, in the place that it leaves for extensions.
CLAIMS_KEY = "imds-verifier.claims"
#: The tenant that asked. It is a top-level claim, because the document knows no tenants and any JOSE library can
#: require a top-level claim.
TENANT_KEY = "imds-verifier.tenant"
DEVELOPER = "imds-verifier"

_AFFIRMING = "affirming"
# draft-ietf-rats-ar4si, instance-identity: 2 is "the Attesting Environment is recognized, and the associated instance
# of the Attester is not known to be compromised": the one affirming value that is defined for this claim (2 to 31 is
# the tier). 0 and 1 make no assertion; 96 and 97 are for instances that are known to be bad, or are not recognized.
_RECOGNIZED_INSTANCE = 2


def build_claims(
    result: LiveResult,
    *,
    tenant: str,
    issuer: str,
    audience: str,
    lifetime: timedelta,
    token_id: str,
    build: str,
) -> dict[str, object]:
    """Build the claims set (RFC 7519) of the token for `result`.

    The token is issued at the time of the appraisal. It expires after `lifetime` or with the document, if that is
    earlier. Times are whole seconds, rounded down. The token of a document that was accepted within the clock skew
    after its expiry has already expired. `eat_nonce` is present exactly if the document answers a challenge.
    Not claimed: the VM's software, hardware or configuration, on which the document is silent.
    """
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": audience,
        "iat": int(result.evaluated_at.timestamp()),
        "exp": int(_end(result, lifetime).timestamp()),
        "jti": token_id,
        TENANT_KEY: tenant,
        "eat_profile": PROFILE,
        "ear_verifier_id": {"developer": DEVELOPER, "build": build},
        "submods": {
            SUBMODULE: {
                "ear_status": _AFFIRMING,
                "ear_appraisal_policy_ids": list(result.policies),
                "ear_trustworthiness_vector": {"instance-identity": _RECOGNIZED_INSTANCE},
                CLAIMS_KEY: _own_claims(result),
            }
        },
    }
    match result.verified.fresh:
        case Redeemed(record=record):
            return claims | _challenge_claims(record, result.claims.nonce)
        case FirstSight():
            return claims
        case archived:
            assert_never(archived)


def _challenge_claims(record: NonceRecord, nonce: str | None) -> dict[str, object]:
    """Build the claims that only an answer to a challenge has (RFC 9711 section 4.1)."""
    claims: dict[str, object] = {"eat_nonce": nonce}
    if record.jkt:
        # RFC 7800 section 3.1, RFC 9449 section 6.1: the presenter of the token must prove possession of that key.
        claims["cnf"] = {"jkt": record.jkt}
    return claims


def _end(result: LiveResult, lifetime: timedelta) -> datetime:
    end = result.evaluated_at + lifetime
    expires_on = result.claims.expires_on
    return end if expires_on is None else min(end, expires_on)


def _own_claims(result: LiveResult) -> dict[str, object]:
    """Spell the claims as the result's JSON does. A claim that the document does not carry is null."""
    claims, content = result.claims, result.content
    return {
        "vmId": claims.vm_id,
        "subscriptionId": claims.subscription_id,
        "sku": claims.sku,
        "licenseType": claims.license_type,
        "plan": _plan(claims),
        "cloud": content.cloud.value,
        "createdOn": _moment(claims.created_on),
        "expiresOn": _moment(claims.expires_on),
        "trustGeneration": content.trust_generation,
        "signerSha256": content.signer.sha256,
    }


def _plan(claims: Claims) -> dict[str, str | None] | None:
    plan = claims.plan
    return None if plan is None else {"publisher": plan.publisher, "product": plan.product, "name": plan.name}


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment_json(moment)
