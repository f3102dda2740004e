"""A stranger writes the URLs of his certificate's issuer: he can make the service connect to nothing, nor admit it.

Documents go the whole way, through the use case, the real fetcher, the embedded registry and live trust. Names and
addresses are a test's; every connection is recorded, and leads to a server on 127.0.0.1.
"""

import gzip
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from support import documents
from support.chains import authority, key, root
from support.discovery import Laboratory, der, issuing_ca, make_laboratory, naming, signer_under
from support.documents import around
from support.issuers import (
    HOST,
    PUBLIC,
    URL,
    Conversation,
    Internet,
    Play,
    answer,
    degenerate,
    internet,
    pem,
    redirect,
)

from verifier.adapters.aia.urls import ALLOWED
from verifier.core.discovery import DiscoveryMode
from verifier.core.reasons import ChainRefused, Reason
from verifier.core.trust.bundle import Origin
from verifier.emulator import pki
from verifier.ports.trust import IssuerFetcher
from verifier.usecases.issuer_discovery import FAILURE_MEMORY, FETCH_INTERVAL, FETCH_SECONDS

#: What a fetch is cut short to where its server never ends: the deadline that it was given is looked at instead.
HURRY_SECONDS = 0.5
#: What nothing here takes, on however slow a machine.
BOUND_SECONDS = 15.0
PATH = "/issuer.crt"

OBSERVE, ADMIT = DiscoveryMode.OBSERVE, DiscoveryMode.ADMIT


