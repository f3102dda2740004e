"""Pins that were planned take effect, and end, at their moment, in the middle of traffic: by the clock alone."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support import documents
from support.clocks import ManualClock
from support.documents import NOW, around, raw, shared_pki, trusted

from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.model import AttestationResult
from verifier.core.reasons import Refused
from verifier.core.trust.bundle import State, TrustBundle
from verifier.emulator import pki
from verifier.usecases.appraise import Verifier

_SENDERS = 4
_EACH = 25
CUT_OVER = NOW + timedelta(minutes=1)


class _Planned:
    """A bundle in which the old issuing authority retires at the cut-over, and the new one becomes active."""

    def __init__(self, successor: pki.Identity) -> None:
        self._bundle = TrustBundle.of(
            (
                trusted(shared_pki().root.certificate),
                trusted(shared_pki().issuing_ca.certificate, retire_at=CUT_OVER),
                trusted(successor.certificate, activate_at=CUT_OVER),
            )
        )

    def bundle(self) -> TrustBundle:
        return self._bundle


def test_a_cut_over_that_was_planned_happens_at_its_moment_in_the_middle_of_traffic(tmp_path: Path) -> None:
    successor = pki.make_ca(
        issuer=shared_pki().root, subject=pki.make_name("Successor"), key=documents.spare_key(3), validity=around()
    )
    new_signer = pki.make_signer(
        issuer=successor,
        subject=pki.make_name("metadata.azure.com"),
        names=("metadata.azure.com",),
        key=documents.spare_key(4),
        validity=around(),
    )
    clock = ManualClock(NOW)
    store = SqliteNonceStore(tmp_path / "nonces.sqlite3")
    verifier = Verifier(trust=_Planned(successor), nonces=store, clock=clock)
    crossed = threading.Barrier(_SENDERS + 1)

    def attest(signer: pki.Identity) -> str:
        nonce = verifier.issue_nonce().nonce
        try:
            verifier.appraise(raw(documents.document(nonce=nonce, created_on=clock.now(), signer=signer)))
        except Refused as refused:
            return refused.code
        return "verified"

    def send(_: int) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        before: Counter[tuple[str, str]] = Counter()
        after: Counter[tuple[str, str]] = Counter()
        for counts in (before, after):
            for _ in range(_EACH):
                counts["old", attest(shared_pki().signer)] += 1
                counts["new", attest(new_signer)] += 1
            if counts is before:
                crossed.wait(timeout=60)  # the clock is moved between these two,
                crossed.wait(timeout=60)  # while every sender has documents behind it and before it
        return before, after

    with ThreadPoolExecutor(_SENDERS) as senders:
        sent = [senders.submit(send, number) for number in range(_SENDERS)]
        crossed.wait(timeout=60)
        clock.moment = CUT_OVER
        crossed.wait(timeout=60)
        results = [future.result() for future in sent]
    store.close()

    for before, after in results:
        assert before == {("old", "verified"): _EACH, ("new", "chain-untrusted"): _EACH}
        assert after == {("old", "chain-untrusted"): _EACH, ("new", "verified"): _EACH}


def test_the_cut_over_is_exact(tmp_path: Path) -> None:
    successor = pki.make_ca(
        issuer=shared_pki().root, subject=pki.make_name("Successor"), key=documents.spare_key(3), validity=around()
    )
    clock = ManualClock(NOW)
    store = SqliteNonceStore(tmp_path / "nonces.sqlite3")
    verifier = Verifier(trust=_Planned(successor), nonces=store, clock=clock)

    def attest_at(moment: datetime) -> AttestationResult:
        clock.moment = moment
        nonce = verifier.issue_nonce().nonce
        return verifier.appraise(raw(documents.document(nonce=nonce, created_on=moment)))

    with closing(store):
        assert attest_at(CUT_OVER - timedelta(microseconds=1)).content.chain[0].state is State.EXPIRING
        with pytest.raises(Refused, match="retired") as refused:
            attest_at(CUT_OVER)
    assert refused.value.code == "chain-untrusted"
