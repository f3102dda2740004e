"""Tokens and proofs, genuine and hostile, with what a relying party must say of each: data for every implementation."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
URL = "https://licensing.example.com/licenses"


class Expected(TypedDict):
    """The options of a ResultVerifier that say whose tokens it accepts."""

    issuer: str
    audience: str
    tenant: str
    policies: list[str]


EXPECTED: Expected = {
    "issuer": "https://verifier.example.com",
    "audience": "contoso",
    "tenant": "contoso",
    "policies": ["appliance", "gold"],
}
_SUBMODULE = "azure-imds"

Fields = dict[str, object]
Key = EllipticCurvePrivateKey | Ed25519PrivateKey


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def jwk(key: Key) -> Fields:
    if isinstance(key, Ed25519PrivateKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())}
    numbers = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}


def private_jwk(key: EllipticCurvePrivateKey) -> Fields:
    return {**jwk(key), "d": b64(key.private_numbers().private_value.to_bytes(32))}


def thumbprint(key: Key) -> str:
    canonical = json.dumps(jwk(key), separators=(",", ":"), sort_keys=True)
    return b64(hashlib.sha256(canonical.encode()).digest())


def sign(key: Key, signing_input: str) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(signing_input.encode())
    r, s = decode_dss_signature(key.sign(signing_input.encode(), ECDSA(SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def jws(key: Key, header: Fields | str, claims: Fields | str) -> str:
    """A JWS. A header or claims that are text are taken as they are, whether they are JSON or not."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    signing_input = ".".join(b64(part.encode("utf-8", "surrogatepass")) for part in parts)
    return f"{signing_input}.{b64(sign(key, signing_input))}"


VERIFIER_KEY = generate_private_key(SECP256R1())
ED_KEY = Ed25519PrivateKey.generate()
OTHER_KEY = generate_private_key(SECP256R1())
VM_KEY = generate_private_key(SECP256R1())
VM_ED_KEY = Ed25519PrivateKey.generate()
NO_TEXT: tuple[object, ...] = (1, False, {}, ["x"])
#: Ed25519 points of low order, with each sign of x, and second spellings of points.
LOW_ORDER = [
    bytes.fromhex(y + last)
    for y, lasts in (
        ("00" * 31, ("00", "80")),
        ("01" + "00" * 30, ("00", "80")),
        ("ec" + "ff" * 30, ("7f", "ff")),
        ("ed" + "ff" * 30, ("7f", "ff")),
        ("ee" + "ff" * 30, ("7f", "ff")),
        ("f0" + "ff" * 30, ("7f",)),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", ("05", "85")),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03", ("7a", "fa")),
    )
    for last in lasts
]
KEY_SET: dict[str, object] = {
    "keys": [
        {**jwk(VERIFIER_KEY), "kid": "es", "use": "sig", "alg": "ES256"},
        {**jwk(ED_KEY), "kid": "ed", "use": "sig", "alg": "EdDSA"},
        {"kty": "RSA", "kid": "of-another-kind", "n": "AQAB", "e": "AQAB"},
    ]
}
HEADER: Fields = {"alg": "ES256", "kid": "es", "typ": "eat+jwt"}
MACHINE: Fields = {
    "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
    "subscriptionId": "8d10da13-8125-4ba9-a717-bf7490507b3d",
    "sku": "2022-datacenter",
    "licenseType": "",
    "plan": {"publisher": "contoso", "product": "db", "name": None},
    "cloud": "AzurePublicCloud",
    "createdOn": "2026-11-29T11:59:00Z",
    "expiresOn": "2026-11-29T17:59:00.5Z",
    "trustGeneration": "g1",
    "signerSha256": "ab" * 32,
}
APPRAISAL: Fields = {
    "ear_status": "affirming",
    "ear_appraisal_policy_ids": ["gold", "appliance", "another"],
    "ear_trustworthiness_vector": {"instance-identity": 2},
    "imds-verifier.claims": MACHINE,
}


def at(seconds: float) -> int:
    return int((NOW + timedelta(seconds=seconds)).timestamp())


