"""Which addresses are connected to, and what a name service can do to the caller."""

import socket
import threading
from collections.abc import Sequence

import pytest

from verifier.adapters.aia.addresses import PublicAddress, check_addresses
from verifier.adapters.name_service import MAX_LOOKUPS, NameService, look_up
from verifier.ports.trust import FetchFailed


@pytest.mark.parametrize(
    "text",
    [
        "93.184.216.34",
        "8.8.8.8",
        "2606:2800:220:1:248:1893:25c8:1946",
        "::ffff:93.184.216.34",
        "64:ff9b::93.184.216.34",
        "64:ff9b::5db8:d822",
    ],
)
def test_takes_public_addresses(text: str) -> None:
    assert check_addresses([text, text]) == (PublicAddress(text=text),)


NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - nothing binds to it
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "64:ff9b::a83f:8110",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::93.184.216.34",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:5db8:d822::f5ff:fffe",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:5db8:d822::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "2606:2800:220:1:248:1893:25c8:1946%lo",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    # No addresses at all, or not in the one spelling.
    "",
    "localhost",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "010.8.8.8",
    "127.1",
    "8.8.8.8 ",
    "8.8.8.8.",
    "8.8.8.8/32",
    "[2606:2800:220:1:248:1893:25c8:1946]",
]


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_refuses_every_other_address(text: str) -> None:
    with pytest.raises(FetchFailed):
        PublicAddress(text=text)


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_refuses_a_host_that_has_a_public_address_and_another_one(text: str) -> None:
    with pytest.raises(FetchFailed):
        check_addresses(["93.184.216.34", text])


def test_refuses_a_host_without_an_address() -> None:
    with pytest.raises(FetchFailed, match="no address"):
        check_addresses([])


def test_keeps_the_order_of_the_name_service() -> None:
    assert [one.text for one in check_addresses(["8.8.8.8", "1.1.1.1", "8.8.8.8"])] == ["8.8.8.8", "1.1.1.1"]


def test_asks_the_systems_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: object, **_: object) -> list[tuple[object, ...]]:
        assert (host, port) == ("cacerts.digicert.com", None)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:2800::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert look_up("cacerts.digicert.com") == ("2606:2800::1", "93.184.216.34")


def test_gives_what_the_lookup_found() -> None:
    assert NameService(lambda host: [host]).resolve("a", 20) == ["a"]


@pytest.mark.parametrize("error", [socket.gaierror("no such host"), UnicodeError("no such name")])
def test_takes_a_lookup_that_failed_for_a_host_without_an_address(error: Exception) -> None:
    def fail(_: str) -> Sequence[str]:
        raise error

    assert NameService(fail).resolve("a", 20) == ()


def test_limits_the_time_and_the_number_of_pending_lookups() -> None:
    go_on = threading.Event()
    begun: list[str] = []
    ended = threading.Semaphore(0)

    def hang(host: str) -> Sequence[str]:
        begun.append(host)
        go_on.wait(20)
        ended.release()
        return ["8.8.8.8"]

    names = NameService(hang)
    for _ in range(MAX_LOOKUPS):
        with pytest.raises(FetchFailed, match="in time"):
            names.resolve("hangs", 0.01)
    with pytest.raises(FetchFailed, match="too many"):
        names.resolve("refused", 20)
    assert begun == ["hangs"] * MAX_LOOKUPS
    go_on.set()
    for _ in range(MAX_LOOKUPS):
        assert ended.acquire(timeout=20)
    for thread in threading.enumerate():
        if thread.name == "issuer-lookup":
            thread.join(20)
    assert names.resolve("again", 20) == ["8.8.8.8"]


def test_fails_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = NameService(lambda host: [host])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(MAX_LOOKUPS + 1):
            with pytest.raises(FetchFailed, match="No thread"):
                names.resolve("a", 20)
    assert names.resolve("a", 20) == ["a"]
