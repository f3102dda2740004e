"""What is remembered of chains, for how long, and what it costs whom."""

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
from verifier.core.reasons import ChainRefused, Reason
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
def issuer(name: str = "Memory CA") -> pki.Identity:
    return authority(name)


@cache
def claims(name: str = "Memory CA", number: int = 0) -> UnverifiedClaims:
    """Of a signer under this authority; another one for another number."""
    signer_key = key(f"Memory signer {number}")
    return claims_of(make_signer(issuer=issuer(name), key=signer_key, validity=around(days=3000)).certificate)


def bundle(*, activate_at: datetime | None = None, retire_at: datetime | None = None) -> TrustBundle:
    pin = trusted(issuer().certificate, activate_at=activate_at, retire_at=retire_at)
    return TrustBundle.of((trusted(root().certificate), pin))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """When chains were built, one for each."""
    moments: list[datetime] = []

    def build(claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> AuthenticContent:
        moments.append(now)
        return build_chain(claims, now=now, bundle=bundle)

    monkeypatch.setattr(chain_cache, "build_chain", build)
    return moments


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Certificate]:
    """The signers for which a judge searched a path."""
    signers: list[Certificate] = []
    find = chain._find_path  # noqa: SLF001 - the search itself is what must not be reached

    def count(signer: Certificate, *rest: object) -> object:
        signers.append(signer)
        return find(signer, *rest)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(chain, "_find_path", count)
    return signers


class TestSuccess:
    def test_is_built_once(self, built: list[datetime]) -> None:
        memory, trust = ChainCache(), bundle()
        first = memory.build(claims(), now=NOW, bundle=trust)
        again = memory.build(claims(), now=NOW + SECOND, bundle=trust)
        assert again == first == build_chain(claims(), now=NOW, bundle=trust)
        assert built == [NOW]
        assert (memory.hits, memory.misses, len(memory)) == (1, 1, 1)

    def test_is_of_one_signer(self, built: list[datetime]) -> None:
        memory, trust = ChainCache(), bundle()
        for number in range(2):
            memory.build(claims(number=number), now=NOW, bundle=trust)
        assert len(built) == 2

    def test_carries_the_document_that_is_asked_about(self) -> None:
        memory, trust = ChainCache(), bundle()
        memory.build(claims(), now=NOW, bundle=trust)
        other = replace(claims().decoded, document={"another": "document"})
        assert memory.build(UnverifiedClaims(decoded=other), now=NOW, bundle=trust).decoded is other

    def test_is_of_one_cloud(self) -> None:
        memory, trust = ChainCache(), bundle()
        memory.build(claims(), now=NOW, bundle=trust)
        elsewhere = claims().decoded.named
        in_china = replace(claims().decoded, named=replace(elsewhere, cloud=Cloud.CHINA))
        with pytest.raises(ChainRefused):
            memory.build(UnverifiedClaims(decoded=in_china), now=NOW, bundle=trust)

    def test_is_of_one_generation(self, built: list[datetime]) -> None:
        memory = ChainCache()
        memory.build(claims(), now=NOW, bundle=bundle())
        later = bundle(retire_at=NOW + timedelta(days=1))
        assert memory.build(claims(), now=NOW, bundle=later).trust_generation == later.generation
        assert len(built) == 2

    def test_is_refused_at_once_where_its_issuer_is_denied(self) -> None:
        memory, trust = ChainCache(), bundle()
        memory.build(claims(), now=NOW, bundle=trust)
        denied = frozenset({Certificate.from_der(der(issuer().certificate)).spki_sha256})
        with pytest.raises(ChainRefused):
            memory.build(claims(), now=NOW, bundle=TrustBundle.of(trust.entries, denials=Denials(spki_sha256=denied)))

    def test_ends_when_its_pin_retires(self) -> None:
        moment = NOW + timedelta(days=400)
        memory, trust = ChainCache(), bundle(retire_at=moment)
        memory.build(claims(), now=NOW, bundle=trust)
        memory.build(claims(), now=moment - TICK, bundle=trust)
        with pytest.raises(ChainRefused, match="retired"):
            memory.build(claims(), now=moment, bundle=trust)

    def test_ends_when_its_pin_expires_also_where_it_was_built_in_the_last_moment(self) -> None:
        end = NOW + timedelta(days=100)
        validity = pki.Validity(not_before=NOW, not_after=end)
        short = authority("Short CA", validity=validity)
        signer = claims_of(make_signer(issuer=short, key=key("s"), validity=around(days=3000)).certificate)
        memory, trust = ChainCache(), bundle_of(root().certificate, short.certificate)
        memory.build(signer, now=end, bundle=trust)
        with pytest.raises(ChainRefused, match="expired"):
            memory.build(signer, now=end + TICK, bundle=trust)

    def test_ends_with_its_signer(self) -> None:
        end = NOW + timedelta(days=10)
        validity = pki.Validity(not_before=NOW, not_after=end)
        signer = claims_of(make_signer(issuer=issuer(), key=key("s"), validity=validity).certificate)
        memory, trust = ChainCache(), bundle()
        for moment in (NOW, end - TICK, end):
            memory.build(signer, now=moment, bundle=trust)
        with pytest.raises(ChainRefused):
            memory.build(signer, now=end + TICK, bundle=trust)

    def test_says_that_its_pin_is_expiring_from_the_moment_on_that_it_is(self, built: list[datetime]) -> None:
        retire_at = NOW + timedelta(days=400)
        opens = retire_at - timedelta(days=60)
        memory, trust = ChainCache(), bundle(retire_at=retire_at)
        states = [
            memory.build(claims(), now=moment, bundle=trust).chain[0].state for moment in (NOW, opens, opens + TICK)
        ]
        assert states == [State.ACTIVE, State.ACTIVE, State.EXPIRING]
        assert built == [NOW, opens + TICK]

    def test_is_not_remembered_of_an_earlier_moment(self, built: list[datetime]) -> None:
        memory, trust = ChainCache(), bundle()
        memory.build(claims(), now=NOW, bundle=trust)
        memory.build(claims(), now=NOW - SECOND, bundle=trust)
        assert built == [NOW, NOW - SECOND]

    def test_does_not_hide_the_failure_that_came_after_it(self, built: list[datetime]) -> None:
        moment = NOW + timedelta(days=30)
        memory, trust = ChainCache(), bundle(retire_at=moment)
        memory.build(claims(), now=NOW, bundle=trust)
        for _ in range(3):
            with pytest.raises(ChainRefused, match="retired"):
                memory.build(claims(), now=moment, bundle=trust)
        assert built == [NOW, moment]


