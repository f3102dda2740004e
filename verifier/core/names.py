"""Find the cloud that the signer's names belong to: check 3.

The Azure page, "Attested data", allows any subdomain of the domain of a cloud.
"""

import sys
from typing import NamedTuple

from verifier.core.bounds import IDENTITY_CACHE_BYTES
from verifier.core.byte_cache import ByteCache
from verifier.core.model import NamedContent, SignedContent
from verifier.core.reasons import Reason, SignerNameRefused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud, cloud_of

_SERVER_AUTH = "1.3.6.1.5.5.7.3.1"


class _Identity(NamedTuple):
    cloud: Cloud
    names: tuple[str, ...]
    server_name: str | None


def identify_cloud(signed: SignedContent) -> NamedContent:
    """Return the one cloud whose domain contains the names of the signer. Raises SignerNameRefused.

    If the signer has a common name, it must be in that domain. If the signer has dNSNames, at least one must be. The
    signer must be an end entity that may sign as a TLS server.

    Not checked: that an authority issued a certificate for these names. A self-made certificate passes.
    """
    cloud, names, server_name = _find_identity(signed.signer)
    return NamedContent(signed=signed, cloud=cloud, names=names, server_name=server_name)


def claimed_cloud(signer: Certificate) -> Cloud:
    """Return the cloud that `identify_cloud` would return for content of this signer. Raises SignerNameRefused."""
    return _find_identity(signer).cloud


def _find_identity(signer: Certificate) -> _Identity:
    identity = _IDENTITIES.find(signer.sha256)
    if identity is None:
        identity = _identify(signer)
        _IDENTITIES.keep(signer.sha256, identity)
    return identity


def _identify(signer: Certificate) -> _Identity:
    _check_usage(signer)
    if len(signer.common_names) > 1:
        raise _refused("The signer's certificate has several common names.")
    common = [cloud_of(name) for name in signer.common_names]
    alternative = {name: cloud_of(name) for name in signer.dns_names}
    if None in common:
        raise _refused("The signer's common name is not in the domain of any Azure cloud's metadata service.")
    names = dict.fromkeys((*signer.common_names, *signer.dns_names))
    clouds = {cloud for cloud in (*common, *alternative.values()) if cloud is not None}
    if alternative and not any(alternative.values()):
        raise _refused("None of the signer's alternative names is in the domain of an Azure cloud's metadata service.")
    match sorted(clouds):
        case [cloud]:
            return _Identity(
                cloud=cloud,
                names=tuple(name.decode("ascii", errors="backslashreplace") for name in names),
                server_name=_server_name(alternative, cloud),
            )
        case []:
            raise _refused("The signer's certificate has no name.")
        case _:
            raise _refused("The signer's names belong to several Azure clouds.")


def _check_usage(signer: Certificate) -> None:
    """Refuse a signer that may not sign as a TLS server (RFC 5280 4.2.1.3, 4.2.1.9 and 4.2.1.12).

    An absent extension is no restriction.
    """
    if signer.is_ca:
        raise _refused("The signer is a certificate authority.")
    if signer.key_usage is not None and "digital_signature" not in signer.key_usage:
        raise _refused("The signer's key is not for digital signatures.")
    if signer.extended_key_usage is not None and _SERVER_AUTH not in signer.extended_key_usage:
        raise _refused("The signer's certificate may not be used as that of a TLS server.")


def _server_name(alternative: dict[bytes, Cloud | None], cloud: Cloud) -> str | None:
    """Return the first dNSName that matched, as the name of one server. A label replaces a wildcard."""
    matched = next((name for name, found in alternative.items() if found is cloud), None)
    return None if matched is None else matched.decode("ascii").replace("*", "wildcard").lower()


def _refused(detail: str) -> SignerNameRefused:
    return SignerNameRefused(Reason.SIGNER_NAME_MISMATCH, detail)


def _weigh(_: str, identity: _Identity) -> int:
    return 512 + sum(sys.getsizeof(name) + 8 for name in identity.names)


#: The identities of signers by the SHA-256 of their certificates.
_IDENTITIES: ByteCache[str, _Identity] = ByteCache(IDENTITY_CACHE_BYTES, _weigh)
