"""Result tokens: who can check them, what stops them, and keys that change meanwhile."""

import base64
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.applications import KeptRecords
from support.clocks import ManualClock
from support.documents import NOW
from support.page_blocks import blocks_of
from support.results import archived_result, fresh_result
from support.token_checks import (
    ALPHABET,
    AUDIENCE,
    ISSUER,
    Expectations,
    NodeCheck,
    TokenCheck,
    changes,
    check_with_joserfc,
    check_with_pyjwt,
)

from verifier.adapters.polling import start_polling
from verifier.adapters.tokens.issuer import SignedResults
from verifier.adapters.tokens.key_directory import TokenKeyDirectory
from verifier.adapters.tokens.keys import KeyRing, load_ring
from verifier.adapters.tokens.signers import PemSigner, Pkcs11Key
from verifier.api.json_codec import key_set_json
from verifier.ports.telemetry import Event, ReloadOutcome, TokenKeysReloaded
from verifier.ports.tokens import TokenAlgorithm, TokenKeyError

RUNS_BLOCKS = {"docs/integrate/tokens.md": {"Checking one": 1}}
THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@dataclass(frozen=True, slots=True)
class KeyRecords(KeptRecords):
    reloads: list[tuple[ReloadOutcome, str]] = field(default_factory=list)

    def record(self, event: Event) -> None:
        if isinstance(event, TokenKeysReloaded):
            self.reloads.append((event.outcome, event.detail))
        else:
            KeptRecords.record(self, event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    directory: Path
    keys: TokenKeyDirectory
    records: KeyRecords
    tokens: SignedResults

    def issue(self, *, jkt: str = "") -> str:
        return self.tokens.issue(fresh_result(jkt=jkt), tenant="default", jti=secrets.token_hex(16))

    def expect(self) -> Expectations:
        return Expectations(key_set=key_set_json(self.tokens.published()), now=NOW)


def administer(directory: Path) -> TokenKeyDirectory:
    return TokenKeyDirectory(
        directory, clock=ManualClock(NOW), token_lifetime=timedelta(minutes=10), refresh=timedelta(seconds=1)
    )


def make_issuer(
    directory: Path, *, algorithm: TokenAlgorithm = TokenAlgorithm.ES256, audience: str | None = None
) -> Issuer:
    keys = administer(directory)
    keys.generate(algorithm)
    records = KeyRecords()
    tokens = SignedResults(
        directory,
        issuer=ISSUER,
        audience=audience,
        lifetime=timedelta(seconds=600),
        build="imds-verifier 1",
        recorder=records,
    )
    return Issuer(directory=directory, keys=keys, records=records, tokens=tokens)


@pytest.fixture(params=list(TokenAlgorithm))
def issuer(request: pytest.FixtureRequest, tmp_path: Path) -> Issuer:
    return make_issuer(tmp_path / "keys", algorithm=request.param)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> NodeCheck:
    return NodeCheck(tmp_path_factory.mktemp("node"))


@pytest.fixture(params=["pyjwt", "joserfc", "jose in Node"])
def check(request: pytest.FixtureRequest) -> TokenCheck:
    libraries: dict[str, Callable[[], TokenCheck]] = {
        "pyjwt": lambda: check_with_pyjwt,
        "joserfc": lambda: check_with_joserfc,
        "jose in Node": lambda: request.getfixturevalue("node"),
    }
    return libraries[request.param]()


def encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def decode(segment: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return fields


# --- What a relying party sees


def test_verifies_with_the_key_set_alone(issuer: Issuer, check: TokenCheck) -> None:
    [claims] = check([issuer.issue(jkt=THUMBPRINT)], issuer.expect())

    assert claims is not None
    assert claims["iss"] == ISSUER
    assert claims["aud"] == AUDIENCE
    assert claims["cnf"] == {"jkt": THUMBPRINT}
    assert claims["submods"]["azure-imds"]["ear_status"] == "affirming"


def test_verifies_no_more_when_any_byte_changes(issuer: Issuer, check: TokenCheck) -> None:
    token = issuer.issue()
    changed = list(changes(token))
    assert len(changed) == len(token)

    verdicts = check([token, *changed], issuer.expect())

    assert verdicts[0] is not None
    assert [place for place, verdict in enumerate(verdicts[1:]) if verdict is not None] == []


def test_another_last_letter_is_another_spelling_of_the_same_signature_or_refused(
    issuer: Issuer, check: TokenCheck
) -> None:
    """Four bits of it stand for nothing (RFC 4648 section 3.5): why tokens are told apart by their jti."""
    token = issuer.issue()
    signature = base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")
    others = [token[:-1] + letter for letter in ALPHABET if letter != token[-1]]

    verdicts = check(others, issuer.expect())

    for other, verdict in zip(others, verdicts, strict=True):
        if base64.urlsafe_b64decode(other.rpartition(".")[2] + "==") != signature:
            assert verdict is None
        elif verdict is not None:
            assert verdict["jti"] == decode(token.split(".")[1])["jti"]


def test_is_refused_for_another_audience_or_issuer_and_out_of_its_time(issuer: Issuer, check: TokenCheck) -> None:
    tokens, expected = [issuer.issue()], issuer.expect()

    assert check(tokens, expected) != [None]
    assert check(tokens, replace(expected, audience="another")) == [None]
    assert check(tokens, replace(expected, issuer="https://another.example.com")) == [None]
    assert check(tokens, replace(expected, now=NOW + timedelta(seconds=599))) != [None]
    assert check(tokens, replace(expected, now=NOW + timedelta(seconds=601))) == [None]


def test_is_refused_unsigned_or_signed_with_the_public_key_as_a_secret(issuer: Issuer, check: TokenCheck) -> None:
    header, payload, signature = issuer.issue().split(".")
    expected = issuer.expect()
    jwk = dict(issuer.tokens.published()[0].jwk)
    secrets: list[str | bytes] = [json.dumps(jwk), jwk["x"], base64.urlsafe_b64decode(jwk["x"] + "=="), jwk["kid"]]
    forged = []
    for algorithm in ("none", "None", "", "HS256", "RS256"):
        other = encode({**decode(header), "alg": algorithm})
        forged += [f"{other}.{payload}.", f"{other}.{payload}.{signature}"]
        for secret in secrets:
            data = secret if isinstance(secret, bytes) else secret.encode()
            mac = hmac.digest(data, f"{other}.{payload}".encode(), "sha256")
            forged.append(f"{other}.{payload}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")

    assert set(map(str, check(forged, expected))) == {"None"}


def test_header_names_the_key_and_brings_none_along(issuer: Issuer) -> None:
    header = decode(issuer.issue().split(".")[0])

    assert header == {"alg": header["alg"], "kid": issuer.keys.published()[0].kid, "typ": "eat+jwt"}


@pytest.mark.parametrize("algorithm", TokenAlgorithm)
def test_a_key_signs_as_pyjwt_does(algorithm: TokenAlgorithm, tmp_path: Path) -> None:
    administer(tmp_path).generate(algorithm)
    key = load_ring(tmp_path).signing
    assert not isinstance(key.private_key, Pkcs11Key)
    signer = PemSigner(private_key=key.private_key)
    for payload in (b"{}", b'{"iss":"x"}', bytes(range(256))):
        expected = jwt.PyJWS().encode(
            payload, key.private_key, algorithm=algorithm.value, headers={"kid": key.kid, "typ": "eat+jwt"}
        )
        token = key.sign(payload, "eat+jwt", signer)
        assert token.split(".")[:2] == expected.split(".")[:2]
        assert len(token) == len(expected)
        # A signature of ES256 contains random bits.
        assert algorithm is TokenAlgorithm.ES256 or token == expected
        assert jwt.PyJWS().decode(token, key.private_key.public_key(), algorithms=[algorithm.value]) == payload


def test_jti_is_the_id_that_is_passed_in(issuer: Issuer) -> None:
    token = issuer.tokens.issue(fresh_result(), tenant="default", jti="0123456789abcdef")
    assert decode(token.split(".")[1])["jti"] == "0123456789abcdef"


def test_audience_is_the_tenant_unless_the_settings_name_one(tmp_path: Path) -> None:
    theirs = make_issuer(tmp_path / "one")
    ours = make_issuer(tmp_path / "two", audience="licensing")

    for made, audience in ((theirs, "contoso"), (ours, "licensing")):
        token = made.tokens.issue(fresh_result(), tenant="contoso", jti="1")
        assert decode(token.split(".")[1])["aud"] == audience


def test_tenant_is_named_whichever_audience_there_is(tmp_path: Path, check: TokenCheck) -> None:
    for name, audience in (("one", None), ("two", "licensing")):
        made = make_issuer(tmp_path / name, audience=audience)
        tokens = [made.tokens.issue(fresh_result(), tenant=tenant, jti="1") for tenant in ("contoso", "fabrikam")]
        for token, tenant in zip(tokens, ("contoso", "fabrikam"), strict=True):
            [claims] = check([token], replace(made.expect(), audience=audience or tenant))
            assert claims is not None
            assert claims["imds-verifier.tenant"] == tenant


def test_there_is_none_for_an_archived_document(issuer: Issuer) -> None:
    with pytest.raises(AssertionError):
        issuer.tokens.issue(archived_result(), tenant="default", jti="1")  # type: ignore[arg-type]  # mypy refuses it too


def test_only_public_members_are_published(issuer: Issuer) -> None:
    issuer.keys.generate(TokenAlgorithm.ES256)
    issuer.keys.generate(TokenAlgorithm.EDDSA)

    keys = issuer.tokens.published()

    assert len(keys) == 3
    for key in keys:
        assert set(key.jwk) <= {"kty", "crv", "x", "y", "kid", "use", "alg"}


# --- Rotation


def test_old_and_new_tokens_verify_while_both_keys_are_published(issuer: Issuer, check: TokenCheck) -> None:
    before = issuer.issue()
    kid = issuer.keys.generate(TokenAlgorithm.EDDSA)
    issuer.tokens.refresh()
    between = issuer.issue()
    known = issuer.expect()
    issuer.keys.sign_with(kid, at_once=True)
    issuer.tokens.refresh()
    after = issuer.issue()

    assert decode(after.split(".")[0])["kid"] == kid
    # Also by who fetched the keys before the new one signed.
    for expected in (known, issuer.expect()):
        assert None not in check([before, between, after], expected)
    issuer.keys.retire(decode(before.split(".")[0])["kid"], at_once=True)
    verdicts = check([before, between, after], issuer.expect())
    assert verdicts[:2] == [None, None]
    assert verdicts[2] is not None


def test_records_each_change_once(issuer: Issuer) -> None:
    issuer.tokens.refresh()
    assert issuer.records.reloads == []

    kid = issuer.keys.generate(TokenAlgorithm.ES256)
    issuer.keys.sign_with(kid, at_once=True)
    issuer.tokens.refresh()
    issuer.tokens.refresh()

    assert issuer.records.reloads == [(ReloadOutcome.LOADED, f"{kid} signs, 2 published")]


def test_a_swapped_symbolic_link_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes puts a Secret in place."""
    mount = tmp_path / "mount"
    mount.mkdir()
    for name in ("..one", "..two"):
        administer(mount / name).generate(TokenAlgorithm.ES256)

    def swap(name: str) -> None:
        (mount / "..new").symlink_to(name)
        (mount / "..new").rename(mount / "..data")
        for file in mount.glob("*"):
            if file.is_symlink() and not file.name.startswith("."):
                file.unlink()
        for file in (mount / name).iterdir():
            (mount / file.name).symlink_to(f"..data/{file.name}")

    swap("..one")
    records = KeyRecords()
    tokens = SignedResults(
        mount, issuer=ISSUER, audience=None, lifetime=timedelta(minutes=10), build="1", recorder=records
    )
    before = tokens.published()
    swap("..two")

    assert tokens.published() != before
    assert [key.kid for key in tokens.published()] == [load_ring(mount / "..two").signing.kid]
    assert [outcome for outcome, _ in records.reloads] == [ReloadOutcome.LOADED]


@pytest.mark.parametrize("fault", ["gone", "empty", "open", "broken", "unnamed"])
def test_a_broken_set_is_refused_once_and_the_old_one_stays(issuer: Issuer, fault: str) -> None:
    before = issuer.tokens.published()
    [kid] = [key.kid for key in before]
    file, current = issuer.directory / f"{kid}.pem", issuer.directory / "current"
    data = file.read_bytes()
    match fault:
        case "gone":
            issuer.directory.rename(issuer.directory.with_name("elsewhere"))
        case "empty":
            file.unlink()
        case "open":
            file.chmod(0o644)
        case "broken":
            file.write_bytes(data[:-20])
        case "unnamed":
            current.write_text("another\n", "ascii")

    issuer.tokens.refresh()
    issuer.tokens.refresh()

    assert issuer.tokens.published() == before
    assert decode(issuer.issue().split(".")[0])["kid"] == kid
    [(outcome, detail)] = issuer.records.reloads
    assert outcome is ReloadOutcome.REFUSED
    assert detail == issuer.tokens.trouble()
    assert str(issuer.directory) in detail
    assert data.decode().splitlines()[1] not in detail

    match fault:
        case "gone":
            issuer.directory.with_name("elsewhere").rename(issuer.directory)
        case "open":
            file.chmod(0o600)
        case "unnamed":
            current.write_text(f"{kid}\n", "ascii")
        case _:
            file.write_bytes(data)
            file.chmod(0o600)
    issuer.tokens.refresh()

    assert issuer.tokens.trouble() == ""
    assert [outcome for outcome, _ in issuer.records.reloads] == [ReloadOutcome.REFUSED, ReloadOutcome.LOADED]


def test_starts_with_the_last_good_keys_if_the_present_ones_are_invalid(tmp_path: Path) -> None:
    made = make_issuer(tmp_path / "keys")
    ring = load_ring(made.directory)
    (made.directory / "current").write_text("another", "ascii")
    records = KeyRecords()

    def start(last_good: KeyRing | None) -> SignedResults:
        return SignedResults(
            made.directory,
            issuer=ISSUER,
            audience=None,
            lifetime=timedelta(minutes=10),
            build="1",
            recorder=records,
            last_good=last_good,
        )

    with pytest.raises(TokenKeyError, match="current: names a key that does not exist"):
        start(None)
    assert start(ring).published() == ring.published
    assert [outcome for outcome, _ in records.reloads] == [ReloadOutcome.REFUSED]


def test_the_polling_survives_an_error(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    done, calls = threading.Event(), []

    def refresh() -> None:
        calls.append(1)
        if len(calls) == 4:
            done.set()
        raise OSError("the disk is gone")

    monkeypatch.setattr(issuer.tokens, "refresh", refresh)
    stop = start_polling(issuer.tokens.refresh, recorder=issuer.records, name="token keys", interval_seconds=0.001)
    try:
        assert done.wait(20)
    finally:
        stop.set()
    assert [type(error) for _, error in issuer.records.failures] == [OSError]


def test_the_text_of_keys_has_no_secret(issuer: Issuer) -> None:
    ring = load_ring(issuer.directory)
    secret = (issuer.directory / f"{ring.signing.kid}.pem").read_text("ascii").splitlines()[1]

    assert secret not in repr(ring)
    assert "private" not in repr(ring).lower()
    assert os.fspath(issuer.directory) not in repr(ring)


# --- The example of the documentation


@pytest.fixture
def example() -> Callable[[str, Mapping[str, object]], dict[str, object]]:
    [block] = blocks_of("docs/integrate/tokens.md", "Checking one", "python")
    names: dict[str, Any] = {}
    exec(block.text, names)  # noqa: S102 - our own page
    check: Callable[[str, Mapping[str, object]], dict[str, object]] = names["check"]
    return check


def now_signed(issuer: Issuer, *, policies: object = ("default", "appliance"), **changed: object) -> str:
    """A token of now, for a check that reads the machine's clock: for the tenant and the policy of the example."""
    header, payload, _ = issuer.tokens.issue(fresh_result(), tenant="contoso", jti="1").split(".")
    now = int(time.time())
    signing = load_ring(issuer.directory).signing
    assert not isinstance(signing.private_key, Pkcs11Key)
    fields = {**decode(payload), "iat": now, "exp": now + 600}
    fields["submods"]["azure-imds"]["ear_appraisal_policy_ids"] = policies
    fields |= changed
    return jwt.encode(
        fields,
        signing.private_key,
        algorithm=signing.algorithm.value,
        headers={"kid": signing.kid, "typ": decode(header)["typ"]},
    )


def test_the_documented_check_takes_a_token_and_refuses_every_other(
    issuer: Issuer, example: Callable[[str, Mapping[str, object]], dict[str, object]]
) -> None:
    key_set = key_set_json(issuer.tokens.published())
    token = now_signed(issuer)
    header, payload, signature = token.split(".")
    jwk = issuer.tokens.published()[0].jwk
    unsigned = encode({**decode(header), "alg": "none"})
    confused = encode({**decode(header), "alg": "HS256"})
    mac = hmac.digest(json.dumps(dict(jwk)).encode(), f"{confused}.{payload}".encode(), "sha256")

    assert example(token, key_set)["cloud"] == "AzurePublicCloud"
    # A clock that is up to a minute behind or ahead refuses no fresh token.
    example(now_signed(issuer, iat=int(time.time()) + 30), key_set)
    example(now_signed(issuer, exp=int(time.time()) - 30), key_set)
    for other in (
        f"{unsigned}.{payload}.",
        f"{unsigned}.{payload}.{signature}",
        f"{confused}.{payload}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        now_signed(issuer, exp=int(time.time()) - 61),
        now_signed(issuer, iat=int(time.time()) + 120),
        now_signed(issuer, aud="another"),
        now_signed(issuer, **{"imds-verifier.tenant": "another"}),
        now_signed(issuer, policies=[]),
        now_signed(issuer, policies=["default", "appliance-of-another"]),
        now_signed(issuer, iss="https://another.example.com"),
        now_signed(issuer, eat_profile="another"),
        now_signed(issuer, submods={"azure-imds": {"ear_status": "contraindicated"}}),
        f"{encode({**decode(header), 'kid': 'another'})}.{payload}.{signature}",
        "",
    ):
        with pytest.raises((jwt.PyJWTError, KeyError)):
            example(other, key_set)