NOW_SECONDS = NOW.timestamp()
CLAIMS: Fields = {
    "iss": "https://verifier.example.com",
    "aud": "contoso",
    "iat": at(0),
    "exp": at(600),
    "jti": "token-1",
    "imds-verifier.tenant": "contoso",
    "eat_profile": "tag:ietf.org,2026:rats/ear#04",
    "eat_nonce": "0123456789",
    "ear_verifier_id": {"developer": "imds-verifier", "build": "1"},
    "submods": {_SUBMODULE: APPRAISAL},
}
BOUND: Fields = {**CLAIMS, "cnf": {"jkt": thumbprint(VM_KEY)}}


def changed(fields: Fields, change: Mapping[str, object]) -> Fields:
    """The fields with these, and without those that are `...`."""
    return {name: value for name, value in {**fields, **change}.items() if value is not ...}


def token(change: Mapping[str, object] | None = None, header: Mapping[str, object] | None = None) -> str:
    return jws(VERIFIER_KEY, changed(HEADER, header or {}), changed(CLAIMS, change or {}))


def appraised(**change: object) -> str:
    return token({"submods": {_SUBMODULE: changed(APPRAISAL, change)}})


def of_machine(**change: object) -> str:
    return appraised(**{"imds-verifier.claims": changed(MACHINE, change)})


def bound_token(change: Mapping[str, object] | None = None) -> str:
    return jws(VERIFIER_KEY, HEADER, changed(BOUND, change or {}))


TOKEN = token()
BOUND_TOKEN = bound_token()
ED_BOUND_TOKEN = bound_token({"cnf": {"jkt": thumbprint(VM_ED_KEY)}})
PROOF_HEADER: Fields = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(VM_KEY)}
PROOF: Fields = {
    "jti": "proof-1",
    "htm": "POST",
    "htu": URL,
    "iat": at(0),
    "ath": b64(hashlib.sha256(BOUND_TOKEN.encode()).digest()),
}


