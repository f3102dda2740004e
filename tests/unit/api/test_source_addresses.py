"""Test the source address of a request: grouping, and the entries that trusted proxies added."""

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from verifier.api.source_addresses import UNKNOWN, SourceAddresses, group_address
from verifier.ports.telemetry import Event, ForwardingMismatched


class Events:
    def __init__(self) -> None:
        self.kept: list[Event] = []

    def record(self, event: Event) -> None:
        self.kept.append(event)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:443 ", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b:1::192.0.2.1", "64:ff9b:1::/64"),
        ("2002:c000:201:1::1", "192.0.2.1"),
        ("2002:c000:201:ffff::1", "192.0.2.1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("192.0.2.01", None),
        ("192.0.2.1/24", None),
        ("1" * 5000, None),
    ],
)
def test_address_is_grouped(text: str, group: str | None) -> None:
    assert group_address(text) == group


@pytest.mark.parametrize(
    ("hops", "forwarded", "address", "warnings"),
    [
        (0, [], "192.0.2.9", 0),
        (0, ["198.51.100.1"], "192.0.2.9", 1),
        (1, ["198.51.100.1"], "198.51.100.1", 0),
        (1, ["203.0.113.5, 198.51.100.1"], "198.51.100.1", 0),
        (1, ["203.0.113.5", "198.51.100.1"], "198.51.100.1", 0),
        (2, ["203.0.113.5, 198.51.100.1, 10.0.0.1"], "198.51.100.1", 0),
        (2, ["198.51.100.1"], "192.0.2.9", 1),
        (1, [], "192.0.2.9", 1),
        (1, ["198.51.100.1, "], "192.0.2.9", 1),
        (1, ["unknown"], "192.0.2.9", 1),
    ],
)
def test_only_entries_of_trusted_proxies_are_read(hops: int, forwarded: list[str], address: str, warnings: int) -> None:
    events = Events()
    addresses = SourceAddresses(trusted_proxies=hops, recorder=events)
    headers = [("X-Forwarded-For", entry) for entry in forwarded]
    with Flask(__name__).test_request_context(headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.9"}):
        assert [addresses.find() for _ in range(3)] == [address] * 3
    assert len(events.kept) == warnings
    assert all(isinstance(event, ForwardingMismatched) for event in events.kept)


#: What a client writes into its own headers.
_FORGED = st.lists(
    st.text(st.sampled_from('0123456789abcdef.:,[]% \t_"=;x\xff')) | st.ip_addresses().map(str), max_size=5
)


@given(
    forged=_FORGED,
    client=st.ip_addresses().map(str),
    inner=st.lists(st.ip_addresses().map(str), max_size=3),
    joins=st.booleans(),
    has_port=st.booleans(),
)
def test_no_header_of_a_client_changes_its_address(
    forged: list[str], client: str, inner: list[str], *, joins: bool, has_port: bool
) -> None:
    """Each proxy adds the address of its peer, in a header of its own or to the last header."""
    shown = client
    if has_port:
        shown = f"[{client}]:443" if ":" in client else f"{client}:443"
    added = [shown, *inner]
    headers = [", ".join([*forged, *added])] if joins else [*forged, *added]
    addresses = SourceAddresses(trusted_proxies=len(added), recorder=Events())
    environ = {"REMOTE_ADDR": "192.0.2.9", "HTTP_X_FORWARDED_FOR": ",".join(headers)}
    with Flask(__name__).test_request_context(environ_base=environ):
        found = addresses.find()
    assert found == group_address(client)


@pytest.mark.parametrize("peer", ["", "@"])
def test_caller_without_an_address_shares_one_budget(peer: str) -> None:
    with Flask(__name__).test_request_context(environ_base={"REMOTE_ADDR": peer}):
        assert SourceAddresses(trusted_proxies=0, recorder=Events()).find() == UNKNOWN


def test_forwarded_header_is_warned_about_too() -> None:
    events = Events()
    with Flask(__name__).test_request_context(headers={"Forwarded": "for=192.0.2.1"}):
        SourceAddresses(trusted_proxies=0, recorder=events).find()
    assert len(events.kept) == 1
