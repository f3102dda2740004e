"""identify_cloud accepts only names inside the domain of one cloud, by a rule that is written anew here.

Each line of an input is a name of the signer: a common name after "C", a dNSName after any other byte.
"""

import hashlib
import re
from dataclasses import replace
from functools import cache

from support.documents import sample

from verifier.core.envelope import read_envelope
from verifier.core.model import RawDocument, SignedContent
from verifier.core.names import identify_cloud
from verifier.core.reasons import SignerNameRefused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud

_LABEL = rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"


def check(data: bytes) -> bool:
    """Check the property for one input, and return whether it is accepted."""
    lines = data.split(b"\n")
    common = tuple(line[1:] for line in lines if line[:1] == b"C")
    alternative = tuple(line[1:] for line in lines if line and line[:1] != b"C")
    signer = replace(_signer(), common_names=common, dns_names=alternative, sha256=hashlib.sha256(data).hexdigest())
    signed = SignedContent(sha256="", content=b"", signer=signer, unverified_candidates=())
    try:
        named = identify_cloud(signed)
    except SignerNameRefused:
        return False
    assert identify_cloud(signed) == named  # from the cache
    inside = {name for name in (*common, *alternative) if _is_inside(name, named.cloud)}
    assert inside >= set(common)
    assert len(common) <= 1
    assert not alternative or inside & set(alternative)
    others = set(Cloud) - {named.cloud}
    assert not any(_is_inside(name, cloud) for name in (*common, *alternative) for cloud in others)
    if alternative:
        assert named.server_name is not None
        assert _is_inside(named.server_name.encode("ascii"), named.cloud)
        assert "*" not in named.server_name
    return True


def _is_inside(name: bytes, cloud: Cloud) -> bool:
    pattern = rb"(?:\*\.)?(?:" + _LABEL + rb"\.)*" + re.escape(cloud.domain.encode("ascii"))
    return len(name) <= 253 and re.fullmatch(pattern, name, re.IGNORECASE) is not None


@cache
def _signer() -> Certificate:
    return read_envelope(RawDocument(raw_der=sample("public-eastus-2026-07-28"))).signer
