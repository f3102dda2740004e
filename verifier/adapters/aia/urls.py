"""The URLs that issuers' certificates are fetched from. Nothing is connected to for any other."""

import re
from dataclasses import dataclass
from typing import Self

from verifier.ports.trust import FetchFailed

#: Host and beginning of the path: where Microsoft's and DigiCert's authorities publish their certificates.
ALLOWED = (
    ("www.microsoft.com", "/pkiops/certs/"),
    ("www.microsoft.com", "/pki/mscorp/"),
    ("caissuers.microsoft.com", "/pkiops/certs/"),
    ("cacerts.digicert.com", "/"),
    ("cacerts.digicert.cn", "/"),
    ("cacerts.geotrust.com", "/"),
)
MAX_URL_CHARACTERS = 512

_PORTS = {"http": 80, "https": 443}

# Less than RFC 3986 allows, so that no two readers can see two things in it: no user info, query, fragment, empty or
# dot segment, path parameter (";"), upper case in scheme or host. Of percent-encodings there are a space, as in
# Microsoft's own URLs, and the sub-delimiters and "-": no encoded "/", "\", ".", "%" or control character.
_SEGMENT = r"/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%2[0146-9A-Da-d])+"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+)(?::(?P<port>80|443))?(?P<path>(?:{_SEGMENT})+)", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerUrl:
    """A URL on the allow-list: there is no other IssuerUrl. Where its host's addresses lead is not known."""

    scheme: str
    host: str
    port: int
    path: str

    def __post_init__(self) -> None:
        if not any(self.host == host and self.path.startswith(prefix) for host, prefix in ALLOWED):
            raise FetchFailed("The URL is not on the allow-list.")

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises FetchFailed, without repeating what a stranger wrote."""
        if len(text) > MAX_URL_CHARACTERS:
            raise FetchFailed("The URL is too long.")
        match = _URL.fullmatch(text)
        if match is None:
            raise FetchFailed("The URL is not a plain http or https one, on port 80 or 443.")
        scheme = match["scheme"]
        return cls(
            scheme=scheme,
            host=match["host"],
            port=int(match["port"] or _PORTS[scheme]),
            path=match["path"],
        )

    def follow(self, location: str) -> Self:
        """Where `location` (RFC 9110 10.2.2) leads from here: a URL of its own, or a path on this server, and
        again on the allow-list. Other relative references are refused. Raises FetchFailed."""
        return self.read(f"{self.scheme}://{self.host}:{self.port}{location}" if location[:1] == "/" else location)