class TestFailure:
    def test_is_found_once_in_its_lifetime(self, built: list[datetime]) -> None:
        memory, trust = ChainCache(), bundle_of(root().certificate)
        faults = []
        for moment in (NOW, NOW + FAILURE_LIFETIME - TICK, NOW + FAILURE_LIFETIME):
            with pytest.raises(ChainRefused) as refused:
                memory.build(claims(), now=moment, bundle=trust)
            faults.append((refused.value.reason, refused.value.detail))
        assert set(faults) == {(Reason.ISSUER_UNPINNED, faults[0][1])}
        assert built == [NOW, NOW + FAILURE_LIFETIME]

    def test_ends_at_the_moment_at_which_a_staged_pin_is_active(self, built: list[datetime]) -> None:
        moment = NOW + 5 * SECOND
        memory, trust = ChainCache(), bundle(activate_at=moment)
        for early in (NOW, moment - TICK):
            with pytest.raises(ChainRefused, match="staged"):
                memory.build(claims(), now=early, bundle=trust)
        memory.build(claims(), now=moment, bundle=trust)
        assert built == [NOW, moment]

    def test_ends_at_the_moment_at_which_the_signer_is_valid(self) -> None:
        moment = NOW + 5 * SECOND
        validity = pki.Validity(not_before=moment, not_after=moment + timedelta(days=10))
        early = claims_of(make_signer(issuer=issuer(), key=key("s"), validity=validity).certificate)
        memory, trust = ChainCache(), bundle()
        with pytest.raises(ChainRefused):
            memory.build(early, now=NOW, bundle=trust)
        memory.build(early, now=moment, bundle=trust)

    def test_is_forgotten_with_another_bundle(self) -> None:
        memory = ChainCache()
        with pytest.raises(ChainRefused):
            memory.build(claims(), now=NOW, bundle=bundle_of(root().certificate))
        memory.build(claims(), now=NOW, bundle=bundle())


@cache
def stranger() -> Certificate:
    """A leaf that signed itself, with the right name: what anybody can make in any number."""
    return Certificate.from_der(der(make_self_signed(key=key("Stranger")).certificate))


