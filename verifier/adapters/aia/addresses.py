"""Require that all addresses of a host are public."""

import ipaddress
from collections.abc import Sequence

from verifier.core.values import dataclass
from verifier.ports.trust import FetchFailed

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Networks that `is_global` of some Python releases reports as public, because releases follow the IANA special-purpose
# registries late; 6to4, which RFC 7526 retired; and one public address that is special only in Azure.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's host: DHCP, DNS, the agent's wire server
        "192.0.0.0/24",  # IETF protocol assignments
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",  # AS112
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID and others
        "2002::/16",  # 6to4, which holds any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAddress:
    """Hold an address of the public internet. Construction raises FetchFailed for any other address.

    An address that represents an IPv4 address (IPv4-mapped, NAT64) is public if the IPv4 address is. Tunnel addresses
    (6to4, Teredo) are refused. Not checked: NAT64 prefixes of single networks, which look like other addresses.
    """

    text: str

    def __post_init__(self) -> None:
        try:
            address = ipaddress.ip_address(self.text)
        except ValueError as error:
            raise FetchFailed("The name service returned an invalid address.") from error
        if not _is_public(address):
            raise FetchFailed("An address of the host is not public.")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:  # RFC 4007 11: valid on one link only
            return False
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address in _NAT64:  # RFC 6052 2.2: the last 32 bits are the IPv4 address
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_addresses(found: Sequence[str]) -> tuple[PublicAddress, ...]:
    """Return each address once, in order.

    Raises FetchFailed if there is no address, or if one is not public: a mix of both indicates an attack.
    """
    if not found:
        raise FetchFailed("The host has no address.")
    return tuple(PublicAddress(text=text) for text in dict.fromkeys(found))
