"""Fetch issuer certificates from the locations at which Microsoft's and DigiCert's authorities publish them.

The URL comes from an unverified certificate. This is the only place in which an untrusted sender can make the service
connect to a server, so it must resist server-side request forgery. There are three layers: the allow-list of URLs
(urls), public addresses only (addresses), and limits on bytes and time (adapters.bounded_http). The service connects to
the addresses that it has checked, so a second answer of the name service cannot redirect it.
"""

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import cached_property

from verifier.adapters.aia.addresses import PublicAddress, check_addresses
from verifier.adapters.aia.answers import read_certificates
from verifier.adapters.aia.urls import IssuerUrl
from verifier.adapters.bounded_http import Answer, Get, ask, open_first, remaining
from verifier.adapters.name_service import NameService
from verifier.ports.trust import FetchFailed

MAX_REDIRECTS = 3
MAX_BODY_BYTES = 16 * 1024
#: The number of addresses of one host that are tried. All addresses are checked.
MAX_ADDRESSES = 4

Resolve = Callable[[str, float], Sequence[str]]
Connect = Callable[[PublicAddress, int, float], socket.socket]


def connect(address: PublicAddress, port: int, seconds: float) -> socket.socket:
    """Connect to the address. Raises OSError."""
    return socket.create_connection((address.text, port), timeout=seconds)


class AiaFetcher:
    """Implement the IssuerFetcher port. Thread-safe.

    `resolve` returns the addresses of a host within a number of seconds, or raises FetchFailed. `connect` connects to
    one of them, or raises OSError. The fetcher checks the arguments and results of both.
    """

    def __init__(self, *, resolve: Resolve | None = None, connect: Connect = connect) -> None:
        self._resolve = resolve or NameService().resolve
        self._connect = connect

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Verify the certificate and the name with the trust store of the machine, which takes 50 ms to load."""
        return ssl.create_default_context()

    def accepts(self, url: str) -> bool:
        """Return whether the URL is on the allow-list."""
        try:
            IssuerUrl.read(url)
        except FetchFailed:
            return False
        return True

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        """Fetch the certificates at `url` as DER. The answer is DER, PEM or a SignedData. Raises FetchFailed."""
        ends = time.monotonic() + seconds
        target = IssuerUrl.read(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(target, ends)
            if answer.unverified_location is None:
                return read_certificates(answer.body)
            target = target.follow(answer.unverified_location)
        raise FetchFailed(f"The server redirects more than {MAX_REDIRECTS} times.")

    def _ask(self, url: IssuerUrl, ends: float) -> Answer:
        addresses = check_addresses(self._resolve(url.host, remaining(ends)))
        opened = open_first(
            addresses[:MAX_ADDRESSES], lambda address, seconds: self._connect(address, url.port, seconds), ends
        )
        get = Get(
            host=url.host,
            authority=url.host,
            path=url.path,
            accept="application/pkix-cert, application/pkcs7-mime, */*",
            tls=self._tls if url.scheme == "https" else None,
            max_body_bytes=MAX_BODY_BYTES,
        )
        with opened:
            return ask(get, opened, seconds=remaining(ends))
