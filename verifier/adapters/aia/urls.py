"""Define the URLs from which issuer certificates are fetched. The service connects to no other URL."""

import re
from typing import Self

from verifier.core.values import dataclass
from verifier.ports.trust import FetchFailed

#: Host and path prefix of the locations at which Microsoft's and DigiCert's authorities publish certificates.
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

# Stricter than RFC 3986, so that two parsers cannot disagree. Not allowed: user info, query, fragment, empty and dot
# segments, path parameters (";"), and upper case in scheme and host. Percent-encoding is allowed for the space (as in
# Microsoft's URLs), sub-delimiters and "-", but not for "/", "\", ".", "%" and control characters.
_SEGMENT = r"/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%2[0146-9A-Da-d])+"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+)(?::(?P<port>80|443))?(?P<path>(?:{_SEGMENT})+)", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerUrl:
    """Hold a URL on the allow-list. Construction raises FetchFailed for others. Not checked: the host's addresses."""

    scheme: str
    host: str
    port: int
    path: str

    def __post_init__(self) -> None:
        if not any(self.host == host and self.path.startswith(prefix) for host, prefix in ALLOWED):
            raise FetchFailed("The URL is not on the allow-list.")

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse a URL. Raises FetchFailed without repeating the untrusted text."""
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
        """Resolve the Location field of a redirect (RFC 9110 10.2.2): an absolute URL or an absolute path.

        The result is on the allow-list too. Other relative references are refused. Raises FetchFailed.
        """
        return self.read(f"{self.scheme}://{self.host}:{self.port}{location}" if location[:1] == "/" else location)