def proof(
    change: Mapping[str, object] | None = None, header: Mapping[str, object] | None = None, *, key: Key = VM_KEY
) -> str:
    return jws(key, changed(PROOF_HEADER, header or {}), changed(PROOF, change or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is presented, one after the other, to a verifier of its own; `code` is the last outcome, `ok` for none."""

    name: str
    code: str
    token: str = field(repr=False)
    proofs: tuple[Any, ...] = (None,)
    method: str | None = None
    url: str | None = None
    bound_only: bool = False
    single_use: bool = False

    def __str__(self) -> str:
        return self.name

    def json(self) -> Fields:
        return asdict(self)


def _plain(name: str, code: str, value: str, *, bound_only: bool = False, single_use: bool = False) -> Case:
    return Case(name=name, code=code, token=value, bound_only=bound_only, single_use=single_use)


def _proved(name: str, code: str, *proofs: str, bound: str = BOUND_TOKEN, method: str = "POST", url: str = URL) -> Case:
    return Case(name=name, code=code, token=bound, proofs=proofs, method=method, url=url)


def _swapped(value: str, header: Fields, signature: str | None = None) -> str:
    _, payload, own_signature = value.split(".")
    return f"{b64(json.dumps(header).encode())}.{payload}.{own_signature if signature is None else signature}"


def _with_password(value: str) -> str:
    """Signed with HS256, with the public key as the password."""
    header = b64(json.dumps(changed(HEADER, {"alg": "HS256"})).encode())
    signing_input = f"{header}.{value.split('.')[1]}"
    password = json.dumps(jwk(VERIFIER_KEY)).encode()
    mac = HMAC(password, SHA256())
    mac.update(signing_input.encode())
    return f"{signing_input}.{b64(mac.finalize())}"


def _respelled(value: str) -> str:
    """Another spelling of the same signature: 64 bytes leave four bits of the last letter unused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return value[:-1] + alphabet[alphabet.index(value[-1]) ^ 1]


def _duplicated(fields: Fields, name: str, value: object) -> str:
    """The fields as JSON, in which the name comes first with this value, and then again with its own."""
    return f"{{{json.dumps(name)}: {json.dumps(value)}, {json.dumps(fields)[1:]}"


GENUINE = (
    _plain("a token", "ok", TOKEN),
    _plain("a token of an EdDSA key", "ok", jws(ED_KEY, {**HEADER, "alg": "EdDSA", "kid": "ed"}, CLAIMS)),
    _plain("a VM without a plan", "ok", of_machine(plan=None, sku=None, subscriptionId=None, createdOn=None)),
    _plain("a further claim and parameter", "ok", token({"new": [1.5, {"a": "{[:"}]}, {"new": True})),
    _plain("a token that expired less than the leeway ago", "ok", token({"iat": at(-600), "exp": at(-59)})),
    _plain("a token of a clock that is ahead by less than the leeway", "ok", token({"iat": at(60)})),
    _plain("an expiry in the year 9000", "ok", token({"exp": 221845392000})),
    _plain("an expiry of a fraction of a second before the leeway's end", "ok", token({"exp": NOW_SECONDS - 59.9996})),
    _plain("a token for single use", "ok", TOKEN, single_use=True),
    _proved("a proof", "ok", proof()),
    _proved("two proofs for one token", "ok", proof(), proof({"jti": "proof-2"})),
    _proved(
        "a proof for the URL with a query", "ok", proof({"htu": "HTTPS://Licensing.EXAMPLE.com:443/licenses?a=b#c"})
    ),
    _proved("a proof of 100 s ago", "ok", proof({"iat": at(-100)})),
    _proved("a proof of 119.9999999 s ago", "ok", proof({"iat": NOW_SECONDS - 119.9999995})),
    _proved("a proof with an identifier of 256 bytes", "ok", proof({"jti": "\U0001f600" * 64})),
    _proved(
        "a proof of an EdDSA key",
        "ok",
        proof(
            {"ath": b64(hashlib.sha256(ED_BOUND_TOKEN.encode()).digest())},
            {"alg": "EdDSA", "jwk": jwk(VM_ED_KEY)},
            key=VM_ED_KEY,
        ),
        bound=ED_BOUND_TOKEN,
    ),
)

HOSTILE = (
    # Form
    _plain("empty", "token-malformed", ""),
    _plain("two segments", "token-malformed", TOKEN.rpartition(".")[0]),
    _plain("four segments", "token-malformed", TOKEN + ".AAAA"),
    _plain("a line break at the end", "token-malformed", TOKEN + "\n"),
    _plain("padding", "token-malformed", TOKEN + "=="),
    _plain("the same signature in another spelling", "token-malformed", _respelled(TOKEN)),
    _plain("a header that is no JSON", "token-malformed", jws(VERIFIER_KEY, "{", CLAIMS)),
    _plain("a header that is a list", "token-malformed", jws(VERIFIER_KEY, "[]", CLAIMS)),
    _plain(
        "a header with a byte order mark", "token-malformed", jws(VERIFIER_KEY, "\ufeff" + json.dumps(HEADER), CLAIMS)
    ),
    _plain(
        "a header with two algorithms", "token-malformed", jws(VERIFIER_KEY, _duplicated(HEADER, "alg", "none"), CLAIMS)
    ),
    _plain("a deep header", "token-malformed", jws(VERIFIER_KEY, '{"a":' + "[" * 2000 + "]" * 2000 + "}", CLAIMS)),
    _plain("oversized", "token-too-large", token({"filler": "x" * 9000})),
    _plain("oversized in bytes, and not in characters", "token-too-large", "\U0001f600" * 2100),
    _plain("not ASCII", "token-malformed", "\U0001f600" * 2000),
    # Header
    _plain("no type", "token-type-refused", token(header={"typ": ...})),
    _plain("another type", "token-type-refused", token(header={"typ": "JWT"})),
    _plain("a proof as a token", "token-type-refused", proof()),
    _plain("crit", "token-header-refused", token(header={"crit": ["exp"]})),
    _plain("jku", "token-header-refused", token(header={"jku": "https://attacker.example/jwks.json"})),
    _plain("x5u", "token-header-refused", token(header={"x5u": "https://attacker.example/chain.pem"})),
    _plain("x5c", "token-header-refused", token(header={"x5c": ["AAAA"]})),
    _plain("b64", "token-header-refused", token(header={"b64": False})),
    _plain(
        "the attacker's key in the header",
        "token-header-refused",
        jws(OTHER_KEY, {**HEADER, "jwk": jwk(OTHER_KEY)}, CLAIMS),
    ),
    _plain("the algorithm none", "algorithm-refused", _swapped(TOKEN, {**HEADER, "alg": "none"}, "")),
    _plain("the algorithm nOnE", "algorithm-refused", _swapped(TOKEN, {**HEADER, "alg": "nOnE"}, "")),
    _plain("HS256 with the public key as a password", "algorithm-refused", _with_password(TOKEN)),
    _plain("no algorithm", "algorithm-refused", token(header={"alg": ...})),
    _plain("an algorithm that is a list", "algorithm-refused", token(header={"alg": ["ES256"]})),
    _plain("the algorithm of another key", "algorithm-refused", token(header={"kid": "ed"})),
    _plain("no key name", "key-unknown", token(header={"kid": ...})),
    _plain("a key name that is a number", "key-unknown", token(header={"kid": 1})),
    _plain("an unknown key", "key-unknown", token(header={"kid": "../es"})),
    _plain("the name of a member of every object", "key-unknown", token(header={"kid": "__proto__"})),
    _plain("a key of another kind", "key-unknown", token(header={"kid": "of-another-kind"})),
    _plain("a key of another verifier", "key-unknown", jws(OTHER_KEY, {**HEADER, "kid": "other"}, CLAIMS)),
    # Signature
    _plain("signed by another key under this name", "signature-invalid", jws(OTHER_KEY, HEADER, CLAIMS)),
    _plain("no signature", "signature-invalid", TOKEN.rpartition(".")[0] + "."),
    _plain("a signature of zeros", "signature-invalid", TOKEN.rpartition(".")[0] + "." + b64(bytes(64))),
    _plain(
        "a signature in DER",
        "signature-invalid",
        TOKEN.rpartition(".")[0] + "." + b64(VERIFIER_KEY.sign(TOKEN.rpartition(".")[0].encode(), ECDSA(SHA256()))),
    ),
    _plain(
        "another payload",
        "signature-invalid",
        ".".join((TOKEN.split(".")[0], token({"aud": "fabrikam"}).split(".")[1], TOKEN.split(".")[2])),
    ),
    # Claims
    _plain("claims that are no JSON", "claims-invalid", jws(VERIFIER_KEY, HEADER, "no JSON")),
    _plain(
        "claims with two audiences by two names",
        "claims-invalid",
        jws(VERIFIER_KEY, HEADER, _duplicated(CLAIMS, "aud", "fabrikam")),
    ),
    _plain(
        "a machine with two vmIds",
        "claims-invalid",
        jws(VERIFIER_KEY, HEADER, json.dumps(CLAIMS).replace('"vmId"', '"vmId": "another", "vmId"')),
    ),
    _plain("a lone surrogate", "claims-invalid", token({"eat_nonce": "\ud800"})),
    _plain(
        "an integer that is infinite as a float",
        "claims-invalid",
        jws(VERIFIER_KEY, HEADER, json.dumps({**CLAIMS, "x": 10**400})),
    ),
    _plain(
        "an integer of more digits than Python reads",
        "claims-invalid",
        jws(VERIFIER_KEY, HEADER, json.dumps(CLAIMS)[:-1] + ', "x": ' + "9" * 5000 + "}"),
    ),
    _plain("NaN", "claims-invalid", jws(VERIFIER_KEY, HEADER, json.dumps({**CLAIMS, "exp": float("nan")}))),
    _plain("another profile", "profile-mismatch", token({"eat_profile": "tag:ietf.org,2026:rats/ear#05"})),
    _plain("another issuer", "issuer-mismatch", token({"iss": "https://verifier.example.com/"})),
    _plain("another audience", "audience-mismatch", token({"aud": "fabrikam"})),
    _plain("several audiences", "audience-mismatch", token({"aud": ["contoso", "fabrikam"]})),
    _plain("another tenant", "tenant-mismatch", token({"imds-verifier.tenant": "fabrikam"})),
    _plain("a list of tenants", "claims-invalid", token({"imds-verifier.tenant": ["contoso"]})),
    _plain("expired", "token-expired", token({"iat": at(-600), "exp": at(-60)})),
    _plain("an expiry that is text", "claims-invalid", token({"exp": str(at(600))})),
    _plain("an expiry that is true", "claims-invalid", token({"exp": True})),
    _plain("an expiry without end", "claims-invalid", token({"exp": 10**30})),
    _plain(
        "an expiry that is not finite",
        "claims-invalid",
        jws(VERIFIER_KEY, HEADER, json.dumps(CLAIMS).replace(f'"exp": {at(600)}', '"exp": 1e999')),
    ),
    _plain("an expiry in the last second of datetime", "claims-invalid", token({"exp": 253402300799})),
    _plain("a time before 1970", "claims-invalid", token({"iat": -1})),
    _plain(
        "an expiry of less than a microsecond before the leeway",
        "token-expired",
        token({"exp": NOW_SECONDS - 60.0000005}),
    ),
    _plain(
        "a start of less than a microsecond too late", "token-not-yet-valid", token({"iat": NOW_SECONDS + 60.0000005})
    ),
    _plain("not yet valid", "token-not-yet-valid", token({"iat": at(61), "exp": at(661)})),
    _plain("not before later", "token-not-yet-valid", token({"nbf": at(61)})),
    *(
        _plain(f"no {name}", "claims-invalid", token({name: ...}))
        for name in ("iss", "iat", "exp", "jti", "imds-verifier.tenant", "eat_profile", "eat_nonce", "submods")
    ),
    _plain("no audience", "audience-mismatch", token({"aud": ...})),
    _plain("an appraisal of something else", "claims-invalid", token({"submods": {"another": APPRAISAL}})),
    _plain("not affirmed", "not-affirmed", appraised(ear_status="contraindicated")),
    _plain("no status", "claims-invalid", appraised(ear_status=...)),
    _plain("one policy of two", "policy-missing", appraised(ear_appraisal_policy_ids=["appliance"])),
    _plain("no policies", "policy-missing", appraised(ear_appraisal_policy_ids=[])),
    _plain("policies as text", "claims-invalid", appraised(ear_appraisal_policy_ids="appliance gold")),
    _plain("no vmId", "claims-invalid", of_machine(vmId=...)),
    _plain("a vmId of null", "claims-invalid", of_machine(vmId=None)),
    _plain("no sku", "claims-invalid", of_machine(sku=...)),
    _plain("a plan that is text", "claims-invalid", of_machine(plan="contoso")),
    _plain("a day that there is none of", "claims-invalid", of_machine(createdOn="2026-02-30T00:00:00Z")),
    _plain("the year 0000", "claims-invalid", of_machine(createdOn="0000-01-01T00:00:00Z")),
    _plain("a time without a zone", "claims-invalid", of_machine(createdOn="2026-11-29T11:59:00")),
    # Confirmation
    _plain("a bound token without a proof", "proof-missing", BOUND_TOKEN),
    _plain("a bound token without a proof, for single use", "proof-missing", BOUND_TOKEN, single_use=True),
    _plain("bound to a certificate", "confirmation-unsupported", token({"cnf": {"x5t#S256": thumbprint(VM_KEY)}})),
    _plain(
        "bound to a key and a certificate",
        "confirmation-unsupported",
        token({"cnf": {"jkt": thumbprint(VM_KEY), "x5t#S256": thumbprint(VM_KEY)}}),
    ),
    _plain("bound to null", "confirmation-unsupported", token({"cnf": None})),
    _plain("bound to an empty object", "confirmation-unsupported", token({"cnf": {}})),
    _plain("not bound, but it has to be", "token-not-bound", TOKEN, bound_only=True),
    _proved("a proof for a token that is not bound", "token-not-bound", proof(), bound=TOKEN),
    Case(
        name="a token for single use, twice", code="token-replayed", token=TOKEN, proofs=(None, None), single_use=True
    ),
    # Proof
    *(
        Case(
            name=f"the proof {value}",
            code="proof-malformed",
            token=BOUND_TOKEN,
            proofs=(value,),
            method="POST",
            url=URL,
        )
        for value in NO_TEXT
    ),
    _proved("an empty proof", "proof-malformed", ""),
    _proved("two proofs in one header", "proof-malformed", f"{proof()}, {proof()}"),
    _proved("an oversized proof", "proof-too-large", proof({"filler": "x" * 9000})),
    _proved(
        "a proof with two methods", "proof-claims-invalid", jws(VM_KEY, PROOF_HEADER, _duplicated(PROOF, "htm", "GET"))
    ),
    _proved("the token as its own proof", "proof-type-refused", BOUND_TOKEN),
    _proved("a proof of another type", "proof-type-refused", proof(header={"typ": "JWT"})),
    _proved("a proof with crit", "proof-header-refused", proof(header={"crit": ["exp"]})),
    _proved("a proof with jku", "proof-header-refused", proof(header={"jku": "https://attacker.example"})),
    _proved("a proof with the algorithm none", "proof-algorithm-refused", proof(header={"alg": "none"})),
    _proved("a proof with HS256", "proof-algorithm-refused", proof(header={"alg": "HS256"})),
    _proved("a proof with the algorithm of another key", "proof-algorithm-refused", proof(header={"alg": "EdDSA"})),
    _proved("a proof with a symmetric key", "proof-key-refused", proof(header={"jwk": {"kty": "oct", "k": "AAAA"}})),
    _proved("a proof with a private key", "proof-key-refused", proof(header={"jwk": private_jwk(VM_KEY)})),
    _proved("a proof without a key", "proof-key-refused", proof(header={"jwk": ...})),
    _proved(
        "a proof with a point off the curve",
        "proof-key-refused",
        proof(header={"jwk": {**jwk(VM_KEY), "y": jwk(VM_KEY)["x"]}}),
    ),
    _proved(
        "a proof with an RSA key", "proof-key-refused", proof(header={"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}})
    ),
    *(
        _proved(f"a proof whose key has the {name} {value}", "proof-key-refused", proof(header={"jwk": changed_key}))
        for name, value in (("alg", None), ("use", None), ("alg", "ES384"), ("use", "enc"))
        for changed_key in [{**jwk(VM_KEY), name: value}]
    ),
    *(
        _proved(
            f"a proof whose Ed25519 key is {x.hex()[:4]}..{x.hex()[-2:]}",
            "proof-key-refused",
            proof(header={"alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(x)}}),
        )
        for x in LOW_ORDER
    ),
    _proved("a proof of another key", "proof-key-mismatch", proof(header={"jwk": jwk(OTHER_KEY)}, key=OTHER_KEY)),
    _proved("a proof signed by another key", "proof-signature-invalid", proof(key=OTHER_KEY)),
    _proved("a proof for another method", "proof-method-mismatch", proof({"htm": "GET"})),
    _proved("a proof for a method in lower case", "proof-method-mismatch", proof({"htm": "post"})),
    _proved("a proof for another host", "proof-url-mismatch", proof({"htu": "https://fabrikam.example/licenses"})),
    _proved("a proof for another path", "proof-url-mismatch", proof({"htu": f"{URL}/"})),
    _proved("a proof for another port", "proof-url-mismatch", proof({"htu": URL.replace(".com", ".com:8443")})),
    _proved("a proof for http", "proof-url-mismatch", proof({"htu": URL.replace("https", "http")})),
    _proved("a proof for a user at the host", "proof-url-mismatch", proof({"htu": URL.replace("//", "//a@")})),
    _proved("a proof for no URL", "proof-url-mismatch", proof({"htu": "licenses"})),
    *(
        _proved(f"a proof for a URL with {character!a}", "proof-url-mismatch", proof({"htu": URL + mark + character}))
        for character in ("\u00a0", "\u2028", "\ufeff", "\x1c", "\x85", "\x7f", "\u00e9", " ", "\n")
        for mark in ["?" if character in "\u00a0\x1c" else "#"]
    ),
    _proved("a proof for a path in Unicode", "proof-url-mismatch", proof({"htu": f"{URL}\u00e9"}), url=URL),
    _proved("a proof for another token", "proof-token-mismatch", proof(), bound=bound_token({"jti": "token-2"})),
    _proved("a proof of five minutes ago", "proof-expired", proof({"iat": at(-300)})),
    _proved("a proof of the last second of datetime", "proof-claims-invalid", proof({"iat": 253402300799})),
    _proved("a proof of the year 9000", "proof-not-yet-valid", proof({"iat": 221845392000})),
    _proved("a proof of 1970", "proof-expired", proof({"iat": 0})),
    _proved(
        "a proof of less than a microsecond too long ago", "proof-expired", proof({"iat": NOW_SECONDS - 120.0000005})
    ),
    _proved(
        "a proof of less than a microsecond too early", "proof-not-yet-valid", proof({"iat": NOW_SECONDS + 60.0000005})
    ),
    _proved("a proof from the future", "proof-not-yet-valid", proof({"iat": at(61)})),
    *(_proved(f"a proof without {name}", "proof-claims-invalid", proof({name: ...})) for name in PROOF),
    _proved("an identifier that is long in bytes", "proof-claims-invalid", proof({"jti": "\U0001f600" * 65})),
    _proved("a proof with a long identifier", "proof-claims-invalid", proof({"jti": "x" * 257})),
    _proved("a replayed proof", "proof-replayed", proof(), proof()),
    _proved("the identifier of an earlier proof", "proof-replayed", proof(), proof({"iat": at(1)})),
)
