"""Check which trusted certificate issued which. Each signature is checked once in a process."""

from verifier.core.bounds import ISSUING_CACHE_BYTES
from verifier.core.byte_cache import ByteCache
from verifier.core.trust.certificates import Certificate

#: Two fingerprints, with what Python adds to each entry.
_BYTES_PER_PAIR = 512
_CACHE: ByteCache[str, bool] = ByteCache(ISSUING_CACHE_BYTES, lambda _key, _value: _BYTES_PER_PAIR)


def has_issued(authority: Certificate, issued: Certificate) -> bool:
    """Return what `issued.is_issued_by(authority)` returns, from the cache if possible.

    For certificates of manifests, operators and feeds only: those of senders would evict them.
    """
    if authority.subject_der != issued.issuer_der:
        return False
    # The name and the key decide. Many certificates of an authority may have one key.
    pair = authority.spki_sha256 + issued.sha256
    known = _CACHE.find(pair)
    if known is None:
        known = issued.is_issued_by(authority)
        _CACHE.keep(pair, known)
    return known
