"""Which URLs are asked at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.adapters.aia.urls import ALLOWED, IssuerUrl
from verifier.ports.trust import FetchFailed


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path"),
    [
        ("http://cacerts.digicert.com/a.crt", "http", "cacerts.digicert.com", 80, "/a.crt"),
        ("https://cacerts.digicert.cn/a.crt", "https", "cacerts.digicert.cn", 443, "/a.crt"),
        ("http://cacerts.geotrust.com:80/a.crt", "http", "cacerts.geotrust.com", 80, "/a.crt"),
        ("https://cacerts.geotrust.com:443/a.crt", "https", "cacerts.geotrust.com", 443, "/a.crt"),
        ("http://www.microsoft.com/pki/mscorp/a%20b.crt", "http", "www.microsoft.com", 80, "/pki/mscorp/a%20b.crt"),
        (
            "http://caissuers.microsoft.com/pkiops/certs/Microsoft%20TLS%20RSA%20Root%20G2%20-%20xsign.crt",
            "http",
            "caissuers.microsoft.com",
            80,
            "/pkiops/certs/Microsoft%20TLS%20RSA%20Root%20G2%20-%20xsign.crt",
        ),
        ("http://cacerts.digicert.com/..a/.b..", "http", "cacerts.digicert.com", 80, "/..a/.b.."),
    ],
)
def test_takes_what_authorities_publish(*, text: str, scheme: str, host: str, port: int, path: str) -> None:
    assert IssuerUrl.read(text) == IssuerUrl(scheme=scheme, host=host, port=port, path=path)


REFUSED = [
    # Another host, and other spellings of one.
    "http://example.com/a.crt",
    "http://digicert.com/a.crt",
    "http://x.cacerts.digicert.com/a.crt",
    "http://cacerts.digicert.com.example.com/a.crt",
    "http://cacerts.digicert.com./a.crt",
    "http://CACERTS.DIGICERT.COM/a.crt",
    "http://cacerts.digicert%2ecom/a.crt",
    "http://cacerts.dig\u0131cert.com/a.crt",
    "http://cacerts\u3002digicert.com/a.crt",
    "http:///a.crt",
    "http://cacerts.digicert.com",
    "http://cacerts.digicert.com/",
    # Addresses, in all their spellings.
    "http://127.0.0.1/a.crt",
    "http://localhost/pkiops/certs/a.crt",
    "http://169.254.169.254/metadata/instance?api-version=2021-02-01",
    "http://10.0.0.1/a.crt",
    "http://[::1]/a.crt",
    "http://[::ffff:127.0.0.1]/a.crt",
    "http://2130706433/a.crt",
    "http://0x7f000001/a.crt",
    "http://0177.0.0.1/a.crt",
    "http://127.1/a.crt",
    # Another scheme.
    "ftp://cacerts.digicert.com/a.crt",
    "file:///etc/passwd",
    "file://cacerts.digicert.com/a.crt",
    "gopher://cacerts.digicert.com/a.crt",
    "ldap://cacerts.digicert.com/a.crt",
    "HTTP://cacerts.digicert.com/a.crt",
    "//cacerts.digicert.com/a.crt",
    "cacerts.digicert.com/a.crt",
    "",
    # Another port.
    "http://cacerts.digicert.com:8080/a.crt",
    "http://cacerts.digicert.com:22/a.crt",
    "http://cacerts.digicert.com:080/a.crt",
    "http://cacerts.digicert.com:/a.crt",
    "http://cacerts.digicert.com:80:80/a.crt",
    "http://cacerts.digicert.com:65616/a.crt",
    # User information.
    "http://user@cacerts.digicert.com/a.crt",
    "http://user:password@cacerts.digicert.com/a.crt",
    "http://cacerts.digicert.com@127.0.0.1/a.crt",
    "http://cacerts.digicert.com:80@127.0.0.1/a.crt",
    "http://127.0.0.1\\@cacerts.digicert.com/a.crt",
    "http://cacerts.digicert.com\\@127.0.0.1/a.crt",
    # Query and fragment.
    "http://cacerts.digicert.com/a.crt?b",
    "http://cacerts.digicert.com/a.crt#b",
    "http://127.0.0.1#cacerts.digicert.com/a.crt",
    "http://127.0.0.1?cacerts.digicert.com/a.crt",
    # Another path, and other ways to one.
    "http://www.microsoft.com/a.crt",
    "http://www.microsoft.com/pkiops/a.crt",
    "http://www.microsoft.com/pkiops/certs",
    "http://www.microsoft.com/pkiops/certs/",
    "http://www.microsoft.com/pkiops/certs/../../a.crt",
    "http://www.microsoft.com/pkiops/certs/./a.crt",
    "http://www.microsoft.com/pkiops/certs/..",
    "http://www.microsoft.com/pkiops/certs/%2e%2e/%2E%2e/a.crt",
    "http://www.microsoft.com/pkiops/certs/..%2fa.crt",
    "http://www.microsoft.com/pkiops/certs/..%5ca.crt",
    "http://www.microsoft.com/pkiops/certs/..\\a.crt",
    "http://www.microsoft.com/pkiops/certs/..;/a.crt",
    "http://www.microsoft.com/pkiops/certs//a.crt",
    "http://www.microsoft.com//pkiops/certs/a.crt",
    "http://www.microsoft.com/PKIOPS/certs/a.crt",
    "http://cacerts.digicert.com/%252e%252e/a.crt",
    "http://cacerts.digicert.com/a%00.crt",
    "http://cacerts.digicert.com/a%0d%0aHost:%20b",
    "http://cacerts.digicert.com/a%7f",
    "http://cacerts.digicert.com/a%",
    "http://cacerts.digicert.com/a%2",
    "http://cacerts.digicert.com/a%zz",
    # Whitespace and control characters.
    " http://cacerts.digicert.com/a.crt",
    "http://cacerts.digicert.com/a.crt ",
    "http://cacerts.digicert.com/a.crt\n",
    "http://cacerts.digicert.com/a b.crt",
    "http://cacerts.digicert.com/a\r\nHost: b",
    "http://cacerts.digicert.com/a\tb",
    "http://cacerts.digicert.com/a\x00b",
    "ht\ntp://cacerts.digicert.com/a",
    "http://cacerts.digicert.com/caf\u00e9.crt",
    # Too long.
    "http://cacerts.digicert.com/" + "a" * 500,
]


@pytest.mark.parametrize("text", REFUSED)
def test_refuses_every_other_url(text: str) -> None:
    with pytest.raises(FetchFailed):
        IssuerUrl.read(text)


@pytest.mark.parametrize("text", REFUSED)
def test_does_not_repeat_a_refused_url(text: str) -> None:
    with pytest.raises(FetchFailed) as failed:
        IssuerUrl.read(text)
    assert not text or text not in str(failed.value)


@given(st.text(max_size=40))
def test_no_text_behind_an_allowed_beginning_leaves_the_list(text: str) -> None:
    for host, prefix in ALLOWED:
        try:
            url = IssuerUrl.read(f"http://{host}{prefix}{text}")
        except FetchFailed:
            continue
        assert (url.host, url.port) == (host, 80)
        assert url.path == f"{prefix}{text}"
        assert not {".", ".."} & set(url.path.split("/"))


def test_cannot_be_made_of_anything_off_the_list() -> None:
    with pytest.raises(FetchFailed):
        IssuerUrl(scheme="http", host="127.0.0.1", port=80, path="/a.crt")


HERE = IssuerUrl.read("https://cacerts.digicert.com/a/b.crt")


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/c.crt", "https://cacerts.digicert.com/c.crt"),
        ("http://cacerts.geotrust.com/c.crt", "http://cacerts.geotrust.com/c.crt"),
    ],
)
def test_follows_to_what_is_on_the_list(location: str, leads_to: str) -> None:
    assert HERE.follow(location) == IssuerUrl.read(leads_to)


def test_stays_on_the_port_of_the_server_that_names_a_path() -> None:
    assert IssuerUrl.read("http://cacerts.digicert.com:443/a").follow("/b").port == 443


@pytest.mark.parametrize(
    "location",
    [
        "",
        "c.crt",
        "../c.crt",
        "//127.0.0.1/c.crt",
        "//cacerts.digicert.com/c.crt",
        "/\\127.0.0.1/c",
        "@127.0.0.1/c",
        *REFUSED,
    ],
)
def test_does_not_follow_other_locations(location: str) -> None:
    with pytest.raises(FetchFailed):
        HERE.follow(location)
