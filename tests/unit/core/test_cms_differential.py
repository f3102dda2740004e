"""The checks `format` and `signature` beside `openssl cms -verify`: what OpenSSL refuses, the product does not accept.

The suite compares about 1,000 documents. `make differential` compares 20,000.
"""

from collections import Counter
from collections.abc import Iterable

import pytest
from support import cms_differential
from support.certificate_mutants import mint, with_subject
from support.cms_differential import (
    BOTH_ACCEPT,
    BOTH_REFUSE,
    ENCODED_AGAIN,
    LATER_CHECK,
    OTHER_CERTIFICATE,
    STRICTER,
    Failed,
    Verified,
    compare_all,
    find_fault,
    verify_as_openssl,
    verify_as_product,
)
from support.der_parts import SIGNATURE_ALGORITHM, SIGNER, oid, sequence
from support.document_bases import BASES, CONTENT, Base
from support.mutations import edited, random_mutants
from support.real_samples import REAL_SAMPLES
from support.vectors import document_of, load_vectors

from verifier.core.model import Envelope, SignedContent
from verifier.core.reasons import Check, Reason, Refused

UNKNOWN_ALGORITHM = next(entry for entry in STRICTER if entry.startswith("a signature algorithm that is unknown"))
#: Mutants of each base.
NUMBER = 100
SEED = 20261130


def readable() -> dict[str, bytes]:
    """Return the documents of the vectors that a body yields, and the real ones."""
    found = {sample.name: sample.der for sample in REAL_SAMPLES}
    for vector in load_vectors():
        try:
            found[vector.name] = document_of(vector).raw_der
        except Refused:
            continue
    return found


def always(_: bytes) -> bool:
    """Take each refusal by openssl alone for a fault."""
    return True


def never(_: bytes) -> bool:
    return False


def unique(documents: Iterable[bytes]) -> list[bytes]:
    return list(dict.fromkeys(documents))


def test_openssl_and_the_product_agree_on_the_vectors_and_the_real_documents() -> None:
    documents = readable()
    chain_refuses = {documents[one.name] for one in load_vectors() if one.expected.failing_check is Check.CHAIN}
    tally = compare_all(unique(documents.values()), is_accepted=lambda document: document not in chain_refuses)
    assert tally.faults == ()
    assert tally.outcomes[BOTH_ACCEPT] > 100
    assert tally.outcomes[BOTH_REFUSE] > 20
    # Each entry but one has a vector, so an entry that no longer applies fails here.
    assert STRICTER.keys() - tally.outcomes.keys() == {UNKNOWN_ALGORITHM}
    assert tally.outcomes.keys() <= {BOTH_ACCEPT, BOTH_REFUSE, LATER_CHECK, *STRICTER}


def test_openssl_ignores_the_signature_algorithm() -> None:
    [base] = [base for base in BASES if base.name == "ecdsa"]
    odd = edited(base.make(), SIGNATURE_ALGORITHM, lambda _: sequence(oid("1.3.6.1.4.1.55738.666.4")))
    assert compare_all([odd], is_accepted=always).outcomes == {UNKNOWN_ALGORITHM: 1}


def test_openssl_encodes_signed_attributes_again() -> None:
    [base] = [base for base in BASES if base.name == "signed-attributes"]
    # The length of the value of the second attribute gets a byte more than DER has.
    inner = edited(base.make(), (*SIGNER, 3, 1, 1, 0), lambda raw: raw[:1] + b"\x81" + raw[1:])
    tally = compare_all([inner], is_accepted=always)
    assert (tally.outcomes, tally.faults) == ({ENCODED_AGAIN: 1}, ())


@pytest.mark.parametrize("base", BASES, ids=str)
def test_openssl_and_the_product_agree_on_mutants(base: Base) -> None:
    original = base.make()
    assert base.is_accepted(original)
    tally = compare_all([original, *random_mutants(original, NUMBER, SEED)], is_accepted=base.is_accepted)
    assert tally.faults == ()
    assert tally.outcomes[BOTH_ACCEPT]
    assert tally.outcomes[BOTH_REFUSE] > NUMBER / 4
    assert (OTHER_CERTIFICATE in tally.outcomes) is (base.name == "two-certificates")


