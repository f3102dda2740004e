"""Find the source address of a request, behind as many proxies as the settings say."""

import ipaddress

from flask import request

from verifier.ports.telemetry import ForwardingMismatched, Recorder

#: The address of a caller whose address is unknown. All such callers share one budget.
UNKNOWN = "unknown"

_IPV6_PREFIX = 64
#: Translators put the IPv4 address of a client into the last 32 bits (RFC 6052 section 2.1).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_MISSING = (
    "A request came through fewer proxies than VERIFIER_TRUSTED_PROXIES says, or X-Forwarded-For is malformed. The "
    "address of the connection was counted."
)
_UNEXPECTED = (
    "A request carries a forwarding header, but VERIFIER_TRUSTED_PROXIES is 0. If a proxy is in front of the service, "
    "set the number of proxies: all agents behind it share the limits of one address."
)


class SourceAddresses:
    """Find the source addresses of requests. Each process warns once if headers and `trusted_proxies` disagree."""

    def __init__(self, *, trusted_proxies: int, recorder: Recorder) -> None:
        self._hops = trusted_proxies
        self._recorder = recorder
        self._has_warned = False

    def find(self) -> str:
        """Return the source address of the current request: an IPv4 address, or the /64 of an IPv6 address.

        A client can write any forwarding header, so only the entries that the trusted proxies added are read. Each
        proxy adds the address of its own peer at the end of X-Forwarded-For.
        """
        peer = group_address(request.environ.get("REMOTE_ADDR", "")) or UNKNOWN
        forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
        if not self._hops:
            if forwarded or "Forwarded" in request.headers:
                self._warn(_UNEXPECTED)
            return peer
        entries = forwarded.rsplit(",", self._hops)[-self._hops :]
        address = group_address(entries[0]) if len(entries) == self._hops else None
        if address is None:
            self._warn(_MISSING)
            return peer
        return address

    def _warn(self, detail: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._recorder.record(ForwardingMismatched(detail=detail))


def group_address(text: str) -> str | None:
    """Return the address as limits count it, or None if the text is no address.

    A port is removed, because some proxies add it (`192.0.2.1:443`, `[2001:db8::1]:443`). One customer usually has a
    whole /64 of IPv6, so all its addresses are one. An IPv4 address inside an IPv6 address counts as IPv4: all clients
    of a translator are in one /64, and one client of 6to4 (RFC 3056) has 65,536 of them.
    """
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    inner = address.ipv4_mapped or address.sixtofour
    if address in _TRANSLATED:
        inner = ipaddress.IPv4Address(address.packed[-4:])
    return str(inner or ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))
