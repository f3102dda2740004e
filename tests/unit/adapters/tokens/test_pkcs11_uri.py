"""The PKCS#11 URI of a key: which parts it needs, and which are refused by name."""

import pytest

from verifier.adapters.tokens.pkcs11_uri import parse_uri
from verifier.ports.tokens import TokenKeyError


def test_reads_every_attribute_and_its_percent_encoding() -> None:
    """What `p11tool --list-all` prints (RFC 7512 section 2.3)."""
    uri = parse_uri(
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=e2e1b66bf94e9ab5;token=Licens%C3%A9s;"
        "id=%01%ff;object=results;type=private"
    )
    assert (uri.model, uri.manufacturer, uri.serial) == ("SoftHSM v2", "SoftHSM project", "e2e1b66bf94e9ab5")
    assert (uri.token, uri.id, uri.object) == ("Licensés", b"\x01\xff", "results")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "expected a PKCS#11 URI"),
        ("PKCS11:token=a;object=b", "expected a PKCS#11 URI"),
        ("pkcs11:token=a;object=" + "b" * 1024, "expected a PKCS#11 URI"),
        ("pkcs11:", "must name a token"),
        ("pkcs11:token=a", r"and a key \(object or id\)"),
        ("pkcs11:object=a", r"must name a token \(token or serial\)"),
        ("pkcs11:token=a;object=b;color=red", "unknown attribute 'color'"),
        ("pkcs11:token=a;object=b?color=red", "unknown attribute 'color'"),
        ("pkcs11:token=a;object=b;text=c", "unknown attribute 'text'"),
        ("pkcs11:token=a;object=b?module-path=/tmp/x.so", "module-path is refused: set VERIFIER_PKCS11_MODULE"),
        ("pkcs11:token=a;object=b?module-name=x", "module-name is refused: set VERIFIER_PKCS11_MODULE"),
        ("pkcs11:token=a;object=b?pin-value=1234", "pin-value is refused: set VERIFIER_PKCS11_PIN_FILE"),
        ("pkcs11:token=a;object=b?pin-source=/etc/pin", "pin-source is refused: set VERIFIER_PKCS11_PIN_FILE"),
        ("pkcs11:token=a;object=b;slot-id=1", "slot-id is refused: name the token"),
        ("pkcs11:token=a;object=b;type=public", "must name a private key"),
        ("pkcs11:token=a;token=b;object=c", "token must have one value"),
        ("pkcs11:token=;object=c", "token must have one value"),
        ("pkcs11:token=%ff;object=c", "must be UTF-8"),
    ],
)
def test_another_uri_is_refused_by_the_name_of_what_is_wrong(uri: str, said: str) -> None:
    with pytest.raises(TokenKeyError, match=said) as refused:
        parse_uri(uri)
    assert "1234" not in str(refused.value)
