"""Check what the chain cache keeps, for how long, and that made-up certificates cost little."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from support.certificates import make_names, make_self_signed, make_signer
from support.chains import authority, claims_of, key, root
from support.documents import NOW, around, bundle_of, der, trusted

from verifier.core import chain
from verifier.core.chain import build_chain
from verifier.core.model import AuthenticContent, UnverifiedClaims
from verifier.core.reasons import ChainRefused, Check, ProfileRefused, Reason, progress
from verifier.core.trust.bundle import Denials, State, TrustBundle
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.usecases import chain_cache
from verifier.usecases.chain_cache import FAILURE_LIFETIME, ChainCache

SECOND = timedelta(seconds=1)
TICK = timedelta.resolution
WAIT_SECONDS = 30


@cache
def issuer(name: str = "Cache CA") -> pki.Identity:
    return authority(name)


@cache
def claims(name: str = "Cache CA", number: int = 0) -> UnverifiedClaims:
    """Return the claims of a document by the numbered signer of this authority."""
    signer_key = key(f"Cache signer {number}")
    return claims_of(make_signer(issuer=issuer(name), key=signer_key, validity=around(days=3000)).certificate)


def bundle(*, activate_at: datetime | None = None, retire_at: datetime | None = None) -> TrustBundle:
    pin = trusted(issuer().certificate, activate_at=activate_at, retire_at=retire_at)
    return TrustBundle.of((trusted(root().certificate), pin))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Keep the time of each chain that is built."""
    moments: list[datetime] = []

    def build(claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
        moments.append(now)
        return build_chain(claims, now=now, bundle=bundle)

    monkeypatch.setattr(chain_cache, "build_chain", build)
    return moments


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Certificate]:
    """Keep each signer for which a path validator searched a path."""
    signers: list[Certificate] = []
    find = chain._find_path  # noqa: SLF001 - the search itself is what must not be reached

    def count(signer: Certificate, *rest: object) -> object:
        signers.append(signer)
        return find(signer, *rest)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(chain, "_find_path", count)
    return signers


