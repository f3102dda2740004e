"""Step 4: the signer's names decide the cloud (Azure page, "Attested data": any subdomain of the cloud's)."""

from verifier.core.model import NamedContent, SignedContent
from verifier.core.reasons import Reason, SignerNameRefused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud, cloud_of

_SERVER_AUTH = "1.3.6.1.5.5.7.3.1"


def identify_cloud(signed: SignedContent) -> NamedContent:
    """The signer's names lie in exactly one cloud's domain: its common name, where it has one, and at least
    one of its dNSNames, where it has any; and it is an end entity that may sign as a TLS server.

    Not checked: that any authority vouches for these names; a self-made certificate passes. Raises
    SignerNameRefused.
    """
    signer = signed.signer
    _check_usage(signer)
    if len(signer.common_names) > 1:
        raise _refused("The signer's certificate has several common names.")
    common = [cloud_of(name) for name in signer.common_names]
    alternative = {name: cloud_of(name) for name in signer.dns_names}
    if None in common:
        raise _refused("The signer's common name is not in the domain of any Azure cloud's metadata service.")
    clouds = {cloud for cloud in (*common, *alternative.values()) if cloud is not None}
    if alternative and not any(alternative.values()):
        raise _refused("None of the signer's alternative names is in the domain of an Azure cloud's metadata service.")
    match sorted(clouds):
        case [cloud]:
            return NamedContent(
                signed=signed,
                cloud=cloud,
                names=_shown(signer),
                server_name=_server_name(alternative, cloud),
            )
        case []:
            raise _refused("The signer's certificate has no name.")
        case _:
            raise _refused("The signer's names are those of several Azure clouds.")


def _check_usage(signer: Certificate) -> None:
    """RFC 5280 4.2.1.3, 4.2.1.9 and 4.2.1.12. What is absent restricts nothing."""
    if signer.is_ca:
        raise _refused("The signer is a certificate authority.")
    if signer.key_usage is not None and "digital_signature" not in signer.key_usage:
        raise _refused("The signer's key is not for digital signatures.")
    if signer.extended_key_usage is not None and _SERVER_AUTH not in signer.extended_key_usage:
        raise _refused("The signer's certificate is not one of a TLS server.")


def _server_name(alternative: dict[bytes, Cloud | None], cloud: Cloud) -> str | None:
    """The first dNSName that matched, as the name of one server: a wildcard stands for a label under it."""
    for name, found in alternative.items():
        if found is cloud:
            return name.decode("ascii").replace("*", "wildcard", 1).lower()
    return None


def _shown(signer: Certificate) -> tuple[str, ...]:
    names = dict.fromkeys((*signer.common_names, *signer.dns_names))
    return tuple(name.decode("ascii", errors="backslashreplace") for name in names)


def _refused(detail: str) -> SignerNameRefused:
    return SignerNameRefused(Reason.SIGNER_NAME_MISMATCH, detail)
