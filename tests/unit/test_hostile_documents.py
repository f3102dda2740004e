"""The mutants of documents that may be accepted: those of a vector that lost its fault."""

from support.hostile_documents import REPAIRED, Appraiser, explain, targets
from support.mutations import random_mutants

from verifier.core.model import RawDocument
from verifier.core.reasons import Refused


def test_a_vector_without_an_element_behind_the_certificate_is_a_repaired_one() -> None:
    name = "malformed-evidence/certificate-element-behind-the-signature"
    [target] = [one for one in targets() if one.name == name]
    appraiser, explained = Appraiser(), []
    for mutant in random_mutants(target.der, 5000, 1):
        document = RawDocument(raw_der=mutant)
        try:
            content = appraiser.appraise(document, at=target.at, bundle=target.bundle)
        except Refused:
            continue
        explained.append(explain(target, document, content))
    assert explained
    assert set(explained) == {REPAIRED}