class TestSuccess:
    def test_chain_is_built_once(self, built: list[datetime]) -> None:
        chains, trust = ChainCache(), bundle()
        first = chains.build(claims(), now=NOW, bundle=trust)
        again = chains.build(claims(), now=NOW + SECOND, bundle=trust)
        assert again == first == build_chain(claims(), now=NOW, bundle=trust)
        assert built == [NOW]
        assert (chains.hits, chains.misses, len(chains)) == (1, 1, 1)

    def test_each_signer_has_its_own_chain(self, built: list[datetime]) -> None:
        chains, trust = ChainCache(), bundle()
        for number in range(2):
            chains.build(claims(number=number), now=NOW, bundle=trust)
        assert len(built) == 2

    def test_cached_chain_is_returned_with_the_current_document(self) -> None:
        chains, trust = ChainCache(), bundle()
        chains.build(claims(), now=NOW, bundle=trust)
        other = replace(claims().decoded, document={"another": "document"})
        assert chains.build(UnverifiedClaims(decoded=other), now=NOW, bundle=trust).decoded is other

    def test_each_cloud_has_its_own_chain(self) -> None:
        chains, trust = ChainCache(), bundle()
        chains.build(claims(), now=NOW, bundle=trust)
        elsewhere = claims().decoded.named
        in_china = replace(claims().decoded, named=replace(elsewhere, cloud=Cloud.CHINA))
        with pytest.raises(ChainRefused):
            chains.build(UnverifiedClaims(decoded=in_china), now=NOW, bundle=trust)

    def test_new_trust_generation_builds_the_chain_again(self, built: list[datetime]) -> None:
        chains = ChainCache()
        chains.build(claims(), now=NOW, bundle=bundle())
        later = bundle(retire_at=NOW + timedelta(days=1))
        assert chains.build(claims(), now=NOW, bundle=later).trust_generation == later.generation
        assert len(built) == 2

    def test_denied_issuer_is_refused_at_once(self) -> None:
        chains, trust = ChainCache(), bundle()
        chains.build(claims(), now=NOW, bundle=trust)
        denied = frozenset({Certificate.from_der(der(issuer().certificate)).spki_sha256})
        with pytest.raises(ChainRefused):
            chains.build(claims(), now=NOW, bundle=TrustBundle.of(trust.entries, denials=Denials(spki_sha256=denied)))

    def test_chain_expires_when_its_pin_retires(self) -> None:
        moment = NOW + timedelta(days=400)
        chains, trust = ChainCache(), bundle(retire_at=moment)
        chains.build(claims(), now=NOW, bundle=trust)
        chains.build(claims(), now=moment - TICK, bundle=trust)
        with pytest.raises(ChainRefused, match="retired"):
            chains.build(claims(), now=moment, bundle=trust)

    def test_chain_built_just_before_its_pin_expires_expires_with_it(self) -> None:
        end = NOW + timedelta(days=100)
        validity = pki.Validity(not_before=NOW, not_after=end)
        short = authority("Short CA", validity=validity)
        signer = claims_of(make_signer(issuer=short, key=key("s"), validity=around(days=3000)).certificate)
        chains, trust = ChainCache(), bundle_of(root().certificate, short.certificate)
        chains.build(signer, now=end, bundle=trust)
        with pytest.raises(ChainRefused, match="expired"):
            chains.build(signer, now=end + TICK, bundle=trust)

    def test_chain_expires_with_its_signer(self) -> None:
        end = NOW + timedelta(days=10)
        validity = pki.Validity(not_before=NOW, not_after=end)
        signer = claims_of(make_signer(issuer=issuer(), key=key("s"), validity=validity).certificate)
        chains, trust = ChainCache(), bundle()
        for moment in (NOW, end - TICK, end):
            chains.build(signer, now=moment, bundle=trust)
        with pytest.raises(ChainRefused):
            chains.build(signer, now=end + TICK, bundle=trust)

    def test_chain_is_built_again_when_its_pin_becomes_expiring(self, built: list[datetime]) -> None:
        retire_at = NOW + timedelta(days=400)
        opens = retire_at - timedelta(days=60)
        chains, trust = ChainCache(), bundle(retire_at=retire_at)
        states = [
            chains.build(claims(), now=moment, bundle=trust).chain[0].state for moment in (NOW, opens, opens + TICK)
        ]
        assert states == [State.ACTIVE, State.ACTIVE, State.EXPIRING]
        assert built == [NOW, opens + TICK]

    def test_chain_is_not_used_for_an_earlier_time(self, built: list[datetime]) -> None:
        chains, trust = ChainCache(), bundle()
        chains.build(claims(), now=NOW, bundle=trust)
        chains.build(claims(), now=NOW - SECOND, bundle=trust)
        assert built == [NOW, NOW - SECOND]

    def test_expired_chain_does_not_hide_a_newer_failure(self, built: list[datetime]) -> None:
        moment = NOW + timedelta(days=30)
        chains, trust = ChainCache(), bundle(retire_at=moment)
        chains.build(claims(), now=NOW, bundle=trust)
        for _ in range(3):
            with pytest.raises(ChainRefused, match="retired"):
                chains.build(claims(), now=moment, bundle=trust)
        assert built == [NOW, moment]