def made_up(number: int) -> UnverifiedClaims:
    """The stranger's leaf, told apart by its fingerprint: making 10,000 real ones takes longer than judging them
    (bench/chains.py does)."""
    sample = strangers_claims().decoded
    signer = replace(sample.named.signed.signer, sha256=f"{number:064x}")
    named = replace(sample.named, signed=replace(sample.named.signed, signer=signer))
    return UnverifiedClaims(decoded=replace(sample, named=named))


@cache
def strangers_claims() -> UnverifiedClaims:
    return claims_of(stranger().parsed)


@cache
def entry_weight() -> int:
    """What one chain weighs; a failure weighs a little less."""
    memory = ChainCache()
    memory.build(claims(), now=NOW, bundle=bundle())
    return memory.weight


class TestBounds:
    def test_ten_thousand_made_up_leaves_fill_no_memory_and_displace_no_chain(self, built: list[datetime]) -> None:
        memory, trust = ChainCache(capacity=100 * entry_weight()), bundle()
        for number in range(5):
            memory.build(claims(number=number), now=NOW, bundle=trust)
        for number in range(10_000):
            with pytest.raises(ChainRefused):
                memory.build(made_up(number), now=NOW, bundle=trust)
            assert memory.weight <= 100 * entry_weight()
        assert len(memory) > 50
        built.clear()
        for number in range(5):
            memory.build(claims(number=number), now=NOW, bundle=trust)
        assert built == []

    def test_chains_displace_no_more_than_their_share_either(self) -> None:
        memory, trust = ChainCache(capacity=4 * entry_weight()), bundle()
        for number in range(5):
            memory.build(claims(number=number), now=NOW, bundle=trust)
            with pytest.raises(ChainRefused):
                memory.build(made_up(number), now=NOW, bundle=trust)
        assert len(memory) == 4

    def test_the_least_recently_used_chain_gives_way(self, built: list[datetime]) -> None:
        memory, trust = ChainCache(capacity=4 * entry_weight()), bundle()
        for number in (0, 1, 0, 2):  # 0 is used again, so that 1 gives way to 2
            memory.build(claims(number=number), now=NOW, bundle=trust)
        built.clear()
        memory.build(claims(number=0), now=NOW, bundle=trust)
        assert built == []
        memory.build(claims(number=1), now=NOW, bundle=trust)
        assert built == [NOW]

    def test_a_memory_of_no_bytes_remembers_nothing(self, built: list[datetime]) -> None:
        memory, trust = ChainCache(capacity=0), bundle()
        for _ in range(2):
            memory.build(claims(), now=NOW, bundle=trust)
        assert len(memory) == 0
        assert built == [NOW, NOW]


class TestStrangers:
    """Nobody makes the judges search who has no certificate of a trusted authority to show."""

    def test_ten_thousand_self_signed_leaves_with_the_right_name_search_no_path(
        self, searched: list[Certificate]
    ) -> None:
        memory, trust = ChainCache(), bundle()
        for number in range(10_000):
            with pytest.raises(ChainRefused, match="self-signed"):
                memory.build(made_up(number), now=NOW, bundle=trust)
        assert searched == []
        assert memory.misses == 10_000

    @pytest.mark.parametrize("name", ["Nobody's CA", "Memory CA"], ids=["unknown-issuer", "issuers-name-forged"])
    def test_a_leaf_that_no_pin_signed_searches_no_path(self, searched: list[Certificate], name: str) -> None:
        forged = pki.issue(
            subject=make_names("metadata.azure.com"),
            public_key=key("Stranger").public_key(),
            issuer_name=pki.make_name(name),
            issuer_key=key("Stranger"),
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

    def test_a_real_signer_searches_one(self, searched: list[Certificate]) -> None:
        ChainCache().build(claims(), now=NOW, bundle=bundle())
        assert len(searched) == 1


def test_many_threads_get_what_one_gets() -> None:
    memory, trust = ChainCache(capacity=8 * entry_weight()), bundle()
    expected = {number: build_chain(claims(number=number), now=NOW, bundle=trust) for number in range(6)}
    together = threading.Barrier(8)
    faults: list[str] = []

    def work(offset: int) -> None:
        together.wait(WAIT_SECONDS)
        for turn in range(60):
            number = (turn + offset) % 6
            if memory.build(claims(number=number), now=NOW, bundle=trust) != expected[number]:
                faults.append(f"chain {number}")
            try:
                memory.build(made_up(turn * 8 + offset), now=NOW, bundle=trust)
                faults.append("accepted")
            except ChainRefused:
                pass
            if memory.weight > 8 * entry_weight():
                faults.append("too many")

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert faults == []
    assert memory.hits + memory.misses == 8 * 60 * 2