def test_vectors_with_a_good_signer_are_accepted_by_openssl_with_the_same_content() -> None:
    """Compare the bytes themselves, apart from the tally."""
    documents = readable()
    passed = [
        documents[vector.name]
        for vector in load_vectors()
        if vector.name in documents
        and vector.expected.failing_check not in {Check.FORMAT, Check.SIGNATURE, Check.CHAIN}
    ][::10]
    assert len(passed) > 10
    for document in passed:
        ours, theirs = verify_as_product(document), verify_as_openssl(document)
        assert isinstance(ours, Verified)
        assert ours == theirs
        assert ours.content in document


class TestHarness:
    """Show that the comparison finds each kind of fault."""

    def test_the_content_is_that_of_the_document(self) -> None:
        theirs = verify_as_openssl(BASES[0].make())
        assert isinstance(theirs, Verified)
        assert theirs.content == CONTENT

    def test_a_content_that_is_read_differently_is_a_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(document: bytes) -> Verified | Failed:
            ours = verify_as_product(document)
            assert isinstance(ours, Verified)
            return Verified(content=ours.content + b" ", signer=ours.signer)

        monkeypatch.setattr(cms_differential, "verify_as_product", read)
        [fault] = compare_all([BASES[0].make()], is_accepted=always).faults
        assert fault.startswith("openssl reads another content")

    def test_another_signer_is_a_fault(self) -> None:
        one, other = (Verified(content=b"", signer=signer) for signer in (b"1", b"2"))
        assert find_fault(one, other) == "openssl finds another signer"

    def test_a_missing_signature_check_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def accept(envelope: Envelope) -> SignedContent:
            return SignedContent(
                sha256=envelope.sha256,
                content=envelope.unverified_content,
                signer=envelope.signer,
                unverified_candidates=(),
            )

        monkeypatch.setattr(cms_differential, "verify_signature", accept)
        document = BASES[0].make()
        forged = [document.replace(CONTENT, CONTENT[:place] + b"?" + CONTENT[place + 1 :]) for place in range(5)]
        tally = compare_all(forged, is_accepted=always)
        assert len(tally.faults) == len(forged)
        assert all(fault.startswith("accepted, and openssl refuses it") for fault in tally.faults)

    def test_a_refusal_that_is_not_listed_is_a_fault(self) -> None:
        good = Verified(content=b"", signer=b"")
        refused = Failed(words="The document has a new fault.", reason=Reason.MALFORMED_EVIDENCE)
        assert find_fault(refused, good).startswith("refused without a listed reason")
        assert find_fault(refused, Failed(words="")) == ""

    def test_no_entry_covers_a_signature_that_does_not_match(self) -> None:
        words = "The signature does not match the content: one of them was changed."
        assert cms_differential.why_stricter(Failed(words=words, reason=Reason.SIGNATURE_INVALID)) == ""

    def test_a_document_that_only_openssl_refuses_is_a_fault_if_every_check_accepts_it(self) -> None:
        # A subject with a UTCTime: OpenSSL cannot read it, and core.leaf_profile refuses it.
        made = mint("EC")
        odd = made.document(with_subject(made.tbs, ("2.5.4.10", 0x17, b"490101000000Z")))
        assert compare_all([odd], is_accepted=never).outcomes == {LATER_CHECK: 1}
        assert len(compare_all([odd], is_accepted=always).faults) == 1

    def test_a_refusal_belongs_to_one_entry(self) -> None:
        refusals = [one for one in map(verify_as_product, readable().values()) if isinstance(one, Failed)]
        entries = Counter(cms_differential.why_stricter(one) for one in refusals)
        assert entries.keys() >= STRICTER.keys() - {UNKNOWN_ALGORITHM}