class TestFailure:
    def test_failure_is_cached_for_its_lifetime(self, built: list[datetime]) -> None:
        chains, trust = ChainCache(), bundle_of(root().certificate)
        faults = []
        for moment in (NOW, NOW + FAILURE_LIFETIME - TICK, NOW + FAILURE_LIFETIME):
            with pytest.raises(ChainRefused) as refused:
                chains.build(claims(), now=moment, bundle=trust)
            faults.append((refused.value.reason, refused.value.detail))
        assert set(faults) == {(Reason.ISSUER_UNPINNED, faults[0][1])}
        assert built == [NOW, NOW + FAILURE_LIFETIME]
        assert FAILURE_LIFETIME == 30 * SECOND

    def test_cached_failure_has_the_checks_of_the_first_one(self) -> None:
        chains, trust = ChainCache(), bundle_of(root().certificate)
        checks = []
        for _ in range(2):
            with pytest.raises(ChainRefused) as refused:
                chains.build(claims(), now=NOW, bundle=trust)
            checks.append(refused.value.checks)
        assert chains.hits == 1
        assert checks == [progress(failed=Check.CHAIN)] * 2

    def test_failure_at_the_moment_when_the_signer_becomes_valid_is_cached(self, built: list[datetime]) -> None:
        validity = pki.Validity(not_before=NOW, not_after=NOW + timedelta(days=10))
        new = claims_of(make_signer(issuer=issuer(), key=key("s"), validity=validity).certificate)
        chains, trust = ChainCache(), bundle_of(root().certificate)
        for moment in (NOW, NOW + FAILURE_LIFETIME - TICK):
            with pytest.raises(ChainRefused):
                chains.build(new, now=moment, bundle=trust)
        assert built == [NOW]

    def test_cached_failure_says_that_the_profile_refused_the_signer(self) -> None:
        constraints = x509.PolicyConstraints(require_explicit_policy=5, inhibit_policy_mapping=None)
        odd = claims_of(make_signer(issuer=issuer(), key=key("s"), extensions=[constraints]).certificate)
        chains, trust = ChainCache(), bundle()
        for hits in range(3):
            with pytest.raises(ProfileRefused, match=r"RFC 5280 4\.2\.1\.11"):
                chains.build(odd, now=NOW, bundle=trust)
            assert chains.hits == hits

    def test_failure_expires_when_a_staged_pin_becomes_active(self, built: list[datetime]) -> None:
        moment = NOW + 5 * SECOND
        chains, trust = ChainCache(), bundle(activate_at=moment)
        for early in (NOW, moment - TICK):
            with pytest.raises(ChainRefused, match="staged"):
                chains.build(claims(), now=early, bundle=trust)
        chains.build(claims(), now=moment, bundle=trust)
        assert built == [NOW, moment]

    def test_failure_expires_when_the_signer_becomes_valid(self) -> None:
        moment = NOW + 5 * SECOND
        validity = pki.Validity(not_before=moment, not_after=moment + timedelta(days=10))
        early = claims_of(make_signer(issuer=issuer(), key=key("s"), validity=validity).certificate)
        chains, trust = ChainCache(), bundle()
        with pytest.raises(ChainRefused):
            chains.build(early, now=NOW, bundle=trust)
        chains.build(early, now=moment, bundle=trust)

    def test_failure_is_not_used_for_another_bundle(self) -> None:
        chains = ChainCache()
        with pytest.raises(ChainRefused):
            chains.build(claims(), now=NOW, bundle=bundle_of(root().certificate))
        chains.build(claims(), now=NOW, bundle=bundle())


@cache
def untrusted_leaf() -> Certificate:
    """Return a self-signed leaf with the right name, which any sender can make."""
    return Certificate.from_der(der(make_self_signed(key=key("Untrusted")).certificate))


def made_up(number: int) -> UnverifiedClaims:
    """Return the untrusted leaf under another fingerprint.

    Making 10,000 real leaves takes longer than validating them (bench/chains.py makes them).
    """
    sample = untrusted_claims().decoded
    signer = replace(sample.named.signed.signer, sha256=f"{number:064x}")
    named = replace(sample.named, signed=replace(sample.named.signed, signer=signer))
    return UnverifiedClaims(decoded=replace(sample, named=named))


@cache
def untrusted_claims() -> UnverifiedClaims:
    return claims_of(untrusted_leaf().parsed)


@cache
def entry_weight() -> int:
    """Return the weight of one cached chain. A failure weighs a little less."""
    chains = ChainCache()
    chains.build(claims(), now=NOW, bundle=bundle())
    return chains.weight


