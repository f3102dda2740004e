"""Certificates of issuers, fetched from where Microsoft's and DigiCert's authorities publish them.

The URL comes from a certificate that nobody vouched for: this is the one place in which a stranger can make the
service connect to something (server-side request forgery). What keeps him from choosing to what is in layers, each
enough alone for most tricks: the allow-list of URLs (aia_urls), the addresses (aia_addresses), which are the very ones
that are connected to, so that a name service that changes its mind changes nothing, and the bounds (aia_http).
"""

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from verifier.adapters.aia.addresses import NameService, PublicAddress, check_addresses
from verifier.adapters.aia.answers import read_certificates
from verifier.adapters.aia.connection import Answer, ask
from verifier.adapters.aia.urls import IssuerUrl
from verifier.ports.trust import FetchFailed

MAX_REDIRECTS = 3
#: Addresses of one host that are tried at most. All are checked.
MAX_ADDRESSES = 4

Resolve = Callable[[str, float], Sequence[str]]
Connect = Callable[[PublicAddress, int, float], socket.socket]


def connect(address: PublicAddress, port: int, seconds: float) -> socket.socket:
    """A connection to that address. Raises OSError."""
    return socket.create_connection((address.text, port), timeout=seconds)


class AiaFetcher:
    """Implements the IssuerFetcher port. Thread-safe.

    `resolve` gives the addresses of a host within a number of seconds, or raises FetchFailed; `connect` a connection to
    one of them, or raises OSError. What both are given and give is checked here, whoever they are.
    """

    def __init__(self, *, resolve: Resolve | None = None, connect: Connect = connect) -> None:
        self._resolve = resolve or NameService().resolve
        self._connect = connect
        # Verifies certificate and name, by the authorities that the machine trusts.
        self._tls = ssl.create_default_context()

    def accepts(self, url: str) -> bool:
        """As the port says."""
        try:
            IssuerUrl.read(url)
        except FetchFailed:
            return False
        return True

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        """As the port says; a DER certificate, PEM, or certificates alone in a SignedData. Raises FetchFailed."""
        ends = time.monotonic() + seconds
        target = IssuerUrl.read(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(target, ends)
            if answer.unverified_location is None:
                return read_certificates(answer.body)
            target = target.follow(answer.unverified_location)
        raise FetchFailed(f"The server redirects more than {MAX_REDIRECTS} times.")

    def _ask(self, url: IssuerUrl, ends: float) -> Answer:
        addresses = check_addresses(self._resolve(url.host, _remaining(ends)))
        opened = self._open(addresses[:MAX_ADDRESSES], url.port, ends)
        with opened:
            return ask(url, opened, tls=self._tls, seconds=_remaining(ends))

    def _open(self, addresses: Sequence[PublicAddress], port: int, ends: float) -> socket.socket:
        """A connection to the first address that takes one. Each has its share of the time that is left."""
        for tried, address in enumerate(addresses):
            share = _remaining(ends) / (len(addresses) - tried)
            with suppress(OSError):
                return self._connect(address, port, share)
        raise FetchFailed("No address of the host takes a connection.")


def _remaining(ends: float) -> float:
    remaining = ends - time.monotonic()
    if remaining <= 0:
        raise FetchFailed("The time is over.")
    return remaining