@dataclass(frozen=True, slots=True)
class HurriedFetcher:
    """Implements the IssuerFetcher port: the real one, with less time than it was given."""

    inner: IssuerFetcher
    given: list[float] = field(default_factory=list)

    def accepts(self, url: str) -> bool:
        return self.inner.accepts(url)

    def fetch(self, url: str, *, seconds: float) -> tuple[bytes, ...]:
        self.given.append(seconds)
        return self.inner.fetch(url, seconds=min(seconds, HURRY_SECONDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Where the attacks are tried: a laboratory in one mode, on an internet of its own."""

    laboratory: Laboratory
    net: Internet
    fetcher: HurriedFetcher
    directory: Path
    mode: DiscoveryMode

    def replica(self) -> Laboratory:
        return make_laboratory(self.directory, mode=self.mode, fetcher=self.fetcher, beside=self.laboratory)

    def refuses(self, *urls: str, issuer: pki.Identity | None = None) -> None:
        """A document whose signer names these URLs is refused for want of a pin, within the bounds, after no
        connection to anything but the list's ports at a checked address; and nothing is admitted or kept."""
        before = self.laboratory.trust.bundle()
        document = documents.document(signer=signer_under(issuer or issuing_ca(), *urls))
        begun = time.monotonic()
        with pytest.raises(ChainRefused) as refused:
            self.laboratory.appraise(document)
        assert refused.value.reason is Reason.ISSUER_UNPINNED
        assert time.monotonic() - begun < BOUND_SECONDS
        assert all(seconds <= FETCH_SECONDS for seconds in self.fetcher.given)
        assert all(seconds <= HURRY_SECONDS for seconds in self.net.allowed)
        assert set(self.net.lookups) <= {host for host, _ in ALLOWED}
        assert set(self.net.connections) <= {(PUBLIC, 80), (PUBLIC, 443)}
        assert self.laboratory.trust.bundle() is before
        assert self.laboratory.authorities == [()]


def open_range(directory: Path, net: Internet, mode: DiscoveryMode) -> Range:
    fetcher = HurriedFetcher(net.fetcher())
    laboratory = make_laboratory(directory, mode=mode, fetcher=fetcher)
    return Range(laboratory=laboratory, net=net, fetcher=fetcher, directory=directory, mode=mode)


@pytest.fixture
def net() -> Iterator[Internet]:
    """Where the genuine issuer is found at URL, unless a test says otherwise."""
    with internet() as made:
        made.plays[PATH] = answer(der(issuing_ca()))
        yield made


@pytest.fixture(params=[OBSERVE, ADMIT])
def target(request: pytest.FixtureRequest, tmp_path: Path, net: Internet) -> Range:
    return open_range(tmp_path, net, request.param)


@pytest.fixture
def observing(tmp_path: Path, net: Internet) -> Range:
    return open_range(tmp_path, net, OBSERVE)


@pytest.fixture
def admitting(tmp_path: Path, net: Internet) -> Range:
    return open_range(tmp_path, net, ADMIT)


OFF_THE_LIST = [
    "http://127.0.0.1/issuer.crt",
    "http://127.0.0.1:80/pkiops/certs/issuer.crt",
    "http://localhost/issuer.crt",
    "http://localhost:6379/issuer.crt",
    "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=x",
    "http://168.63.129.16/machine?comp=goalstate",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://10.0.0.1/issuer.crt",
    "http://172.16.0.1/issuer.crt",
    "http://192.168.0.1/issuer.crt",
    "http://[::1]/issuer.crt",
    "http://[::ffff:127.0.0.1]/issuer.crt",
    "http://[::ffff:7f00:1]/issuer.crt",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://2130706433/issuer.crt",
    "http://0x7f000001/issuer.crt",
    "http://0x7f.0.0.1/issuer.crt",
    "http://017700000001/issuer.crt",
    "http://0177.0.0.1/issuer.crt",
    "http://127.1/issuer.crt",
    "http://0/issuer.crt",
    f"http://{HOST}@127.0.0.1/issuer.crt",
    f"http://user:password@{HOST}/issuer.crt",
    f"http://{HOST}:80@127.0.0.1/issuer.crt",
    f"http://127.0.0.1\\@{HOST}/issuer.crt",
    f"http://127.0.0.1#@{HOST}/issuer.crt",
    f"http://127.0.0.1?@{HOST}/issuer.crt",
    f"http://{HOST}:22/issuer.crt",
    f"http://{HOST}:6379/issuer.crt",
    f"http://{HOST}:8080/issuer.crt",
    f"http://{HOST}:65616/issuer.crt",
    f"http://{HOST}.example.com/issuer.crt",
    f"http://{HOST}./issuer.crt",
    f"http://{HOST}/a/../issuer.crt",
    f"http://{HOST}/issuer.crt?x=y",
    f"http://{HOST}/issuer.crt#x",
    f"http://{HOST}/%0d%0aHost:%20127.0.0.1",
    f"http://{HOST}/issuer.crt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "http://www.microsoft.com/pkiops/certs/../../issuer.crt",
    "http://www.microsoft.com/issuer.crt",
    "ftp://127.0.0.1/issuer.crt",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ldap://127.0.0.1/cn=issuer?cACertificate",
    "",
]


@pytest.mark.parametrize("url", OFF_THE_LIST)
def test_asks_nobody_about_a_url_off_the_list(target: Range, url: str) -> None:
    target.refuses(url)
    assert not target.net.lookups
    assert not target.net.connections


NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104 - nothing binds to it
    "169.254.169.254",
    "168.63.129.16",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fc00::1",
    "fe80::1",
    "fe80::1%lo",
    "ff02::1",
    # What some resolvers take for addresses, or pass on.
    "2130706433",
    "0177.0.0.1",
    "localhost",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_connects_to_no_name_that_resolves_to_what_is_not_public(target: Range, address: str) -> None:
    target.net.names[HOST] = [[address]]
    target.refuses(URL)
    assert target.net.lookups == [HOST]
    assert not target.net.connections


@pytest.mark.parametrize("addresses", [[PUBLIC, "127.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::ffff:10.0.0.1"]])
def test_connects_to_no_name_that_has_one_public_and_one_private_address(target: Range, addresses: list[str]) -> None:
    target.net.names[HOST] = [addresses]
    target.refuses(URL)
    assert not target.net.connections


def test_connects_to_the_address_that_was_checked_whatever_the_name_means_later(target: Range) -> None:
    target.net.names[HOST] = [[PUBLIC], ["127.0.0.1"]]
    target.net.plays[PATH] = answer(status=404)
    target.refuses(URL)
    assert target.net.lookups == [HOST]
    assert target.net.connections == [(PUBLIC, 80)]


def test_checks_a_name_anew_that_changes_its_meaning_behind_a_redirect(target: Range) -> None:
    target.net.names[HOST] = [[PUBLIC], ["127.0.0.1"]]
    target.net.plays[PATH] = redirect("/again.crt")
    target.net.plays["/again.crt"] = answer(der(issuing_ca()))
    target.refuses(URL)
    assert target.net.connections == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/issuer.crt",
        "https://127.0.0.1/issuer.crt",
        "http://localhost/issuer.crt",
        "http://169.254.169.254/metadata/instance?api-version=2021-02-01",
        "http://[::1]/issuer.crt",
        "//127.0.0.1/issuer.crt",
        "http://example.com/issuer.crt",
        f"http://{HOST}:8080/issuer.crt",
        f"http://{HOST}@127.0.0.1/issuer.crt",
        "file:///etc/passwd",
        "http://www.microsoft.com/issuer.crt",
    ],
)
def test_follows_no_redirect_off_the_list(target: Range, location: str) -> None:
    target.net.plays[PATH] = redirect(location)
    target.refuses(URL)
    assert target.net.connections == [(PUBLIC, 80)]


