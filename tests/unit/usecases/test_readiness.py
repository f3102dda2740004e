"""Readiness: each condition with its detail, and how often the pins are looked at. More is in test_appraise.py."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from support.applications import FixedTrust
from support.chains import authority, key, root
from support.clocks import ManualClock
from support.documents import NOW, around, shared_bundle, shared_pki, trusted

from verifier.core.model import LiveResult
from verifier.core.nonces import NonceRecord, Redemption
from verifier.core.trust.bundle import EXPIRY_WARNING, CloudTrust, TrustBundle
from verifier.core.trust.clouds import Cloud
from verifier.core.trust.horizon import horizon
from verifier.emulator import pki
from verifier.ports.stores import DocumentKey, NonceKey, StoreUnavailable, Unavailable
from verifier.ports.tokens import PublishedKey
from verifier.ports.trust import TrustSource
from verifier.usecases import readiness
from verifier.usecases.readiness import Condition, Readiness

GERMANY = frozenset({Cloud.GERMANY})
KEY = PublishedKey(kid="k", jwk={})


class Tokens:
    def __init__(self, *published: PublishedKey, trouble: str = "", fault: str = "") -> None:
        self._published, self._trouble, self._fault = published, trouble, fault

    def issue(self, result: LiveResult, *, tenant: str, jti: str) -> str:
        raise NotImplementedError(result, tenant)

    def check(self) -> None:
        if self._fault:
            raise Unavailable(self._fault)

    def published(self) -> tuple[PublishedKey, ...]:
        return self._published

    def trouble(self) -> str:
        return self._trouble


class Nonces:
    def __init__(self, fault: str = "") -> None:
        self._fault = fault

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        raise NotImplementedError(key, record, keep, now)

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        raise NotImplementedError(key, keep, now)

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        raise NotImplementedError(key, keep, now)

    def ping(self) -> None:
        if self._fault:
            raise StoreUnavailable(self._fault)


class NoTrust:
    def bundle(self) -> TrustBundle:
        raise StoreUnavailable("The registry is away.")


def ready(trust: TrustSource | None = None, *, tokens: Tokens | None = None, fault: str = "") -> Readiness:
    in_force = trust or FixedTrust(in_force=shared_bundle())
    return Readiness(trust=in_force, nonces=Nonces(fault), clock=ManualClock(NOW), tokens=tokens)


def test_names_each_condition_in_order() -> None:
    assert ready(tokens=Tokens(KEY)).look() == (
        Condition(name="nonce-store", ready=True, detail=""),
        Condition(name="trust", ready=True, detail=""),
        Condition(name="token-key", ready=True, detail=""),
    )


@pytest.mark.parametrize(
    ("tokens", "condition"),
    [
        (None, (True, "no keys are configured: results are not signed")),
        (Tokens(), (False, "there is no key")),
        (Tokens(trouble="The file is empty."), (False, "The file is empty.")),
        (Tokens(KEY, fault="The HSM is lost."), (False, "The HSM is lost.")),
        (Tokens(KEY, trouble="The new keys are refused."), (True, "The new keys are refused.")),
    ],
    ids=["none", "no key", "no key and why", "cannot sign", "the previous keys sign"],
)
def test_a_key_has_to_sign_if_keys_are_configured(tokens: Tokens | None, condition: tuple[bool, str]) -> None:
    token_key = ready(tokens=tokens).look()[2]
    assert (token_key.name, token_key.ready, token_key.detail) == ("token-key", *condition)


def test_a_store_that_is_away_is_named() -> None:
    assert ready(fault="It is away.").look()[0] == Condition(name="nonce-store", ready=False, detail="It is away.")


def test_a_registry_that_is_away_is_named() -> None:
    assert ready(NoTrust()).look()[1] == Condition(name="trust", ready=False, detail="The registry is away.")


def test_each_cloud_without_an_anchor_and_each_served_cloud_is_named() -> None:
    later = NOW + timedelta(days=1)
    bare = TrustBundle.of(
        tuple(
            replace(trusted(root(cloud.value).certificate), clouds=frozenset({cloud}), activate_at=later)
            for cloud in (Cloud.PUBLIC, Cloud.CHINA)
        )
    )
    served = frozenset({Cloud.PUBLIC, Cloud.CHINA})
    looking = Readiness(trust=FixedTrust(in_force=bare), nonces=Nonces(), clock=ManualClock(NOW), served=served)
    assert set(looking.look()[1].detail.removeprefix("no usable anchor for ").split(", ")) == served
    looking.trust = FixedTrust(in_force=TrustBundle.of((trusted(root("Germany").certificate, clouds=GERMANY),)))
    assert looking.look()[1].detail == "no usable anchor for any served cloud: AzureChinaCloud, AzurePublicCloud"


def test_pins_that_end_are_no_reason_to_be_unready_and_each_is_named() -> None:
    clouds = (Cloud.PUBLIC, Cloud.CHINA)
    ending = TrustBundle.of(
        tuple(
            replace(trusted(root(cloud.value).certificate), clouds=frozenset({cloud}), retire_at=NOW + EXPIRY_WARNING)
            for cloud in clouds
        )
    )
    trust = FixedTrust(in_force=ending)
    looking = Readiness(trust=trust, nonces=Nonces(), clock=ManualClock(NOW), served=frozenset(clouds))
    condition = looking.look()[1]
    named = condition.detail.removeprefix("the pins of ").removesuffix(" end soon, or have ended").split(", ")
    assert condition.ready
    assert sorted(named) == ["AzureChinaCloud", "AzurePublicCloud"]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """When the horizon of a cloud was looked for."""
    moments: list[datetime] = []
    find: Callable[..., datetime | None] = horizon

    def count(trust: CloudTrust, *, now: datetime) -> datetime | None:
        moments.append(now)
        return find(trust, now=now)

    monkeypatch.setattr(readiness, "horizon", count)
    return moments


def test_the_pins_are_looked_at_again_when_one_of_them_changes(looked_at: list[datetime]) -> None:
    change = NOW + timedelta(days=1)
    pin = trusted(shared_pki().root.certificate, retire_at=change + 2 * EXPIRY_WARNING)
    opens = change + EXPIRY_WARNING + timedelta.resolution
    clock = ManualClock(NOW)
    looking = Readiness(trust=FixedTrust(in_force=TrustBundle.of((pin,))), nonces=Nonces(), clock=clock)
    for moment in (NOW, NOW, opens - timedelta.resolution, opens, opens):
        clock.moment = moment
        looking.look()
    assert looked_at == [NOW, opens]


def test_the_pins_are_looked_at_again_when_the_trust_changes(looked_at: list[datetime]) -> None:
    looking = ready()
    looking.look()
    looking.trust = FixedTrust(in_force=TrustBundle.of((trusted(shared_pki().root.certificate),)))
    looking.look()
    looking.look()
    assert len(looked_at) == 2


def test_the_first_change_of_any_cloud_counts_and_one_without_a_change_does_not(looked_at: list[datetime]) -> None:
    first = NOW + timedelta(days=1)
    public = trusted(shared_pki().root.certificate, retire_at=first)
    china = trusted(root("China").certificate, clouds=frozenset({Cloud.CHINA}), retire_at=NOW + 3 * EXPIRY_WARNING)
    clock = ManualClock(NOW)
    looking = Readiness(
        trust=FixedTrust(in_force=TrustBundle.of((china, public))),
        nonces=Nonces(),
        clock=clock,
        served=frozenset({Cloud.CHINA, Cloud.PUBLIC}),
    )
    looking.look()
    clock.moment = first
    looking.trust = FixedTrust(in_force=looking.trust.bundle())
    looking.served = frozenset({Cloud.CHINA})
    looking.look()
    assert looked_at == [NOW, NOW, first]


def test_a_cloud_whose_certificates_have_all_ended_has_no_change(looked_at: list[datetime]) -> None:
    public = trusted(shared_pki().root.certificate)
    past = around(NOW - timedelta(days=900), days=30)
    old = pki.make_root(subject=pki.make_name("China"), key=key("China"), validity=past)
    ended = trusted(old.certificate, clouds=frozenset({Cloud.CHINA}))
    assert ended.next_change(NOW) is None
    looking = ready(FixedTrust(in_force=TrustBundle.of((ended, public))))
    looking.served = frozenset({Cloud.PUBLIC})
    for _ in range(2):
        assert [condition.ready for condition in looking.look()] == [True, True, True]
    assert looked_at == [NOW]


def test_pins_that_have_ended_under_an_anchor_are_named() -> None:
    anchor = trusted(root().certificate)
    ended = trusted(authority("Ended CA").certificate, retire_at=NOW - timedelta(days=1))
    condition = ready(FixedTrust(in_force=TrustBundle.of((anchor, ended)))).look()[1]
    assert (condition.ready, condition.detail) == (True, "the pins of AzurePublicCloud end soon, or have ended")


@pytest.mark.parametrize("name", ["_horizons", "_horizons_of", "_horizons_until"])
def test_what_it_remembers_is_no_option(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Readiness(trust=NoTrust(), nonces=Nonces(), clock=ManualClock(NOW), **{name: {}})  # type: ignore[arg-type]  # no option