class TestBounds:
    def test_weight_grows_with_the_links_of_a_chain_and_the_text_of_a_failure(self) -> None:
        chains, trust = ChainCache(), bundle()
        chain = chains.build(claims(), now=NOW, bundle=trust).chain
        assert len(chain) == 2
        assert chains.weight == 640 + 128 * 2
        with pytest.raises(ChainRefused) as refused:
            chains.build(made_up(0), now=NOW, bundle=trust)
        assert chains.weight == 640 + 128 * 2 + 768 + len(refused.value.detail)

    def test_ten_thousand_failures_stay_within_the_bound_and_evict_no_chain(self, built: list[datetime]) -> None:
        chains, trust = ChainCache(capacity=100 * entry_weight()), bundle()
        for number in range(5):
            chains.build(claims(number=number), now=NOW, bundle=trust)
        for number in range(10_000):
            with pytest.raises(ChainRefused):
                chains.build(made_up(number), now=NOW, bundle=trust)
            assert chains.weight <= 100 * entry_weight()
        assert len(chains) > 50
        built.clear()
        for number in range(5):
            chains.build(claims(number=number), now=NOW, bundle=trust)
        assert built == []

    def test_chains_do_not_evict_failures(self) -> None:
        chains, trust = ChainCache(capacity=4 * entry_weight()), bundle()
        for number in range(5):
            chains.build(claims(number=number), now=NOW, bundle=trust)
            with pytest.raises(ChainRefused):
                chains.build(made_up(number), now=NOW, bundle=trust)
        assert len(chains) == 4

    def test_least_recently_used_chain_is_evicted(self, built: list[datetime]) -> None:
        chains, trust = ChainCache(capacity=4 * entry_weight()), bundle()
        for number in (0, 1, 0, 2):  # 0 is used again, so that 2 evicts 1
            chains.build(claims(number=number), now=NOW, bundle=trust)
        built.clear()
        chains.build(claims(number=0), now=NOW, bundle=trust)
        assert built == []
        chains.build(claims(number=1), now=NOW, bundle=trust)
        assert built == [NOW]

    def test_cache_without_capacity_keeps_no_entry(self, built: list[datetime]) -> None:
        chains, trust = ChainCache(capacity=0), bundle()
        for _ in range(2):
            chains.build(claims(), now=NOW, bundle=trust)
        assert len(chains) == 0
        assert built == [NOW, NOW]


class TestUntrustedLeaves:
    """Check that only certificates of a trusted authority make the path validators search."""

    def test_self_signed_leaves_with_the_right_name_search_no_path(self, searched: list[Certificate]) -> None:
        chains, trust = ChainCache(), bundle()
        for number in range(10_000):
            with pytest.raises(ChainRefused, match="self-signed"):
                chains.build(made_up(number), now=NOW, bundle=trust)
        assert searched == []
        assert chains.misses == 10_000

    @pytest.mark.parametrize("name", ["Untrusted CA", "Cache CA"], ids=["unknown-issuer", "issuers-name-forged"])
    def test_leaf_without_a_pinned_issuer_searches_no_path(self, searched: list[Certificate], name: str) -> None:
        forged = pki.issue(
            subject=make_names("metadata.azure.com"),
            public_key=key("Untrusted").public_key(),
            issuer_name=pki.make_name(name),
            issuer_key=key("Untrusted"),
            validity=around(),
            extensions=(
                x509.Extension(
                    x509.SubjectAlternativeName.oid,
                    False,  # noqa: FBT003 - its signature
                    x509.SubjectAlternativeName([x509.DNSName("metadata.azure.com")]),
                ),
            ),
            signing_hash=hashes.SHA256(),
        )
        with pytest.raises(ChainRefused):
            ChainCache().build(claims_of(forged), now=NOW, bundle=bundle())
        assert searched == []

    def test_genuine_signer_searches_one_path(self, searched: list[Certificate]) -> None:
        ChainCache().build(claims(), now=NOW, bundle=bundle())
        assert len(searched) == 1


def test_concurrent_threads_get_the_same_chains() -> None:
    chains, trust = ChainCache(capacity=8 * entry_weight()), bundle()
    expected = {number: build_chain(claims(number=number), now=NOW, bundle=trust) for number in range(6)}
    together = threading.Barrier(8)
    faults: list[str] = []

    def work(offset: int) -> None:
        together.wait(WAIT_SECONDS)
        for turn in range(60):
            number = (turn + offset) % 6
            if chains.build(claims(number=number), now=NOW, bundle=trust) != expected[number]:
                faults.append(f"chain {number}")
            try:
                chains.build(made_up(turn * 8 + offset), now=NOW, bundle=trust)
                faults.append("accepted")
            except ChainRefused:
                pass
            if chains.weight > 8 * entry_weight():
                faults.append("too many")

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert faults == []
    assert chains.hits + chains.misses == 8 * 60 * 2