def test_follows_no_redirect_for_ever(target: Range) -> None:
    target.net.plays[PATH] = redirect(PATH)
    target.refuses(URL)


def pour(head: bytes) -> Play:
    """A gigabyte, to whoever takes it."""

    def play(conversation: Conversation) -> None:
        conversation.send(head)
        for _ in range(16_384):
            conversation.send(bytes(65_536))

    return play


def trickle(head: bytes, data: bytes) -> Play:
    def play(conversation: Conversation) -> None:
        conversation.send(head)
        conversation.trickle(data)

    return play


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n"


@pytest.mark.parametrize("head", [LONG, UNTIL_CLOSED, CHUNKED, b"HTTP/1.1 200 OK\r\nX: "])
def test_reads_no_gigabyte(target: Range, head: bytes) -> None:
    target.net.plays[PATH] = pour(head)
    target.refuses(URL)
    # What the two ends' sockets hold; nobody read it.
    assert target.net.conversations[0].sent < 64 * 1024 * 1024


@pytest.mark.parametrize(
    "play",
    [
        trickle(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        trickle(answer(length=16_000), b"a"),
        trickle(UNTIL_CLOSED + pem(issuing_ca().certificate), b"\n"),
        Conversation.wait,
    ],
    ids=["header", "interim answers", "body", "a certificate and more", "nothing"],
)
def test_waits_for_no_server_that_does_not_end(target: Range, play: Play) -> None:
    target.net.plays[PATH] = play
    target.refuses(URL)
    assert target.net.connections == [(PUBLIC, 80)]


HTML = b"<!DOCTYPE html><html><body>Sign in to continue</body></html>"


@pytest.mark.parametrize(
    "data",
    [
        answer(HTML, headers={"Content-Type": "text/html"}),
        answer(HTML, headers={"Content-Type": "application/pkix-cert"}),
        answer(der(issuing_ca()), status=404),
        answer(der(issuing_ca())[:-1]),
        answer(der(issuing_ca()) + b"\x00"),
        answer(documents.document()),
        answer(gzip.compress(bytes(64 * 1024 * 1024)), headers={"Content-Encoding": "gzip"}),
        answer(gzip.compress(bytes(8 * 1024 * 1024))),
        answer(gzip.compress(der(issuing_ca())), headers={"Content-Encoding": "gzip"}),
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
    ids=[
        *("html", "html in disguise", "not found", "cut short", "too long", "an attested document"),
        *("gzip bomb", "gzip bomb in disguise", "gzip", "ssh", "nothing"),
    ],
)
def test_keeps_nothing_that_is_no_certificate(target: Range, data: bytes) -> None:
    target.net.plays[PATH] = data
    target.refuses(URL)


def expired() -> pki.Identity:
    validity = pki.Validity(not_before=around().not_before, not_after=documents.NOW - timedelta(hours=1))
    return authority("Unpinned Issuing CA", validity=validity)


def self_signed() -> pki.Identity:
    name = "Unpinned Issuing CA"
    return pki.make_root(subject=pki.make_name(name), key=key(name), validity=around())


@pytest.mark.parametrize(
    "make",
    [
        lambda: authority("Unpinned Issuing CA", own_key=key("another")),
        lambda: authority("Another CA", own_key=key("Unpinned Issuing CA")),
        lambda: authority("Unpinned Issuing CA", issuer=root("Stranger Root")),
        expired,
        self_signed,
        root,
    ],
    ids=["right name, wrong key", "right key, wrong name", "another anchor", "expired", "self-signed", "the anchor"],
)
@pytest.mark.parametrize("encode", [documents.der, pem, degenerate], ids=["der", "pem", "pkcs7"])
def test_keeps_no_wrong_certificate(
    target: Range, make: Callable[[], pki.Identity], encode: Callable[..., bytes]
) -> None:
    target.net.plays[PATH] = answer(encode(make().certificate))
    target.refuses(URL)
    assert target.net.requests == [PATH]


def test_remembers_what_failed(target: Range) -> None:
    target.net.plays[PATH] = answer(status=404)
    for _ in range(3):
        target.refuses(URL)
    assert target.net.requests == [PATH]
    target.laboratory.clock.advance(FAILURE_MEMORY + timedelta(seconds=1))
    target.refuses(URL)
    assert target.net.requests == [PATH] * 2


def test_fetches_once_a_second_at_most(target: Range) -> None:
    for number in range(4):
        target.laboratory.clock.advance(timedelta(milliseconds=100))
        target.net.plays[f"/{number}.crt"] = answer(status=404)
        document = documents.document(
            signer=signer_under(authority(f"Lost CA {number}"), f"http://{HOST}/{number}.crt")
        )
        with pytest.raises(ChainRefused):
            target.laboratory.appraise(document)
    assert len(target.net.requests) == 4
    turns = target.laboratory.registry.turns
    assert len(turns) == 4
    assert all(later - earlier >= FETCH_INTERVAL for earlier, later in itertools.pairwise(turns))


ENCODED = {
    "der": der(issuing_ca()),
    "pem": pem(issuing_ca().certificate),
    "pkcs7": degenerate(issuing_ca().certificate),
    "pkcs7 with its root": degenerate(issuing_ca().certificate, root().certificate),
}


@pytest.mark.parametrize("body", ENCODED.values(), ids=ENCODED.keys())
def test_admits_what_chains_to_an_anchor(admitting: Range, body: bytes) -> None:
    admitting.net.plays[PATH] = answer(body)
    result = admitting.laboratory.appraise(documents.document(signer=signer_under(issuing_ca(), URL)))
    chain = result.content.chain
    assert [link.origin for link in chain] == [Origin.ADMITTED, Origin.LISTED]
    assert admitting.laboratory.authorities == [(der(issuing_ca()),)]
    assert [event.authorities for event in admitting.laboratory.recorder.observed] == [1]
    assert admitting.net.connections == [(PUBLIC, 80)]


@pytest.mark.parametrize("body", ENCODED.values(), ids=ENCODED.keys())
def test_keeps_for_approval_what_chains_to_an_anchor(observing: Range, body: bytes) -> None:
    observing.net.plays[PATH] = answer(body)
    with pytest.raises(ChainRefused) as refused:
        observing.laboratory.appraise(documents.document(signer=signer_under(issuing_ca(), URL)))
    assert refused.value.reason is Reason.ISSUER_UNPINNED
    assert observing.laboratory.authorities == [(der(issuing_ca()),)]


def test_goes_up_two_hops_and_stops_at_the_anchor(admitting: Range) -> None:
    top = authority("Top CA", extensions=(naming(f"http://{HOST}/root.crt"),))
    low = authority("Low CA", issuer=top, extensions=(naming("http://www.microsoft.com/pki/mscorp/top.crt"),))
    admitting.net.plays["/low.crt"] = answer(der(low))
    admitting.net.plays["/pki/mscorp/top.crt"] = answer(der(top))
    admitting.laboratory.appraise(documents.document(signer=signer_under(low, f"http://{HOST}/low.crt")))
    assert admitting.laboratory.authorities == [(der(low), der(top))]
    assert admitting.net.requests == ["/low.crt", "/pki/mscorp/top.crt"]


def test_follows_redirects_on_the_list(admitting: Range) -> None:
    admitting.net.plays["/moved.crt"] = redirect("http://caissuers.microsoft.com/pkiops/certs/issuer.crt", 301)
    admitting.net.plays["/pkiops/certs/issuer.crt"] = answer(der(issuing_ca()))
    admitting.laboratory.appraise(documents.document(signer=signer_under(issuing_ca(), f"http://{HOST}/moved.crt")))
    assert admitting.net.lookups == [HOST, "caissuers.microsoft.com"]


@pytest.mark.parametrize("bad", ["http://127.0.0.1/issuer.crt", f"http://{HOST}/lost.crt"])
def test_skips_a_bad_url(admitting: Range, bad: str) -> None:
    admitting.laboratory.appraise(documents.document(signer=signer_under(issuing_ca(), bad, URL)))
    assert admitting.net.requests[-1] == PATH


def test_makes_one_fetch_of_two_discoveries_at_once(observing: Range) -> None:
    together = Barrier(2)

    def consider(laboratory: Laboratory) -> None:
        document = documents.document(signer=signer_under(issuing_ca(), URL))
        together.wait(BOUND_SECONDS)
        laboratory.consider(document)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consider, [observing.laboratory, observing.replica()]))
    assert observing.net.requests == [PATH]
    [seen] = observing.laboratory.registry.discovered()
    assert (seen.documents, seen.authorities) == (2, (der(issuing_ca()),))


def test_pinned_connects_to_nothing(tmp_path: Path, net: Internet) -> None:
    open_range(tmp_path, net, DiscoveryMode.PINNED).refuses(URL)
    assert not net.lookups
    assert not net.connections
